//! The names of subnets and sites, as an operator reads and types them:
//! `10.0.0.0/24`, behind a NAT `10.0.0.0/24@203.0.113.7`, at a site
//! `10.0.0.0/24@site:berlin`.

use tautline_core::Network;
use tautline_core::registration::{Qualifier, SubnetName};

/// Marks a site in the name of a subnet.
const SITE: &str = "site:";

/// The names of the sites, in the order of the settings.
#[derive(Debug, Default)]
pub(crate) struct Places {
    sites: Vec<String>,
}

impl Places {
    pub(crate) const fn new(sites: Vec<String>) -> Self {
        Self { sites }
    }

    pub(super) fn site(&self, place: u16) -> Option<&str> {
        self.sites.get(usize::from(place)).map(String::as_str)
    }

    pub(super) fn find_site(&self, name: &str) -> Option<u16> {
        let place = self.sites.iter().position(|site| site == name)?;
        u16::try_from(place).ok()
    }

    pub(super) fn show(&self, subnet: SubnetName) -> String {
        let network = subnet.network;
        match subnet.qualifier {
            Qualifier::Direct => network.to_string(),
            Qualifier::Behind(address) => format!("{network}@{address}"),
            Qualifier::Site(place) => {
                let site = self.site(place).unwrap_or_default();
                format!("{network}@{SITE}{site}")
            }
        }
    }

    /// Reads what [`show`](Self::show) wrote; else what is wrong with it.
    pub(super) fn find(&self, text: &str) -> Result<SubnetName, String> {
        let (network, qualifier) = match text.split_once('@') {
            None => (text, Qualifier::Direct),
            Some((network, at)) => match at.strip_prefix(SITE) {
                Some(site) => {
                    let place = self.find_site(site);
                    let place = place.ok_or_else(|| format!("there is no site {site:?}"))?;
                    (network, Qualifier::Site(place))
                }
                None => {
                    let address = at.parse();
                    let address = address
                        .map_err(|_| format!("{at:?} is neither an address nor {SITE}NAME"))?;
                    (network, Qualifier::Behind(address))
                }
            },
        };
        let network: Network = network
            .parse()
            .map_err(|error: tautline_core::ParseNetworkError| error.to_string())?;
        Ok(SubnetName { qualifier, network })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        let places = Places::new(vec!["berlin".into(), "oslo".into()]);
        for text in [
            "10.0.0.0/24",
            "10.0.0.0/24@203.0.113.7",
            "2001:db8::/64@2001:db8:7::1",
            "10.0.0.0/24@site:oslo",
        ] {
            let name = places.find(text).unwrap();
            assert_eq!(places.show(name), text);
        }
        assert_eq!(
            places.find("10.0.0.0/24@site:oslo").unwrap().qualifier,
            Qualifier::Site(1)
        );
        for (text, told) in [
            ("10.0.0.0/99", "is not an address or a range"),
            ("", "is not an address or a range"),
            ("10.0.0.0/24@here", "\"here\" is neither an address"),
            ("10.0.0.0/24@site:rome", "there is no site \"rome\""),
        ] {
            let error = places.find(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
