//! The messages in frames, typed, one set for each direction.
//!
//! A kind tells who may send it, so that a frame in the wrong direction is an
//! error even when its kind is not known:
//!
//! | kinds | sender |
//! |---|---|
//! | `0x00..=0x3f` | either end |
//! | `0x40..=0x7f` | the relay |
//! | `0x80..=0xbf` | the client |
//! | `0xc0..=0xff` | kept for later, skipped |
//!
//! A message of an unknown kind is skipped. Bytes behind the fields of a fixed
//! body are ignored: a later version may put fields there.
//!
//! A message is its [`head`](ToClient::head), the fixed fields, and its
//! [`payload`](ToClient::payload). Both together are the frame's body:
//! [`encode`](ToClient::encode) writes a whole frame, and
//! [`frame::encode_part`] one that is larger than the buffer.

mod body;
mod serve;

pub use body::{
    Bye, ByeReason, HEAD_BYTES_MAX, Head, Hello, Notification, Ping, Pong, Reply, Served, Taken,
};
pub use serve::{SERVE_BODY_BYTES_MIN, SERVE_TARGET_BYTES, Serve, ServeTarget, ServeWriter};

use super::BufferTooSmall;
use super::cursor::{Reader, Truncated};
use super::frame::{self, FrameError, Header};

/// The version of frames and messages that this crate speaks.
pub const VERSION: u16 = 1;

/// The kinds of frames.
pub mod kind {
    /// A [`Ping`](super::Ping).
    pub const PING: u8 = 0x01;
    /// A [`Pong`](super::Pong).
    pub const PONG: u8 = 0x02;
    /// A [`Bye`](super::Bye).
    pub const BYE: u8 = 0x03;
    /// A [`Hello`](super::Hello).
    pub const HELLO: u8 = 0x40;
    /// A [`Notification`](super::Notification).
    pub const NOTIFICATION: u8 = 0x41;
    /// A [`Taken`](super::Taken).
    pub const TAKEN: u8 = 0x42;
    /// A [`Serve`](super::Serve).
    pub const SERVE: u8 = 0x43;
    /// A [`Reply`](super::Reply).
    pub const REPLY: u8 = 0x80;
    /// A [`Served`](super::Served).
    pub const SERVED: u8 = 0x81;
}

/// Why a frame's body is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The body ends before its fields do.
    #[error("the message is truncated")]
    Truncated,
    /// A message that only the other end of a connection may send.
    #[error("the message is not for this end")]
    Direction,
    /// A part that is longer than it may ever be.
    #[error("a part of the message is too long")]
    TooLong,
}

impl MessageError {
    /// The reason in one word, to count it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "message_truncated",
            Self::Direction => "message_direction",
            Self::TooLong => "message_too_long",
        }
    }
}

impl From<Truncated> for MessageError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// What a client receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToClient<'a> {
    /// The relay's first frame.
    Hello(Hello),
    /// A notification.
    Notification(Notification<'a>),
    /// A reply arrived.
    Taken(Taken),
    /// Datagrams to pass on.
    Serve(Serve<'a>),
    /// A question for life.
    Ping(Ping),
    /// The answer to one.
    Pong(Pong),
    /// The relay ends the connection.
    Bye(Bye),
}

/// What a relay receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToRelay<'a> {
    /// A reply to a notification.
    Reply(Reply<'a>),
    /// Datagrams were passed on.
    Served(Served),
    /// A question for life.
    Ping(Ping),
    /// The answer to one.
    Pong(Pong),
    /// The client ends the connection.
    Bye(Bye),
}

impl<'a> ToClient<'a> {
    /// The message of a frame that a relay sent; `None` is one of an unknown
    /// kind, to be skipped.
    ///
    /// # Errors
    /// [`MessageError`]: the relay breaks the protocol.
    pub fn parse(kind: u8, body: &'a [u8]) -> Result<Option<Self>, MessageError> {
        let mut body = Reader::new(body);
        Ok(Some(match kind {
            kind::HELLO => Self::Hello(Hello::read(&mut body)?),
            kind::NOTIFICATION => Self::Notification(Notification::read(body)?),
            kind::TAKEN => Self::Taken(Taken::read(&mut body)?),
            kind::SERVE => Self::Serve(Serve::read(body)?),
            kind::PING => Self::Ping(Ping::read(&mut body)?),
            kind::PONG => Self::Pong(Pong::read(&mut body)?),
            kind::BYE => Self::Bye(Bye::read(&mut body)?),
            0x80..=0xbf => return Err(MessageError::Direction),
            _ => return Ok(None),
        }))
    }

    /// The kind of the frame that carries the message.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::Notification(_) => kind::NOTIFICATION,
            Self::Taken(_) => kind::TAKEN,
            Self::Serve(_) => kind::SERVE,
            Self::Ping(_) => kind::PING,
            Self::Pong(_) => kind::PONG,
            Self::Bye(_) => kind::BYE,
        }
    }

    /// The first part of the frame's body: the fixed fields.
    pub fn head(&self) -> Head {
        match self {
            Self::Hello(message) => message.head(),
            Self::Notification(message) => message.head(),
            Self::Taken(message) => message.head(),
            Self::Serve(message) => message.head(),
            Self::Ping(message) => message.head(),
            Self::Pong(message) => message.head(),
            Self::Bye(message) => message.head(),
        }
    }

    /// The second part of the frame's body: what the application said, or
    /// the targets and what they share.
    pub const fn payload(&self) -> &'a [u8] {
        match self {
            Self::Notification(message) => message.payload,
            Self::Serve(message) => message.payload,
            _ => &[],
        }
    }

    /// The header of the frame that carries the message.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] if the body has more than `u32::MAX` bytes.
    pub fn header(&self) -> Result<Header, FrameError> {
        Header::for_body(self.kind(), 0, &[&self.head(), self.payload()])
    }

    /// The length of the frame that carries the message, in bytes.
    pub fn encoded_len(&self) -> usize {
        encoded_len(&self.head(), self.payload())
    }

    /// Writes the frame that carries the message and returns its length.
    ///
    /// # Errors
    /// [`BufferTooSmall`] if it does not fit; nothing is written.
    pub fn encode(&self, buf: &mut [u8]) -> Result<usize, BufferTooSmall> {
        encode(self.kind(), &self.head(), self.payload(), buf)
    }
}

