//! One 64-byte notification to many held connections: what a delivery costs
//! the relay daemon, beside a bare loop that writes the same bytes to as many
//! sockets, and nats-server with as many subscribers.
//!
//! ```sh
//! cargo bench -p tautline-tests --bench fanout                 # 10,000 and 19,000
//! cargo bench -p tautline-tests --bench fanout -- 2000 10      # connections, rounds
//! cargo bench -p tautline-tests --bench fanout -- datagrams    # by datagram
//! ```
//!
//! Each server is a process of its own and runs alone; its CPU time (user and
//! system) is read from `/proc` before and after the rounds. The subscribers
//! are sockets of this process, which reads and drops what comes. nats-server
//! is Debian's package; without it its column says so.

mod datagrams;
mod servers;
mod subscribers;

use std::io::{BufRead, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use servers::{Bare, Daemon, Nats, Server};
use subscribers::Subscribers;
use tautline_tests::fleet;

/// The payload of the notification, in bytes.
const PAYLOAD_BYTES: usize = 64;
/// How many times the servers take turns; the median is printed.
const TURNS: usize = 3;
/// Clients that are notified by datagram.
const DATAGRAM_TARGETS: usize = 10_000;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if arguments.first().is_some_and(|word| word == "bare") {
        return bare_server(arguments[1].parse().expect("a frame's length"));
    }
    if arguments
        .first()
        .is_some_and(|word| word == "bare-datagrams")
    {
        let [port, targets] = [1, 2].map(|place| arguments[place].parse().expect("a number"));
        return datagrams::bare(port as u16, targets);
    }
    let rounds = arguments
        .get(1)
        .map_or(20, |text| text.parse().expect("rounds"));
    match arguments.first() {
        Some(word) if word == "datagrams" => datagrams::compare(DATAGRAM_TARGETS, rounds),
        Some(text) => compare(text.parse().expect("connections"), rounds),
        None => {
            [10_000, 19_000]
                .into_iter()
                .for_each(|count| compare(count, rounds));
            datagrams::compare(DATAGRAM_TARGETS, rounds);
        }
    }
}

/// What one server came to with so many connections.
struct Figures {
    micros_per_delivery: f64,
    bytes_per_registration: f64,
    bytes_per_connection: f64,
}

fn compare(connections: usize, rounds: usize) {
    println!("{connections} connections, {rounds} rounds of {PAYLOAD_BYTES} bytes, {TURNS} turns");
    println!(
        "{:<14} {:>22} {:>18} {:>18}",
        "", "CPU per delivery", "a registration", "a connection"
    );
    let mut columns: [Vec<Figures>; 3] = Default::default();
    let frame_bytes = fleet::frame_bytes(PAYLOAD_BYTES);
    for _ in 0..TURNS {
        columns[0].push(measure(Daemon::start(), connections, rounds));
        columns[1].push(measure(Bare::start(frame_bytes), connections, rounds));
        if let Some(nats) = Nats::start() {
            columns[2].push(measure(nats, connections, rounds));
        }
    }
    let names = ["tautlined", "bare loop", "nats-server"];
    let medians: Vec<Option<f64>> = columns
        .iter()
        .map(|column| median(column.iter().map(|figures| figures.micros_per_delivery)))
        .collect();
    for (name, column) in names.iter().zip(&columns) {
        match median(column.iter().map(|figures| figures.micros_per_delivery)) {
            Some(micros) => {
                let bytes =
                    |of: fn(&Figures) -> f64| median(column.iter().map(of)).unwrap_or_default();
                let registration = bytes(|figures| figures.bytes_per_registration);
                let connection = bytes(|figures| figures.bytes_per_connection);
                println!(
                    "{name:<14} {micros:>19.2} µs {registration:>12.0} bytes {connection:>12.0} bytes"
                );
            }
            None => println!("{name:<14} not installed (Debian package nats-server)"),
        }
    }
    if let [Some(relay), Some(bare), nats] = medians[..] {
        print!("tautlined : bare loop = {:.2}", relay / bare);
        if let Some(nats) = nats {
            print!(", tautlined : nats-server = {:.2}", relay / nats);
        }
        println!("  (a frame is {frame_bytes} bytes)\n");
    }
}

fn measure(mut server: impl Server, connections: usize, rounds: usize) -> Figures {
    let mut subscribers = Subscribers::default();
    let empty = server.process().memory_bytes();
    server.register(connections);
    let registered = server.process().memory_bytes();
    server.connect(&mut subscribers, connections);
    let full = server.process().memory_bytes();
    let each = |from: u64, to: u64| to.saturating_sub(from) as f64 / connections as f64;
    // One round to warm up.
    let delivery = server.delivery_bytes();
    server.publish();
    subscribers.wait_for((connections * delivery) as u64);
    let before = server.process().cpu_micros();
    for _ in 0..rounds {
        server.publish();
        subscribers.wait_for((connections * delivery) as u64);
    }
    let spent = server.process().cpu_micros() - before;
    Figures {
        micros_per_delivery: spent / (connections * rounds) as f64,
        bytes_per_registration: each(empty, registered),
        bytes_per_connection: each(registered, full),
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// The bare loop, in a process of its own: it takes connections until a line
/// comes on standard input, then writes to all of them at each line.
fn bare_server(frame_bytes: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let mut sockets = Vec::new();
    let frame = vec![0x41; frame_bytes];
    for line in std::io::stdin().lock().lines() {
        match line.expect("a line").parse::<usize>() {
            Ok(count) => {
                for _ in 0..count {
                    sockets.push(listener.accept().expect("a connection").0);
                }
                println!("connected");
            }
            Err(_) => {
                for socket in &mut sockets {
                    socket.write_all(&frame).expect("room in the socket");
                }
            }
        }
    }
}

/// So that the address of the kernel's choice can be told to both ends.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// How long anything here may take before the benchmark gives up.
fn deadline() -> Instant {
    Instant::now() + std::time::Duration::from_secs(120)
}
