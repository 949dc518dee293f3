//! `GET /v1/subnets`: where the clients are.

use serde::Serialize;
use tautline_core::Instant;
use tautline_core::relay::Relay;

use super::answer::Answer;
use super::heartbeat::Learned;
use super::pages::{self, Rows};
use super::query::Query;
use crate::places::Places;

#[derive(Serialize)]
struct Page {
    subnets: Vec<Row>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Row {
    subnet: String,
    clients: usize,
    /// Of them, with an open persistent connection.
    connected: usize,
    /// Of them, with a grant and no connection yet.
    granted: usize,
    /// The period of its heartbeats, if that is learned.
    heartbeat: Option<Learned>,
}

pub(super) fn list(
    now: Instant,
    places: &Places,
    relay: &Relay,
    query: &Query<'_>,
) -> Result<Answer, Answer> {
    let subnet_from = |place| relay.subnet_from(place);
    let Rows { rows, next } = pages::collect(query, subnet_from, |subnet| {
        Some(Row {
            subnet: places.show(subnet.name),
            clients: subnet.clients,
            connected: subnet.connected,
            granted: subnet.granted,
            heartbeat: relay
                .subnet_period(&subnet)
                .map(|period| Learned::of(now, period.period, period.lesson)),
        })
    })?;
    let subnets = rows;
    Ok(Answer::json(200, &Page { subnets, next }))
}
