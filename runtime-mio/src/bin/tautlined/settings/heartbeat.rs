//! Whether the clients are still there.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tautline_core::ClientId;
use tautline_core::heartbeat::{
    InFlight as CoreInFlight, LearnerSettings, PERIOD_MAX, PERIOD_MIN, ProberSettings,
    RESPONSE_TIMEOUT_MAX, RESPONSE_TIMEOUT_MIN,
};
use tautline_core::relay::{Group, HeartbeatSettings};
use tautline_std::settings::{Checks, word_or_number};

use crate::places::Places;

/// Of probes; as many as there can be connections.
const IN_FLIGHT_MAX: u32 = 4_000_000;
/// What the relay takes.
const PERIODS_MAX: usize = 4_096;

/// The section `heartbeat`. A span of 0 is off.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Heartbeat {
    /// How often a client with a persistent connection is asked.
    pub(crate) period_s: u32,
    /// How long its answer may take.
    pub(crate) response_timeout_ms: u32,
    /// How many may be asked at a time.
    pub(crate) in_flight: InFlight,
    /// The silence after which a connection is ended, asked or not.
    pub(crate) heartbeat_s: u32,
    /// How often that is looked for.
    pub(crate) frequency_s: u32,
    /// Whether periods are shortened where connections keep dying idle.
    pub(crate) learning: bool,
    /// No period is shortened below it.
    pub(crate) learning_period_min_s: u32,
    /// Periods that differ.
    pub(crate) periods: Vec<Period>,
}

/// Probes that are unanswered at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InFlight {
    #[default]
    Auto,
    Window(u32),
}

/// A period of some clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Period {
    subnet: Option<String>,
    site: Option<String>,
    client: Option<String>,
    period_s: u32,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            period_s: 60,
            response_timeout_ms: 5_000,
            in_flight: InFlight::Auto,
            heartbeat_s: 0,
            frequency_s: 60,
            learning: false,
            learning_period_min_s: 10,
            periods: Vec::new(),
        }
    }
}

impl Heartbeat {
    /// What the relay is told; `check` has found that it is sound.
    pub(crate) fn of_relay(&self, places: &Places) -> HeartbeatSettings {
        let periods = self.periods.iter().filter_map(|period| {
            let (name, text) = period.named().ok()?;
            let group = group(places, name, text).ok()?;
            Some((group, seconds(period.period_s)))
        });
        HeartbeatSettings {
            prober: ProberSettings {
                period: seconds(self.period_s),
                response_timeout: Duration::from_millis(self.response_timeout_ms.into()),
                in_flight: match self.in_flight {
                    InFlight::Auto => CoreInFlight::Auto,
                    InFlight::Window(probes) => CoreInFlight::Window(probes),
                },
            },
            periods: periods.collect(),
            heartbeat: seconds(self.heartbeat_s),
            frequency: seconds(self.frequency_s),
            learning: self.learning.then(|| LearnerSettings {
                period_min: seconds(self.learning_period_min_s),
                ..LearnerSettings::default()
            }),
        }
    }

    pub(super) fn check(&self, places: &Places, checks: &mut Checks) {
        for (key, value) in [
            ("heartbeat.period_s", self.period_s),
            ("heartbeat.heartbeat_s", self.heartbeat_s),
            ("heartbeat.frequency_s", self.frequency_s),
        ] {
            checks.seconds(key, value, Duration::ZERO..=PERIOD_MAX);
        }
        checks.millis(
            "heartbeat.response_timeout_ms",
            self.response_timeout_ms,
            RESPONSE_TIMEOUT_MIN..=RESPONSE_TIMEOUT_MAX,
        );
        checks.seconds(
            "heartbeat.learning_period_min_s",
            self.learning_period_min_s,
            PERIOD_MIN..=PERIOD_MAX,
        );
        if let InFlight::Window(probes) = &self.in_flight {
            checks.range("heartbeat.in_flight", probes, 1..=IN_FLIGHT_MAX);
        }
        let count = self.periods.len();
        checks.require("heartbeat.periods", count <= PERIODS_MAX, || {
            format!("has {count} periods, but at most {PERIODS_MAX}")
        });
        let mut taken = BTreeSet::new();
        for (place, period) in self.periods.iter().enumerate() {
            let key = format!("heartbeat.periods[{place}]");
            checks.seconds(
                &format!("{key}.period_s"),
                period.period_s,
                Duration::ZERO..=PERIOD_MAX,
            );
            match period.named() {
                Err(what) => checks.require(&key, false, || what.into()),
                Ok((name, text)) => {
                    let key = format!("{key}.{name}");
                    match group(places, name, text) {
                        Err(error) => {
                            checks.require(&key, false, || format!("is {text:?}, but {error}"));
                        }
                        Ok(group) => checks.require(&key, taken.insert(group), || {
                            format!("is {text:?}, which has another period already")
                        }),
                    }
                }
            }
        }
    }
}

