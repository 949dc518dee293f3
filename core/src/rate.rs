//! How many a second, with some at once: a token bucket in virtual time.

use core::time::Duration;

use crate::Instant;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// Lets so many a second pass in the long run, and up to `burst` at once.
///
/// It is exact: tokens are counted in millionths, and a microsecond brings as
/// many of them as a second brings tokens. Everything is O(1); 32 bytes.
///
/// ```
/// use core::time::Duration;
/// use tautline_core::Instant;
/// use tautline_core::rate::Bucket;
///
/// let mut bucket = Bucket::new(10, 2);
/// let now = Instant::ORIGIN;
/// assert_eq!(bucket.take(now, 2), Ok(()));
/// let again = now + Duration::from_millis(100);
/// assert_eq!(bucket.take(now, 1), Err(again));
/// assert_eq!(bucket.take(again, 1), Ok(()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    per_second: u32,
    burst: u32,
    /// Millionths of tokens, at `filled_at`.
    level: u64,
    filled_at: Instant,
}

const _: () = assert!(size_of::<Bucket>() <= 32);

impl Bucket {
    /// A full bucket. `per_second` 0 is no limit; a `burst` of 0 counts as 1,
    /// or nothing would ever pass.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let burst = if burst == 0 { 1 } else { burst };
        Self {
            per_second,
            burst,
            level: burst as u64 * MICROS_PER_SECOND,
            filled_at: Instant::ORIGIN,
        }
    }

    /// Takes `n` tokens. More than `burst` at once count as `burst`, which is
    /// the most that there ever are. Time that goes backwards brings none.
    ///
    /// # Errors
    /// When there will be as many, unless others take them before; none are
    /// taken.
    pub fn take(&mut self, now: Instant, n: u32) -> Result<(), Instant> {
        if self.per_second == 0 {
            return Ok(());
        }
        self.fill(now);
        let wanted = u64::from(n.min(self.burst)) * MICROS_PER_SECOND;
        match self.level.checked_sub(wanted) {
            Some(left) => {
                self.level = left;
                Ok(())
            }
            None => {
                let missing = wanted - self.level;
                let micros = missing.div_ceil(u64::from(self.per_second));
                Err(self.filled_at + Duration::from_micros(micros))
            }
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_since(self.filled_at).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let brought = passed.saturating_mul(self.per_second.into());
        let full = u64::from(self.burst) * MICROS_PER_SECOND;
        self.level = self.level.saturating_add(brought).min(full);
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let mut bucket = Bucket::new(0, 1);
        assert!((0..1_000).all(|_| bucket.take(Instant::ORIGIN, u32::MAX).is_ok()));
    }

    #[test]
    fn a_pause_brings_a_burst_and_no_more() {
        let mut bucket = Bucket::new(100, 5);
        let later = Instant::ORIGIN + 1_000 * SECOND;
        assert_eq!((0..9).filter(|_| bucket.take(later, 1).is_ok()).count(), 5);
        assert_eq!(bucket.take(later + SECOND, 6), Ok(()), "counts as 5");
        assert!(bucket.take(later + SECOND, 1).is_err());
    }

    #[test]
    fn time_that_goes_backwards_brings_nothing() {
        let mut bucket = Bucket::new(1, 1);
        let now = Instant::ORIGIN + 10 * SECOND;
        assert_eq!(bucket.take(now, 1), Ok(()));
        assert_eq!(bucket.take(Instant::ORIGIN, 1), Err(now + SECOND));
        assert_eq!(bucket.take(now, 1), Err(now + SECOND));
    }

    #[test]
    fn the_ends_of_time_and_rate_do_not_overflow() {
        let mut bucket = Bucket::new(u32::MAX, u32::MAX);
        assert_eq!(bucket.take(Instant::MAX, u32::MAX), Ok(()));
        assert_eq!(bucket.take(Instant::MAX, 1), Err(Instant::MAX));
    }

    /// Another account of the same: what left until a moment, within each span.
    fn most_in_any_span(taken: &[(u64, u32)], per_second: u64, burst: u64) {
        for (place, (start, _)) in taken.iter().enumerate() {
            let mut sum = 0;
            for (end, n) in &taken[place..] {
                sum += u64::from(*n);
                let brought = (end - start) * per_second;
                assert!(sum * MICROS_PER_SECOND <= burst * MICROS_PER_SECOND + brought);
            }
        }
    }

    proptest! {
        #[test]
        fn no_span_lets_more_pass_and_none_waits_longer(
            per_second in 1_u32..2_000,
            burst in 1_u32..20,
            steps in vec((0_u64..50_000, 0_u32..20), 1..80),
        ) {
            let mut bucket = Bucket::new(per_second, burst);
            let mut micros = 1;
            let mut taken = Vec::new();
            for (pause, n) in steps {
                micros += pause;
                let n = n.min(burst);
                let mut now = Instant::from_micros(micros);
                if let Err(at) = bucket.take(now, n) {
                    prop_assert!(at > now);
                    let just_before = Instant::from_micros(at.as_micros() - 1);
                    prop_assert_eq!(bucket.take(just_before, n), Err(at));
                    now = at;
                    prop_assert_eq!(bucket.take(now, n), Ok(()));
                }
                micros = now.as_micros();
                taken.push((micros, n));
            }
            most_in_any_span(&taken, per_second.into(), burst.into());
        }
    }
}
