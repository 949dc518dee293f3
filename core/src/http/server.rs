//! The server side of one connection.

use alloc::sync::Arc;
use core::ops::Range;

use super::Pool;
use super::{BodyLength, Misuse, Reading, ResponseBody, ResponseHead, Settings, Version};
use crate::{Close, FileId, Instant};

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

/// Why a connection was ended; the reason to count it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Not HTTP as RFC 9112 defines it; 400.
    Malformed,
    /// The peer ended within a head or a body; 400.
    Truncated,
    /// A head, its number of fields or a trailer section over the limit; 431.
    HeadTooLarge,
    /// A target over the limit; 414.
    TargetTooLong,
    /// A body over the limit, in bytes or chunks; 413.
    BodyTooLarge,
    /// A method, transfer coding or version that is not served; 501 or 505.
    Unsupported,
    /// An expectation other than `100-continue`; 417.
    Expectation,
    /// A head that was not complete in time; 408.
    SlowHead,
    /// A body below the least rate; 408.
    SlowBody,
    /// A peer that did not take what was written to it; no answer.
    SlowReader,
    /// A peer that never spoke; no answer.
    Silent,
}

/// A request's head, borrowed from its connection.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    text: &'a [u8],
}

impl<'a> Request<'a> {
    /// The method, a token; methods are case-sensitive.
    pub fn method(&self) -> &'a str {
        ""
    }
    /// The target as it was sent.
    pub fn target(&self) -> &'a str {
        ""
    }
    /// The target's path, still percent-encoded: it begins with `/`, or is `*`.
    pub fn path(&self) -> &'a str {
        ""
    }
    /// What follows the first `?` of the target.
    pub fn query(&self) -> Option<&'a str> {
        None
    }
    /// The host that is asked for, with its port; from the target in absolute
    /// form, else from `Host`.
    pub fn host(&self) -> Option<&'a str> {
        None
    }
    /// The version.
    pub fn version(&self) -> Version {
        Version::Http11
    }
    /// The header fields in the order they came.
    pub fn headers(&self) -> Headers<'a> {
        Headers { text: self.text }
    }
    /// The value of the first field of that name, in any case.
    pub fn header(&self, _name: &str) -> Option<&'a [u8]> {
        None
    }
    /// As [`header`](Self::header), if the value is ASCII text.
    pub fn header_str(&self, _name: &str) -> Option<&'a str> {
        None
    }
    /// How long the body is.
    pub fn body(&self) -> BodyLength {
        BodyLength::None
    }
    /// Whether the peer waits for a 100 before it sends the body.
    pub fn expects_continue(&self) -> bool {
        false
    }
    /// Whether the peer offers to go on with that protocol.
    pub fn wants_upgrade(&self, _protocol: &str) -> bool {
        false
    }
}

/// The header fields of a head: names and values.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    text: &'a [u8],
}

impl Headers<'_> {
    pub(crate) fn empty() -> Self {
        Headers { text: &[] }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let _ = self.text;
        None
    }
}

/// One connection, seen from the server.
#[derive(Debug)]
pub struct Server {
    settings: Arc<Settings>,
}

impl Server {
    /// A connection that was accepted just now.
    pub fn new(_now: Instant, settings: &Arc<Settings>) -> Self {
        Self {
            settings: Arc::clone(settings),
        }
    }
    /// Offers bytes of the peer; returns how many were taken.
    pub fn handle_received(&mut self, _now: Instant, _bytes: &[u8], _pool: &mut Pool) -> usize {
        let _ = &self.settings;
        0
    }
    /// The peer will send no more.
    pub fn handle_eof(&mut self, _now: Instant, _pool: &mut Pool) {}
    /// A write was cut short.
    pub fn handle_blocked(&mut self, _now: Instant) {}
    /// The connection can be written to again.
    pub fn handle_writable(&mut self, _now: Instant) {}
    /// So many bytes of a `Take` or `SendFile` were moved.
    pub fn handle_moved(&mut self, _now: Instant, _bytes: u64, _pool: &mut Pool) {}
    /// The connection is gone: gives its buffers back.
    pub fn handle_closed(&mut self, _pool: &mut Pool) {}
    /// When it wants `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, _now: Instant, _pool: &mut Pool) {}
    /// The next effect.
    pub fn poll(&mut self) -> Option<Effect> {
        None
    }
    /// Whether `poll_write` has bytes.
    pub fn wants_write(&self) -> bool {
        false
    }
    /// Fills `buf` with bytes to write; returns how many, 0 if there are none.
    pub fn poll_write(&mut self, _now: Instant, _buf: &mut [u8], _pool: &mut Pool) -> usize {
        0
    }
    /// The request that waits for an answer, until `respond` or `upgrade`.
    pub fn request(&self) -> Option<Request<'_>> {
        None
    }
    /// Chooses how the body is read.
    pub fn read_body(
        &mut self,
        _now: Instant,
        _reading: Reading,
        _pool: &mut Pool,
    ) -> Result<(), Misuse> {
        Ok(())
    }
    /// What came of the body and was not consumed.
    pub fn body(&self) -> &[u8] {
        &[]
    }
    /// Drops what `body` shows, and makes room.
    pub fn consume_body(&mut self, _now: Instant) {}
    /// Answers the request.
    pub fn respond(
        &mut self,
        _now: Instant,
        _head: &ResponseHead<'_>,
        _body: ResponseBody<'_>,
        _pool: &mut Pool,
    ) -> Result<(), Misuse> {
        Ok(())
    }
    /// Adds bytes to a streamed response; returns how many were taken.
    pub fn stream(&mut self, _now: Instant, _bytes: &[u8], _pool: &mut Pool) -> usize {
        0
    }
    /// Ends a streamed response.
    pub fn stream_end(&mut self, _now: Instant, _pool: &mut Pool) -> Result<(), Misuse> {
        Ok(())
    }
    /// Grants the upgrade that the peer offered: 101.
    pub fn upgrade(
        &mut self,
        _now: Instant,
        _headers: &[(&str, &str)],
        _pool: &mut Pool,
    ) -> Result<(), Misuse> {
        Ok(())
    }
    /// Ends the connection when the request under way is answered, or now.
    pub fn drain(&mut self, _now: Instant, _pool: &mut Pool) {}
    /// Ends the connection at once.
    pub fn abort(&mut self, _pool: &mut Pool) {}
}
