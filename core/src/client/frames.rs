//! The persistent connection: how it opens, and the frames of the relay.

use core::time::Duration;

use super::drive::Step;
use super::event::{Arrival, Event, Failure};
use super::serving::Serving;
use super::{Client, Conn, Stage};
use crate::wire::message::{ByeReason, ToClient, VERSION};
use crate::{Close, ConnId, Key, Output};

impl Client {
    /// Begins an attempt to open a persistent connection, beside the one that
    /// is open.
    pub(super) fn open_line(&mut self) {
        let renews = self.is_connected();
        let earlier = if renews { self.renewal } else { self.line };
        if let Some(earlier) = earlier {
            self.end(earlier, Close::Abort);
        }
        let session = self.session.as_ref();
        let relay = session.map_or_else(|| self.selector.home(), |session| session.relay);
        let opened = self.open(relay);
        if opened.is_none() {
            self.pcc.handle_failed(self.now);
        }
        *if renews {
            &mut self.renewal
        } else {
            &mut self.line
        } = opened;
    }

    /// Gives the persistent connection up, behind a goodbye if it is open, and
    /// the attempt to renew it.
    pub(super) fn leave_line(&mut self, reason: ByeReason) {
        if let Some(renewal) = self.renewal.take() {
            self.end(renewal, Close::Abort);
        }
        let Some(key) = self.line.take() else {
            return;
        };
        self.asking.behind = false;
        self.mailbox.handle_way_lost();
        match self.conns.get_mut(key).map(|conn| &mut conn.stage) {
            Some(Stage::Line(line)) => {
                line.owe_bye(reason);
                if line.greeted {
                    let why = Failure::Left;
                    self.events.push_back(Event::Disconnected { why });
                }
            }
            _ => self.end(key, Close::Abort),
        }
    }

    /// The relay greeted on a persistent connection: it serves from now on.
    fn greeted(&mut self, key: Key) {
        self.pcc.handle_opened();
        if self.renewal != Some(key) {
            return self.events.push_back(Event::Connected);
        }
        self.renewal = None;
        let old = self.line.replace(key);
        // What the relay did not take on the old one goes on the new one.
        self.mailbox.handle_way_lost();
        if let Some(Conn {
            stage: Stage::Line(line),
            ..
        }) = old.and_then(|old| self.conns.get_mut(old))
        {
            line.owe_bye(ByeReason::Replaced);
        }
    }

    /// The relay answered the wish for a persistent connection with something
    /// else than 101.
    pub(super) fn connect_refused(&mut self, key: Key) {
        let status = match self.conns.get(key).map(|conn| &conn.stage) {
            Some(Stage::Http(http)) => http.response().map_or(0, |response| response.status()),
            _ => 0,
        };
        self.lost(key, Failure::Status(status), None);
        self.end(key, Close::Finish);
        if status == 401 {
            self.unknown_to_relay();
        }
    }

    pub(super) fn step_line(&mut self, key: Key, buf: &mut [u8]) -> Option<Step> {
        let id = ConnId::from_key(key);
        let conn = self.conns.get_mut(key)?;
        let Stage::Line(line) = &mut conn.stage else {
            return None;
        };
        if !line.can_take() {
            // What is left of a frame of datagrams is not sent, nor confirmed.
            line.drop_serving(&mut self.pool);
        } else if let Some(step) = self.step_serving(key, buf) {
            return Some(step);
        }
        let conn = self.conns.get_mut(key)?;
        let Stage::Line(line) = &mut conn.stage else {
            return None;
        };
        if !conn.blocked {
            let owes = line.owes_ping();
            let nonce = owes.then(|| self.watch.handle_asked(self.now, key));
            let len = line.write(self.now, &mut self.mailbox, nonce.flatten(), buf);
            if len > 0 {
                self.watch.handle_sent(self.now, key);
                return Some(Step::Written(id, len));
            }
            if line.is_over() {
                self.end(key, Close::Finish);
                self.stirred = true;
                return None;
            }
        }
        if conn.resume && line.can_take() && !line.is_serving() {
            conn.resume = false;
            return Some(Step::Output(Output::Resume { conn: id }));
        }
        None
    }

