//! What is kept of a client: a million of them fit in a small machine.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU32;

use super::super::body::{Hex, Interface, Request};
use super::holders::Seat;
use super::refusal::Denial;
use crate::collections::TimerKey;
use crate::wire::proof::SessionKey;
use crate::wire::replay::ReplayWindow;
use crate::{ClientId, Instant, Key};

/// A registered client.
#[derive(Debug)]
pub struct ClientRecord {
    /// Its identity.
    pub id: ClientId,
    /// The port that it takes datagrams on; 0 is none.
    pub udp_port: u16,
    /// When it registered last.
    pub registered_at: Instant,
    /// The subnet that it is in.
    pub subnet: Key,
    /// [`NO_SITE`] if it is at none.
    pub(super) site: u16,
    pub(super) details: Details,
    pub(super) key: SessionKey,
    pub(super) registration: u64,
    pub(super) window: ReplayWindow,
    /// Datagrams that were made under the key.
    pub(super) datagrams: u32,
    pub(super) instances: Instances,
    pub(super) expiry: Option<TimerKey>,
    /// Among those that hold a connection or a grant.
    pub(super) seat: Seat,
    pub(super) trust: Trust,
    pub(super) connected: bool,
    /// Why it may not have a persistent connection since its last registration.
    pub(super) denied: Option<Denial>,
    pub(super) udp_proven: bool,
}

const _: () = assert!(size_of::<ClientRecord>() <= 136);

/// How far it is certain who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It has only registered.
    Stranger,
    /// It was proven, and registered from elsewhere since.
    Moved,
    /// See [`ClientRecord::is_proven`].
    Proven,
}

/// The place of the site of a client that is at none; no site has it.
pub(super) const NO_SITE: u16 = u16::MAX;

impl ClientRecord {
    /// The site that it is at, by its place in the settings.
    pub fn site(&self) -> Option<u16> {
        (self.site != NO_SITE).then_some(self.site)
    }

    /// Its name, for people.
    pub fn hostname(&self) -> &str {
        self.details.hostname()
    }

    /// The addresses that it stated.
    pub fn interfaces(&self) -> impl Iterator<Item = Interface> {
        self.details.interfaces()
    }

    /// The address that the relay saw, an IPv4 one as such.
    pub fn observed(&self) -> IpAddr {
        self.details.observed()
    }

    /// Whether its persistent connection is open.
    pub const fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether it holds a grant and has no connection yet.
    pub fn is_granted(&self) -> bool {
        self.seat != Seat::NONE && !self.connected
    }

    /// Why its last registration was not granted a persistent connection, in
    /// the word of the verdict; `grant_ended` if it was and none came in time.
    pub fn denied(&self) -> Option<&'static str> {
        self.denied.map(Denial::name)
    }

    /// Whether it is the client itself beyond doubt: it used the key that it
    /// was given, or came again from where it had done so, or by an identity
    /// that it was given in this run of the relay. A registration of another
    /// run or relay, and one that was caught on its way, can be replayed.
    pub const fn is_proven(&self) -> bool {
        matches!(self.trust, Trust::Proven)
    }

    /// Whether it proved that datagrams of the relay reach it where it is now.
    pub const fn is_udp_proven(&self) -> bool {
        self.udp_proven
    }

    /// Where datagrams of the relay go: to the address that it saw, with the
    /// port that the client stated.
    pub fn udp_address(&self) -> Option<SocketAddr> {
        let port = (self.udp_port != 0).then_some(self.udp_port)?;
        Some(SocketAddr::new(self.observed(), port))
    }

    /// Where datagrams of the other clients of its subnet go. `None` if it
    /// takes none, or no interface that it stated is the one in use.
    pub fn local_address(&self) -> Option<SocketAddr> {
        let port = (self.udp_port != 0).then_some(self.udp_port)?;
        Some(SocketAddr::new(self.details.local()?, port))
    }

    /// Whether other clients of its subnet reach it by datagrams: whether it
    /// has a [`local_address`](Self::local_address).
    pub fn is_servable(&self) -> bool {
        self.udp_port != 0 && self.details.has_interface()
    }
}

/// The last two starts of a client, as far as they fit in 32 bits each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Instances {
    current: Option<NonZeroU32>,
    before: Option<NonZeroU32>,
}

impl Instances {
    pub(super) fn note(&mut self, instance: Option<Hex<8>>) {
        self.take_over(Self {
            current: folded(instance),
            before: None,
        });
    }

    /// Notes the current start of a newer record.
    pub(super) fn take_over(&mut self, newer: Self) {
        if newer.current.is_some() && newer.current != self.current {
            self.before = core::mem::replace(&mut self.current, newer.current);
        }
    }

    /// Whether the current start of a newer record is the current one.
    pub(super) fn is_current(&self, newer: Self) -> bool {
        newer.current == self.current
    }

    /// Whether the start is the one before the current: a machine never goes
    /// back to an earlier start, so there are two of them.
    pub(super) fn is_another(&self, instance: Option<Hex<8>>) -> bool {
        let instance = folded(instance);
        instance.is_some() && instance == self.before && instance != self.current
    }
}

fn folded(instance: Option<Hex<8>>) -> Option<NonZeroU32> {
    let [.., a, b, c, d] = instance?.0;
    let low = u32::from_be_bytes([a, b, c, d]);
    Some(NonZeroU32::new(low).unwrap_or(NonZeroU32::MAX))
}

/// Interfaces and hostname in one allocation: the place of the interface in
/// use, how many there are, the observed address, the interfaces, the name.
///
/// An interface is the length of its prefix, of IPv6 with 64 added, and its
/// address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Details(Box<[u8]>);

