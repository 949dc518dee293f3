//! Deadlines in slots: what the timer wheel and tables of their own deadlines
//! share.

use alloc::boxed::Box;
use core::ops::IndexMut;

use super::NONE;
use crate::Instant;

/// The width of a tick, in microseconds.
pub(crate) const TICK_US: u64 = 1_000;
/// The last tick whose moment can be told as an [`Instant`].
const TICK_MAX: u64 = Instant::MAX.as_micros() / TICK_US;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Enough for every tick there is, so that no deadline lies beyond a horizon.
const LEVELS: usize = 10;

const _: () = assert!(TICK_MAX.ilog2() < SLOT_BITS * LEVELS as u32);

/// Where an entry of a table stands in [`Slots`]: its deadline and its
/// neighbours.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) tick: u64,
    pub(super) prev: u32,
    pub(super) next: u32,
}

const _: () = assert!(size_of::<Spot>() == 16);

impl Spot {
    /// In no slot.
    pub(crate) const fn at(tick: u64) -> Self {
        Self {
            tick,
            prev: NONE,
            next: NONE,
        }
    }
}

/// An entry that has a [`Spot`].
pub(crate) trait Spotted {
    fn spot(&mut self) -> &mut Spot;
}

/// A table of them, by place.
pub(crate) trait Spots: IndexMut<u32, Output: Spotted> {
    fn spot(&mut self, place: u32) -> &mut Spot {
        self[place].spot()
    }
}

impl<T: IndexMut<u32, Output: Spotted>> Spots for T {}

/// The slots of a hierarchical timer wheel, for entries that keep their own
/// links: the table is handed to every call, an entry is in the slots of at
/// most one wheel. Everything is O(1); the words of [`Wheel`](super::Wheel)
/// about rounding, order and the past hold here too.
pub(crate) struct Slots {
    slots: Box<[Slot; LEVELS * SLOTS]>,
    /// One bit for each slot of a level that holds timers.
    occupied: [u64; LEVELS],
    /// One bit for each level that holds timers.
    levels: u32,
    /// No timer is before this tick, and every timer sits where its tick puts
    /// it relative to this one.
    current: u64,
    /// The tick of the latest `now`.
    latest: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    head: u32,
    tail: u32,
    /// No timer of the slot is earlier. A cancelled timer may have been it.
    tick_min: u64,
}

const _: () = assert!(size_of::<Slot>() == 16);

