//! The client side of one connection.

mod receive;
mod response;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;

pub use response::Response;

use super::body::Incoming;
use super::buffers::Outgoing;
use super::encode::{self, Framing, Persistence};
use super::fault::Refusal;
use super::head::Head;
use super::octets::{self, PATH, QUERY};
use super::pace::{Pace, allowance};
use super::pending::Pending;
use super::{Misuse, Pool, Settings, target};
use crate::{Close, FileId, Instant};

/// What a [`Client`] wants done, or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEffect {
    /// The request failed, and the connection with it. Told at most once.
    Failed(ClientError),
    /// The response's head is complete: see [`Client::response`]. Interim
    /// responses are skipped.
    Response,
    /// Move the next bytes of the connection to a file, as `Output::Take`. Of
    /// a body that ends with the connection, `len` is the most there may be.
    Take {
        /// Where they go.
        sink: FileId,
        /// Where in the file the first one goes.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Bytes wait in [`Client::body`].
    Body,
    /// The response is complete; one without a body is so at once.
    BodyEnd,
    /// The server granted the upgrade; the bytes that follow belong to the new
    /// protocol. [`Client::response`] shows the 101.
    Upgraded,
    /// Offer bytes again that were not taken.
    Resume,
    /// End the connection.
    Close(Close),
}

/// Why a request failed. The peer is to blame, or the line to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The peer ended before a byte of the response came. On a connection that
    /// was used before, a request that may be repeated can be sent anew.
    #[error("the connection ended before the response")]
    Closed,
    /// The peer ended before the response was complete.
    #[error("the response was cut short")]
    Truncated,
    /// Not HTTP as RFC 9112 defines it.
    #[error("the response is malformed")]
    Malformed,
    /// The head, its number of fields or a trailer section is over the limit.
    #[error("the response's head is too large")]
    HeadTooLarge,
    /// The body is over the limit, in bytes or chunks.
    #[error("the response's body is too large")]
    BodyTooLarge,
    /// A version or a transfer coding that is not understood.
    #[error("the response's version or coding is not supported")]
    Unsupported,
    /// The head did not come in time.
    #[error("no response in time")]
    SlowHead,
    /// The body came below the least rate.
    #[error("the response came too slowly")]
    SlowBody,
    /// The peer did not take the request.
    #[error("the request was taken too slowly")]
    SlowReader,
}

impl ClientError {
    fn from_refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed | Refusal::TargetTooLong | Refusal::Expectation => Self::Malformed,
            Refusal::Truncated => Self::Truncated,
            Refusal::HeadTooLarge => Self::HeadTooLarge,
            Refusal::BodyTooLarge => Self::BodyTooLarge,
            Refusal::Unsupported => Self::Unsupported,
            Refusal::SlowHead | Refusal::Silent => Self::SlowHead,
            Refusal::SlowBody => Self::SlowBody,
            Refusal::SlowReader => Self::SlowReader,
        }
    }
}

/// A request as the application gives it. `Content-Length`,
/// `Transfer-Encoding`, `Connection`, `Host` and `Upgrade` are the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// The method, a token; not `CONNECT`.
    pub method: &'a str,
    /// The target in origin form.
    pub target: &'a str,
    /// The `Host`, with its port where it is not the default one.
    pub host: &'a str,
    /// More header fields, sent in this order.
    pub headers: &'a [(&'a str, &'a str)],
    /// The protocol to upgrade to.
    pub upgrade: Option<&'a str>,
    /// Whether the connection ends after the response.
    pub close: bool,
}

