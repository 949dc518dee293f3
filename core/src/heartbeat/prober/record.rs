//! What a prober keeps of a connection and of a group.

use crate::collections::{Spot, Spotted};

/// No connection that is probed has it.
pub(super) const NOBODY: u32 = u32::MAX;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its group is not probed, or nobody is here.
    Off,
    /// Its spot is that of its next probe.
    Idle,
    /// Its spot is that of the probe's deadline.
    Asked,
    /// It is to be ended.
    Ended,
}

/// A connection, by its place.
#[derive(Clone, Copy)]
pub(super) struct Probed {
    pub(super) spot: Spot,
    pub(super) generation: u32,
    pub(super) group: u16,
    pub(super) state: State,
    /// The number of its last probe above a bit that says whether its answer
    /// is still to come.
    sequence: u8,
    /// The low bits of the ticks at which bytes were sent and received last.
    pub(super) sent: u32,
    pub(super) received: u32,
}

const _: () = assert!(size_of::<Probed>() == 32);

impl Spotted for Probed {
    fn spot(&mut self) -> &mut Spot {
        &mut self.spot
    }
}

impl Probed {
    pub(super) const NONE: Self = Self {
        spot: Spot::at(0),
        generation: NOBODY,
        group: 0,
        state: State::Off,
        sequence: 0,
        sent: 0,
        received: 0,
    };

    /// One that was heard now, and that nothing was sent on for very long.
    pub(super) const fn new(generation: u32, group: u16, tick: u64) -> Self {
        Self {
            generation,
            group,
            sent: Self::long_before(tick),
            received: tick as u32,
            ..Self::NONE
        }
    }

    pub(super) const fn long_before(tick: u64) -> u32 {
        (tick as u32).wrapping_sub(1 << 31)
    }

    /// Whether a probe is unanswered, or was in the end.
    pub(super) const fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked | State::Ended)
    }

    /// Milliseconds since nothing was received. A span of 49 days would be
    /// taken for a shorter one.
    pub(super) const fn silence(&self, tick: u64) -> u32 {
        (tick as u32).wrapping_sub(self.received)
    }

    /// Milliseconds since bytes had been both sent and received last.
    pub(super) fn quiet(&self, tick: u64) -> u64 {
        let since_sent = (tick as u32).wrapping_sub(self.sent);
        u64::from(since_sent.max(self.silence(tick)))
    }

    /// Milliseconds since bytes had been sent or received last.
    pub(super) fn idle(&self, tick: u64) -> u32 {
        let since_sent = (tick as u32).wrapping_sub(self.sent);
        since_sent.min(self.silence(tick))
    }

    /// The nonce of the next probe: its deadline and its number.
    pub(super) const fn ask(&mut self, deadline: u64) -> u64 {
        self.sequence = (self.sequence & !1).wrapping_add(2) | 1;
        deadline << 8 | self.sequence as u64
    }

    /// The nonce of the probe that is under way, with another deadline; `None`
    /// if no answer is to come.
    pub(super) fn ask_late(&mut self, deadline: u64) -> Option<u64> {
        match self.state {
            // It may have been told that it was answered before it was asked.
            State::Asked => self.sequence |= 1,
            State::Idle | State::Off if self.sequence & 1 == 1 => {}
            State::Idle | State::Off | State::Ended => return None,
        }
        Some(deadline << 8 | u64::from(self.sequence))
    }

    /// The deadline of the probe that this answers, if it was asked for.
    pub(super) const fn answer(&mut self, nonce: u64) -> Option<u64> {
        if self.sequence & 1 == 0 || nonce as u8 != self.sequence {
            return None;
        }
        self.sequence &= !1;
        Some(nonce >> 8)
    }
}

/// The figures of a group, by its number.
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// In ticks; 0 is off.
    pub(super) period: u32,
    /// Connections of it that were not ended.
    pub(super) connections: u32,
}
