//! The server side of one connection.

mod ending;
mod receive;
mod reply;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use core::ops::Range;

use super::body::Incoming;
use super::buffers::Outgoing;
use super::fault::Refusal;
use super::head::Head;
use super::pace::Pace;
use super::pending::Pending;
use super::{Request, Settings};
use crate::{Close, FileId, Instant, Key};

/// What a [`Server`] wants done, or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A peer's wrong-doing or a limit ended the connection, for this reason;
    /// for counters. The answer, if there is one, is written by the machine.
    Refused(Refusal),
    /// The request that `Request` told of is over. Told exactly once for each.
    Finished {
        /// The status of the response, 0 if none was begun.
        status: u16,
        /// Whether the request or its response was cut short.
        aborted: bool,
    },
    /// A request's head is complete: see [`Server::request`].
    Request,
    /// Move the next bytes of the connection to a file, as `Output::Take`.
    Take {
        /// Where they go.
        sink: FileId,
        /// Where in the file the first one goes.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Bytes wait in [`Server::body`].
    Body,
    /// The body is complete.
    BodyEnd,
    /// Write a range of a file behind what was written, as `Output::SendFile`.
    SendFile {
        /// The file.
        file: FileId,
        /// Bytes of the file.
        range: Range<u64>,
    },
    /// The streamed response has room for more: see [`Server::stream`].
    Pull,
    /// The 101 is written. The bytes that follow belong to the new protocol;
    /// this machine takes, writes and wants nothing any more.
    Upgraded,
    /// Offer bytes again that were not taken.
    Resume,
    /// End the connection.
    Close(Close),
}

/// One HTTP/1.1 connection, seen from the server.
///
/// # How to drive it
///
/// Facts go in by the `handle_*` methods, what the application wants by the
/// commands ([`read_body`](Self::read_body), [`respond`](Self::respond), …).
/// After every one of them, and after every [`poll_write`](Self::poll_write),
/// call [`poll`](Self::poll) until it returns `None`. While
/// [`wants_write`](Self::wants_write) says so and the connection is writable,
/// call `poll_write`. [`poll_timeout`](Self::poll_timeout) may change with
/// every call but those of `&self`.
///
/// One request is in hand at a time: from its `Request` to its `Finished` no
/// byte of another is taken, so pipelined requests wait with the driver until
/// `Resume`. A request may be answered before its body was read; what is left
/// of the body is then read and dropped up to a limit, or the connection ends.
///
/// # What it holds
///
/// Buffers come from the pool that each call gets, and go back to it as soon
/// as they are empty: an idle connection has none. The head of a request and
/// what waits of its body share one until `respond`, the response has another.
///
/// # What it refuses
///
/// Everything that two readers could read differently: RFC 9112 where it says
/// MUST, and where it leaves a choice, the stricter one. After any error in
/// the framing the peer gets its answer with `Connection: close`, then
/// [`Close::Finish`], and no byte after the error is read as a request.
///
/// ```
/// use std::sync::Arc;
/// use tautline_core::Instant;
/// use tautline_core::collections::Pool;
/// use tautline_core::http::{Effect, ResponseBody, ResponseHead, Server, Settings};
///
/// let (now, mut pool) = (Instant::ORIGIN, Pool::new(8, 16_384));
/// let mut server = Server::new(now, &Arc::new(Settings::default()));
/// let head = b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n";
/// assert_eq!(server.handle_received(now, head, &mut pool), head.len());
/// assert_eq!(server.poll(), Some(Effect::Request));
/// assert_eq!(server.request().unwrap().path(), "/healthz");
///
/// let ok = ResponseHead { status: 200, headers: &[], close: false };
/// server.respond(now, &ok, ResponseBody::Bytes(b"ok\n"), &mut pool).unwrap();
/// let mut buf = [0; 1024];
/// let len = server.poll_write(now, &mut buf, &mut pool);
/// assert_eq!(&buf[..len], b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
/// assert_eq!(server.poll(), Some(Effect::Finished { status: 200, aborted: false }));
/// ```
#[derive(Debug)]
pub struct Server {
    settings: Arc<Settings>,
    /// By when the peer has to send.
    read: Pace,
    /// By when the peer has to take.
    write: Pace,
    head: Head,
    body: Incoming,
    out: Outgoing,
    leg: Leg,
    route: Route,
    /// Of the response under way.
    status: u16,
    pending: Pending,
    refusal: Refusal,
    phase: Phase,
    reply: Reply,
    /// A request was told of and is not finished.
    told: bool,
    /// The connection goes on after this response.
    keep_alive: bool,
    /// The driver keeps a tail.
    blocked: bool,
    /// Bytes were offered and not taken.
    starved: bool,
    /// No request follows the one in hand: this end drains, or the peer has
    /// ended.
    last: bool,
    /// Of the request in hand.
    is_http10: bool,
    is_head: bool,
    expects_continue: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No byte of a request has come.
    Idle,
    /// A head is coming.
    Head,
    /// A request is in hand, or its refusal is being written.
    Exchange,
    /// A 101 is being written.
    Upgrading,
    /// The connection is another protocol's.
    Upgraded,
    /// This side has ended, the peer's has not.
    Lingering,
    /// There is no connection.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    /// Not begun.
    None,
    /// Begun.
    Writing,
    /// Its last byte was handed out.
    Done,
}

