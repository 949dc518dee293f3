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
}
