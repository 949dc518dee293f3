//! What a router keeps of a line, a subnet and a client.

use super::legs::Queue;
use crate::collections::TimerKey;
#[cfg(feature = "_test")]
use crate::visits::Visits;
use crate::{Instant, Key};

/// The transitions that the lines of any [`Router`](super::Router) took.
#[cfg(feature = "_test")]
pub static LINE_VISITS: Visits<{ LineState::ALL.len() }, { LineEvent::ALL.len() }> = Visits::new();

/// The place of no line.
pub(super) const NO_LINE: u32 = u32::MAX;

/// What a line can do at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    /// It is gone.
    Closed,
    /// It takes legs.
    Ready,
    /// It has as many as it takes.
    Full,
    /// Nothing can be written to it at the moment: it takes no more.
    Held,
    /// It did not confirm in time, or was blocked for as long, and is not
    /// chosen for a while.
    Sulking,
    /// It is about to close: it takes no more.
    Leaving,
}

/// What happens to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEvent {
    /// It opened.
    Opened,
    /// It took its last leg.
    Filled,
    /// A leg of it ended.
    Freed,
    /// It can not be written to.
    Blocked,
    /// It can be written to again.
    Writable,
    /// It did not confirm a frame in time, or was blocked for as long.
    TimedOut,
    /// Its sulk is over.
    Forgiven,
    /// It is told that it will be closed.
    Leaves,
    /// It closed.
    Closed,
}

impl LineState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Closed,
        Self::Ready,
        Self::Full,
        Self::Held,
        Self::Sulking,
        Self::Leaving,
    ];

    /// The state after an event, `None` if the event changes nothing.
    pub const fn after(self, event: LineEvent) -> Option<Self> {
        Some(match (self, event) {
            (Self::Closed, LineEvent::Opened)
            | (Self::Full, LineEvent::Freed)
            | (Self::Held, LineEvent::Writable)
            | (Self::Sulking, LineEvent::Forgiven) => Self::Ready,
            (Self::Ready | Self::Held, LineEvent::Filled) => Self::Full,
            (Self::Ready | Self::Full, LineEvent::Blocked) => Self::Held,
            (Self::Ready | Self::Full | Self::Held, LineEvent::TimedOut) => Self::Sulking,
            (Self::Ready | Self::Full | Self::Held | Self::Sulking, LineEvent::Leaves)
            | (Self::Leaving, LineEvent::TimedOut) => Self::Leaving,
            (Self::Closed, LineEvent::Closed) => return None,
            (_, LineEvent::Closed) => Self::Closed,
            _ => return None,
        })
    }
}

impl LineEvent {
    /// Every event.
    pub const ALL: [Self; 9] = [
        Self::Opened,
        Self::Filled,
        Self::Freed,
        Self::Blocked,
        Self::Writable,
        Self::TimedOut,
        Self::Forgiven,
        Self::Leaves,
        Self::Closed,
    ];
}

/// A line, by the place of its key.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) generation: u32,
    pub(super) state: LineState,
    pub(super) subnet: Key,
    /// How many legs it takes.
    pub(super) room: u32,
    /// The number of the last frame that was begun.
    pub(super) begun: u32,
    pub(super) queue: Queue,
    pub(super) outstanding: Queue,
    /// When it last confirmed something.
    pub(super) confirmed_at: Option<Instant>,
    /// Since when it can not be written to.
    pub(super) blocked_at: Option<Instant>,
    /// The neighbours in the ring of the subnet's lines that are ready.
    pub(super) next: u32,
    pub(super) previous: u32,
    pub(super) timer: Option<TimerKey>,
}

impl Line {
    pub(super) const NONE: Self = Self {
        generation: u32::MAX,
        state: LineState::Closed,
        subnet: Key::new(0, 0),
        room: 0,
        begun: 0,
        queue: Queue::EMPTY,
        outstanding: Queue::EMPTY,
        confirmed_at: None,
        blocked_at: None,
        next: NO_LINE,
        previous: NO_LINE,
        timer: None,
    };

    pub(super) const fn opened(generation: u32, subnet: Key, room: u32) -> Self {
        Self {
            generation,
            state: LineState::Ready,
            subnet,
            room,
            ..Self::NONE
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, LineState::Closed)
    }

    pub(super) const fn load(&self) -> u32 {
        self.queue.len() + self.outstanding.len()
    }
}

/// The lines of a subnet, by the place of its key.
#[derive(Clone, Copy)]
pub(super) struct Subnet {
    pub(super) generation: u32,
    /// The first of the ring of those that are ready.
    pub(super) ready: u32,
    /// How many are open, how many of them are full, and how many held.
    pub(super) lines: u32,
    pub(super) full: u32,
    pub(super) held: u32,
    /// Legs of its lines.
    pub(super) legs: u32,
    /// Whether somebody waits for room.
    pub(super) waits: bool,
}

impl Subnet {
    pub(super) const fn new(generation: u32) -> Self {
        Self {
            generation,
            ready: NO_LINE,
            lines: 0,
            full: 0,
            held: 0,
            legs: 0,
            waits: false,
        }
    }
}

/// The line by which a client's last notification went, until it answered, by
/// the place of its key.
#[derive(Clone, Copy)]
pub(super) struct Last {
    pub(super) generation: u32,
    pub(super) line: Option<Key>,
}

impl Last {
    pub(super) const NONE: Self = Self {
        generation: u32::MAX,
        line: None,
    };
}
