//! Deadlines by the million.

use alloc::boxed::Box;
use core::fmt;

use super::chunk::Chunks;
use super::{Full, NONE};
use crate::{Instant, Key};

/// The width of a tick, in microseconds.
const TICK_US: u64 = 1_000;
/// The last tick whose moment can be told as an [`Instant`].
const TICK_MAX: u64 = Instant::MAX.as_micros() / TICK_US;
/// The tick of a place that holds no timer.
const VACANT: u64 = u64::MAX;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Enough for every tick there is, so that no deadline lies beyond a horizon.
const LEVELS: usize = 10;

const _: () = assert!(TICK_MAX.ilog2() < SLOT_BITS * LEVELS as u32);

/// The name of a timer in a [`Wheel`]. That of a timer that has expired or was
/// cancelled finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKey(Key);

impl TimerKey {
    /// Index and generation.
    pub const fn key(self) -> Key {
        self.0
    }
}

/// A hierarchical timer wheel: [`insert`](Self::insert),
/// [`cancel`](Self::cancel), [`reschedule`](Self::reschedule) and
/// [`next_deadline`](Self::next_deadline) are O(1).
///
/// **Rounding.** Time advances in ticks of 1 ms. A deadline is rounded up to
/// the tick, so a timer never expires early and at most 999 µs late; whole
/// milliseconds are exact. (The last, broken millisecond before
/// [`Instant::MAX`] is rounded down, so that every timer can expire.)
///
/// **Order.** Timers expire in the order of their ticks, those of one tick in
/// the order they were inserted or rescheduled.
///
/// **The past.** Time does not go backwards: an earlier `now` counts as the
/// latest one. A deadline that lies before the latest `now` is due at once,
/// behind the timers of the tick that expired last.
///
/// A timer sits on the level of the highest 6-bit digit in which its tick
/// differs from the current one, and is moved down when time enters its slot:
/// at most nine times in its life, twice for one of a minute. Occupancy is
/// kept in bitmaps, so a jump over years costs what it makes due, not what it
/// skips.
///
/// A wheel takes 10 KiB for its slots, and for each timer 20 bytes and the
/// value, rounded up to 8, in chunks of 1,024 timers up to `timers_max`. A
/// wheel that has been as full as it gets allocates nothing. A place that was
/// taken 2^32 times is not used again.
///
/// ```
/// use core::time::Duration;
/// use tautline_core::{Instant, collections::Wheel};
///
/// let start = Instant::ORIGIN;
/// let second = start + Duration::from_secs(1);
/// let mut wheel = Wheel::new(100);
/// let probe = wheel.insert(second, "probe")?;
/// wheel.insert(second + Duration::from_micros(1), "sweep")?;
///
/// assert_eq!(wheel.next_deadline(), Some(second));
/// assert_eq!(wheel.expire(second), Some("probe"));
/// assert_eq!(wheel.expire(second), None);
/// assert_eq!(wheel.cancel(probe), None, "it has expired");
/// assert_eq!(wheel.next_deadline(), Some(second + Duration::from_millis(1)));
/// # Ok::<(), tautline_core::collections::Full>(())
/// ```
pub struct Wheel<T> {
    timers: Chunks<Timer<T>, 1_024>,
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
    free: u32,
    len: u32,
    retired: u32,
}

#[derive(Clone, Copy)]
struct Timer<T> {
    tick: u64,
    prev: u32,
    /// The next timer of the slot, or the next vacant place.
    next: u32,
    generation: u32,
    value: T,
}

const _: () = assert!(size_of::<Timer<u32>>() == 24);
const _: () = assert!(size_of::<Timer<Key>>() == 32);

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

impl<T: Copy> Wheel<T> {
    /// A wheel for at most `timers_max` timers.
    pub fn new(timers_max: u32) -> Self {
        Self {
            timers: Chunks::new(timers_max),
            slots: Box::new([Slot::EMPTY; LEVELS * SLOTS]),
            occupied: [0; LEVELS],
            levels: 0,
            current: 0,
            latest: 0,
            free: NONE,
            len: 0,
            retired: 0,
        }
    }

    /// Sets a timer.
    ///
    /// # Errors
    /// [`Full`] when there are [`capacity_max`](Self::capacity_max) timers.
    pub fn insert(&mut self, at: Instant, value: T) -> Result<TimerKey, Full> {
        let tick = tick_of(at).max(self.current);
        let (place, generation) = self.claim(tick, value)?;
        self.link(place, tick);
        Ok(TimerKey(Key::new(place, generation)))
    }

