//! Which relays, and how their list is written.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use tautline_core::client::{RelayAddress, Settings as ClientSettings};
use tautline_std::origin::{Origin, ParseOriginError};
use tautline_std::settings::Checks;

const RELAYS_MAX: usize = 64;

/// The section `relay`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RelaySettings {
    /// Hosts, hosts with their ports, or URLs; the best one first.
    addresses: Addresses,
    /// TLS also where an address is no URL.
    tls: bool,
    /// Whom to trust instead of the system's roots.
    pub(crate) ca_file: Option<PathBuf>,
    /// Lets the agent's secret travel unencrypted beyond this machine. Whoever
    /// listens on the way can take it.
    secrets_over_plaintext: bool,
    /// How long a relay has to fail before the next one is taken.
    failover_after_s: u32,
    /// When the better ones are tried again; 0 is never.
    reselect_interval_s: u32,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            addresses: Addresses::default(),
            tls: false,
            ca_file: None,
            secrets_over_plaintext: false,
            failover_after_s: 600,
            reselect_interval_s: 21_600,
        }
    }
}

/// A list, or a single one that needs no brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Addresses(Vec<String>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
                Ok(vec![text.to_owned()])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<String>, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list))
            }
        }

        deserializer.deserialize_any(OneOrMany).map(Self)
    }
}

impl RelaySettings {
    /// Where the relays are, the best one first.
    pub(crate) fn origins(&self) -> Result<Vec<Origin>, ParseOriginError> {
        let origin = |address: &String| {
            let origin: Origin = address.parse()?;
            Ok(Origin {
                tls: origin.tls || self.tls,
                ..origin
            })
        };
        self.addresses.0.iter().map(origin).collect()
    }

    /// What the core has to know of them.
    pub(super) fn apply(&self, origins: &[Origin], settings: &mut ClientSettings) {
        let address = |origin: &Origin| RelayAddress {
            host: origin.host.as_str().into(),
            port: origin.port,
            tls: origin.tls,
        };
        settings.relays = origins.iter().map(address).collect();
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        settings.selector.failover_after = seconds(self.failover_after_s);
        settings.selector.reselect_interval = seconds(self.reselect_interval_s);
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        const KEY: &str = "relay.addresses";
        let addresses = &self.addresses.0;
        checks.require(KEY, !addresses.is_empty(), || {
            "has to name a relay, by --relay for one".to_owned()
        });
        let count = addresses.len();
        checks.require(KEY, count <= RELAYS_MAX, || {
            format!("has {count} relays, but must have at most {RELAYS_MAX}")
        });
        let mut known: Vec<Origin> = Vec::new();
        for address in addresses.iter().take(RELAYS_MAX) {
            match address.parse::<Origin>() {
                Err(error) => checks.require(KEY, false, || format!("has {address:?}; {error}")),
                Ok(mut origin) => {
                    origin.tls |= self.tls;
                    self.check_origin(KEY, address, &origin, &known, checks);
                    known.push(origin);
                }
            }
        }
        let is_any_tls = known.iter().any(|origin| origin.tls);
        let ca_is_used = self.ca_file.is_none() || known.is_empty() || is_any_tls;
        checks.require("relay.ca_file", ca_is_used, || {
            "is of no use without TLS: set relay.tls or name the relay by https://".to_owned()
        });
        checks.range("relay.failover_after_s", &self.failover_after_s, 0..=21_600);
        checks.range(
            "relay.reselect_interval_s",
            &self.reselect_interval_s,
            0..=604_800,
        );
    }

    fn check_origin(
        &self,
        key: &str,
        address: &str,
        origin: &Origin,
        known: &[Origin],
        checks: &mut Checks,
    ) {
        let is_safe = origin.tls || origin.is_loopback() || self.secrets_over_plaintext;
        checks.require(key, is_safe, || {
            format!(
                "has {address:?}, to which the agent's secret would travel unencrypted: set \
                 relay.tls (--tls) or name it by https://, or set relay.secrets_over_plaintext = \
                 true (--secrets-over-plaintext)"
            )
        });
        checks.require(key, !known.contains(origin), || {
            format!("has {address:?} twice")
        });
    }
}
