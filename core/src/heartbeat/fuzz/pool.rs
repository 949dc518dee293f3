//! Connections that are held ready, against lists.

use alloc::vec::Vec;
use core::time::Duration;

use crate::collections::model::Script;
use crate::heartbeat::{Dropped, Pool, PoolEffect, PoolError, PoolSettings};
use crate::{Instant, Key, Machine};

const PLACES: u32 = 10;
const WAITING: usize = 4;
const FREQUENCY: Duration = Duration::from_secs(10);
/// In milliseconds, as silence is measured.
const HEARTBEAT: u128 = 35_000;

/// Any bytes as operations on a pool.
pub fn pool(data: &[u8]) {
    let _ = run(&mut Script(data));
}

fn run(script: &mut Script<'_>) -> Option<()> {
    let figure = |byte: u8, most: u8| u32::from(byte % most);
    let settings = PoolSettings {
        connections_min: figure(script.byte()?, 4),
        connections_max: figure(script.byte()?, 8),
        free_min: figure(script.byte()?, 3),
        free_max: figure(script.byte()?, 5),
        frequency: FREQUENCY,
        heartbeat: Duration::from_secs(35),
        searches: figure(script.byte()?, 4),
        search_pause: Duration::from_secs(1),
        waiting_max: WAITING as u32,
        places_max: PLACES,
    };
    let fits = settings.connections_min > 0
        && settings.connections_max >= settings.connections_min + settings.free_min
        && settings.free_max > settings.free_min
        && settings.searches > 0;
    let pool = Pool::new(Instant::ORIGIN, settings);
    assert_eq!(pool.is_ok(), fits);
    let mut pair = Pair {
        pool: pool.ok()?,
        settings,
        free: Vec::new(),
        used: Vec::new(),
        opening: 0,
        waiting: Vec::new(),
        now: Instant::ORIGIN,
        check_at: Instant::ORIGIN,
        monitor_at: None,
        generation: 0,
    };
    pair.drain();
    loop {
        match script.byte()? % 16 {
            0..4 => pair.request(),
            4 => pair.cancel(script)?,
            5..8 => pair.release(script)?,
            8 | 9 => pair.open(script)?,
            10 => pair.fail(),
            11 => pair.close(script)?,
            12 => pair.receive(script)?,
            _ => pair.keep_deadlines(script)?,
        }
        pair.drain();
        pair.compare();
    }
}

/// One that is free, with when it was heard; in this order.
type Free = (Key, Instant);

struct Pair {
    pool: Pool,
    settings: PoolSettings,
    free: Vec<Free>,
    used: Vec<Key>,
    opening: u32,
    waiting: Vec<(Key, Instant)>,
    now: Instant,
    check_at: Instant,
    /// When silence is looked for, if there is any connection.
    monitor_at: Option<Instant>,
    generation: u32,
}

impl Pair {
    fn request(&mut self) {
        match self.pool.request(self.now) {
            Ok(request) => {
                let pauses = self.settings.searches - 1;
                let until = self.now + Duration::from_secs(1) * pauses;
                self.waiting.push((request, until));
            }
            Err(error) => assert!(error == PoolError::Full && self.waiting.len() == WAITING),
        }
    }

    fn cancel(&mut self, script: &mut Script<'_>) -> Option<()> {
        let place = usize::from(script.byte()? % 5);
        let gone = Key::new(0, u32::MAX);
        let request = self
            .waiting
            .get(place)
            .map_or(gone, |(request, _)| *request);
        let waits = place < self.waiting.len();
        assert_eq!(self.pool.cancel(request), waits);
        if waits {
            self.waiting.remove(place);
        }
        Some(())
    }

    fn release(&mut self, script: &mut Script<'_>) -> Option<()> {
        let conn = self.choose(script)?;
        let told = self.pool.release(self.now, conn);
        match self.used.iter().position(|used| *used == conn) {
            Some(place) => {
                assert_eq!(told, Ok(()));
                self.used.remove(place);
                self.free.push((conn, self.now));
            }
            None => assert_eq!(told, Err(PoolError::NotGranted)),
        }
        Some(())
    }

    fn open(&mut self, script: &mut Script<'_>) -> Option<()> {
        self.generation += 1;
        let place = u32::from(script.byte()?) % (PLACES + 1);
        let conn = Key::new(place, self.generation);
        let told = self.pool.handle_opened(self.now, conn);
        let taken = self.all().any(|other| other.index() == conn.index());
        if self.opening == 0 {
            assert_eq!(told, Err(PoolError::NotAsked));
        } else if taken || place == PLACES {
            assert_eq!(told, Err(PoolError::Place));
        } else {
            assert_eq!(told, Ok(()));
            let monitor_at = self.now + FREQUENCY;
            self.monitor_at.get_or_insert(monitor_at);
            self.opening -= 1;
            self.free.push((conn, self.now));
        }
        Some(())
    }

