//! A client against any sequence of facts and commands.
//!
//! [`operations`] decodes bytes into what a network, a disk, a relay and an
//! application can do, drives a client through it by the contract, and panics
//! where a promise does not hold: what goes out stands in order and nothing
//! goes to a connection that is blocked or ended, polling comes to its end,
//! deadlines lie ahead, a number of a registration and an identity are on the
//! disk before they are used, a notification is handed out once, replies are
//! what the application said, a datagram is taken only if it is genuine and
//! new, and passed on only if it was listed, once, and to the own subnet.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

mod datagrams;
mod disk;
mod peer;

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::{Client, Event, HeartbeatSettings, Limits, RelayAddress, Settings};
use crate::collections::model::Script;
use crate::heartbeat::Rule;
use crate::notify::{Handle, MailboxLimits, ReplyMisuse};
use crate::registration::Interface;
use crate::{
    AcceptError, ClientId, CloseReason, ConnId, ConnectError, Endpoint, Input, Instant,
    NotificationId, OUTPUT_BUF_MIN, Output,
};
use datagrams::{OWN, Sealing, UDP_PORT};
use disk::Disk;
use peer::Peer;

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(OWN), 52_311);
/// Where the relays are: this, and how many in front of it.
const RELAYS: [&str; 3] = ["relay", "relay-1", "relay-2"];
const MAILBOX: MailboxLimits = MailboxLimits {
    notifications_max: 3,
    payload_bytes_max: 3_000,
    reply_bytes_max: 3_000,
    ahead_max: 3,
};
/// Outputs without an input between.
const STEPS_MAX: u32 = 500;
/// Outputs of one operation, with the inputs that answer them.
const ANSWERED_STEPS_MAX: u32 = 5_000;

/// Deadlines that are met before the clock jumps.
const DEADLINES_MAX: u32 = 32;
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Those of a client, which may follow the relay's.
fn heartbeats(draw: u8) -> HeartbeatSettings {
    let seconds = |shift: u8| Duration::from_secs((draw >> shift).into());
    HeartbeatSettings {
        period: if draw & 1 == 0 {
            Duration::ZERO
        } else {
            seconds(4)
        },
        response_timeout: RESPONSE_TIMEOUT,
        heartbeat: (draw & 2 != 0).then(|| seconds(3)),
        frequency: (draw & 4 != 0).then(|| seconds(5)),
    }
}

/// Any bytes as operations on a client.
pub fn operations(data: &[u8]) {
    let mut script = Script(data);
    let mut world = World::new(&mut script);
    world.settle(&mut script);
    while world.operate(&mut script).is_some() {
        if script.one_in(4) {
            world.poll(&mut script, 2);
        } else {
            world.settle(&mut script);
        }
    }
    world.finish(&mut Script(&[]));
}

/// A client, what surrounds it, and what is known of it from its outputs.
struct World {
    client: Client,
    now: Instant,
    buf: Vec<u8>,
    peers: Vec<Peer>,
    disk: Disk,
    /// What the application has to handle.
    handed: Vec<(Handle, NotificationId)>,
    /// What it said to each notification.
    replies: BTreeMap<NotificationId, Vec<u8>>,
    /// The newest notification of the relay's run.
    newest: NotificationId,
    /// The identities that the relay gave, or would have, the newest last.
    given: Vec<ClientId>,
    sealing: Sealing,
    registrations: Vec<u64>,
    connected: bool,
    stopping: bool,
    stopped: bool,
}

impl World {
    fn new(script: &mut Script<'_>) -> Self {
        let tls = script.one_in(2);
        let relay = |host: &&str| RelayAddress {
            host: (*host).into(),
            port: 52_311,
            tls,
        };
        let mut settings = Settings::new(relay(&RELAYS[0]), "host");
        settings.persistent_connection = !script.one_in(4);
        let shape = script.byte().unwrap_or_default();
        let relays = 1 + usize::from(shape / 4 % 3);
        settings.relays = RELAYS[..relays].iter().map(relay).collect();
        settings.datagrams_per_second_max = u32::from(shape / 16);
        settings.udp_port = UDP_PORT;
        let extra = script.byte().unwrap_or_default();
        settings.heartbeat = heartbeats(extra);
        let (address, prefix) = (ADDRESS.ip(), 24);
        settings.interfaces = vec![Interface { address, prefix }];
        let limits = Limits {
            answer_body_bytes_max: 8_000,
            frame_body_bytes_max: 4_000,
            events_max: 1 + usize::from(shape % 4),
            buffers_max: 2,
            buffer_bytes_max: 4_096,
            mailbox: MAILBOX,
            ..Limits::default()
        };
        Self {
            client: Client::new(settings, limits, [5; 32]),
            now: Instant::ORIGIN,
            buf: vec![0; OUTPUT_BUF_MIN + usize::from(extra)],
            peers: Vec::new(),
            disk: Disk::default(),
            handed: Vec::new(),
            replies: BTreeMap::new(),
            newest: NotificationId(0),
            given: vec![ClientId([3; 16])],
            sealing: Sealing::default(),
            registrations: Vec::new(),
            connected: false,
            stopping: false,
            stopped: false,
        }
    }

