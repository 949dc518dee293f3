//! A relay and a client, face to face: what one writes the other receives.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tautline_core::client::{self, Client, RelayAddress};
use tautline_core::notify::NotifyOptions;
use tautline_core::relay::{self, Relay, To};
use tautline_core::wire::proof::MasterKey;
use tautline_core::{
    Close, CloseReason, ConnId, Endpoint, Incarnation, Input, Instant, Output, StoreError, StoreOp,
};

const RELAY: &str = "10.0.0.1:52311";
const CLIENT: &str = "127.0.0.1:40000";

/// A relay and a client, and the wires and the disk between.
struct Pair {
    relay: Relay,
    client: Client,
    now: Instant,
    /// Client's and relay's handle of each connection.
    wires: Vec<Wire>,
    file: Option<Vec<u8>>,
    file_new: Vec<u8>,
    relay_events: Vec<relay::Event>,
    client_events: Vec<client::Event>,
}

struct Wire {
    client: ConnId,
    relay: ConnId,
    to_relay: VecDeque<u8>,
    to_client: VecDeque<u8>,
    open: bool,
}

impl Pair {
    fn new() -> Self {
        let mut settings = relay::Settings::new(MasterKey([7; 32]), Incarnation(1));
        settings.registry.secrets_over_plaintext = true;
        let address = RelayAddress {
            host: "relay".into(),
            port: 52311,
            tls: false,
        };
        Self {
            relay: Relay::new(settings, relay::Limits::default(), [1; 32]),
            client: Client::new(
                client::Settings::new(address, "web-1"),
                client::Limits::default(),
                [2; 32],
            ),
            now: Instant::ORIGIN,
            wires: Vec::new(),
            file: None,
            file_new: Vec::new(),
            relay_events: Vec::new(),
            client_events: Vec::new(),
        }
    }

    /// Drives both until neither has anything to do at the moment.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            let busy = self.drain_client() | self.drain_relay() | self.carry();
            if !busy {
                return;
            }
        }
        panic!("the pair does not come to rest");
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
        self.client.handle_input(self.now, Input::Timeout);
        self.relay.handle_input(self.now, Input::Timeout);
        self.settle();
    }

    fn drain_client(&mut self) -> bool {
        let mut buf = [0; 4096];
        let mut busy = false;
        loop {
            match self.client.poll_output(&mut buf) {
                Output::Wait(_) => return busy,
                Output::Write { conn, bytes } => {
                    let wire = self
                        .wires
                        .iter_mut()
                        .find(|wire| wire.client == conn)
                        .unwrap();
                    wire.to_relay.extend(bytes);
                }
                Output::Connect {
                    conn,
                    host,
                    port,
                    tls,
                } => {
                    assert_eq!((host, port, tls), ("relay", 52311, false));
                    let (peer, local): (SocketAddr, SocketAddr) =
                        (CLIENT.parse().unwrap(), RELAY.parse().unwrap());
                    let relay = self.relay.accept(self.now, peer, local).unwrap();
                    self.wires.push(Wire {
                        client: conn,
                        relay,
                        to_relay: VecDeque::new(),
                        to_client: VecDeque::new(),
                        open: true,
                    });
                    let connected = Input::Connected {
                        conn,
                        local: peer,
                        peer: local,
                    };
                    self.client.handle_input(self.now, connected);
                }
                Output::Close { conn, how } => {
                    let wire = self
                        .wires
                        .iter_mut()
                        .find(|wire| wire.client == conn)
                        .unwrap();
                    wire.end(how);
                }
                Output::Store { ticket, op } => {
                    let mut loaded = None;
                    match op {
                        StoreOp::Load { .. } => loaded = Some(self.file.clone()),
                        StoreOp::Create { .. } => self.file_new.clear(),
                        StoreOp::Append { bytes, .. } => self.file_new.extend(bytes),
                        StoreOp::Rename { .. } => self.file = Some(self.file_new.clone()),
                        _ => {}
                    }
                    let input = match &loaded {
                        Some(Some(bytes)) => Input::Loaded { ticket, bytes },
                        Some(None) => Input::StoreFailed {
                            ticket,
                            why: StoreError::NotFound,
                        },
                        None => Input::Stored { ticket },
                    };
                    self.client.handle_input(self.now, input);
                }
                Output::Event(event) => self.client_events.push(event),
                Output::Resume { .. } => {}
                other => panic!("{other:?}"),
            }
            busy = true;
        }
    }

    fn drain_relay(&mut self) -> bool {
        let mut buf = [0; 4096];
        let mut busy = false;
        loop {
            match self.relay.poll_output(&mut buf) {
                Output::Wait(_) => return busy,
                // A wire that is not there leads to a client that is gone.
                Output::Write { conn, bytes } => {
                    if let Some(wire) = self.wires.iter_mut().find(|wire| wire.relay == conn) {
                        wire.to_client.extend(bytes);
                    }
                }
                Output::Close { conn, how } => {
                    if let Some(wire) = self.wires.iter_mut().find(|wire| wire.relay == conn) {
                        wire.end(how);
                    } else {
                        let why = CloseReason::Local;
                        self.relay
                            .handle_input(self.now, Input::Closed { conn, why });
                    }
                }
                Output::Event(event) => self.relay_events.push(event),
                Output::Resume { .. } => {}
                other => panic!("{other:?}"),
            }
            busy = true;
        }
    }

    /// Offers what is on the wires, and tells both ends of wires that ended.
    fn carry(&mut self) -> bool {
        let mut busy = false;
        for wire in &mut self.wires {
            let (relay, client) = (&mut self.relay, &mut self.client);
            let bytes = wire.to_relay.make_contiguous();
            if !bytes.is_empty() {
                let input = Input::Received {
                    conn: wire.relay,
                    bytes,
                };
                let taken = relay.handle_input(self.now, input);
                wire.to_relay.drain(..taken);
                busy |= taken > 0;
            }
            let bytes = wire.to_client.make_contiguous();
            if !bytes.is_empty() {
                let input = Input::Received {
                    conn: wire.client,
                    bytes,
                };
                let taken = client.handle_input(self.now, input);
                wire.to_client.drain(..taken);
                busy |= taken > 0;
            }
        }
        for wire in self.wires.extract_if(.., |wire| {
            !wire.open && wire.to_relay.is_empty() && wire.to_client.is_empty()
        }) {
            let why = CloseReason::Done;
            self.relay.handle_input(
                self.now,
                Input::Closed {
                    conn: wire.relay,
                    why,
                },
            );
            self.client.handle_input(
                self.now,
                Input::Closed {
                    conn: wire.client,
                    why,
                },
            );
            busy = true;
        }
        busy
    }
}

