//! A client that takes datagrams and passes them on, and asks whether its relay
//! is there, allocates nothing, once it has been as full as it gets. Its relay is a script here, so that its keys
//! are known.

use std::net::SocketAddr;
use std::time::Duration;

use tautline_core::client::{Client, Event, HeartbeatSettings, Limits, RelayAddress, Settings};
use tautline_core::registration::Interface;
use tautline_core::registration::body::{Answer, Hex, PROTOCOL, Verdict};
use tautline_core::wire::datagram::{Content, Fanout};
use tautline_core::wire::frame::HEADER_BYTES;
use tautline_core::wire::message::{
    Hello, Notification, Pong, ServeWriter, ToClient, VERSION, kind,
};
use tautline_core::wire::proof::{ClientSecret, Session, SessionKey};
use tautline_core::{
    ClientId, ConnId, Endpoint as _, Incarnation, Input, Instant, NotificationId, OUTPUT_BUF_MIN,
    Output, StoreError, StoreOp,
};
use tautline_tests::counting::{self, Counting, Counts};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ID: ClientId = ClientId([5; 16]);
const OTHER: ClientId = ClientId([7; 16]);
const SECRET: [u8; 32] = [6; 32];
const TARGETS: u8 = 50;

struct Bench {
    client: Client,
    now: Instant,
    buf: Vec<u8>,
    passed_on: u64,
    handed: u64,
    /// What the client asked last.
    asked: Option<u64>,
}

impl Bench {
    /// Polls to the end; the storage does what it is told. Returns the
    /// connection that the client wants.
    fn poll(&mut self) -> Option<ConnId> {
        let mut wanted = None;
        loop {
            let answer = match self.client.poll_output(&mut self.buf) {
                Output::Wait(_) => return wanted,
                Output::Connect { conn, .. } => {
                    wanted = Some(conn);
                    continue;
                }
                Output::Store { ticket, op } => match op {
                    StoreOp::Load { .. } => {
                        let why = StoreError::NotFound;
                        Input::StoreFailed { ticket, why }
                    }
                    _ => Input::Stored { ticket },
                },
                Output::Datagram { .. } => {
                    self.passed_on += 1;
                    continue;
                }
                Output::Write { bytes, .. } => {
                    self.asked = asked(bytes).or(self.asked);
                    continue;
                }
                Output::Event(Event::Notification { notification, .. }) => {
                    self.handed += 1;
                    self.client.dismiss(self.now, notification);
                    continue;
                }
                _ => continue,
            };
            self.client.handle_input(self.now, answer);
        }
    }

    fn connected(&mut self, conn: ConnId) {
        let local = "10.0.0.9:4000".parse().expect("an address");
        let peer = "10.0.0.1:52311".parse().expect("an address");
        self.client
            .handle_input(self.now, Input::Connected { conn, local, peer });
        self.poll();
    }

    /// Offers the bytes until all are taken; returns the connection that the
    /// client wants then.
    fn receive(&mut self, conn: ConnId, mut bytes: &[u8]) -> Option<ConnId> {
        let mut wanted = None;
        for _ in 0..10 {
            let input = Input::Received { conn, bytes };
            let taken = self.client.handle_input(self.now, input);
            bytes = &bytes[taken..];
            wanted = self.poll().or(wanted);
            if bytes.is_empty() {
                return wanted;
            }
        }
        panic!("{} bytes are not taken", bytes.len());
    }
}

/// The nonce of a ping that is written alone.
fn asked(bytes: &[u8]) -> Option<u64> {
    let (head, body) = bytes.split_at_checked(HEADER_BYTES)?;
    let nonce = body.try_into().ok().map(u64::from_be_bytes)?;
    (head[4] == kind::PING).then_some(nonce)
}

