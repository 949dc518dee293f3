//! What a prober is told, and what it tells.

use core::time::Duration;

use crate::Key;
use crate::heartbeat::{Ended, InFlight};

/// The figures of a [`Prober`](super::Prober).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProberSettings {
    /// How often a connection is probed, from start to start, unless its group
    /// has a period of its own. 1 s to 86,400 s; 0 is off.
    pub period: Duration,
    /// How long an answer may take; "a few seconds" (`seeds/heartbeats`).
    /// 100 ms to 3,600 s.
    pub response_timeout: Duration,
    /// How many probes are unanswered at a time.
    pub in_flight: InFlight,
}

impl Default for ProberSettings {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(600),
            response_timeout: Duration::from_secs(5),
            in_flight: InFlight::Auto,
        }
    }
}

/// The bounds of a [`Prober`](super::Prober).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProberLimits {
    /// Connections at a time: their places are below it.
    pub connections_max: u32,
    /// Groups: their numbers are below it. At least 1.
    pub groups_max: u16,
}

impl Default for ProberLimits {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            groups_max: 4_096,
        }
    }
}

/// What a [`Prober`](super::Prober) wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProberEffect {
    /// Ask the other end for an answer.
    Probe {
        /// On which connection.
        conn: Key,
        /// What the answer has to carry ([`Ping`](crate::wire::message::Ping)).
        nonce: u64,
    },
    /// End the connection.
    End(Ended),
}

/// What a [`Prober`](super::Prober) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProberStats {
    /// Probes that were sent.
    pub sent: u64,
    /// Answers that came in time.
    pub answered: u64,
    /// Answers that came after their deadline.
    pub late: u64,
    /// Answers to nothing that was asked, or to what was asked before.
    pub unasked: u64,
    /// Probes that were put off, because bytes were sent and received.
    pub saved: u64,
    /// Connections that were ended.
    pub ended: u64,
    /// How often the clock jumped.
    pub jumps: u64,
}
