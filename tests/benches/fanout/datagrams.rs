//! One notification by datagram to many clients: what a target costs the relay
//! daemon, beside a bare loop that seals the same datagrams and sends them by
//! `sendmmsg`.

use std::io::{self, BufRead, BufReader, IoSlice, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use tautline_core::wire::datagram::{Content, DATAGRAM_BYTES_MAX, Fanout};
use tautline_core::wire::message::Notification;
use tautline_core::wire::proof::SessionKey;
use tautline_core::{ClientId, NotificationId};
use tautline_tests::fleet::{Process, Relay};

use super::{PAYLOAD_BYTES, TURNS, deadline, median};

/// Datagrams of one system call, as the daemon has it.
const BATCH: usize = 32;
/// Clients that are seen with one address.
const PER_ADDRESS: usize = 1_000;

/// What sends to all targets at a word.
trait Sender {
    fn publish(&mut self);
    fn process(&self) -> &Process;
}

pub(crate) fn compare(targets: usize, rounds: usize) {
    println!(
        "{targets} targets by datagram, {rounds} rounds of {PAYLOAD_BYTES} bytes, {TURNS} turns"
    );
    let sink = Sink::start();
    let mut columns: [Vec<f64>; 2] = Default::default();
    for _ in 0..TURNS {
        columns[0].push(measure(
            &mut Daemon::start(sink.port, targets),
            targets,
            rounds,
        ));
        columns[1].push(measure(
            &mut Bare::start(sink.port, targets),
            targets,
            rounds,
        ));
    }
    let [daemon, bare] = columns.map(|column| median(column.into_iter()).unwrap_or_default());
    println!("{:<14} {daemon:>19.2} µs CPU per target", "tautlined");
    println!("{:<14} {bare:>19.2} µs CPU per target", "bare loop");
    println!("tautlined : bare loop = {:.2}\n", daemon / bare);
}

fn measure(sender: &mut impl Sender, targets: usize, rounds: usize) -> f64 {
    // One round to warm up.
    sender.publish();
    let before = sender.process().cpu_micros();
    for _ in 0..rounds {
        sender.publish();
    }
    (sender.process().cpu_micros() - before) / (targets * rounds) as f64
}

/// Where target `place` takes datagrams.
fn address_of(place: usize, port: u16) -> SocketAddr {
    let ip = Ipv4Addr::new(127, 1, (place / PER_ADDRESS) as u8, 1);
    SocketAddr::new(IpAddr::V4(ip), port)
}

/// Takes what comes, as all targets at once.
struct Sink {
    port: u16,
}

impl Sink {
    fn start() -> Self {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let mut buf = [0; 2_048];
            while socket.recv(&mut buf).is_ok() {}
        });
        Self { port }
    }
}

/// The daemon, with clients that take datagrams and hold no connection.
struct Daemon {
    relay: Relay,
    targets: usize,
}

impl Daemon {
    fn start(port: u16, targets: usize) -> Self {
        let relay = Relay::start_with(&[
            ("PERSISTENT_CONNECTIONS_CONNECTIONS_MAX", "0"),
            ("NOTIFICATIONS_DATAGRAMS_PER_SECOND_MAX", "0"),
        ]);
        for first in (0..targets).step_by(PER_ADDRESS) {
            let places = first..targets.min(first + PER_ADDRESS);
            relay.register_at(address_of(first, 0), places, port);
        }
        Self { relay, targets }
    }
}

impl Sender for Daemon {
    fn publish(&mut self) {
        let id = self.relay.notify(&"x".repeat(PAYLOAD_BYTES));
        let deadline = deadline();
        let path = format!("/v1/notifications/{id}");
        while self.relay.get(&path)["sent"].as_u64() < Some(self.targets as u64) {
            assert!(std::time::Instant::now() < deadline, "it does not get done");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn process(&self) -> &Process {
        self.relay.process()
    }
}

/// The bare loop: this program again, with other arguments.
struct Bare(Process);

impl Bare {
    fn start(port: u16, targets: usize) -> Self {
        let child = Command::new(std::env::current_exe().expect("a path"))
            .args(["bare-datagrams", &port.to_string(), &targets.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bare loop starts");
        Self(Process(child))
    }
}

impl Sender for Bare {
    fn publish(&mut self) {
        let stdin = self.0.0.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "go").expect("the bare loop lives");
        let stdout = self.0.0.stdout.as_mut().expect("a pipe");
        let mut line = String::new();
        BufReader::with_capacity(16, stdout)
            .read_line(&mut line)
            .expect("a line");
        assert_eq!(line, "done\n");
    }

    fn process(&self) -> &Process {
        &self.0
    }
}

/// The bare loop's process: seals and sends to all targets at each line on
/// standard input.
pub(crate) fn bare(port: u16, targets: usize) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
    let payload = [b'x'; PAYLOAD_BYTES];
    let content = Content::Notification(Notification {
        id: NotificationId(7),
        lifetime_s: 3_600,
        reply_window_ms: 0,
        payload: &payload,
    });
    let keys: Vec<_> = (0..targets)
        .map(|place| {
            let number = (place as u128).to_be_bytes();
            let mut key = [7; 32];
            key[..16].copy_from_slice(&number);
            (ClientId(number), SessionKey(key), address_of(place, port))
        })
        .collect();
    let mut counter = 0;
    for _ in io::stdin().lock().lines() {
        counter += 1;
        let fanout = Fanout::new(&content);
        for batch in keys.chunks(BATCH) {
            send(&socket, &fanout, &content, batch, counter);
        }
        println!("done");
    }
}

fn send(
    socket: &UdpSocket,
    fanout: &Fanout,
    content: &Content<'_>,
    batch: &[(ClientId, SessionKey, SocketAddr)],
    counter: u64,
) {
    let mut buffers = [[0; DATAGRAM_BYTES_MAX]; BATCH];
    let mut lengths = [0; BATCH];
    for (((client, key, _), buffer), length) in batch.iter().zip(&mut buffers).zip(&mut lengths) {
        let len = fanout.encode(content, *client, counter, key, buffer);
        *length = len.expect("it fits");
    }
    let mut parts: Vec<_> = batch
        .iter()
        .zip(&buffers)
        .zip(&lengths)
        .map(|(((_, _, to), buffer), length)| {
            let slice = [IoSlice::new(&buffer[..*length])];
            (to.as_any(), slice, SendAncillaryBuffer::default())
        })
        .collect();
    let mut headers: Vec<_> = parts
        .iter_mut()
        .map(|(to, slice, control)| MMsgHdr::new_with_addr(to, slice, control))
        .collect();
    let sent = sendmmsg(socket, &mut headers, SendFlags::empty()).expect("room in the socket");
    assert_eq!(sent, batch.len());
}
