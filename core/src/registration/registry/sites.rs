//! Which site an address belongs to.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::settings::Site;
use crate::Network;

/// Networks and the places of their sites in the settings, so that the longest
/// network of an address is found in O(prefix lengths · log networks).
pub(super) struct Sites {
    /// In order, each network once.
    rules: Vec<(Network, u16)>,
    /// The lengths of IPv4 and of IPv6 networks that there are, longest first.
    lengths: [Vec<u8>; 2],
}

impl Sites {
    /// A network that two sites claim is the first one's. Sites beyond 65,535
    /// have no place.
    pub(super) fn new(sites: &[Site]) -> Self {
        let mut rules: Vec<_> = sites
            .iter()
            .zip(0..u16::MAX)
            .flat_map(|(site, place)| site.networks.iter().map(move |own| (*own, place)))
            .collect();
        rules.sort_unstable();
        rules.dedup_by_key(|rule| rule.0);
        let lengths = [true, false].map(|v4| {
            let same_kind = |rule: &&(Network, u16)| rule.0.address().is_ipv4() == v4;
            let rules = rules.iter().filter(same_kind);
            let mut lengths: Vec<_> = rules.map(|rule| rule.0.prefix_bits()).collect();
            lengths.sort_unstable_by(|one, other| other.cmp(one));
            lengths.dedup();
            lengths
        });
        Self { rules, lengths }
    }

    pub(super) fn find(&self, observed: IpAddr) -> Option<u16> {
        let [v4, v6] = &self.lengths;
        let lengths = if observed.is_ipv4() { v4 } else { v6 };
        lengths.iter().find_map(|bits| {
            let network = Network::of(observed, *bits)?;
            let place = self.rules.binary_search_by_key(&network, |rule| rule.0);
            Some(self.rules.get(place.ok()?)?.1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use alloc::vec;

    fn site(networks: &[&str]) -> Site {
        Site {
            name: "site".into(),
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_longest_network_decides() {
        let sites = Sites::new(&[
            site(&["10.0.0.0/8", "2001:db8::/32"]),
            site(&["10.1.0.0/16", "10.1.2.3", "::/0"]),
            site(&["10.1.2.0/24", "10.0.0.0/8"]),
        ]);
        let find = |text: &str| sites.find(text.parse().unwrap());
        assert_eq!(find("10.9.9.9"), Some(0), "the first one's");
        assert_eq!(find("10.1.9.9"), Some(1));
        assert_eq!(find("10.1.2.9"), Some(2));
        assert_eq!(find("10.1.2.3"), Some(1));
        assert_eq!(find("11.0.0.1"), None, "IPv6 networks hold no IPv4 address");
        assert_eq!(find("2001:db8::1"), Some(0));
        assert_eq!(find("2001:db9::1"), Some(1));
        assert_eq!(Sites::new(&[]).find([10, 0, 0, 1].into()), None);
    }

    #[test]
    fn it_finds_what_a_search_through_all_finds() {
        let mut random = Random::from_seed([8; 32]);
        let mut address = || IpAddr::from([10, 0, random.below(4) as u8, random.next_u64() as u8]);
        let mut networks = vec![Vec::new(); 40];
        for (place, own) in networks.iter_mut().enumerate() {
            own.push(Network::of(address(), 20 + place as u8 % 13).unwrap());
        }
        let sites: Vec<_> = networks
            .into_iter()
            .map(|networks| Site {
                name: "site".into(),
                networks,
            })
            .collect();
        let fast = Sites::new(&sites);
        for _ in 0..2_000 {
            let observed = address();
            let fitting = sites
                .iter()
                .zip(0..)
                .filter(|(site, _)| site.networks[0].contains(observed));
            let slow = fitting
                .max_by_key(|(site, place)| (site.networks[0].prefix_bits(), u16::MAX - place));
            assert_eq!(fast.find(observed), slow.map(|(_, place)| place));
        }
    }
}