    /// Takes frames of the relay, as long as there is room for what follows
    /// from them. A frame that is cut off has a deadline.
    pub(super) fn handle_frames(&mut self, key: Key, bytes: &[u8]) -> usize {
        let (taken, some_whole) = self.take_frames(key, bytes);
        let due = self.now + self.settings.line_frame;
        if let Some(Conn {
            stage: Stage::Line(line),
            deadline,
            ..
        }) = self.conns.get_mut(key)
            && line.greeted
        {
            let begun = deadline.filter(|_| !some_whole).unwrap_or(due);
            let waits = line.deframer.is_partial() && line.can_take();
            *deadline = waits.then_some(begun);
            line.is_deaf &= !some_whole;
        }
        taken
    }

    /// Returns how many bytes were taken, and whether a whole frame was among
    /// them.
    fn take_frames(&mut self, key: Key, bytes: &[u8]) -> (usize, bool) {
        let mut rest = bytes;
        let mut some_whole = false;
        while !rest.is_empty() {
            let room = self.events.len() < self.limits.events_max;
            let Some(conn) = self.conns.get_mut(key) else {
                break;
            };
            let Stage::Line(line) = &mut conn.stage else {
                break;
            };
            if !line.can_take() {
                break;
            }
            if !room || line.is_serving() {
                conn.resume = true;
                return (bytes.len() - rest.len(), some_whole);
            }
            let bytes_max = self.limits.frame_body_bytes_max;
            let mut deframer = core::mem::take(&mut line.deframer);
            let frame = deframer.next(&mut rest, bytes_max, &mut self.pool);
            some_whole |= matches!(frame, Ok(Some(_)));
            let fault = match frame {
                Ok(None) => None,
                Ok(Some(frame)) => match ToClient::parse(frame.kind, frame.body) {
                    Ok(message) => self.handle_message(key, message).err(),
                    Err(error) => Some(error.name()),
                },
                Err(error) => Some(error.name()),
            };
            match self.conns.get_mut(key).map(|conn| &mut conn.stage) {
                Some(Stage::Line(line)) => line.deframer = deframer,
                _ => deframer.release(&mut self.pool),
            }
            if let Some(fault) = fault {
                self.lost(key, Failure::Protocol(fault), None);
                if let Some(Conn {
                    stage: Stage::Line(line),
                    ..
                }) = self.conns.get_mut(key)
                {
                    line.owe_bye(ByeReason::ProtocolError);
                }
                break;
            }
        }
        (bytes.len(), some_whole)
    }

    fn handle_message(
        &mut self,
        key: Key,
        message: Option<ToClient<'_>>,
    ) -> Result<(), &'static str> {
        let Some(message) = message else {
            return Ok(());
        };
        let Some(Conn {
            stage: Stage::Line(line),
            deadline,
            ..
        }) = self.conns.get_mut(key)
        else {
            return Ok(());
        };
        if !line.greeted && !matches!(message, ToClient::Hello(_)) {
            return Err("the first frame is no hello");
        }
        match message {
            ToClient::Hello(hello) => {
                if hello.version != VERSION {
                    return Err("another version");
                }
                line.body_bytes_max = hello.body_bytes_max;
                if !core::mem::replace(&mut line.greeted, true) {
                    *deadline = None;
                    self.greeted(key);
                }
                if self
                    .session
                    .as_ref()
                    .is_some_and(|s| s.incarnation != hello.incarnation)
                {
                    self.unknown_to_relay();
                }
            }
            ToClient::Notification(notification) => {
                if self.asking.behind || !self.notified(&notification, Arrival::Connection) {
                    self.asking.behind = true;
                    self.asking.inbox = true;
                }
            }
            ToClient::Taken(taken) => {
                self.mailbox.handle_taken(taken.notification);
            }
            ToClient::Serve(serve) => {
                line.serving = Some(Serving::new(serve, &mut self.pool));
            }
            ToClient::Ping(ping) => line.owe_pong(ping.nonce),
            ToClient::Pong(pong) => self.handle_pong(key, pong.nonce),
            ToClient::Bye(bye) => {
                let window = Duration::from_millis(bye.retry_after_ms.into());
                let window = (!window.is_zero()).then_some(window);
                self.lost(key, Failure::Bye(bye.reason.name()), window);
                self.end(key, Close::Finish);
            }
        }
        Ok(())
    }
}
