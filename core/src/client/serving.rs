//! Serving the subnet: the relay lists datagrams, the client sends each once.
//!
//! A frame is worked off before the next one is taken, no faster than the
//! settings allow, and confirmed then. A datagram goes only to where the
//! clients of this subnet can be: inside the network of the interface that the
//! persistent connection uses.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::drive::Step;
use super::{Client, Conn, Stage};
use crate::Key;
use crate::collections::Pool;
use crate::registration::Interface;
use crate::wire::message::{Serve, Served, ToClient, kind};

/// A frame that is being worked off.
pub(super) struct Serving {
    sequence: u32,
    /// The frame's body.
    bytes: Vec<u8>,
    /// The target that is next.
    place: usize,
    refused: u16,
}

impl Serving {
    /// Keeps what the frame says.
    pub(super) fn new(serve: Serve<'_>, pool: &mut Pool) -> Self {
        let sequence = serve.sequence;
        let message = ToClient::Serve(serve);
        let (head, payload) = (message.head(), message.payload());
        let mut bytes = pool.take(head.len() + payload.len());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(payload);
        Self {
            sequence,
            bytes,
            place: 0,
            refused: 0,
        }
    }

    fn frame(&self) -> Option<Serve<'_>> {
        match ToClient::parse(kind::SERVE, &self.bytes) {
            Ok(Some(ToClient::Serve(serve))) => Some(serve),
            _ => None,
        }
    }

    /// Gives the buffer back; returns what is to be said of the frame.
    pub(super) fn release(self, pool: &mut Pool) -> Served {
        pool.give(self.bytes);
        Served {
            sequence: self.sequence,
            refused: self.refused,
        }
    }
}

/// Where the clients are that this one may send to.
struct Neighbourhood<'a> {
    interface: &'a Interface,
    /// Where this client takes datagrams itself; 0 is nowhere.
    udp_port: u16,
}

impl<'a> Neighbourhood<'a> {
    /// Around this end of the persistent connection. `None` if it is of no
    /// known network, or of one that reaches no further than its link.
    fn of(local: IpAddr, interfaces: &'a [Interface], udp_port: u16) -> Option<Self> {
        let is_local = |interface: &&Interface| interface.address.to_canonical() == local;
        let interface = interfaces.iter().find(is_local)?;
        let usable = interface.is_valid() && interface.prefix > 0 && !is_link_local(local);
        usable.then_some(Self {
            interface,
            udp_port,
        })
    }

