//! What may be asked of a router: its bounds, the ways, the refusals.

use core::time::Duration;

use crate::Key;

/// The bounds of a [`Router`](super::Router).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterLimits {
    /// Legs at a time, on all lines.
    pub legs_max: u32,
    /// Legs at a time on one line.
    pub legs_per_line_max: u32,
    /// Legs at a time on all lines of a subnet: a stuck one leaves room for the
    /// others.
    pub legs_per_subnet_max: u32,
    /// How long a peer that has frames to confirm may confirm none. After it
    /// the legs of its line take another way.
    pub served_timeout: Duration,
    /// How long a line is not chosen after that.
    pub sulk: Duration,
}

impl Default for RouterLimits {
    fn default() -> Self {
        Self {
            legs_max: 65_536,
            legs_per_line_max: 1_024,
            legs_per_subnet_max: 4_096,
            served_timeout: Duration::from_secs(10),
            sulk: Duration::from_secs(60),
        }
    }
}

/// Which way a notification goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a peer: [`assign`](super::Router::assign) it to the line.
    Peer(Key),
    /// By a datagram of the relay's own.
    Datagram,
    /// All peers of the subnet are full or blocked, or there are as many legs as
    /// there may be: come again with [`RouterEffect::Room`].
    Later,
    /// There is none; the client has to ask.
    None,
}

/// One notification on its way to one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leg {
    /// Who it is for.
    pub client: Key,
    /// What it is.
    pub notification: Key,
}

/// What a [`Router`](super::Router) tells on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterEffect {
    /// The peer passed it on. That says that it was sent, not that it came.
    Served {
        /// Who it is for.
        client: Key,
        /// What it is.
        notification: Key,
    },
    /// The peer did not say that it passed it on: route it again, if it is
    /// still of use.
    Reroute {
        /// Who it is for.
        client: Key,
        /// What it is.
        notification: Key,
    },
    /// Clients of the subnet that were told [`Way::Later`] may come again.
    Room {
        /// The subnet.
        subnet: Key,
    },
}

/// Why a leg was not put on a line. The caller is to blame; nothing was
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteRefusal {
    /// No such line is open.
    #[error("no such line is open")]
    UnknownLine,
    /// The line or its subnet has as many legs as it takes, or the line is not
    /// to be chosen.
    #[error("the line takes no more legs at the moment")]
    NoRoom,
    /// The notification is on its way to the client already.
    #[error("the notification is on its way to the client already")]
    OnItsWay,
    /// There are as many legs as there may be.
    #[error("there are as many legs as there may be")]
    Full,
}
