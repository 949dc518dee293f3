//! A program that a test started: its log, and its end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait_for;

/// A process that ends with its handle. What it prints goes to a file, on which
/// it cannot block and which is still there when the process is not.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
    /// Bytes of the log that [`wait_for_log`](Self::wait_for_log) has read.
    read: usize,
}

impl Program {
    /// Starts the command. Its output is appended to the file `log`.
    ///
    /// # Panics
    /// When it can not be started.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let options = File::options().create(true).append(true).clone();
        let file = options.open(log).expect("a log");
        let read = file.metadata().expect("the log's length").len() as usize;
        let output = file.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(output).stderr(file);
        let child = command.spawn();
        Self {
            child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")),
            log: log.to_owned(),
            read,
        }
    }

    /// Everything in the log's file, also of an earlier process.
    ///
    /// # Panics
    /// When it can not be read.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).expect("the log");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The next line of the log with this text, behind the line that was
    /// returned before.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for_log(&mut self, text: &str) -> String {
        let what = format!("{text:?} in {}", self.log.display());
        wait_for(what, || {
            let log = fs::read(&self.log).expect("the log");
            let mut end = self.read;
            for line in log[self.read..].split_inclusive(|byte| *byte == b'\n') {
                end += line.len();
                let line = String::from_utf8_lossy(line);
                if line.ends_with('\n') && line.contains(text) {
                    self.read = end;
                    return Some(line.trim_end().to_owned());
                }
            }
            None
        })
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it can not be sent.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process");
    }

    /// Ends it as `kill -9` does.
    pub fn kill(self) {
        drop(self);
    }

    /// SIGTERM, then the end: its status and its log.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(mut self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        let status = wait_for(format_args!("the end of {}", self.log.display()), || {
            self.child.try_wait().expect("a child")
        });
        (status, self.log())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already cannot be ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
