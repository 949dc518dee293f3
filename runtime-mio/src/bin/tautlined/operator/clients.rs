//! `GET /v1/clients`: who is registered, and how each is reached.

use serde::Serialize;
use tautline_core::Instant;
use tautline_core::registration::{ClientRecord, Subnet, SubnetName};
use tautline_core::relay::Relay;

use super::answer::Answer;
use super::pages::{self, Rows};
use super::query::Query;
use crate::places::Places;

/// What the list may be asked with.
pub(super) const PARAMETERS: [&str; 5] = ["after", "limit", "state", "subnet", "site"];
/// The states of a persistent connection.
const CONNECTIONS: [&str; 3] = ["none", "granted", "open"];

#[derive(Serialize)]
struct Page<'a> {
    clients: Vec<Row<'a>>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    client: String,
    hostname: &'a str,
    address: String,
    subnet: Option<String>,
    site: Option<&'a str>,
    /// Where datagrams of the relay go.
    udp: Option<String>,
    /// Whether one is known to have come.
    udp_proven: bool,
    /// Of its persistent connection.
    connection: &'static str,
    /// Why the last registration was not granted one.
    denied: Option<&'static str>,
    /// How a notification would go to it now.
    way: &'static str,
    registered_s_ago: u64,
}

/// The clients that the filters let through.
pub(super) fn list(
    now: Instant,
    places: &Places,
    relay: &Relay,
    query: &Query<'_>,
) -> Result<Answer, Answer> {
    let filter = Filter::of(places, query)?;
    let client_from = |place| relay.client_from(place);
    let Rows { rows, next } = pages::collect(query, client_from, |record| {
        let subnet = relay.subnet_of(record);
        let shown = filter.lets_through(record, subnet);
        shown.then(|| row(now, places, relay, record))
    })?;
    let clients = rows;
    Ok(Answer::json(200, &Page { clients, next }))
}

fn row<'a>(now: Instant, places: &'a Places, relay: &Relay, record: &'a ClientRecord) -> Row<'a> {
    let subnet = relay.subnet_of(record);
    Row {
        client: record.id.to_string(),
        hostname: record.hostname(),
        address: record.observed().to_string(),
        subnet: subnet.map(|subnet| places.show(subnet.name)),
        site: record.site().and_then(|site| places.site(site)),
        udp: record.udp_address().map(|address| address.to_string()),
        udp_proven: record.is_udp_proven(),
        connection: connection(record),
        denied: record.denied(),
        way: way(relay, record),
        registered_s_ago: now.saturating_since(record.registered_at).as_secs(),
    }
}

fn connection(record: &ClientRecord) -> &'static str {
    let [none, granted, open] = CONNECTIONS;
    if record.is_connected() {
        open
    } else if record.is_granted() {
        granted
    } else {
        none
    }
}

/// As the relay chooses, if no way to the client has failed.
fn way(relay: &Relay, record: &ClientRecord) -> &'static str {
    if record.is_connected() {
        "connection"
    } else if !record.is_proven() {
        // Nothing is sent to who never used its key.
        "inbox"
    } else if relay.has_peer(record) {
        "peer"
    } else if record.udp_address().is_some() {
        "datagram"
    } else {
        "inbox"
    }
}

/// Which clients are asked for.
struct Filter {
    connection: Option<&'static str>,
    subnet: Option<SubnetName>,
    site: Option<u16>,
}

impl Filter {
    fn of(places: &Places, query: &Query<'_>) -> Result<Self, Answer> {
        let connection = query.text("state").map(|asked| {
            let state = CONNECTIONS.into_iter().find(|state| *state == asked);
            let known = CONNECTIONS.join(", ");
            state.ok_or_else(|| Answer::wrong_query(&format!("state is one of {known}.")))
        });
        let subnet = query.text("subnet").map(|text| {
            let name = places.find(text);
            name.map_err(|error| Answer::wrong_query(&format!("subnet: {error}.")))
        });
        let site = query.text("site").map(|name| {
            let site = places.find_site(name);
            site.map_err(|error| Answer::wrong_query(&format!("site: {error}.")))
        });
        Ok(Self {
            connection: connection.transpose()?,
            subnet: subnet.transpose()?,
            site: site.transpose()?,
        })
    }

    fn lets_through(&self, record: &ClientRecord, subnet: Option<Subnet>) -> bool {
        let name = subnet.map(|subnet| subnet.name);
        self.connection
            .is_none_or(|state| state == connection(record))
            && (self.subnet.is_none() || self.subnet == name)
            && (self.site.is_none() || self.site == record.site())
    }
}
