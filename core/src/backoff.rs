//! Waiting longer after each failure.

use alloc::sync::Arc;
use core::time::Duration;

use crate::Random;

/// The delays between attempts at something that fails.
///
/// The delays are an exact list of steps, whose last one repeats, or grow from
/// a floor by doubling up to a ceiling. Without jitter each delay is its step
/// exactly; with it, up to the stated fraction is taken off at random, so that
/// a fleet that failed together does not return together. A delay is never
/// longer than its step.
///
/// **Reset.** Call [`reset`](Self::reset) only when the other side has proved
/// its health: a reply that was expected, a notification that was confirmed.
/// A connection that opens proves nothing; one that opens and fails at once
/// must not start again from the first step.
///
/// It is a value of 40 bytes; clones share the list of steps.
///
/// ```
/// use core::time::Duration;
/// use tautline_core::{Random, backoff::Backoff};
///
/// let minutes = |count: u64| Duration::from_secs(60 * count);
/// let mut random = Random::from_seed([1; 32]);
/// // One retry after 5 minutes, then one every 30.
/// let mut retry = Backoff::steps(&[minutes(5), minutes(30)]);
/// assert_eq!(retry.next(&mut random), Some(minutes(5)));
/// assert_eq!(retry.next(&mut random), Some(minutes(30)));
/// assert_eq!(retry.next(&mut random), Some(minutes(30)));
/// retry.reset();
/// assert_eq!(retry.next(&mut random), Some(minutes(5)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    steps: Steps,
    attempts: u32,
    attempts_max: u32,
    jitter_permille: u16,
}

const _: () = assert!(size_of::<Backoff>() <= 40);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Steps {
    Exact(Arc<[Duration]>),
    Doubling { floor_us: u64, ceiling_us: u64 },
}

impl Backoff {
    /// Exactly these steps, the last one again and again. An empty list allows
    /// no attempt.
    pub fn steps(steps: &[Duration]) -> Self {
        Self::new(Steps::Exact(steps.into()))
    }

    /// Steps that double from `floor` up to `ceiling`, to the microsecond. A
    /// ceiling below the floor counts as the floor.
    pub fn exponential(floor: Duration, ceiling: Duration) -> Self {
        let floor_us = micros(floor);
        Self::new(Steps::Doubling {
            floor_us,
            ceiling_us: micros(ceiling).max(floor_us),
        })
    }

    /// Up to `jitter_permille` thousandths of each step are taken off at
    /// random: 0 is none and the default, 1000 leaves anything between nothing
    /// and the step. More counts as 1000.
    #[must_use]
    pub fn with_jitter_permille(mut self, jitter_permille: u16) -> Self {
        self.jitter_permille = jitter_permille.min(1_000);
        self
    }

    /// Allows `attempts_max` delays until the next reset. Without this their
    /// number is not limited.
    #[must_use]
    pub const fn with_attempts_max(mut self, attempts_max: u32) -> Self {
        self.attempts_max = attempts_max;
        self
    }

    /// The delay before the next attempt, `None` when no further attempt is
    /// allowed.
    ///
    /// It draws from `random` only if there is jitter.
    pub fn next(&mut self, random: &mut Random) -> Option<Duration> {
        if self.attempts_max != UNLIMITED && self.attempts >= self.attempts_max {
            return None;
        }
        let step = self.steps.step(self.attempts)?;
        self.attempts = self.attempts.saturating_add(1);
        Some(match self.jitter_permille {
            0 => step,
            permille => {
                let window = u128::from(micros(step)) * u128::from(permille) / 1_000;
                step - random.within(Duration::from_micros(window as u64))
            }
        })
    }

    /// Starts again from the first step, once health is proven.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How many delays were given since the last reset; it saturates.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    const fn new(steps: Steps) -> Self {
        Self {
            steps,
            attempts: 0,
            attempts_max: UNLIMITED,
            jitter_permille: 0,
        }
    }
}

/// The count of attempts saturates here, so as a limit it is none.
const UNLIMITED: u32 = u32::MAX;

