//! Deadlines by the million.

use core::fmt;

use super::chunk::Chunks;
use super::slots::{Slots, Spot, Spotted, TICK_US, moment_of, tick_of};
use super::{Full, NONE};
use crate::{Instant, Key};

/// The tick of a place that holds no timer.
const VACANT: u64 = u64::MAX;

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
    slots: Slots,
    free: u32,
    len: u32,
    retired: u32,
}

#[derive(Clone, Copy)]
struct Timer<T> {
    /// Of a vacant place, `next` is the next vacant one.
    spot: Spot,
    generation: u32,
    value: T,
}

impl<T> Spotted for Timer<T> {
    fn spot(&mut self) -> &mut Spot {
        &mut self.spot
    }
}

const _: () = assert!(size_of::<Timer<u32>>() == 24);
const _: () = assert!(size_of::<Timer<Key>>() == 32);

impl<T: Copy> Wheel<T> {
    /// A wheel for at most `timers_max` timers.
    pub fn new(timers_max: u32) -> Self {
        Self {
            timers: Chunks::new(timers_max),
            slots: Slots::new(),
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
        let tick = tick_of(at);
        let (place, generation) = self.claim(tick, value)?;
        self.slots.insert(&mut self.timers, place, tick);
        Ok(TimerKey(Key::new(place, generation)))
    }

    /// Takes a timer back; `None` if it has expired or was cancelled.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let place = self.find(key)?;
        self.slots.remove(&mut self.timers, place);
        Some(self.release(place))
    }

    /// Sets a timer to another deadline, as if it were inserted anew; false if
    /// it has expired or was cancelled.
    pub fn reschedule(&mut self, key: TimerKey, at: Instant) -> bool {
        let Some(place) = self.find(key) else {
            return false;
        };
        self.slots.remove(&mut self.timers, place);
        self.slots.insert(&mut self.timers, place, tick_of(at));
        true
    }

    /// When the next timer expires, `None` if there is none.
    ///
    /// It is never later than that, and may be earlier only after the earliest
    /// timer was cancelled or rescheduled. Once [`expire`](Self::expire) has
    /// returned `None` it is later than the `now` that was passed.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.slots.next_tick().map(moment_of)
    }

    /// Takes the next timer that is due at `now`, `None` when there is none.
    ///
    /// Call it until it returns `None`. A timer that is inserted meanwhile
    /// with a deadline that has passed is due in the same round.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        let now = now.as_micros() / TICK_US;
        let place = self.slots.expire(&mut self.timers, now)?;
        Some(self.release(place))
    }

    /// The timer's value, `None` if it has expired or was cancelled.
    pub fn get(&self, key: TimerKey) -> Option<T> {
        Some(self.timers[self.find(key)?].value)
    }

    /// The deadline of a timer, rounded up to the tick; `None` if it has
    /// expired or was cancelled.
    pub fn deadline(&self, key: TimerKey) -> Option<Instant> {
        Some(moment_of(self.timers[self.find(key)?].spot.tick))
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
        let found = timer.generation == key.0.generation() && timer.spot.tick != VACANT;
        found.then_some(key.0.index() as u32)
    }

    /// A place for a timer, and its generation.
    fn claim(&mut self, tick: u64, value: T) -> Result<(u32, u32), Full> {
        let claimed = if self.free == NONE {
            let timer = Timer {
                spot: Spot::at(tick),
                generation: 0,
                value,
            };
            (self.timers.push(timer).map_err(|_| Full(()))?, 0)
        } else {
            let place = self.free;
            let timer = &mut self.timers[place];
            self.free = timer.spot.next;
            timer.spot.tick = tick;
            timer.value = value;
            (place, timer.generation)
        };
        self.len += 1;
        Ok(claimed)
    }

    /// Gives a place back that is in no slot.
    fn release(&mut self, place: u32) -> T {
        let timer = &mut self.timers[place];
        timer.spot.tick = VACANT;
        self.len -= 1;
        match timer.generation.checked_add(1) {
            Some(generation) => {
                timer.generation = generation;
                timer.spot.next = self.free;
                self.free = place;
            }
            None => self.retired += 1,
        }
        timer.value
    }
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
