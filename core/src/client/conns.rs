//! The client's connections: how they come, and how they go.

use alloc::boxed::Box;
use core::net::IpAddr;
use core::time::Duration;

use super::event::{Event, Failure};
use super::{Client, Conn, Stage};
use crate::heartbeat::LATE_MAX;
use crate::{Close, CloseReason, ConnId, ConnectError, Key, Machine as _, http, pcc};

impl Client {
    pub(super) fn handle_conn_timeout(&mut self, key: Key) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let due = conn.deadline.is_some_and(|at| at <= now);
        match &mut conn.stage {
            Stage::Http(http) => http.handle_timeout(now, &mut self.pool),
            Stage::Line(line) if due || line.stall().is_some_and(|at| at <= now) => {
                let missed = [conn.deadline, line.stall()].into_iter().flatten().min();
                if line.greeted && missed.is_some_and(|at| now > at + LATE_MAX) {
                    // Nobody was there: what waits is read and written first.
                    let (frame, stall) = (self.settings.line_frame, self.settings.line_stall);
                    conn.deadline = conn.deadline.map(|_| now + frame);
                    return line.postpone_stall(now + stall);
                }
                self.lost(key, Failure::TimedOut, None);
                self.end(key, Close::Abort);
            }
            Stage::Wanted | Stage::Opening if due => {
                self.lost(key, Failure::TimedOut, None);
                self.end(key, Close::Abort);
            }
            Stage::Lingering if due => {
                conn.deadline = None;
                conn.stage = Stage::Ending(Close::Abort);
            }
            _ => {}
        }
    }

    pub(super) fn handle_received(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let key = conn.key();
        let Some(conn) = self.conns.get_mut(key) else {
            return bytes.len();
        };
        match &mut conn.stage {
            Stage::Http(http) => http.handle_received(self.now, bytes, &mut self.pool),
            Stage::Line(_) => {
                self.watch.handle_received(self.now, key);
                self.handle_frames(key, bytes)
            }
            _ => bytes.len(),
        }
    }

    pub(super) fn handle_connected(&mut self, key: Key, local: IpAddr) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if !matches!(conn.stage, Stage::Opening) {
            return;
        }
        conn.deadline = None;
        conn.local = Some(local);
        conn.stage = Stage::Http(Box::new(http::Client::new(&self.http)));
        if self.is_persistent(key) {
            if !self.ask_connect(key) {
                self.lost(key, Failure::Full, None);
                self.end(key, Close::Abort);
            }
        } else {
            self.ask(key);
        }
    }

    pub(super) fn handle_connect_failed(&mut self, key: Key, why: ConnectError) {
        self.lost(key, Failure::Connect(why), None);
        self.conns.remove(key);
        self.stopped_if_last();
    }

    pub(super) fn handle_eof(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        match &mut conn.stage {
            Stage::Http(http) => http.handle_eof(self.now, &mut self.pool),
            Stage::Line(_) => {
                self.lost(key, Failure::Closed(CloseReason::Done), None);
                self.end(key, Close::Finish);
            }
            _ => {}
        }
    }

    pub(super) fn handle_blocked(&mut self, key: Key) {
        let (now, stall) = (self.now, self.now + self.settings.line_stall);
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.blocked = true;
        match &mut conn.stage {
            Stage::Http(http) => http.handle_blocked(now),
            Stage::Line(line) => line.handle_blocked(stall),
            _ => {}
        }
    }

    pub(super) fn handle_writable(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.blocked = false;
        match &mut conn.stage {
            Stage::Http(http) => http.handle_writable(self.now),
            Stage::Line(line) => line.handle_writable(),
            _ => {}
        }
    }

    pub(super) fn handle_closed(&mut self, key: Key, why: CloseReason) {
        self.lost(key, Failure::Closed(why), None);
        self.release(key);
        self.conns.remove(key);
        self.stopped_if_last();
    }

    /// Connections end one by one, and the stop itself may end the last.
    pub(super) fn stopped_if_last(&mut self) {
        let last = self.stopping && self.conns.is_empty();
        if last && !core::mem::replace(&mut self.stopped, true) {
            self.events.push_back(Event::Stopped);
        }
    }

    /// Wants a connection to the relay at this place in the list.
    pub(super) fn open(&mut self, relay: usize) -> Option<Key> {
        let deadline = Some(self.now + self.settings.connect_timeout);
        let conn = Conn {
            stage: Stage::Wanted,
            relay,
            local: None,
            blocked: false,
            resume: false,
            deadline,
        };
        self.conns.insert(conn).ok()
    }

    /// Whether it is the persistent connection, or will be.
    pub(super) fn is_persistent(&self, key: Key) -> bool {
        self.line == Some(key) || self.renewal == Some(key)
    }

    /// The connection serves no more: what depended on it is told. `window` is
    /// when the relay wants the client back.
    pub(super) fn lost(&mut self, key: Key, why: Failure, window: Option<Duration>) {
        if self.control == Some(key) {
            self.control = None;
            if self.asking.current.is_some() || !self.is_speaking(key) {
                let relay = self.conns.get(key).map(|conn| conn.relay);
                self.question_failed(relay, why);
            }
        }
        if self.renewal == Some(key) {
            self.renewal = None;
            self.attempt_failed(why);
        }
        if self.line == Some(key) {
            // An attempt that is under way goes on in its place.
            self.line = self.renewal.take();
            self.asking.behind = false;
            self.mailbox.handle_way_lost();
            if !self.is_connected() {
                return self.attempt_failed(why);
            }
            self.events.push_back(Event::Disconnected { why });
            self.pcc.handle_closed();
            if self.pcc.poll() == Some(pcc::Effect::Register) {
                self.register_within(window);
            }
        }
    }

    fn attempt_failed(&mut self, why: Failure) {
        let attempt = self.pcc.attempts();
        self.pcc.handle_failed(self.now);
        self.events.push_back(Event::AttemptFailed {
            attempt,
            attempts_max: self.settings.pcc.attempts_max,
            is_last: self.pcc.poll_timeout().is_none(),
            why,
        });
    }

    fn is_speaking(&self, key: Key) -> bool {
        self.conns
            .get(key)
            .is_some_and(|conn| matches!(conn.stage, Stage::Http(_)))
    }

    /// Ends the connection: what it held is given back at once, the driver is
    /// told in the next poll.
    pub(super) fn end(&mut self, key: Key, how: Close) {
        self.release(key);
        if self.control == Some(key) {
            self.control = None;
        }
        if self.line == Some(key) {
            self.line = None;
        }
        if self.renewal == Some(key) {
            self.renewal = None;
        }
        let unborn = self
            .conns
            .get(key)
            .is_some_and(|conn| matches!(conn.stage, Stage::Wanted));
        if unborn {
            self.conns.remove(key);
            self.stopped_if_last();
        } else if let Some(conn) = self.conns.get_mut(key)
            && !matches!(
                conn.stage,
                Stage::Ending(_) | Stage::Lingering | Stage::Ended
            )
        {
            conn.stage = Stage::Ending(how);
        }
    }

    pub(super) fn release(&mut self, key: Key) {
        match self.conns.get_mut(key).map(|conn| &mut conn.stage) {
            Some(Stage::Http(http)) => http.handle_closed(&mut self.pool),
            Some(Stage::Line(line)) => line.release(&mut self.mailbox, &mut self.pool),
            _ => {}
        }
    }
}