impl Wire {
    fn end(&mut self, how: Close) {
        self.open = false;
        if how == Close::Abort {
            self.to_relay.clear();
            self.to_client.clear();
        }
    }
}

fn connected() -> Pair {
    let mut pair = Pair::new();
    pair.settle();
    assert!(
        pair.client.is_connected(),
        "{:?} {:?}",
        pair.client_events,
        pair.relay_events
    );
    pair
}

#[test]
fn a_client_registers_connects_is_notified_and_replies() {
    let mut pair = connected();
    let client = pair.client.id().unwrap();
    let options = NotifyOptions::default();
    let id = pair
        .relay
        .notify(pair.now, To::Client(client), b"ping", options)
        .unwrap();
    pair.settle();

    let handle = pair.client_events.iter().find_map(|event| match event {
        client::Event::Notification { notification, .. } => Some(*notification),
        _ => None,
    });
    let handle = handle.unwrap();
    assert_eq!(
        pair.client.notification(handle),
        Some((id, b"ping".as_slice()))
    );
    pair.client.reply(pair.now, handle, b"pong").unwrap();
    pair.settle();

    assert!(pair.relay_events.contains(&relay::Event::Replied {
        notification: id,
        client
    }));
    let status = pair.relay.notification(id).unwrap();
    assert_eq!((status.targets, status.sent, status.replied), (1, 1, 1));
    let replies: Vec<_> = pair.relay.replies(id).collect();
    assert_eq!(replies[0].payload, b"pong");
}

#[test]
fn the_identity_survives_the_client() {
    let first = connected();
    let id = first.client.id();
    let mut second = Pair {
        file: first.file.clone(),
        ..Pair::new()
    };
    second.relay = first.relay;
    second.settle();
    assert_eq!(second.client.id(), id);
    assert!(second.client.is_connected(), "{:?}", second.client_events);
    assert_eq!(second.relay.stats().clients, 1);
    assert_eq!(
        second.relay.stats().lines,
        1,
        "the old connection was replaced"
    );
}

#[test]
fn a_relay_that_drains_says_goodbye() {
    let mut pair = connected();
    pair.relay.drain(pair.now);
    pair.settle();
    assert!(
        pair.relay_events.contains(&relay::Event::Drained),
        "{:?}",
        pair.relay_events
    );
    assert!(!pair.client.is_connected());
    assert!(pair.client_events.contains(&client::Event::Disconnected {
        why: client::Failure::Bye("shutting down")
    }));
}

#[test]
fn a_client_that_stops_leaves_no_connection() {
    let mut pair = connected();
    pair.client.stop(pair.now);
    pair.settle();
    assert!(pair.client_events.contains(&client::Event::Stopped));
    assert_eq!(pair.relay.stats().connections, 0);
    pair.wait(Duration::from_secs(86_400));
    let forgotten = relay::Event::Forgotten {
        client: pair.client.id().unwrap(),
    };
    assert!(pair.relay_events.contains(&forgotten));
}
