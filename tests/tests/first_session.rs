//! The first session of the README, with the two programs as processes: a
//! relay, an agent, the operator's commands, a relay that is killed and comes
//! back, and the end of both.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tautline_tests::binary;

/// Between two looks; with the tries it bounds how long an agent may take to
/// come, which is 30 s at most after a relay that vanished.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const TRIES_MAX: usize = 350;

#[test]
fn the_first_session_works_and_survives_a_killed_relay() {
    let data = tempfile::tempdir().unwrap();
    let (relay, base) = start_relay("127.0.0.1:0", data.path());
    let agent = Process::start(tautline(data.path()).args(["agent", "--relay", &base]));
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
        let mut seen = String::new();
        for _ in 0..TRIES_MAX {
            seen = self.succeed(&["clients"]);
            let rows: Vec<&str> = seen.lines().skip(1).collect();
            if let [row] = rows[..]
                && let [client, _, "127.0.0.1", _, "connection", ..] =
                    row.split_whitespace().collect::<Vec<_>>()[..]
            {
                return client.to_owned();
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        panic!("no client came: {seen}");
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
fn start_relay(listen: &str, data: &Path) -> (Process, String) {
    let mut process =
        Process::start(program(&binary("tautlined"), data).args(["--listen", listen]));
    let mut greeting = String::new();
    let stdout = process.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut greeting).unwrap();
    let Some((base, _)) = greeting.split_once("/#token=") else {
        panic!("{greeting:?}");
    };
    (process, base.to_owned())
}

/// A process that ends with its handle.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // What is logged here is far less than a pipe holds.
        Self(command.stderr(Stdio::piped()).spawn().unwrap())
    }

    /// As `kill -9` does.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// SIGTERM, then the end: its status and its log.
    fn terminate(mut self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        let mut log = String::new();
        let mut stderr = self.0.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (self.0.wait().unwrap(), log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
