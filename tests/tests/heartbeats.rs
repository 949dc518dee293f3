//! Heartbeats between a relay and its agents, as processes: one that is stopped
//! holds its connections, and says nothing.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tautline_tests::session::{start_agent, start_relay, tautline};
use tautline_tests::{Program, wait_for};

const SILENT: &str = "the client was silent for too long";

/// What the relay tells of its heartbeats.
fn heartbeat(base: &str, data: &Path) -> Value {
    let mut command = tautline(data);
    let output = command.args(["status", "--json", "--relay", base]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["heartbeat"].clone()
}

/// An agent that holds a line.
fn agent(base: &str, data: &Path, name: &str, flags: &[&str]) -> Program {
    let own = data.join(name);
    let flags = [
        &["--udp-port", "off", "--data-dir", own.to_str().unwrap()],
        flags,
    ]
    .concat();
    let mut agent = start_agent(base, data, name, &flags);
    agent.wait_for_log("the line is open");
    agent
}

fn count(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

#[test]
fn h1_a_relay_leaves_an_agent_that_is_stopped_and_serves_it_again() {
    let data = tempfile::tempdir().unwrap();
    let settings = "[heartbeat]\nperiod_s = 1\nresponse_timeout_ms = 3000\n\
                    [shutdown]\nreturn_window_ms = 1\n";
    let (mut relay, base) = start_relay("127.0.0.1:0", data.path(), settings);
    let mut stopped = agent(&base, data.path(), "stopped", &[]);
    // What is alive is not left, also beside one that is not (H3).
    let alive = agent(&base, data.path(), "alive", &[]);
    let answered = || heartbeat(&base, data.path())["probes"]["answered"].as_u64();
    wait_for("answered probes", || (answered() >= Some(4)).then_some(()));

    stopped.signal(Signal::STOP);
    let told = relay.wait_for_log(SILENT);
    assert!(told.contains(r#"rule="response_timeout""#), "{told}");
    let (_, client) = told.split_once(" client=").unwrap();
    let client = client.split(' ').next().unwrap();
    let shown = heartbeat(&base, data.path());
    assert_eq!(shown["ended"]["response_timeout"], 1, "{shown}");
    assert_eq!(
        (&shown["connections"], &shown["worst_case_ms"]),
        (&1.into(), &4_000.into())
    );
    let before = answered();
    wait_for("answers of the other one", || {
        (answered() >= before.map(|count| count + 3)).then_some(())
    });

    stopped.signal(Signal::CONT);
    stopped.wait_for_log("the line is gone");
    stopped.wait_for_log("the line is open");
    wait_for("two that are watched", || {
        (heartbeat(&base, data.path())["connections"] == 2).then_some(())
    });
    let mut notify = tautline(data.path());
    let output = notify
        .args(["notify", client, "ping", "--relay", &base])
        .output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(said.contains(&format!("({client}): pong")), "{said}");

    assert_eq!(
        count(&alive.log(), "the line is gone"),
        0,
        "{}",
        alive.log()
    );
    let log = relay.log();
    assert_eq!(count(&log, SILENT), 1, "{log}");
    assert_eq!(count(&log, "persistent connection gone"), 0, "{log}");
    assert_eq!(heartbeat(&base, data.path())["ended"]["heartbeat"], 0);
}

#[test]
fn an_agent_says_that_its_relay_was_killed() {
    let data = tempfile::tempdir().unwrap();
    let (relay, base) = start_relay("127.0.0.1:0", data.path(), "");
    let mut agent = agent(&base, data.path(), "agent", &["--heartbeat-period", "1"]);
    relay.kill();
    let told = agent.wait_for_log("the line is gone");
    assert!(told.contains(" WARN "), "{told}");
    let (status, log) = agent.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn figures_that_do_not_fit_are_told_at_both_ends() {
    let data = tempfile::tempdir().unwrap();
    let (mut relay, base) =
        start_relay("127.0.0.1:0", data.path(), "[heartbeat]\nperiod_s = 600\n");
    let flags = ["--heartbeat", "900", "--heartbeat-frequency", "60"];
    let agent = agent(&base, data.path(), "agent", &flags);
    let of_relay = relay.wait_for_log("do not fit");
    // Told before its line was open.
    let log = agent.log();
    let of_agent = log
        .lines()
        .find(|line| line.contains("do not fit"))
        .unwrap();
    for told in [&of_relay, of_agent] {
        for part in [
            " WARN ",
            "heartbeat of 900s",
            "period of 600s",
            "at least 1200s",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    assert!(
        of_relay.contains(" client=") && of_relay.ends_with(" address=127.0.0.1"),
        "{of_relay}"
    );
}
