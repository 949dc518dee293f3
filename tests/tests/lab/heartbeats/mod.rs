//! Heartbeats: lines that live behind firewalls that forget, and the end of
//! those that can not.

mod forgetting;
mod learning;
mod one_way;
mod silence;

use std::time::{Duration, Instant};

use tautline_tests::lab::{Host, Lab, Operator};
use tautline_tests::{Program, wait_for};

use super::{AGENT, NEVER_ASKS, RELAY, wait_for_lines};

/// A client is asked each second, and has this long to answer.
const SHORT: &str = "heartbeat.period_s = 1\nheartbeat.response_timeout_ms = 3000\n";
/// An agent's, which is to find out long after the relay of [`SHORT`] has, and
/// in vain has said goodbye.
const PATIENT: &str = "heartbeat.heartbeat_s = 8\nheartbeat.frequency_s = 1\n";

fn start_relay(lab: &Lab, heartbeats: &str) -> Program {
    lab.start_relay(&format!("{RELAY}{heartbeats}"))
}

/// An agent that takes no datagrams, so that it has a line at once; it never
/// asks its inbox.
fn start(lab: &Lab, host: &Host, heartbeats: &str) -> Program {
    start_asking(lab, host, &format!("{NEVER_ASKS}{heartbeats}"))
}

fn start_asking(lab: &Lab, host: &Host, settings: &str) -> Program {
    let agent = AGENT.replace("client.udp_port = 52311", "client.udp_port = \"off\"");
    lab.start_agent(host, &format!("{agent}{settings}"))
}

/// Agents with a line each.
fn start_all<const N: usize>(lab: &Lab, hosts: [&Host; N], heartbeats: &str) -> [Program; N] {
    let mut agents = hosts.map(|host| start(lab, host, heartbeats));
    wait_for_lines(&mut agents);
    agents
}

/// What a program's log says of lines that it ended by a heartbeat.
fn ends(program: &Program) -> Vec<String> {
    lines_with(program, " rule=")
}

/// A notification came to the agent this way, and came once.
fn assert_came(agent: &Program, notification: &str, way: &str) {
    let told = || lines_with(agent, &format!("notification id={notification} "));
    // A reply may be there before the log's line is.
    wait_for("a notification in the log", || {
        (!told().is_empty()).then_some(())
    });
    let told = told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&format!("by=\"{way}\"")), "{told:?}");
}

fn lines_with(program: &Program, text: &str) -> Vec<String> {
    let log = program.log();
    let lines = log.lines().filter(|line| line.contains(text));
    lines.map(str::to_owned).collect()
}

/// Waits until the relay, which asks, has ended the lines of these.
fn wait_for_ends(relay: &Program, operator: &Operator<'_>, hosts: &[&Host]) {
    wait_for_ends_by(relay, operator, "response_timeout", hosts);
}

/// Waits until the relay has ended the lines of these, and finds that it has
/// ended no others, each with one line in its log, and all in the figures.
fn wait_for_ends_by(relay: &Program, operator: &Operator<'_>, rule: &str, hosts: &[&Host]) {
    let what = format!("{} ends by the relay", hosts.len());
    wait_for(what, || (ends(relay).len() >= hosts.len()).then_some(()));
    let told = ends(relay);
    for host in hosts {
        let name = format!("hostname=\"{}\"", host.name);
        let of_host: Vec<_> = told.iter().filter(|line| line.contains(&name)).collect();
        let [line] = of_host[..] else {
            panic!("not one of {}: {told:?}", host.name);
        };
        assert!(line.contains(&format!("rule=\"{rule}\"")), "{line}");
    }
    assert_eq!(told.len(), hosts.len(), "{told:?}");
    let ended = ["response_timeout", "heartbeat"].map(|rule| ended_by(operator, rule));
    let expected = hosts.len() as u64;
    assert_eq!(ended.iter().sum::<u64>(), expected, "{ended:?}");
    assert_eq!(ended_by(operator, rule), expected);
}

/// The agent ends its line by this rule, since it heard nothing of the relay.
fn wait_for_silence(agent: &mut Program, rule: &str) {
    let line = agent.wait_for_log("the relay was silent for too long");
    assert!(line.contains(&format!("rule=\"{rule}\"")), "{line}");
}

/// Waits for so many limits of a firewall, each of them with heartbeats.
fn wait_for_limits(operator: &Operator<'_>, limit: Duration, count: u32) {
    let start = Instant::now();
    for limits in 1..=count {
        let answered = answered(operator);
        wait_for("a limit of the firewall", || {
            let is_over = start.elapsed() >= limit * limits;
            (is_over && self::answered(operator) > answered).then_some(())
        });
    }
}

fn answered(operator: &Operator<'_>) -> u64 {
    operator.metric("tautline_heartbeat_probes_answered_total")
}

fn ended_by(operator: &Operator<'_>, rule: &str) -> u64 {
    operator.metric(&format!(
        "tautline_heartbeat_ended_total{{rule=\"{rule}\"}}"
    ))
}

/// Everybody has a line, and a notification for all comes by it.
fn assert_all_by_line(operator: &Operator<'_>, hosts: &[&Host], agents: &[&Program]) {
    let notification = operator.notify_all("hostname");
    let replies = operator.wait_for_replies(&notification, hosts);
    assert_eq!(replies.len(), hosts.len(), "{replies:?}");
    for agent in agents {
        assert_came(agent, &notification, "connection");
    }
}
