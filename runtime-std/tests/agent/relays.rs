//! An agent with several relays, and the request to select anew.

use std::fs;
use std::path::Path;

use crate::process::{Agent, agent, log, tautline};
use crate::relay::{Relay, registered};

fn select(data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = tautline("select", data).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_next_relay_serves_until_a_better_one_is_selected() {
    let data = tempfile::tempdir().unwrap();
    let (best, next) = (Relay::start(), Relay::start());
    let mut command = agent(&best.address, data.path());
    command.args(["--relay", &next.address]);
    command.env("TAUTLINE_RELAY_FAILOVER_AFTER_S", "0");
    for timer in ["MIN", "MAX"] {
        let name = format!("TAUTLINE_TIMERS_REGISTRATION_RETRY_{timer}_MS");
        command.env(name, "100");
    }
    let agent = Agent::start(&mut command, data.path());
    // The best one hears it and does not answer.
    drop(best.expect("POST /v1/register"));
    next.admit(&[]);

    let (code, told, error) = select(data.path(), &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(told, "the agent selects its relay anew\n");
    let asked = best.expect("POST /v1/register");
    // The client of the next one is none of the best one's own, but the fleet
    // shares its key: the agent stays who it is.
    assert_eq!(asked.json()["client"], format!("{:032x}", 1));
    asked.answer("200 OK", &registered(1, false));
    best.expect("GET /v1/inbox")
        .answer("200 OK", r#"{"incarnation":1,"notifications":[]}"#);
    assert_eq!(agent.terminate().code(), Some(0));
    let log = log(data.path());
    let changes: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once("another relay is used from now on relay="))
        .map(|(_, relay)| relay.trim_start_matches("http://"))
        .collect();
    assert_eq!(changes, [&next.address, &best.address], "{log}");
    assert!(log.contains("asked to select the relay anew"), "{log}");
}

#[test]
fn without_an_agent_nobody_selects() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("agent");
    let (code, _, error) = select(data.path(), &[]);
    assert_eq!(code, Some(1));
    let begin = format!("tautline: {}/select: ", folder.display());
    assert!(
        error.starts_with(&begin) && error.contains("no agent has run with this data directory"),
        "{error}"
    );
    fs::create_dir(&folder).unwrap();
    let (code, _, error) = select(data.path(), &["--timeout", "2"]);
    let expected = format!(
        "tautline: {}: no agent took the request within 2 s; is one running with this data \
         directory?\n",
        folder.display()
    );
    assert_eq!((code, error), (Some(1), expected));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
}
