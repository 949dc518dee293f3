//! What a relay counts.

use crate::Tally;
use crate::heartbeat::{MonitorStats, ProberStats};
use crate::registration::RegistryCounts;

/// What a relay holds at the moment, and what it counted since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections at the moment.
    pub connections: u64,
    /// Persistent connections at the moment.
    pub lines: u64,
    /// Registered clients at the moment.
    pub clients: u64,
    /// Notifications that live at the moment.
    pub notifications_alive: u64,
    /// Bytes of payloads and replies at the moment.
    pub notification_bytes: u64,
    /// Replies that are kept at the moment.
    pub replies_kept: u64,
    /// Requests that the application has not answered at the moment.
    pub requests_open: u64,

    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that were not, by reason.
    pub accepts_refused: Tally,
    /// HTTP connections that were ended for their peer's doing, by reason.
    pub http_refused: Tally,
    /// Persistent connections that were ended for their peer's doing, by reason.
    pub lines_refused: Tally,
    /// Requests of the protocol, by path.
    pub requests: Tally,
    /// Registrations that were admitted.
    pub registrations: u64,
    /// Registrations, and proofs of other requests, that were refused, by reason.
    pub registrations_refused: Tally,
    /// Notifications that were made.
    pub notifications: u64,
    /// Notifications that were written to a client, by way.
    pub sent: Tally,
    /// Notifications that no way could be found for, or no room on their way,
    /// by reason: the client finds them in its inbox.
    pub left_to_inbox: Tally,
    /// Notifications whose peer did not pass them on: they took another way.
    pub rerouted: u64,
    /// Datagrams that peers refused to pass on.
    pub refused_by_peers: u64,
    /// Tests of whether datagrams reach a client.
    pub tests_sent: u64,
    /// Tests that were left out, as the rate of datagrams was used up.
    pub tests_left_out: u64,
    /// Tests whose receipt was proven.
    pub tests_proven: u64,
    /// Pings of clients on their persistent connections.
    pub pings: u64,
    /// Heartbeats on persistent connections.
    pub heartbeats: HeartbeatStats,
    /// Periods of subnets that were learned.
    pub heartbeat_lessons: u64,
    /// What the registry holds and has counted.
    pub registry: RegistryCounts,
    /// Replies that were taken.
    pub replies: u64,
    /// Replies that were not, by reason.
    pub replies_refused: Tally,
    /// Datagrams that were dropped, by reason.
    pub datagrams_dropped: Tally,
    /// Inputs about connections that were gone.
    pub stale_inputs: u64,
    /// Inputs whose time lay before an earlier one's.
    pub time_went_back: u64,
}

/// What the heartbeats of a relay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeartbeatStats {
    /// Of the prober.
    pub prober: ProberStats,
    /// Of the monitor, nothing while its figures are off.
    pub monitor: MonitorStats,
}
