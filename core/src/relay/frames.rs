//! Persistent connections: how they open, and the frames of clients.

use super::Relay;
use super::connection::{Role, Route};
use super::event::Event;
use super::line::Line;
use super::routing::membership_of;
use crate::heartbeat::LATE_MAX;
use crate::notify::ReplyRefusal;
use crate::wire::message::{ByeReason, ToRelay};
use crate::{ClientId, Close, ConnId, NotificationId};

/// Why a connection is over whose peer sends no more.
pub(super) const PEER_ENDED: &str = "the peer ended";

impl Relay {
    /// The 101 is written: from now on the connection carries frames.
    pub(super) fn handle_upgraded(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.key()) else {
            return;
        };
        let Role::Http(http) = &mut conn.role else {
            return;
        };
        let Route::Connect { client, after } = http.route else {
            return;
        };
        let has_ended = http.peer_ended;
        // The grant may have gone while the 101 was written.
        let replaced = match self.registry.handle_connected(self.now, client, id) {
            Ok(replaced) => replaced,
            Err(why) => {
                self.stats.lines_refused.count(why.name());
                return self.end(id, Close::Finish, why.name());
            }
        };
        let Some(name) = self.registry.get(client).map(|record| record.id) else {
            return;
        };
        http.server.handle_closed(&mut self.pool);
        let mut line = Line::new(client, after);
        if conn.blocked {
            line.handle_blocked(self.now + self.settings.line_stall);
        }
        conn.role = Role::Line(line);
        // Frames that stood behind the request were not taken.
        conn.resume = true;
        self.stats.lines += 1;
        if let Some(old) = replaced {
            self.say_bye(old, ByeReason::Replaced);
        }
        self.events.push_back(Event::Connected {
            client: name,
            conn: id,
        });
        if has_ended {
            return self.end(id, Close::Finish, PEER_ENDED);
        }
        self.settle_peer(id);
        if self.draining {
            self.say_bye(id, ByeReason::ShuttingDown);
        }
        self.touched(id);
    }

    /// The client is told goodbye: from now on it is nobody's peer.
    pub(super) fn say_bye(&mut self, id: ConnId, reason: ByeReason) {
        let window = match reason {
            ByeReason::ShuttingDown => self.return_window_ms(),
            _ => 0,
        };
        if let Some(line) = self.line_of(id) {
            line.owe_bye(reason, window);
            self.router.handle_line_leaving(id.key());
            self.touched(id);
        }
    }

    /// Takes frames of a client, as long as there is room for what follows
    /// from them. A frame that is cut off has a deadline, and all of them
    /// together a budget.
    pub(super) fn handle_frames(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let (taken, some_whole) = self.take_frames(id, bytes);
        let due = self.now + self.settings.line_frame;
        if let Some(line) = self.line_of(id) {
            line.handle_taken_bytes(some_whole, due);
            // A frame is bounded far below 4 GiB.
            let held = u32::try_from(line.deframer.held_bytes()).unwrap_or(u32::MAX);
            let before = core::mem::replace(&mut line.held_bytes, held);
            self.unfinished_bytes = self.unfinished_bytes + held as usize - before as usize;
            if held > 0 && self.unfinished_bytes > self.limits.unfinished_frames_bytes_max {
                self.stats.lines_refused.count("unfinished_frames_full");
                self.say_bye(id, ByeReason::Overloaded);
            }
        }
        self.touched(id);
        taken
    }

    /// The deadline of a persistent connection has come.
    pub(super) fn handle_line_due(&mut self, id: ConnId) {
        let now = self.now;
        let (frame, stall) = (self.settings.line_frame, self.settings.line_stall);
        let Some(line) = self
            .line_of(id)
            .filter(|line| line.deadline().is_some_and(|at| at <= now))
        else {
            return;
        };
        if line.deadline().is_some_and(|at| now > at + LATE_MAX) {
            // Nobody was there: what waits is read and written first.
            line.postpone(now + frame, now + stall);
            return self.touched(id);
        }
        if line.is_slow(now) && line.can_take() {
            self.stats.lines_refused.count("slow_frame");
            self.say_bye(id, ByeReason::ProtocolError);
        } else {
            self.stats.lines_refused.count("slow_reader");
            self.end(id, Close::Abort, "slow reader");
        }
    }

    pub(super) fn line_of(&mut self, id: ConnId) -> Option<&mut Line> {
        match &mut self.conns.get_mut(id.key())?.role {
            Role::Line(line) => Some(line),
            Role::Http(_) | Role::Closing(_) => None,
        }
    }

    /// Returns how many bytes were taken, and whether a whole frame was among
    /// them.
    fn take_frames(&mut self, id: ConnId, bytes: &[u8]) -> (usize, bool) {
        let mut rest = bytes;
        let mut some_whole = false;
        while !rest.is_empty() {
            if !self.may_take(id) {
                return (bytes.len() - rest.len(), some_whole);
            }
            match self.take_frame(id, &mut rest) {
                Ok(true) => some_whole = true,
                Ok(false) => break,
                Err(fault) => {
                    self.stats.lines_refused.count(fault);
                    self.say_bye(id, ByeReason::ProtocolError);
                    break;
                }
            }
        }
        (bytes.len(), some_whole)
    }

    /// Whether there is room for what follows from a frame; else the bytes are
    /// to be offered again.
    fn may_take(&mut self, id: ConnId) -> bool {
        let has_room = self.events.len() < self.limits.events_max;
        let Some(conn) = self.conns.get_mut(id.key()) else {
            return true;
        };
        let Role::Line(line) = &conn.role else {
            return true;
        };
        let may = has_room && line.can_take();
        conn.resume |= !may;
        may
    }

    /// Takes the next frame, if it is whole and the connection still takes any;
    /// or says what is wrong with it.
    fn take_frame(&mut self, id: ConnId, rest: &mut &[u8]) -> Result<bool, &'static str> {
        let bytes_max = self.limits.frame_body_bytes_max;
        let conn = self.conns.get_mut(id.key());
        let Some(Role::Line(line)) = conn.map(|conn| &mut conn.role) else {
            return Ok(false);
        };
        let frame = line.deframer.next(rest, bytes_max, &mut self.pool);
        let Some(frame) = frame.map_err(|error| error.name())? else {
            return Ok(false);
        };
        let message = ToRelay::parse(frame.kind, frame.body);
        match message.map_err(|error| error.name())? {
            None => {}
            Some(ToRelay::Ping(ping)) => {
                line.owe_pong(ping.nonce);
                self.stats.pings += 1;
            }
            Some(ToRelay::Pong(pong)) => self.watch.handle_answer(self.now, id.key(), pong.nonce),
            Some(ToRelay::Served(served)) => {
                self.stats.refused_by_peers += u64::from(served.refused);
                if !self.router.handle_served(id.key(), served.sequence) {
                    return Err("served_unknown");
                }
            }
            Some(ToRelay::Reply(reply)) => {
                let (client, notification) = (line.client, reply.notification);
                let Some(record) = self.registry.get(client) else {
                    return Ok(true);
                };
                let (name, membership) = (record.id, membership_of(record));
                let who = (client, name);
                let notifier = &mut self.notifier;
                let taken =
                    notifier.handle_reply(self.now, who, membership, notification, reply.payload);
                if taken.is_ok() {
                    self.router.handle_answered(client);
                }
                // Without room, the client keeps it for another time.
                if taken != Err(ReplyRefusal::Full) {
                    line.owe_taken(notification);
                }
                self.reply_judged(name, notification, taken);
            }
            Some(ToRelay::Bye(_)) => self.end(id, Close::Finish, "closed by the client"),
        }
        Ok(true)
    }

    pub(super) fn reply_judged(
        &mut self,
        client: ClientId,
        notification: NotificationId,
        taken: Result<(), ReplyRefusal>,
    ) {
        match taken {
            Ok(()) => {
                self.stats.replies += 1;
                self.events.push_back(Event::Replied {
                    notification,
                    client,
                });
            }
            // The confirmation of the first one was lost; nothing is wrong.
            Err(ReplyRefusal::Repeated) => {}
            Err(why) => {
                self.stats.replies_refused.count(why.name());
                self.events.push_back(Event::ReplyRefused {
                    notification,
                    client,
                    why,
                });
            }
        }
    }
}
