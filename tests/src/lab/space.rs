//! One network namespace.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace that ends with its handle, and all processes in it.
#[derive(Debug)]
pub(super) struct Space {
    name: String,
}

impl Space {
    /// Makes a namespace with nothing but a loopback interface that is up.
    ///
    /// # Errors
    /// What `ip` says.
    pub(super) fn make(name: String) -> Result<Self, String> {
        ended_well(&run(ip().args(["netns", "add", &name]), ""))?;
        let space = Self { name };
        space.try_links("link set lo up")?;
        Ok(space)
    }

    /// One that is there already, of a process that is not.
    pub(super) fn adopt(name: &str) -> Self {
        let name = name.to_owned();
        Self { name }
    }

    /// Carries out lines of `ip`, without that word.
    ///
    /// # Panics
    /// When one of them fails.
    pub(super) fn links(&self, lines: &str) {
        self.try_links(lines)
            .unwrap_or_else(|error| panic!("{}: {lines}: {error}", self.name));
    }

    fn try_links(&self, lines: &str) -> Result<(), String> {
        let output = run(ip().args(["-n", &self.name, "-batch", "-"]), lines);
        ended_well(&output).map(drop)
    }

    /// Joins the two by a line: its ends, both up, have these names.
    pub(super) fn join(&self, here: &str, other: &Self, there: &str) {
        let peer = &other.name;
        self.links(&format!(
            "link add {here} type veth peer name {there} netns {peer}\nlink set {here} up\n"
        ));
        other.links(&format!("link set {there} up\n"));
    }

    /// Carries out a script of `nft`.
    ///
    /// # Errors
    /// What `nft` says.
    pub(super) fn try_rules(&self, script: &str) -> Result<(), String> {
        let output = run(self.command("nft").args(["-f", "-"]), script);
        ended_well(&output).map(drop)
    }

    /// [`try_rules`](Self::try_rules), where there is nothing to be wrong.
    ///
    /// # Panics
    /// When it fails.
    pub(super) fn rules(&self, script: &str) {
        self.try_rules(script)
            .unwrap_or_else(|error| panic!("{}: {script}: {error}", self.name));
    }

    /// What `nft` lists, as JSON.
    ///
    /// # Panics
    /// When there is nothing to list.
    pub(super) fn listed(&self, arguments: &str) -> serde_json::Value {
        let arguments = arguments.split(' ');
        let output = run(self.command("nft").args(["-j", "list"]).args(arguments), "");
        let text = ended_well(&output).expect("a list");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Sets a value below `/proc/sys/net`.
    ///
    /// # Panics
    /// When there is no such value.
    pub(super) fn sysctl(&self, path: &str, value: u64) {
        let path = format!("/proc/sys/net/{path}");
        let write = || std::fs::write(&path, value.to_string());
        self.inside(write)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A command that runs in the namespace, with nothing in its environment
    /// but the search path.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = ip();
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Does something on a thread that is in the namespace: its sockets are.
    ///
    /// # Panics
    /// As the closure does.
    pub(super) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let space = File::open(self.path()).expect("the namespace");
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("the right to enter");
            act()
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|why| resume_unwind(why))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let output = run(ip().args(["netns", "pids", &self.name]), "");
        let text = String::from_utf8_lossy(&output.stdout);
        let pids = text.lines().filter_map(|line| line.parse().ok());
        for pid in pids.filter_map(Pid::from_raw) {
            // It may have ended by itself.
            kill_process(pid, Signal::KILL).ok();
        }
        run(ip().args(["netns", "del", &self.name]), "");
    }
}

/// The names of all namespaces of the machine.
pub(super) fn names() -> Vec<String> {
    let output = run(ip().args(["netns", "list"]), "");
    let text = String::from_utf8_lossy(&output.stdout);
    // Some versions put an id behind the name.
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

fn ip() -> Command {
    let mut command = Command::new("ip");
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Not everybody's search path has what only root can use.
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let path = std::env::join_paths(folders).unwrap_or(path);
    command.env_clear().env("PATH", path);
    command
}

/// Runs a tool to its end.
fn run(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => panic!("{command:?}: {error}"),
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    // One that failed at once reads nothing.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    child.wait_with_output().expect("its output")
}

/// Its output, or what it complained of.
fn ended_well(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}
