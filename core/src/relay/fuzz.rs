//! A relay against any sequence of facts and commands.
//!
//! [`operations`] decodes bytes into what a network, the clients and an
//! application can do, drives a relay through it by the contract, and panics
//! where a promise does not hold: what goes out stands in order and nothing
//! goes to a connection that is blocked or ended, polling comes to its end,
//! deadlines lie ahead, tables keep their limits, what is counted agrees with
//! a naive model, a notification reaches only who it is for, once on each
//! connection, and what goes by datagram goes to who has no connection, one way
//! at a time, to where it was seen or stands in the peer's own subnet; who is
//! silent is asked and ended in time, and nobody else.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

mod application;
#[cfg(test)]
mod directed;
mod heartbeats;
mod peer;
mod requests;
mod told;
mod ways;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use super::connection::Role;
use super::{Event, HeartbeatSettings, Limits, Relay, Settings};
use crate::collections::model::Script;
use crate::http;
use crate::notify::{NotifierLimits, RouterLimits};
use crate::registration::{RegistryLimits, RegistrySettings, Site, SubnetName};
use crate::wire::proof::{ClientSecret, MasterKey, SessionKey};
use crate::{
    AcceptError, ClientId, CloseReason, ConnId, ConnectError, Endpoint, FileId, Incarnation, Input,
    Instant, Key, Network, NotificationId, OUTPUT_BUF_MIN, Output, RequestId, Ticket, UnixTime,
};
use peer::Peer;
use told::Said;

const MASTER: MasterKey = MasterKey([9; 32]);
const INCARNATION: Incarnation = Incarnation(3);
const RELAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 52_311);
const PAYLOAD_BYTES_MAX: usize = 5_000;
/// Outputs without an input between; each connection owes a bounded number.
const STEPS_MAX: u32 = 2_000;
/// Outputs of one operation, with the inputs that answer them.
const ANSWERED_STEPS_MAX: u32 = 20_000;

/// Any bytes as operations on a relay.
pub fn operations(data: &[u8]) {
    let mut script = Script(data);
    let mut world = World::new(&mut script);
    while world.operate(&mut script).is_some() {
        if script.one_in(4) {
            world.poll(&mut script, 2);
            world.steady_since = Instant::MAX;
        } else {
            world.settle(&mut script);
        }
    }
    world.finish(&mut Script(&[]));
}

/// A client as the peers know it.
struct Known {
    id: ClientId,
    secret: ClientSecret,
    key: Option<SessionKey>,
    counter: u64,
}

/// A relay, what surrounds it, and what is known of it from its outputs.
struct World {
    relay: Relay,
    limits: Limits,
    caps: RegistrySettings,
    now: Instant,
    buf: Vec<u8>,
    peers: Vec<Peer>,
    gone: Vec<ConnId>,
    known: Vec<Known>,
    registration: u64,
    registered: BTreeSet<ClientId>,
    said: BTreeMap<NotificationId, Said>,
    /// Every subnet that a client was in.
    places: BTreeMap<ClientId, Vec<SubnetName>>,
    /// Tests that came to a client.
    tests: Vec<(ClientId, u64)>,
    requests: Vec<RequestId>,
    heartbeats: HeartbeatSettings,
    /// Since when time was kept and outputs were carried out.
    steady_since: Instant,
    drained: bool,
}

