//! `GET /v1/status`: the relay in figures.

use serde::Serialize;
use tautline_core::Instant;
use tautline_core::relay::Relay;

use super::Operator;
use super::answer::Answer;

#[derive(Serialize)]
struct Status {
    version: &'static str,
    incarnation: u32,
    state: &'static str,
    uptime_s: u64,
    clients: u64,
    connections: u64,
    persistent_connections: u64,
    notifications: Notifications,
}

#[derive(Serialize)]
struct Notifications {
    alive: u64,
    made: u64,
    sent: u64,
    replies: u64,
}

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
        clients: stats.clients,
        connections: stats.connections,
        persistent_connections: stats.lines,
        notifications: Notifications {
            alive: stats.notifications_alive,
            made: stats.notifications,
            sent: stats.sent.total(),
            replies: stats.replies,
        },
    };
    Answer::json(200, &status)
}
