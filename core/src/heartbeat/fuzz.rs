//! The machines against lists that are searched.
//!
//! [`prober`], [`monitor`], [`learner`] and [`pool`] decode bytes into
//! operations, do them on the machine and on its model, and panic where the two
//! disagree.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

mod learner;
mod monitor;
mod pool;
mod prober;

pub use learner::learner;
pub use monitor::monitor;
pub use pool::pool;
pub use prober::prober;

use core::time::Duration;

use super::LATE_MAX;
use crate::Instant;

/// The model's time: what was slept through is taken off.
struct Awake {
    now: Instant,
    lost: Duration,
}

impl Awake {
    const NEW: Self = Self {
        now: Instant::ORIGIN,
        lost: Duration::ZERO,
    };

    /// Whether time jumped.
    fn pass(&mut self, span: Duration, due: Option<Instant>) -> bool {
        if span.is_zero() {
            return false;
        }
        self.now = self.now + span;
        let late = due.map_or(Duration::ZERO, |due| self.now.saturating_since(due));
        let jumps = late > LATE_MAX;
        if jumps {
            self.lost += late;
        }
        jumps
    }

    fn tick(&self) -> u64 {
        let awake = self.now.saturating_since(Instant::ORIGIN) - self.lost;
        awake.as_millis() as u64
    }

    fn moment(&self, tick: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(tick) + self.lost
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn the_monitor_ends_whom_its_model_ends(data in vec(any::<u8>(), 0..1_000)) {
            super::monitor(&data);
        }

        #[test]
        fn the_learner_learns_what_its_model_learns(data in vec(any::<u8>(), 0..1_000)) {
            super::learner(&data);
        }

        #[test]
        fn the_pool_holds_what_its_model_holds(data in vec(any::<u8>(), 0..1_000)) {
            super::pool(&data);
        }

        #[test]
        fn the_prober_asks_whom_its_model_asks(data in vec(any::<u8>(), 0..1_500)) {
            super::prober(&data);
        }
    }
}