/// One HTTP/1.1 connection, seen from the client: one request at a time.
///
/// It is driven as a [`Server`](super::Server) is. After
/// [`ClientEffect::Response`] the application chooses how the body is read;
/// after [`ClientEffect::BodyEnd`] it may [`finish`](Self::finish), which gives
/// the buffer back, and send another request if [`is_ready`](Self::is_ready).
///
/// ```
/// use std::sync::Arc;
/// use tautline_core::Instant;
/// use tautline_core::collections::Pool;
/// use tautline_core::http::{Client, ClientEffect, Reading, RequestHead, Settings};
///
/// let (now, mut pool) = (Instant::ORIGIN, Pool::new(8, 16_384));
/// let mut client = Client::new(&Arc::new(Settings::default()));
/// let head = RequestHead {
///     method: "GET",
///     target: "/healthz",
///     host: "relay:52311",
///     headers: &[],
///     upgrade: None,
///     close: false,
/// };
/// client.request(now, &head, b"", &mut pool).unwrap();
/// let mut buf = [0; 1024];
/// let len = client.poll_write(now, &mut buf, &mut pool);
/// assert_eq!(&buf[..len], b"GET /healthz HTTP/1.1\r\nHost: relay:52311\r\n\r\n");
///
/// let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
/// let taken = client.handle_received(now, answer, &mut pool);
/// assert_eq!(client.poll(), Some(ClientEffect::Response));
/// client.read_body(now, Reading::Whole { bytes_max: 100 }, &mut pool).unwrap();
/// assert_eq!(client.poll(), Some(ClientEffect::Resume));
/// client.handle_received(now, &answer[taken..], &mut pool);
/// assert_eq!(client.poll(), Some(ClientEffect::BodyEnd));
/// assert_eq!(client.body(), b"ok\n");
/// client.finish(&mut pool);
/// assert!(client.is_ready());
/// ```
#[derive(Debug)]
pub struct Client {
    settings: Arc<Settings>,
    /// By when the peer has to send.
    read: Pace,
    /// By when the peer has to take.
    write: Pace,
    head: Head,
    body: Incoming,
    out: Outgoing,
    /// Where the body goes, if it goes to a file.
    sink: Option<(FileId, u64)>,
    pending: Pending,
    failure: ClientError,
    phase: Phase,
    /// Interim responses to this request.
    interims: u8,
    keep_alive: bool,
    blocked: bool,
    starved: bool,
    /// The request in hand is a `HEAD`.
    is_head: bool,
    /// The request in hand asks for an upgrade.
    wants_upgrade: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No request is under way.
    Ready,
    /// The response's head is to come.
    Head,
    /// The response's body is to come.
    Body,
    /// The connection is another protocol's.
    Upgraded,
    /// This side has ended, the peer's has not.
    Lingering,
    /// There is no connection.
    Closed,
}

impl Client {
    /// A connection that was opened.
    pub fn new(settings: &Arc<Settings>) -> Self {
        Self {
            settings: Arc::clone(settings),
            read: Pace::default(),
            write: Pace::default(),
            head: Head::default(),
            body: Incoming::none(settings.limits()),
            out: Outgoing::default(),
            sink: None,
            pending: Pending::NONE,
            failure: ClientError::Closed,
            phase: Phase::Ready,
            interims: 0,
            keep_alive: true,
            blocked: false,
            starved: false,
            is_head: false,
            wants_upgrade: false,
        }
    }

    /// Whether a request can be sent.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Sends a request with this body. The response's head is due after
    /// [`Timeouts::head`](super::Timeouts::head).
    ///
    /// # Errors
    /// [`Misuse`]: nothing was changed.
    pub fn request(
        &mut self,
        now: Instant,
        head: &RequestHead<'_>,
        body: &[u8],
        pool: &mut Pool,
    ) -> Result<(), Misuse> {
        if !self.is_ready() {
            return Err(Misuse::Busy);
        }
        let bytes = self.check_request(head, body)?;
        self.head.release(pool);
        let takes_body = matches!(head.method, "POST" | "PUT" | "PATCH");
        let framing = match body {
            [] if !takes_body => Framing::Silent,
            _ => Framing::Length(body.len() as u64),
        };
        let persistence = match (head.upgrade, head.close) {
            (Some(_), _) => Persistence::Upgrade,
            (None, true) => Persistence::Close,
            (None, false) => Persistence::Open,
        };
        let out = self.out.append(bytes, pool);
        encode::request_line(out, head.method, head.target, head.host);
        if let Some(protocol) = head.upgrade {
            encode::field(out, "Upgrade", protocol);
        }
        encode::fields(out, head.headers, framing, persistence);
        out.extend_from_slice(body);
        self.is_head = head.method == "HEAD";
        self.wants_upgrade = head.upgrade.is_some();
        self.keep_alive = !head.close;
        self.interims = 0;
        self.phase = Phase::Head;
        self.read.arm(now + self.settings.timeouts().head);
        Ok(())
    }

    /// The next effect.
    pub fn poll(&mut self) -> Option<ClientEffect> {
        let pending = &mut self.pending;
        if pending.take(Pending::REFUSED) {
            return Some(ClientEffect::Failed(self.failure));
        }
        if pending.take(Pending::HEAD) {
            return Some(ClientEffect::Response);
        }
        if pending.take(Pending::TAKE)
            && let Some((sink, offset)) = self.sink
            && let Some(len) = self.body.next_take()
        {
            // What was offered in vain is the file's.
            self.starved = false;
            return Some(ClientEffect::Take { sink, offset, len });
        }
        [
            (Pending::BODY, ClientEffect::Body),
            (Pending::BODY_END, ClientEffect::BodyEnd),
            (Pending::UPGRADED, ClientEffect::Upgraded),
            (Pending::RESUME, ClientEffect::Resume),
            (Pending::FINISH, ClientEffect::Close(Close::Finish)),
            (Pending::ABORT, ClientEffect::Close(Close::Abort)),
        ]
        .into_iter()
        .find_map(|(waiting, effect)| pending.take(waiting).then_some(effect))
    }