impl World {
    fn new(script: &mut Script<'_>) -> Self {
        let limits = limits(script.byte().unwrap_or_default());
        let mut settings = Settings::new(MASTER, INCARNATION);
        settings.registry.secrets_over_plaintext = script.one_in(2);
        settings.registry.persistent_connections = !script.one_in(8);
        let caps = script.byte().unwrap_or_default();
        settings.registry.connections_max = if caps & 1 == 1 { 2 } else { 100 };
        settings.registry.connections_per_subnet_max = u32::from(caps >> 1) % 3;
        settings.registry.connections_per_address_max = u32::from(caps >> 3) % 4;
        settings.registry.sites.push(site());
        settings.datagrams_per_second_max = [0, 1, 20, 20_000][usize::from(caps >> 6)];
        let caps = settings.registry.clone();
        let spare = usize::from(script.byte().unwrap_or_default()) * 8;
        settings.heartbeat = heartbeats::draw(script);
        let heartbeats = settings.heartbeat.clone();
        Self {
            relay: Relay::new(settings, limits.clone(), [5; 32]),
            limits,
            caps,
            now: Instant::ORIGIN,
            buf: vec![0; OUTPUT_BUF_MIN + spare],
            peers: Vec::new(),
            gone: Vec::new(),
            known: Vec::new(),
            registration: 0,
            registered: BTreeSet::new(),
            said: BTreeMap::new(),
            places: BTreeMap::new(),
            tests: Vec::new(),
            requests: Vec::new(),
            heartbeats,
            steady_since: Instant::ORIGIN,
            drained: false,
        }
    }

    /// Does what the next bytes say; `None` at the end of the script.
    fn operate(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 22 {
            0 | 1 => self.accept(script),
            2 => self.send_noise(script),
            3 => self.send_request(script),
            4 | 5 => self.register(script),
            6 | 7 => self.ask_connect(script),
            8 => self.ask_inbox(script),
            9 => self.send_reply(script),
            10 | 11 => self.send_frame(script),
            12 => self.end_peer(script),
            13 => self.unblock(script),
            14 => self.move_bytes(script),
            15 => self.pass_time(script),
            16 | 17 => self.notify(script),
            18 => self.act(script),
            19 => self.confirm(script),
            20 => self.prove_test(script),
            _ => self.oddity(script),
        }
        Some(())
    }

    fn accept(&mut self, script: &mut Script<'_>) {
        let place = usize::from(script.byte().unwrap_or_default());
        let peer = SocketAddr::new(OBSERVED[place % OBSERVED.len()].into(), 40_000);
        match self.relay.accept(self.now, peer, RELAY) {
            Ok(conn) => {
                let same_place = |other: &Peer| other.conn.index() == conn.index();
                assert!(!self.peers.iter().any(same_place));
                assert!(!self.relay.is_draining());
                self.peers.push(Peer::new(conn, peer.ip()));
                if script.one_in(4) {
                    let secure = script.one_in(2);
                    self.input(Input::Introduced { conn, peer, secure });
                }
            }
            Err(AcceptError::Draining) => assert!(self.relay.is_draining()),
            Err(error) => {
                assert_eq!(error, AcceptError::Full);
                assert_eq!(self.peers.len(), self.limits.connections_max as usize);
            }
        }
    }

    /// The peer ends its side, or the connection breaks.
    fn end_peer(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.choose_peer(script) else {
            return;
        };
        let (conn, may_end) = (self.peers[at].conn, self.peers[at].may_end());
        match script.byte().unwrap_or_default() % 3 {
            0 if may_end => {
                self.peers[at].ended = true;
                self.input(Input::Eof { conn });
            }
            0 => {}
            1 => self.close(at, CloseReason::Reset),
            _ => self.close(at, CloseReason::Done),
        }
    }

    fn unblock(&mut self, script: &mut Script<'_>) {
        if let Some(at) = self.choose_peer(script)
            && core::mem::take(&mut self.peers[at].blocked)
        {
            self.take_again(at);
        }
    }

    fn take_again(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        if let Some(line) = &mut peer.line {
            line.begin_anew(now);
        }
        let conn = peer.conn;
        self.input(Input::Writable { conn });
    }

    /// A file moves to the connection.
    fn move_bytes(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.choose_peer(script) else {
            return;
        };
        let peer = &mut self.peers[at];
        let bytes = script.number(16).unwrap_or_default().min(peer.send_left);
        if bytes > 0 {
            peer.send_left -= bytes;
            let conn = peer.conn;
            self.input(Input::Moved { conn, bytes });
        }
    }

