//! How long the client waits, and how often it tries.

use std::time::Duration;

use serde::Deserialize;
use tautline_core::client::Settings as ClientSettings;
use tautline_std::settings::Checks;

/// A day.
const MS_MAX: u32 = 86_400_000;

/// The section `timers`. What the relay states goes before it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TimerSettings {
    /// The shortest wait after a failed registration.
    registration_retry_min_ms: u32,
    /// The longest one.
    registration_retry_max_ms: u32,
    /// The window in which the client returns after it lost its relay.
    return_window_ms: u32,
    /// The wait after a failed attempt to open the persistent connection.
    line_retry_delay_ms: u32,
    /// Attempts to open it in all.
    line_attempts_max: u32,
    /// How long the opening of a connection may take.
    connect_timeout_ms: u32,
    /// How long the relay may not take what is written to the persistent
    /// connection.
    line_stall_ms: u32,
}

impl Default for TimerSettings {
    fn default() -> Self {
        Self {
            registration_retry_min_ms: 60_000,
            registration_retry_max_ms: 300_000,
            return_window_ms: 30_000,
            line_retry_delay_ms: 180_000,
            line_attempts_max: 4,
            connect_timeout_ms: 10_000,
            line_stall_ms: 30_000,
        }
    }
}

impl TimerSettings {
    pub(crate) fn connect_timeout(&self) -> Duration {
        of_ms(self.connect_timeout_ms)
    }

    pub(super) fn apply(&self, settings: &mut ClientSettings) {
        settings.registrar.retry_min = of_ms(self.registration_retry_min_ms);
        settings.registrar.retry_max = of_ms(self.registration_retry_max_ms);
        settings.registrar.return_window = of_ms(self.return_window_ms);
        settings.pcc.retry_delay = of_ms(self.line_retry_delay_ms);
        settings.pcc.attempts_max = self.line_attempts_max;
        settings.connect_timeout = self.connect_timeout();
        settings.line_stall = of_ms(self.line_stall_ms);
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        let from_100 = [
            ("registration_retry_min_ms", self.registration_retry_min_ms),
            ("registration_retry_max_ms", self.registration_retry_max_ms),
            ("line_retry_delay_ms", self.line_retry_delay_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("line_stall_ms", self.line_stall_ms),
        ];
        for (key, value) in from_100 {
            checks.range(&format!("timers.{key}"), &value, 100..=MS_MAX);
        }
        let (min, max) = (
            self.registration_retry_min_ms,
            self.registration_retry_max_ms,
        );
        checks.require("timers.registration_retry_max_ms", min <= max, || {
            format!("is {max}, but must be at least timers.registration_retry_min_ms, {min}")
        });
        checks.range(
            "timers.return_window_ms",
            &self.return_window_ms,
            0..=MS_MAX,
        );
        checks.range(
            "timers.line_attempts_max",
            &self.line_attempts_max,
            1..=1_000,
        );
    }
}

fn of_ms(milliseconds: u32) -> Duration {
    Duration::from_millis(milliseconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tautline_core::client::RelayAddress;

    #[test]
    fn the_defaults_are_the_cores() {
        let relay = RelayAddress {
            host: "relay".into(),
            port: 1,
            tls: true,
        };
        let untouched = ClientSettings::new(relay, "web-1");
        let mut applied = untouched.clone();
        TimerSettings::default().apply(&mut applied);
        assert_eq!(applied.registrar, untouched.registrar);
        assert_eq!(applied.pcc, untouched.pcc);
        assert_eq!(applied.connect_timeout, untouched.connect_timeout);
        assert_eq!(applied.line_stall, untouched.line_stall);
    }
}
