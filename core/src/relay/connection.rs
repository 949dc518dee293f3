//! One connection of a relay.

use alloc::boxed::Box;
use core::net::SocketAddr;

use super::line::Line;
use crate::collections::TimerKey;
use crate::{Close, Instant, Key, RequestId, http};

/// What the relay keeps of a connection. There are many, so it is small; what
/// HTTP needs is on the heap and goes with the upgrade.
pub(super) struct Conn {
    /// Whether the driver keeps a tail: nothing is written until it is gone.
    pub(super) blocked: bool,
    /// Whether bytes that were not taken are to be offered again.
    pub(super) resume: bool,
    pub(super) timer: Option<TimerKey>,
    pub(super) role: Role,
}

const _: () = assert!(size_of::<Conn>() <= 168);

/// What a connection is for.
pub(super) enum Role {
    Http(Box<HttpConn>),
    Line(Line),
    /// The driver was told to end it, or is about to be; nothing more is
    /// taken or written.
    Closing(Closing),
}

/// How a connection ends.
#[derive(Clone, Copy)]
pub(super) enum Closing {
    /// The driver is to be told.
    Tell(Close),
    /// Ended in order; the peer has until the moment to end its side.
    Lingering(Instant),
    /// Told; only `Closed` is waited for.
    Told,
}

/// An HTTP connection and the request that is under way on it.
pub(super) struct HttpConn {
    pub(super) peer: SocketAddr,
    /// Whether TLS protects the connection.
    pub(super) secure: bool,
    pub(super) server: http::Server,
    /// The peer sends no more. After an upgrade, frames have to know.
    pub(super) peer_ended: bool,
    pub(super) route: Route,
}

/// Who answers the request under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// None is under way, or it is answered.
    Idle,
    /// The application.
    Application(RequestId),
    /// The relay, when the body is complete.
    Register,
    /// The relay, when the body is complete.
    Reply,
    /// The relay, when the body is complete, which has nothing in it.
    Test,
    /// The relay: the connection becomes this client's persistent connection.
    Connect {
        client: Key,
        after: crate::NotificationId,
    },
}

impl Conn {
    /// When the connection wants to be looked at.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Http(http) => http.server.poll_timeout(),
            Role::Line(line) => line.deadline(),
            Role::Closing(Closing::Lingering(at)) => Some(*at),
            Role::Closing(Closing::Tell(_) | Closing::Told) => None,
        }
    }
}
