//! The story of the lab, told with the real programs: a relay, two sites behind
//! routers that translate addresses and let no UDP in, and a client that UDP
//! reaches. Told in docs/lab.md, where the lab is drawn.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod attempts;
mod clones;
mod failures;
mod firewall;
mod ground;
mod heartbeats;
mod liars;
mod sites;
mod story;
mod tcp_alone;

use serde_json::Value;
use tautline_tests::Program;
use tautline_tests::lab::{Host, Lab, Operator, PORT, Packets};

/// The relay's figures, with waits that are a fraction of the real ones.
const RELAY: &str = "\
persistent_connections.wait_ms = 1500
persistent_connections.test_sends_ms = [100, 400, 800]
persistent_connections.retry_delay_ms = 500
persistent_connections.attempt_timeout_ms = 1000
notifications.served_timeout_ms = 2000
shutdown.return_window_ms = 200
";

/// An agent's. What comes, comes by the way that a chapter is about: nobody
/// asks his inbox unless that is it.
const AGENT: &str = "\
client.udp_port = 52311
timers.line_retry_delay_ms = 500
timers.connect_timeout_ms = 1000
timers.return_window_ms = 200
timers.registration_retry_min_ms = 200
timers.registration_retry_max_ms = 500
";
const NEVER_ASKS: &str = "client.poll_interval_s = 0\n";
const ASKS: &str = "client.poll_interval_s = 1\n";

/// A relay that grants so many connections in a subnet.
fn start_relay(lab: &Lab, per_subnet_max: u32) -> Program {
    lab.start_relay(&format!(
        "{RELAY}persistent_connections.per_subnet_max = {per_subnet_max}\n"
    ))
}

/// An agent that takes datagrams and never asks its inbox.
fn start(lab: &Lab, host: &Host) -> Program {
    lab.start_agent(host, &format!("{AGENT}{NEVER_ASKS}"))
}

/// Agents that are granted a connection, one after the other.
fn start_granted<const N: usize>(lab: &Lab, hosts: [&Host; N]) -> [Program; N] {
    hosts.map(|host| {
        let mut agent = start(lab, host);
        agent.wait_for_log("granted=true");
        agent
    })
}

/// An agent that is granted none, for this reason.
fn start_denied(lab: &Lab, host: &Host, reason: &str) -> Program {
    let mut agent = start(lab, host);
    agent.wait_for_log(&format!("granted=false reason=\"{reason}\""));
    agent
}

fn wait_for_lines(agents: &mut [Program]) {
    for agent in agents {
        agent.wait_for_log("the line is open");
    }
}

fn is_connected(client: &Value) -> bool {
    client["connection"] == "open"
}

/// Asks a host by a notification what it is called.
fn hostname_of(operator: &Operator<'_>, host: &Host) -> String {
    let notification = operator.notify(host, "hostname");
    let replies = operator.wait_for_replies(&notification, &[host]);
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies[host.name].clone()
}

/// One packet, from or to this host.
fn once_at(other: &Host) -> Packets {
    [((other.address, PORT), 1)].into()
}
