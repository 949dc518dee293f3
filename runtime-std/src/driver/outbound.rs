//! The sending direction of a connection.

use std::io::{self, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tautline_core::{ConnId, FileId};

use super::line::LineNews;
use super::{News, Post};
use crate::tls;

/// A `SendFile` that is under way.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) file: FileId,
    pub(super) range: Range<u64>,
    /// A part is being read.
    pub(super) is_reading: bool,
}

/// What is to be sent.
#[derive(Debug)]
pub(super) struct Outbound {
    tail: Arc<Tail>,
    tail_bytes_max: usize,
    /// The endpoint was told `Blocked`.
    pub(super) is_blocked: bool,
    pub(super) sending: Option<Sending>,
    /// What was written while a file is being sent; it stands behind the file.
    pub(super) behind: Vec<u8>,
    /// Nothing more will be written.
    pub(super) is_finishing: bool,
    /// The sending direction is shut down.
    pub(super) has_ended: bool,
}

impl Outbound {
    /// Starts the thread that writes.
    pub(super) fn start(
        conn: ConnId,
        stream: Arc<TcpStream>,
        tail_bytes_max: usize,
        post: Post,
    ) -> io::Result<Self> {
        let tail = Arc::new(Tail::default());
        let of_thread = Arc::clone(&tail);
        thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || write_all(conn, &stream, &of_thread, &post))?;
        Ok(Self {
            tail,
            tail_bytes_max,
            is_blocked: false,
            sending: None,
            behind: Vec::new(),
            is_finishing: false,
            has_ended: false,
        })
    }

    /// Sends bytes, through TLS if there is a session.
    pub(super) fn push(&self, session: Option<&mut tls::Session>, mut bytes: &[u8]) {
        let Some(session) = session else {
            self.tail.push(bytes);
            return;
        };
        while !bytes.is_empty() {
            let count = session.write_plaintext(bytes);
            self.flush(session);
            if count == 0 {
                // The session is over; the connection ends for that reason.
                return;
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
    }

    /// Sends what the session has for the line.
    pub(super) fn flush(&self, session: &mut tls::Session) {
        // The tail takes everything.
        let _ = session.drain_ciphertext(&mut &*self.tail);
    }

    /// Whether so much waits that nothing should be added; if so, `Drained` is
    /// reported once it is all gone.
    pub(super) fn is_full(&self) -> bool {
        let mut state = self.tail.state();
        let is_full = state.bytes.len() + state.bytes_writing > self.tail_bytes_max;
        state.wants_drained |= is_full;
        is_full
    }

    /// Has the writer shut the direction down behind what waits.
    pub(super) fn end(&self, session: Option<&mut tls::Session>) {
        if let Some(session) = session {
            session.close_notify();
            self.flush(session);
        }
        self.tail.state().is_ending = true;
        self.tail.changed.notify_one();
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.tail.state().is_stopped = true;
        self.tail.changed.notify_one();
    }
}

/// Bytes on their way to the writer.
#[derive(Debug, Default)]
struct Tail {
    state: Mutex<TailState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct TailState {
    bytes: Vec<u8>,
    bytes_writing: usize,
    wants_drained: bool,
    is_ending: bool,
    is_stopped: bool,
}

/// What the writer does next.
enum Step {
    Write,
    Drained,
    End,
    Stop,
}

impl Tail {
    fn push(&self, bytes: &[u8]) {
        self.state().bytes.extend_from_slice(bytes);
        self.changed.notify_one();
    }

    /// All of `batch` was written; waits for what comes next, and fills it.
    fn next(&self, batch: &mut Vec<u8>) -> Step {
        batch.clear();
        let mut state = self.state();
        state.bytes_writing = 0;
        loop {
            if state.is_stopped {
                return Step::Stop;
            }
            if !state.bytes.is_empty() {
                mem::swap(&mut state.bytes, batch);
                state.bytes_writing = batch.len();
                return Step::Write;
            }
            if mem::take(&mut state.wants_drained) {
                return Step::Drained;
            }
            if state.is_ending {
                return Step::End;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, TailState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(conn: ConnId, stream: &TcpStream, tail: &Tail, post: &Post) {
    let mut stream = stream;
    let mut batch = Vec::new();
    loop {
        let result = match tail.next(&mut batch) {
            Step::Write => stream.write_all(&batch).map(|()| None),
            Step::Drained => Ok(Some(LineNews::Drained)),
            Step::End => stream
                .shutdown(Shutdown::Write)
                .map(|()| Some(LineNews::SendingEnded)),
            Step::Stop => return,
        };
        let (news, is_last) = match result {
            Ok(None) => continue,
            Ok(Some(news)) => {
                let is_last = matches!(news, LineNews::SendingEnded);
                (news, is_last)
            }
            Err(error) => (LineNews::Failed(error.kind()), true),
        };
        if post.send(News::Line(conn, news)).is_err() || is_last {
            return;
        }
    }
}
