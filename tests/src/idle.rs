//! A relay with many idle persistent connections, asked whether they are there.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tautline_core::relay::{HeartbeatSettings, Limits, Relay, Settings};
use tautline_core::wire::frame::HEADER_BYTES;
use tautline_core::wire::message::{Ping, Pong, ToRelay, kind};
use tautline_core::wire::proof::MasterKey;
use tautline_core::{ConnId, Endpoint, Incarnation, Input, Instant, OUTPUT_BUF_MIN, Output};

use crate::fleet;

/// The frame of a ping or a pong.
const FRAME_BYTES: usize = HEADER_BYTES + 8;

/// The relay and its clients.
pub struct Idle {
    /// What is driven.
    pub relay: Relay,
    /// The clients' connections, each behind its hello.
    pub conns: Vec<ConnId>,
    now: Instant,
    /// Who was asked and has not answered, and what.
    asked: Vec<(ConnId, u64)>,
    events: usize,
    buf: Box<[u8; OUTPUT_BUF_MIN]>,
}

impl Idle {
    /// A relay to which so many clients hold a connection, which have nothing
    /// to say.
    ///
    /// # Panics
    /// When the relay does not take them.
    pub fn new(clients: usize, heartbeat: HeartbeatSettings) -> Self {
        let mut settings = Settings::new(MasterKey([7; 32]), Incarnation(1));
        let mut limits = Limits {
            connections_max: clients as u32,
            ..Limits::default()
        };
        settings.heartbeat = heartbeat;
        // All of them come from one address, and none registers again.
        limits.registry.newcomers_per_address_max = u32::MAX;
        settings.registry.period = Duration::from_secs(1_000 * 86_400);
        settings.registry.connections_max = clients as u32;
        settings.registry.connections_per_subnet_max = 0;
        settings.registry.connections_per_address_max = 0;
        let mut idle = Self {
            relay: Relay::new(settings, limits, [1; 32]),
            conns: Vec::with_capacity(clients),
            now: Instant::ORIGIN,
            asked: Vec::with_capacity(clients),
            events: 0,
            buf: Box::new([0; OUTPUT_BUF_MIN]),
        };
        for place in 0..clients {
            let conn = idle.connect(place);
            idle.conns.push(conn);
        }
        assert_eq!(idle.relay.stats().lines, clients as u64);
        idle
    }

    /// Lets time pass and does what is due; who is asked is remembered.
    /// Returns how many events there were.
    pub fn pass(&mut self, span: Duration) -> usize {
        self.now = self.now + span;
        self.events = 0;
        self.relay.handle_input(self.now, Input::Timeout);
        self.drain(|_| ());
        self.events
    }

    /// How many were asked and have not answered.
    pub fn asked(&self) -> usize {
        self.asked.len()
    }

    /// All who were asked answer; returns how many.
    ///
    /// # Panics
    /// When an answer is not taken.
    pub fn answer(&mut self) -> usize {
        let answers = self.asked.len();
        while let Some((conn, nonce)) = self.asked.pop() {
            let mut frame = [0; FRAME_BYTES];
            let pong = ToRelay::Pong(Pong { nonce });
            let len = pong.encode(&mut frame).expect("it fits");
            self.receive(conn, &frame[..len]);
        }
        answers
    }

    /// Each client asks whether the relay is there.
    ///
    /// # Panics
    /// When that is not answered.
    pub fn ping(&mut self) -> usize {
        let mut frame = [0; FRAME_BYTES];
        let ping = ToRelay::Ping(Ping { nonce: 7 });
        let len = ping.encode(&mut frame).expect("it fits");
        for place in 0..self.conns.len() {
            self.receive(self.conns[place], &frame[..len]);
        }
        self.conns.len()
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        let input = Input::Received { conn, bytes };
        let taken = self.relay.handle_input(self.now, input);
        assert_eq!(taken, bytes.len());
        self.drain(|_| ());
    }

    fn connect(&mut self, place: usize) -> ConnId {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 52_311));
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        let conn = self.relay.accept(self.now, peer, local);
        let conn = conn.expect("there is room");
        let body = fleet::registration(place, 0);
        let answer = self.request(conn, &fleet::request("POST", "/v1/register", "", &body));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        self.request(conn, &fleet::upgrade(body));
        conn
    }

    fn request(&mut self, conn: ConnId, request: &str) -> String {
        let mut left = request.as_bytes();
        let mut answer = Vec::new();
        while !left.is_empty() {
            let input = Input::Received { conn, bytes: left };
            let taken = self.relay.handle_input(self.now, input);
            left = &left[taken..];
            self.drain(|bytes| answer.extend_from_slice(bytes));
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Carries out effects until there is none.
    fn drain(&mut self, mut write: impl FnMut(&[u8])) {
        loop {
            match self.relay.poll_output(&mut self.buf[..]) {
                Output::Write { conn, bytes } => {
                    if let Some(nonce) = asked(bytes) {
                        self.asked.push((conn, nonce));
                    }
                    write(black_box(bytes));
                }
                Output::Event(_) => self.events += 1,
                Output::Close { conn, .. } => {
                    let why = tautline_core::CloseReason::Local;
                    self.relay
                        .handle_input(self.now, Input::Closed { conn, why });
                }
                Output::Wait(_) => return,
                other => _ = black_box(other),
            }
        }
    }
}

/// The nonce of a ping that is written alone.
fn asked(bytes: &[u8]) -> Option<u64> {
    let body = bytes.split_at_checked(HEADER_BYTES)?.1;
    let nonce = body.try_into().ok().map(u64::from_be_bytes)?;
    (bytes[4] == kind::PING).then_some(nonce)
}
