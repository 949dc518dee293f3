//! A server that answers heartbeats at once and requests after some work, and
//! ends connections that are silent.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use tautline_core::collections::Slab;
use tautline_core::heartbeat::{Monitor, MonitorSettings};
use tautline_core::{
    AcceptError, Close, ConnId, Deadline, Endpoint, Input, Instant, Machine, Output,
};

use super::talk::{Talk, Verb};
use crate::world::{App, Boot};

/// The endpoint, which is its own application.
pub struct MonitoredServer {
    now: Instant,
    monitor: Monitor,
    guests: Slab<Talk>,
    work: Duration,
    /// When which request is done, the earliest first.
    at_work: VecDeque<(Instant, ConnId, u64)>,
    to_close: VecDeque<ConnId>,
}

impl MonitoredServer {
    /// The server of a node's life, which needs so long for each request.
    ///
    /// # Panics
    /// If a figure is out of its range.
    pub fn boot(boot: &Boot, monitor: MonitorSettings, work: Duration) -> Self {
        Self {
            now: boot.now,
            guests: Slab::new(monitor.connections_max),
            monitor: Monitor::new(monitor).expect("figures in their ranges"),
            work,
            at_work: VecDeque::new(),
            to_close: VecDeque::new(),
        }
    }

    /// How many connections it has.
    pub fn connections(&self) -> usize {
        let guests = self.guests.iter();
        guests.filter(|(_, guest)| !guest.is_closing()).count()
    }

    fn hear(&mut self, conn: ConnId, bytes: &[u8]) {
        self.monitor.handle_received(self.now, conn.key());
        let Some(guest) = self.guests.get_mut(conn.key()) else {
            return;
        };
        for (verb, figure) in guest.hear(bytes) {
            match verb {
                Verb::Ping => guest.say(Verb::Pong, figure),
                Verb::Get => {
                    self.monitor.handle_exchange_begun(self.now, conn.key());
                    self.at_work.push_back((self.now + self.work, conn, figure));
                }
                Verb::Pong | Verb::Got => {}
            }
        }
    }

    fn answer(&mut self) {
        while let Some(&(at, conn, figure)) = self.at_work.front()
            && at <= self.now
        {
            self.at_work.pop_front();
            if let Some(guest) = self.guests.get_mut(conn.key()) {
                guest.say(Verb::Got, figure);
                self.monitor.handle_exchange_ended(self.now, conn.key());
            }
        }
    }

    fn end(&mut self, conn: ConnId) {
        self.monitor.remove(conn.key());
        self.at_work.retain(|(_, other, _)| *other != conn);
        if self.guests.get_mut(conn.key()).is_some_and(Talk::close) {
            self.to_close.push_back(conn);
        }
    }
}

impl Endpoint for MonitoredServer {
    type Event = ();

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.now = self.now.max(now);
        let mut taken = 0;
        match input {
            Input::Timeout => {
                self.answer();
                self.monitor.handle_timeout(self.now);
            }
            Input::Received { conn, bytes } => {
                self.hear(conn, bytes);
                taken = bytes.len();
            }
            Input::Blocked { conn } | Input::Writable { conn } => {
                if let Some(guest) = self.guests.get_mut(conn.key()) {
                    guest.set_blocked(matches!(input, Input::Blocked { .. }));
                }
            }
            Input::Eof { conn } => self.end(conn),
            Input::Closed { conn, .. } => {
                self.end(conn);
                self.to_close.retain(|other| *other != conn);
                self.guests.remove(conn.key());
            }
            _ => {}
        }
        while let Some(ended) = self.monitor.poll() {
            self.end(ConnId::from_key(ended.conn));
        }
        taken
    }

    fn poll_output<'b>(&mut self, buf: &'b mut [u8]) -> Output<'b, ()> {
        if let Some(conn) = self.to_close.pop_front() {
            let how = Close::Abort;
            return Output::Close { conn, how };
        }
        let ready = self.guests.iter().find(|(_, guest)| guest.is_ready());
        let ready = ready.map(|(conn, _)| conn);
        let guest = ready.and_then(|conn| self.guests.get_mut(conn));
        if let Some(output) = guest.and_then(|guest| guest.write(buf)) {
            return output;
        }
        let done = self.at_work.front().map(|(at, ..)| *at);
        let next = [done, self.monitor.poll_timeout()];
        Output::Wait(next.into_iter().flatten().min().map(|at| Deadline {
            at,
            reason: "work or silence",
        }))
    }

    fn accept(
        &mut self,
        now: Instant,
        _peer: SocketAddr,
        _local: SocketAddr,
    ) -> Result<ConnId, AcceptError> {
        self.now = self.now.max(now);
        let talk = |key| Talk::new(ConnId::from_key(key));
        let conn = self.guests.insert_with(talk);
        let conn = conn.map_err(|_| AcceptError::Full)?;
        let watched = self.monitor.insert(self.now, conn);
        watched.expect("as many places as there are guests");
        Ok(ConnId::from_key(conn))
    }
}

impl App for MonitoredServer {
    type Endpoint = Self;

    fn endpoint(&mut self) -> &mut Self {
        self
    }

    fn on_event(&mut self, _now: Instant, (): ()) {}
}
