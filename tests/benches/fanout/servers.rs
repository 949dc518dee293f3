//! The three servers that are compared.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{ChildStdout, Command, Stdio};

use tautline_tests::fleet::{self, Process, Relay, connect_from};

use super::PAYLOAD_BYTES;
use super::subscribers::Subscribers;

/// A server under test.
pub(crate) trait Server {
    /// Makes so many subscribers known to it, where that comes first.
    fn register(&mut self, _count: usize) {}
    /// Brings so many subscribers to it.
    fn connect(&mut self, subscribers: &mut Subscribers, count: usize);
    /// Has it write one message to all of them.
    fn publish(&mut self);
    /// Bytes that each of them gets by it.
    fn delivery_bytes(&self) -> usize;
    /// Its process.
    fn process(&self) -> &Process;
}

/// The daemon, as large as the fan-out needs it.
pub(crate) struct Daemon {
    relay: Relay,
    /// What the clients were told that have no connection yet.
    registered: Vec<String>,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let relay = Relay::start_with(&[
            ("PERSISTENT_CONNECTIONS_CONNECTIONS_MAX", "50000"),
            ("PERSISTENT_CONNECTIONS_PER_SUBNET_MAX", "0"),
            ("PERSISTENT_CONNECTIONS_PER_ADDRESS_MAX", "0"),
            // The subscribers read, and answer nothing.
            ("HEARTBEAT_PERIOD_S", "0"),
        ]);
        Self {
            relay,
            registered: Vec::new(),
        }
    }
}

impl Server for Daemon {
    fn register(&mut self, count: usize) {
        self.registered = self.relay.register(count);
    }

    /// Each opens its own.
    fn connect(&mut self, subscribers: &mut Subscribers, count: usize) {
        assert_eq!(self.registered.len(), count);
        for (place, told) in self.registered.drain(..).enumerate() {
            subscribers.push(self.relay.connect(place, &told));
        }
    }

    fn publish(&mut self) {
        self.relay.notify(&"x".repeat(PAYLOAD_BYTES));
    }

    fn delivery_bytes(&self) -> usize {
        fleet::frame_bytes(PAYLOAD_BYTES)
    }

    fn process(&self) -> &Process {
        self.relay.process()
    }
}

/// The bare loop: this program again, with other arguments.
pub(crate) struct Bare {
    process: Process,
    address: SocketAddr,
    lines: BufReader<ChildStdout>,
    frame_bytes: usize,
}

impl Bare {
    pub(crate) fn start(frame_bytes: usize) -> Self {
        let child = Command::new(std::env::current_exe().expect("a path"))
            .args(["bare", &frame_bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bare loop starts");
        let mut process = Process(child);
        let mut lines = BufReader::new(process.0.stdout.take().expect("a pipe"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        let address = line.trim().parse().expect("an address");
        Self {
            process,
            address,
            lines,
            frame_bytes,
        }
    }

    fn say(&mut self, line: &str) {
        let stdin = self.process.0.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{line}").expect("the bare loop lives");
    }
}

impl Server for Bare {
    fn connect(&mut self, subscribers: &mut Subscribers, count: usize) {
        self.say(&count.to_string());
        for place in 0..count {
            subscribers.push(connect_from(place, self.address));
        }
        self.lines.read_line(&mut String::new()).expect("a line");
    }

    fn publish(&mut self) {
        self.say("go");
    }

    fn delivery_bytes(&self) -> usize {
        self.frame_bytes
    }

    fn process(&self) -> &Process {
        &self.process
    }
}

/// nats-server, one subscription for each connection.
pub(crate) struct Nats {
    process: Process,
    address: SocketAddr,
    publisher: Option<TcpStream>,
    _folder: tempfile::TempDir,
}

impl Nats {
    /// `None` where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let address = super::free_address();
        // It pings its clients, who do not answer here, as seldom as it can.
        let folder = tempfile::tempdir().expect("a folder");
        let configuration = folder.path().join("nats.conf");
        let text = format!("listen: \"{address}\"\nping_interval: \"1h\"\n");
        std::fs::write(&configuration, text).expect("a file");
        let child = Command::new("nats-server")
            .arg("--config")
            .arg(&configuration)
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let process = Process(child);
        let deadline = super::deadline();
        while TcpStream::connect(address).is_err() {
            assert!(
                std::time::Instant::now() < deadline,
                "nats-server does not listen"
            );
            std::thread::yield_now();
        }
        Some(Self {
            process,
            address,
            publisher: None,
            _folder: folder,
        })
    }

    fn open(&self, place: usize) -> TcpStream {
        let mut socket = connect_from(place, self.address);
        let mut info = BufReader::new(&socket);
        info.read_line(&mut String::new()).expect("INFO");
        socket
            .write_all(b"CONNECT {\"verbose\":false}\r\n")
            .expect("a connection");
        socket
    }

    fn ping(socket: &mut TcpStream) {
        socket.write_all(b"PING\r\n").expect("a connection");
        let mut pong = [0; 6];
        socket.read_exact(&mut pong).expect("PONG");
        assert_eq!(&pong, b"PONG\r\n");
    }
}

impl Server for Nats {
    fn connect(&mut self, subscribers: &mut Subscribers, count: usize) {
        for place in 0..count {
            let mut socket = self.open(place);
            socket.write_all(b"SUB x 1\r\n").expect("a connection");
            Self::ping(&mut socket);
            subscribers.push(socket);
        }
        self.publisher = Some(self.open(count));
        // Its first ping, to measure the way, comes soon after each connect.
        subscribers.drop_what_comes(std::time::Duration::from_secs(4));
    }

    fn publish(&mut self) {
        let publisher = self.publisher.as_mut().expect("connected");
        let message = format!("PUB x {PAYLOAD_BYTES}\r\n{}\r\n", "x".repeat(PAYLOAD_BYTES));
        publisher
            .write_all(message.as_bytes())
            .expect("a connection");
    }

    fn delivery_bytes(&self) -> usize {
        format!("MSG x 1 {PAYLOAD_BYTES}\r\n").len() + PAYLOAD_BYTES + 2
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
