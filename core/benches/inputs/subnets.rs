//! A relay whose clients are in subnets, each with a peer or none, and a
//! driver that carries out what it says.

#[path = "asked.rs"]
mod asked;

use core::hint::black_box;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;

use tautline_core::notify::NotifyOptions;
use tautline_core::registration::{Answer, Interface, Request as Registration, body};
use tautline_core::relay::{Event, Limits, Relay, Settings, To};
use tautline_core::wire::frame::HEADER_BYTES;
use tautline_core::wire::message::{Served, ToRelay, kind};
use tautline_core::wire::proof::MasterKey;
use tautline_core::{ClientId, CloseReason, ConnId, Endpoint, Incarnation, Input, Instant, Output};

use asked::asked;

const DAY: Duration = Duration::from_secs(86_400);
const SUBNETS: usize = 100;
/// Two in each subnet: a way that was not answered is avoided the next time.
const PEERS: usize = 2;
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 52_311);

/// What a notification took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Datagrams of the relay's own.
    pub(crate) datagrams: usize,
    /// Datagrams that peers were handed and confirmed.
    pub(crate) passed_on: usize,
}

/// The relay, and who is there.
pub(crate) struct Town {
    relay: Relay,
    now: Instant,
    buf: Box<[u8; 65_536]>,
    /// Those without a connection.
    pub(crate) clients: Vec<ClientId>,
    /// Frames that wait to be confirmed.
    frames: VecDeque<(ConnId, u32)>,
}

impl Town {
    /// So many clients in a hundred subnets, with two peers more in each of
    /// them or none.
    pub(crate) fn new(clients: usize, peers: bool) -> Self {
        let mut settings = Settings::new(MasterKey([7; 32]), Incarnation(1));
        settings.registry.secrets_over_plaintext = true;
        settings.registry.connections_max = (SUBNETS * PEERS) as u32;
        settings.datagrams_per_second_max = 0;
        // None of them is forgotten.
        settings.registry.period = 100 * DAY;
        settings.registry.newcomer_life = 100 * DAY;
        let mut town = Self {
            relay: Relay::new(settings, Limits::default(), [1; 32]),
            now: Instant::ORIGIN,
            buf: Box::new([0; 65_536]),
            clients: Vec::with_capacity(clients),
            frames: VecDeque::with_capacity(1_024),
        };
        for place in 0..clients {
            let (answer, conn) = town.register(place % SUBNETS, place / SUBNETS, false);
            // Nothing is sent to who never used its key.
            town.feed(conn, asked(&answer, "/v1/inbox", "", 1).as_bytes());
            let why = CloseReason::Done;
            town.relay
                .handle_input(town.now, Input::Closed { conn, why });
            town.clients.push(answer.client);
        }
        let lines = if peers { SUBNETS * PEERS } else { 0 };
        for place in 0..lines {
            let (subnet, host) = (place % SUBNETS, 60_000 + place / SUBNETS);
            let (answer, conn) = town.register(subnet, host, true);
            let upgrade = "Connection: Upgrade\r\nUpgrade: tautline\r\n";
            town.feed(conn, asked(&answer, "/v1/connect", upgrade, 2).as_bytes());
        }
        assert_eq!(town.relay.stats().lines, lines as u64);
        town
    }

    /// Tells all, or one of the clients, and sees it through.
    pub(crate) fn notify(&mut self, to: To, payload: &[u8]) -> Sent {
        let told = self
            .relay
            .notify(self.now, to, payload, NotifyOptions::default());
        let mut sent = Sent::default();
        self.drain(&mut sent);
        while let Some((conn, sequence)) = self.frames.pop_front() {
            let mut frame = [0; 64];
            let refused = 0;
            let served = ToRelay::Served(Served { sequence, refused });
            let len = served.encode(&mut frame).expect("it fits");
            assert_eq!(self.offer(conn, &frame[..len]), len);
            self.drain(&mut sent);
        }
        told.expect("there is room");
        sent
    }

    /// Lets an hour pass, in which all that was said ends.
    pub(crate) fn pass_an_hour(&mut self) {
        self.now = self.now + DAY / 24;
        self.relay.handle_input(self.now, Input::Timeout);
        self.drain(&mut Sent::default());
    }

    fn register(&mut self, subnet: usize, host: usize, connects: bool) -> (Answer, ConnId) {
        let seen = Ipv4Addr::new(198, 51, 100, subnet as u8);
        let inner = Ipv4Addr::from_bits(0x0a00_0001 + host as u32);
        let peer = SocketAddr::new(seen.into(), 40_000);
        let conn = self
            .relay
            .accept(self.now, peer, LOCAL)
            .expect("there is room");
        let registration = Registration {
            protocol: body::PROTOCOL,
            client: None,
            registration: 1,
            hostname: format!("host-{subnet:03}-{host:06}").into(),
            interfaces: vec![Interface {
                address: inner.into(),
                prefix: 8,
            }],
            udp_port: 52_311,
            persistent_connection: connects,
            local: Some(inner.into()),
            instance: None,
            heartbeat: None,
        };
        let body = serde_json::to_string(&registration).expect("it is text");
        let length = body.len();
        let request = format!(
            "POST /v1/register HTTP/1.1\r\nHost: relay\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answer = self.feed(conn, request.as_bytes());
        let answer = String::from_utf8(answer).expect("text");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        (serde_json::from_str(body).expect("an answer"), conn)
    }

    /// Offers bytes until all are taken; returns what is answered.
    fn feed(&mut self, conn: ConnId, bytes: &[u8]) -> Vec<u8> {
        let mut left = &bytes[self.offer(conn, bytes)..];
        let mut answer = Vec::new();
        loop {
            match self.relay.poll_output(&mut self.buf[..]) {
                Output::Write { bytes, .. } => answer.extend_from_slice(bytes),
                Output::Resume { conn } => left = &left[self.offer(conn, left)..],
                Output::Wait(_) => return answer,
                _ => {}
            }
        }
    }

    fn offer(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        self.relay
            .handle_input(self.now, Input::Received { conn, bytes })
    }

    /// Carries out effects until there is none.
    fn drain(&mut self, sent: &mut Sent) {
        loop {
            match self.relay.poll_output(&mut self.buf[..]) {
                Output::Datagram { to, bytes } => {
                    black_box((to, bytes));
                    sent.datagrams += 1;
                }
                Output::Write { conn, bytes } => read_frames(&mut self.frames, conn, bytes, sent),
                Output::Event(Event::Request { .. }) => panic!("nobody asks"),
                Output::Wait(_) => return,
                other => _ = black_box(other),
            }
        }
    }
}

/// Notes the frames that are to be confirmed, by what stands at their places.
fn read_frames(frames: &mut VecDeque<(ConnId, u32)>, conn: ConnId, bytes: &[u8], sent: &mut Sent) {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    };
    let mut rest = bytes;
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let (body, next) = behind.split_at(number(&header[..4]) as usize);
        if header[4] == kind::SERVE {
            sent.passed_on += number(&body[6..8]) as usize;
            let sequence = number(&body[..4]);
            match frames.iter_mut().find(|(of, _)| *of == conn) {
                Some(last) => last.1 = sequence,
                None => frames.push_back((conn, sequence)),
            }
        }
        rest = next;
    }
}
