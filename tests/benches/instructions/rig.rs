//! A relay, and a driver that takes the bytes and does nothing.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use super::exchange::{BODY, RESPONSE};
use tautline_core::relay::{Event, Limits, Relay, Settings};
use tautline_core::wire::proof::MasterKey;
use tautline_core::{
    CloseReason, ConnId, Endpoint, Incarnation, Input, Instant, OUTPUT_BUF_MIN, Output,
};
use tautline_tests::fleet;

/// Time stands still.
pub(crate) const NOW: Instant = Instant::ORIGIN;

pub(crate) struct Rig {
    pub(crate) relay: Relay,
    buf: Box<[u8; OUTPUT_BUF_MIN]>,
}

impl Rig {
    /// A relay with room for so many connections.
    pub(crate) fn new(connections: usize) -> Self {
        let mut limits = Limits {
            connections_max: connections as u32,
            ..Limits::default()
        };
        let mut settings = Settings::new(MasterKey([7; 32]), Incarnation(1));
        // All of them come from one address.
        limits.registry.newcomers_per_address_max = u32::MAX;
        settings.registry.connections_max = connections as u32;
        settings.registry.connections_per_subnet_max = 0;
        settings.registry.connections_per_address_max = 0;
        Self {
            relay: Relay::new(settings, limits, [1; 32]),
            buf: Box::new([0; OUTPUT_BUF_MIN]),
        }
    }

    /// A relay to which so many clients hold an idle persistent connection.
    pub(crate) fn connected(clients: usize) -> (Self, Vec<ConnId>) {
        let mut rig = Self::new(clients);
        let conns = (0..clients).map(|place| {
            let conn = rig.accept();
            let answer = rig.ask(conn, &registration(place));
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
            let upgrade = fleet::upgrade(body);
            rig.receive(conn, upgrade.as_bytes(), |_| ());
            conn
        });
        let conns = conns.collect();
        let connected = rig.relay.stats().lines;
        assert_eq!(connected, clients as u64, "lines are open");
        (rig, conns)
    }

    pub(crate) fn accept(&mut self) -> ConnId {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 52_311));
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        self.relay.accept(NOW, peer, local).expect("there is room")
    }

    /// Offers bytes of a peer, and what was not taken again when the relay asks
    /// for it; carries out all that follows.
    pub(crate) fn receive(&mut self, conn: ConnId, bytes: &[u8], mut write: impl FnMut(&[u8])) {
        let mut left = bytes;
        loop {
            let bytes = left;
            let taken = self
                .relay
                .handle_input(NOW, Input::Received { conn, bytes });
            left = &left[taken..];
            let resumed = self.drain(&mut write);
            if left.is_empty() {
                return;
            }
            assert!(resumed, "{} bytes are not taken", left.len());
        }
    }

    pub(crate) fn close(&mut self, conn: ConnId) {
        let why = CloseReason::Done;
        self.relay.handle_input(NOW, Input::Closed { conn, why });
    }

    /// Sends a request and returns what is answered.
    pub(crate) fn ask(&mut self, conn: ConnId, request: &str) -> String {
        let mut answer = Vec::new();
        self.receive(conn, request.as_bytes(), |bytes| {
            answer.extend_from_slice(bytes);
        });
        String::from_utf8(answer).expect("text")
    }

    /// Carries out effects until there is none; requests of the application
    /// are answered. Returns whether the relay takes bytes again that it did
    /// not take before.
    pub(crate) fn drain(&mut self, mut write: impl FnMut(&[u8])) -> bool {
        let mut resumed = false;
        loop {
            match self.relay.poll_output(&mut self.buf[..]) {
                Output::Write { bytes, .. } => write(black_box(bytes)),
                Output::Event(Event::Request { request }) => {
                    let done = self.relay.respond(NOW, request, &RESPONSE, BODY);
                    done.expect("it waits for a response");
                }
                Output::Event(event) => _ = black_box(event),
                Output::Wait(deadline) => {
                    black_box(deadline);
                    return resumed;
                }
                Output::Resume { .. } => resumed = true,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A client's first registration, as it goes over the wire.
pub(crate) fn registration(place: usize) -> String {
    fleet::request("POST", "/v1/register", "", &fleet::registration(place, 0))
}
