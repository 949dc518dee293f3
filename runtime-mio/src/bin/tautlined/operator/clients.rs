//! `GET /v1/clients`: who is registered, page by page.

use serde::Serialize;
use tautline_core::Instant;
use tautline_core::relay::Relay;

use super::answer::Answer;
use super::number;

/// Clients of one page, unless fewer are asked for.
const PAGE_MAX: usize = 500;

#[derive(Serialize)]
struct Page<'a> {
    clients: Vec<Row<'a>>,
    /// What `after` has to be for the next page.
    next: Option<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    client: String,
    hostname: &'a str,
    address: String,
    connected: bool,
    registered_s_ago: u64,
}

/// The clients behind the place that `after` names, at most `limit`.
pub(super) fn list(now: Instant, relay: &Relay, query: Option<&str>) -> Answer {
    let (after, limit) = match (number(query, "after"), number(query, "limit")) {
        (Ok(after), Ok(limit)) => (after, limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX)),
        (Err(answer), _) | (_, Err(answer)) => return answer,
    };
    let mut place = after.map_or(0, |last| last.saturating_add(1));
    let mut clients = Vec::new();
    while clients.len() < limit
        && let Some((at, record)) = relay.client_from(place)
    {
        place = at + 1;
        clients.push(Row {
            client: record.id.to_string(),
            hostname: record.hostname(),
            address: record.observed().to_string(),
            connected: record.is_connected(),
            registered_s_ago: now.saturating_since(record.registered_at).as_secs(),
        });
    }
    let more = relay.client_from(place).is_some();
    let next = more.then(|| place.saturating_sub(1).to_string());
    Answer::json(200, &Page { clients, next })
}