    /// Why nothing is sent to the target.
    fn refusal(&self, target: SocketAddr) -> Option<&'static str> {
        let (ip, own) = (target.ip(), self.interface.address.to_canonical());
        Some(if target.port() == 0 {
            "port"
        } else if ip.is_unspecified() {
            "unspecified"
        } else if ip.is_multicast() {
            "multicast"
        } else if ip.is_loopback() && !own.is_loopback() {
            "loopback"
        } else if !self.contains(ip) {
            "outside"
        } else if self.is_broadcast(ip) {
            "broadcast"
        } else if ip == own && target.port() == self.udp_port {
            "itself"
        } else {
            return None;
        })
    }

    /// Whether the address is one of the network.
    fn contains(&self, ip: IpAddr) -> bool {
        match (self.interface.address.to_canonical(), ip) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                let differing = bits(self.interface.address.to_canonical()) ^ bits(ip);
                differing & !self.hosts() == 0
            }
            _ => false,
        }
    }

    /// Whether all hosts of the network would get it, now or by the rule of
    /// old: the highest address and the lowest (RFC 919, RFC 922). In IPv6 the
    /// lowest is every router's (RFC 4291 section 2.6.1). A network of one or
    /// two addresses has none of these (RFC 3021, RFC 6164).
    fn is_broadcast(&self, ip: IpAddr) -> bool {
        let (hosts, host) = (self.hosts(), bits(ip) & self.hosts());
        hosts > 1 && (host == 0 || ip.is_ipv4() && host == hosts)
            || ip == IpAddr::V4(core::net::Ipv4Addr::BROADCAST)
    }

    /// The bits of an address that tell the network's hosts apart.
    fn hosts(&self) -> u128 {
        let width = match self.interface.address.to_canonical() {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let host_bits = width - u32::from(self.interface.prefix).min(width);
        1_u128.checked_shl(host_bits).unwrap_or(0).wrapping_sub(1)
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

impl Client {
    /// Goes on with the frame that is worked off: the next datagram of it, if
    /// one may go now, or its confirmation.
    pub(super) fn step_serving(&mut self, key: Key, buf: &mut [u8]) -> Option<Step> {
        if self.serve_at.is_some() {
            return None;
        }
        let Conn {
            stage: Stage::Line(line),
            local,
            ..
        } = self.conns.get_mut(key)?
        else {
            return None;
        };
        let neighbourhood = local.and_then(|local| {
            let settings = &self.settings;
            Neighbourhood::of(local, &settings.interfaces, settings.udp_port)
        });
        loop {
            let serving = line.serving.as_mut()?;
            let frame = serving.frame();
            let Some((frame, target)) =
                frame.and_then(|frame| Some((frame, frame.target(serving.place)?)))
            else {
                line.handle_served(&mut self.pool);
                self.stirred = true;
                return None;
            };
            let refusal = match &neighbourhood {
                Some(neighbourhood) => neighbourhood.refusal(target.address),
                None => Some("no_network"),
            };
            if let Some(reason) = refusal {
                self.stats.serves_refused.count(reason);
                serving.refused = serving.refused.saturating_add(1);
                serving.place += 1;
                continue;
            }
            if let Err(at) = self.serve_rate.take(self.now, 1) {
                self.serve_at = Some(at);
                return None;
            }
            // The longest datagram fits the smallest buffer.
            let len = frame.datagram(&target, buf).ok()?;
            serving.place += 1;
            self.stats.served += 1;
            return Some(Step::Datagram(target.address, len));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why a client at this end, with this network's prefix, does not send.
    fn refusal(local: &str, prefix: u8, target: &str) -> Option<&'static str> {
        let address = local.parse().expect("an address");
        let interfaces = [Interface { address, prefix }];
        let neighbourhood = Neighbourhood::of(address, &interfaces, 52_311);
        neighbourhood.map_or(Some("no_network"), |it| {
            it.refusal(target.parse().expect("an address and a port"))
        })
    }

    #[test]
    fn p6_only_hosts_of_the_own_network_are_sent_to() {
        for (local, prefix, target, expected) in [
            ("10.0.0.9", 24, "10.0.0.1:52311", None),
            ("10.0.0.9", 24, "10.0.0.254:1", None),
            ("10.0.0.9", 24, "10.0.1.1:52311", Some("outside")),
            ("10.0.0.9", 24, "9.0.0.1:52311", Some("outside")),
            ("10.0.0.9", 24, "[fd00::1]:52311", Some("outside")),
            ("10.0.0.9", 24, "10.0.0.1:0", Some("port")),
            ("10.0.0.9", 24, "0.0.0.0:52311", Some("unspecified")),
            ("10.0.0.9", 24, "224.0.0.1:52311", Some("multicast")),
            ("10.0.0.9", 24, "10.0.0.255:52311", Some("broadcast")),
            ("10.0.0.9", 24, "10.0.0.0:52311", Some("broadcast")),
            ("10.0.0.9", 24, "255.255.255.255:52311", Some("outside")),
            ("10.0.0.9", 24, "127.0.0.1:52311", Some("loopback")),
            ("10.0.0.9", 24, "10.0.0.9:52311", Some("itself")),
            ("10.0.0.9", 24, "10.0.0.9:52312", None),
            ("10.0.0.9", 23, "10.0.0.255:52311", None),
            ("10.0.0.9", 23, "10.0.1.255:52311", Some("broadcast")),
            ("10.0.0.8", 31, "10.0.0.9:52311", None),
            ("10.0.0.9", 32, "10.0.0.8:52311", Some("outside")),
            // A network that has all addresses is none.
            ("10.0.0.9", 0, "127.0.0.1:52311", Some("no_network")),
            ("10.0.0.9", 1, "127.0.0.1:52311", Some("loopback")),
            ("224.0.0.1", 1, "255.255.255.255:9", Some("broadcast")),
            ("10.0.0.9", 33, "10.0.0.9:1", Some("no_network")),
            ("127.0.0.1", 8, "127.0.0.1:52312", None),
            ("127.0.0.1", 8, "127.0.0.1:52311", Some("itself")),
            ("127.0.0.1", 8, "127.255.255.255:1", Some("broadcast")),
            ("127.0.0.1", 8, "10.0.0.1:52311", Some("outside")),
            ("169.254.0.9", 16, "169.254.0.8:52311", Some("no_network")),
            ("fe80::1", 64, "[fe80::2]:52311", Some("no_network")),
            ("fd00::9", 64, "[fd00::1]:52311", None),
            ("fd00::9", 64, "[fd00::ffff:ffff:ffff:ffff]:9", None),
            ("fd00::9", 64, "[fd00::]:52311", Some("broadcast")),
            ("fd00::9", 64, "[fd00:0:0:1::1]:52311", Some("outside")),
            ("fd00::9", 64, "[::]:52311", Some("unspecified")),
            ("fd00::9", 64, "[::1]:52311", Some("loopback")),
            ("fd00::9", 64, "[ff02::1]:52311", Some("multicast")),
            ("fd00::9", 64, "10.0.0.1:52311", Some("outside")),
            ("fd00::8", 127, "[fd00::9]:52311", None),
            ("::1", 128, "[::1]:52312", None),
        ] {
            let found = refusal(local, prefix, target);
            assert_eq!(found, expected, "{local}/{prefix} to {target}");
        }
    }

    #[test]
    fn an_end_of_no_stated_interface_has_no_network() {
        let local = "10.0.0.9".parse().expect("an address");
        let address = "10.0.0.8".parse().expect("an address");
        let prefix = 24;
        assert!(Neighbourhood::of(local, &[], 1).is_none());
        assert!(Neighbourhood::of(local, &[Interface { address, prefix }], 1).is_none());
    }
}
