//! A client whose requests take connections of a pool and give them back, with
//! heartbeats on the free ones. It holds what must never happen: that the pool
//! drops a connection in use, or has more than it may.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use tautline_core::collections::Slab;
use tautline_core::heartbeat::{
    Dropped, Pool, PoolEffect, PoolError, PoolSettings, Prober, ProberEffect, ProberLimits,
    ProberSettings, Rule,
};
use tautline_core::{
    AcceptError, Close, ConnId, Deadline, Endpoint, Input, Instant, Key, Machine, Output,
};

use super::talk::{Talk, Verb};
use crate::world::{App, Boot};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its answer came.
    Answered,
    /// It had a connection, and no answer came in time.
    TimedOut,
    /// It had a connection that ended.
    Broken,
    /// It got no connection.
    Refused,
}

/// What the client tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// A request got a connection, after it waited for so long.
    Granted(Duration),
    /// A request is over, this long after it was made.
    Over(Fate, Duration),
    /// The pool dropped a free connection.
    Dropped(Dropped),
    /// A connection is lost; by the rule, if a heartbeat found that.
    Lost(Option<Rule>),
}

/// A connection, and the request that has it.
struct Line {
    talk: Talk,
    is_open: bool,
    /// When the request that has it was made.
    used: Option<Instant>,
}

enum Todo {
    Connect(ConnId),
    Close(ConnId),
    Tell(PoolEvent),
}

/// The endpoint, which is its own application.
pub struct PooledClient {
    now: Instant,
    server: (String, u16),
    settings: PoolSettings,
    pool: Pool,
    prober: Prober,
    /// How long an answer may take.
    patience: Duration,
    connections_most: usize,
    /// Its keys are what the machines call the connections.
    lines: Slab<Line>,
    /// When the requests that wait were made.
    waiting: HashMap<Key, Instant>,
    /// Until when the answer on which connection may take, the earliest first.
    asked: VecDeque<(Instant, Key)>,
    todo: VecDeque<Todo>,
    told: Vec<(Instant, PoolEvent)>,
}

impl PooledClient {
    /// The client of a node's life, which asks on free connections every
    /// `period`, 0 is never, and waits no longer than `patience` for an answer.
    ///
    /// # Panics
    /// If a figure is out of its range.
    pub fn boot(
        boot: &Boot,
        settings: PoolSettings,
        period: Duration,
        patience: Duration,
        server: (&str, u16),
    ) -> Self {
        let prober = ProberSettings {
            period,
            ..ProberSettings::default()
        };
        let prober = Prober::new(prober, ProberLimits::default());
        Self {
            now: boot.now,
            server: (server.0.to_owned(), server.1),
            pool: Pool::new(boot.now, settings).expect("figures that fit each other"),
            prober: prober.expect("figures in their ranges"),
            patience,
            connections_most: 0,
            lines: Slab::new(settings.places_max),
            waiting: HashMap::new(),
            asked: VecDeque::new(),
            todo: VecDeque::new(),
            told: Vec::new(),
            settings,
        }
    }

    /// Makes a request.
    ///
    /// # Errors
    /// As [`Pool::request`].
    pub fn request(&mut self, now: Instant) -> Result<(), PoolError> {
        self.now = self.now.max(now);
        let request = self.pool.request(self.now)?;
        self.waiting.insert(request, self.now);
        self.drain();
        Ok(())
    }

    /// The pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Heartbeats that were sent.
    pub fn probes(&self) -> u64 {
        self.prober.stats().sent
    }

    /// What it told so far, and when.
    pub fn told(&self) -> &[(Instant, PoolEvent)] {
        &self.told
    }

    /// Connections that are open, counted one by one.
    pub fn connections(&self) -> usize {
        self.lines.iter().filter(|(_, line)| line.is_open).count()
    }

    /// The most connections that there were at a time, opening ones included.
    pub fn connections_most(&self) -> usize {
        self.connections_most
    }

    fn tell(&mut self, event: PoolEvent) {
        self.todo.push_back(Todo::Tell(event));
    }