    fn fail(&mut self) {
        assert_eq!(self.pool.handle_open_failed(), self.opening > 0);
        self.opening = self.opening.saturating_sub(1);
    }

    fn close(&mut self, script: &mut Script<'_>) -> Option<()> {
        let conn = self.choose(script)?;
        self.pool.handle_closed(conn);
        self.forget(conn);
        Some(())
    }

    fn receive(&mut self, script: &mut Script<'_>) -> Option<()> {
        let conn = self.choose(script)?;
        self.pool.handle_received(self.now, conn);
        if let Some(place) = self.free.iter().position(|(free, _)| *free == conn) {
            self.free.remove(place);
            self.free.push((conn, self.now));
        }
        Some(())
    }

    fn keep_deadlines(&mut self, script: &mut Script<'_>) -> Option<()> {
        for _ in 0..script.byte()? % 8 {
            let Some(at) = self.pool.poll_timeout() else {
                break;
            };
            self.now = self.now.max(at);
            self.pool.handle_timeout(self.now);
            self.drain();
        }
        Some(())
    }

    /// The effects that are to come, in their order.
    fn drain(&mut self) {
        loop {
            while !self.free.is_empty() && !self.waiting.is_empty() {
                let (request, _) = self.waiting.remove(0);
                let (conn, _) = self.free.pop().unwrap();
                self.used.push(conn);
                self.expect(PoolEffect::Granted { request, conn });
            }
            while self
                .waiting
                .first()
                .is_some_and(|(_, until)| *until <= self.now)
            {
                let (request, _) = self.waiting.remove(0);
                self.expect(PoolEffect::Refused { request });
            }
            if self.monitor_at.is_some_and(|at| at <= self.now) {
                self.monitor_at = self.monitor_at.map(|at| at + FREQUENCY);
                self.end_silent();
            }
            if self.check_at > self.now {
                break;
            }
            self.check_at = self.check_at + FREQUENCY;
            self.check();
        }
        assert_eq!(self.pool.poll(), None);
    }

    fn expect(&mut self, effect: PoolEffect) {
        assert_eq!(self.pool.poll(), Some(effect));
    }

    fn end_silent(&mut self) {
        let now = self.now;
        let silence = |heard: Instant| now.saturating_since(heard).as_millis();
        while let Some((conn, heard)) = self.free.first().copied() {
            if silence(heard) <= HEARTBEAT {
                break;
            }
            let Some(PoolEffect::Close {
                conn: closed,
                why: Dropped::Silent(ended),
            }) = self.pool.poll()
            else {
                panic!("{conn:?} was not dropped");
            };
            assert_eq!((closed, ended.conn), (conn, conn));
            assert_eq!(ended.silent_for.as_millis(), silence(heard));
            self.forget(conn);
        }
    }

    fn check(&mut self) {
        let PoolSettings {
            connections_min,
            connections_max,
            free_min,
            free_max,
            ..
        } = self.settings;
        let (free, open) = (self.free.len() as u32, self.open_len());
        for _ in 0..free.saturating_sub(free_max) {
            if self.open_len() == connections_min.min(open) {
                break;
            }
            let (conn, _) = self.free[0];
            self.forget(conn);
            let why = Dropped::Surplus;
            self.expect(PoolEffect::Close { conn, why });
        }
        let total = open + self.opening;
        let missing = free_min
            .saturating_sub(free + self.opening)
            .max(connections_min.saturating_sub(total))
            .min(connections_max.saturating_sub(total));
        for _ in 0..missing {
            self.opening += 1;
            self.expect(PoolEffect::Open);
        }
    }

    fn forget(&mut self, conn: Key) {
        self.free.retain(|(free, _)| *free != conn);
        self.used.retain(|used| *used != conn);
        if self.open_len() == 0 {
            self.monitor_at = None;
        }
    }

    fn open_len(&self) -> u32 {
        (self.free.len() + self.used.len()) as u32
    }

    fn all(&self) -> impl Iterator<Item = Key> {
        let free = self.free.iter().map(|(conn, _)| *conn);
        free.chain(self.used.iter().copied())
    }

    /// A connection, also one that is gone.
    fn choose(&self, script: &mut Script<'_>) -> Option<Key> {
        let place = usize::from(script.byte()? % 8);
        let gone = Key::new(place as u32, u32::MAX - 1);
        Some(self.all().nth(place).unwrap_or(gone))
    }

    fn compare(&self) {
        let PoolSettings {
            connections_max, ..
        } = self.settings;
        assert_eq!(self.pool.len(), self.open_len() as usize);
        assert_eq!(self.pool.free(), self.free.len());
        assert_eq!(self.pool.opening(), self.opening);
        assert_eq!(self.pool.waiting(), self.waiting.len());
        assert!(self.open_len() + self.opening <= connections_max);
        let until = self.waiting.first().map(|(_, until)| *until);
        let next = [Some(self.check_at), until, self.monitor_at];
        assert_eq!(self.pool.poll_timeout(), next.into_iter().flatten().min());
    }
}