impl Steps {
    /// The step after `attempts` attempts, `None` if there are no steps.
    fn step(&self, attempts: u32) -> Option<Duration> {
        match self {
            Self::Exact(steps) => steps
                .get(attempts as usize)
                .or_else(|| steps.last())
                .copied(),
            Self::Doubling {
                floor_us,
                ceiling_us,
            } => {
                let factor = 1_u64.checked_shl(attempts).unwrap_or(u64::MAX);
                let micros = floor_us.saturating_mul(factor).min(*ceiling_us);
                Some(Duration::from_micros(micros))
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const SECOND: Duration = Duration::from_secs(1);

    fn random() -> Random {
        Random::from_seed([3; 32])
    }

    fn delays(mut backoff: Backoff, count: usize) -> Vec<Option<Duration>> {
        let mut random = random();
        (0..count).map(|_| backoff.next(&mut random)).collect()
    }

    fn seconds(list: &[u64]) -> Vec<Option<Duration>> {
        list.iter().map(|n| Some(SECOND * *n as u32)).collect()
    }

    #[test]
    fn steps_are_exact_and_the_last_repeats() {
        let backoff = Backoff::steps(&[SECOND, SECOND * 10, SECOND * 20]);
        assert_eq!(delays(backoff, 5), seconds(&[1, 10, 20, 20, 20]));
        assert_eq!(delays(Backoff::steps(&[]), 1), [None]);
    }

    #[test]
    fn doubling_stays_between_floor_and_ceiling() {
        let backoff = Backoff::exponential(SECOND, SECOND * 10);
        assert_eq!(delays(backoff, 7), seconds(&[1, 2, 4, 8, 10, 10, 10]));
        let upside_down = Backoff::exponential(SECOND * 5, SECOND);
        assert_eq!(delays(upside_down, 2), seconds(&[5, 5]));
        assert_eq!(
            delays(Backoff::exponential(Duration::ZERO, SECOND), 2),
            seconds(&[0, 0])
        );
    }

    #[test]
    fn attempts_end_at_their_limit_until_reset() {
        let mut random = random();
        let mut backoff = Backoff::steps(&[SECOND]).with_attempts_max(4);
        let count = core::iter::from_fn(|| backoff.next(&mut random)).count();
        assert_eq!(count, 4);
        assert_eq!(backoff.attempts(), 4);
        backoff.reset();
        assert_eq!(backoff.attempts(), 0);
        assert_eq!(backoff.next(&mut random), Some(SECOND));
        assert_eq!(
            delays(Backoff::steps(&[SECOND]).with_attempts_max(0), 1),
            [None]
        );
    }

    #[test]
    fn everything_saturates() {
        let mut random = random();
        let mut backoff = Backoff::exponential(Duration::MAX, Duration::MAX);
        let longest = Duration::from_micros(u64::MAX);
        assert_eq!(backoff.next(&mut random), Some(longest));
        assert_eq!(backoff.next(&mut random), Some(longest));
        backoff.attempts = u32::MAX;
        assert_eq!(backoff.next(&mut random), Some(longest));
        assert_eq!(backoff.attempts(), u32::MAX);
        let mut full = Backoff::steps(&[Duration::MAX]).with_jitter_permille(u16::MAX);
        assert!(full.next(&mut random).is_some_and(|d| d <= Duration::MAX));
    }

    #[test]
    fn jitter_takes_off_no_more_than_its_fraction() {
        let mut random = random();
        let mut backoff = Backoff::steps(&[SECOND * 1_000]).with_jitter_permille(100);
        let delays: Vec<Duration> = (0..2_000)
            .filter_map(|_| backoff.next(&mut random))
            .collect();
        let (shortest, longest) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!(
            (SECOND * 900..SECOND * 902).contains(shortest),
            "{shortest:?}"
        );
        assert!(
            (SECOND * 998..=SECOND * 1_000).contains(longest),
            "{longest:?}"
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let backoff = Backoff::exponential(SECOND, SECOND * 60).with_jitter_permille(1_000);
        assert_eq!(delays(backoff.clone(), 20), delays(backoff.clone(), 20));
        let mut other = Random::from_seed([4; 32]);
        let mut again = backoff.clone();
        let others: Vec<_> = (0..20).map(|_| again.next(&mut other)).collect();
        assert_ne!(delays(backoff, 20), others);
    }

    #[test]
    fn without_jitter_nothing_is_drawn() {
        let (mut used, mut fresh) = (random(), random());
        Backoff::steps(&[SECOND]).next(&mut used);
        assert_eq!(used.next_u64(), fresh.next_u64());
    }
}
