//! Random draws out of one seed: the same on every machine and every run.

use core::ops::Range;
use core::time::Duration;

/// A small, fast generator (SplitMix64). It decides what a test does; machines
/// under test have their own [`Random`](tautline_core::Random).
///
/// ```
/// use tautline_tests::Dice;
///
/// let (mut left, mut right) = (Dice::new(7), Dice::new(7));
/// assert_eq!(left.next_u64(), right.next_u64());
/// assert!(left.below(6) < 6);
/// ```
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            state: mix(seed ^ 0x7461_7574_6c69_6e65),
        }
    }

    /// The dice of the `step`th step of a seed; the steps do not depend on how
    /// much an earlier one drew.
    pub fn of_step(seed: u64, step: u64) -> Self {
        Self::new(mix(seed).wrapping_add(mix(step.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
    }

    /// Other dice, whose draws do not disturb these.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// A number of the whole range.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// An index below `len`; 0 if `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number of the range, its start if it is empty.
    pub fn between(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// A span of the range, to the microsecond.
    pub fn span(&mut self, range: Range<Duration>) -> Duration {
        Duration::from_micros(
            self.between(range.start.as_micros() as u64..range.end.as_micros() as u64),
        )
    }

    /// True once in `n` times on average.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// True `ppm` times in a million on average.
    pub fn per_million(&mut self, ppm: u32) -> bool {
        self.below(1_000_000) < u64::from(ppm)
    }

    /// One of the items.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let draw = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&draw[..chunk.len()]);
        }
    }

    /// Between 1 and `len_max` random bytes.
    pub fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        let mut bytes = vec![0; 1 + self.index(len_max.max(1))];
        self.fill(&mut bytes);
        bytes
    }

    /// 32 random bytes, a seed for [`Random`](tautline_core::Random).
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        seed
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_their_bounds_and_reach_them() {
        let mut dice = Dice::new(1);
        let mut seen = [false; 6];
        for _ in 0..200 {
            seen[dice.index(6)] = true;
            assert!((3..5).contains(&dice.between(3..5)));
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.between(9..9), 9);
    }

    #[test]
    fn rates_are_met() {
        let mut dice = Dice::new(2);
        let hits = (0..100_000).filter(|_| dice.per_million(100_000)).count();
        assert!((9_000..11_000).contains(&hits), "{hits}");
        assert!(!dice.per_million(0));
        assert!(dice.per_million(1_000_000));
    }

    #[test]
    fn steps_of_a_seed_differ() {
        let draws: std::collections::BTreeSet<u64> = (0..1_000)
            .map(|step| Dice::of_step(3, step).next_u64())
            .collect();
        assert_eq!(draws.len(), 1_000);
    }
}
