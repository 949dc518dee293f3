//! Ends connections that were silent for too long.

use core::time::Duration;

use super::clock::{Clock, millis};
use super::terms::{Ended, Rule, SettingError, WatchError, check_span};
use crate::collections::{Chunks, Lru};
use crate::{Instant, Key, Machine};

/// The figures of a [`Monitor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    /// A connection that was silent for longer is ended. 1 s to 86,400 s; 0 is
    /// never.
    pub heartbeat: Duration,
    /// How often it looks. 1 s to 86,400 s; 0 is never.
    pub frequency: Duration,
    /// Connections at a time: their places are below it.
    pub connections_max: u32,
}

impl Default for MonitorSettings {
    /// The figures of `seeds/heartbeats`: every minute, 1201 s.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1_201),
            frequency: Duration::from_secs(60),
            connections_max: 65_536,
        }
    }
}

/// What a [`Monitor`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonitorStats {
    /// Connections that it ended.
    pub ended: u64,
    /// How often it looked.
    pub checks: u64,
    /// How often the clock jumped.
    pub jumps: u64,
}

/// The low bits of a tick, and whether an exchange is under way.
#[derive(Clone, Copy)]
struct Watched {
    generation: u32,
    heard: u32,
}

/// For each connection, links included.
pub(super) const BYTES: usize = size_of::<Watched>() + 8;

/// No connection that is watched has it.
const NOBODY: u32 = u32::MAX;
const BUSY: u32 = 1 << 31;

impl Watched {
    const NONE: Self = Self {
        generation: NOBODY,
        heard: 0,
    };

    /// Milliseconds since it was heard. A span of 24 days would be taken for
    /// a shorter one; nobody is silent for longer than two.
    const fn age(self, tick: u64) -> u32 {
        (tick as u32).wrapping_sub(self.heard) & !BUSY
    }
}

/// Ends what was silent for longer than `heartbeat`, looking every
/// `frequency`: a silent peer is ended between `heartbeat` and `heartbeat +
/// frequency` after it was last heard.
///
/// A connection in the middle of an exchange is not silent. What was heard
/// last is kept in order, so that bytes, a look and an end are O(1); a look
/// that ends thousands gives one with each [`poll`](Machine::poll). 16 bytes
/// for each connection.
pub struct Monitor {
    heartbeat: u32,
    frequency: u32,
    table: Chunks<Watched>,
    /// Those that are not in an exchange.
    order: Lru,
    watched: u32,
    /// The tick of the next look, if anybody is watched.
    check_at: Option<u64>,
    is_checking: bool,
    clock: Clock,
    stats: MonitorStats,
}

impl Monitor {
    /// A monitor of no connection.
    ///
    /// # Errors
    /// A figure is out of its range.
    pub fn new(settings: MonitorSettings) -> Result<Self, SettingError> {
        check_span("heartbeat", settings.heartbeat)?;
        check_span("frequency", settings.frequency)?;
        Ok(Self {
            heartbeat: millis(settings.heartbeat),
            frequency: millis(settings.frequency),
            table: Chunks::new(settings.connections_max),
            order: Lru::new(settings.connections_max),
            watched: 0,
            check_at: None,
            is_checking: false,
            clock: Clock::new(),
            stats: MonitorStats::default(),
        })
    }

    /// Watches a connection, as one that was heard now. Another one that had
    /// its place is forgotten.
    ///
    /// # Errors
    /// Its place is beyond `connections_max`; nothing is changed.
    pub fn insert(&mut self, now: Instant, conn: Key) -> Result<(), WatchError> {
        self.advance(now);
        let place = conn.index() as u32;
        if place >= self.table.len_max() || conn.generation() == NOBODY {
            return Err(WatchError::Place);
        }
        if let Some(old) = self.table.get(conn.index()).copied() {
            self.forget(Key::new(place, old.generation));
        }
        let heard = self.heard_now();
        let watched = self.table.get_or_grow(place, Watched::NONE);
        let watched = watched.ok_or(WatchError::Place)?;
        *watched = Watched {
            generation: conn.generation(),
            heard,
        };
        self.order.push_front(place);
        self.watched += 1;
        if self.check_at.is_none() && self.is_on() {
            self.check_at = Some(self.clock.tick() + u64::from(self.frequency));
        }
        Ok(())
    }

