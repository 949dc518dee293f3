//! The flags of `tautline agent`.

use std::path::{Path, PathBuf};

use clap::Args;
use tautline_std::settings::Sources;

/// Read without being named, if it is there.
const DEFAULT_FILE: &str = "/etc/tautline/agent.toml";
/// Every setting can also be an environment variable, `TAUTLINE_<SECTION>_<KEY>`,
/// such as TAUTLINE_RELAY_ADDRESSES. Flags win over the environment, the
/// environment over the file.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A relay: HOST, HOST:PORT or a URL; may be given more than once, the best
    /// one first
    #[arg(long, value_name = "HOST[:PORT]")]
    relay: Vec<String>,
    /// Speak TLS with the relay
    #[arg(long)]
    tls: bool,
    /// Trust these certificates (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Let the agent's secret travel unencrypted to a relay on another machine
    #[arg(long)]
    secrets_over_plaintext: bool,
    /// Where datagrams are taken: this port or none other, 0 for any that is
    /// free, or off [default: 52311, or a free one if it is taken or a relay on
    /// this machine has it]
    #[arg(long, value_name = "PORT|off")]
    udp_port: Option<String>,
    /// Ask the relay so often whether it is there, in seconds; 0 is off
    #[arg(long, value_name = "SECONDS")]
    heartbeat_period: Option<String>,
    /// End the line when the relay was silent for longer, in seconds; 0 is off
    /// [default: twice the relay's own period and a second]
    #[arg(long, value_name = "SECONDS")]
    heartbeat: Option<String>,
    /// Look for that so often, in seconds [default: a tenth of the relay's
    /// period]
    #[arg(long, value_name = "SECONDS")]
    heartbeat_frequency: Option<String>,
    /// Where the agent keeps its identity, in a folder of its own
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// The configuration file [default: /etc/tautline/agent.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "TAUTLINE_CONFIG")]
    config: Option<PathBuf>,
    /// Check the configuration, say what is wrong with it, and end: 0 or 78
    #[arg(long)]
    pub(super) check_config: bool,
    /// error, warn, info, debug or trace
    #[arg(long, visible_alias = "log", value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// The program that answers what the agent itself does not: it gets the
    /// payload on standard input, and its output is the reply. All that
    /// follows are the program's arguments, so name it last
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true)]
    handler: Vec<String>,
}

impl Flags {
    pub(super) fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        match &self.config {
            Some(path) => {
                sources.file(path);
            }
            None if Path::new(DEFAULT_FILE).exists() => {
                sources.file(DEFAULT_FILE);
            }
            None => {}
        }
        sources.environment(std::env::vars_os());
        let texts = [
            ("--udp-port", "client.udp_port", &self.udp_port),
            (
                "--heartbeat-period",
                "heartbeat.period_s",
                &self.heartbeat_period,
            ),
            ("--heartbeat", "heartbeat.heartbeat_s", &self.heartbeat),
            (
                "--heartbeat-frequency",
                "heartbeat.frequency_s",
                &self.heartbeat_frequency,
            ),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ];
        for (flag, key, value) in texts {
            if let Some(value) = value {
                sources.flag(flag, key, value);
            }
        }
        let lists = [
            ("--relay", "relay.addresses", &self.relay),
            ("--handler", "handler.command", &self.handler),
        ];
        for (flag, key, list) in lists {
            if !list.is_empty() {
                sources.flag(flag, key, toml::Value::from(list.clone()).to_string());
            }
        }
        let paths = [
            ("--ca", "relay.ca_file", &self.ca),
            ("--data-dir", "data_dir", &self.data_dir),
        ];
        for (flag, key, value) in paths {
            if let Some(value) = value {
                sources.flag(flag, key, value);
            }
        }
        let switches = [
            ("--tls", "relay.tls", self.tls),
            (
                "--secrets-over-plaintext",
                "relay.secrets_over_plaintext",
                self.secrets_over_plaintext,
            ),
        ];
        for (flag, key, is_on) in switches {
            if is_on {
                sources.flag(flag, key, "true");
            }
        }
        sources
    }
}