    /// Hears what the machines want, until they want nothing.
    fn drain(&mut self) {
        loop {
            while let Some(effect) = self.pool.poll() {
                self.handle_pool(effect);
            }
            match self.prober.poll() {
                Some(ProberEffect::Probe { conn, nonce }) => {
                    if let Some(line) = self.lines.get_mut(conn) {
                        line.talk.say(Verb::Ping, nonce);
                    }
                }
                Some(ProberEffect::End(ended)) => self.lose(ended.conn, Some(ended.rule)),
                None => return,
            }
        }
    }

    fn handle_pool(&mut self, effect: PoolEffect) {
        match effect {
            PoolEffect::Open => self.open(),
            PoolEffect::Close { conn, why } => {
                let line = self.lines.get(conn).expect("the pool drops what it has");
                assert!(line.is_open, "{conn:?} is dropped, but not there");
                assert!(line.used.is_none(), "{conn:?} is dropped in use: {why:?}");
                self.tell(PoolEvent::Dropped(why));
                self.close(conn);
            }
            PoolEffect::Granted { request, conn } => self.grant(request, conn),
            PoolEffect::Refused { request } => {
                let waited = self.now.saturating_since(self.made(request));
                let pauses = self.settings.searches - 1;
                let least = pauses * self.settings.search_pause;
                assert!(waited >= least, "refused after {waited:?}");
                self.tell(PoolEvent::Over(Fate::Refused, waited));
            }
        }
    }

    fn open(&mut self) {
        let line = |key| Line {
            talk: Talk::new(ConnId::from_key(key)),
            is_open: false,
            used: None,
        };
        let Ok(conn) = self.lines.insert_with(line) else {
            self.pool.handle_open_failed();
            return;
        };
        self.todo.push_back(Todo::Connect(ConnId::from_key(conn)));
        let lines = self.lines.iter();
        let count = lines.filter(|(_, line)| !line.talk.is_closing()).count();
        let most = self.settings.connections_max as usize;
        assert!(count <= most, "{count} connections, {most} at most");
        self.connections_most = self.connections_most.max(count);
    }

    fn grant(&mut self, request: Key, conn: Key) {
        let made = self.made(request);
        let waited = self.now.saturating_since(made);
        // Whether the server is there, the request finds out.
        self.prober.remove(conn);
        let line = self
            .lines
            .get_mut(conn)
            .expect("the pool grants what it has");
        assert!(line.is_open, "{conn:?} is granted, but not there");
        assert!(line.used.is_none(), "{conn:?} is granted twice");
        let until = self.now + self.patience;
        line.used = Some(made);
        line.talk.say(Verb::Get, request.index() as u64);
        self.asked.push_back((until, conn));
        self.tell(PoolEvent::Granted(waited));
    }

    /// When the request was made, which waits no longer.
    fn made(&mut self, request: Key) -> Instant {
        let made = self.waiting.remove(&request);
        made.expect("the pool answers whom it was asked by")
    }

    fn opened(&mut self, conn: Key) {
        let Some(line) = self.lines.get_mut(conn) else {
            return;
        };
        line.is_open = true;
        let opened = self.pool.handle_opened(self.now, conn);
        opened.expect("the pool asked for it");
        let probed = self.prober.insert(self.now, conn, 0);
        probed.expect("as many places as there are lines");
    }

    fn hear(&mut self, conn: Key, bytes: &[u8]) {
        let Some(line) = self.lines.get_mut(conn).filter(|line| line.is_open) else {
            return; // It was closed here.
        };
        let heard = line.talk.hear(bytes);
        self.pool.handle_received(self.now, conn);
        for (verb, figure) in heard {
            match verb {
                Verb::Pong => self.prober.handle_answer(self.now, conn, figure),
                Verb::Got => self.answered(conn),
                Verb::Ping | Verb::Get => {}
            }
        }
    }

    fn answered(&mut self, conn: Key) {
        if self.over(conn, Fate::Answered) {
            let released = self.pool.release(self.now, conn);
            released.expect("the request had it");
            let probed = self.prober.insert(self.now, conn, 0);
            probed.expect("as many places as there are lines");
        }
    }

    /// The request that has the connection is over. False if none has it.
    fn over(&mut self, conn: Key, fate: Fate) -> bool {
        let line = self.lines.get_mut(conn);
        let Some(made) = line.and_then(|line| line.used.take()) else {
            return false;
        };
        self.asked.retain(|(_, asked)| *asked != conn);
        let took = self.now.saturating_since(made);
        self.tell(PoolEvent::Over(fate, took));
        true
    }

