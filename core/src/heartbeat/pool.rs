//! Connections to a server that are held ready.

mod terms;
#[cfg(test)]
mod tests;

use core::time::Duration;

use crate::collections::{Chunks, Lru, ReadyList, Slab};
use crate::heartbeat::{Monitor, MonitorSettings};
use crate::{Instant, Key, Machine};
pub use terms::{Dropped, PoolEffect, PoolError, PoolSettingError, PoolSettings};

/// Holds connections to one server ready for requests (`facts.md`, section 3).
///
/// Every `frequency`, and at its start, it adds connections if fewer than
/// `free_min` are free or there are fewer than `connections_min`, up to
/// `connections_max`, and drops free ones beyond `free_max`, the most silent
/// first, but never below `connections_min` and never one in use. A free one
/// that was silent for longer than `heartbeat` is dropped, too: a [`Monitor`]
/// sees to it.
///
/// A [`Prober`](super::Prober) beside it keeps firewalls from forgetting the
/// free ones: tell it of each that is opened or released, and to leave alone
/// what is granted or closed. `runtime-std/examples/pool.rs` does.
///
/// A request takes the connection that was heard last. If none is free, it
/// looks `searches` times, `search_pause` apart, and is refused then; requests
/// are served in their order, also in between, when a connection comes free.
///
/// Everything is O(1).
pub struct Pool {
    settings: PoolSettings,
    monitor: Monitor,
    members: Chunks<Member>,
    /// The places of those that are free, in the order they were heard.
    free: Lru,
    used: u32,
    opening: u32,
    /// Requests, and until when they wait.
    requests: Slab<Instant>,
    waiting: ReadyList,
    check_at: Option<Instant>,
    /// What is left to do of the last look.
    to_open: u32,
    to_drop: u32,
    now: Instant,
}

/// A connection, by its place.
#[derive(Clone, Copy)]
struct Member {
    generation: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Gone,
    Free,
    Used,
}

impl Member {
    const GONE: Self = Self {
        generation: 0,
        state: State::Gone,
    };
}

impl Pool {
    /// An empty pool, which looks for the first time at `now`.
    ///
    /// # Errors
    /// The figures do not fit each other.
    pub fn new(now: Instant, settings: PoolSettings) -> Result<Self, PoolSettingError> {
        settings.check()?;
        let monitor = Monitor::new(MonitorSettings {
            heartbeat: settings.heartbeat,
            frequency: settings.frequency,
            connections_max: settings.places_max,
        })?;
        Ok(Self {
            monitor,
            members: Chunks::new(settings.places_max),
            free: Lru::new(settings.places_max),
            used: 0,
            opening: 0,
            requests: Slab::new(settings.waiting_max),
            waiting: ReadyList::new(settings.waiting_max),
            check_at: Some(now),
            to_open: 0,
            to_drop: 0,
            now,
            settings,
        })
    }

    /// A request needs a connection: [`PoolEffect::Granted`] or
    /// [`PoolEffect::Refused`] follow.
    ///
    /// # Errors
    /// [`PoolError::Full`].
    pub fn request(&mut self, now: Instant) -> Result<Key, PoolError> {
        self.advance(now);
        let pauses = self.settings.searches - 1;
        let until = self.now + self.settings.search_pause.saturating_mul(pauses);
        let request = self.requests.insert(until).map_err(|_| PoolError::Full)?;
        self.waiting.push(request.index() as u32);
        Ok(request)
    }

    /// The request waits no longer. False if it is over already.
    pub fn cancel(&mut self, request: Key) -> bool {
        let waits = self.requests.remove(request).is_some();
        waits && self.waiting.remove(request.index() as u32)
    }

    /// The request that was granted the connection is done with it.
    ///
    /// # Errors
    /// [`PoolError::NotGranted`], also when the connection is gone.
    pub fn release(&mut self, now: Instant, conn: Key) -> Result<(), PoolError> {
        self.advance(now);
        if self.state(conn) != State::Used {
            return Err(PoolError::NotGranted);
        }
        self.used -= 1;
        self.members[conn.index() as u32].state = State::Free;
        self.free.push_front(conn.index() as u32);
        self.monitor.handle_exchange_ended(now, conn);
        Ok(())
    }

    /// A connection that was asked for is open.
    ///
    /// # Errors
    /// [`PoolError::NotAsked`] or [`PoolError::Place`]: it is not the pool's,
    /// and the caller closes it.
    pub fn handle_opened(&mut self, now: Instant, conn: Key) -> Result<(), PoolError> {
        self.advance(now);
        if self.opening == 0 {
            return Err(PoolError::NotAsked);
        }
        let place = conn.index() as u32;
        let known = self.members.get(conn.index());
        if known.is_some_and(|member| member.state != State::Gone) {
            return Err(PoolError::Place);
        }
        let watched = self.monitor.insert(now, conn);
        watched.map_err(|_| PoolError::Place)?;
        let member = self.members.get_or_grow(place, Member::GONE);
        *member.ok_or(PoolError::Place)? = Member {
            generation: conn.generation(),
            state: State::Free,
        };
        self.opening -= 1;
        self.free.push_front(place);
        Ok(())
    }

    /// A connection that was asked for can not be opened; the next look asks
    /// again. False if none was asked for.
    pub const fn handle_open_failed(&mut self) -> bool {
        let asked = self.opening > 0;
        if asked {
            self.opening -= 1;
        }
        asked
    }

