//! What may not allocate does not: budgets counted by the allocator.

use std::hint::black_box;

use tautline_tests::counting::{self, Counting, Counts};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_counter_counts_each_kind_once() {
    let ((), counts) = counting::count(|| {
        let mut grown: Vec<u8> = black_box(Vec::with_capacity(1));
        grown.reserve_exact(1_000);
        drop(black_box(grown));
    });
    let once = Counts {
        allocations: 1,
        reallocations: 1,
        deallocations: 1,
        bytes: 0,
    };
    assert_eq!(counts, once);
    assert!(counting::installed());
}

#[test]
fn bytes_are_those_that_are_held() {
    let (mut held, counts) = counting::count(|| black_box(Vec::<u8>::with_capacity(100)));
    assert_eq!(counts.bytes, 100);
    let ((), counts) = counting::count(|| held.reserve_exact(300));
    assert_eq!(counts.bytes, 200);
    let ((), counts) = counting::count(|| drop(held));
    assert_eq!(counts.bytes, -300);
}

#[test]
fn only_what_is_counted_counts() {
    let ((), counts) = counting::count(|| {
        counting::paused(|| {
            let other = std::thread::spawn(|| counting::count(|| drop(black_box(vec![1]))).1);
            let there = other.join().expect("the thread ends");
            assert_eq!(there.allocations, 1);
        });
    });
    assert_eq!(counts, Counts::NONE);
}

#[test]
fn a_panic_disarms_the_counter() {
    let caught = std::panic::catch_unwind(|| {
        counting::count(|| std::panic::resume_unwind(Box::new(1)));
    });
    assert!(caught.is_err());
    let outside = counting::paused(|| black_box(vec![1]).len());
    assert_eq!(outside, 1);
    let (_, counts) = counting::count(|| ());
    assert_eq!(counts, Counts::NONE);
}
