//! The port that the agent takes datagrams on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use serde::{Deserialize, Deserializer};
use socket2::{Domain, Protocol, Socket, Type};
use tautline_std::origin::{self, Origin};
use tautline_std::settings::word_or_number;

use crate::Failure;

/// Ports that are tried for one that is free in both families.
const TRIES_MAX: usize = 16;

/// Which UDP port to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum UdpPort {
    /// The usual one, or any free one.
    #[default]
    Usual,
    /// This one and no other.
    Exactly(u16),
    /// Any free one.
    Free,
    /// None.
    Off,
}

impl UdpPort {
    /// Leaves the usual port to a relay on this machine that has it, or will
    /// have it when it starts later.
    pub(super) fn beside(self, relays: &[Origin]) -> Self {
        let is_here = |relay: &Origin| relay.is_loopback() && relay.port == origin::PORT;
        match self {
            Self::Usual if relays.iter().any(is_here) => Self::Free,
            port => port,
        }
    }
}

impl<'de> Deserialize<'de> for UdpPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        word_or_number(
            deserializer,
            "a port of 1 to 65535, 0 for any that is free, or \"off\"",
            |word| (word == "off").then_some(Self::Off),
            |number| match u16::try_from(number).ok()? {
                0 => Some(Self::Free),
                port => Some(Self::Exactly(port)),
            },
        )
    }
}

/// The sockets of a port: one for IPv4 and one for IPv6, as far as the system
/// has them.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    /// 0 without a socket.
    pub(super) port: u16,
    pub(super) sockets: Vec<UdpSocket>,
}

impl Datagrams {
    /// Takes the port.
    pub(super) fn open(port: UdpPort) -> Result<Self, Failure> {
        let result = match port {
            UdpPort::Off => Ok(Self::default()),
            UdpPort::Exactly(port) => {
                return Self::bind(port).map_err(|error| {
                    Failure::new(format_args!(
                        "UDP port {port}: {error}; name another one by --udp-port or \
                         client.udp_port, or 0 for any that is free"
                    ))
                });
            }
            UdpPort::Free => Self::bind_free(),
            UdpPort::Usual => Self::bind(origin::PORT).or_else(|error| {
                let found = Self::bind_free()?;
                tracing::info!(
                    port = found.port,
                    "UDP port {} cannot be taken ({error}); datagrams are taken on another one",
                    origin::PORT
                );
                Ok(found)
            }),
        };
        result.map_err(|error: io::Error| Failure::new(format_args!("a free UDP port: {error}")))
    }

    /// Any port that is free in both families.
    fn bind_free() -> io::Result<Self> {
        let mut tried = Self::bind(0);
        for _ in 1..TRIES_MAX {
            match &tried {
                // The other family's port of this number is taken.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => tried = Self::bind(0),
                _ => break,
            }
        }
        tried
    }

    /// Takes a port in both families, or in the one that there is.
    fn bind(port: u16) -> io::Result<Self> {
        let mut taken = Self {
            port,
            sockets: Vec::new(),
        };
        let mut missing = None;
        for ip in [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Ipv6Addr::UNSPECIFIED.into(),
        ] {
            match bind(ip, taken.port) {
                Ok(socket) => {
                    taken.port = socket.local_addr()?.port();
                    taken.sockets.push(socket);
                }
                Err(error) if is_missing(&error) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        match missing {
            Some(error) if taken.sockets.is_empty() => Err(error),
            _ => Ok(taken),
        }
    }
}

fn bind(ip: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let domain = if ip.is_ipv4() {
        Domain::IPV4
    } else {
        Domain::IPV6
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if ip.is_ipv6() {
        // IPv4 has a socket of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&std::net::SocketAddr::new(ip, port).into())?;
    Ok(socket.into())
}

/// Whether the system is without this kind of address.
fn is_missing(error: &io::Error) -> bool {
    // A kernel without IPv6 has no such socket; one that has it switched off
    // has no such address.
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

/// `EAFNOSUPPORT`, which has no kind of its own.
#[cfg(unix)]
const NO_SUCH_FAMILY: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
/// `WSAEAFNOSUPPORT`.
#[cfg(not(unix))]
const NO_SUCH_FAMILY: i32 = 10_047;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_the_same_in_both_families() {
        let taken = Datagrams::open(UdpPort::Free).unwrap();
        assert_ne!(taken.port, 0);
        assert!((1..=2).contains(&taken.sockets.len()));
        for socket in &taken.sockets {
            assert_eq!(socket.local_addr().unwrap().port(), taken.port);
        }
    }

    #[test]
    fn a_port_that_is_named_and_taken_is_an_error_that_names_it() {
        let taken = Datagrams::open(UdpPort::Free).unwrap();
        let failure = Datagrams::open(UdpPort::Exactly(taken.port)).unwrap_err();
        let begin = format!("UDP port {}: ", taken.port);
        assert!(failure.message.starts_with(&begin), "{}", failure.message);
        assert_eq!(failure.exit_code, 1);
    }

    #[test]
    fn the_usual_port_gives_way_to_a_free_one() {
        // Whether this takes it or another process has it, the next finds it
        // taken.
        let first = Datagrams::open(UdpPort::Usual).unwrap();
        let second = Datagrams::open(UdpPort::Usual).unwrap();
        assert_ne!(second.port, 0);
        assert_ne!(second.port, origin::PORT);
        assert_ne!(second.port, first.port);
    }

    #[test]
    fn a_relay_on_this_machine_keeps_its_port() {
        let beside = |port: UdpPort, relay: &str| port.beside(&[relay.parse().unwrap()]);
        assert_eq!(beside(UdpPort::Usual, "127.0.0.1"), UdpPort::Free);
        assert_eq!(beside(UdpPort::Usual, "localhost:80"), UdpPort::Usual);
        assert_eq!(beside(UdpPort::Usual, "relay.example"), UdpPort::Usual);
        let exactly = UdpPort::Exactly(origin::PORT);
        assert_eq!(beside(exactly, "127.0.0.1"), exactly);
    }

    #[test]
    fn off_is_no_port() {
        let none = Datagrams::open(UdpPort::Off).unwrap();
        assert!(none.port == 0 && none.sockets.is_empty());
    }
}
