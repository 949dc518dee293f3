//! Whether the relay is still there.

use std::time::Duration;

use serde::Deserialize;
use tautline_core::client::HeartbeatSettings as ClientHeartbeats;
use tautline_core::heartbeat::{PERIOD_MAX, RESPONSE_TIMEOUT_MAX, RESPONSE_TIMEOUT_MIN};
use tautline_std::settings::Checks;

/// The section `heartbeat`. 0 is off.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HeartbeatSettings {
    /// How often the agent asks by itself whether the relay is there.
    period_s: u32,
    /// How long the answer may take.
    response_timeout_ms: u32,
    /// The silence after which the persistent connection is ended; what fits
    /// the relay's period if it is not set.
    heartbeat_s: Option<u32>,
    /// How often the agent looks for that.
    frequency_s: Option<u32>,
}

impl Default for HeartbeatSettings {
    fn default() -> Self {
        Self {
            period_s: 0,
            response_timeout_ms: 5_000,
            heartbeat_s: None,
            frequency_s: None,
        }
    }
}

impl HeartbeatSettings {
    pub(super) fn of_client(&self) -> ClientHeartbeats {
        let seconds = |count: u32| Duration::from_secs(count.into());
        ClientHeartbeats {
            period: seconds(self.period_s),
            response_timeout: Duration::from_millis(self.response_timeout_ms.into()),
            heartbeat: self.heartbeat_s.map(seconds),
            frequency: self.frequency_s.map(seconds),
        }
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        let figures = [
            ("heartbeat.period_s", Some(self.period_s)),
            ("heartbeat.heartbeat_s", self.heartbeat_s),
            ("heartbeat.frequency_s", self.frequency_s),
        ];
        for (key, value) in figures {
            if let Some(value) = value {
                checks.seconds(key, value, Duration::ZERO..=PERIOD_MAX);
            }
        }
        checks.millis(
            "heartbeat.response_timeout_ms",
            self.response_timeout_ms,
            RESPONSE_TIMEOUT_MIN..=RESPONSE_TIMEOUT_MAX,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_cores() {
        let defaults = HeartbeatSettings::default().of_client();
        assert_eq!(defaults, ClientHeartbeats::default());
    }
}
