//! The user's program that answers notifications: as many runs at a time as
//! are allowed, the rest waits.

mod program;
mod run;

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Deserialize;
use tautline_core::client::Client;
use tautline_core::notify::Handle;
use tautline_core::{ClientId, NotificationId};
use tautline_std::driver::Commander;
use tautline_std::settings::Checks;

use program::Program;
use run::{Bounds, Ending, REPLY_BYTES_MAX, Signal};

/// Between two looks whether a run's pipes are still held.
const HELD_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The section `handler`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HandlerSettings {
    /// The program and its arguments; none without.
    pub(super) command: Vec<String>,
    /// How long a run may take before it is ended.
    pub(super) time_limit_s: u32,
    /// Bytes of its output that become the reply.
    pub(super) output_bytes_max: usize,
    /// Runs at a time.
    pub(super) runs_max: usize,
}

impl Default for HandlerSettings {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            time_limit_s: 30,
            output_bytes_max: REPLY_BYTES_MAX,
            runs_max: 4,
        }
    }
}

impl HandlerSettings {
    pub(super) fn check(&self, checks: &mut Checks) {
        let program = Program::find(&self.command);
        checks.require("handler.command", program.is_ok(), || {
            format!("cannot be run: {}", program.err().unwrap_or_default())
        });
        checks.range("handler.time_limit_s", &self.time_limit_s, 1..=3_600);
        checks.range(
            "handler.output_bytes_max",
            &self.output_bytes_max,
            1..=REPLY_BYTES_MAX,
        );
        checks.range("handler.runs_max", &self.runs_max, 1..=64);
    }
}

/// A notification for the program.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) notification: Handle,
    pub(super) id: NotificationId,
    pub(super) client: ClientId,
    pub(super) payload: Vec<u8>,
}

/// The program, and a thread for each run at a time.
pub(super) struct Handler {
    shared: Arc<Shared>,
    workers: Vec<(Sender<Signal>, JoinHandle<()>)>,
}

struct Shared {
    program: Program,
    bounds: Bounds,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// As many at most as the client holds notifications.
    jobs: VecDeque<Job>,
    is_stopping: bool,
}

impl Handler {
    /// Starts the threads; `None` if there is no program.
    pub(super) fn start(
        settings: &HandlerSettings,
        commander: &Commander<Client>,
    ) -> io::Result<Option<Self>> {
        let found = Program::find(&settings.command).map_err(io::Error::other)?;
        let Some(program) = found else {
            return Ok(None);
        };
        tracing::info!(program = %program.path.display(), "notifications have a handler");
        let shared = Shared {
            program,
            bounds: Bounds {
                time_limit: Duration::from_secs(settings.time_limit_s.into()),
                output_bytes_max: settings.output_bytes_max,
            },
            queue: Mutex::default(),
            changed: Condvar::new(),
        };
        let mut handler = Self {
            shared: Arc::new(shared),
            workers: Vec::new(),
        };
        for _ in 0..settings.runs_max {
            let (signal, signals) = channel();
            let worker = Worker {
                shared: Arc::clone(&handler.shared),
                commander: commander.clone(),
                signal: signal.clone(),
                signals,
            };
            let thread = thread::Builder::new().name("handler".to_owned());
            handler
                .workers
                .push((signal, thread.spawn(move || worker.work())?));
        }
        Ok(Some(handler))
    }

    /// Has a notification handled; it does not wait.
    pub(super) fn push(&self, job: Job) {
        self.shared.queue().jobs.push_back(job);
        self.shared.changed.notify_one();
    }

    /// The notification is over: if it still waits, it is not handled.
    pub(super) fn forget(&self, notification: Handle) {
        let mut queue = self.shared.queue();
        queue.jobs.retain(|job| job.notification != notification);
    }
}

impl Drop for Handler {
    /// Ends the runs and waits for their end.
    fn drop(&mut self) {
        self.shared.queue().is_stopping = true;
        self.shared.changed.notify_all();
        for (signal, _) in &self.workers {
            // One that is gone needs no signal.
            let _ = signal.send(Signal::Stop);
        }
        for (_, worker) in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a job; `None` when the agent ends.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if queue.is_stopping {
                return None;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            let waited = self.changed.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_stopping(&self) -> bool {
        self.queue().is_stopping
    }
}

/// A thread that runs the program, once at a time.
struct Worker {
    shared: Arc<Shared>,
    commander: Commander<Client>,
    signal: Sender<Signal>,
    signals: Receiver<Signal>,
}

impl Worker {
    fn work(self) {
        while let Some(job) = self.shared.next() {
            self.handle(job);
        }
    }

    fn handle(&self, job: Job) {
        let Job {
            notification,
            id,
            client,
            payload,
        } = job;
        let variables = [
            ("TAUTLINE_NOTIFICATION", id.to_string()),
            ("TAUTLINE_CLIENT", client.to_string()),
        ];
        let ended = run::run(
            &self.shared.program,
            variables,
            payload,
            self.shared.bounds,
            (&self.signal, &self.signals),
            &|| self.shared.is_stopping(),
        );
        let outcome = &ended.outcome;
        if outcome.is_success() {
            tracing::debug!(%id, "handled");
        } else {
            let (ending, stderr) = (&outcome.ending, &outcome.last_words);
            tracing::warn!(%id, %ending, stderr, "the handler failed");
        }
        if matches!(outcome.ending, Ending::Stopped) {
            // Pipes that are still held end with this process.
            return;
        }
        let reply = outcome.reply();
        let tell = move |client: &mut Client, now| {
            if let Err(why) = client.reply(now, notification, &reply) {
                tracing::warn!(%id, %why, "no reply");
            }
        };
        // Without a driver, the agent ends.
        let _ = self.commander.command(tell);
        self.wait_until_free(id, &ended);
    }

    /// A run has its place until nothing holds its pipes any more.
    fn wait_until_free(&self, id: NotificationId, ended: &run::Ended) {
        let mut pause = Duration::from_millis(1);
        while ended.is_held() && !self.shared.is_stopping() {
            let is_long = pause == HELD_PAUSE_MAX;
            pause = (pause * 2).min(HELD_PAUSE_MAX);
            if pause == HELD_PAUSE_MAX && !is_long {
                tracing::warn!(
                    %id,
                    "the handler has left a process behind that holds its input or output; until \
                     that ends, there is one run less at a time"
                );
            }
            // Whoever closes the output says so, and so does the agent's end.
            let _ = self.signals.recv_timeout(pause);
        }
    }
}
