//! The messages' bodies: fixed fields, and a payload behind them in some.

use arrayvec::ArrayVec;

use super::super::cursor::{Reader, Truncated};
use crate::{Incarnation, NotificationId};

/// The longest head of a message, in bytes. A frame's body is at most this
/// and the payload.
pub const HEAD_BYTES_MAX: usize = 16;

/// The fixed fields of a message, encoded.
pub type Head = ArrayVec<u8, HEAD_BYTES_MAX>;

/// The relay's first frame on a persistent connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version that the relay speaks, [`VERSION`](super::VERSION). These three fields are
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

/// Datagrams of [`Serve`](super::Serve) frames were sent: all of them up to a
/// frame, in the order that the frames came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The number of the newest frame that is done, and with it all before.
    pub sequence: u32,
    /// How many targets of that frame were not sent to: they lie outside the
    /// subnet, or no datagram may go to such an address.
    pub refused: u16,
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
    /// The window to come back in, at a random moment of it, in milliseconds
    /// from now; 0 leaves it to the other end.
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

impl ByeReason {
    /// The reason in words, for logs and counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShuttingDown => "shutting down",
            Self::Replaced => "replaced",
            Self::Idle => "idle",
            Self::ProtocolError => "protocol error",
            Self::Refused => "refused",
            Self::Overloaded => "overloaded",
            Self::Other(_) => "other",
        }
    }

    pub(super) const fn from_code(code: u8) -> Self {
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
    pub(super) fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            version: body.u16()?,
            incarnation: Incarnation(body.u32()?),
            body_bytes_max: body.u32()?,
        })
    }

    pub(super) fn head(&self) -> Head {
        head(&[
            &self.version.to_be_bytes(),
            &self.incarnation.0.to_be_bytes(),
            &self.body_bytes_max.to_be_bytes(),
        ])
    }
}

impl<'a> Notification<'a> {
    pub(super) fn read(mut body: Reader<'a>) -> Result<Self, Truncated> {
        Ok(Self {
            id: NotificationId(body.u64()?),
            lifetime_s: body.u32()?,
            reply_window_ms: body.u32()?,
            payload: body.rest(),
        })
    }

    pub(super) fn head(&self) -> Head {
        head(&[
            &self.id.0.to_be_bytes(),
            &self.lifetime_s.to_be_bytes(),
            &self.reply_window_ms.to_be_bytes(),
        ])
    }
}

impl<'a> Reply<'a> {
    pub(super) fn read(mut body: Reader<'a>) -> Result<Self, Truncated> {
        Ok(Self {
            notification: NotificationId(body.u64()?),
            payload: body.rest(),
        })
    }

    pub(super) fn head(&self) -> Head {
        head(&[&self.notification.0.to_be_bytes()])
    }
}

impl Taken {
    pub(super) fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            notification: NotificationId(body.u64()?),
        })
    }

    pub(super) fn head(&self) -> Head {
        head(&[&self.notification.0.to_be_bytes()])
    }
}

impl Served {
    pub(super) fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            sequence: body.u32()?,
            refused: body.u16()?,
        })
    }

    pub(super) fn head(&self) -> Head {
        head(&[&self.sequence.to_be_bytes(), &self.refused.to_be_bytes()])
    }
}

impl Ping {
    pub(super) fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self { nonce: body.u64()? })
    }

    pub(super) fn head(&self) -> Head {
        head(&[&self.nonce.to_be_bytes()])
    }
}

impl Pong {
    pub(super) fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self { nonce: body.u64()? })
    }

    pub(super) fn head(&self) -> Head {
        head(&[&self.nonce.to_be_bytes()])
    }
}

impl Bye {
    pub(super) fn read(body: &mut Reader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            reason: ByeReason::from_code(body.u8()?),
            retry_after_ms: body.u32()?,
        })
    }

    pub(super) fn head(&self) -> Head {
        head(&[&[self.reason.code()], &self.retry_after_ms.to_be_bytes()])
    }
}

/// The fields one behind another. The fields of each message are known to fit:
/// a test encodes all of them.
pub(super) fn head(fields: &[&[u8]]) -> Head {
    let mut head = Head::new();
    for field in fields {
        let _ = head.try_extend_from_slice(field);
    }
    head
}
