//! `GET /v1/status`: the relay in figures.

use std::collections::BTreeMap;

use serde::Serialize;
use tautline_core::Instant;
use tautline_core::relay::Relay;

use super::Operator;
use super::answer::Answer;
use super::heartbeat::Heartbeat;

#[derive(Serialize)]
struct Status {
    version: &'static str,
    incarnation: u32,
    state: &'static str,
    uptime_s: u64,
    role: &'static str,
    clients: u64,
    subnets: usize,
    connections: u64,
    persistent_connections: PersistentConnections,
    notifications: Notifications,
    tests: Tests,
    heartbeat: Heartbeat,
}

#[derive(Serialize)]
struct PersistentConnections {
    open: usize,
    granted: usize,
    /// Verdicts since the start, by what they were.
    verdicts: Counts,
}

/// Tests of whether datagrams reach a client.
#[derive(Serialize)]
struct Tests {
    sent: u64,
    proven: u64,
}

#[derive(Serialize)]
struct Notifications {
    alive: u64,
    made: u64,
    /// By the way that they went.
    sent: Counts,
    left_to_inbox: Counts,
    rerouted: u64,
    replies: u64,
}

/// Counts by reason.
type Counts = BTreeMap<&'static str, u64>;

pub(super) fn show(operator: &Operator, now: Instant, relay: &Relay) -> Answer {
    let stats = relay.stats();
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        incarnation: relay.incarnation().0,
        state: if relay.is_draining() {
            "draining"
        } else {
            "serving"
        },
        uptime_s: now.saturating_since(operator.started).as_secs(),
        role: operator.role.name(),
        clients: stats.clients,
        subnets: stats.registry.subnets,
        connections: stats.connections,
        persistent_connections: PersistentConnections {
            open: stats.registry.connected,
            granted: stats.registry.granted,
            verdicts: stats.registry.verdicts.iter().collect(),
        },
        notifications: Notifications {
            alive: stats.notifications_alive,
            made: stats.notifications,
            sent: stats.sent.iter().collect(),
            left_to_inbox: stats.left_to_inbox.iter().collect(),
            rerouted: stats.rerouted,
            replies: stats.replies,
        },
        tests: Tests {
            sent: stats.tests_sent,
            proven: stats.tests_proven,
        },
        heartbeat: Heartbeat::of(&operator.heartbeat, &operator.places, relay),
    };
    Answer::json(200, &status)
}
