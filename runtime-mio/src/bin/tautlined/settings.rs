//! The daemon's settings: TOML, environment, flags.

mod heartbeat;
mod reaching;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use serde::Deserialize;
use tautline_core::Network;
use tautline_std::logs::{self, Format};
use tautline_std::settings::{Checks, Settings as Layers, Sources};

use crate::places::Places;
pub(crate) use heartbeat::{Heartbeat, InFlight};
pub(crate) use reaching::{Notifications, PersistentConnections, Role, Site};

/// Connections at a time, if nothing else is configured.
const CONNECTIONS_MAX: u32 = 50_000;
/// Read without being named, if it is there.
const DEFAULT_FILE: &str = "/etc/tautline/tautlined.toml";

/// The relay daemon of tautline: keeps a line to every machine of a fleet.
///
/// Without any setting it serves this machine alone, on 127.0.0.1 port 52311.
/// Every setting can also be an environment variable, TAUTLINE_SECTION_KEY,
/// such as TAUTLINE_LISTEN_ADDRESSES. Flags win over the environment, the
/// environment over the file.
#[derive(Debug, Parser)]
#[command(name = "tautlined", version, max_term_width = 100)]
pub(crate) struct Flags {
    /// The configuration file [default: /etc/tautline/tautlined.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "TAUTLINE_CONFIG")]
    config: Option<PathBuf>,
    /// Check the configuration, say what is wrong with it, and end: 0 or 78
    #[arg(long)]
    pub(crate) check_config: bool,
    /// An address to listen on, TCP and UDP; may be given more than once
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<String>,
    /// Where the relay keeps its token, its key and its state
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Flags {
    /// Everything that settings come from, to be read now and at each reload.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        match &self.config {
            Some(path) => {
                sources.file(path);
            }
            None if PathBuf::from(DEFAULT_FILE).exists() => {
                sources.file(DEFAULT_FILE);
            }
            None => {}
        }
        sources.environment(std::env::vars_os());
        if !self.listen.is_empty() {
            // As TOML, whose texts are quoted like Rust's.
            let addresses = format!("{:?}", self.listen);
            sources.flag("--listen", "listen.addresses", addresses);
        }
        let flags = [
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ];
        for (flag, key, value) in flags {
            if let Some(value) = value {
                sources.flag(flag, key, value);
            }
        }
        if let Some(dir) = &self.data_dir {
            sources.flag("--data-dir", "data_dir", dir);
        }
        sources
    }
}

/// All settings, with their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where token, key and state are kept.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) role: Role,
    pub(crate) listen: Listen,
    pub(crate) tls: Tls,
    pub(crate) proxy: Proxy,
    pub(crate) registration: Registration,
    pub(crate) persistent_connections: PersistentConnections,
    pub(crate) notifications: Notifications,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) sites: Vec<Site>,
    pub(crate) log: Log,
    pub(crate) limits: Limits,
    pub(crate) shutdown: Shutdown,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    /// TCP and UDP.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Lets secrets of clients and the operator's token travel unencrypted
    /// beyond this machine. Whoever listens on the way can take them.
    pub(crate) secrets_over_plaintext: bool,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 52_311))],
            secrets_over_plaintext: false,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// The certificate chain, PEM.
    pub(crate) certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub(crate) key: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Proxy {
    /// Whose PROXY protocol headers are believed: addresses and ranges.
    pub(crate) believed: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Registration {
    /// When clients register anew.
    pub(crate) period_s: u32,
    /// After how many missed periods a client is forgotten.
    pub(crate) missed_periods_max: u32,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            period_s: 6 * 3_600,
            missed_periods_max: 3,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// A level, or a level for each part.
    pub(crate) level: String,
    /// text or json.
    pub(crate) format: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: "text".into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Connections at a time, 50,000 unless it is set; fewer if the process may
    /// not have as many descriptors.
    pub(crate) connections_max: Option<u32>,
    /// Clients at a time.
    pub(crate) clients_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: None,
            clients_max: 1_000_000,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shutdown {
    /// How long connections may take to end before they are cut.
    pub(crate) drain_limit_ms: u64,
    /// The window over which clients spread their return, after a shutdown and
    /// after a connection that was lost without a word.
    pub(crate) return_window_ms: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            drain_limit_ms: 10_000,
            return_window_ms: 30_000,
        }
    }
}

impl Shutdown {
    pub(crate) fn drain_limit(&self) -> Duration {
        Duration::from_millis(self.drain_limit_ms)
    }
}

impl Limits {
    /// Connections at a time, as far as the system gives descriptors.
    pub(crate) fn connections_wanted(&self) -> u32 {
        self.connections_max.unwrap_or(CONNECTIONS_MAX)
    }
}

