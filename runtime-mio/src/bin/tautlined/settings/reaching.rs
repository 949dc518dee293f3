//! How clients are reached: the settings of persistent connections, of sites,
//! and of notifications on their way.

use serde::Deserialize;
use tautline_core::Network;
use tautline_std::settings::Checks;

/// Above any wait that makes sense, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// A site's number has 16 bits.
const SITES_MAX: usize = 65_535;
const SITE_NAME_BYTES_MAX: usize = 64;

/// What the relay is to the tree that it stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// It has clients.
    #[default]
    Relay,
    /// The top: it grants clients no persistent connection.
    Root,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Root => "root",
        }
    }
}

/// Which clients may hold a persistent connection, and when they try.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PersistentConnections {
    /// Whether any is granted.
    pub(crate) enabled: bool,
    /// Open and granted ones at a time; 0 is none.
    pub(crate) connections_max: u32,
    /// Of one subnet; 0 is no such limit.
    pub(crate) per_subnet_max: u32,
    /// Of the clients behind one address; 0 is no such limit.
    pub(crate) per_address_max: u32,
    /// How long a client waits for a test notification before it connects.
    pub(crate) wait_ms: u64,
    /// When the relay sends it one, each counted from the answer.
    pub(crate) test_sends_ms: [u64; 3],
    /// How long a client waits after an attempt that failed.
    pub(crate) retry_delay_ms: u64,
    /// Attempts before its next registration.
    pub(crate) attempts_max: u32,
    /// How long an attempt takes at most.
    pub(crate) attempt_timeout_ms: u64,
    /// How long a connection may not take what is written to it.
    pub(crate) line_stall_ms: u64,
}

impl Default for PersistentConnections {
    fn default() -> Self {
        Self {
            enabled: true,
            connections_max: 100,
            per_subnet_max: 3,
            per_address_max: 50,
            wait_ms: 60_000,
            test_sends_ms: [1_000, 10_000, 20_000],
            retry_delay_ms: 180_000,
            attempts_max: 4,
            attempt_timeout_ms: 20_000,
            line_stall_ms: 30_000,
        }
    }
}

/// How notifications travel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Notifications {
    /// Datagrams to clients in a second; 0 is without a limit.
    pub(crate) datagrams_per_second_max: u32,
    /// How long a peer may take to confirm what it was to pass on.
    pub(crate) served_timeout_ms: u64,
    /// How long a peer that did not is not asked again.
    pub(crate) sulk_ms: u64,
}

impl Default for Notifications {
    fn default() -> Self {
        Self {
            datagrams_per_second_max: 20_000,
            served_timeout_ms: 10_000,
            sulk_ms: 60_000,
        }
    }
}

/// A name for a place whose clients may be behind several addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Site {
    /// What it is called.
    pub(crate) name: String,
    /// Its addresses and ranges, as the relay sees them.
    pub(crate) networks: Vec<String>,
}

impl Site {
    /// Its networks; `check_sites` has found that all can be read.
    pub(crate) fn networks(&self) -> impl Iterator<Item = Network> {
        self.networks.iter().filter_map(|text| text.parse().ok())
    }
}

impl PersistentConnections {
    pub(super) fn check(&self, checks: &mut Checks) {
        let key = |name: &str| format!("persistent_connections.{name}");
        for (name, value) in [
            ("connections_max", self.connections_max),
            ("per_subnet_max", self.per_subnet_max),
            ("per_address_max", self.per_address_max),
        ] {
            checks.range(&key(name), &value, 0..=50_000);
        }
        for (name, value, least) in [
            ("wait_ms", self.wait_ms, 0),
            ("retry_delay_ms", self.retry_delay_ms, 1),
            ("attempt_timeout_ms", self.attempt_timeout_ms, 1),
            ("line_stall_ms", self.line_stall_ms, 1),
        ] {
            checks.range(&key(name), &value, least..=HOUR_MS);
        }
        checks.range(&key("attempts_max"), &self.attempts_max, 1..=100);
        self.check_test_sends(checks, &key("test_sends_ms"));
    }

    fn check_test_sends(&self, checks: &mut Checks, key: &str) {
        let sends = &self.test_sends_ms;
        for send in sends {
            checks.range(key, send, 0..=HOUR_MS);
        }
        let not_later = sends.windows(2).find(|pair| pair[1] <= pair[0]);
        if let Some(&[before, after]) = not_later {
            checks.require(key, false, || {
                format!("has {after} behind {before}, but each has to be later")
            });
        }
    }
}

impl Notifications {
    pub(super) fn check(&self, checks: &mut Checks) {
        let served = &self.served_timeout_ms;
        checks.range("notifications.served_timeout_ms", served, 1..=HOUR_MS);
        checks.range("notifications.sulk_ms", &self.sulk_ms, 0..=HOUR_MS);
        checks.range(
            "notifications.datagrams_per_second_max",
            &self.datagrams_per_second_max,
            0..=10_000_000,
        );
    }
}

