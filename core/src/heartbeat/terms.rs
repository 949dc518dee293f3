//! What prober and monitor both speak of.

use core::time::Duration;

use crate::Key;

/// The shortest period, heartbeat or frequency; 0 is off.
pub const PERIOD_MIN: Duration = Duration::from_secs(1);
/// The longest one, a day (`facts.md`, section 3.1).
pub const PERIOD_MAX: Duration = Duration::from_secs(86_400);

/// The shortest response timeout.
pub const RESPONSE_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// The longest one, an hour.
pub const RESPONSE_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// Probes that are unanswered at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InFlight {
    /// The smallest window whose sweep fits one period even if every peer is
    /// dead: connections × response timeout / period, rounded up. A few more,
    /// as many as the number of connections has binary digits, because probes
    /// are never spread perfectly: without them a dead peer could hold up the
    /// next one. A probe that waited for a second is sent although the window
    /// is full, so a dead peer is ended within period + response timeout, and
    /// at most a second more however the places of those that are left lie.
    #[default]
    Auto,
    /// So many; 0 counts as 1. With 1 a probe waits until the one before was
    /// answered or its connection was ended (`seeds/heartbeats`).
    Window(u32),
}

/// A connection is to be ended, because its other end was not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which one.
    pub conn: Key,
    /// How long nothing was received, less the time that the driver was not
    /// there.
    pub silent_for: Duration,
    /// Which rule ends it.
    pub rule: Rule,
}

/// A rule that ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A probe was not answered within the response timeout.
    ResponseTimeout,
    /// It was silent for longer than `heartbeat`.
    Heartbeat,
}

impl Rule {
    /// Its name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ResponseTimeout => "response_timeout",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// Why a connection is not watched. The caller is to blame; nothing was
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// Its place is beyond `connections_max`.
    #[error("the connection's place is beyond connections_max")]
    Place,
    /// The group is beyond `groups_max`.
    #[error("the group is beyond groups_max")]
    Group,
}

/// A figure that is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// A span is neither 0 nor within [`PERIOD_MIN`] and [`PERIOD_MAX`].
    #[error("{name} is {value:?}; it is 0 (off) or 1 s to 86,400 s")]
    Span {
        /// The figure.
        name: &'static str,
        /// What it was set to.
        value: Duration,
    },
    /// The response timeout is out of its range.
    #[error("response_timeout is {0:?}; it is 100 ms to 3,600 s")]
    ResponseTimeout(Duration),
    /// No such group can be.
    #[error("group {group} is beyond groups_max, {groups_max}")]
    Group {
        /// The group.
        group: u16,
        /// How many there can be.
        groups_max: u16,
    },
}

/// The nearest period, heartbeat or frequency that may be set.
pub fn sound_span(span: Duration) -> Duration {
    match span {
        Duration::ZERO => span,
        _ => span.clamp(PERIOD_MIN, PERIOD_MAX),
    }
}

/// The nearest response timeout that may be set.
pub fn sound_response_timeout(timeout: Duration) -> Duration {
    timeout.clamp(RESPONSE_TIMEOUT_MIN, RESPONSE_TIMEOUT_MAX)
}

/// A period, heartbeat or frequency that may be set.
pub(super) fn check_span(name: &'static str, value: Duration) -> Result<(), SettingError> {
    if value.is_zero() || (PERIOD_MIN..=PERIOD_MAX).contains(&value) {
        Ok(())
    } else {
        Err(SettingError::Span { name, value })
    }
}
