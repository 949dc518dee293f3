//! What the application of a client learns.

use core::time::Duration;

use crate::heartbeat::{Advice, Rule};
use crate::http::ClientError;
use crate::notify::{Handle, Order};
use crate::{ClientId, CloseReason, ConnectError, Incarnation, NotificationId, StoreError};

/// Something for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The client is registered.
    Registered {
        /// Its identity.
        client: ClientId,
        /// The relay's run.
        incarnation: Incarnation,
        /// Whether the relay granted a persistent connection.
        granted: bool,
        /// Why not, in a word; `None` if it was granted, or if the relay gave
        /// no reason that is known.
        reason: Option<&'static str>,
    },
    /// Something that was asked of the relay failed; it is tried again.
    Failed {
        /// What was asked.
        what: &'static str,
        /// Why it failed.
        why: Failure,
    },
    /// Another machine has the identity that this one had, as when its disk was
    /// copied: the relay gave this one an identity of its own.
    Separated {
        /// What it was.
        from: ClientId,
        /// What it is from now on.
        client: ClientId,
    },
    /// Another relay is in use from now on: the one before failed for too long,
    /// or this one is better and took the client's registration.
    RelayChanged {
        /// Its place in the list of the settings, from 0.
        relay: usize,
    },
    /// It is proven to the relay that its datagrams reach this client, which
    /// needs no persistent connection then.
    Reached,
    /// An attempt to open the persistent connection failed.
    AttemptFailed {
        /// Which attempt since the last grant, from 1.
        attempt: u32,
        /// How many there are at most.
        attempts_max: u32,
        /// Whether there is none any more before the next grant.
        is_last: bool,
        /// Why it failed.
        why: Failure,
    },
    /// The persistent connection is open.
    Connected,
    /// The persistent connection is gone.
    Disconnected {
        /// Why.
        why: Failure,
    },
    /// The persistent connection is ended, because the relay was not heard on
    /// it. [`Disconnected`](Self::Disconnected) follows, unless another one is
    /// about to take its place.
    HeartbeatEnded {
        /// How long the relay was silent, less the time that the driver was not
        /// there.
        silent_for: Duration,
        /// Which rule ended it.
        rule: Rule,
    },
    /// The figures of the heartbeats of both ends do not fit. Told after a
    /// registration, once for each change.
    HeartbeatAdvice(Advice),
    /// A notification to be handled: see [`Client::notification`](super::Client::notification).
    Notification {
        /// Its handle, good until it is replied to, dismissed or expired.
        notification: Handle,
        /// Its number.
        id: NotificationId,
        /// How it came.
        by: Arrival,
    },
    /// A notification's lifetime is over before it was handled, or before its
    /// reply was taken; the handle ends here.
    NotificationExpired {
        /// Its handle.
        notification: Handle,
    },
    /// The identity could not be written; it is tried again.
    StorageFailed {
        /// Why.
        why: StoreError,
    },
    /// There may be an identity, but it could not be read; the client does not
    /// start.
    IdentityUnavailable {
        /// Why.
        why: StoreError,
    },
    /// The file of the identity is not what it should be; it was left alone
    /// and the client does not start.
    IdentityUnreadable,
    /// The client was stopped: its last connection is gone.
    Stopped,
}

/// The way that a notification came to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// On its persistent connection.
    Connection,
    /// By a datagram, of the relay or of a peer in its subnet: nothing tells
    /// the two apart.
    Datagram,
    /// Out of its inbox.
    Inbox,
}

impl Arrival {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Datagram => "datagram",
            Self::Inbox => "inbox",
        }
    }

    /// Whether all that was said before came before.
    pub(super) const fn order(self) -> Order {
        match self {
            Self::Connection | Self::Inbox => Order::InOrder,
            Self::Datagram => Order::Loose,
        }
    }
}

/// Why something did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No connection to the relay.
    #[error("no connection: {0}")]
    Connect(ConnectError),
    /// The connection went.
    #[error("the connection is gone: {0}")]
    Closed(CloseReason),
    /// The relay did not answer as HTTP asks.
    #[error("{0}")]
    Http(ClientError),
    /// The relay refused.
    #[error("the relay answered with status {0}")]
    Status(u16),
    /// Another machine has the same identity, and a new one may not be given on
    /// this connection.
    #[error("another machine has the same identity: remove this one's file, or use TLS")]
    Cloned,
    /// The answer is not what it should be.
    #[error("the relay's answer is not understood")]
    Answer,
    /// The relay broke the rules of the persistent connection.
    #[error("the relay broke the protocol: {0}")]
    Protocol(&'static str),
    /// The relay said goodbye.
    #[error("the relay said goodbye: {0}")]
    Bye(&'static str),
    /// This client ended it: it was stopped, or the relay grants none any more.
    #[error("ended by this client")]
    Left,
    /// Nothing came in time.
    #[error("nothing came in time")]
    TimedOut,
    /// The identity could not be written.
    #[error("the identity could not be stored: {0}")]
    Storage(StoreError),
    /// There was no room.
    #[error("no room")]
    Full,
}