    /// When it wants [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.read.deadline(), self.write.deadline()) {
            (Some(read), Some(write)) => Some(read.min(write)),
            (read, write) => read.or(write),
        }
    }

    /// Whether [`poll_write`](Self::poll_write) has bytes.
    pub fn wants_write(&self) -> bool {
        // What is left of a request goes nowhere once this side has ended.
        let open = !matches!(self.phase, Phase::Lingering | Phase::Closed);
        open && !self.blocked && !self.out.is_empty()
    }

    /// Fills `buf` with bytes to write; returns how many, 0 if there are none
    /// or the connection is blocked.
    pub fn poll_write(&mut self, _now: Instant, buf: &mut [u8], pool: &mut Pool) -> usize {
        if !self.wants_write() {
            return 0;
        }
        self.out.write(buf, pool)
    }

    /// A write was cut short and the driver keeps its tail.
    pub fn handle_blocked(&mut self, now: Instant) {
        if self.blocked || matches!(self.phase, Phase::Upgraded | Phase::Closed) {
            return;
        }
        self.blocked = true;
        let timeouts = self.settings.timeouts();
        let rate = timeouts.response_bytes_per_second_min;
        self.write
            .arm(now + timeouts.response + allowance(self.out.handed(), rate));
    }

    /// The tail is gone, the connection can be written to again.
    pub fn handle_writable(&mut self, _now: Instant) {
        if core::mem::take(&mut self.blocked) {
            self.write.disarm();
        }
    }

    /// The response whose head is complete, until [`finish`](Self::finish) or
    /// the next request.
    pub fn response(&self) -> Option<Response<'_>> {
        if self.phase == Phase::Head || !self.head.is_complete() {
            return None;
        }
        Response::view(&self.head, self.is_head)
    }

    /// What came of the body and was not consumed.
    pub fn body(&self) -> &[u8] {
        if self.head.is_complete() {
            self.head.body()
        } else {
            &[]
        }
    }

    /// The response was used: gives its buffer back. Nothing happens while the
    /// response is incomplete.
    pub fn finish(&mut self, pool: &mut Pool) {
        if !matches!(self.phase, Phase::Head | Phase::Body) {
            self.head.release(pool);
        }
    }

    /// Ends the connection at once.
    pub fn abort(&mut self, pool: &mut Pool) {
        if matches!(self.phase, Phase::Closed | Phase::Upgraded) {
            return;
        }
        self.phase = Phase::Closed;
        self.head.release(pool);
        self.out.release(pool);
        self.read.disarm();
        self.write.disarm();
        self.body.kill();
        self.sink = None;
        self.pending.clear(Pending::OF_EXCHANGE);
        self.pending.clear(Pending::RESUME);
        self.pending.clear(Pending::FINISH);
        self.pending.set(Pending::ABORT);
    }

    fn check_request(&self, head: &RequestHead<'_>, body: &[u8]) -> Result<usize, Misuse> {
        encode::check_headers(head.headers)?;
        let is_own =
            |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("upgrade");
        if head.headers.iter().any(|(name, _)| is_own(name)) {
            return Err(Misuse::HeaderName);
        }
        let (path, query) = head.target.split_once('?').unwrap_or((head.target, ""));
        let fits = octets::is_token(head.method.as_bytes())
            && head.method != "CONNECT"
            && path.starts_with('/')
            && octets::is_escaped(path.as_bytes(), PATH)
            && octets::is_escaped(query.as_bytes(), QUERY)
            && target::is_host(head.host.as_bytes())
            && head.upgrade.is_none_or(is_protocol);
        if !fits {
            return Err(Misuse::RequestLine);
        }
        let upgrade = head.upgrade.map_or(0, str::len);
        let bytes = [head.method, head.target, head.host]
            .iter()
            .fold(encode::head_bytes(head.headers), |bytes, part| {
                bytes.saturating_add(part.len())
            })
            .saturating_add(upgrade)
            .saturating_add(body.len());
        if bytes > self.settings.limits().response_bytes_max {
            return Err(Misuse::TooLarge);
        }
        Ok(bytes)
    }
}

/// A protocol name with or without a version: RFC 9110 section 7.8.
fn is_protocol(protocol: &str) -> bool {
    protocol
        .splitn(2, '/')
        .all(|part| octets::is_token(part.as_bytes()))
}