    /// Takes a timer back; `None` if it has expired or was cancelled.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let place = self.find(key)?;
        self.unlink(place);
        Some(self.release(place))
    }

    /// Sets a timer to another deadline, as if it were inserted anew; false if
    /// it has expired or was cancelled.
    pub fn reschedule(&mut self, key: TimerKey, at: Instant) -> bool {
        let Some(place) = self.find(key) else {
            return false;
        };
        let tick = tick_of(at).max(self.current);
        self.unlink(place);
        self.timers[place].tick = tick;
        self.link(place, tick);
        true
    }

    /// When the next timer expires, `None` if there is none.
    ///
    /// It is never later than that, and may be earlier only after the earliest
    /// timer was cancelled or rescheduled. Once [`expire`](Self::expire) has
    /// returned `None` it is later than the `now` that was passed.
    pub fn next_deadline(&self) -> Option<Instant> {
        let (level, slot) = self.earliest()?;
        let tick = match level {
            0 => start_of(self.current, 0, slot),
            _ => self.slots[level * SLOTS + slot].tick_min,
        };
        Some(moment_of(tick))
    }

    /// Takes the next timer that is due at `now`, `None` when there is none.
    ///
    /// Call it until it returns `None`. A timer that is inserted meanwhile
    /// with a deadline that has passed is due in the same round.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        self.latest = self.latest.max(now.as_micros() / TICK_US);
        while let Some((level, slot)) = self.earliest() {
            let start = start_of(self.current, level, slot);
            if start > self.latest {
                break;
            }
            if level == 0 {
                self.current = start;
                let place = self.slots[slot].head;
                self.unlink(place);
                return Some(self.release(place));
            }
            self.cascade(level, slot);
        }
        self.current = self.latest;
        None
    }

    /// The timer's value, `None` if it has expired or was cancelled.
    pub fn get(&self, key: TimerKey) -> Option<T> {
        Some(self.timers[self.find(key)?].value)
    }

    /// The deadline of a timer, rounded up to the tick; `None` if it has
    /// expired or was cancelled.
    pub fn deadline(&self, key: TimerKey) -> Option<Instant> {
        Some(moment_of(self.timers[self.find(key)?].tick))
    }

    /// How many timers are set.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no timer is set.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many timers there can be: `timers_max`, less the places whose
    /// generations are used up.
    pub const fn capacity_max(&self) -> usize {
        (self.timers.len_max() - self.retired) as usize
    }

    fn find(&self, key: TimerKey) -> Option<u32> {
        let timer = self.timers.get(key.0.index())?;
        let found = timer.generation == key.0.generation() && timer.tick != VACANT;
        found.then_some(key.0.index() as u32)
    }

    /// A place for a timer, and its generation.
    fn claim(&mut self, tick: u64, value: T) -> Result<(u32, u32), Full> {
        let claimed = if self.free == NONE {
            let timer = Timer {
                tick,
                prev: NONE,
                next: NONE,
                generation: 0,
                value,
            };
            (self.timers.push(timer).map_err(|_| Full(()))?, 0)
        } else {
            let place = self.free;
            let timer = &mut self.timers[place];
            self.free = timer.next;
            timer.tick = tick;
            timer.value = value;
            (place, timer.generation)
        };
        self.len += 1;
        Ok(claimed)
    }

    /// Gives a place back that is in no slot.
    fn release(&mut self, place: u32) -> T {
        let timer = &mut self.timers[place];
        timer.tick = VACANT;
        self.len -= 1;
        match timer.generation.checked_add(1) {
            Some(generation) => {
                timer.generation = generation;
                timer.next = self.free;
                self.free = place;
            }
            None => self.retired += 1,
        }
        timer.value
    }

    /// Puts a timer at the end of its slot.
    fn link(&mut self, place: u32, tick: u64) {
        let (level, slot) = position(self.current, tick);
        let entry = &mut self.slots[level * SLOTS + slot];
        let tail = core::mem::replace(&mut entry.tail, place);
        entry.tick_min = entry.tick_min.min(tick);
        if tail == NONE {
            entry.head = place;
            self.occupied[level] |= 1 << slot;
            self.levels |= 1 << level;
        } else {
            self.timers[tail].next = place;
        }
        let timer = &mut self.timers[place];
        timer.prev = tail;
        timer.next = NONE;
    }

    /// Takes a timer out of its slot.
    fn unlink(&mut self, place: u32) {
        let Timer {
            tick, prev, next, ..
        } = self.timers[place];
        if prev != NONE && next != NONE {
            self.timers[prev].next = next;
            self.timers[next].prev = prev;
            return;
        }
        let (level, slot) = position(self.current, tick);
        let entry = &mut self.slots[level * SLOTS + slot];
        if prev != NONE {
            entry.tail = prev;
            self.timers[prev].next = NONE;
        } else if next != NONE {
            entry.head = next;
            self.timers[next].prev = NONE;
        } else {
            self.empty(level, slot);
        }
    }

    /// Moves the timers of the earliest slot down, in their order.
    fn cascade(&mut self, level: usize, slot: usize) {
        let Slot { head, tick_min, .. } = self.slots[level * SLOTS + slot];
        self.empty(level, slot);
        self.current = tick_min.min(self.latest);
        let mut place = head;
        while place != NONE {
            let Timer { tick, next, .. } = self.timers[place];
            self.link(place, tick);
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
const fn tick_of(at: Instant) -> u64 {
    let tick = at.as_micros().div_ceil(TICK_US);
    if tick > TICK_MAX { TICK_MAX } else { tick }
}

const fn moment_of(tick: u64) -> Instant {
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

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("len", &self.len)
            .field("timers_max", &self.timers.len_max())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
