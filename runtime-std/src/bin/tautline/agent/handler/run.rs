//! One run of the handler: payload in, output out, an end in any case.
//!
//! Only the thread that waits also reaps, so that a process id that is ended
//! here belongs to this run.

use std::fmt;
use std::io::{self, Read, Write};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::program::Program;

/// Bytes of a reply; a relay takes no more.
pub(super) const REPLY_BYTES_MAX: usize = 65_536;
/// The end of standard error that is told.
const LAST_WORDS_BYTES_MAX: usize = 1_024;
const NOTE_OF_CUT_BYTES_MAX: usize = 64;
/// How long the output of a process that was ended may take to come through.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks whether a process has ended that closed its output.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What a run may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) time_limit: Duration,
    pub(super) output_bytes_max: usize,
}

/// A message to the thread that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// The program's output is at its end.
    Closed,
    /// The agent ends.
    Stop,
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ending {
    Exited(ExitStatus),
    TimeLimit(Duration),
    Stopped,
    /// The system did not start or watch it.
    Failed(io::Error),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // "exit status: 3", "signal: 9 (SIGKILL)"
            Self::Exited(status) => write!(f, "{status}"),
            Self::TimeLimit(limit) => write!(f, "ended at its time limit of {limit:?}"),
            Self::Stopped => f.write_str("ended, as the agent ends"),
            Self::Failed(error) => write!(f, "not run: {error}"),
        }
    }
}

/// What became of a run.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) ending: Ending,
    output: Vec<u8>,
    is_cut: bool,
    /// The end of standard error.
    pub(super) last_words: String,
}

impl Outcome {
    fn failed(error: io::Error) -> Self {
        Self {
            ending: Ending::Failed(error),
            output: Vec::new(),
            is_cut: false,
            last_words: String::new(),
        }
    }

    pub(super) fn is_success(&self) -> bool {
        matches!(self.ending, Ending::Exited(status) if status.success())
    }

    /// The output; behind it, in lines of their own, what was not as it should
    /// be.
    pub(super) fn reply(&self) -> Vec<u8> {
        let mut note = String::new();
        if !self.is_success() {
            note += &format!("[handler: {}]\n", self.ending);
            if !self.last_words.is_empty() {
                note += &format!("[handler: standard error: {}]\n", self.last_words);
            }
        }
        let mut output = self.output.as_slice();
        let room = REPLY_BYTES_MAX - NOTE_OF_CUT_BYTES_MAX - note.len();
        if self.is_cut || (!note.is_empty() && output.len() > room) {
            output = output.get(..room).unwrap_or(output);
            let bytes = output.len();
            note = format!("[handler: its output was cut at {bytes} bytes]\n{note}");
        }
        let mut reply = output.to_vec();
        if !note.is_empty() {
            if reply.last().is_some_and(|byte| *byte != b'\n') {
                reply.push(b'\n');
            }
            reply.extend_from_slice(note.trim_end().as_bytes());
        }
        reply
    }
}

/// A run whose outcome is known. Threads may still hold its pipes.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pumps: Vec<JoinHandle<()>>,
}

impl Ended {
    /// Whether something that the run left behind holds its pipes.
    pub(super) fn is_held(&self) -> bool {
        self.pumps.iter().any(|pump| !pump.is_finished())
    }
}

/// Runs the program. `signals` is this thread's own; what is left in it from
/// an earlier run does no harm.
pub(super) fn run(
    program: &Program,
    variables: [(&str, String); 2],
    payload: Vec<u8>,
    bounds: Bounds,
    (signal, signals): (&Sender<Signal>, &Receiver<Signal>),
    is_stopping: &dyn Fn() -> bool,
) -> Ended {
    while signals.try_recv().is_ok() {}
    let started = program.command().envs(variables).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            return Ended {
                outcome: Outcome::failed(error),
                pumps: Vec::new(),
            };
        }
    };
    let (output, errors) = (Kept::default(), Kept::default());
    let mut open = 2;
    let (ending, pumps) = match pump(&mut child, payload, bounds, &output, &errors, signal) {
        Ok(pumps) => {
            let limit = bounds.time_limit;
            let ending = wait(&mut child, limit, &mut open, signals, is_stopping);
            (ending.unwrap_or(Ending::TimeLimit(limit)), pumps)
        }
        Err(error) => (Ending::Failed(error), Vec::new()),
    };
    if !matches!(ending, Ending::Exited(_)) {
        end(&mut child);
        if !pumps.is_empty() {
            hear_out(open, signals);
        }
    }
    let last_words = std::mem::take(&mut errors.lock().bytes);
    let mut output = output.lock();
    let outcome = Outcome {
        ending,
        is_cut: output.is_cut,
        output: std::mem::take(&mut output.bytes),
        last_words: String::from_utf8_lossy(&last_words).trim().to_owned(),
    };
    Ended { outcome, pumps }
}

