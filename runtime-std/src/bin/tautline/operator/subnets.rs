//! `tautline subnets`.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::watch::{Out, Watch};
use super::{Access, Relay};
use crate::Failure;
use crate::text::{json_lines, printable, span_ms, table_or};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Print JSON, one subnet a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    access: Access,
}

#[derive(Deserialize)]
struct Subnet {
    subnet: String,
    clients: u64,
    connected: u64,
    granted: u64,
    /// While the relay learns how soon its firewall forgets.
    heartbeat: Option<Heartbeat>,
}

#[derive(Deserialize)]
struct Heartbeat {
    period_ms: u64,
    /// Why it is no longer the one that was set.
    why: Option<String>,
    deaths: Option<u64>,
    youngest_ms: Option<u64>,
    oldest_ms: Option<u64>,
}

pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let relay = flags.access.relay()?;
    flags.watch.run(flags.json, |out| show(flags, &relay, out))
}

fn show(flags: &Flags, relay: &Relay, out: Out<'_>) -> Result<(), Failure> {
    if flags.json {
        return relay.pages("/v1/subnets", &[], |subnets: Vec<Value>| {
            out(&json_lines(&subnets)).map(|()| true)
        });
    }
    let mut rows = Vec::new();
    relay.pages("/v1/subnets", &[], |subnets: Vec<Subnet>| {
        rows.extend(subnets.iter().map(row));
        Ok(true)
    })?;
    let head = [
        "SUBNET",
        "CLIENTS",
        "CONNECTED",
        "GRANTED",
        "HEARTBEAT",
        "LEARNED FROM",
    ];
    // The last two are of a relay that learns.
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0).max(4);
    out(&table_or("no subnets\n", &head[..columns], rows))
}

fn row(subnet: &Subnet) -> Vec<String> {
    let figures = [subnet.clients, subnet.connected, subnet.granted];
    let figures = figures.iter().map(u64::to_string);
    let learned = subnet.heartbeat.iter().flat_map(Heartbeat::cells);
    [printable(&subnet.subnet)]
        .into_iter()
        .chain(figures)
        .chain(learned)
        .collect()
}

impl Heartbeat {
    fn cells(&self) -> [String; 2] {
        let from = match (self.deaths, self.youngest_ms, self.oldest_ms) {
            (Some(deaths), Some(youngest), Some(oldest)) => {
                let (youngest, oldest) = (span_ms(youngest), span_ms(oldest));
                format!("{deaths} deaths, idle for {youngest} to {oldest}")
            }
            _ => match self.why.as_deref() {
                Some("relaxed") => "no deaths for long".to_owned(),
                Some("given_up") => "deaths at any period".to_owned(),
                other => printable(other.unwrap_or_default()),
            },
        };
        [span_ms(self.period_ms), from]
    }
}
