//! The time that a machine was awake.

use core::time::Duration;

use crate::Instant;

/// A call that comes this much later than the deadline that it was asked for
/// shows that the clock jumped: the machine slept, or its program was stopped.
pub const LATE_MAX: Duration = Duration::from_secs(1);

const TICK_US: u64 = 1_000;

/// Counts milliseconds that the driver was there, so that what nobody could
/// hear does not count as silence.
///
/// After a jump time goes on at the deadline that was missed.
pub(super) struct Clock {
    latest: Instant,
    /// Microseconds that were slept through.
    lost: u64,
    jumps: u64,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self {
            latest: Instant::ORIGIN,
            lost: 0,
            jumps: 0,
        }
    }

    /// Whether time has not come to `now` yet.
    pub(super) fn is_before(&self, now: Instant) -> bool {
        self.latest < now
    }

    /// Time has come to `now`, when the machine wanted to be called at `due`.
    /// Whether it jumped.
    pub(super) fn advance(&mut self, now: Instant, due: Option<Instant>) -> bool {
        if now <= self.latest {
            return false;
        }
        self.latest = now;
        let Some(due) = due.filter(|due| now > *due + LATE_MAX) else {
            return false;
        };
        let late = now.saturating_since(due).as_micros();
        self.lost += u64::try_from(late).unwrap_or(u64::MAX);
        self.jumps += 1;
        true
    }

    /// Milliseconds that the driver was there, rounded down.
    pub(super) const fn tick(&self) -> u64 {
        (self.latest.as_micros() - self.lost) / TICK_US
    }

    /// When a tick comes, if the clock does not jump before.
    pub(super) fn moment(&self, tick: u64) -> Instant {
        let micros = tick.saturating_mul(TICK_US);
        Instant::from_micros(micros.saturating_add(self.lost))
    }

    /// How often it jumped.
    pub(super) const fn jumps(&self) -> u64 {
        self.jumps
    }
}

/// Whole milliseconds, rounded up; what is longer than `u32` can count is
/// nothing that a setting may say.
pub(super) fn millis(span: Duration) -> u32 {
    let millis = span.as_micros().div_ceil(u128::from(TICK_US));
    u32::try_from(millis).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn h4_hours_that_were_slept_through_did_not_pass() {
        let mut clock = Clock::new();
        let due = Some(Instant::ORIGIN + 60 * SECOND);
        assert!(!clock.advance(Instant::ORIGIN + 61 * SECOND, due));
        assert_eq!(clock.tick(), 61_000, "late, but not a jump");
        let due = Some(Instant::ORIGIN + 120 * SECOND);
        assert!(clock.advance(Instant::ORIGIN + 9_120 * SECOND, due));
        assert_eq!((clock.tick(), clock.jumps()), (120_000, 1));
        assert_eq!(clock.moment(130_000), Instant::ORIGIN + 9_130 * SECOND);
        assert!(!clock.advance(Instant::ORIGIN, due), "backwards is ignored");
        assert_eq!(clock.tick(), 120_000);
    }

    #[test]
    fn who_waits_for_nothing_misses_nothing() {
        let mut clock = Clock::new();
        assert!(!clock.advance(Instant::MAX, None));
        assert!(!clock.advance(Instant::MAX, Some(Instant::ORIGIN)));
        assert_eq!(clock.moment(u64::MAX), Instant::MAX);
    }
}
