//! An agent that ends with its handle.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// An agent of the relay, with its data below `data`. It takes no datagrams
/// unless it is told to.
pub(crate) fn agent(relay: &str, data: &Path) -> Command {
    let mut command = tautline("agent", data);
    command.args(["--relay", relay]).stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("TAUTLINE_CLIENT_UDP_PORT", "off");
    command
}

/// A subcommand, with nothing of this test's environment.
pub(crate) fn tautline(subcommand: &str, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tautline"));
    command.args([subcommand, "--data-dir"]).arg(data);
    command.env_clear();
    command
}

/// A running agent.
pub(crate) struct Agent(Child);

impl Agent {
    /// Its log goes to `data/log`.
    pub(crate) fn start(command: &mut Command, data: &Path) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(data.join("log"));
        Self(command.stderr(log.unwrap()).spawn().unwrap())
    }

    /// As `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM, then the end.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended already cannot be ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What the agents of this folder logged.
pub(crate) fn log(data: &Path) -> String {
    let mut text = String::new();
    let read = File::open(data.join("log")).and_then(|mut file| file.read_to_string(&mut text));
    read.unwrap();
    text
}