impl<'a> ToRelay<'a> {
    /// The message of a frame that a client sent; `None` is one of an unknown
    /// kind, to be skipped.
    ///
    /// # Errors
    /// [`MessageError`]: the client breaks the protocol.
    pub fn parse(kind: u8, body: &'a [u8]) -> Result<Option<Self>, MessageError> {
        let mut body = Reader::new(body);
        Ok(Some(match kind {
            kind::REPLY => Self::Reply(Reply::read(body)?),
            kind::SERVED => Self::Served(Served::read(&mut body)?),
            kind::PING => Self::Ping(Ping::read(&mut body)?),
            kind::PONG => Self::Pong(Pong::read(&mut body)?),
            kind::BYE => Self::Bye(Bye::read(&mut body)?),
            0x40..=0x7f => return Err(MessageError::Direction),
            _ => return Ok(None),
        }))
    }

    /// The kind of the frame that carries the message.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Reply(_) => kind::REPLY,
            Self::Served(_) => kind::SERVED,
            Self::Ping(_) => kind::PING,
            Self::Pong(_) => kind::PONG,
            Self::Bye(_) => kind::BYE,
        }
    }

    /// The first part of the frame's body: the fixed fields.
    pub fn head(&self) -> Head {
        match self {
            Self::Reply(message) => message.head(),
            Self::Served(message) => message.head(),
            Self::Ping(message) => message.head(),
            Self::Pong(message) => message.head(),
            Self::Bye(message) => message.head(),
        }
    }

    /// The second part of the frame's body: what the application said.
    pub const fn payload(&self) -> &'a [u8] {
        match self {
            Self::Reply(message) => message.payload,
            _ => &[],
        }
    }

    /// The header of the frame that carries the message.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] if the body has more than `u32::MAX` bytes.
    pub fn header(&self) -> Result<Header, FrameError> {
        Header::for_body(self.kind(), 0, &[&self.head(), self.payload()])
    }

    /// The length of the frame that carries the message, in bytes.
    pub fn encoded_len(&self) -> usize {
        encoded_len(&self.head(), self.payload())
    }

    /// Writes the frame that carries the message and returns its length.
    ///
    /// # Errors
    /// [`BufferTooSmall`] if it does not fit; nothing is written.
    pub fn encode(&self, buf: &mut [u8]) -> Result<usize, BufferTooSmall> {
        encode(self.kind(), &self.head(), self.payload(), buf)
    }
}

const fn encoded_len(head: &[u8], payload: &[u8]) -> usize {
    (frame::HEADER_BYTES + head.len()).saturating_add(payload.len())
}

fn encode(kind: u8, head: &[u8], payload: &[u8], buf: &mut [u8]) -> Result<usize, BufferTooSmall> {
    let too_small = BufferTooSmall {
        needed: encoded_len(head, payload),
    };
    let place = buf.get_mut(..too_small.needed).ok_or(too_small)?;
    let parts = [head, payload];
    let header = Header::for_body(kind, 0, &parts).map_err(|_| too_small)?;
    Ok(frame::encode_part(&header, &parts, 0, place))
}

#[cfg(test)]
mod tests;
