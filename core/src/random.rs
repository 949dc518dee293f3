//! Random numbers out of a seed that the driver hands in.

use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A deterministic generator, fit for keys: ChaCha with 12 rounds.
///
/// A driver seeds it from the operating system; a simulation from its seed.
#[derive(Clone, Debug)]
pub struct Random(ChaCha12Rng);

impl Random {
    /// A generator for 32 bytes of seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// A number of the whole range.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fills `bytes`, a key or an identity.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of a multiply-shift over 64 bits is below 2^-32 for every
        // bound that a delay or an index can have.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A span in `0..=window`, to the microsecond.
    pub fn within(&mut self, window: Duration) -> Duration {
        let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(micros.saturating_add(1)))
    }

    /// A span that lies up to so many percent of `span` to either side of it;
    /// at most 100.
    pub fn around(&mut self, span: Duration, percent: u32) -> Duration {
        let most = span / 100 * percent.min(100);
        (span - most).saturating_add(self.within(most.saturating_mul(2)))
    }
}
