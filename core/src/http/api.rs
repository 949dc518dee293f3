//! What both sides of a connection have in common with their callers.

use core::ops::Range;

use crate::FileId;

/// Which version of HTTP a peer speaks; a higher minor version counts as 1.1
/// (RFC 9110 section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: served, then closed.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How long a message's body is, as its head states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// So many bytes, more than 0.
    Known(u64),
    /// Its end is marked in the body: it comes in chunks.
    Chunked,
    /// It ends with the connection; only responses have such a body.
    UntilClose,
}

/// How the application wants a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All of it in core: `BodyEnd` tells that `body()` is complete.
    Whole {
        /// How long it may be; a longer one is refused with 413.
        bytes_max: u64,
    },
    /// As it comes: `Body` tells that `body()` has bytes, `consume_body()`
    /// makes room for more, `BodyEnd` tells that the last one was consumed.
    Chunks,
    /// To a file, without passing through core: `Take` effects.
    Take {
        /// The file.
        sink: FileId,
        /// Where in the file the first byte goes.
        offset: u64,
    },
}

/// The body of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseBody<'a> {
    /// None, or one of length 0.
    Empty,
    /// These bytes; they are copied.
    Bytes(&'a [u8]),
    /// A range of a file, by a `SendFile` effect.
    File {
        /// The file.
        file: FileId,
        /// Bytes of the file.
        range: Range<u64>,
    },
    /// Bytes that follow by `stream`, asked for by `Pull`.
    Stream {
        /// How many, if that is known.
        len: Option<u64>,
    },
}

/// The head of a response, as the application gives it.
///
/// `Content-Length`, `Transfer-Encoding` and `Connection` are the machine's.
/// There is no `Date`: this machine has no clock, and an origin server without
/// one must not send the field (RFC 9110 section 6.6.1); an application that
/// has one may add it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// 200 to 599.
    pub status: u16,
    /// Names and values, sent in this order.
    pub headers: &'a [(&'a str, &'a str)],
    /// Whether the connection ends after this response, whatever the peer
    /// asked for.
    pub close: bool,
}

/// A command that does not fit the state of the machine, or carries what HTTP
/// can not. The caller is to blame; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// No request waits for an answer.
    #[error("no request waits for an answer")]
    NoRequest,
    /// A request is still under way.
    #[error("a request is under way")]
    Busy,
    /// No response is being streamed.
    #[error("no response is being streamed")]
    NoStream,
    /// A body is being taken to a file; wait for its end or abort.
    #[error("a body is being taken to a file")]
    BodyOutstanding,
    /// The body's way was chosen before, or the body is over.
    #[error("the way to read the body was chosen before")]
    ReadingChosen,
    /// The stream has fewer bytes than its head announced.
    #[error("the stream has fewer bytes than announced")]
    StreamShort,
    /// Not a status that may be sent so.
    #[error("the status can not be sent so")]
    Status,
    /// A response of this status has no body.
    #[error("a response of this status has no body")]
    BodyNotAllowed,
    /// A header name is no token, or it is one that the machine writes itself.
    #[error("the header name can not be sent")]
    HeaderName,
    /// A header value has a control character.
    #[error("the header value has a control character")]
    HeaderValue,
    /// Not a method, target or host that can be sent.
    #[error("the request line can not be sent")]
    RequestLine,
    /// More bytes than `response_bytes_max`.
    #[error("more bytes than the limit for queued output")]
    TooLarge,
    /// The peer did not ask for an upgrade that can be granted.
    #[error("no upgrade was asked for")]
    NoUpgrade,
    /// A range that ends before it starts.
    #[error("the range is reversed")]
    Range,
}
