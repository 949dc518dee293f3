//! The door in and the door out.

use core::net::SocketAddr;
use core::time::Duration;

use super::event::{Event, Failure};
use super::identity::Kept;
use super::line::Line;
use super::{Client, Conn, Stage};
use crate::http::{ClientEffect, Reading};
use crate::notify::MailboxEffect;
use crate::registration::SelectorEffect;
use crate::wire::message::ByeReason;
use crate::{
    AcceptError, Close, ConnId, Deadline, Endpoint, Input, Instant, Key, Machine, OUTPUT_BUF_MIN,
    Output, pcc,
};

/// What one step came to; the buffer holds the bytes.
pub(super) enum Step {
    Written(ConnId, usize),
    Connect(ConnId),
    Datagram(SocketAddr, usize),
    Output(Output<'static, Event>),
}

impl Endpoint for Client {
    type Event = Event;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.advance(now);
        if connection_of(&input).is_some_and(|key| !self.conns.contains(key)) {
            self.stale_inputs += 1;
            return match input {
                Input::Received { bytes, .. } => bytes.len(),
                _ => 0,
            };
        }
        match input {
            Input::Timeout => self.handle_timeout(),
            Input::Received { conn, bytes } => return self.handle_received(conn, bytes),
            Input::Connected { conn, local, .. } => {
                self.handle_connected(conn.key(), local.ip().to_canonical());
            }
            Input::ConnectFailed { conn, why } => self.handle_connect_failed(conn.key(), why),
            Input::Eof { conn } => self.handle_eof(conn.key()),
            Input::Blocked { conn } => self.handle_blocked(conn.key()),
            Input::Writable { conn } => self.handle_writable(conn.key()),
            Input::Moved { conn, bytes } => {
                let (now, pool) = (self.now, &mut self.pool);
                if let Some(Conn {
                    stage: Stage::Http(http),
                    ..
                }) = self.conns.get_mut(conn.key())
                {
                    http.handle_moved(now, bytes, pool);
                }
            }
            Input::Closed { conn, why } => self.handle_closed(conn.key(), why),
            Input::Loaded { ticket, bytes } => {
                let kept = self.keeper.handle_loaded(ticket, bytes);
                self.handle_kept(kept);
            }
            Input::Stored { ticket } => {
                let kept = self.keeper.handle_stored(ticket);
                self.handle_kept(kept);
            }
            Input::StoreFailed { ticket, why } => {
                let kept = self.keeper.handle_failed(ticket, why);
                self.handle_kept(kept);
            }
            Input::Datagram { bytes, .. } => self.handle_datagram(bytes),
            Input::WallClock(_) | Input::Introduced { .. } | Input::Hashed { .. } => {}
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
            self.settle_all();
            if let Some(event) = self.events.pop_front() {
                return Output::Event(event);
            }
            if let Some((ticket, op)) = self.keeper.poll_store() {
                return Output::Store {
                    ticket,
                    op: self.keeper.store_op(op, buf),
                };
            }
            match self.step(buf) {
                Some(Step::Written(conn, len)) => {
                    return Output::Write {
                        conn,
                        bytes: &buf[..len],
                    };
                }
                Some(Step::Datagram(to, len)) => {
                    return Output::Datagram {
                        to,
                        bytes: &buf[..len],
                    };
                }
                Some(Step::Connect(conn)) => return self.connect_output(conn, buf),
                Some(Step::Output(output)) => return output,
                // What was done on a connection may ask for more elsewhere.
                None if core::mem::take(&mut self.stirred) => {}
                None => return Output::Wait(self.deadline()),
            }
        }
    }

    /// A client does not listen.
    fn accept(
        &mut self,
        _now: Instant,
        _peer: SocketAddr,
        _local: SocketAddr,
    ) -> Result<ConnId, AcceptError> {
        Err(AcceptError::NotListening)
    }
}

impl Client {
    fn handle_timeout(&mut self) {
        let now = self.now;
        if !self.stopping {
            self.selector.handle_timeout(now);
        }
        self.registrar.handle_timeout(now);
        self.pcc.handle_timeout(now);
        self.mailbox.handle_timeout(now);
        self.watch.handle_timeout(now);
        self.check_gap();
        if self.serve_at.is_some_and(|at| at <= now) {
            self.serve_at = None;
        }
        if self.asking.resting_until.is_some_and(|at| at <= now) {
            self.asking.resting_until = None;
        }
        if self.poll_at().is_some_and(|at| at <= now) {
            self.heard_at = now;
            self.asking.inbox = true;
        }
        let mut place = 0;
        while let Some(key) = self.conns.next_from(place) {
            place = key.index() + 1;
            self.handle_conn_timeout(key);
        }
    }