impl Slot {
    const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
        tick_min: u64::MAX,
    };
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self {
            slots: Box::new([Slot::EMPTY; LEVELS * SLOTS]),
            occupied: [0; LEVELS],
            levels: 0,
            current: 0,
            latest: 0,
        }
    }

    /// Puts an entry that is in no slot into the one of its deadline; one that
    /// has passed is due at once.
    pub(crate) fn insert(&mut self, table: &mut impl Spots, place: u32, tick: u64) {
        let tick = tick.max(self.current);
        table.spot(place).tick = tick;
        self.link(table, place, tick);
    }

    /// Takes an entry out of its slot.
    pub(crate) fn remove(&mut self, table: &mut impl Spots, place: u32) {
        self.unlink(table, place);
    }

    /// The tick of the next deadline; see
    /// [`Wheel::next_deadline`](super::Wheel::next_deadline).
    pub(crate) fn next_tick(&self) -> Option<u64> {
        let (level, slot) = self.earliest()?;
        Some(match level {
            0 => start_of(self.current, 0, slot),
            _ => self.slots[level * SLOTS + slot].tick_min,
        })
    }

    /// Takes the next entry out that is due at the tick `now`, `None` when
    /// there is none. It keeps its tick.
    pub(crate) fn expire(&mut self, table: &mut impl Spots, now: u64) -> Option<u32> {
        let tick = self.first_due(table, now)?;
        let place = self.slots[(tick & (SLOTS as u64 - 1)) as usize].head;
        self.unlink(table, place);
        Some(place)
    }

    /// The tick of the entry that [`expire`](Self::expire) takes out next.
    pub(crate) fn first_due(&mut self, table: &mut impl Spots, now: u64) -> Option<u64> {
        self.latest = self.latest.max(now);
        while let Some((level, slot)) = self.earliest() {
            let start = start_of(self.current, level, slot);
            if start > self.latest {
                break;
            }
            if level == 0 {
                self.current = start;
                return Some(start);
            }
            self.cascade(table, level, slot);
        }
        self.current = self.latest;
        None
    }

    /// Puts a timer at the end of its slot.
    fn link(&mut self, table: &mut impl Spots, place: u32, tick: u64) {
        let (level, slot) = position(self.current, tick);
        let entry = &mut self.slots[level * SLOTS + slot];
        let tail = core::mem::replace(&mut entry.tail, place);
        entry.tick_min = entry.tick_min.min(tick);
        if tail == NONE {
            entry.head = place;
            self.occupied[level] |= 1 << slot;
            self.levels |= 1 << level;
        } else {
            table.spot(tail).next = place;
        }
        let own = table.spot(place);
        own.prev = tail;
        own.next = NONE;
    }

    /// Takes a timer out of its slot.
    fn unlink(&mut self, table: &mut impl Spots, place: u32) {
        let Spot { tick, prev, next } = *table.spot(place);
        if prev != NONE && next != NONE {
            table.spot(prev).next = next;
            table.spot(next).prev = prev;
            return;
        }
        let (level, slot) = position(self.current, tick);
        let entry = &mut self.slots[level * SLOTS + slot];
        if prev != NONE {
            entry.tail = prev;
            table.spot(prev).next = NONE;
        } else if next != NONE {
            entry.head = next;
            table.spot(next).prev = NONE;
        } else {
            self.empty(level, slot);
        }
    }

    /// Moves the timers of the earliest slot down, in their order.
    fn cascade(&mut self, table: &mut impl Spots, level: usize, slot: usize) {
        let Slot { head, tick_min, .. } = self.slots[level * SLOTS + slot];
        self.empty(level, slot);
        self.current = tick_min.min(self.latest);
        let mut place = head;
        while place != NONE {
            let Spot { tick, next, .. } = *table.spot(place);
            self.link(table, place, tick);
            place = next;
        }
    }

    fn empty(&mut self, level: usize, slot: usize) {
        self.slots[level * SLOTS + slot] = Slot::EMPTY;
        self.occupied[level] &= !(1 << slot);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// The slot that time enters first: whatever is on a lower level, or on
    /// the same level in a lower slot, is earlier.
    fn earliest(&self) -> Option<(usize, usize)> {
        let level = self.levels.trailing_zeros() as usize;
        let occupied = self.occupied.get(level)?;
        Some((level, occupied.trailing_zeros() as usize))
    }
}

/// The tick at which a deadline is due.
pub(crate) const fn tick_of(at: Instant) -> u64 {
    let tick = at.as_micros().div_ceil(TICK_US);
    if tick > TICK_MAX { TICK_MAX } else { tick }
}

pub(crate) const fn moment_of(tick: u64) -> Instant {
    Instant::from_micros(tick.saturating_mul(TICK_US))
}

/// The level and the slot of a tick that is not before `current`.
const fn position(current: u64, tick: u64) -> (usize, usize) {
    // The lowest digit is on level 0 whether it differs or not.
    let differing = (current ^ tick) | (SLOTS as u64 - 1);
    let level = differing.ilog2() / SLOT_BITS;
    let slot = tick >> (level * SLOT_BITS) & (SLOTS as u64 - 1);
    (level as usize, slot as usize)
}

/// The first tick of a slot, seen from `current`.
const fn start_of(current: u64, level: usize, slot: usize) -> u64 {
    let shift = level as u32 * SLOT_BITS;
    let above = u64::MAX << shift << SLOT_BITS;
    current & above | (slot as u64) << shift
}
