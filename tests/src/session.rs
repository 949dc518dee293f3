//! A relay and agents on this machine, as processes, over loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::{Program, binary};

/// `tautline`, with its data in `data`.
pub fn tautline(data: &Path) -> Command {
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

/// An agent, with its log in `data`.
pub fn start_agent(base: &str, data: &Path, name: &str, flags: &[&str]) -> Program {
    let mut command = tautline(data);
    command.args(["agent", "--relay", base]).args(flags);
    Program::start(&mut command, &data.join(format!("{name}.log")))
}

/// A relay that serves with these settings, as a file has them, and its address
/// as it prints it.
///
/// # Panics
/// When it does not start.
pub fn start_relay(listen: &str, data: &Path, settings: &str) -> (Program, String) {
    let file = data.join("tautlined.toml");
    fs::write(&file, settings).expect("a file");
    let mut command = program(&binary("tautlined"), data);
    command.args(["--listen", listen, "--config"]).arg(file);
    let mut relay = Program::start(&mut command, &data.join("relay.log"));
    let greeting = relay.wait_for_log("/#token=");
    let (base, _) = greeting.split_once("/#token=").expect("an address");
    (relay, base.to_owned())
}