    /// When the inbox is to be asked although nothing was heard. Also while
    /// the persistent connection is open: one that a firewall has forgotten is
    /// silent for ever.
    fn poll_at(&self) -> Option<Instant> {
        let interval = self.poll_interval;
        let wanted = !interval.is_zero() && self.session.is_some() && !self.asking.inbox;
        wanted.then(|| self.heard_at + interval.max(Duration::from_secs(1)))
    }

    fn handle_kept(&mut self, kept: Option<Kept>) {
        match kept {
            Some(Kept::Loaded) => {
                if !self.stopping {
                    self.registrar.handle_start(self.now);
                    self.registrar.handle_timeout(self.now);
                }
            }
            Some(Kept::Failed(why)) => {
                self.events.push_back(Event::StorageFailed { why });
                let unsettled = self.admitted.take().is_some();
                if core::mem::take(&mut self.numbering) || unsettled {
                    self.registrar.handle_failed(self.now);
                }
            }
            Some(Kept::Unavailable(why)) => {
                self.events.push_back(Event::IdentityUnavailable { why });
            }
            Some(Kept::Unreadable) => self.events.push_back(Event::IdentityUnreadable),
            Some(Kept::Saved) | None => {}
        }
    }

    /// Everything that follows from the state of more than one machine.
    fn settle_all(&mut self) {
        self.settle_watch();
        self.settle_selection();
        if self.registrar.poll().is_some() {
            self.keeper.take_number(0);
            self.numbering = true;
        }
        if self.keeper.is_saved() {
            if core::mem::take(&mut self.numbering) {
                self.asking.register = true;
            }
            if let Some(admitted) = self.admitted.take() {
                self.settle(admitted);
                self.pcc.handle_timeout(self.now);
            }
        }
        match self.pcc.poll() {
            Some(pcc::Effect::Connect) => self.open_line(),
            Some(pcc::Effect::Disconnect) => self.leave_line(ByeReason::Refused),
            Some(pcc::Effect::Register) => self.register_within(None),
            Some(pcc::Effect::Fetch) => self.asking.inbox = true,
            None => {}
        }
        while let Some(effect) = self.mailbox.poll() {
            if let MailboxEffect::Expired(notification) = effect {
                self.events
                    .push_back(Event::NotificationExpired { notification });
            }
        }
        if !self.stopping
            && self.control.is_none()
            && let Some(question) = self.next_question()
        {
            self.control = self.open(self.relay_of(question));
        }
    }

    /// What follows from the choice of the relay.
    fn settle_selection(&mut self) {
        // Without a delay, a relay that has just failed is left at once.
        if self.selector_at().is_some_and(|at| at <= self.now) {
            self.selector.handle_timeout(self.now);
        }
        while let Some(effect) = self.selector.poll() {
            match effect {
                SelectorEffect::Changed(relay) => {
                    self.events.push_back(Event::RelayChanged { relay });
                    continue;
                }
                SelectorEffect::Returned if self.session.is_some() && !self.stale => {
                    self.registrar.handle_stands();
                }
                SelectorEffect::Register | SelectorEffect::Returned if !self.stopping => {
                    self.registrar.handle_start(self.now);
                }
                SelectorEffect::Register | SelectorEffect::Returned => {}
            }
            self.registrar.handle_timeout(self.now);
        }
    }

    /// The next effect of any connection.
    fn step(&mut self, buf: &mut [u8]) -> Option<Step> {
        let mut place = 0;
        while let Some(key) = self.conns.next_from(place) {
            place = key.index() + 1;
            let id = ConnId::from_key(key);
            let linger = self.now + self.settings.http.linger;
            let Some(conn) = self.conns.get_mut(key) else {
                continue;
            };
            let step = match &mut conn.stage {
                Stage::Wanted => {
                    conn.stage = Stage::Opening;
                    Some(Step::Connect(id))
                }
                Stage::Http(_) => self.step_http(key, buf),
                Stage::Line(_) => self.step_line(key, buf),
                Stage::Ending(how) => {
                    let how = *how;
                    conn.deadline = (how == Close::Finish).then_some(linger);
                    conn.stage = match how {
                        Close::Finish => Stage::Lingering,
                        Close::Abort => Stage::Ended,
                    };
                    Some(Step::Output(Output::Close { conn: id, how }))
                }
                Stage::Opening | Stage::Lingering | Stage::Ended => None,
            };
            if step.is_some() {
                return step;
            }
        }
        None
    }

