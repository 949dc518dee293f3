//! The machine's addresses, as the relay is told of them.

use std::fmt;
use std::io;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected};
use tautline_core::registration::Interface;

/// Addresses that are stated; a relay takes no more.
pub(super) const STATED_MAX: usize = 32;

/// The addresses that the system has, but those that are no one's
/// destination. Of too many, the loopback and the interfaces that came last
/// (those of containers, mostly) are left out.
pub(super) fn of_machine() -> io::Result<Vec<Interface>> {
    let found = if_addrs::get_if_addrs()?;
    let found = found.into_iter().map(|found| {
        let prefix = match &found.addr {
            if_addrs::IfAddr::V4(v4) => v4.prefixlen,
            if_addrs::IfAddr::V6(v6) => v6.prefixlen,
        };
        (found.index, interface(found.ip(), prefix))
    });
    Ok(choose(found.collect()))
}

/// An address whose network is not known is alone in it, and not everywhere.
fn interface(address: IpAddr, prefix: u8) -> Interface {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let is_known = (1..=bits).contains(&prefix);
    Interface {
        address,
        prefix: if is_known { prefix } else { bits },
    }
}

/// In an order that is the same at each look.
fn choose(mut found: Vec<(Option<u32>, Interface)>) -> Vec<Interface> {
    found.retain(|(_, interface)| is_of_use(interface.address));
    found.sort_by_key(|(index, interface)| {
        let address = interface.address;
        (address.is_loopback(), index.unwrap_or(u32::MAX), address)
    });
    found.truncate(STATED_MAX);
    let mut chosen: Vec<_> = found.into_iter().map(|(_, interface)| interface).collect();
    chosen.sort_by_key(|interface| (interface.address, interface.prefix));
    chosen.dedup();
    chosen
}

/// No subnet is made of the others: they mean something else on every link.
fn is_of_use(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(is_link_local || address.is_unspecified() || address.is_multicast())
}

/// An address with the length of its network's prefix, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrittenInterface(pub(super) Interface);

impl<'de> Deserialize<'de> for WrittenInterface {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).ok_or_else(|| {
            let expected = "an address and the length of its prefix such as 10.0.0.5/24, /1 to \
                            /32 for IPv4 and to /128 for IPv6";
            D::Error::invalid_value(Unexpected::Str(&text), &expected)
        })
    }
}

fn parse(text: &str) -> Option<Interface> {
    let (address, prefix) = text.split_once('/')?;
    // A sign would be taken by `parse`.
    let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
    let interface = Interface {
        address: address.parse().ok()?,
        prefix: prefix.parse().ok().filter(|_| is_number)?,
    };
    (interface.prefix > 0 && interface.is_valid()).then_some(interface)
}

/// `10.0.0.5/24`.
pub(super) struct Shown(pub(super) Interface);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.address, self.0.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(interfaces: &[Interface]) -> Vec<String> {
        let shown = interfaces
            .iter()
            .map(|interface| Shown(*interface).to_string());
        shown.collect()
    }

    #[test]
    fn this_machine_has_addresses_that_a_relay_takes() {
        let found = of_machine().unwrap();
        assert!(found.len() <= STATED_MAX);
        assert!(found.iter().all(Interface::is_valid), "{found:?}");
        let has_loopback = found
            .iter()
            .any(|interface| interface.address.is_loopback());
        assert!(has_loopback, "{found:?}");
        assert_eq!(found, of_machine().unwrap(), "the same at each look");
    }

    #[test]
    fn what_makes_no_subnet_is_left_out() {
        let texts = [
            "127.0.0.1/8",
            "169.254.3.4/16",
            "fe80::1/64",
            "::/128",
            "224.0.0.1/4",
            "10.0.0.5/24",
            "2001:db8::5/64",
            "10.0.0.5/24",
        ];
        let found = texts.map(|text| (Some(1), parse(text).unwrap()));
        let chosen = shown(&choose(found.to_vec()));
        assert_eq!(chosen, ["10.0.0.5/24", "127.0.0.1/8", "2001:db8::5/64"]);
    }

    #[test]
    fn of_too_many_the_first_interfaces_are_stated() {
        let container = |n: u8| (Some(9), interface([172, 17, n, 1].into(), 16));
        let mut found: Vec<_> = (0..40).map(container).collect();
        found.insert(0, (Some(1), interface([127, 0, 0, 1].into(), 8)));
        found.push((Some(2), interface([192, 168, 1, 5].into(), 24)));
        let chosen = shown(&choose(found));
        assert_eq!(chosen.len(), STATED_MAX);
        assert_eq!(chosen.last().unwrap(), "192.168.1.5/24");
        assert!(!chosen.contains(&"127.0.0.1/8".to_owned()));
    }

    #[test]
    fn an_unknown_network_is_the_address_alone() {
        let address: IpAddr = [10, 8, 0, 2].into();
        for prefix in [0, 33, 255] {
            assert_eq!(interface(address, prefix).prefix, 32);
        }
        assert_eq!(interface("2001:db8::1".parse().unwrap(), 0).prefix, 128);
        assert_eq!(interface(address, 32).prefix, 32);
        assert_eq!(interface(address, 1).prefix, 1);
    }

    #[test]
    fn a_written_address_has_a_prefix_that_fits() {
        assert_eq!(
            shown(&[parse("10.0.0.5/1").unwrap(), parse("::1/128").unwrap()]),
            ["10.0.0.5/1", "::1/128"]
        );
        for text in [
            "10.0.0.5",
            "10.0.0.5/",
            "10.0.0.5/0",
            "10.0.0.5/33",
            "::1/129",
            "10.0.0.5/+8",
            "10.0.0.5/256",
            "10.0.0/8",
            "web/8",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
