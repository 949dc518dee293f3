//! What goes in: facts from the world.

use core::net::SocketAddr;

use crate::{ConnId, Ticket, UnixTime};

/// One fact from the world, for an endpoint's `handle_input`.
///
/// A fact about a connection that is gone is ignored and counted, so a driver
/// never has to check whether the core still knows it. The enum is exhaustive
/// on purpose: a new kind of fact must break every driver at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// The deadline of the last `Output::Wait` has come. Early ones are harmless.
    Timeout,
    /// What the wall clock shows. Told at the start, and again whenever the
    /// driver likes.
    WallClock(UnixTime),

    /// What the driver learnt about an accepted connection before it offered
    /// the first byte: who stands behind a believed proxy, and whether TLS
    /// protects the line. Not told, it is the address of the accept, in clear.
    Introduced {
        /// The connection.
        conn: ConnId,
        /// The peer that the proxy names, or the address of the accept.
        peer: SocketAddr,
        /// Whether TLS protects the connection.
        secure: bool,
    },
    /// An `Output::Connect` succeeded (under TLS: the handshake is done).
    Connected {
        /// The connection.
        conn: ConnId,
        /// This end.
        local: SocketAddr,
        /// The other end.
        peer: SocketAddr,
    },
    /// An `Output::Connect` failed. The handle ends here; no `Closed` follows.
    ConnectFailed {
        /// The connection that was to be.
        conn: ConnId,
        /// Why there is none.
        why: ConnectError,
    },
    /// Bytes that were read. `handle_input` returns how many were taken; the
    /// rest is offered again after `Output::Resume`.
    Received {
        /// The connection.
        conn: ConnId,
        /// What the driver holds of the stream, never empty.
        bytes: &'a [u8],
    },
    /// The peer will send no more. Told once, after its last byte was taken.
    Eof {
        /// The connection.
        conn: ConnId,
    },
    /// A write was cut short and the driver keeps the tail. Told before the
    /// next poll.
    Blocked {
        /// The connection.
        conn: ConnId,
    },
    /// The tail is gone (under TLS: drained too), the connection can be
    /// written to again.
    Writable {
        /// The connection.
        conn: ConnId,
    },
    /// The connection is gone, whoever ended it. Told exactly once for each
    /// connection that was accepted or connected; the handle ends here.
    Closed {
        /// The connection.
        conn: ConnId,
        /// How it went.
        why: CloseReason,
    },
    /// So many bytes of an `Output::Take` or `Output::SendFile` were moved
    /// since the last time. The effect is done when all of them are.
    Moved {
        /// The connection.
        conn: ConnId,
        /// Bytes moved since the last time.
        bytes: u64,
    },

    /// An `Output::Hash` is done.
    Hashed {
        /// The effect.
        ticket: Ticket,
        /// SHA-256 of the range.
        digest: [u8; 32],
    },
    /// Every storage effect up to this one came to its end, and those that did
    /// not report otherwise came to a good one.
    Stored {
        /// The last effect that is done.
        ticket: Ticket,
    },
    /// A `StoreOp::Load`, `StoreOp::Read` or `StoreOp::List` is done.
    Loaded {
        /// The effect.
        ticket: Ticket,
        /// What was read; shorter than asked for at the end of the file.
        bytes: &'a [u8],
    },
    /// A storage effect failed. Told before any `Stored` that covers it.
    StoreFailed {
        /// The effect.
        ticket: Ticket,
        /// What went wrong.
        why: StoreError,
    },

    /// A datagram arrived.
    Datagram {
        /// Its sender, as the network states it.
        from: SocketAddr,
        /// Its payload.
        bytes: &'a [u8],
    },
}

/// Why a connection could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name has no address.
    #[error("the name does not resolve")]
    Unresolved,
    /// The peer refused.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// There is no way to the peer.
    #[error("unreachable")]
    Unreachable,
    /// TLS could not be established: certificate, name or protocol.
    #[error("TLS could not be established")]
    Tls,
    /// The driver is out of descriptors or memory.
    #[error("no descriptors left")]
    Exhausted,
    /// Anything else.
    #[error("the connection failed")]
    Other,
}

/// How a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both directions ended in order.
    #[error("closed in order")]
    Done,
    /// Ended by an `Output::Close`.
    #[error("closed by this end")]
    Local,
    /// Reset by the peer, or lost.
    #[error("reset by the peer")]
    Reset,
    /// A read or a write failed otherwise.
    #[error("input or output failed")]
    Failed,
    /// TLS failed on the open connection.
    #[error("TLS failed")]
    Tls,
    /// A file behind a `Take` or a `SendFile` failed.
    #[error("the file behind the transfer failed")]
    Storage,
}

/// Why a storage effect failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no file of that name, or none is open under that handle.
    #[error("no such file")]
    NotFound,
    /// There is one already.
    #[error("the file exists")]
    Exists,
    /// No space, no quota, or no inodes.
    #[error("no space left")]
    Full,
    /// Not allowed, no regular file, or the file system is read-only.
    #[error("permission denied")]
    Denied,
    /// More than the effect allows.
    #[error("the file is too large")]
    TooLarge,
    /// Reading, writing or syncing failed.
    #[error("input or output failed")]
    Failed,
}