    fn step_http(&mut self, key: Key, buf: &mut [u8]) -> Option<Step> {
        let id = ConnId::from_key(key);
        let (now, bytes_max) = (self.now, self.limits.answer_body_bytes_max);
        let is_persistent = self.is_persistent(key);
        loop {
            let conn = self.conns.get_mut(key)?;
            let Stage::Http(http) = &mut conn.stage else {
                return None;
            };
            let Some(effect) = http.poll() else {
                if conn.blocked {
                    return None;
                }
                let len = http.poll_write(now, buf, &mut self.pool);
                return (len > 0).then_some(Step::Written(id, len));
            };
            self.stirred = true;
            match effect {
                ClientEffect::Response => {
                    // A fresh response can always be read.
                    let _ = http.read_body(now, Reading::Whole { bytes_max }, &mut self.pool);
                }
                ClientEffect::BodyEnd if is_persistent => self.connect_refused(key),
                ClientEffect::BodyEnd => self.answered(key),
                ClientEffect::Upgraded => {
                    http.handle_closed(&mut self.pool);
                    let mut line = Line::default();
                    if conn.blocked {
                        line.handle_blocked(now + self.settings.line_stall);
                    }
                    conn.stage = Stage::Line(line);
                    conn.deadline = Some(now + self.settings.http.head);
                    conn.resume = true;
                }
                ClientEffect::Failed(why) => self.lost(key, Failure::Http(why), None),
                ClientEffect::Resume => {
                    return Some(Step::Output(Output::Resume { conn: id }));
                }
                ClientEffect::Close(how) => {
                    if self.control == Some(key) {
                        self.control = None;
                    }
                    return Some(Step::Output(Output::Close { conn: id, how }));
                }
                // Answers are read whole, into core.
                ClientEffect::Take { .. } | ClientEffect::Body => {}
            }
        }
    }

    fn connect_output<'b>(&self, conn: ConnId, buf: &'b mut [u8]) -> Output<'b, Event> {
        let leads_to = self.conns.get(conn.key()).map(|conn| conn.relay);
        let relay = leads_to.and_then(|relay| self.settings.relays.get(relay));
        let (host, port, tls) = relay.map_or(("", 0, false), |relay| {
            (relay.host.as_ref(), relay.port, relay.tls)
        });
        let host = host.as_bytes();
        let len = host.len().min(buf.len());
        buf[..len].copy_from_slice(&host[..len]);
        let host = core::str::from_utf8(&buf[..len]).unwrap_or_default();
        Output::Connect {
            conn,
            host,
            port,
            tls,
        }
    }

    fn selector_at(&self) -> Option<Instant> {
        self.selector.poll_timeout().filter(|_| !self.stopping)
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let conns = self.conns.iter().filter_map(|(_, conn)| match &conn.stage {
            Stage::Http(http) => http.poll_timeout(),
            Stage::Line(line) => [conn.deadline, line.stall()].into_iter().flatten().min(),
            _ => conn.deadline,
        });
        [
            (self.registrar.poll_timeout(), "registration"),
            (self.selector_at(), "selection"),
            (self.pcc.poll_timeout(), "persistent connection"),
            (self.watch.poll_timeout(), "heartbeat"),
            (self.mailbox.poll_timeout(), "notification"),
            (self.poll_at(), "inbox"),
            (self.inbound.poll_timeout(), "datagrams"),
            (self.serve_at, "serving"),
            (self.asking.resting_until, "rest"),
            (conns.min(), "connection"),
        ]
        .into_iter()
        .filter_map(|(at, reason)| at.map(|at| Deadline { at, reason }))
        .min_by_key(|deadline| deadline.at)
    }
}

/// The connection that the fact is about.
const fn connection_of(input: &Input<'_>) -> Option<Key> {
    match input {
        Input::Introduced { conn, .. }
        | Input::Connected { conn, .. }
        | Input::ConnectFailed { conn, .. }
        | Input::Received { conn, .. }
        | Input::Eof { conn }
        | Input::Blocked { conn }
        | Input::Writable { conn }
        | Input::Closed { conn, .. }
        | Input::Moved { conn, .. } => Some(conn.key()),
        Input::Timeout
        | Input::WallClock(_)
        | Input::Hashed { .. }
        | Input::Stored { .. }
        | Input::Loaded { .. }
        | Input::StoreFailed { .. }
        | Input::Datagram { .. } => None,
    }
}
