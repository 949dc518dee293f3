//! The timer wheel; an operation is that of one timer.

use std::hint::black_box;

use super::scenario::{Scenario, counted};
use super::timers::{deadlines, emptied_wheel, full_wheel, shuffled};
use tautline_core::Instant;
use tautline_core::collections::{TimerKey, Wheel};

const SIZES: &[usize] = &[1_000, 1_000_000];

pub(crate) const SCENARIOS: &[Scenario] = &[
    timers("collections/timer-insert-in-order", |count| {
        insert(&in_order(count))
    }),
    timers("collections/timer-insert-shuffled", |count| {
        insert(&deadlines(count))
    }),
    timers("collections/timer-cancel-in-order", |count| {
        let (wheel, keys) = full_wheel(&deadlines(count));
        cancel(wheel, &keys)
    }),
    timers("collections/timer-cancel-shuffled", |count| {
        let (wheel, keys) = full_wheel(&deadlines(count));
        cancel(wheel, &shuffled(keys))
    }),
    timers("collections/timer-next-deadline", next_deadline),
    timers("collections/timer-expire-in-order", |count| {
        expire(&in_order(count))
    }),
    timers("collections/timer-expire-shuffled", |count| {
        expire(&deadlines(count))
    }),
];

const fn timers(name: &'static str, run: fn(usize) -> usize) -> Scenario {
    Scenario {
        name,
        unit: "timers",
        sizes: SIZES,
        run,
    }
}

fn in_order(count: usize) -> Vec<Instant> {
    let mut deadlines = deadlines(count);
    deadlines.sort();
    deadlines
}

fn insert(deadlines: &[Instant]) -> usize {
    let mut wheel = emptied_wheel(deadlines);
    counted(|| {
        for (at, value) in deadlines.iter().zip(0..) {
            wheel.insert(*at, value).expect("there is room");
        }
    });
    wheel.len()
}

fn cancel(mut wheel: Wheel<u32>, keys: &[TimerKey]) -> usize {
    counted(|| {
        for key in keys {
            black_box(wheel.cancel(*key));
        }
    });
    assert!(wheel.is_empty());
    keys.len()
}

fn next_deadline(count: usize) -> usize {
    const ASKED: usize = 1_000;
    let (wheel, _) = full_wheel(&deadlines(count));
    counted(|| {
        for _ in 0..ASKED {
            black_box(black_box(&wheel).next_deadline());
        }
    });
    ASKED
}

/// As an event loop does it: sleeps until the next deadline, takes what is due.
fn expire(deadlines: &[Instant]) -> usize {
    let (mut wheel, keys) = full_wheel(deadlines);
    counted(|| {
        while let Some(at) = wheel.next_deadline() {
            while let Some(value) = wheel.expire(at) {
                black_box(value);
            }
        }
    });
    assert!(wheel.is_empty());
    keys.len()
}
