use super::*;
use alloc::vec::Vec;
use core::time::Duration;

fn micros(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn drain<T: Copy>(wheel: &mut Wheel<T>, now: Instant) -> Vec<T> {
    core::iter::from_fn(|| wheel.expire(now)).collect()
}

#[test]
fn deadlines_are_rounded_up_to_the_millisecond() {
    for (at, due) in [
        (0, 0),
        (1, 1_000),
        (999, 1_000),
        (1_000, 1_000),
        (1_001, 2_000),
    ] {
        let mut wheel = Wheel::new(1);
        wheel.insert(micros(at), ()).unwrap();
        assert_eq!(wheel.next_deadline(), Some(micros(due)), "{at}");
        if due > 0 {
            assert_eq!(wheel.expire(micros(due - 1)), None, "{at}");
        }
        assert_eq!(wheel.expire(micros(due)), Some(()), "{at}");
    }
}

#[test]
fn timers_of_a_tick_keep_their_order_over_cascades() {
    let at = Instant::ORIGIN + Duration::from_secs(100_000);
    let mut wheel = Wheel::new(10);
    wheel.insert(at, 1).unwrap();
    wheel.insert(at + Duration::from_millis(1), 9).unwrap();
    assert_eq!(
        wheel.expire(Instant::ORIGIN + Duration::from_secs(99_990)),
        None
    );
    wheel.insert(at, 2).unwrap();
    let moved = wheel.insert(at, 4).unwrap();
    wheel.insert(at, 3).unwrap();
    assert!(wheel.reschedule(moved, at));
    assert_eq!(
        drain(&mut wheel, at + Duration::from_secs(1)),
        [1, 2, 3, 4, 9]
    );
}

#[test]
fn every_moment_can_be_a_deadline() {
    let mut wheel = Wheel::new(200);
    for bit in 0..64 {
        wheel.insert(micros(1 << bit), bit).unwrap();
    }
    wheel.insert(Instant::MAX, 64).unwrap();
    assert_eq!(wheel.expire(Instant::ORIGIN), None);
    assert!(wheel.next_deadline().is_some_and(|at| at > Instant::ORIGIN));
    assert_eq!(
        drain(&mut wheel, Instant::MAX),
        (0..=64).collect::<Vec<_>>()
    );
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn a_jump_of_years_moves_few_timers() {
    let year = Duration::from_secs(365 * 86_400);
    let mut wheel = Wheel::new(3);
    wheel.insert(Instant::ORIGIN + year * 100, 'a').unwrap();
    wheel.insert(Instant::ORIGIN + year * 500, 'b').unwrap();
    assert_eq!(wheel.expire(Instant::ORIGIN + year * 99), None);
    assert_eq!(wheel.next_deadline(), Some(Instant::ORIGIN + year * 100));
    assert_eq!(drain(&mut wheel, Instant::ORIGIN + year * 501), ['a', 'b']);
    let next = Instant::ORIGIN + year * 502;
    wheel.insert(next, 'c').unwrap();
    assert_eq!(wheel.next_deadline(), Some(next));
}

#[test]
fn what_is_past_is_due_at_once() {
    let now = micros(5_000_000);
    let mut wheel = Wheel::new(3);
    assert_eq!(wheel.expire(now), None);
    wheel.insert(micros(7), 'a').unwrap();
    assert!(wheel.next_deadline().is_some_and(|at| at <= now));
    assert_eq!(
        wheel.expire(micros(0)),
        Some('a'),
        "time does not go backwards"
    );
}

#[test]
fn next_deadline_is_exact_until_the_earliest_is_taken_back() {
    let minute = Instant::ORIGIN + Duration::from_secs(60);
    let mut wheel = Wheel::new(3);
    let first = wheel.insert(minute, 'a').unwrap();
    let later = wheel
        .insert(minute + Duration::from_millis(90), 'b')
        .unwrap();
    assert_eq!(wheel.next_deadline(), Some(minute));
    wheel.cancel(first);
    assert_eq!(wheel.next_deadline(), Some(minute), "they shared a slot");
    assert_eq!(wheel.expire(minute), None);
    assert_eq!(wheel.next_deadline(), wheel.deadline(later));
}

#[test]
fn a_full_wheel_says_so() {
    let mut wheel = Wheel::new(1);
    let key = wheel.insert(micros(1), 'a').unwrap();
    assert_eq!(wheel.insert(micros(2), 'b'), Err(Full(())));
    assert_eq!(wheel.cancel(key), Some('a'));
    assert!(wheel.insert(micros(2), 'b').is_ok());
    assert!(Wheel::new(0).insert(micros(1), ()).is_err());
}

#[test]
fn old_keys_find_nothing() {
    let mut wheel = Wheel::new(1);
    let old = wheel.insert(micros(1_000), 'a').unwrap();
    assert_eq!(wheel.expire(micros(1_000)), Some('a'));
    assert_eq!(wheel.cancel(old), None);
    let new = wheel.insert(micros(2_000), 'b').unwrap();
    assert_eq!(old.key().index(), new.key().index());
    assert!(!wheel.reschedule(old, micros(9)));
    assert_eq!((wheel.get(old), wheel.get(new)), (None, Some('b')));
    assert_eq!((wheel.deadline(old), wheel.len()), (None, 1));
}

#[test]
fn a_place_with_no_generations_left_is_retired() {
    let mut wheel = Wheel::new(2);
    let key = wheel.insert(micros(1), 'a').unwrap();
    wheel.cancel(key);
    wheel.timers[0].generation = u32::MAX;
    let last = wheel.insert(micros(1), 'b').unwrap();
    assert_eq!(last.key(), Key::new(0, u32::MAX));
    assert_eq!(wheel.cancel(last), Some('b'));
    assert_eq!(wheel.capacity_max(), 1);
    assert_eq!(wheel.cancel(last), None);
    assert_eq!(wheel.cancel(key), None);
    let other = wheel.insert(micros(1), 'c').unwrap();
    assert_eq!(other.key().index(), 1);
    assert_eq!(wheel.insert(micros(1), 'd'), Err(Full(())));
}

#[test]
fn the_high_water_mark_stays() {
    let mut wheel = Wheel::new(5_000);
    for round in 0..4 {
        let keys: Vec<TimerKey> = (0..3_000)
            .map(|n| wheel.insert(micros(n * 1_000_000), n).unwrap())
            .collect();
        assert_eq!(wheel.timers.len(), 3_000, "round {round}");
        keys.into_iter().for_each(|key| {
            wheel.cancel(key);
        });
    }
    assert!(wheel.is_empty());
}
