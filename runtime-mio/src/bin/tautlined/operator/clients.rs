//! `GET /v1/clients`: who is registered, page by page.

use serde::Serialize;
use tautline_core::Instant;
use tautline_core::registration::ClientRecord;
use tautline_core::relay::Relay;

use super::answer::Answer;
use super::query::Query;

/// Clients of one page, unless fewer are asked for.
const PAGE_MAX: usize = 500;
/// Clients that are looked at for one page.
const LOOKED_AT_MAX: usize = 10_000;

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
    /// Of its persistent connection.
    connection: &'static str,
    /// How a notification would go to it now.
    way: &'static str,
    registered_s_ago: u64,
}

/// The clients behind the place that `after` names, at most `limit`, of those
/// that the filters let through.
pub(super) fn list(now: Instant, relay: &Relay, query: Option<&str>) -> Answer {
    match try_list(now, relay, query) {
        Ok(answer) | Err(answer) => answer,
    }
}

fn try_list(now: Instant, relay: &Relay, query: Option<&str>) -> Result<Answer, Answer> {
    let query = Query::of(query, &["after", "limit", "state"])?;
    let (mut place, limit) = query.page(PAGE_MAX)?;
    let filter = Filter::of(&query)?;
    let mut clients = Vec::new();
    let mut looked_at = 0;
    while clients.len() < limit
        && looked_at < LOOKED_AT_MAX
        && let Some((at, record)) = relay.client_from(place)
    {
        place = at + 1;
        looked_at += 1;
        if filter.lets_through(record) {
            clients.push(row(now, record));
        }
    }
    let more = relay.client_from(place).is_some();
    let next = more.then(|| place.saturating_sub(1).to_string());
    Ok(Answer::json(200, &Page { clients, next }))
}

fn row(now: Instant, record: &ClientRecord) -> Row<'_> {
    Row {
        client: record.id.to_string(),
        hostname: &record.hostname,
        address: record.observed.to_string(),
        connection: connection(record),
        way: way(record),
        registered_s_ago: now.saturating_since(record.registered_at).as_secs(),
    }
}

const CONNECTIONS: [&str; 3] = ["none", "granted", "open"];

fn connection(record: &ClientRecord) -> &'static str {
    let [none, granted, open] = CONNECTIONS;
    match (record.connection, record.granted) {
        (Some(_), _) => open,
        (None, true) => granted,
        (None, false) => none,
    }
}

fn way(record: &ClientRecord) -> &'static str {
    if record.connection.is_some() {
        "connection"
    } else {
        "inbox"
    }
}

/// Which clients are asked for.
struct Filter {
    connection: Option<&'static str>,
}

impl Filter {
    fn of(query: &Query<'_>) -> Result<Self, Answer> {
        let connection = match query.text("state") {
            None => None,
            Some(asked) => match CONNECTIONS.iter().find(|state| **state == asked) {
                Some(state) => Some(*state),
                None => {
                    let detail = format!("state is one of {}.", CONNECTIONS.join(", "));
                    return Err(Answer::problem(400, &detail));
                }
            },
        };
        Ok(Self { connection })
    }

    fn lets_through(&self, record: &ClientRecord) -> bool {
        self.connection
            .is_none_or(|state| state == connection(record))
    }
}
