//! The door in and the door out. What happens on one connection is in
//! `drive/step.rs`.

mod step;

use alloc::boxed::Box;
use core::net::SocketAddr;
use core::time::Duration;

use super::connection::{Closing, Conn, HttpConn, Role, Route};
use super::frames::PEER_ENDED;
use super::routing::Routed;
use super::{Event, Relay, Sweep};
use crate::notify::NotifierEffect;
use crate::registration::RegistryEffect;
use crate::wire::message::ByeReason;
use crate::{
    AcceptError, Close, CloseReason, ConnId, Deadline, Endpoint, Input, Instant, Key, Machine,
    OUTPUT_BUF_MIN, Output, http,
};

/// Steps on the way to clients that one poll takes without an output. Then the
/// driver gets its turn, and what came meanwhile goes first.
const ROUTES_PER_POLL: u32 = 256;
/// How long that turn lasts at least: no time at all.
const TURN: Duration = Duration::from_micros(1);

/// What one step on a connection came to; `Written` is in the caller's buffer.
pub(super) enum Step {
    Written { conn: ConnId, len: usize },
    Datagram { to: SocketAddr, len: usize },
    Output(Output<'static, Event>),
}

impl Endpoint for Relay {
    type Event = Event;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.advance(now);
        match input {
            // What is due is done by the next poll, whatever told the time.
            Input::Timeout => {}
            Input::Received { conn, bytes } => return self.handle_received(conn, bytes),
            Input::Introduced { conn, peer, secure } => {
                if let Some(Conn {
                    role: Role::Http(http),
                    ..
                }) = self.live(conn)
                {
                    http.peer = peer;
                    http.secure = secure;
                }
            }
            Input::Eof { conn } => self.handle_eof(conn),
            Input::Blocked { conn } => self.handle_blocked(conn),
            Input::Writable { conn } => self.handle_writable(conn),
            Input::Moved { conn, bytes } => self.handle_moved(conn, bytes),
            Input::Closed { conn, why } => self.handle_closed(conn, why),
            Input::Datagram { .. } => self.stats.datagrams_dropped.count("unexpected"),
            // A relay opens no connection and stores nothing.
            Input::Connected { .. }
            | Input::ConnectFailed { .. }
            | Input::WallClock(_)
            | Input::Hashed { .. }
            | Input::Stored { .. }
            | Input::Loaded { .. }
            | Input::StoreFailed { .. } => {}
        }
        0
    }

    fn poll_output<'b>(&mut self, buf: &'b mut [u8]) -> Output<'b, Event> {
        if buf.len() < OUTPUT_BUF_MIN {
            return Output::BufferTooSmall {
                needed: OUTPUT_BUF_MIN,
            };
        }
        let mut routes_left = ROUTES_PER_POLL;
        loop {
            if let Some(event) = self.next_event() {
                return Output::Event(event);
            }
            let step = match self.next_effect(buf) {
                Some(step) => Some(step),
                None => match self.next_conn() {
                    Some(conn) => self.step(conn, buf),
                    None if !self.events.is_empty() => None,
                    None if !self.may_route(&mut routes_left) => {
                        return Output::Wait(self.deadline());
                    }
                    None => match self.next_route(buf) {
                        Routed::Datagram { to, len } => Some(Step::Datagram { to, len }),
                        Routed::Again => None,
                        Routed::Idle => return Output::Wait(self.deadline()),
                    },
                },
            };
            match step {
                Some(Step::Written { conn, len }) => {
                    return Output::Write {
                        conn,
                        bytes: &buf[..len],
                    };
                }
                Some(Step::Datagram { to, len }) => {
                    return Output::Datagram {
                        to,
                        bytes: &buf[..len],
                    };
                }
                Some(Step::Output(output)) => return output,
                None => {}
            }
        }
    }

    fn has_room(&self) -> bool {
        !self.draining && !self.conns.is_full()
    }

    fn accept(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        _local: SocketAddr,
    ) -> Result<ConnId, AcceptError> {
        self.advance(now);
        if self.draining {
            self.stats.accepts_refused.count("draining");
            return Err(AcceptError::Draining);
        }
        let server = http::Server::new(self.now, &self.http);
        let role = Role::Http(Box::new(HttpConn {
            peer,
            secure: false,
            server,
            peer_ended: false,
            route: Route::Idle,
        }));
        let conn = Conn {
            blocked: false,
            resume: false,
            timer: None,
            role,
        };
        let Ok(key) = self.conns.insert(conn) else {
            self.stats.accepts_refused.count("full");
            return Err(AcceptError::Full);
        };
        self.stats.accepted += 1;
        self.rearm(key);
        Ok(ConnId::from_key(key))
    }
}

