//! A program answers notifications.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, test_kill_process};

use crate::process::{Agent, agent, log};
use crate::relay::Relay;

fn with_handler(relay: &Relay, data: &Path, script: &str) -> Command {
    let mut command = agent(&relay.address, data);
    command.args(["--handler", "sh", "-c", script]);
    command.env("FOLDER", data);
    command
}

fn replies(relay: &Relay, count: usize) -> BTreeMap<u64, String> {
    (0..count).map(|_| relay.next_reply()).collect()
}

#[test]
fn what_the_agent_does_not_answer_the_handler_does() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let script = "read word; echo $word $TAUTLINE_CLIENT $TAUTLINE_NOTIFICATION";
    let mut command = with_handler(&relay, data.path(), script);
    let _agent = Agent::start(&mut command, data.path());
    relay.admit(&["ping", "deploy"]);
    let replies = replies(&relay, 2);
    assert_eq!(replies[&1], "pong");
    let expected = format!("deploy {:032x} {:016x}\n", 1, 1_u64 << 32 | 2);
    assert_eq!(replies[&2], expected);
}

#[test]
fn without_a_handler_the_agent_says_so() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let _agent = Agent::start(&mut agent(&relay.address, data.path()), data.path());
    relay.admit(&["deploy", "host"]);
    let replies = replies(&relay, 2);
    assert!(replies[&1].starts_with("there is no handler for this"));
    assert!(replies[&2].contains("\ninterface: 127.0.0.1/8"));
}

#[test]
fn a_failure_is_replied_and_logged() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let mut command = with_handler(&relay, data.path(), "echo 'no such job' >&2; exit 3");
    let _agent = Agent::start(&mut command, data.path());
    relay.admit(&["deploy"]);
    let expected = "[handler: exit status: 3]\n[handler: standard error: no such job]";
    assert_eq!(relay.next_reply(), (1, expected.to_owned()));
    let told = log(data.path());
    assert!(
        told.contains("the handler failed") && told.contains("exit status: 3"),
        "{told}"
    );
}

#[test]
fn so_many_run_at_a_time_and_the_rest_waits() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("live")).unwrap();
    let relay = Relay::start();
    // Says how many there are, itself included, once the test lets it.
    let script = "cd $FOLDER; touch live/$TAUTLINE_NOTIFICATION; ls live | wc -l
        until [ -e go ]; do sleep 0.01; done; rm live/$TAUTLINE_NOTIFICATION";
    let mut command = with_handler(&relay, data.path(), script);
    command.env("TAUTLINE_HANDLER_RUNS_MAX", "2");
    let _agent = Agent::start(&mut command, data.path());
    relay.admit(&["a", "b", "c", "d", "e", "ping"]);
    // The client itself does not wait for them.
    assert_eq!(relay.next_reply(), (6, "pong".to_owned()));
    fs::write(data.path().join("go"), "").unwrap();
    let replies = replies(&relay, 5);
    assert_eq!(replies.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for live in replies.values() {
        let live: u32 = live.trim().parse().unwrap();
        assert!((1..=2).contains(&live), "{replies:?}");
    }
}

#[test]
fn a_handler_that_takes_too_long_is_ended() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let mut command = with_handler(&relay, data.path(), "echo begun; sleep 600 & wait");
    command.env("TAUTLINE_HANDLER_TIME_LIMIT_S", "1");
    let _agent = Agent::start(&mut command, data.path());
    relay.admit(&["deploy"]);
    let expected = "begun\n[handler: ended at its time limit of 1s]";
    assert_eq!(relay.next_reply(), (1, expected.to_owned()));
}

#[test]
fn a_handler_does_not_outlive_the_agent() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let script = "echo $$ > $FOLDER/pid.new; mv $FOLDER/pid.new $FOLDER/pid; sleep 600; true";
    let mut command = with_handler(&relay, data.path(), script);
    let mut agent = Agent::start(&mut command, data.path());
    relay.admit(&["deploy"]);
    let pid = loop {
        match fs::read_to_string(data.path().join("pid")) {
            Ok(text) => break text.trim().parse().unwrap(),
            Err(_) => assert!(!agent.has_ended(), "{}", log(data.path())),
        }
    };
    let pid = Pid::from_raw(pid).unwrap();
    assert_eq!(test_kill_process(pid), Ok(()));
    assert_eq!(agent.terminate().code(), Some(0));
    assert_eq!(test_kill_process(pid), Err(rustix::io::Errno::SRCH));
}

#[test]
fn a_handler_that_cannot_be_run_is_a_wrong_configuration() {
    let data = tempfile::tempdir().unwrap();
    let script = data.path().join("handler.sh");
    let shown = script.to_str().unwrap();
    let refused = |program: &str| {
        let mut command = agent("127.0.0.1:1", data.path());
        let output = command
            .args(["--check-config", "--handler", program])
            .output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8(output.stderr).unwrap()
    };
    let begin = "tautline: --handler: handler.command cannot be run: ";
    let expected = format!("{begin}{shown}: No such file or directory (os error 2)\n");
    assert_eq!(refused(shown), expected);
    fs::write(&script, "#!/bin/sh\n").unwrap();
    let expected = format!("{begin}{shown} is not executable by this user\n");
    assert_eq!(refused(shown), expected);
    let expected = format!(
        "{begin}\"no-such-program\" is no program in any folder of PATH; name it by its path\n"
    );
    assert_eq!(refused("no-such-program"), expected);
}
