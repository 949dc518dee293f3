//! Time as the machines see it: handed in, never read.

use core::num::NonZeroU64;
use core::time::Duration;

/// A moment on the driver's monotonic clock, in microseconds since an origin
/// that the driver chooses.
///
/// Arithmetic saturates: a lifetime that a peer stated can not overflow.
/// `Option<Instant>` is 8 bytes.
///
/// ```
/// use core::time::Duration;
/// use tautline_core::Instant;
///
/// let start = Instant::from_micros(5_000);
/// let later = start + Duration::from_millis(2);
/// assert_eq!(later.saturating_since(start), Duration::from_millis(2));
/// assert_eq!(start.saturating_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

const _: () = assert!(size_of::<Option<Instant>>() == 8);

impl Instant {
    /// The earliest moment there is.
    pub const ORIGIN: Self = Self(NonZeroU64::MIN);
    /// The latest moment there is; what saturates ends here.
    pub const MAX: Self = Self(NonZeroU64::MAX);

    /// The moment `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        match NonZeroU64::new(micros.saturating_add(1)) {
            Some(shifted) => Self(shifted),
            None => Self::MAX,
        }
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0.get() - 1
    }

    /// The time from `earlier` to this moment, zero if it lies ahead.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.as_micros().saturating_sub(earlier.as_micros()))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        Self::from_micros(self.as_micros().saturating_add(micros))
    }
}

impl core::fmt::Debug for Instant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let micros = self.as_micros();
        write!(f, "{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
    }
}

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00Z, without leap
/// seconds.
///
/// It is written to disk and to the wire, and never used to measure a span:
/// it may jump. The driver tells it by [`Input::WallClock`](crate::Input).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The wall-clock time `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_saturate_at_the_last_moment() {
        assert_eq!(Instant::MAX + Duration::MAX, Instant::MAX);
        assert_eq!(Instant::ORIGIN + Duration::MAX, Instant::MAX);
        assert_eq!(Instant::from_micros(u64::MAX), Instant::MAX);
    }

    #[test]
    fn micros_survive_the_shift_by_one() {
        for micros in [0, 1, 999_999, 1_000_000, u64::MAX - 1] {
            assert_eq!(Instant::from_micros(micros).as_micros(), micros);
        }
    }
}
