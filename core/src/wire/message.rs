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

use arrayvec::ArrayVec;

use super::BufferTooSmall;
use super::cursor::{Reader, Truncated};
use super::frame::{self, FrameError, Header};
use crate::{Incarnation, NotificationId};

/// The version of frames and messages that this crate speaks.
pub const VERSION: u16 = 1;

/// The longest head of a message, in bytes. A frame's body is at most this
/// and the payload.
pub const HEAD_BYTES_MAX: usize = 16;

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
    /// A [`Reply`](super::Reply).
    pub const REPLY: u8 = 0x80;
}

/// The fixed fields of a message, encoded.
pub type Head = ArrayVec<u8, HEAD_BYTES_MAX>;

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
}

impl From<Truncated> for MessageError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// The relay's first frame on a persistent connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version that the relay speaks, [`VERSION`]. These three fields are
    /// the same in every version.
    pub version: u16,
    /// The relay's run, so that a client sees a restart.
    pub incarnation: Incarnation,
    /// How long the body of a frame from the client may be, in bytes.
    pub body_bytes_max: u32,
}

/// A notification for the client at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// Its number; a client handles each number once.
    pub id: NotificationId,
    /// How long it is of use, in seconds from now.
    pub lifetime_s: u32,
    /// The reply is sent at a random moment in this span, in milliseconds, so
    /// that a fleet does not reply at once. 0 is at once.
    pub reply_window_ms: u32,
    /// What the application said.
    pub payload: &'a [u8],
}

/// A client's reply to a notification. It is sent until it is [`Taken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// What it replies to.
    pub notification: NotificationId,
    /// What the application said.
    pub payload: &'a [u8],
}

/// The relay has the reply to a notification, or wants none any more: the
/// client need not send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The notification.
    pub notification: NotificationId,
}

/// Asks whether the other end is alive; answered by a [`Pong`] at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Comes back in the answer.
    pub nonce: u64,
}

/// The answer to a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// That of the question.
    pub nonce: u64,
}

/// The last frame that an end sends: why it ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
    /// When to come back, in milliseconds from now, at the earliest; 0 leaves
    /// it to the other end.
    pub retry_after_ms: u32,
}

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ByeReason {
    /// This end shuts down, perhaps to start again.
    ShuttingDown,
    /// A newer connection of the same client takes its place.
    Replaced,
    /// Nothing was heard for too long.
    Idle,
    /// The other end broke the protocol.
    ProtocolError,
    /// The client may not hold a connection, or not any more.
    Refused,
    /// This end has no room for the connection.
    Overloaded,
    /// A reason that this version does not know.
    Other(u8),
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
            Self::Ping(message) => message.head(),
            Self::Pong(message) => message.head(),
            Self::Bye(message) => message.head(),
        }
    }

    /// The second part of the frame's body: what the application said.
    pub const fn payload(&self) -> &'a [u8] {
        match self {
            Self::Notification(message) => message.payload,
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
            Self::Ping(_) => kind::PING,
            Self::Pong(_) => kind::PONG,
            Self::Bye(_) => kind::BYE,
        }
    }

    /// The first part of the frame's body: the fixed fields.
    pub fn head(&self) -> Head {
        match self {
            Self::Reply(message) => message.head(),
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

impl ByeReason {
    const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::ShuttingDown,
            2 => Self::Replaced,
            3 => Self::Idle,
            4 => Self::ProtocolError,
            5 => Self::Refused,
            6 => Self::Overloaded,
            other => Self::Other(other),
        }
    }

    /// The reason on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::ShuttingDown => 1,
            Self::Replaced => 2,
            Self::Idle => 3,
            Self::ProtocolError => 4,
            Self::Refused => 5,
            Self::Overloaded => 6,
            Self::Other(code) => code,
        }
    }
}