    fn pass_time(&mut self, script: &mut Script<'_>) {
        let before = self.now;
        let span = Duration::from_micros(script.number(45).unwrap_or_default());
        if script.one_in(4) {
            let back = before.as_micros().saturating_sub(span.as_micros() as u64);
            let counted = self.relay.stats().time_went_back;
            self.relay
                .handle_input(Instant::from_micros(back), Input::Timeout);
            let more = u64::from(!span.is_zero() && before > Instant::ORIGIN);
            assert_eq!(self.relay.stats().time_went_back, counted + more);
            assert_eq!(self.relay.now(), before);
        } else {
            self.pass(span);
        }
    }

    /// What a driver would not say, or not now, and a shutdown.
    fn oddity(&mut self, script: &mut Script<'_>) {
        let conn = self.choose_gone(script);
        let ticket = Ticket(script.byte().unwrap_or_default().into());
        match script.byte().unwrap_or_default() % 16 {
            0 => self.stale(Input::Eof { conn }),
            1 => self.stale(Input::Blocked { conn }),
            2 => self.stale(Input::Writable { conn }),
            3 => self.stale(Input::Moved { conn, bytes: 1 }),
            4 => {
                let why = CloseReason::Failed;
                self.stale(Input::Closed { conn, why });
            }
            5 => {
                let bytes = b"GET ";
                self.stale(Input::Received { conn, bytes });
            }
            6 => {
                let why = ConnectError::Refused;
                self.input(Input::ConnectFailed { conn, why });
            }
            7 => {
                let (from, bytes) = (RELAY, script.bytes(20));
                self.input(Input::Datagram { from, bytes });
            }
            8 => self.input(Input::Stored { ticket }),
            9 => self.input(Input::WallClock(UnixTime::from_millis(ticket.0))),
            10 => {
                let needed = OUTPUT_BUF_MIN;
                let small = self.relay.poll_output(&mut self.buf[..needed - 1]);
                assert_eq!(small, Output::BufferTooSmall { needed });
            }
            11 if script.one_in(4) => self.relay.drain(self.now),
            12 | 13 => self.keep_deadlines(script, ticket.0 % 32),
            14 => self.fall_silent(script),
            _ => {}
        }
    }

    /// Tells something about a connection that is gone.
    fn stale(&mut self, input: Input<'_>) {
        let before = self.relay.stats().stale_inputs;
        self.relay.handle_input(self.now, input);
        assert_eq!(self.relay.stats().stale_inputs, before + 1, "{input:?}");
    }

    fn input(&mut self, input: Input<'_>) {
        assert_eq!(self.relay.handle_input(self.now, input), 0);
    }

    fn close(&mut self, at: usize, why: CloseReason) {
        let peer = self.peers.remove(at);
        let conn = peer.conn;
        self.gone.push(conn);
        self.input(Input::Closed { conn, why });
    }

    fn choose_peer(&self, script: &mut Script<'_>) -> Option<usize> {
        let draw = usize::from(script.byte()?);
        (!self.peers.is_empty()).then(|| draw % self.peers.len())
    }

    fn choose_known(&self, script: &mut Script<'_>) -> Option<usize> {
        let draw = usize::from(script.byte()?);
        (!self.known.is_empty()).then(|| draw % self.known.len())
    }

    fn choose_said(&self, script: &mut Script<'_>) -> Option<NotificationId> {
        let draw = usize::from(script.byte()?);
        let at = draw % (self.said.len() + 1);
        let absent = NotificationId(u64::MAX - 1);
        Some(self.said.keys().nth(at).copied().unwrap_or(absent))
    }

    fn choose_gone(&self, script: &mut Script<'_>) -> ConnId {
        let draw = usize::from(script.byte().unwrap_or_default());
        let absent = ConnId::from_key(Key::new(77, 7));
        let at = draw % (self.gone.len() + 1);
        self.gone.get(at).copied().unwrap_or(absent)
    }

