//! The thread that touches files.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tautline_core::{ConnId, FileId, Ticket};

use super::line::LineNews;
use super::{News, Post};
use crate::files::{Files, Op, OpenFiles};

/// What a job counts beside its bytes.
const JOB_BYTES: usize = 128;
const SPARE_BUFFERS_MAX: usize = 8;
const SPARE_BUFFER_BYTES_MAX: usize = 64 * 1_024;

/// One thing to do, in the order they come.
pub(super) enum Job {
    /// An effect of the endpoint's.
    Op(Ticket, Op),
    /// A part of a `Take`.
    Take {
        conn: ConnId,
        sink: FileId,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// A part of a `SendFile`.
    Read {
        conn: ConnId,
        file: FileId,
        range: Range<u64>,
        buffer: Vec<u8>,
    },
}

impl Job {
    fn cost(&self) -> usize {
        JOB_BYTES
            + match self {
                Self::Op(_, op) => op.bytes().len(),
                Self::Take { bytes, .. } => bytes.len(),
                Self::Read { .. } => 0,
            }
    }
}

pub(super) struct Storage {
    shared: Arc<Shared>,
    bytes_waiting_max: usize,
    spare_buffers: Vec<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Of the jobs that wait and of the one that is being done.
    bytes: usize,
    is_closed: bool,
}

impl Storage {
    pub(super) fn start(files: Files, bytes_waiting_max: usize, post: Post) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("storage".to_owned())
            .spawn(move || run(files, &of_thread, &post))?;
        Ok(Self {
            shared,
            bytes_waiting_max,
            spare_buffers: Vec::new(),
            thread: Some(thread),
        })
    }

    /// Whether the endpoint must wait before it asks for more.
    pub(super) fn is_full(&self) -> bool {
        self.shared.queue().bytes >= self.bytes_waiting_max
    }

    pub(super) fn push(&self, job: Job) {
        let mut queue = self.shared.queue();
        queue.bytes += job.cost();
        queue.jobs.push_back(job);
        self.shared.changed.notify_one();
    }

    /// An empty buffer for a job.
    pub(super) fn spare_buffer(&mut self) -> Vec<u8> {
        self.spare_buffers.pop().unwrap_or_default()
    }

    /// Gives a job's buffer back.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        let is_useful = (1..=SPARE_BUFFER_BYTES_MAX).contains(&buffer.capacity());
        if is_useful && self.spare_buffers.len() < SPARE_BUFFERS_MAX {
            buffer.clear();
            self.spare_buffers.push(buffer);
        }
    }
}

impl Drop for Storage {
    /// Waits until all is stored that was asked for.
    fn drop(&mut self) {
        self.shared.queue().is_closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It ended, be it by a panic.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a job; `None` when there will be no more.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.is_closed {
                return None;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn run(mut files: Files, shared: &Shared, post: &Post) {
    let open_files = files.open_files();
    while let Some(job) = shared.next() {
        let cost = job.cost();
        let news = carry_out(job, &mut files, &open_files);
        shared.queue().bytes -= cost;
        // Without a driver, the rest is stored all the same.
        let _ = post.send(news);
    }
}

fn carry_out(job: Job, files: &mut Files, open_files: &OpenFiles) -> News {
    match job {
        Job::Op(ticket, op) => {
            let result = files.run(&op);
            if let Err(error) = &result {
                tracing::debug!(?ticket, %error, "a storage effect failed");
            }
            News::Stored {
                ticket,
                result,
                buffer: op.into_buffer(),
            }
        }
        Job::Take {
            conn,
            sink,
            offset,
            bytes,
        } => {
            let file = open_files.get(sink);
            let is_written = file.is_some_and(|file| file.write_all_at(&bytes, offset).is_ok());
            News::Line(conn, LineNews::Taken { bytes, is_written })
        }
        Job::Read {
            conn,
            file,
            range,
            mut buffer,
        } => {
            // At most one part, see `PART_BYTES` of the line.
            buffer.resize(usize::try_from(range.end - range.start).unwrap_or(0), 0);
            let file = open_files.get(file);
            let count = file.map(|file| file.read_full_at(&mut buffer, range.start));
            let is_read = matches!(count, Some(Ok(count)) if count == buffer.len());
            News::Line(
                conn,
                LineNews::FileRead {
                    bytes: buffer,
                    is_read,
                },
            )
        }
    }
}