    /// The connection is gone, free or not; one that was too few is opened at the
    /// next look. What a [`PoolEffect::Close`] names is forgotten already.
    pub fn handle_closed(&mut self, conn: Key) {
        self.monitor.remove(conn);
        self.forget(conn);
    }

    /// Bytes were received, a heartbeat perhaps.
    pub fn handle_received(&mut self, now: Instant, conn: Key) {
        self.advance(now);
        if self.state(conn) == State::Free {
            self.free.touch(conn.index() as u32);
        }
        self.monitor.handle_received(now, conn);
    }

    /// Connections that are open.
    pub const fn len(&self) -> usize {
        self.free.len() + self.used as usize
    }

    /// Whether none is open.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections that no request has.
    pub const fn free(&self) -> usize {
        self.free.len()
    }

    /// Connections that were asked for and are not there yet.
    pub const fn opening(&self) -> u32 {
        self.opening
    }

    /// Requests that wait.
    pub const fn waiting(&self) -> usize {
        self.requests.len()
    }

    const fn total(&self) -> u32 {
        self.len() as u32 + self.opening
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn state(&self, conn: Key) -> State {
        let member = self.members.get(conn.index());
        let member = member.filter(|member| member.generation == conn.generation());
        member.map_or(State::Gone, |member| member.state)
    }

    fn forget(&mut self, conn: Key) {
        let place = conn.index() as u32;
        match self.state(conn) {
            State::Gone => return,
            State::Free => _ = self.free.remove(place),
            State::Used => self.used -= 1,
        }
        self.members[place].state = State::Gone;
    }

    fn key(&self, place: u32) -> Key {
        Key::new(place, self.members[place].generation)
    }

    /// Looks how many there are, and how many there should be.
    fn check(&mut self) {
        let Some(at) = self.check_at.filter(|at| *at <= self.now) else {
            return;
        };
        let frequency = self.settings.frequency;
        self.check_at = (!frequency.is_zero()).then(|| next_after(at, frequency, self.now));
        let PoolSettings {
            connections_min,
            connections_max,
            free_min,
            free_max,
            ..
        } = self.settings;
        let (total, free) = (self.total(), self.free.len() as u32);
        let missing = free_min.saturating_sub(free + self.opening);
        let missing = missing.max(connections_min.saturating_sub(total));
        self.to_open = missing.min(connections_max.saturating_sub(total));
        let surplus = free.saturating_sub(free_max);
        self.to_drop = surplus.min((self.len() as u32).saturating_sub(connections_min));
    }

    fn grant(&mut self) -> Option<PoolEffect> {
        let place = self.free.newest()?;
        let waiting = self.waiting.pop()?;
        let request = self.requests.key_at(waiting as usize)?;
        self.requests.remove(request);
        self.free.remove(place);
        self.used += 1;
        self.members[place].state = State::Used;
        let conn = self.key(place);
        self.monitor.handle_exchange_begun(self.now, conn);
        Some(PoolEffect::Granted { request, conn })
    }

    fn refuse(&mut self) -> Option<PoolEffect> {
        let request = self.requests.key_at(self.waiting.peek()? as usize)?;
        self.requests
            .get(request)
            .filter(|until| **until <= self.now)?;
        self.waiting.pop();
        self.requests.remove(request);
        Some(PoolEffect::Refused { request })
    }

    /// Drops a free one that was silent for too long.
    fn drop_silent(&mut self) -> Option<PoolEffect> {
        let ended = self.monitor.poll()?;
        self.forget(ended.conn);
        let (conn, why) = (ended.conn, Dropped::Silent(ended));
        Some(PoolEffect::Close { conn, why })
    }

    /// Drops one of the free ones that were too many.
    fn drop_surplus(&mut self) -> Option<PoolEffect> {
        self.to_drop = self.to_drop.checked_sub(1)?;
        let is_surplus = self.free.len() > self.settings.free_max as usize;
        if !is_surplus || self.len() <= self.settings.connections_min as usize {
            self.to_drop = 0;
            return None;
        }
        let conn = self.key(self.free.oldest()?);
        self.handle_closed(conn);
        let why = Dropped::Surplus;
        Some(PoolEffect::Close { conn, why })
    }

    /// Asks for one of the connections that were missing.
    fn open_one(&mut self) -> Option<PoolEffect> {
        self.to_open = self.to_open.checked_sub(1)?;
        if self.total() >= self.settings.connections_max {
            self.to_open = 0;
            return None;
        }
        self.opening += 1;
        Some(PoolEffect::Open)
    }
}

impl Machine for Pool {
    type Effect = PoolEffect;

    fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.waiting.peek();
        let request = waiting.and_then(|place| self.requests.key_at(place as usize));
        let until = request.and_then(|request| self.requests.get(request).copied());
        let next = [self.check_at, until, self.monitor.poll_timeout()];
        next.into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.monitor.handle_timeout(now);
    }

    fn poll(&mut self) -> Option<PoolEffect> {
        self.grant()
            .or_else(|| self.refuse())
            .or_else(|| self.drop_silent())
            .or_else(|| {
                self.check();
                self.drop_surplus()
            })
            .or_else(|| self.open_one())
    }
}

/// The first moment of a row that is later than `now`.
fn next_after(at: Instant, every: Duration, now: Instant) -> Instant {
    let every = every.as_micros().max(1);
    let rounds = now.saturating_since(at).as_micros() / every + 1;
    let micros = u64::try_from(rounds * every).unwrap_or(u64::MAX);
    at + Duration::from_micros(micros)
}
