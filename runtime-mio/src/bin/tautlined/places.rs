//! The names of subnets and sites, as an operator reads and types them:
//! `10.0.0.0/24`, behind a NAT `10.0.0.0/24@203.0.113.7`, at a site
//! `10.0.0.0/24@site:berlin`.

use std::net::IpAddr;

use tautline_core::Network;
use tautline_core::registration::{Qualifier, SubnetName};

/// Marks a site in the name of a subnet.
const SITE: &str = "site:";
/// Sites that an error names.
const SHOWN_MAX: usize = 16;

/// The names of the sites, in the order of the settings.
#[derive(Debug, Default)]
pub(crate) struct Places {
    sites: Vec<String>,
}

impl Places {
    pub(crate) const fn new(sites: Vec<String>) -> Self {
        Self { sites }
    }

    pub(crate) fn site(&self, place: u16) -> Option<&str> {
        self.sites.get(usize::from(place)).map(String::as_str)
    }

    /// Its place; else what to say of a name that no site has.
    pub(crate) fn find_site(&self, name: &str) -> Result<u16, String> {
        let place = self.sites.iter().position(|site| site == name);
        let place = place.and_then(|place| u16::try_from(place).ok());
        place.ok_or_else(|| format!("there is no site {name:?}; {}", self.known()))
    }

    /// Which sites there are, as far as they fit a line.
    fn known(&self) -> String {
        let shown: Vec<_> = self.sites.iter().take(SHOWN_MAX).collect();
        match self.sites.len() {
            0 => "the settings have none".to_owned(),
            count if count > SHOWN_MAX => format!("known are {shown:?} and others"),
            _ => format!("known are {shown:?}"),
        }
    }

    pub(crate) fn show(&self, subnet: SubnetName) -> String {
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
    pub(crate) fn find(&self, text: &str) -> Result<SubnetName, String> {
        let (network, qualifier) = match text.split_once('@') {
            None => (text, Qualifier::Direct),
            Some((network, at)) => match at.strip_prefix(SITE) {
                Some(site) => (network, Qualifier::Site(self.find_site(site)?)),
                None => {
                    let address: Result<IpAddr, _> = at.parse();
                    let address = address
                        .map_err(|_| format!("{at:?} is neither an address nor {SITE}NAME"))?;
                    (network, Qualifier::Behind(address.to_canonical()))
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
            (
                "10.0.0.0/24@site:rome",
                "there is no site \"rome\"; known are [\"berlin\", \"oslo\"]",
            ),
        ] {
            let error = places.find(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        let error = Places::default().find_site("rome").unwrap_err();
        assert_eq!(error, "there is no site \"rome\"; the settings have none");
        let many = Places::new((0..17).map(|place| format!("s{place}")).collect());
        let error = many.find_site("rome").unwrap_err();
        assert!(error.ends_with("\"s15\"] and others"), "{error}");
    }
}
