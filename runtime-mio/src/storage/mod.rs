//! The storage thread: carries out storage effects in their order, hashes
//! files, and lends them to the loop for bulk transfers.

pub mod mailbox;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use mio::Waker;
use tautline_core::{ConnId, FileId, StoreError, StoreOp, Ticket};
use tautline_std::files::{Done, Files, Op, OpenFile};

use mailbox::{Owner, Worker, mailbox};

/// Buffers for what is written that are kept for the next.
const BUFFERS_MAX: usize = 64;
/// The longest buffer that is kept, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1_024;

/// The loop's end of the storage thread.
///
/// It takes effects as long as it [has room](Self::has_room): the loop leaves
/// the endpoint's output alone until then, so that what waits is bounded.
/// Dropping it waits until everything that was handed over is carried out.
pub struct Storage {
    owner: Option<Owner<Command, Completion, Arc<Waker>>>,
    thread: Option<JoinHandle<()>>,
    completions: VecDeque<Completion>,
    buffers: Vec<Vec<u8>>,
    waiting: usize,
    waiting_bytes: usize,
    limits: StorageLimits,
}

/// The bounds of a [`Storage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageLimits {
    /// Effects that wait to be carried out.
    pub effects_max: usize,
    /// Bytes to write that wait, beyond the one effect that passes the bound.
    pub write_bytes_max: usize,
}

impl Default for StorageLimits {
    fn default() -> Self {
        Self {
            effects_max: 8_192,
            write_bytes_max: 64 * 1_024 * 1_024,
        }
    }
}

/// What the storage thread has done.
#[derive(Debug)]
pub(crate) enum Completion {
    /// A storage effect or a hash.
    Effect {
        ticket: Ticket,
        outcome: Result<Done, StoreError>,
        /// The buffer that its operation came in.
        buffer: Vec<u8>,
        /// How many of the waiting bytes were its own.
        bytes: usize,
    },
    /// A file for a transfer, if it is open.
    Lent {
        conn: ConnId,
        id: FileId,
        file: Option<Arc<OpenFile>>,
    },
}

enum Command {
    Run { ticket: Ticket, op: Op },
    Lend { conn: ConnId, id: FileId },
}

impl Storage {
    /// Starts the thread. Completions interrupt the loop by `waker`.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(files: Files, limits: StorageLimits, waker: Arc<Waker>) -> io::Result<Self> {
        // Lending is not counted by `has_room`: each connection has one
        // transfer at a time.
        let (owner, worker) = mailbox(usize::MAX, waker);
        let thread = thread::Builder::new()
            .name("storage".into())
            .spawn(move || serve(files, &worker))?;
        Ok(Self {
            owner: Some(owner),
            thread: Some(thread),
            completions: VecDeque::new(),
            buffers: Vec::new(),
            waiting: 0,
            waiting_bytes: 0,
            limits,
        })
    }

    /// Whether another effect may be handed over.
    pub fn has_room(&self) -> bool {
        self.waiting < self.limits.effects_max && self.waiting_bytes < self.limits.write_bytes_max
    }

    /// Whether everything that was handed over is done and was told.
    pub fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    pub(crate) fn store(&mut self, ticket: Ticket, op: &StoreOp<'_>) {
        let bytes = op.bytes().len();
        let buffer = match bytes {
            0 => Vec::new(),
            _ => self.buffers.pop().unwrap_or_default(),
        };
        self.waiting_bytes += bytes;
        let op = Op::new(op, buffer);
        self.submit(Command::Run { ticket, op });
    }

    pub(crate) fn hash(&mut self, ticket: Ticket, file: FileId, range: std::ops::Range<u64>) {
        let op = Op::Hash { file, range };
        self.submit(Command::Run { ticket, op });
    }

    /// Asks for a file, as it is after all effects that were handed over.
    pub(crate) fn lend(&mut self, conn: ConnId, id: FileId) {
        self.submit(Command::Lend { conn, id });
    }

    /// Collects what the thread has done since.
    pub(crate) fn collect(&mut self) {
        if let Some(owner) = &self.owner {
            owner.drain(&mut self.completions);
        }
    }

    /// The next thing that is done.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        let mut completion = self.completions.pop_front()?;
        self.waiting -= 1;
        if let Completion::Effect { buffer, bytes, .. } = &mut completion {
            self.waiting_bytes -= *bytes;
            let buffer = std::mem::take(buffer);
            let is_useful = (1..=BUFFER_BYTES_MAX).contains(&buffer.capacity());
            if is_useful && self.buffers.len() < BUFFERS_MAX {
                self.buffers.push(buffer);
            }
        }
        Some(completion)
    }

    fn submit(&mut self, command: Command) {
        if let Some(owner) = &self.owner
            && owner.submit(command).is_ok()
        {
            self.waiting += 1;
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        drop(self.owner.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its hook.
            let _ = thread.join();
        }
    }
}

fn serve(mut files: Files, worker: &Worker<Command, Completion, Arc<Waker>>) {
    let open_files = files.open_files();
    while let Some(command) = worker.next() {
        worker.complete(match command {
            Command::Run { ticket, op } => {
                let outcome = files.run(&op);
                let buffer = op.into_buffer();
                Completion::Effect {
                    ticket,
                    outcome,
                    bytes: buffer.len(),
                    buffer,
                }
            }
            Command::Lend { conn, id } => Completion::Lent {
                conn,
                id,
                file: open_files.get(id),
            },
        });
    }
}
