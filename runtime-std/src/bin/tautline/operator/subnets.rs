//! `tautline subnets`.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::watch::{Out, Watch};
use super::{Access, Relay};
use crate::Failure;
use crate::text::{json_lines, printable, table_or};

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
    let head = ["SUBNET", "CLIENTS", "CONNECTED", "GRANTED"];
    out(&table_or("no subnets\n", &head, rows))
}

fn row(subnet: &Subnet) -> Vec<String> {
    let figures = [subnet.clients, subnet.connected, subnet.granted];
    let figures = figures.iter().map(u64::to_string);
    [printable(&subnet.subnet)]
        .into_iter()
        .chain(figures)
        .collect()
}