impl Settings {
    /// Whether there is a certificate.
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.certificate.is_some() && self.tls.key.is_some()
    }

    /// The believed proxies; `check` has found that all can be read.
    pub(crate) fn proxies(&self) -> Vec<Network> {
        let believed = self.proxy.believed.iter();
        believed.filter_map(|text| text.parse().ok()).collect()
    }

    /// The names of subnets and sites.
    pub(crate) fn places(&self) -> Places {
        Places::new(self.sites.iter().map(|site| site.name.clone()).collect())
    }

    /// How log lines look; `check` has found that it is known.
    pub(crate) fn log_format(&self) -> Format {
        self.log.format.parse().unwrap_or_default()
    }

    /// The sections that differ and take effect at a start only.
    pub(crate) fn restart_needed_for(&self, new: &Self) -> Vec<&'static str> {
        let differs = [
            ("data_dir", self.data_dir != new.data_dir),
            ("listen", self.listen != new.listen),
            ("role", self.role != new.role),
            ("registration", self.registration != new.registration),
            (
                "persistent_connections",
                self.persistent_connections != new.persistent_connections,
            ),
            ("notifications", self.notifications != new.notifications),
            ("heartbeat", self.heartbeat != new.heartbeat),
            ("sites", self.sites != new.sites),
            ("log.format", self.log.format != new.log.format),
            ("limits", self.limits != new.limits),
            (
                "shutdown.return_window_ms",
                self.shutdown.return_window_ms != new.shutdown.return_window_ms,
            ),
        ];
        differs
            .into_iter()
            .filter_map(|(name, differs)| differs.then_some(name))
            .collect()
    }
}

