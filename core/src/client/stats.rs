//! What a client counts.

use crate::Tally;

/// What a client counted since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams of the relay that were taken.
    pub datagrams: u64,
    /// Datagrams that were dropped, by reason.
    pub datagrams_dropped: Tally,
    /// How often datagrams of the relay were missed, and the inbox asked.
    pub gaps: u64,
    /// Datagrams that were passed on to clients of the subnet.
    pub served: u64,
    /// Datagrams that were not passed on, by reason.
    pub serves_refused: Tally,
    /// Probes that were sent to the relay.
    pub probes_sent: u64,
    /// Answers to them that came in time.
    pub probes_answered: u64,
    /// Answers that came too late.
    pub probes_late: u64,
    /// Probes that were put off, because bytes went both ways.
    pub probes_saved: u64,
    /// Persistent connections that were ended because a probe was not answered.
    pub ended_by_prober: u64,
    /// Persistent connections that were ended because the relay was silent.
    pub ended_by_monitor: u64,
}
