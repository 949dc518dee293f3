//! The agent's settings.

mod heartbeat;
mod relays;
mod timers;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tautline_core::client::{RelayAddress, Settings as ClientSettings};
use tautline_std::logs::{self, Format};
use tautline_std::origin::Origin;
use tautline_std::settings::{Checks, Settings};

use super::handler::HandlerSettings;
use super::interfaces::{self, WrittenInterface};
use super::port::UdpPort;
use heartbeat::HeartbeatSettings;
use relays::RelaySettings;
use timers::TimerSettings;

/// All settings, with their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AgentSettings {
    /// Where the agent's folder is.
    pub(super) data_dir: Option<PathBuf>,
    pub(super) relay: RelaySettings,
    pub(super) client: OwnSettings,
    pub(super) handler: HandlerSettings,
    pub(super) heartbeat: HeartbeatSettings,
    pub(super) timers: TimerSettings,
    pub(super) log: LogSettings,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OwnSettings {
    /// What the machine is called; the system's own name if it is not set.
    pub(super) hostname: Option<String>,
    /// Where datagrams are taken.
    pub(super) udp_port: UdpPort,
    /// The machine's addresses, instead of those that the system has.
    pub(super) interfaces: Option<Vec<WrittenInterface>>,
    /// How often to look whether the system's addresses have changed; 0 is
    /// never.
    pub(super) addresses_interval_s: u32,
    /// Whether to ask for a persistent connection.
    pub(super) persistent_connection: bool,
    /// Datagrams that are passed on to others of the subnet in a second; 0 is
    /// no bound.
    pub(super) datagrams_per_second_max: u32,
    /// When the inbox is asked although nothing was heard; 0 is never.
    pub(super) poll_interval_s: u64,
}

