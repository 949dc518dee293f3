use alloc::vec::Vec;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const START: Instant = Instant::from_micros(77_777_000);

fn conn(place: u32) -> Key {
    Key::new(place, 1)
}

fn monitor(heartbeat: u64, frequency: u64) -> Monitor {
    Monitor::new(MonitorSettings {
        heartbeat: Duration::from_secs(heartbeat),
        frequency: Duration::from_secs(frequency),
        connections_max: 10_000,
    })
    .unwrap()
}

/// The ends up to a moment, with when they came.
fn run(monitor: &mut Monitor, until: Instant) -> Vec<(Instant, Ended)> {
    let mut ended = Vec::new();
    while let Some(at) = monitor.poll_timeout().filter(|at| *at <= until) {
        monitor.handle_timeout(at);
        ended.extend(core::iter::from_fn(|| monitor.poll()).map(|one| (at, one)));
        assert!(monitor.poll_timeout().is_none_or(|next| next > at));
    }
    ended
}

#[test]
fn h1_with_the_figures_of_the_seed_a_silent_peer_is_ended_between_1201_and_1261_seconds() {
    // Whenever it was heard last, to the microsecond.
    for micros in (0..60_000_000).step_by(777_777).chain([0, 1, 59_999_999]) {
        let mut monitor = monitor(1_201, 60);
        monitor.insert(START, conn(0)).unwrap();
        let heard = START + Duration::from_micros(micros);
        assert!(run(&mut monitor, heard).is_empty());
        monitor.handle_received(heard, conn(0));
        let ended = run(&mut monitor, heard + 5_000 * SECOND);
        let [
            (
                at,
                Ended {
                    silent_for, rule, ..
                },
            ),
        ] = ended[..]
        else {
            panic!("{ended:?}");
        };
        let silent = at.saturating_since(heard);
        assert!(
            silent >= 1_201 * SECOND && silent <= 1_261 * SECOND,
            "{silent:?}"
        );
        let error = silent_for.abs_diff(silent);
        assert!(
            error <= Duration::from_millis(1),
            "{silent_for:?}, {silent:?}"
        );
        assert_eq!(rule, Rule::Heartbeat);
        assert!(monitor.is_empty());
    }
}

#[test]
fn h1_who_is_heard_every_two_periods_is_never_ended() {
    let mut monitor = monitor(1_201, 60);
    monitor.insert(START, conn(0)).unwrap();
    for round in 1..200 {
        let now = START + round * 1_200 * SECOND;
        assert!(run(&mut monitor, now).is_empty());
        monitor.handle_received(now, conn(0));
    }
}

#[test]
fn h2_without_heartbeats_death_is_noticed_by_the_limit() {
    let mut monitor = monitor(2, 1);
    monitor.insert(START, conn(0)).unwrap();
    let ended = run(&mut monitor, START + 10 * SECOND);
    assert_eq!(ended[0].0, START + 3 * SECOND);
}

#[test]
fn a_connection_in_the_middle_of_an_exchange_is_not_silent() {
    let mut monitor = monitor(10, 1);
    monitor.insert(START, conn(0)).unwrap();
    monitor.handle_exchange_begun(START, conn(0));
    assert!(run(&mut monitor, START + 1_000 * SECOND).is_empty());
    monitor.handle_received(START + 1_000 * SECOND, conn(0));
    assert!(run(&mut monitor, START + 2_000 * SECOND).is_empty());
    monitor.handle_exchange_ended(START + 2_000 * SECOND, conn(0));
    let ended = run(&mut monitor, START + 3_000 * SECOND);
    assert_eq!(ended[0].0, START + 2_011 * SECOND);
}

