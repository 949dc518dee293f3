//! `tautline clients`.

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;

use super::watch::{Out, Watch};
use super::{Access, Relay};
use crate::Failure;
use crate::text::{json_lines, printable, span, table_or};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Only those of a subnet, by its name as `tautline subnets` shows it
    #[arg(long, value_name = "NAME")]
    subnet: Option<String>,
    /// Only those of a site
    #[arg(long, value_name = "NAME", conflicts_with = "subnet")]
    site: Option<String>,
    /// Only those whose persistent connection is in this state
    #[arg(long)]
    state: Option<State>,
    /// Print JSON, one client a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    access: Access,
}

/// Of a persistent connection.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// There is none
    None,
    /// It may come
    Granted,
    /// It is there
    Open,
}

#[derive(Deserialize)]
struct Client {
    client: String,
    hostname: String,
    address: String,
    subnet: Option<String>,
    way: String,
    registered_s_ago: u64,
}

pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let relay = flags.access.relay()?;
    flags.watch.run(flags.json, |out| show(flags, &relay, out))
}

fn show(flags: &Flags, relay: &Relay, out: Out<'_>) -> Result<(), Failure> {
    let state = flags.state.and_then(|state| state.to_possible_value());
    let filters = [
        ("subnet", flags.subnet.as_deref()),
        ("site", flags.site.as_deref()),
        ("state", state.as_ref().map(|state| state.get_name())),
    ];
    let filters: Vec<_> = filters
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    if flags.json {
        return relay.pages("/v1/clients", &filters, |clients: Vec<Value>| {
            out(&json_lines(&clients)).map(|()| true)
        });
    }
    let mut rows = Vec::new();
    relay.pages("/v1/clients", &filters, |clients: Vec<Client>| {
        rows.extend(clients.iter().map(row));
        Ok(true)
    })?;
    let head = [
        "CLIENT",
        "HOSTNAME",
        "ADDRESS",
        "SUBNET",
        "WAY",
        "REGISTERED",
    ];
    out(&table_or("no clients\n", &head, rows))
}

fn row(client: &Client) -> Vec<String> {
    vec![
        printable(&client.client),
        printable(&client.hostname),
        printable(&client.address),
        client.subnet.as_deref().map_or_else(dash, printable),
        way(&client.way),
        format!("{} ago", span(client.registered_s_ago)),
    ]
}

fn dash() -> String {
    "-".to_owned()
}

/// How a notification would go to a client.
fn way(word: &str) -> String {
    match word {
        "datagram" => "UDP".to_owned(),
        "inbox" => "inbox only".to_owned(),
        other => printable(other),
    }
}