impl Default for OwnSettings {
    fn default() -> Self {
        Self {
            hostname: None,
            udp_port: UdpPort::Usual,
            interfaces: None,
            addresses_interval_s: 60,
            persistent_connection: true,
            datagrams_per_second_max: 1_000,
            poll_interval_s: 900,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogSettings {
    /// A level, or a level for each part.
    pub(super) level: String,
    /// text or json.
    pub(super) format: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: "text".to_owned(),
        }
    }
}

impl AgentSettings {
    /// The core's settings, for the relays and the machine's name.
    pub(super) fn of_client(&self, relays: &[Origin], hostname: &str) -> ClientSettings {
        let nowhere = RelayAddress {
            host: "".into(),
            port: 0,
            tls: false,
        };
        let mut settings = ClientSettings::new(nowhere, hostname);
        self.relay.apply(relays, &mut settings);
        self.timers.apply(&mut settings);
        settings.heartbeat = self.heartbeat.of_client();
        let stated = self.client.interfaces.iter().flatten();
        settings.interfaces = stated.map(|written| written.0).collect();
        settings.persistent_connection = self.client.persistent_connection;
        settings.datagrams_per_second_max = self.client.datagrams_per_second_max;
        settings.poll_interval = Duration::from_secs(self.client.poll_interval_s);
        settings
    }
}

impl Settings for AgentSettings {
    fn check(&self, checks: &mut Checks) {
        self.relay.check(checks);
        self.heartbeat.check(checks);
        self.timers.check(checks);
        let name = self.client.hostname.as_deref().unwrap_or("-");
        checks.require("client.hostname", (1..=255).contains(&name.len()), || {
            "must have 1 to 255 bytes".to_owned()
        });
        checks.range(
            "client.poll_interval_s",
            &self.client.poll_interval_s,
            0..=86_400,
        );
        checks.range(
            "client.addresses_interval_s",
            &self.client.addresses_interval_s,
            0..=86_400,
        );
        let count = self.client.interfaces.as_ref().map_or(0, Vec::len);
        checks.require("client.interfaces", count <= interfaces::STATED_MAX, || {
            format!(
                "has {count} addresses, but must have at most {}",
                interfaces::STATED_MAX
            )
        });
        self.handler.check(checks);
        let level = logs::check_filter(&self.log.level);
        checks.require("log.level", level.is_ok(), || {
            level
                .err()
                .map_or_else(String::new, |error| error.to_string())
        });
        let format = self.log.format.parse::<Format>();
        checks.require("log.format", format.is_ok(), || {
            format!("is {:?}, but must be text or json", self.log.format)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tautline_std::settings::Sources;

    fn load(variables: &[(&str, &str)]) -> Result<AgentSettings, String> {
        let mut sources = Sources::default();
        sources.environment(
            variables
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        sources.load().map_err(|error| error.to_string())
    }

    /// The keys of a section, or of none: a wrong one is told which there are.
    fn keys_of(section: Option<&str>) -> Vec<String> {
        let head = section.map_or(String::new(), |name| format!("[{name}]\n"));
        let error = toml::from_str::<AgentSettings>(&format!("{head}no_key = 0"));
        let error = error.unwrap_err().message().to_owned();
        let (_, expected) = error.split_once("expected").expect("it says which");
        let words = expected.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    }

    #[test]
    fn each_setting_is_documented_and_no_other() {
        let mut keys = Vec::new();
        for name in keys_of(None) {
            match name.as_str() {
                "data_dir" => keys.push(name),
                section => {
                    let below = keys_of(Some(section));
                    keys.extend(below.iter().map(|key| format!("{section}.{key}")));
                }
            }
        }
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let (_, of_agent) = docs.split_once("\n# The agent's settings\n").unwrap();
        let rows = of_agent.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        let mut documented: Vec<_> = cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        documented.sort_unstable();
        keys.sort_unstable();
        assert_eq!(documented, keys);
    }

    #[test]
    fn a_relay_is_enough() {
        let settings = load(&[("TAUTLINE_RELAY_ADDRESSES", "https://relay.example")]).unwrap();
        let origins = settings.relay.origins().unwrap();
        assert_eq!(origins[0].to_string(), "https://relay.example:52311");
        let client = settings.of_client(&origins, "web-1");
        assert_eq!(client.relays.len(), 1);
        assert_eq!(client.relays[0].authority(), "relay.example:52311");
        assert_eq!(client.poll_interval, Duration::from_secs(900));
    }

    #[test]
    fn a_relay_in_clear_beyond_this_machine_needs_a_decision() {
        let plain = |address, more: &[_]| {
            let address = [("TAUTLINE_RELAY_ADDRESSES", address)];
            load(&[&address, more].concat()).map(|_| ())
        };
        for address in ["relay", "http://relay", "10.0.0.1", "[2001:db8::1]:80"] {
            let error = plain(address, &[]).unwrap_err();
            let begin =
                format!("TAUTLINE_RELAY_ADDRESSES: relay.addresses has {address:?}, to which");
            assert!(error.starts_with(&begin), "{error}");
            let decided = [("TAUTLINE_RELAY_SECRETS_OVER_PLAINTEXT", "true")];
            assert_eq!(plain(address, &decided), Ok(()));
            let over_tls = [("TAUTLINE_RELAY_TLS", "true")];
            assert_eq!(plain(address, &over_tls), Ok(()));
        }
        for address in ["localhost", "http://127.0.0.1:80", "::1"] {
            assert_eq!(plain(address, &[]), Ok(()));
        }
    }

    #[test]
    fn tls_comes_by_url_or_by_key() {
        let with = |address, more| load(&[("TAUTLINE_RELAY_ADDRESSES", address), more]).unwrap();
        let ca = ("TAUTLINE_RELAY_CA_FILE", "/ca.pem");
        let tls = ("TAUTLINE_RELAY_TLS", "true");
        for settings in [with("https://relay", ca), with("relay", tls)] {
            assert!(settings.relay.origins().unwrap()[0].tls);
        }
    }

    #[test]
    fn relays_are_a_list_in_order() {
        let with = |addresses| {
            let tls = ("TAUTLINE_RELAY_TLS", "true");
            let failover = ("TAUTLINE_RELAY_FAILOVER_AFTER_S", "0");
            load(&[("TAUTLINE_RELAY_ADDRESSES", addresses), tls, failover])
        };
        let settings = with(r#"["b:1", "https://a", "::1"]"#).unwrap();
        let origins = settings.relay.origins().unwrap();
        let client = settings.of_client(&origins, "web-1");
        let listed: Vec<_> = client.relays.iter().map(RelayAddress::authority).collect();
        assert_eq!(listed, ["b:1", "a:52311", "[::1]:52311"]);
        assert!(client.relays.iter().all(|relay| relay.tls));
        assert_eq!(client.selector.failover_after, Duration::ZERO);

        let twice = with(r#"["a", "b", "https://a:52311"]"#).unwrap_err();
        assert!(twice.ends_with("has \"https://a:52311\" twice"), "{twice}");
        let many: Vec<_> = (0..65).map(|n| format!("relay-{n}")).collect();
        let many = format!("{many:?}");
        let many = with(&many).unwrap_err();
        assert!(
            many.ends_with("has 65 relays, but must have at most 64"),
            "{many}"
        );
        let none = with("[]").unwrap_err();
        assert!(
            none.ends_with("has to name a relay, by --relay for one"),
            "{none}"
        );
    }

    #[test]
    fn the_port_is_a_number_or_off() {
        let with = |port| {
            let port = ("TAUTLINE_CLIENT_UDP_PORT", port);
            load(&[("TAUTLINE_RELAY_ADDRESSES", "::1"), port]).map(|s| s.client.udp_port)
        };
        assert_eq!(with("off"), Ok(UdpPort::Off));
        assert_eq!(with("0"), Ok(UdpPort::Free));
        assert_eq!(with("65535"), Ok(UdpPort::Exactly(65_535)));
        for (wrong, shown) in [
            ("65536", "integer `65536`"),
            ("-1", "integer `-1`"),
            ("udp", "string \"udp\""),
            ("1.5", "floating point `1.5`"),
        ] {
            let error = with(wrong).unwrap_err();
            assert!(
                error.starts_with("TAUTLINE_CLIENT_UDP_PORT: client.udp_port: invalid")
                    && error.contains(shown)
                    && error.ends_with("a port of 1 to 65535, 0 for any that is free, or \"off\""),
                "{error}"
            );
        }
    }

    #[test]
    fn addresses_can_be_stated() {
        let with = |written| {
            let interfaces = ("TAUTLINE_CLIENT_INTERFACES", written);
            load(&[("TAUTLINE_RELAY_ADDRESSES", "::1"), interfaces])
        };
        let settings = with(r#"["10.0.0.5/24"]"#).unwrap();
        let client = settings.of_client(&settings.relay.origins().unwrap(), "web-1");
        assert_eq!(client.interfaces[0].prefix, 24);
        assert_eq!(
            with(r#"["10.0.0.5/33"]"#).unwrap_err(),
            "TAUTLINE_CLIENT_INTERFACES: client.interfaces: invalid value: string \"10.0.0.5/33\", \
             expected an address and the length of its prefix such as 10.0.0.5/24, /1 to /32 for \
             IPv4 and to /128 for IPv6"
        );
        let many = format!("{:?}", vec!["10.0.0.5/24"; 33]);
        let error = with(&many).unwrap_err();
        assert!(
            error.ends_with("has 33 addresses, but must have at most 32"),
            "{error}"
        );
    }

    #[test]
    fn heartbeats_follow_the_relay_unless_they_are_set() {
        let with = |more: &[_]| {
            let address = [("TAUTLINE_RELAY_ADDRESSES", "::1")];
            load(&[&address, more].concat())
        };
        let settings = with(&[("TAUTLINE_HEARTBEAT_HEARTBEAT_S", "900")]).unwrap();
        let client = settings.of_client(&settings.relay.origins().unwrap(), "web-1");
        assert_eq!(client.heartbeat.heartbeat, Some(Duration::from_secs(900)));
        assert_eq!(client.heartbeat.frequency, None);
        assert_eq!(client.heartbeat.period, Duration::ZERO);
        let wrong = with(&[
            ("TAUTLINE_HEARTBEAT_PERIOD_S", "86401"),
            ("TAUTLINE_HEARTBEAT_HEARTBEAT_S", "86401"),
            ("TAUTLINE_HEARTBEAT_FREQUENCY_S", "86401"),
            ("TAUTLINE_HEARTBEAT_RESPONSE_TIMEOUT_MS", "99"),
        ]);
        assert_eq!(
            wrong.unwrap_err(),
            "TAUTLINE_HEARTBEAT_PERIOD_S: heartbeat.period_s is 86401, but must be 0 to 86400\n\
             TAUTLINE_HEARTBEAT_HEARTBEAT_S: heartbeat.heartbeat_s is 86401, but must be 0 to 86400\n\
             TAUTLINE_HEARTBEAT_FREQUENCY_S: heartbeat.frequency_s is 86401, but must be 0 to 86400\n\
             TAUTLINE_HEARTBEAT_RESPONSE_TIMEOUT_MS: heartbeat.response_timeout_ms is 99, but must be \
             100 to 3600000"
        );
    }

    #[test]
    fn what_is_wrong_is_told_at_once() {
        assert_eq!(
            load(&[("TAUTLINE_LOG_FORMAT", "xml")]).unwrap_err(),
            "relay.addresses (not set) has to name a relay, by --relay for one\n\
             TAUTLINE_LOG_FORMAT: log.format is \"xml\", but must be text or json"
        );
        let error = load(&[
            ("TAUTLINE_RELAY_ADDRESSES", "a b"),
            ("TAUTLINE_CLIENT_POLL_INTERVAL_S", "100000"),
        ]);
        assert_eq!(
            error.unwrap_err(),
            "TAUTLINE_RELAY_ADDRESSES: relay.addresses has \"a b\"; expected HOST, HOST:PORT or a URL \
             such as https://relay.example:52311\nTAUTLINE_CLIENT_POLL_INTERVAL_S: \
             client.poll_interval_s is 100000, but must be 0 to 86400"
        );
        let plain = [
            ("TAUTLINE_RELAY_ADDRESSES", "localhost"),
            ("TAUTLINE_RELAY_CA_FILE", "/ca.pem"),
        ];
        assert!(load(&plain).unwrap_err().contains("of no use without TLS"));
    }
}