impl Hello {
    fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            version: body.u16()?,
            incarnation: Incarnation(body.u32()?),
            body_bytes_max: body.u32()?,
        })
    }

    fn head(&self) -> Head {
        head(&[
            &self.version.to_be_bytes(),
            &self.incarnation.0.to_be_bytes(),
            &self.body_bytes_max.to_be_bytes(),
        ])
    }
}

impl<'a> Notification<'a> {
    fn read(mut body: Reader<'a>) -> Result<Self, Truncated> {
        Ok(Self {
            id: NotificationId(body.u64()?),
            lifetime_s: body.u32()?,
            reply_window_ms: body.u32()?,
            payload: body.rest(),
        })
    }

    fn head(&self) -> Head {
        head(&[
            &self.id.0.to_be_bytes(),
            &self.lifetime_s.to_be_bytes(),
            &self.reply_window_ms.to_be_bytes(),
        ])
    }
}

impl<'a> Reply<'a> {
    fn read(mut body: Reader<'a>) -> Result<Self, Truncated> {
        Ok(Self {
            notification: NotificationId(body.u64()?),
            payload: body.rest(),
        })
    }

    fn head(&self) -> Head {
        head(&[&self.notification.0.to_be_bytes()])
    }
}

impl Taken {
    fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            notification: NotificationId(body.u64()?),
        })
    }

    fn head(&self) -> Head {
        head(&[&self.notification.0.to_be_bytes()])
    }
}

impl Ping {
    fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self { nonce: body.u64()? })
    }

    fn head(&self) -> Head {
        head(&[&self.nonce.to_be_bytes()])
    }
}

impl Pong {
    fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self { nonce: body.u64()? })
    }

    fn head(&self) -> Head {
        head(&[&self.nonce.to_be_bytes()])
    }
}

impl Bye {
    fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            reason: ByeReason::from_code(body.u8()?),
            retry_after_ms: body.u32()?,
        })
    }

    fn head(&self) -> Head {
        head(&[&[self.reason.code()], &self.retry_after_ms.to_be_bytes()])
    }
}