impl Period {
    /// The key that says whose it is, and what it says.
    fn named(&self) -> Result<(&'static str, &str), &'static str> {
        match (&self.subnet, &self.site, &self.client) {
            (Some(text), None, None) => Ok(("subnet", text)),
            (None, Some(text), None) => Ok(("site", text)),
            (None, None, Some(text)) => Ok(("client", text)),
            (None, None, None) => Err("needs a subnet, a site or a client"),
            _ => {
                Err("has more than one of subnet, site and client; each needs a period of its own")
            }
        }
    }
}

/// Who that is; else what is wrong with it.
fn group(places: &Places, name: &str, text: &str) -> Result<Group, String> {
    match name {
        "subnet" => places.find(text).map(Group::Subnet),
        "site" => places.find_site(text).map(Group::Site),
        _ => {
            let client: Result<ClientId, _> = text.parse();
            client.map(Group::Client).map_err(|error| error.to_string())
        }
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Window(probes) => probes.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for InFlight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A number that is out of range is told by `check`, with its place.
        word_or_number(
            deserializer,
            format_args!("\"auto\" or a number of 1 to {IN_FLIGHT_MAX}"),
            |word| (word == "auto").then_some(Self::Auto),
            |number| u32::try_from(number).ok().map(Self::Window),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::tests::told;
    use super::*;

    const SITES: &str = "[[sites]]\nname = \"berlin\"\nnetworks = [\"203.0.113.0/24\"]\n[[sites]]\n\
                         name = \"oslo\"\nnetworks = [\"203.0.114.0/24\"]\n";

    #[test]
    fn the_defaults_are_the_cores() {
        let defaults = Heartbeat::default().of_relay(&Places::default());
        assert_eq!(defaults, HeartbeatSettings::default());
    }

    #[test]
    fn every_setting_reaches_the_relay() {
        let text = "[heartbeat]\nperiod_s = 600\nresponse_timeout_ms = 100\nin_flight = 1\nheartbeat_s = 1201\n\
                    frequency_s = 30\nlearning = true\nlearning_period_min_s = 9\n[[heartbeat.periods]]\nsite = \"oslo\"\nperiod_s = 0\n\
                    [[heartbeat.periods]]\nsubnet = \"10.0.0.0/24@site:berlin\"\nperiod_s = 86400\n\
                    [[heartbeat.periods]]\nclient = \"9c9bb58ea5c26e556d15087e31d1bd30\"\nperiod_s = 7\n";
        let text = format!("{text}{SITES}");
        assert_eq!(told(&text), [""; 0]);
        let settings: Settings = toml::from_str(&text).unwrap();
        let places = settings.places();
        let client = "9c9bb58ea5c26e556d15087e31d1bd30".parse().unwrap();
        let subnet = places.find("10.0.0.0/24@site:berlin").unwrap();
        let expected = HeartbeatSettings {
            prober: ProberSettings {
                period: seconds(600),
                response_timeout: Duration::from_millis(100),
                in_flight: CoreInFlight::Window(1),
            },
            periods: vec![
                (Group::Site(1), seconds(0)),
                (Group::Subnet(subnet), seconds(86_400)),
                (Group::Client(client), seconds(7)),
            ],
            heartbeat: seconds(1_201),
            frequency: seconds(30),
            learning: Some(LearnerSettings {
                period_min: seconds(9),
                ..LearnerSettings::default()
            }),
        };
        assert_eq!(settings.heartbeat.of_relay(&places), expected);
    }

    #[test]
    fn what_is_out_of_range_is_told_with_its_place() {
        let text = "[heartbeat]\nperiod_s = 86401\nresponse_timeout_ms = 99\nin_flight = 0\n\
                    heartbeat_s = 86401\nfrequency_s = 86401\nlearning_period_min_s = 0\n";
        assert_eq!(
            told(text),
            [
                "a.toml:2: heartbeat.period_s is 86401, but must be 0 to 86400",
                "a.toml:5: heartbeat.heartbeat_s is 86401, but must be 0 to 86400",
                "a.toml:6: heartbeat.frequency_s is 86401, but must be 0 to 86400",
                "a.toml:3: heartbeat.response_timeout_ms is 99, but must be 100 to 3600000",
                "a.toml:7: heartbeat.learning_period_min_s is 0, but must be 1 to 86400",
                "a.toml:4: heartbeat.in_flight is 0, but must be 1 to 4000000",
            ]
        );
        for (wrong, shown) in [
            ("-1", "invalid value: integer `-1`"),
            ("\"all\"", "invalid value: string \"all\""),
            ("true", "invalid type: boolean `true`"),
        ] {
            let told = told(&format!("[heartbeat]\nin_flight = {wrong}\n"));
            let expected = format!(
                "a.toml:2:13: heartbeat.in_flight: {shown}, expected \"auto\" or a number of 1 to \
                 4000000"
            );
            assert_eq!(told[0], expected);
        }
    }

    #[test]
    fn a_period_that_is_nobodys_is_told_with_its_place() {
        let text = "[[heartbeat.periods]]\nsite = \"rome\"\nperiod_s = 86401\n\
                    [[heartbeat.periods]]\nperiod_s = 5\n\
                    [[heartbeat.periods]]\nsite = \"oslo\"\nsubnet = \"10.0.0.0/24\"\nperiod_s = 5\n\
                    [[heartbeat.periods]]\nclient = \"web-1\"\nperiod_s = 5\n\
                    [[heartbeat.periods]]\nsubnet = \"10.0.0.0/24@site:rome\"\nperiod_s = 5\n\
                    [[heartbeat.periods]]\nsite = \"oslo\"\nperiod_s = 5\n\
                    [[heartbeat.periods]]\nsite = \"oslo\"\nperiod_s = 6\n";
        let known = "there is no site \"rome\"; known are [\"berlin\", \"oslo\"]";
        let id = "web-1".parse::<ClientId>().unwrap_err();
        assert_eq!(
            told(&format!("{text}{SITES}")),
            [
                "a.toml:3: heartbeat.periods[0].period_s is 86401, but must be 0 to 86400".into(),
                format!("a.toml:2: heartbeat.periods[0].site is \"rome\", but {known}"),
                "a.toml:4: heartbeat.periods[1] needs a subnet, a site or a client".into(),
                "a.toml:6: heartbeat.periods[2] has more than one of subnet, site and client; \
                 each needs a period of its own"
                    .into(),
                format!("a.toml:11: heartbeat.periods[3].client is \"web-1\", but {id}"),
                format!(
                    "a.toml:14: heartbeat.periods[4].subnet is \"10.0.0.0/24@site:rome\", but {known}"
                ),
                "a.toml:20: heartbeat.periods[6].site is \"oslo\", which has another period already".to_owned(),
            ]
        );
        let told_first = |text| told(text).remove(0);
        assert_eq!(
            told_first("[[heartbeat.periods]]\nsite = \"a\"\n"),
            "a.toml:1:1: heartbeat.periods[0]: missing field `period_s`"
        );
        let wrong = told_first("[[heartbeat.periods]]\nhost = \"a\"\n");
        assert!(
            wrong.starts_with("a.toml:2:1: ") && wrong.contains("`host`, expected one of `subnet`"),
            "{wrong}"
        );
    }
}