    /// Does what the next bytes say; `None` at the end of the script.
    fn operate(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 16 {
            0..3 => self.store(script),
            3 | 4 => self.open(script),
            5..8 => self.answer(script),
            8 | 9 => self.send_frames(script),
            10 => self.end_peer(script),
            11 => self.unblock(script),
            12 => self.pass_time(script),
            13 | 14 => self.act(script),
            _ => self.oddity(script),
        }
        Some(())
    }

    /// The disk is done with some of what it was told.
    fn store(&mut self, script: &mut Script<'_>) {
        let count = 1 + script.byte().unwrap_or_default() % 8;
        for _ in 0..count {
            let Some(done) = self.disk.step(script) else {
                return;
            };
            match &done.loaded {
                Some(bytes) => self.input(Input::Loaded {
                    ticket: done.ticket,
                    bytes,
                }),
                None => self.input(match done.failed {
                    Some(why) => Input::StoreFailed {
                        ticket: done.ticket,
                        why,
                    },
                    None => Input::Stored {
                        ticket: done.ticket,
                    },
                }),
            }
        }
    }

    /// The network opens a connection, or does not.
    fn open(&mut self, script: &mut Script<'_>) {
        let fails = script.one_in(4);
        let Some(at) = self.peers.iter().position(|peer| peer.may_open()) else {
            return;
        };
        let conn = self.peers[at].conn;
        if fails {
            self.peers.remove(at);
            let why = ConnectError::Refused;
            return self.input(Input::ConnectFailed { conn, why });
        }
        self.peers[at].opened = true;
        let (local, peer) = (ADDRESS, ADDRESS);
        self.input(Input::Connected { conn, local, peer });
    }

    fn end_peer(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.choose_open(script) else {
            return;
        };
        let (conn, may_end) = (self.peers[at].conn, self.peers[at].may_end());
        match script.byte().unwrap_or_default() % 3 {
            0 if may_end => {
                self.peers[at].ended = true;
                self.input(Input::Eof { conn });
            }
            0 => {}
            _ => self.close(at),
        }
    }

    fn close(&mut self, at: usize) {
        let (conn, why) = (self.peers.remove(at).conn, CloseReason::Reset);
        self.input(Input::Closed { conn, why });
    }

    fn unblock(&mut self, script: &mut Script<'_>) {
        if let Some(at) = self.choose_open(script)
            && core::mem::take(&mut self.peers[at].blocked)
        {
            let conn = self.peers[at].conn;
            self.input(Input::Writable { conn });
        }
    }

    fn pass_time(&mut self, script: &mut Script<'_>) {
        let span = Duration::from_micros(script.number(40).unwrap_or_default());
        if script.one_in(4) {
            let before = self.client.time_went_back();
            let micros = self.now.as_micros().saturating_sub(span.as_micros() as u64);
            let told = Instant::from_micros(micros);
            self.client.handle_input(told, Input::Timeout);
            let counted = self.client.time_went_back() - before;
            assert_eq!(counted, u64::from(told < self.now));
        } else {
            if span.as_micros() & 1 == 1 {
                self.meet_deadlines(script, self.now + span);
            }
            self.now = self.now + span;
            self.input(Input::Timeout);
        }
    }

    /// Time passes as for a driver that is there; up to `end`, or the moment of
    /// that many deadlines.
    fn meet_deadlines(&mut self, script: &mut Script<'_>, end: Instant) {
        for _ in 0..DEADLINES_MAX {
            let next = self.client.deadline().map(|deadline| deadline.at);
            let Some(at) = next.filter(|at| *at <= end) else {
                return;
            };
            self.now = self.now.max(at);
            self.settle(script);
        }
    }