/// The fields one behind another. The fields of each message are known to fit:
/// a test encodes all of them.
fn head(fields: &[&[u8]]) -> Head {
    fields
        .iter()
        .flat_map(|field| field.iter().copied())
        .take(HEAD_BYTES_MAX)
        .collect()
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
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const ID: NotificationId = NotificationId::new(Incarnation(9), 1);

    fn to_client() -> [(ToClient<'static>, &'static [u8]); 6] {
        let notification = Notification {
            id: ID,
            lifetime_s: 3_600,
            reply_window_ms: 1_000,
            payload: b"wake up",
        };
        let hello = Hello {
            version: VERSION,
            incarnation: Incarnation(9),
            body_bytes_max: 65_536,
        };
        let bye = Bye {
            reason: ByeReason::Replaced,
            retry_after_ms: 5_000,
        };
        [
            (ToClient::Ping(Ping { nonce: 7 }), b"\0\0\0\0\0\0\0\x07"),
            (ToClient::Pong(Pong { nonce: 7 }), b"\0\0\0\0\0\0\0\x07"),
            (ToClient::Bye(bye), b"\x02\0\0\x13\x88"),
            (ToClient::Hello(hello), b"\0\x01\0\0\0\x09\0\x01\0\0"),
            (
                ToClient::Notification(notification),
                b"\0\0\0\x09\0\0\0\x01\0\0\x0e\x10\0\0\x03\xe8wake up",
            ),
            (
                ToClient::Taken(Taken { notification: ID }),
                b"\0\0\0\x09\0\0\0\x01",
            ),
        ]
    }

    fn to_relay() -> [(ToRelay<'static>, &'static [u8]); 4] {
        let reply = Reply {
            notification: ID,
            payload: b"awake",
        };
        let bye = Bye {
            reason: ByeReason::Other(200),
            retry_after_ms: 0,
        };
        [
            (ToRelay::Ping(Ping { nonce: 8 }), b"\0\0\0\0\0\0\0\x08"),
            (ToRelay::Pong(Pong { nonce: 8 }), b"\0\0\0\0\0\0\0\x08"),
            (ToRelay::Bye(bye), b"\xc8\0\0\0\0"),
            (ToRelay::Reply(reply), b"\0\0\0\x09\0\0\0\x01awake"),
        ]
    }

    fn encoded(encode: impl Fn(&mut [u8]) -> Result<usize, BufferTooSmall>, len: usize) -> Vec<u8> {
        let mut buf = alloc::vec![0; len];
        assert_eq!(
            encode(&mut buf[..len - 1]),
            Err(BufferTooSmall { needed: len })
        );
        assert_eq!(encode(&mut buf), Ok(len));
        buf
    }

    #[test]
    fn the_layouts_are_the_documented_ones() {
        for (message, body) in to_client() {
            let frame = encoded(|buf| message.encode(buf), message.encoded_len());
            assert_eq!(
                (frame[4], &frame[12..]),
                (message.kind(), body),
                "{message:?}"
            );
            assert_eq!(ToClient::parse(message.kind(), body), Ok(Some(message)));
            assert_eq!(
                message.header().map(|header| *header.as_bytes()).ok(),
                frame.first_chunk().copied()
            );
        }
        for (message, body) in to_relay() {
            let frame = encoded(|buf| message.encode(buf), message.encoded_len());
            assert_eq!(
                (frame[4], &frame[12..]),
                (message.kind(), body),
                "{message:?}"
            );
            assert_eq!(ToRelay::parse(message.kind(), body), Ok(Some(message)));
            assert_eq!(
                message.header().map(|header| *header.as_bytes()).ok(),
                frame.first_chunk().copied()
            );
        }
    }

    #[test]
    fn a_cut_head_is_truncated() {
        for (message, body) in to_client() {
            for len in 0..message.head().len() {
                let parsed = ToClient::parse(message.kind(), &body[..len]);
                assert_eq!(parsed, Err(MessageError::Truncated), "{message:?} {len}");
            }
        }
        for (message, body) in to_relay() {
            for len in 0..message.head().len() {
                let parsed = ToRelay::parse(message.kind(), &body[..len]);
                assert_eq!(parsed, Err(MessageError::Truncated), "{message:?} {len}");
            }
        }
    }

    #[test]
    fn fields_of_later_versions_are_ignored() {
        let bodies = to_client()
            .into_iter()
            .filter(|(message, _)| message.payload().is_empty());
        for (message, body) in bodies {
            let longer = [body, b"later"].concat();
            assert_eq!(ToClient::parse(message.kind(), &longer), Ok(Some(message)));
        }
    }

    #[test]
    fn a_message_in_the_wrong_direction_is_an_error() {
        for kind in [kind::HELLO, kind::NOTIFICATION, kind::TAKEN, 0x7f] {
            assert_eq!(ToRelay::parse(kind, &[0; 99]), Err(MessageError::Direction));
        }
        for kind in [kind::REPLY, 0xbf] {
            assert_eq!(
                ToClient::parse(kind, &[0; 99]),
                Err(MessageError::Direction)
            );
        }
    }

    #[test]
    fn an_unknown_kind_is_skipped() {
        for kind in [0x00, 0x3f, 0xc0, 0xff] {
            assert_eq!(ToClient::parse(kind, b"?"), Ok(None));
            assert_eq!(ToRelay::parse(kind, b"?"), Ok(None));
        }
        assert_eq!(ToClient::parse(0x7f, b"?"), Ok(None));
        assert_eq!(ToRelay::parse(0xbf, b"?"), Ok(None));
    }

    #[test]
    fn every_reason_has_one_code() {
        for code in 0..=u8::MAX {
            assert_eq!(ByeReason::from_code(code).code(), code);
        }
    }
}