    /// The connection is gone, or is not to be watched any more.
    pub fn remove(&mut self, conn: Key) {
        self.forget(conn);
    }

    /// Bytes were received.
    pub fn handle_received(&mut self, now: Instant, conn: Key) {
        self.advance(now);
        let heard = self.heard_now();
        if let Some(watched) = self.find(conn).filter(|watched| watched.heard & BUSY == 0) {
            watched.heard = heard;
            self.order.touch(conn.index() as u32);
        }
    }

    /// An exchange begins: until it ends the connection is not silent.
    pub fn handle_exchange_begun(&mut self, now: Instant, conn: Key) {
        self.advance(now);
        if let Some(watched) = self.find(conn) {
            watched.heard |= BUSY;
            self.order.remove(conn.index() as u32);
        }
    }

    /// The exchange has ended: the connection waits, from now on.
    pub fn handle_exchange_ended(&mut self, now: Instant, conn: Key) {
        self.advance(now);
        let heard = self.heard_now();
        if let Some(watched) = self.find(conn).filter(|watched| watched.heard & BUSY != 0) {
            watched.heard = heard;
            self.order.push_front(conn.index() as u32);
        }
    }

    /// How many connections are watched.
    pub const fn len(&self) -> usize {
        self.watched as usize
    }

    /// Whether none is watched.
    pub const fn is_empty(&self) -> bool {
        self.watched == 0
    }

    /// What it did so far.
    pub const fn stats(&self) -> MonitorStats {
        MonitorStats {
            jumps: self.clock.jumps(),
            ..self.stats
        }
    }

    const fn is_on(&self) -> bool {
        self.heartbeat > 0 && self.frequency > 0
    }

    /// After a jump everybody has one more round.
    fn advance(&mut self, now: Instant) {
        if !self.clock.is_before(now) {
            return;
        }
        let due = self.poll_timeout();
        if self.clock.advance(now, due) && self.check_at.is_some() {
            self.is_checking = false;
            self.check_at = Some(self.clock.tick() + u64::from(self.frequency));
        }
    }

    const fn heard_now(&self) -> u32 {
        self.clock.tick() as u32 & !BUSY
    }

    fn find(&mut self, conn: Key) -> Option<&mut Watched> {
        let watched = self.table.get_mut(conn.index())?;
        (watched.generation == conn.generation() && watched.generation != NOBODY).then_some(watched)
    }

    fn forget(&mut self, conn: Key) {
        let Some(watched) = self.find(conn) else {
            return;
        };
        *watched = Watched::NONE;
        self.order.remove(conn.index() as u32);
        self.watched -= 1;
        if self.watched == 0 {
            self.check_at = None;
            self.is_checking = false;
        }
    }

    /// The one that was heard longest ago, if that is too long.
    fn silent(&self) -> Option<(Key, u32)> {
        let place = self.order.oldest()?;
        let watched = self.table[place];
        let age = watched.age(self.clock.tick());
        (age > self.heartbeat).then_some((Key::new(place, watched.generation), age))
    }
}

impl Machine for Monitor {
    type Effect = Ended;

    fn poll_timeout(&self) -> Option<Instant> {
        self.check_at.map(|tick| self.clock.moment(tick))
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        let tick = self.clock.tick();
        let Some(at) = self.check_at.filter(|at| *at <= tick) else {
            return;
        };
        let frequency = u64::from(self.frequency);
        let missed = (tick - at) / frequency;
        self.check_at = Some(at + (missed + 1) * frequency);
        self.is_checking = true;
        self.stats.checks += 1;
    }

    fn poll(&mut self) -> Option<Ended> {
        if !self.is_checking {
            return None;
        }
        let Some((conn, age)) = self.silent() else {
            self.is_checking = false;
            return None;
        };
        self.forget(conn);
        self.stats.ended += 1;
        Some(Ended {
            conn,
            silent_for: Duration::from_millis(age.into()),
            rule: Rule::Heartbeat,
        })
    }
}

#[cfg(test)]
mod tests;