    /// A connection that the pool has is gone.
    fn lose(&mut self, conn: Key, rule: Option<Rule>) {
        if self.lines.get(conn).is_some_and(|line| line.is_open) {
            self.over(conn, Fate::Broken);
            self.tell(PoolEvent::Lost(rule));
            self.pool.handle_closed(conn);
            self.close(conn);
        }
    }

    fn close(&mut self, conn: Key) {
        self.prober.remove(conn);
        if let Some(line) = self.lines.get_mut(conn) {
            line.is_open = false;
            if line.talk.close() {
                self.todo.push_back(Todo::Close(ConnId::from_key(conn)));
            }
        }
    }

    fn gone(&mut self, conn: Key) {
        self.lose(conn, None);
        let line = self.lines.remove(conn);
        if line.is_some_and(|line| !line.talk.is_closing()) {
            // It was over before it was told that it is open.
            self.pool.handle_open_failed();
        }
        let closes = |todo: &Todo| matches!(todo, Todo::Close(other) if other.key() == conn);
        self.todo.retain(|todo| !closes(todo));
    }

    fn timeout(&mut self) {
        self.pool.handle_timeout(self.now);
        self.prober.handle_timeout(self.now);
        while let Some(&(until, conn)) = self.asked.front()
            && until <= self.now
        {
            self.over(conn, Fate::TimedOut);
            self.lose(conn, None);
        }
    }
}

impl Endpoint for PooledClient {
    type Event = PoolEvent;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.now = self.now.max(now);
        let mut taken = 0;
        match input {
            Input::Timeout => self.timeout(),
            Input::Connected { conn, .. } => self.opened(conn.key()),
            Input::ConnectFailed { conn, .. } => {
                self.lines.remove(conn.key());
                self.pool.handle_open_failed();
            }
            Input::Received { conn, bytes } => {
                self.hear(conn.key(), bytes);
                taken = bytes.len();
            }
            Input::Blocked { conn } | Input::Writable { conn } => {
                if let Some(line) = self.lines.get_mut(conn.key()) {
                    let blocked = matches!(input, Input::Blocked { .. });
                    line.talk.set_blocked(blocked);
                }
            }
            Input::Eof { conn } => self.lose(conn.key(), None),
            Input::Closed { conn, .. } => self.gone(conn.key()),
            _ => {}
        }
        self.drain();
        taken
    }

    fn poll_output<'b>(&mut self, buf: &'b mut [u8]) -> Output<'b, PoolEvent> {
        match self.todo.pop_front() {
            Some(Todo::Tell(event)) => return Output::Event(event),
            Some(Todo::Close(conn)) => {
                let how = Close::Abort;
                return Output::Close { conn, how };
            }
            Some(Todo::Connect(conn)) => {
                let (host, port) = &self.server;
                let bytes = &mut buf[..host.len()];
                bytes.copy_from_slice(host.as_bytes());
                return Output::Connect {
                    conn,
                    host: core::str::from_utf8(bytes).unwrap_or_default(),
                    port: *port,
                    tls: false,
                };
            }
            None => {}
        }
        let mut lines = self.lines.iter();
        let ready = lines.find(|(_, line)| line.is_open && line.talk.is_ready());
        let ready = ready.map(|(conn, _)| conn);
        let line = ready.and_then(|conn| self.lines.get_mut(conn));
        if let Some(output) = line.and_then(|line| line.talk.write(buf)) {
            return output;
        }
        let asked = self.asked.front().map(|(until, _)| *until);
        let next = [self.pool.poll_timeout(), self.prober.poll_timeout(), asked];
        Output::Wait(next.into_iter().flatten().min().map(|at| Deadline {
            at,
            reason: "pool, heartbeat or answer",
        }))
    }

    fn accept(
        &mut self,
        _now: Instant,
        _peer: SocketAddr,
        _local: SocketAddr,
    ) -> Result<ConnId, AcceptError> {
        Err(AcceptError::NotListening)
    }
}

impl App for PooledClient {
    type Endpoint = Self;

    fn endpoint(&mut self) -> &mut Self {
        self
    }

    fn on_event(&mut self, now: Instant, event: PoolEvent) {
        self.told.push((now, event));
    }
}