impl Layers for Settings {
    fn check(&self, checks: &mut Checks) {
        checks.require(
            "listen.addresses",
            !self.listen.addresses.is_empty(),
            || "is empty, but the relay must listen somewhere".into(),
        );
        let exposed = self
            .listen
            .addresses
            .iter()
            .find(|each| !each.ip().is_loopback());
        if let Some(address) = exposed {
            let safe = self.has_tls() || self.listen.secrets_over_plaintext;
            checks.require("listen.addresses", safe, || {
                format!(
                    "has {address}, where secrets would travel unencrypted: set tls.certificate \
                     and tls.key, or listen.secrets_over_plaintext = true"
                )
            });
        }
        let both = self.tls.certificate.is_some() == self.tls.key.is_some();
        let lone = if self.tls.key.is_some() {
            "tls.key"
        } else {
            "tls.certificate"
        };
        checks.require(lone, both, || {
            "needs its other half: tls.certificate and tls.key".into()
        });
        for text in &self.proxy.believed {
            if let Err(error) = text.parse::<Network>() {
                checks.require("proxy.believed", false, || {
                    format!("has a wrong entry: {error}")
                });
            }
        }
        if let Err(error) = logs::check_filter(&self.log.level) {
            checks.require("log.level", false, || format!("is wrong: {error}"));
        }
        if let Err(error) = self.log.format.parse::<Format>() {
            checks.require("log.format", false, || format!("is wrong: {error}"));
        }
        checks.range(
            "registration.period_s",
            &self.registration.period_s,
            1..=4_000_000,
        );
        checks.range(
            "registration.missed_periods_max",
            &self.registration.missed_periods_max,
            1..=1_000,
        );
        self.persistent_connections.check(checks);
        self.notifications.check(checks);
        self.heartbeat.check(&self.places(), checks);
        reaching::check_sites(&self.sites, checks);
        if let Some(connections_max) = &self.limits.connections_max {
            checks.range("limits.connections_max", connections_max, 10..=4_000_000);
        }
        checks.range(
            "limits.clients_max",
            &self.limits.clients_max,
            1..=16_000_000,
        );
        checks.range(
            "shutdown.drain_limit_ms",
            &self.shutdown.drain_limit_ms,
            0..=3_600_000,
        );
        checks.range(
            "shutdown.return_window_ms",
            &self.shutdown.return_window_ms,
            0..=3_600_000,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a file, without its folder.
    pub(super) fn told(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        std::fs::write(&path, text).unwrap();
        let arguments = ["tautlined", "--config", path.to_str().unwrap()];
        let flags = Flags::try_parse_from(arguments).unwrap();
        let folder = format!("{}/", dir.path().display());
        match flags.sources().load::<Settings>() {
            Ok(_) => Vec::new(),
            Err(error) => error
                .to_string()
                .replace(&folder, "")
                .lines()
                .map(str::to_owned)
                .collect(),
        }
    }

    fn load(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Settings, String> {
        let arguments = ["tautlined"].iter().chain(arguments);
        let flags = Flags::try_parse_from(arguments).map_err(|error| error.to_string())?;
        let mut sources = flags.sources();
        let owned = |&(name, value): &(&str, &str)| (name.into(), value.into());
        sources.environment(variables.iter().map(owned));
        sources.load().map_err(|error| error.to_string())
    }

    #[test]
    fn without_any_setting_it_serves_this_machine_alone() {
        let settings = load(&[], &[]).unwrap();
        assert_eq!(settings, Settings::default());
        assert!(
            settings
                .listen
                .addresses
                .iter()
                .all(|each| each.ip().is_loopback())
        );
    }

    #[test]
    fn flags_win_over_the_environment() {
        let variables = [
            ("TAUTLINE_LISTEN_ADDRESSES", "[\"127.0.0.1:1\"]"),
            ("TAUTLINE_LOG_LEVEL", "debug"),
        ];
        let settings = load(
            &["--listen", "127.0.0.1:2", "--listen", "[::1]:2"],
            &variables,
        );
        let settings = settings.unwrap();
        let texts: Vec<_> = settings
            .listen
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts, ["127.0.0.1:2", "[::1]:2"]);
        assert_eq!(settings.log.level, "debug");
    }

    #[test]
    fn an_address_beyond_this_machine_needs_a_decision() {
        let error = load(&["--listen", "0.0.0.0:52311"], &[]).unwrap_err();
        assert!(
            error.contains("--listen: listen.addresses has 0.0.0.0:52311"),
            "{error}"
        );
        assert!(
            error.contains("listen.secrets_over_plaintext = true"),
            "{error}"
        );
        let decided = [("TAUTLINE_LISTEN_SECRETS_OVER_PLAINTEXT", "true")];
        assert!(load(&["--listen", "0.0.0.0:52311"], &decided).is_ok());
    }

    #[test]
    fn what_does_not_fit_names_its_key() {
        for (variable, value, key) in [
            ("TAUTLINE_TLS_KEY", "key.pem", "tls.key"),
            (
                "TAUTLINE_PROXY_BELIEVED",
                "[\"10.0.0.0/99\"]",
                "proxy.believed",
            ),
            ("TAUTLINE_LOG_LEVEL", "loud", "log.level"),
            ("TAUTLINE_LOG_FORMAT", "xml", "log.format"),
            (
                "TAUTLINE_REGISTRATION_PERIOD_S",
                "0",
                "registration.period_s",
            ),
            (
                "TAUTLINE_LIMITS_CONNECTIONS_MAX",
                "many",
                "limits.connections_max",
            ),
        ] {
            let error = load(&[], &[(variable, value)]).unwrap_err();
            assert!(error.contains(variable) && error.contains(key), "{error}");
        }
    }

    /// The keys of a section, or of none: a wrong one is told which there are.
    fn keys_of(section: Option<&str>) -> Vec<String> {
        let head = section.map_or(String::new(), |name| format!("[{name}]\n"));
        let error = toml::from_str::<Settings>(&format!("{head}no_key = 0")).unwrap_err();
        let (_, expected) = error.message().split_once("expected").unwrap_or_default();
        let words = expected.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    }

    #[test]
    fn each_setting_is_documented_and_no_other() {
        let mut keys = Vec::new();
        for name in keys_of(None) {
            match name.as_str() {
                "data_dir" | "role" => keys.push(name),
                // A list, told by an example.
                "sites" => {}
                section => {
                    let below = keys_of(Some(section));
                    keys.extend(below.iter().map(|key| format!("{section}.{key}")));
                }
            }
        }
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let (of_relay, _) = docs.split_once("\n# The agent's settings\n").unwrap();
        assert!(of_relay.contains("\n    [[sites]]\n"));
        let mut documented = Vec::new();
        let mut section = String::new();
        for line in of_relay.lines().filter(|line| line.starts_with('|')) {
            let cell = line.split('|').nth(1).unwrap();
            for key in cell.split('`').skip(1).step_by(2) {
                match key.strip_suffix('…') {
                    Some(head) => head.clone_into(&mut section),
                    None => documented.push(format!("{section}{key}")),
                }
            }
        }
        documented.sort_unstable();
        keys.sort_unstable();
        assert_eq!(documented, keys);
    }

    #[test]
    fn a_reload_tells_what_needs_a_restart() {
        let old = Settings::default();
        let mut new = old.clone();
        new.proxy.believed.push("10.0.0.0/8".into());
        new.shutdown.drain_limit_ms = 1;
        assert_eq!(old.restart_needed_for(&new), [""; 0]);
        new.limits.clients_max = 7;
        new.listen.addresses.clear();
        new.heartbeat.period_s = 7;
        let needed_for = ["listen", "heartbeat", "limits"];
        assert_eq!(old.restart_needed_for(&new), needed_for);
    }
}