/// Each site has a name of its own, and each network one site.
pub(super) fn check_sites(sites: &[Site], checks: &mut Checks) {
    checks.require("sites", sites.len() <= SITES_MAX, || {
        format!("has {} sites, but at most {SITES_MAX}", sites.len())
    });
    let mut taken: Vec<(Network, &str)> = Vec::new();
    for (place, site) in sites.iter().enumerate() {
        let key = format!("sites[{place}].name");
        let is_name = (1..=SITE_NAME_BYTES_MAX).contains(&site.name.len())
            && !site
                .name
                .chars()
                .any(|each| each.is_control() || each.is_whitespace());
        checks.require(&key, is_name, || {
            format!(
                "is {:?}, but must be a word of 1 to {SITE_NAME_BYTES_MAX} bytes",
                site.name
            )
        });
        let is_own = sites[..place].iter().all(|before| before.name != site.name);
        checks.require(&key, is_own, || {
            format!("is {:?}, but another site has that name", site.name)
        });
        check_networks(site, place, &mut taken, checks);
    }
}

fn check_networks<'a>(
    site: &'a Site,
    place: usize,
    taken: &mut Vec<(Network, &'a str)>,
    checks: &mut Checks,
) {
    let key = format!("sites[{place}].networks");
    checks.require(&key, !site.networks.is_empty(), || {
        "is empty, but a site is told by its networks".into()
    });
    for text in &site.networks {
        match text.parse::<Network>() {
            Err(error) => {
                checks.require(&key, false, || format!("has a wrong entry: {error}"));
            }
            Ok(network) => {
                let other = taken.iter().find(|(other, _)| *other == network);
                if let Some((network, other)) = other {
                    checks.require(&key, false, || {
                        format!("has {network}, which is also in site {other:?}")
                    });
                }
                taken.push((network, &site.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;

    #[test]
    fn short_timers_of_a_test_are_sound() {
        let text = "role = \"root\"\n[registration]\nperiod_s = 1\n[persistent_connections]\n\
                    enabled = false\nconnections_max = 50000\nper_subnet_max = 0\n\
                    per_address_max = 2\nwait_ms = 500\ntest_sends_ms = [100, 400, 800]\n\
                    retry_delay_ms = 500\nattempts_max = 4\nattempt_timeout_ms = 1000\n\
                    line_stall_ms = 2000\n[notifications]\n\
                    datagrams_per_second_max = 0\nserved_timeout_ms = 500\nsulk_ms = 5000\n\
                    [[sites]]\nname = \"berlin\"\nnetworks = [\"203.0.113.0/24\", \"::1\"]\n";
        assert_eq!(told(text), [""; 0]);
        let two = told("[persistent_connections]\ntest_sends_ms = [1, 2]\n");
        assert!(
            two[0]
                .starts_with("a.toml:2:17: persistent_connections.test_sends_ms: invalid length 2"),
            "{two:?}"
        );
    }

    #[test]
    fn what_is_out_of_range_is_told_with_its_place() {
        let text = "[persistent_connections]\nconnections_max = 50001\nattempts_max = 0\n\
                    test_sends_ms = [10, 10, 20]\n[notifications]\nserved_timeout_ms = 0\n";
        assert_eq!(
            told(text),
            [
                "a.toml:2: persistent_connections.connections_max is 50001, but must be 0 to 50000",
                "a.toml:3: persistent_connections.attempts_max is 0, but must be 1 to 100",
                "a.toml:4: persistent_connections.test_sends_ms has 10 behind 10, but each has to \
                 be later",
                "a.toml:6: notifications.served_timeout_ms is 0, but must be 1 to 3600000",
            ]
        );
        let moved = told("[registration]\npersistent_connections = true\n");
        assert!(
            moved[0].starts_with("a.toml:2:1: unknown field `persistent_connections`"),
            "{moved:?}"
        );
        let role = told("role = \"boss\"\n");
        assert!(
            role[0].starts_with("a.toml:1:8: role: unknown variant `boss`, expected `relay`"),
            "{role:?}"
        );
    }

    #[test]
    fn sites_do_not_overlap_by_name_or_network() {
        let text = "[[sites]]\nname = \"berlin\"\nnetworks = [\"203.0.113.0/24\"]\n[[sites]]\n\
                    name = \"berlin\"\nnetworks = [\"203.0.113.0/24\", \"10.0.0.0/99\"]\n\
                    [[sites]]\nname = \"a b\"\nnetworks = []\n";
        assert_eq!(
            told(text),
            [
                "a.toml:5: sites[1].name is \"berlin\", but another site has that name",
                "a.toml:6: sites[1].networks has 203.0.113.0/24, which is also in site \"berlin\"",
                "a.toml:6: sites[1].networks has a wrong entry: \"10.0.0.0/99\" is not an address \
                 or a range of addresses such as 10.0.0.0/8",
                "a.toml:8: sites[2].name is \"a b\", but must be a word of 1 to 64 bytes",
                "a.toml:9: sites[2].networks is empty, but a site is told by its networks",
            ]
        );
    }
}
