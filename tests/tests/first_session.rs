//! The first session of the README, with the two programs as processes: a
//! relay, an agent, the operator's commands, a relay that is killed and comes
//! back, and the end of both.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use rustix::process::Signal;
use tautline_tests::{Program, binary, wait_for};

#[test]
fn the_first_session_works_and_survives_a_killed_relay() {
    let data = tempfile::tempdir().unwrap();
    let (relay, base) = start_relay("127.0.0.1:0", data.path());
    let agent = Program::start(
        tautline(data.path()).args(["agent", "--relay", &base, "--udp-port", "off"]),
        &data.path().join("agent.log"),
    );
    let operator = Operator {
        data: data.path(),
        base: &base,
    };

    let client = operator.wait_for_line();
    operator.notify_one(&client);
    let uptime = operator.succeed(&["query", "--all", "uptime"]);
    assert!(uptime.contains(&format!(" ({client}): machine up ")));
    assert!(uptime.ends_with(": 1 of 1 replied\n"), "{uptime}");

    // Held, so that it does not come while no relay is there: then it would
    // rest for minutes.
    agent.signal(Signal::STOP);
    relay.kill();
    let refused = operator.run(&["clients"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");

    let address = base.strip_prefix("http://").unwrap();
    let (relay, base_again) = start_relay(address, data.path());
    assert_eq!(base_again, base);
    agent.signal(Signal::CONT);
    assert_eq!(operator.wait_for_line(), client, "the agent is another now");
    operator.notify_one(&client);

    let (status, log) = relay.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("drained"), "{log}");
    let (status, log) = agent.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("the agent has ended"), "{log}");
}

/// The operator's commands, as the README types them.
struct Operator<'a> {
    data: &'a Path,
    base: &'a str,
}

impl Operator<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = tautline(self.data);
        // A relay on the usual port need not be named.
        command.env("TAUTLINE_RELAY", self.base).args(arguments);
        command.output().unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Looks until there is one client, with its line open; its id.
    fn wait_for_line(&self) -> String {
        wait_for("one client with its line open", || {
            let seen = self.succeed(&["clients"]);
            let rows: Vec<&str> = seen.lines().skip(1).collect();
            if let [row] = rows[..]
                && let [client, _, "127.0.0.1", _, "connection", ..] =
                    row.split_whitespace().collect::<Vec<_>>()[..]
            {
                return Some(client.to_owned());
            }
            None
        })
    }

    fn notify_one(&self, client: &str) {
        let told = self.succeed(&["notify", client, "ping"]);
        let lines: Vec<&str> = told.lines().collect();
        let [reply, sum] = lines[..] else {
            panic!("{told}");
        };
        assert!(reply.ends_with(&format!(" ({client}): pong")), "{told}");
        assert!(sum.starts_with("notification "), "{told}");
        assert!(sum.ends_with(": 1 of 1 replied"), "{told}");
    }
}

fn tautline(data: &Path) -> Command {
    // Built once, not at every look.
    static PATH: LazyLock<PathBuf> = LazyLock::new(|| binary("tautline"));
    program(&PATH, data)
}

/// Nothing of the environment of this test is meant for it.
fn program(path: &Path, data: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("TAUTLINE_DATA_DIR", data);
    command
}

/// A relay that serves, and its address as it prints it.
fn start_relay(listen: &str, data: &Path) -> (Program, String) {
    let mut relay = Program::start(
        program(&binary("tautlined"), data).args(["--listen", listen]),
        &data.join("relay.log"),
    );
    let greeting = relay.wait_for_log("/#token=");
    let (base, _) = greeting.split_once("/#token=").unwrap();
    (relay, base.to_owned())
}