    /// The application handles a notification.
    fn act(&mut self, script: &mut Script<'_>) {
        let Some((handle, id)) = script.choose(&self.handed) else {
            return;
        };
        if script.one_in(4) {
            self.client.dismiss(self.now, handle);
            self.handed.retain(|(other, _)| *other != handle);
            return;
        }
        let len = script.number(12).unwrap_or_default() as usize;
        let payload = vec![b'r'; len];
        match self.client.reply(self.now, handle, &payload) {
            Ok(()) => {
                assert!(len <= MAILBOX.reply_bytes_max);
                self.handed.retain(|(other, _)| *other != handle);
                self.replies.insert(id, payload);
                let again = self.client.reply(self.now, handle, b"");
                assert_eq!(again, Err(ReplyMisuse::Gone));
            }
            Err(ReplyMisuse::TooLong { bytes_max }) => assert!(len > bytes_max),
            // The relay may have said that it wants none.
            Err(ReplyMisuse::Gone) => {
                assert!(self.client.notification(handle).is_none());
                self.handed.retain(|(other, _)| *other != handle);
            }
        }
    }

    fn oddity(&mut self, script: &mut Script<'_>) {
        let draw = script.byte().unwrap_or_default();
        let conn = ConnId::from_key(crate::Key::new(u32::from(draw % 4), u32::MAX - 1));
        match draw % 8 {
            0 => self.input(Input::Eof { conn }),
            1 => self.input(Input::Writable { conn }),
            2 => self.input(Input::Blocked { conn }),
            3 => {
                let why = ConnectError::Tls;
                self.input(Input::ConnectFailed { conn, why });
            }
            4 if draw < 64 => {
                let (from, bytes) = (ADDRESS, script.bytes(9));
                self.input(Input::Datagram { from, bytes });
            }
            4 => self.receive_datagram(script),
            5 => {
                let prefix = 24 + script.byte().unwrap_or_default() % 8;
                let address = ADDRESS.ip();
                let interfaces = [Interface { address, prefix }];
                self.client.handle_addresses(self.now, &interfaces);
            }
            6 if script.one_in(4) => {
                self.client.stop(self.now);
                self.stopping = true;
            }
            7 if draw < 128 => self.client.select(self.now),
            _ => {
                let accepted = self.client.accept(self.now, ADDRESS, ADDRESS);
                assert_eq!(accepted, Err(AcceptError::NotListening));
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        assert_eq!(self.client.handle_input(self.now, input), 0);
    }

    fn choose_open(&self, script: &mut Script<'_>) -> Option<usize> {
        let draw = usize::from(script.byte()?);
        let open = (0..self.peers.len()).filter(|at| self.peers[*at].opened);
        let open: Vec<_> = open.collect();
        open.get(draw % open.len().max(1)).copied()
    }

    /// Polls to `Wait`, or `most` outputs.
    fn poll(&mut self, script: &mut Script<'_>, most: u32) -> bool {
        let mut alone = 0;
        for _ in 0..most {
            let mut buf = core::mem::take(&mut self.buf);
            let output = self.client.poll_output(&mut buf);
            let waits = matches!(output, Output::Wait(_));
            if !waits {
                let answered = self.carry_out(script, output);
                alone = if answered { 0 } else { alone + 1 };
                assert!(alone < STEPS_MAX, "polling does not end");
            }
            self.buf = buf;
            if waits {
                return true;
            }
        }
        false
    }

    /// Polls to `Wait`, and to one whose deadline lies ahead.
    fn settle(&mut self, script: &mut Script<'_>) {
        assert!(self.poll(script, ANSWERED_STEPS_MAX), "a busy loop");
        self.input(Input::Timeout);
        assert!(self.poll(script, ANSWERED_STEPS_MAX), "a busy loop");
        let mut buf = core::mem::take(&mut self.buf);
        match self.client.poll_output(&mut buf) {
            Output::Wait(Some(deadline)) => assert!(deadline.at > self.now, "{deadline:?}"),
            Output::Wait(None) => {}
            other => panic!("more after Wait: {other:?}"),
        }
        self.buf = buf;
        assert!(self.handed.len() <= MAILBOX.notifications_max as usize);
        assert_eq!(self.client.is_connected(), self.connected);
    }

    /// Does what an output asks; returns whether an input followed.
    fn carry_out(&mut self, script: &mut Script<'_>, output: Output<'_, Event>) -> bool {
        match output {
            Output::Connect {
                conn, host, port, ..
            } => {
                let relays = self.client.settings.relays.len();
                assert!(RELAYS[..relays].contains(&host) && port == 52_311);
                assert!(!self.stopped, "a connection after the end");
                let same_place = |peer: &Peer| peer.conn.index() == conn.index();
                assert!(!self.peers.iter().any(same_place));
                self.peers.push(Peer::new(conn, self.now));
                false
            }
            Output::Write { conn, bytes } => {
                let at = self.peer_of(conn);
                self.written(at, bytes);
                let blocks = script.one_in(8);
                if blocks {
                    self.peers[at].blocked = true;
                    self.input(Input::Blocked { conn });
                }
                blocks
            }
            Output::Close { conn, how } => {
                let at = self.peer_of(conn);
                self.peers[at].told_to_close(how);
                false
            }
            Output::Resume { conn } => {
                let at = self.peer_of(conn);
                self.peers[at].paused = false;
                self.offer(at)
            }
            Output::Store { ticket, op } => {
                self.disk.take(ticket, &op);
                false
            }
            Output::Datagram { to, bytes } => {
                self.passed_on(to, bytes);
                false
            }
            Output::Event(event) => {
                self.learn(event);
                false
            }
            other => panic!("not a client's: {other:?}"),
        }
    }

    fn peer_of(&self, conn: ConnId) -> usize {
        let found = self.peers.iter().position(|peer| peer.conn == conn);
        found.expect("an output for a connection that is gone")
    }

    fn learn(&mut self, event: Event) {
        match event {
            Event::Registered { client, .. } => {
                assert_eq!(client, self.client.id().unwrap());
                assert!(self.disk.has_identity(client), "used before it is on disk");
            }
            Event::Connected => assert!(!core::mem::replace(&mut self.connected, true)),
            Event::Disconnected { .. } => self.connected = false,
            Event::Notification {
                notification, id, ..
            } => {
                assert!(!self.handed.iter().any(|(_, other)| *other == id));
                self.handed.push((notification, id));
                self.newest = self.newest.max(id);
            }
            Event::NotificationExpired { notification } => {
                self.handed.retain(|(other, _)| *other != notification);
            }
            Event::Stopped => {
                assert!(self.stopping && self.peers.is_empty());
                assert!(
                    !core::mem::replace(&mut self.stopped, true),
                    "stopped twice"
                );
            }
            Event::Separated { from, client } => {
                assert!(self.disk.has_identity(client) && from != client);
            }
            Event::RelayChanged { relay } => assert_eq!(relay, self.client.relay()),
            Event::AttemptFailed {
                attempt,
                attempts_max,
                ..
            } => assert!((1..=attempts_max).contains(&attempt)),
            Event::HeartbeatEnded { silent_for, rule } => self.check_silent(silent_for, rule),
            Event::HeartbeatAdvice(_)
            | Event::Reached
            | Event::Failed { .. }
            | Event::StorageFailed { .. }
            | Event::IdentityUnavailable { .. }
            | Event::IdentityUnreadable => {}
        }
    }

    /// A connection is ended only if its relay was as silent as that, and by
    /// the prober only if a probe was written a response timeout before.
    fn check_silent(&self, silent_for: Duration, rule: Rule) {
        let heartbeat = self.client.settings.heartbeat;
        match rule {
            Rule::Heartbeat => assert!(heartbeat.heartbeat.is_none_or(|it| silent_for > it)),
            Rule::ResponseTimeout => {
                assert!(!heartbeat.period.is_zero() && silent_for >= RESPONSE_TIMEOUT);
            }
        }
        let mut lines = self.peers.iter().filter(|peer| peer.is_line()).peekable();
        // It may be gone before its end was told.
        let is_gone = lines.peek().is_none();
        let tick = Duration::from_millis(1);
        let was_silent = |peer: &Peer| {
            let silent = self.now.saturating_since(peer.heard_at) + tick;
            let asked = peer
                .pinged_at
                .map(|at| self.now.saturating_since(at) + tick);
            let is_unanswered = asked.is_some_and(|asked| asked >= RESPONSE_TIMEOUT);
            silent >= silent_for && (is_unanswered || rule == Rule::Heartbeat)
        };
        assert!(is_gone || lines.any(was_silent), "{silent_for:?}, {rule:?}");
    }

    /// Leaves nothing undone: after a stop, no connection stays.
    fn finish(&mut self, script: &mut Script<'_>) {
        self.client.stop(self.now);
        self.stopping = true;
        self.settle(script);
        while !self.peers.is_empty() {
            let peer = &self.peers[0];
            let conn = peer.conn;
            if peer.opened || !peer.may_open() {
                self.close(0);
            } else {
                self.peers.remove(0);
                let why = ConnectError::TimedOut;
                self.input(Input::ConnectFailed { conn, why });
            }
            self.settle(script);
        }
        assert!(self.stopped, "the end is not told");
        self.now = self.now + Duration::from_secs(100 * 86_400);
        self.input(Input::Timeout);
        self.settle(script);
        assert!(self.peers.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// From nothing to a notification that is replied to.
    const SESSION: &[&[u8]] = &[
        &[0, 0, 3, 0],                                            // start
        &[0, 0, 0, 3, 0],                                         // the file is not there
        &[0, 3, 0, 0, 0, 0, 0],                                   // the number is written
        &[0, 0, 0, 0],                                            // and renamed
        &[3, 0, 0, 0],                                            // open
        &[5, 0, 6, 1, 1, 0, 12, 255, 15, 0, 0, 0, 0],             // admitted
        &[0, 3, 0, 0, 0, 0, 0],                                   // the identity is written
        &[0, 0, 0, 0],                                            // and renamed
        &[3, 0, 0, 0],                                            // open
        &[5, 1, 0, 0],                                            // upgraded
        &[8, 1, 1, 0, 0, 0, 0, 1, 0, 3, 3, 5, 9, 8, 60, 0, 0, 0], // hello, notification
        &[13, 0, 0, 0, 3, 4, 0, 0],                               // reply
    ];

    /// Behind it: a datagram for the client, and a frame of two for the subnet.
    const DATAGRAMS: &[&[u8]] = &[
        &[15, 68, 0, 1, 4, 2, 0, 0],
        &[8, 1, 0, 0, 0, 192, 1, 20, 0, 21, 0, 0],
    ];

    /// The same, of a client with these settings, whose relay says that it
    /// sends heartbeats every second.
    fn with_heartbeats(start: &[u8]) -> Vec<&[u8]> {
        let mut parts = SESSION.to_vec();
        let admitted = &[5, 0, 6, 37, 1, 0, 12, 255, 15, 0, 0, 0, 0];
        (parts[0], parts[5]) = (start, admitted);
        parts
    }

    fn run(parts: &[&[u8]]) -> World {
        let data = parts.concat();
        let mut script = Script(&data);
        let mut world = World::new(&mut script);
        world.settle(&mut script);
        while world.operate(&mut script).is_some() {
            let polls_less = script.one_in(4);
            assert!(!polls_less);
            world.settle(&mut script);
        }
        world
    }

    #[test]
    fn a_whole_session_is_within_reach() {
        let mut world = run(SESSION);
        assert!(world.connected);
        assert_eq!(world.replies.len(), 1);
        assert!(world.peers.iter().any(Peer::has_reply));
        world.finish(&mut Script(&[]));
    }

    #[test]
    fn datagrams_of_both_ways_are_within_reach() {
        let mut world = run(&[SESSION, DATAGRAMS].concat());
        let stats = world.client.stats();
        assert_eq!((stats.datagrams, stats.served), (1, 2), "{stats:?}");
        world.finish(&mut Script(&[]));
    }

    #[test]
    fn ends_by_either_rule_are_within_reach() {
        // The relay's period of a second is in its answer; this end's, of one
        // or none, among the settings. Then time passes, and nothing comes.
        for (extra, prober) in [(0x00, 0), (0x11, 1)] {
            let start = [0, 0, 3, extra];
            let mut world = run(&with_heartbeats(&start));
            let heard = world.client.stats().clone();
            assert_eq!((heard.ended_by_prober, heard.ended_by_monitor), (0, 0));
            for _ in 0..12 {
                world.now = world.now + Duration::from_millis(500);
                world.input(Input::Timeout);
                world.settle(&mut Script(&[]));
            }
            let stats = world.client.stats().clone();
            let ended = (stats.ended_by_prober, stats.ended_by_monitor);
            assert_eq!(ended, (prober, 1 - prober), "{stats:?}");
            assert!(!world.connected);
        }
    }

    #[test]
    fn bytes_in_time_are_within_reach() {
        let two_seconds = &[12, 21, 0x81, 0x84, 0x1e, 0, 0][..];
        let ping = &[8, 1, 0, 0, 0, 3, 0, 0, 0][..];
        let start = [0, 0, 3, 0];
        let mut parts = with_heartbeats(&start);
        parts.extend([two_seconds, ping, two_seconds, ping, two_seconds]);
        let world = run(&parts);
        assert!(world.now.as_micros() > 6_000_000 && world.connected);
        parts.push(two_seconds);
        assert_eq!(run(&parts).client.stats().ended_by_monitor, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_operations_keep_the_promises(data in vec(any::<u8>(), 0..1_500)) {
            operations(&data);
        }

        #[test]
        fn and_so_they_do_behind_a_session(data in vec(any::<u8>(), 0..1_500)) {
            operations(&[&SESSION.concat(), &data[..]].concat());
        }

        #[test]
        fn and_with_heartbeats(extra in any::<u8>(), data in vec(any::<u8>(), 0..1_500)) {
            let start = [0, 0, 3, extra];
            operations(&[&with_heartbeats(&start).concat(), &data[..]].concat());
        }
    }
}