    /// Polls to `Wait`, or `most` outputs.
    fn poll(&mut self, script: &mut Script<'_>, most: u32) -> bool {
        let mut alone = 0;
        for _ in 0..most {
            let mut buf = core::mem::take(&mut self.buf);
            let output = self.relay.poll_output(&mut buf);
            let deadline = match output {
                Output::Wait(deadline) => Some(deadline),
                output => {
                    let answered = self.carry_out(script, output);
                    alone = if answered { 0 } else { alone + 1 };
                    assert!(alone < STEPS_MAX, "polling does not end");
                    None
                }
            };
            self.buf = buf;
            if deadline.is_some() {
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
        match self.relay.poll_output(&mut buf) {
            Output::Wait(Some(deadline)) => assert!(deadline.at > self.now, "{deadline:?}"),
            Output::Wait(None) => {}
            other => panic!("more after Wait: {other:?}"),
        }
        self.buf = buf;
        self.steady_since = self.steady_since.min(self.now);
        self.compare();
    }

    /// Does what an output asks; returns whether an input followed.
    fn carry_out(&mut self, script: &mut Script<'_>, output: Output<'_, Event>) -> bool {
        match output {
            Output::Write { conn, bytes } => {
                let at = self.peer_of(conn);
                self.written(at, bytes);
                if script.one_in(8) {
                    self.peers[at].blocked = true;
                    self.input(Input::Blocked { conn });
                    return true;
                }
                self.answer(script, at)
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
            Output::Take { conn, len, .. } => {
                let at = self.peer_of(conn);
                self.peers[at].told_to_take(len);
                self.offer(at)
            }
            Output::SendFile { conn, range, .. } => {
                let at = self.peer_of(conn);
                self.peers[at].told_to_send(range.end - range.start);
                false
            }
            Output::Event(event) => {
                self.learn(event);
                false
            }
            Output::Datagram { to, bytes } => {
                self.read_datagram(to, bytes);
                false
            }
            other => panic!("not a relay's: {other:?}"),
        }
    }

    fn peer_of(&self, conn: ConnId) -> usize {
        let found = self.peers.iter().position(|peer| peer.conn == conn);
        found.expect("an output for a connection that is gone")
    }

    /// What the relay counts, against what its outputs told.
    fn compare(&self) {
        let (stats, limits) = (self.relay.stats(), &self.limits);
        assert_eq!(stats.connections, self.peers.len() as u64);
        assert_eq!(stats.clients, self.registered.len() as u64);
        assert_eq!(stats.requests_open, self.requests.len() as u64);
        assert!(self.requests.len() <= limits.requests_max as usize);
        assert!(self.registered.len() <= limits.registry.clients_max as usize);
        assert!(stats.notifications_alive <= limits.notifier.notifications_max.into());
        let notifier = &limits.notifier;
        let bytes_max = notifier.payloads_bytes_max + notifier.replies_bytes_max;
        assert!(stats.notification_bytes <= bytes_max as u64);
        assert!(stats.replies_kept <= limits.notifier.replies_max.into());
        let lines = |conn: &super::Conn| matches!(conn.role, Role::Line(_));
        let lines = self.relay.conns.iter().filter(|(_, conn)| lines(conn));
        assert_eq!(stats.lines, lines.count() as u64);
        assert!(
            self.registered
                .iter()
                .all(|id| self.relay.client(*id).is_some())
        );
        let alive = self.said.values().filter(|said| !said.expired).count() as u64;
        self.compare_caps();
        self.compare_heartbeats();
        // One that expired stays until the connections that write it are done.
        assert!((alive..=alive + stats.lines).contains(&stats.notifications_alive));
        for (id, said) in &self.said {
            let status = self.relay.notification(*id);
            assert_eq!(status.is_none(), said.expired);
            let Some(status) = status else { continue };
            assert!(status.sent <= status.targets, "{status:?}");
            assert_eq!(status.replied as usize, said.replied.len());
            assert_eq!(self.relay.replies(*id).count(), said.replied.len());
        }
    }

    /// Leaves nothing undone: everything ends, and everything is given back.
    fn finish(&mut self, script: &mut Script<'_>) {
        for _ in 0..100 {
            for at in 0..self.peers.len() {
                let conn = self.peers[at].conn;
                if core::mem::take(&mut self.peers[at].blocked) {
                    self.take_again(at);
                }
                let bytes = core::mem::take(&mut self.peers[at].send_left);
                if bytes > 0 {
                    self.input(Input::Moved { conn, bytes });
                }
            }
            for request in self.requests.clone() {
                self.give_up(request);
            }
            self.settle(script);
            if self.requests.is_empty() && !self.peers.iter().any(Peer::waits_in_vain) {
                break;
            }
        }
        for peer in &self.peers {
            assert!(!peer.waits_in_vain(), "bytes are never asked for again");
        }
        self.come_to_rest(script);
        while !self.peers.is_empty() {
            self.close(0, CloseReason::Done);
        }
        self.settle(script);
        self.pass(Duration::from_secs(100 * 86_400));
        self.settle(script);
        let stats = self.relay.stats();
        assert_eq!((stats.clients, stats.notifications_alive), (0, 0));
        assert!(self.relay.router.is_empty() && self.relay.fanout.is_empty());
        self.relay.drain(self.now);
        self.settle(script);
        assert!(self.drained);
    }
}

fn limits(choice: u8) -> Limits {
    Limits {
        connections_max: 5,
        requests_max: 2,
        registration_body_bytes_max: 600,
        unfinished_frames_bytes_max: 600,
        frame_body_bytes_max: 200,
        inbox_notifications_max: 2,
        events_max: 1 + usize::from(choice & 3),
        buffers_max: 3,
        buffer_bytes_max: 2_048,
        http: http::Limits {
            body_buffer_bytes_max: 1_024,
            body_bytes_max: 1 << 20,
            response_bytes_max: 12_000,
            requests_per_connection_max: 6,
            ..http::Limits::default()
        },
        registry: RegistryLimits {
            clients_max: 6,
            newcomers_max: Some(6),
            hostname_bytes_max: 32,
            interfaces_max: 1,
            ..RegistryLimits::default()
        },
        notifier: NotifierLimits {
            notifications_max: 6,
            notifications_per_client_max: 3,
            notifications_per_group_max: 3,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            replies_max: 4,
            reply_bytes_max: 40,
            payloads_bytes_max: 6_000,
            replies_bytes_max: 5_000,
            lifetime_max: Duration::from_secs(86_400),
        },
        router: RouterLimits {
            legs_max: 4,
            legs_per_line_max: 2,
            ..RouterLimits::default()
        },
    }
}

/// Loopback, a NAT, and two addresses of a site.
const OBSERVED: [Ipv4Addr; 4] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(10, 0, 0, 2),
    Ipv4Addr::new(10, 0, 0, 3),
];

fn site() -> Site {
    Site {
        name: "site".into(),
        networks: vec![Network::of(OBSERVED[2].into(), 31).unwrap()],
    }
}

const FILE: FileId = FileId::from_key(Key::new(1, 0));

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// From nothing to a notification that is replied to.
    const SESSION: &[&[u8]] = &[
        &[3, 1, 0, 0, 0, 0, 0],            // start
        &[0, 0, 0, 0],                     // accept
        &[4, 0, 0, 0, 0, 0, 0],            // register
        &[6, 0, 0, 0, 0, 0, 0, 0, 0],      // connect
        &[16, 0, 0, 5, 0, 8, 60, 0, 0, 0], // notify
        &[10, 0, 0, 4, 6, 0, 0, 0, 0],     // reply
    ];

    #[test]
    fn a_whole_session_is_within_reach() {
        let data = SESSION.concat();
        let mut script = Script(&data);
        let mut world = World::new(&mut script);
        while world.operate(&mut script).is_some() {
            let polls_less = script.one_in(4);
            assert!(!polls_less);
            world.settle(&mut script);
        }
        let said = world.said.values().next().expect("it was said");
        assert_eq!(said.replied.len(), 1);
        world.finish(&mut script);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_operations_keep_the_promises(data in vec(any::<u8>(), 0..2_000)) {
            operations(&data);
        }
    }
}
