//! The door in and the door out.

use alloc::boxed::Box;
use core::net::SocketAddr;

use super::connection::{Closing, Conn, HttpConn, Role, Route};
use super::frames::PEER_ENDED;
use super::line::Source;
use super::routing::{Routed, membership_of};
use super::{Event, Relay, Sweep};
use crate::notify::{Membership, NotifierEffect};
use crate::registration::RegistryEffect;
use crate::wire::message::{self, ByeReason, Hello};
use crate::{
    AcceptError, ClientId, Close, CloseReason, ConnId, Deadline, Endpoint, Input, Instant, Key,
    Machine, OUTPUT_BUF_MIN, Output, http,
};

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
        loop {
            if let Some(event) = self.next_event() {
                return Output::Event(event);
            }
            let step = match self.next_effect(buf) {
                Some(step) => Some(step),
                None => match self.next_conn() {
                    Some(conn) => self.step(conn, buf),
                    None if !self.events.is_empty() => None,
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
            Role::Line(_) => return self.handle_frames(id, bytes),
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
        self.leave(id, close_text(why));
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
    }

    fn deadline(&self) -> Option<Deadline> {
        [
            (self.timers.next_deadline(), "connection"),
            (self.registry.poll_timeout(), "registration"),
            (self.notifier.poll_timeout(), "notification"),
            (self.router.poll_timeout(), "peer"),
            (
                self.paced_until
                    .filter(|_| self.fanout.next_paced().is_some()),
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

    /// Does the next thing on a connection, and puts it back on the list as
    /// long as it wants more.
    fn step(&mut self, id: ConnId, buf: &mut [u8]) -> Option<Step> {
        let conn = self.conns.get_mut(id.key())?;
        let step = match &mut conn.role {
            Role::Http(_) => self.step_http(id, buf),
            Role::Line(_) => self.step_line(id, buf),
            Role::Closing(Closing::Tell(how)) => {
                let how = *how;
                conn.role = Role::Closing(match how {
                    Close::Finish => Closing::Lingering(self.now + self.settings.http.linger),
                    Close::Abort => Closing::Told,
                });
                Some(Step::Output(Output::Close { conn: id, how }))
            }
            Role::Closing(_) => None,
        };
        if step.is_some() && self.wants_more(id) {
            self.wake(id);
        }
        self.rearm(id.key());
        step
    }

    fn wants_more(&self, id: ConnId) -> bool {
        self.conns
            .get(id.key())
            .is_some_and(|conn| match &conn.role {
                Role::Http(_) => true,
                Role::Line(line) => {
                    let membership = self.membership(line.client);
                    conn.resume
                        || line.over().is_some()
                        || line.wants_write(&self.notifier, membership)
                        || line.is_between_frames()
                            && self.router.next_batch(id.key()).next().is_some()
                }
                Role::Closing(closing) => matches!(closing, Closing::Tell(_)),
            })
    }

    fn step_line(&mut self, id: ConnId, buf: &mut [u8]) -> Option<Step> {
        let hello = Hello {
            version: message::VERSION,
            incarnation: self.settings.registry.incarnation,
            body_bytes_max: self.limits.frame_body_bytes_max,
        };
        let conn = self.conns.get_mut(id.key())?;
        let Role::Line(line) = &mut conn.role else {
            return None;
        };
        let record = self.registry.get(line.client);
        let membership = record.map_or_else(Membership::default, membership_of);
        let name = record.map_or(ClientId([0; 16]), |record| record.id);
        if !conn.blocked {
            let mut source = Source {
                notifier: &mut self.notifier,
                name,
                membership,
                hello,
            };
            let (mut len, begun) = line.write(&mut source, buf);
            if begun > 0 {
                self.stats.sent.add("connection", begun);
            }
            let serves = line.serves.filter(|_| line.is_between_frames());
            let over = line.over();
            if let Some(subnet) = serves {
                len += self.write_serve(id.key(), subnet, &mut buf[len..]);
            }
            if len > 0 {
                return Some(Step::Written { conn: id, len });
            }
            if let Some(reason) = over {
                self.end(id, Close::Finish, reason.name());
                return self.step(id, buf);
            }
        }
        let conn = self.conns.get_mut(id.key())?;
        if conn.resume && matches!(&conn.role, Role::Line(line) if line.can_take()) {
            conn.resume = false;
            return Some(Step::Output(Output::Resume { conn: id }));
        }
        None
    }

    /// Ends the connection: what it held is given back at once, the driver is
    /// told at the next look.
    pub(super) fn end(&mut self, id: ConnId, how: Close, why: &'static str) {
        let open = |conn: &Conn| !matches!(conn.role, Role::Closing(_));
        if !self.conns.get(id.key()).is_some_and(open) {
            return;
        }
        self.leave(id, why);
        if let Some(conn) = self.conns.get_mut(id.key()) {
            conn.role = Role::Closing(Closing::Tell(how));
        }
        self.touched(id);
    }

    /// Takes the connection out of what it belonged to.
    fn leave(&mut self, id: ConnId, why: &'static str) {
        let Some(conn) = self.conns.get_mut(id.key()) else {
            return;
        };
        match &mut conn.role {
            Role::Http(http) => {
                http.server.handle_closed(&mut self.pool);
                let route = core::mem::replace(&mut http.route, Route::Idle);
                let mut over = (0, true);
                while let Some(effect) = http.server.poll() {
                    match effect {
                        http::Effect::Finished { status, aborted } => over = (status, aborted),
                        http::Effect::Refused(why) => self.stats.http_refused.count(why.as_str()),
                        _ => {}
                    }
                }
                self.request_over(route, over.0, over.1);
            }
            Role::Line(line) => {
                self.unfinished_bytes -= line.held_bytes as usize;
                line.release(&mut self.notifier, &mut self.pool);
                let (client, written_through) = (line.client, line.written_through());
                self.router.handle_line_closed(id.key());
                self.stats.lines -= 1;
                if let Some(record) = self.registry.get(client) {
                    let name = record.id;
                    if self.registry.handle_disconnected(client, id) {
                        self.bring_again(client, written_through);
                    }
                    self.events.push_back(Event::Disconnected {
                        client: name,
                        conn: id,
                        why,
                    });
                }
            }
            Role::Closing(_) => return,
        }
        if let Some(conn) = self.conns.get_mut(id.key()) {
            conn.role = Role::Closing(Closing::Told);
        }
    }
}

const fn close_text(why: CloseReason) -> &'static str {
    match why {
        CloseReason::Done => "closed in order",
        CloseReason::Local => "closed by this end",
        CloseReason::Reset => "reset by the peer",
        CloseReason::Failed => "input or output failed",
        CloseReason::Tls => "TLS failed",
        CloseReason::Storage => "the file behind the transfer failed",
    }
}
