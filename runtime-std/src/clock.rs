//! The driver's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tautline_core::{Instant, UnixTime};

/// A monotonic clock in the core's units. Its origin is the moment it was
/// started; instants of two clocks must not be mixed.
///
/// On Linux the clock stands still while the machine is suspended.
///
/// ```
/// use std::time::Duration;
/// use tautline_std::clock::Clock;
///
/// let clock = Clock::start();
/// let deadline = clock.now() + Duration::from_secs(60);
/// assert!(clock.until(deadline) <= Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }

    /// The present moment, rounded down to the microsecond.
    pub fn now(&self) -> Instant {
        let micros = self.origin.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// How long it is until `deadline`; zero if it has come. It is rounded up
    /// to the microsecond, so that one who sleeps for it does not wake early.
    pub fn until(&self, deadline: Instant) -> Duration {
        deadline.saturating_since(self.now())
    }

    /// What the wall clock shows; the epoch itself if it stands before it.
    pub fn wall(&self) -> UnixTime {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixTime::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_runs_backwards() {
        let clock = Clock::start();
        let mut last = clock.now();
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_deadline_that_has_come_is_zero_away() {
        let clock = Clock::start();
        assert_eq!(clock.until(Instant::ORIGIN), Duration::ZERO);
        assert!(clock.until(Instant::MAX) > Duration::from_secs(1 << 40));
    }

    #[test]
    fn the_wall_clock_is_past_2020() {
        assert!(Clock::start().wall() > UnixTime::from_millis(1_577_836_800_000));
    }
}
