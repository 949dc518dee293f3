//! Turns, what they wait for, and why there is no room for more.

use crate::Key;

/// Why there is no room for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum NoRoom {
    /// There are as many as there may be.
    Relay,
    /// The subnet has its share.
    Subnet,
}

impl NoRoom {
    pub(in crate::relay) const fn name(self) -> &'static str {
        match self {
            Self::Relay => "no_room",
            Self::Subnet => "subnet_full",
        }
    }
}

/// What has to come before the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Lane {
    Ready,
    /// Room with a peer.
    Peer,
    /// The rate of datagrams.
    Rate,
}

/// Where a client's turn comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Source {
    /// The front of the tasks for one client.
    Single(Lane),
    /// The front of the members that were left behind.
    Parked(Lane),
    /// The walk over the members.
    Walk,
}

/// A client that may be brought what a task says; none where only the walk
/// knows who it is.
#[derive(Clone, Copy, Debug)]
pub(in crate::relay) struct Turn {
    pub(in crate::relay) source: Source,
    pub(in crate::relay) client: Option<Key>,
    pub(in crate::relay) task: Key,
}

/// Whether a member that a walk came to waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Waits {
    Already,
    /// So much it waited for in a subnet that it left.
    Not {
        given_up: u16,
    },
}