/// The place of the interface in use if there is none.
const NO_INTERFACE: u8 = u8::MAX;
/// Interfaces that can be kept.
pub(super) const INTERFACES_CAP: usize = NO_INTERFACE as usize;
/// Added to the length of a prefix of IPv6.
const V6: u8 = 64;

impl Details {
    /// Packs them into `scratch`, which is overwritten.
    pub(super) fn pack(
        request: &Request<'_>,
        observed: IpAddr,
        interface: Option<usize>,
        scratch: &mut Vec<u8>,
    ) {
        let byte = |number: usize| u8::try_from(number).unwrap_or(NO_INTERFACE);
        scratch.clear();
        scratch.push(interface.map_or(NO_INTERFACE, byte));
        scratch.push(byte(request.interfaces.len()));
        put(scratch, observed, 0);
        for own in request.interfaces.iter().take(INTERFACES_CAP) {
            put(scratch, own.address, own.prefix);
        }
        scratch.extend_from_slice(request.hostname.as_bytes());
    }

    /// Takes over what was packed; nothing is allocated if that changes
    /// nothing.
    pub(super) fn update(&mut self, packed: &[u8]) {
        if *self.0 != *packed {
            self.0 = packed.into();
        }
    }

    fn observed(&self) -> IpAddr {
        let observed = self.0.get(2..).and_then(take);
        observed.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |(own, _)| own.address)
    }

    fn interfaces(&self) -> impl Iterator<Item = Interface> {
        let mut rest = self.behind_observed();
        (0..self.count()).map_while(move |_| {
            let (own, behind) = take(rest)?;
            rest = behind;
            Some(own)
        })
    }

    fn has_interface(&self) -> bool {
        self.0.first().is_some_and(|place| *place != NO_INTERFACE)
    }

    fn local(&self) -> Option<IpAddr> {
        let place = *self.0.first()?;
        let own = self.interfaces().nth(place.into())?;
        Some(own.address.to_canonical())
    }

    fn hostname(&self) -> &str {
        let mut rest = self.behind_observed();
        for _ in 0..self.count() {
            rest = take(rest).map_or(rest, |(_, behind)| behind);
        }
        core::str::from_utf8(rest).unwrap_or_default()
    }

    fn count(&self) -> u8 {
        self.0.get(1).copied().unwrap_or_default()
    }

    fn behind_observed(&self) -> &[u8] {
        let observed = self.0.get(2..).and_then(take);
        observed.map_or(&[], |(_, behind)| behind)
    }
}

fn put(bytes: &mut Vec<u8>, address: IpAddr, prefix: u8) {
    match address {
        IpAddr::V4(own) => {
            bytes.push(prefix);
            bytes.extend_from_slice(&own.octets());
        }
        IpAddr::V6(own) => {
            bytes.push(V6.saturating_add(prefix));
            bytes.extend_from_slice(&own.octets());
        }
    }
}

/// The first interface, and what is behind it.
fn take(bytes: &[u8]) -> Option<(Interface, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    Some(match kind.checked_sub(V6) {
        None => {
            let (octets, rest) = rest.split_first_chunk::<4>()?;
            let address = IpAddr::V4(Ipv4Addr::from(*octets));
            (
                Interface {
                    address,
                    prefix: *kind,
                },
                rest,
            )
        }
        Some(prefix) => {
            let (octets, rest) = rest.split_first_chunk::<16>()?;
            let address = IpAddr::V6(Ipv6Addr::from(*octets));
            (Interface { address, prefix }, rest)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_survive_packing() {
        let interfaces: Vec<_> = [
            ("10.0.0.5", 24),
            ("0.0.0.0", 0),
            ("255.255.255.255", 32),
            ("2001:db8::5", 64),
            ("::", 0),
            ("::ffff:10.0.0.5", 128),
        ]
        .map(|(address, prefix)| Interface {
            address: address.parse().unwrap(),
            prefix,
        })
        .into();
        let mut scratch = Vec::new();
        for count in 0..=interfaces.len() {
            for observed in ["192.0.2.1", "2001:db8::1"] {
                let mut request: Request<'_> =
                    serde_json::from_str(r#"{"protocol":1,"registration":1,"hostname":"wéb-1"}"#)
                        .unwrap();
                request.interfaces = interfaces[..count].into();
                let observed = observed.parse().unwrap();
                let used = count.checked_sub(1);
                Details::pack(&request, observed, used, &mut scratch);
                let mut details = Details::default();
                details.update(&scratch);
                assert_eq!(details.observed(), observed);
                assert!(details.interfaces().eq(interfaces[..count].iter().copied()));
                assert_eq!(details.hostname(), "wéb-1");
                let local = used.map(|place| interfaces[place].address.to_canonical());
                assert_eq!(details.local(), local);
                assert_eq!(details.has_interface(), local.is_some());
            }
        }
    }

    #[test]
    fn a_start_that_comes_back_is_another_machine() {
        let instance = |number: u64| Some(Hex(number.to_be_bytes()));
        let mut instances = Instances::default();
        for (number, another) in [(1, false), (1, false), (2, false), (2, false), (1, true)] {
            assert_eq!(instances.is_another(instance(number)), another, "{number}");
            instances.note(instance(number));
        }
        assert!(instances.is_another(instance(2)));
        assert!(!instances.is_another(instance(3)) && !instances.is_another(None));
        instances.note(None);
        assert!(
            instances.is_another(instance(2)),
            "who says nothing changes nothing"
        );
    }
}
