//! Timers by the number, for benchmarks of the wheel.

use std::time::Duration;

use tautline_core::collections::{TimerKey, Wheel};
use tautline_core::{Instant, Random};

pub(crate) fn random() -> Random {
    Random::from_seed([7; 32])
}

/// Deadlines in the hour after the origin.
pub(crate) fn deadlines(count: usize) -> Vec<Instant> {
    let mut random = random();
    let hour = Duration::from_secs(3_600);
    (0..count)
        .map(|_| Instant::ORIGIN + random.within(hour))
        .collect()
}

pub(crate) fn shuffled<T>(mut items: Vec<T>) -> Vec<T> {
    let mut random = random();
    for index in (1..items.len()).rev() {
        items.swap(index, random.below(index as u64 + 1) as usize);
    }
    items
}

pub(crate) fn full_wheel(deadlines: &[Instant]) -> (Wheel<u32>, Vec<TimerKey>) {
    let mut wheel = Wheel::new(deadlines.len() as u32);
    let keys = deadlines
        .iter()
        .zip(0..)
        .map(|(at, value)| wheel.insert(*at, value).expect("there is room"))
        .collect();
    (wheel, keys)
}

/// A wheel that held as many before, and grows no more.
pub(crate) fn emptied_wheel(deadlines: &[Instant]) -> Wheel<u32> {
    let (mut wheel, keys) = full_wheel(deadlines);
    for key in keys.into_iter().rev() {
        wheel.cancel(key);
    }
    wheel
}
