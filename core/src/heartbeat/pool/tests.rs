use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const START: Instant = Instant::from_micros(5_000_000);

const SETTINGS: PoolSettings = PoolSettings {
    connections_min: 2,
    connections_max: 6,
    free_min: 1,
    free_max: 3,
    frequency: Duration::from_secs(60),
    heartbeat: Duration::from_secs(1_201),
    searches: 3,
    search_pause: SECOND,
    waiting_max: 10,
    places_max: 20,
};

/// A pool whose connections open at once, and what it did.
struct Rig {
    pool: Pool,
    now: Instant,
    opened: u32,
    granted: Vec<Key>,
    refused: Vec<(Instant, Key)>,
    closed: Vec<(Key, Dropped)>,
}

impl Rig {
    fn new(settings: PoolSettings) -> Self {
        let mut rig = Self {
            pool: Pool::new(START, settings).unwrap(),
            now: START,
            opened: 0,
            granted: Vec::new(),
            refused: Vec::new(),
            closed: Vec::new(),
        };
        rig.drain();
        rig
    }

    fn drain(&mut self) {
        while let Some(effect) = self.pool.poll() {
            match effect {
                PoolEffect::Open => {
                    let conn = Key::new(self.opened, 0);
                    self.opened += 1;
                    self.pool.handle_opened(self.now, conn).unwrap();
                }
                PoolEffect::Close { conn, why } => self.closed.push((conn, why)),
                PoolEffect::Granted { conn, .. } => self.granted.push(conn),
                PoolEffect::Refused { request } => self.refused.push((self.now, request)),
            }
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.pool.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.pool.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    fn request(&mut self) -> Key {
        let request = self.pool.request(self.now).unwrap();
        self.drain();
        request
    }
}

#[test]
fn the_minimum_is_opened_at_once() {
    let rig = Rig::new(SETTINGS);
    assert_eq!((rig.pool.len(), rig.pool.free()), (2, 2));
}

#[test]
fn a_look_adds_while_too_few_are_free_up_to_the_maximum() {
    let mut rig = Rig::new(SETTINGS);
    for used in 1..=6 {
        rig.request();
        rig.run(60 * SECOND);
        assert_eq!(rig.granted.len(), used);
        assert!(rig.pool.len() <= 6);
        assert_eq!(rig.pool.free(), usize::from(used < 6), "{used} in use");
    }
    rig.request();
    rig.run(600 * SECOND);
    assert_eq!((rig.pool.len(), rig.refused.len()), (6, 1));
    assert!(rig.closed.is_empty(), "those in use are never dropped");
}

#[test]
fn a_look_drops_what_is_free_beyond_the_maximum_and_keeps_the_minimum() {
    let mut rig = Rig::new(SETTINGS);
    for _ in 0..6 {
        rig.request();
        rig.run(60 * SECOND);
    }
    for conn in rig.granted.clone() {
        rig.pool.release(rig.now, conn).unwrap();
    }
    rig.run(60 * SECOND);
    assert_eq!((rig.pool.len(), rig.pool.free()), (3, 3));
    let closed: Vec<_> = rig.closed.iter().map(|(conn, _)| *conn).collect();
    assert_eq!(closed, rig.granted[..3], "the most silent first");
    let mut rig = Rig::new(PoolSettings {
        connections_min: 5,
        ..SETTINGS
    });
    rig.run(600 * SECOND);
    assert_eq!((rig.pool.len(), rig.closed.len()), (5, 0));
}

#[test]
fn an_empty_pool_is_asked_three_times_a_second_apart() {
    let mut rig = Rig::new(PoolSettings {
        connections_max: 3,
        ..SETTINGS
    });
    rig.run(SECOND);
    for _ in 0..2 {
        rig.request();
    }
    let asked_at = rig.now;
    let refused = rig.request();
    rig.run(2 * SECOND - Duration::from_micros(1));
    assert!(rig.refused.is_empty());
    rig.run(SECOND);
    assert_eq!(rig.refused, [(asked_at + 2 * SECOND, refused)]);
    // One that comes free in between is enough, and goes to who waits longest.
    let [first, second] = [rig.request(), rig.request()];
    rig.run(SECOND);
    let conn = rig.granted[0];
    rig.pool.release(rig.now, conn).unwrap();
    assert_eq!(
        rig.pool.poll(),
        Some(PoolEffect::Granted {
            request: first,
            conn
        })
    );
    rig.run(2 * SECOND);
    assert_eq!(rig.refused[1].1, second);
    assert_eq!(rig.pool.waiting(), 0);
}

#[test]
fn with_one_search_a_request_fails_at_once() {
    let mut rig = Rig::new(PoolSettings {
        searches: 1,
        connections_max: 3,
        ..SETTINGS
    });
    (0..3).for_each(|_| _ = rig.request());
    assert_eq!(rig.refused.len(), 1);
}

#[test]
fn a_free_one_that_is_silent_for_too_long_is_dropped_and_replaced() {
    let mut rig = Rig::new(SETTINGS);
    let used = rig.request();
    assert_eq!(used.index(), 0);
    rig.run(1_140 * SECOND);
    assert_eq!(rig.pool.free(), 1);
    rig.run(180 * SECOND);
    let [(conn, Dropped::Silent(ended))] = rig.closed[..] else {
        panic!("{:?}", rig.closed);
    };
    assert!(conn != rig.granted[0] && ended.silent_for > 1_201 * SECOND);
    assert_eq!(rig.pool.free(), 1, "another one came");
    // Heartbeats keep it.
    let free = Key::new(rig.opened - 1, 0);
    for _ in 0..10 {
        rig.run(600 * SECOND);
        rig.pool.handle_received(rig.now, free);
    }
    assert_eq!(rig.closed.len(), 1);
}

#[test]
fn figures_that_do_not_fit_are_told() {
    let told = |settings| match Pool::new(START, settings) {
        Ok(_) => panic!("{settings:?} was taken"),
        Err(error) => error.to_string(),
    };
    let room = told(PoolSettings {
        connections_max: 2,
        ..SETTINGS
    });
    assert!(
        room.contains("connections_max is 2") && room.contains("2 + 1"),
        "{room}"
    );
    let free = told(PoolSettings {
        free_max: 1,
        ..SETTINGS
    });
    assert!(
        free.contains("free_max is 1") && free.contains("free_min, 1"),
        "{free}"
    );
    let none = told(PoolSettings {
        connections_min: 0,
        ..SETTINGS
    });
    assert!(none.contains("connections_min is 0"), "{none}");
    let never = told(PoolSettings {
        searches: 0,
        ..SETTINGS
    });
    assert!(never.contains("searches"), "{never}");
    let often = told(PoolSettings {
        frequency: Duration::from_millis(1),
        ..SETTINGS
    });
    assert!(often.contains("frequency is 1ms"), "{often}");
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let mut rig = Rig::new(SETTINGS);
    let conn = Key::new(9, 0);
    assert_eq!(
        rig.pool.handle_opened(START, conn),
        Err(PoolError::NotAsked)
    );
    assert_eq!(rig.pool.release(START, conn), Err(PoolError::NotGranted));
    assert!(!rig.pool.handle_open_failed());
    rig.pool.handle_closed(conn);
    for _ in 0..12 {
        let _ = rig.pool.request(START);
    }
    assert_eq!(rig.pool.waiting(), 10);
    assert_eq!(rig.pool.request(START), Err(PoolError::Full));
}

#[test]
fn a_connection_that_can_not_be_opened_is_asked_for_at_the_next_look() {
    let mut pool = Pool::new(START, SETTINGS).unwrap();
    let effects = |pool: &mut Pool| core::iter::from_fn(|| pool.poll()).count();
    assert_eq!(effects(&mut pool), 2);
    assert!(pool.handle_open_failed() && pool.handle_open_failed());
    assert_eq!(effects(&mut pool), 0);
    let next = pool.poll_timeout().unwrap();
    assert_eq!(next, START + 60 * SECOND);
    pool.handle_timeout(next);
    assert_eq!(effects(&mut pool), 2);
    pool.handle_timeout(next + 60 * SECOND);
    assert_eq!(effects(&mut pool), 0, "they are still opening");
}