impl Relay {
    fn handle_received(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let Some(conn) = self.conns.get_mut(id.key()) else {
            self.stats.stale_inputs += 1;
            return bytes.len();
        };
        let taken = match &mut conn.role {
            Role::Http(http) => http.server.handle_received(self.now, bytes, &mut self.pool),
            Role::Line(_) => {
                self.heartbeats_due |= self.watch.handle_received(self.now, id.key());
                return self.handle_frames(id, bytes);
            }
            Role::Closing(_) => bytes.len(),
        };
        self.touched(id);
        taken
    }

    fn handle_eof(&mut self, id: ConnId) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(id.key()) else {
            self.stats.stale_inputs += 1;
            return;
        };
        match &mut conn.role {
            Role::Http(http) => {
                http.peer_ended = true;
                http.server.handle_eof(now, &mut self.pool);
            }
            Role::Line(_) => self.end(id, Close::Finish, PEER_ENDED),
            Role::Closing(_) => {}
        }
        self.touched(id);
    }

    fn handle_blocked(&mut self, id: ConnId) {
        let (now, stall) = (self.now, self.now + self.settings.line_stall);
        let Some(conn) = self.live(id) else { return };
        conn.blocked = true;
        match &mut conn.role {
            Role::Http(http) => http.server.handle_blocked(now),
            Role::Line(line) => {
                line.handle_blocked(stall);
                self.router.handle_line_blocked(now, id.key());
            }
            Role::Closing(_) => {}
        }
        self.rearm(id.key());
    }

    fn handle_writable(&mut self, id: ConnId) {
        let now = self.now;
        let Some(conn) = self.live(id) else { return };
        conn.blocked = false;
        match &mut conn.role {
            Role::Http(http) => http.server.handle_writable(now),
            Role::Line(line) => {
                line.handle_writable();
                self.router.handle_line_writable(id.key());
            }
            Role::Closing(_) => {}
        }
        self.touched(id);
    }

    fn handle_moved(&mut self, id: ConnId, bytes: u64) {
        let Some(conn) = self.conns.get_mut(id.key()) else {
            self.stats.stale_inputs += 1;
            return;
        };
        if let Role::Http(http) = &mut conn.role {
            http.server.handle_moved(self.now, bytes, &mut self.pool);
        }
        self.touched(id);
    }

    fn handle_closed(&mut self, id: ConnId, why: CloseReason) {
        self.watch.handle_closed(self.now, id.key(), why);
        self.leave(id, step::close_text(why));
        let Some(conn) = self.conns.remove(id.key()) else {
            self.stats.stale_inputs += 1;
            return;
        };
        self.ready.remove(id.index() as u32);
        if let Some(timer) = conn.timer {
            self.timers.cancel(timer);
        }
        self.drained_if_last();
    }

    /// The walk that a shutdown begins and the last connection's end may come
    /// in either order.
    fn drained_if_last(&mut self) {
        let last = self.draining && self.conns.is_empty();
        if last && !core::mem::replace(&mut self.drained, true) {
            self.events.push_back(Event::Drained);
        }
    }

    /// The connection, or a counted stale input.
    fn live(&mut self, id: ConnId) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(id.key());
        if conn.is_none() {
            self.stats.stale_inputs += 1;
        }
        conn
    }

    /// Something changed on the connection: it is looked at in the next poll.
    pub(super) fn touched(&mut self, id: ConnId) {
        self.wake(id);
        self.rearm(id.key());
    }

    /// The one place where a connection's timer follows its deadline.
    fn rearm(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        match (conn.deadline(), conn.timer) {
            (Some(at), Some(timer)) => {
                if !self.timers.reschedule(timer, at) {
                    conn.timer = self.timers.insert(at, key).ok();
                }
            }
            // There is a timer for each connection, so there is room.
            (Some(at), None) => conn.timer = self.timers.insert(at, key).ok(),
            (None, Some(timer)) => {
                self.timers.cancel(timer);
                conn.timer = None;
            }
            (None, None) => {}
        }
        self.settle_watch(key);
    }

    /// Whether a step on the way to clients may follow. One poll takes so many
    /// without an output; the rest is for the next one that is not before its
    /// time.
    fn may_route(&mut self, routes_left: &mut u32) -> bool {
        if self.routes_at.is_some_and(|at| at > self.now) {
            return false;
        }
        self.routes_at = match routes_left.checked_sub(1) {
            Some(left) => {
                *routes_left = left;
                None
            }
            None => Some(self.now + TURN),
        };
        self.routes_at.is_none()
    }

    fn deadline(&self) -> Option<Deadline> {
        [
            (self.routes_at, "fan-out"),
            (self.timers.next_deadline(), "connection"),
            (self.registry.poll_timeout(), "registration"),
            (self.notifier.poll_timeout(), "notification"),
            (self.router.poll_timeout(), "peer"),
            (self.watch.due_at(), "heartbeat"),
            (
                // Where it has passed, the next turn comes with the fan-out.
                self.paced_until
                    .filter(|at| *at > self.now && self.fanout.next_paced().is_some()),
                "rate of datagrams",
            ),
        ]
        .into_iter()
        .filter_map(|(at, reason)| at.map(|at| Deadline { at, reason }))
        .min_by_key(|deadline| deadline.at)
    }

    fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if let Some(NotifierEffect::Expired(status)) = self.notifier.poll() {
            return Some(Event::Expired(status));
        }
        None
    }

    /// What the registry wants done: an event, or a datagram in `buf`.
    fn next_effect(&mut self, buf: &mut [u8]) -> Option<Step> {
        if self.heartbeats_due {
            self.settle_heartbeats();
        }
        while let Some(effect) = self.registry.poll() {
            match effect {
                RegistryEffect::Forgotten { id, .. } => {
                    return Some(Step::Output(Output::Event(Event::Forgotten { client: id })));
                }
                RegistryEffect::Release { conn, .. } => self.say_bye(conn, ByeReason::Refused),
                RegistryEffect::Test { client, nonce } => {
                    if let Some((to, len)) = self.write_test(client, nonce, buf) {
                        return Some(Step::Datagram { to, len });
                    }
                }
                // The client keeps the time of its grant itself.
                RegistryEffect::GrantEnded { .. } => {}
            }
        }
        None
    }

    /// The next connection that wants to be looked at: one that is ready, one
    /// whose time has come, or the next on a walk over all.
    fn next_conn(&mut self) -> Option<ConnId> {
        while let Some(place) = self.ready.pop() {
            if let Some(key) = self.conns.key_at(place as usize) {
                return Some(ConnId::from_key(key));
            }
        }
        while let Some(key) = self.timers.expire(self.now) {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.timer = None;
                self.handle_due(ConnId::from_key(key));
                return Some(ConnId::from_key(key));
            }
        }
        self.next_on_walk()
    }

    fn next_on_walk(&mut self) -> Option<ConnId> {
        let Sweep {
            next,
            until,
            wrapped,
        } = self.sweep?;
        let found = self.conns.next_from(next);
        let ended = |key: &Key| wrapped && key.index() >= until;
        match found {
            Some(key) if !ended(&key) => {
                self.sweep = Some(Sweep {
                    next: key.index() + 1,
                    until,
                    wrapped,
                });
                if self.draining {
                    self.drain_conn(ConnId::from_key(key));
                }
                Some(ConnId::from_key(key))
            }
            None if !wrapped && until > 0 => {
                self.sweep = Some(Sweep {
                    next: 0,
                    until,
                    wrapped: true,
                });
                self.next_on_walk()
            }
            _ => {
                self.sweep = None;
                self.drained_if_last();
                None
            }
        }
    }

    /// The connection's deadline has come.
    fn handle_due(&mut self, id: ConnId) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(id.key()) else {
            return;
        };
        match &mut conn.role {
            Role::Http(http) => http.server.handle_timeout(now, &mut self.pool),
            Role::Line(_) => self.handle_line_due(id),
            Role::Closing(closing) => {
                if matches!(closing, Closing::Lingering(at) if *at <= now) {
                    *closing = Closing::Tell(Close::Abort);
                }
            }
        }
    }

    fn drain_conn(&mut self, id: ConnId) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(id.key()) else {
            return;
        };
        match &mut conn.role {
            Role::Http(http) => http.server.drain(now, &mut self.pool),
            Role::Line(_) => self.say_bye(id, ByeReason::ShuttingDown),
            Role::Closing(_) => {}
        }
    }
}
