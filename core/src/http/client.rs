//! The client side of one connection.

use alloc::sync::Arc;

use super::Pool;
use super::{BodyLength, Headers, Misuse, Reading, Settings, Version};
use crate::{Close, FileId, Instant};

/// What a [`Client`] wants done, or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEffect {
    /// The response's head is complete: see [`Client::response`].
    Response,
    /// Move the next bytes of the connection to a file, as `Output::Take`.
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
    /// The response is complete.
    BodyEnd,
    /// The server granted the upgrade; the bytes that follow belong to the new
    /// protocol.
    Upgraded,
    /// The request failed, and the connection with it. Told at most once.
    Failed(ClientError),
    /// Offer bytes again that were not taken.
    Resume,
    /// End the connection.
    Close(Close),
}

/// Why a request failed. The peer is to blame, or the line to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Not HTTP as RFC 9112 defines it.
    #[error("the response is malformed")]
    Malformed,
    /// The head or a trailer section is over the limit.
    #[error("the response's head is too large")]
    HeadTooLarge,
    /// The body is over the limit, in bytes or chunks.
    #[error("the response's body is too large")]
    BodyTooLarge,
    /// The peer ended before the response was complete.
    #[error("the response was cut short")]
    Truncated,
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

/// A request as the application gives it. `Content-Length`,
/// `Transfer-Encoding`, `Connection`, `Host` and `Upgrade` are the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// The method, a token.
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

/// A response's head, borrowed from its connection.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    text: &'a [u8],
}

impl<'a> Response<'a> {
    /// The status, 101 or 200 to 599.
    pub fn status(&self) -> u16 {
        let _ = self.text;
        0
    }
    /// The version.
    pub fn version(&self) -> Version {
        Version::Http11
    }
    /// The header fields in the order they came.
    pub fn headers(&self) -> Headers<'a> {
        Headers::empty()
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
}

/// One connection, seen from the client.
#[derive(Debug)]
pub struct Client {
    settings: Arc<Settings>,
}

impl Client {
    /// A connection that was opened.
    pub fn new(settings: &Arc<Settings>) -> Self {
        Self {
            settings: Arc::clone(settings),
        }
    }
    /// Sends a request.
    pub fn request(
        &mut self,
        _now: Instant,
        _head: &RequestHead<'_>,
        _body: &[u8],
        _pool: &mut Pool,
    ) -> Result<(), Misuse> {
        let _ = &self.settings;
        Ok(())
    }
    /// Whether a request can be sent.
    pub fn is_ready(&self) -> bool {
        true
    }
    /// Offers bytes of the peer; returns how many were taken.
    pub fn handle_received(&mut self, _now: Instant, _bytes: &[u8], _pool: &mut Pool) -> usize {
        0
    }
    /// The peer will send no more.
    pub fn handle_eof(&mut self, _now: Instant, _pool: &mut Pool) {}
    /// A write was cut short.
    pub fn handle_blocked(&mut self, _now: Instant) {}
    /// The connection can be written to again.
    pub fn handle_writable(&mut self, _now: Instant) {}
    /// So many bytes of a `Take` were moved.
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
    pub fn poll(&mut self) -> Option<ClientEffect> {
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
    /// The response, until `finish` or the next request.
    pub fn response(&self) -> Option<Response<'_>> {
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
    /// The response was used: gives its buffer back.
    pub fn finish(&mut self, _pool: &mut Pool) {}
    /// Ends the connection at once.
    pub fn abort(&mut self, _pool: &mut Pool) {}
}
