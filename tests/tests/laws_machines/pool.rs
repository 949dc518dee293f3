//! Connections to a server that are held ready.

use core::time::Duration;

use tautline_core::heartbeat::{Pool, PoolEffect, PoolSettings};
use tautline_core::{Instant, Key};
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};
use tautline_tests::{Dice, counting};

use super::{assert_lawful, census};

const SETTINGS: PoolSettings = PoolSettings {
    connections_min: 2,
    connections_max: 8,
    free_min: 1,
    free_max: 3,
    frequency: Duration::from_secs(10),
    heartbeat: Duration::from_secs(35),
    searches: 3,
    search_pause: Duration::from_secs(1),
    waiting_max: 6,
    places_max: 16,
};

#[derive(Default)]
struct PoolCase {
    /// How many connections opened; the handles of each place rise.
    opened: u32,
    asked: u32,
    open: Vec<Key>,
    used: Vec<Key>,
    requests: Vec<Key>,
}

impl PoolCase {
    fn open(&mut self, pool: &mut Pool, now: Instant) {
        let taken = |place: &u32| self.open.iter().any(|conn| conn.index() == *place as usize);
        let place = (0..SETTINGS.places_max).find(|place| !taken(place));
        self.opened += 1;
        let conn = Key::new(place.expect("one is free"), self.opened);
        self.asked -= 1;
        pool.handle_opened(now, conn).expect("it was asked for");
        self.open.push(conn);
    }

    fn request(&mut self, pool: &mut Pool, now: Instant) {
        if let Ok(request) = pool.request(now) {
            self.requests.push(request);
        }
    }

    fn release(&mut self, pool: &mut Pool, now: Instant) {
        if let Some(conn) = self.used.pop() {
            pool.release(now, conn).expect("it was granted");
        }
    }

    fn close(&mut self, pool: &mut Pool, dice: &mut Dice) {
        if self.open.is_empty() {
            return;
        }
        let conn = self.open.swap_remove(dice.index(self.open.len()));
        self.used.retain(|used| *used != conn);
        pool.handle_closed(conn);
    }

    fn receive(&mut self, pool: &mut Pool, now: Instant, dice: &mut Dice) {
        if !self.open.is_empty() {
            pool.handle_received(now, *dice.pick(&self.open));
        }
    }
}

impl MachineCase for PoolCase {
    type Machine = Pool;
    const NAME: &'static str = "pool";

    fn new(_seed: u64) -> (Pool, Self) {
        let pool = Pool::new(Instant::ORIGIN, SETTINGS).expect("they fit");
        (pool, Self::default())
    }

    fn act(&mut self, pool: &mut Pool, now: Instant, dice: &mut Dice, _: &mut Log) {
        match dice.below(10) {
            0..=2 => self.request(pool, now),
            3 | 4 if self.asked > 0 => self.open(pool, now),
            5 if pool.handle_open_failed() => self.asked -= 1,
            6 | 7 => self.release(pool, now),
            8 => self.receive(pool, now, dice),
            9 if dice.one_in(3) => self.close(pool, dice),
            9 if !self.requests.is_empty() => {
                let request = self.requests.swap_remove(dice.index(self.requests.len()));
                pool.cancel(request);
            }
            _ => {}
        }
    }

    fn effect(&mut self, _: &mut Pool, _: Instant, effect: PoolEffect, log: &mut Log) {
        log.event(&effect);
        counting::paused(|| match effect {
            PoolEffect::Open => self.asked += 1,
            PoolEffect::Close { conn, .. } => self.open.retain(|open| *open != conn),
            PoolEffect::Granted { request, conn } => {
                self.requests.retain(|waits| *waits != request);
                self.used.push(conn);
            }
            PoolEffect::Refused { request } => self.requests.retain(|waits| *waits != request),
        });
    }

    fn misuse(&mut self, pool: &mut Pool, now: Instant, dice: &mut Dice) -> Result<Misuse, String> {
        let refused = match dice.below(3) {
            0 => pool.release(now, Key::new(SETTINGS.places_max, 0)).is_err(),
            1 => !pool.cancel(Key::new(0, u32::MAX)),
            _ => pool
                .handle_opened(now, Key::new(SETTINGS.places_max, 0))
                .is_err(),
        };
        match refused {
            true => Ok(Misuse::Refused),
            false => Err("a misuse was accepted".to_owned()),
        }
    }

    fn flood(&mut self, pool: &mut Pool, now: Instant, dice: &mut Dice, _: &mut Log) {
        match self.asked > 0 && dice.one_in(2) {
            true => self.open(pool, now),
            false => self.request(pool, now),
        }
    }

    fn census(&self, pool: &Pool) -> Vec<Census> {
        let connections = pool.len() + pool.opening() as usize;
        vec![
            census(
                "connections_max",
                connections,
                SETTINGS.connections_max as usize,
            ),
            census("waiting_max", pool.waiting(), SETTINGS.waiting_max as usize),
        ]
    }

    /// Requests that come and go, connections that open and close.
    fn steady(&mut self, pool: &mut Pool, now: Instant, dice: &mut Dice) -> bool {
        while self.asked > 0 {
            counting::paused(|| self.open.reserve(1));
            self.open(pool, now);
        }
        counting::paused(|| self.requests.reserve(1));
        self.request(pool, now);
        if dice.one_in(2) {
            self.release(pool, now);
        }
        self.receive(pool, now, dice);
        if dice.one_in(20) {
            self.close(pool, dice);
        }
        true
    }
}

#[test]
fn the_pool_keeps_all_laws() {
    let tally = assert_lawful::<PoolCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.tables == 2 && tally.steady > 0,
        "{tally:?}"
    );
}
