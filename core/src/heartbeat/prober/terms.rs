//! What a prober is told, and what it tells.

use core::time::Duration;

use super::demand::{Demand, weight};
use super::phase::worst_case;
use crate::Key;
use crate::heartbeat::clock::millis;
use crate::heartbeat::{Ended, InFlight};

/// The figures of a [`Prober`](super::Prober).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProberSettings {
    /// How often a connection is probed, from start to start, unless its group
    /// has a period of its own. 1 s to 86,400 s; 0 is off.
    pub period: Duration,
    /// How long an answer may take; "a few seconds" (`seeds/heartbeats`).
    /// 100 ms to 3,600 s.
    ///
    /// Over a network that loses 30 % of the packets and takes 200 ms, a probe
    /// ends a live peer with 2 s 17 times in a hundred, with 5 s 2.6 times,
    /// with 10 s 0.6, with 20 s 0.17, with 40 s 0.04 times; without loss, only
    /// if what is queued before the probe takes as long, or the peer cannot run.
    pub response_timeout: Duration,
    /// How many probes are unanswered at a time.
    pub in_flight: InFlight,
}

impl ProberSettings {
    /// After which time at most a dead peer is ended, counted from the last
    /// bytes that it sent, if there are so many connections with this period;
    /// `None` if it is off.
    ///
    /// A period and a response timeout; with [`InFlight::Auto`] at most a
    /// second more, however the connections' places lie. But if a window that
    /// was set is too small for the dead of one period, a probe may have to
    /// wait for all others.
    ///
    /// ```
    /// use core::time::Duration;
    /// use tautline_core::heartbeat::{InFlight, ProberSettings};
    ///
    /// let mut settings = ProberSettings::default();
    /// let worst = settings.worst_case_detection(19_000);
    /// assert_eq!(worst, Some(Duration::from_secs(600 + 5)));
    /// settings.in_flight = InFlight::Window(1);
    /// let worst = settings.worst_case_detection(19_000);
    /// assert_eq!(worst, Some(Duration::from_secs(600 + 19_000 * 5)));
    /// ```
    pub fn worst_case_detection(&self, connections: u32) -> Option<Duration> {
        let load = weight(millis(self.response_timeout).into(), millis(self.period));
        let demand = Demand {
            connections,
            load: load.saturating_mul(connections.into()),
        };
        self.worst_case(self.period, demand)
    }

    pub(super) fn worst_case(&self, period: Duration, demand: Demand) -> Option<Duration> {
        let window = match self.in_flight {
            InFlight::Auto => None,
            InFlight::Window(window) => Some(window.max(1)),
        };
        let window = window.filter(|window| *window < demand.window());
        let (timeout, connections) = (self.response_timeout, demand.connections);
        (!period.is_zero()).then(|| worst_case(period, timeout, connections, window))
    }
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