/// Which way the rest of a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// Through the buffers.
    Buffers,
    /// The request's body goes to a file.
    Take,
    /// The response's comes from a file, when the head was handed out.
    File,
    /// The driver moves the file.
    Moving,
    /// The response's comes from the application: as many bytes as are left.
    Known,
    /// In chunks.
    Chunked,
    /// Until the connection ends.
    Raw,
}

/// What a [`Route`] needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leg {
    file: FileId,
    /// Where in the file the next byte is, or goes.
    at: u64,
    /// Bytes of the response to come.
    left: u64,
}

impl Leg {
    const NONE: Self = Self {
        file: FileId::from_key(Key::new(0, 0)),
        at: 0,
        left: 0,
    };
}

impl Server {
    /// A connection that was accepted just now. Its first head is due after
    /// [`Timeouts::head`](super::Timeouts::head).
    pub fn new(now: Instant, settings: &Arc<Settings>) -> Self {
        let mut read = Pace::default();
        read.arm(now + settings.timeouts().head);
        Self {
            settings: Arc::clone(settings),
            read,
            write: Pace::default(),
            head: Head::default(),
            body: Incoming::none(settings.limits()),
            out: Outgoing::default(),
            leg: Leg::NONE,
            route: Route::Buffers,
            status: 0,
            pending: Pending::NONE,
            refusal: Refusal::Silent,
            phase: Phase::Idle,
            reply: Reply::None,
            told: false,
            keep_alive: true,
            blocked: false,
            starved: false,
            last: false,
            is_http10: false,
            is_head: false,
            expects_continue: false,
        }
    }

    /// The next effect.
    pub fn poll(&mut self) -> Option<Effect> {
        let pending = &mut self.pending;
        if pending.take(Pending::REFUSED) {
            return Some(Effect::Refused(self.refusal));
        }
        if pending.take(Pending::FINISHED) {
            let aborted = pending.take(Pending::ABORTED);
            let status = self.status;
            return Some(Effect::Finished { status, aborted });
        }
        if pending.take(Pending::HEAD) {
            return Some(Effect::Request);
        }
        if pending.take(Pending::TAKE)
            && self.route == Route::Take
            && let Some(len) = self.body.next_take()
        {
            let Leg {
                file: sink,
                at: offset,
                ..
            } = self.leg;
            return Some(Effect::Take { sink, offset, len });
        }
        for (waiting, effect) in [
            (Pending::BODY, Effect::Body),
            (Pending::BODY_END, Effect::BodyEnd),
            (Pending::PULL, Effect::Pull),
            (Pending::UPGRADED, Effect::Upgraded),
            (Pending::RESUME, Effect::Resume),
            (Pending::FINISH, Effect::Close(Close::Finish)),
            (Pending::ABORT, Effect::Close(Close::Abort)),
        ] {
            if pending.take(waiting) {
                return Some(effect);
            }
        }
        if !self.blocked && self.pending.take(Pending::SEND_FILE) && self.route == Route::Moving {
            let Leg { file, at, left } = self.leg;
            let range = at..at.saturating_add(left);
            return Some(Effect::SendFile { file, range });
        }
        None
    }

    /// When it wants [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.read.deadline(), self.write.deadline()) {
            (Some(read), Some(write)) => Some(read.min(write)),
            (read, write) => read.or(write),
        }
    }

    /// Whether no byte of a request has come since the last one was over.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Whether [`poll_write`](Self::poll_write) has bytes.
    pub fn wants_write(&self) -> bool {
        !self.blocked && !self.out.is_empty()
    }

    /// The request that waits for an answer: from `Effect::Request` until
    /// `respond` or `upgrade`, or until it is refused.
    pub fn request(&self) -> Option<Request<'_>> {
        if self.is_waiting() {
            Request::view(&self.head)
        } else {
            None
        }
    }

    /// What came of the body and was not consumed.
    pub fn body(&self) -> &[u8] {
        if self.is_waiting() {
            self.head.body()
        } else {
            &[]
        }
    }

    /// Whether a request waits for its response to be begun.
    fn is_waiting(&self) -> bool {
        self.told && self.phase == Phase::Exchange && self.reply == Reply::None
    }

    /// Owes the driver a `Resume` if it has offered bytes in vain.
    fn resume(&mut self) {
        if core::mem::take(&mut self.starved) {
            self.pending.set(Pending::RESUME);
        }
    }
}

const _: () = assert!(size_of::<Server>() <= 160);