/// Waits until what was written before the end has come through.
fn hear_out(mut open: u32, signals: &Receiver<Signal>) {
    let deadline = Instant::now() + GRACE;
    while open > 0 {
        match signals.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Signal::Closed) => open -= 1,
            Ok(Signal::Stop) => {}
            Err(_) => return,
        }
    }
}

/// Waits until the program has ended and its output is closed; `None` at the
/// time limit.
fn wait(
    child: &mut Child,
    time_limit: Duration,
    open: &mut u32,
    signals: &Receiver<Signal>,
    is_stopping: &dyn Fn() -> bool,
) -> Option<Ending> {
    let deadline = Instant::now() + time_limit;
    let mut pause = PAUSE_MIN;
    loop {
        if is_stopping() {
            return Some(Ending::Stopped);
        }
        let mut left = deadline.saturating_duration_since(Instant::now());
        if *open == 0 {
            match child.try_wait() {
                Ok(Some(status)) => return Some(Ending::Exited(status)),
                Ok(None) => {}
                Err(error) => return Some(Ending::Failed(error)),
            }
            left = left.min(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
        if left.is_zero() {
            return None;
        }
        if signals.recv_timeout(left) == Ok(Signal::Closed) {
            *open = open.saturating_sub(1);
        }
    }
}

/// Ends the program and all of its process group that is left. It was not
/// reaped yet, so the id is still its own.
fn end(child: &mut Child) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process_group};
        if let Err(error) = kill_process_group(Pid::from_child(child), Signal::KILL) {
            tracing::warn!(%error, "the handler's process group cannot be ended");
        }
    }
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// What was read and is kept.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<KeptBytes>>);

#[derive(Debug, Default)]
struct KeptBytes {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, KeptBytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptBytes {
    /// Keeps the first bytes.
    fn add_to_head(&mut self, bytes: &[u8], bytes_max: usize) {
        let room = bytes_max.saturating_sub(self.bytes.len());
        let part = bytes.get(..room).unwrap_or(bytes);
        self.is_cut |= part.len() < bytes.len();
        self.bytes.extend_from_slice(part);
    }

    /// Keeps the last bytes.
    fn add_to_tail(&mut self, bytes: &[u8], bytes_max: usize) {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(bytes_max);
        self.bytes.drain(..surplus);
    }
}

/// Starts the threads that move bytes into and out of the program.
fn pump(
    child: &mut Child,
    payload: Vec<u8>,
    bounds: Bounds,
    output: &Kept,
    errors: &Kept,
    signal: &Sender<Signal>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut pumps = Vec::new();
    if let Some(mut stdin) = child.stdin.take() {
        let write = move || {
            // A program need not read it.
            let _ = stdin.write_all(&payload);
        };
        pumps.push(spawn(write)?);
    }
    if let Some(stdout) = child.stdout.take() {
        let (kept, signal) = (output.clone(), signal.clone());
        let bytes_max = bounds.output_bytes_max;
        pumps.push(spawn(move || {
            read_all(stdout, |part| kept.lock().add_to_head(part, bytes_max));
            let _ = signal.send(Signal::Closed);
        })?);
    }
    if let Some(stderr) = child.stderr.take() {
        let (kept, signal) = (errors.clone(), signal.clone());
        pumps.push(spawn(move || {
            read_all(stderr, |part| {
                kept.lock().add_to_tail(part, LAST_WORDS_BYTES_MAX);
            });
            let _ = signal.send(Signal::Closed);
        })?);
    }
    Ok(pumps)
}

fn spawn(act: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("handler's pipe".to_owned())
        .spawn(act)
}

fn read_all(mut from: impl Read, mut keep: impl FnMut(&[u8])) {
    let mut buf = [0; 8_192];
    loop {
        match from.read(&mut buf) {
            Ok(0) => return,
            Ok(count) => keep(buf.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests;