/// A client with its persistent connection, and that.
fn with_line(heartbeat: HeartbeatSettings) -> (Bench, ConnId, SessionKey) {
    let relay = RelayAddress {
        host: "relay".into(),
        port: 52_311,
        tls: false,
    };
    let mut settings = Settings::new(relay, "web-1");
    let address = "10.0.0.9".parse().expect("an address");
    let prefix = 24;
    settings.interfaces = vec![Interface { address, prefix }];
    settings.datagrams_per_second_max = 0;
    settings.poll_interval = Duration::ZERO;
    settings.heartbeat = heartbeat;
    let mut bench = Bench {
        client: Client::new(settings, Limits::default(), [2; 32]),
        now: Instant::ORIGIN,
        buf: vec![0; OUTPUT_BUF_MIN],
        passed_on: 0,
        handed: 0,
        asked: None,
    };
    let control = bench.poll().expect("it registers");
    bench.connected(control);
    let answer = Answer {
        protocol: PROTOCOL,
        client: ID,
        secret: Some(Hex(SECRET)),
        incarnation: 3,
        nonce: Hex([1; 16]),
        register_again_s: 1_000_000,
        notified: Some(NotificationId::new(Incarnation(3), 0)),
        return_window_ms: 0,
        separated: None,
        heartbeat: None,
        persistent_connection: Some(Verdict {
            granted: true,
            wait_ms: 0,
            valid_ms: 0,
            reason: None,
        }),
    };
    let body = serde_json::to_string(&answer).expect("an answer");
    let len = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}");
    let line = bench.receive(control, answer.as_bytes()).expect("a grant");
    bench.connected(line);
    let switching = b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: tautline\r\n\r\n";
    bench.receive(line, switching);
    let hello = ToClient::Hello(Hello {
        version: VERSION,
        incarnation: Incarnation(3),
        body_bytes_max: 65_600,
    });
    let mut bytes = vec![0; hello.encoded_len()];
    hello.encode(&mut bytes).expect("it fits");
    bench.receive(line, &bytes);
    assert!(bench.client.is_connected());
    let key = ClientSecret(SECRET).session_key(&Session {
        client: ID,
        registration: 1,
        incarnation: Incarnation(3),
        nonce: [1; 16],
    });
    (bench, line, key)
}

#[test]
fn law7_datagrams_and_frames_for_the_subnet_allocate_nothing() {
    let (mut bench, line, key) = with_line(HeartbeatSettings::default());
    let mut round = |counter: u32| {
        let notification = Notification {
            id: NotificationId::new(Incarnation(3), counter),
            lifetime_s: 60,
            reply_window_ms: 0,
            payload: &[7; 64],
        };
        let content = Content::Notification(notification);
        let fanout = Fanout::new(&content);
        let mut datagram = [0; 256];
        let len = fanout.encode(&content, ID, counter.into(), &key, &mut datagram);
        let mut frame = vec![0; 8_192];
        let mut writer = ServeWriter::new(&mut frame, &content);
        let mac = fanout.mac(OTHER, counter.into(), &key);
        for host in 10..10 + TARGETS {
            let target = SocketAddr::from(([10, 0, 0, host], 52_311));
            assert!(writer.push(target, OTHER, counter.into(), mac));
        }
        let frame_len = writer.finish(counter).expect("it has targets");
        // In order as well, so that no more is remembered than was missed.
        let in_order = ToClient::Notification(notification);
        let end = frame_len + in_order.encoded_len();
        in_order.encode(&mut frame[frame_len..]).expect("it fits");
        let bytes = &datagram[..len.expect("it fits")];
        let from = "10.0.0.1:52311".parse().expect("an address");
        let ((), counts) = counting::count(|| {
            bench.now = bench.now + Duration::from_millis(10);
            bench
                .client
                .handle_input(bench.now, Input::Datagram { from, bytes });
            bench.poll();
            bench.receive(line, &frame[..end]);
        });
        counts
    };
    for counter in 1..=100 {
        round(counter);
    }
    for counter in 101..=200 {
        assert_eq!(round(counter), Counts::NONE, "round {counter}");
    }
    assert_eq!(bench.passed_on, 200 * u64::from(TARGETS));
    assert_eq!(bench.handed, 200);
    assert_eq!(bench.client.stats().datagrams, 200);
}

#[test]
fn law7_questions_to_the_relay_and_its_answers_allocate_nothing() {
    let (mut bench, line, _) = with_line(HeartbeatSettings {
        period: Duration::from_secs(10),
        response_timeout: Duration::from_secs(5),
        heartbeat: Some(Duration::from_secs(21)),
        frequency: Some(Duration::from_secs(1)),
    });
    let mut minute = || {
        for _ in 0..60 {
            bench.now = bench.now + Duration::from_secs(1);
            bench.client.handle_input(bench.now, Input::Timeout);
            bench.poll();
            if let Some(nonce) = bench.asked.take() {
                let mut frame = [0; HEADER_BYTES + 8];
                let pong = ToClient::Pong(Pong { nonce });
                pong.encode(&mut frame).expect("it fits");
                bench.receive(line, &frame);
            }
        }
    };
    (0..3).for_each(|_| minute());
    let ((), counts) = counting::count(|| (0..60).for_each(|_| minute()));
    assert_eq!(counts, Counts::NONE);
    let stats = bench.client.stats();
    assert_eq!((stats.probes_sent, stats.probes_answered), (378, 378));
    assert!(bench.client.is_connected());
}