#[test]
fn nine_thousand_that_end_at_once_come_one_by_one_in_the_order_of_their_silence() {
    let mut monitor = monitor(100, 10);
    for place in 0..10_000 {
        monitor.insert(START, conn(place)).unwrap();
    }
    assert!(run(&mut monitor, START + 50 * SECOND).is_empty());
    for place in 0..1_000 {
        monitor.handle_received(START + 50 * SECOND, conn(place));
    }
    assert!(run(&mut monitor, START + 100 * SECOND).is_empty());
    monitor.handle_timeout(START + 110 * SECOND);
    assert!(monitor.poll().is_some());
    // Bytes that are read meanwhile count.
    monitor.handle_received(START + 110 * SECOND, conn(9_999));
    assert_eq!(core::iter::from_fn(|| monitor.poll()).count(), 8_998);
    assert_eq!(monitor.len(), 1_001);
    assert_eq!(monitor.stats().ended, 8_999);
}

#[test]
fn zero_is_never() {
    for (heartbeat, frequency) in [(0, 60), (1_201, 0), (0, 0)] {
        let mut monitor = monitor(heartbeat, frequency);
        monitor.insert(START, conn(0)).unwrap();
        assert_eq!(monitor.poll_timeout(), None);
        monitor.handle_timeout(Instant::MAX);
        assert_eq!(monitor.poll(), None);
    }
}

#[test]
fn h4_a_clock_that_jumps_by_hours_leaves_another_round() {
    let mut monitor = monitor(1_201, 60);
    monitor.insert(START, conn(0)).unwrap();
    monitor.insert(START, conn(1)).unwrap();
    assert!(run(&mut monitor, START + 1_200 * SECOND).is_empty());
    // It sleeps just before it would have looked.
    let woke = START + 30_000 * SECOND;
    monitor.handle_timeout(woke);
    assert_eq!(monitor.poll(), None);
    assert_eq!(monitor.poll_timeout(), Some(woke + 60 * SECOND));
    monitor.handle_received(woke + SECOND, conn(1));
    let ended = run(&mut monitor, woke + 60 * SECOND);
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(ended[0].1.conn, conn(0));
    assert_eq!(
        ended[0].1.silent_for,
        1_320 * SECOND,
        "awake, rounded up to the look"
    );
    assert_eq!(monitor.stats().jumps, 1);
}

#[test]
fn h4_bytes_that_wait_are_read_first_also_when_they_come_before_the_timeout() {
    let mut monitor = monitor(100, 10);
    monitor.insert(START, conn(0)).unwrap();
    monitor.insert(START, conn(1)).unwrap();
    let woke = START + 5_000 * SECOND;
    monitor.handle_received(woke, conn(0));
    assert!(run(&mut monitor, woke + 90 * SECOND).is_empty());
    assert_eq!(run(&mut monitor, woke + 100 * SECOND).len(), 1);
}

#[test]
fn the_machine_sleeps_when_nobody_is_there() {
    let mut monitor = monitor(100, 10);
    monitor.insert(START, conn(0)).unwrap();
    assert_eq!(monitor.poll_timeout(), Some(START + 10 * SECOND));
    monitor.remove(conn(0));
    assert_eq!(monitor.poll_timeout(), None);
    // No jump: it did not ask to be called.
    monitor.insert(START + 9_000 * SECOND, conn(0)).unwrap();
    assert_eq!(monitor.stats().jumps, 0);
}

#[test]
fn old_keys_find_nothing_and_places_beyond_the_limit_are_refused() {
    let mut monitor = monitor(100, 10);
    monitor.insert(START, conn(0)).unwrap();
    monitor.insert(START, Key::new(0, 2)).unwrap();
    monitor.remove(conn(0));
    monitor.handle_exchange_begun(START, conn(0));
    assert_eq!(monitor.len(), 1);
    for refused in [conn(10_000), Key::new(1, u32::MAX)] {
        assert_eq!(monitor.insert(START, refused), Err(WatchError::Place));
        monitor.remove(refused);
        monitor.handle_received(START, refused);
    }
    let told = Monitor::new(MonitorSettings {
        heartbeat: 86_401 * SECOND,
        ..MonitorSettings::default()
    });
    assert!(matches!(
        told,
        Err(SettingError::Span {
            name: "heartbeat",
            ..
        })
    ));
    assert_eq!(run(&mut monitor, START + 200 * SECOND).len(), 1);
}
