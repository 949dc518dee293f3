//! The three servers that are compared.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::net::{AddressFamily, SocketType};
use tautline_core::wire::frame::HEADER_BYTES;
use tautline_tests::fleet;

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
    fn process(&self) -> &Child;

    /// CPU time of the process so far, user and system.
    fn cpu_micros(&self) -> f64 {
        cpu_micros(self.process())
    }

    /// Its own memory, without files and shared pages.
    fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process().id()));
        let status = status.expect("the process lives");
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .expect("RssAnon");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .expect("a figure")
            .parse()
            .expect("a figure");
        kib * 1_024
    }
}

/// CPU time of a process so far, user and system.
pub(crate) fn cpu_micros(process: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()));
    let stat = stat.expect("the process lives");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .expect("a name")
        .1
        .split_whitespace()
        .collect();
    let ticks: f64 =
        fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime");
    ticks * 1e6 / rustix::param::clock_ticks_per_second() as f64
}

/// A process that ends with its handle.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Ports for one peer address are short of 19,000, so sources are spread over
/// the loopback network.
fn connect_from(place: usize, to: SocketAddr) -> TcpStream {
    let source = Ipv4Addr::new(127, 1, (place / 4_000) as u8, 1);
    connect(SocketAddr::new(IpAddr::V4(source), 0), to)
}

fn connect(source: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
    let socket = socket.expect("a socket");
    rustix::net::bind(&socket, &source).expect("an address");
    rustix::net::connect(&socket, &to).expect("a connection");
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true).expect("a socket");
    socket
}

/// The daemon, with its clients registered and connected as the protocol has
/// it.
pub(crate) struct Relay {
    process: Process,
    address: SocketAddr,
    token: String,
    operator: Option<BufReader<TcpStream>>,
    /// What the clients were told that have no connection yet.
    registered: Vec<String>,
    _data: tempfile::TempDir,
}

impl Relay {
    /// As large as the fan-out needs it.
    pub(crate) fn start() -> Self {
        Self::start_with(&[
            ("TAUTLINE_PERSISTENT_CONNECTIONS_CONNECTIONS_MAX", "50000"),
            ("TAUTLINE_PERSISTENT_CONNECTIONS_PER_SUBNET_MAX", "0"),
            ("TAUTLINE_PERSISTENT_CONNECTIONS_PER_ADDRESS_MAX", "0"),
        ])
    }

    /// With these settings.
    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let address = super::free_address();
        let child = Command::new(tautline_tests::binary("tautlined"))
            .args([
                "--listen",
                &address.to_string(),
                "--log-level",
                "error",
                "--data-dir",
            ])
            .arg(data.path())
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        let mut process = Process(child);
        let mut first = String::new();
        let stdout = process.0.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut first)
            .expect("a line");
        let token = first
            .trim()
            .rsplit_once("token=")
            .expect("the page's address")
            .1
            .into();
        Self {
            process,
            address,
            token,
            operator: None,
            registered: Vec::new(),
            _data: data,
        }
    }

    /// Registers clients that take datagrams on `port`, from the address of
    /// `source`.
    pub(crate) fn register_at(&self, source: SocketAddr, places: Range<usize>, port: u16) {
        let mut control = BufReader::new(connect(source, self.address));
        for place in places {
            let body = fleet::registration(place, port);
            let answer = exchange(&mut control, "POST", "/v1/register", "", &body);
            send(&mut control, &fleet::inbox(&answer));
        }
    }

    /// Notifies all; returns the notification's id.
    pub(crate) fn notify(&mut self) -> String {
        let body = format!(
            r#"{{"target":{{"all":true}},"payload":"{}"}}"#,
            "x".repeat(PAYLOAD_BYTES)
        );
        let answer = self.ask("POST", "/v1/notifications", &body);
        let id = answer.split('"').nth(3);
        id.expect("an id").into()
    }

    /// How many targets of a notification were sent it.
    pub(crate) fn sent(&mut self, id: &str) -> u64 {
        let answer = self.ask("GET", &format!("/v1/notifications/{id}"), "");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        answer["sent"].as_u64().expect("a figure")
    }

    fn ask(&mut self, method: &str, target: &str, body: &str) -> String {
        let token = format!("Authorization: Bearer {}\r\n", self.token);
        let address = self.address;
        let operator = self.operator.get_or_insert_with(|| {
            BufReader::new(TcpStream::connect(address).expect("a connection"))
        });
        exchange(operator, method, target, &token, body)
    }
}

impl Server for Relay {
    /// All of them over one connection.
    fn register(&mut self, count: usize) {
        let control = TcpStream::connect(self.address).expect("a connection");
        let mut control = BufReader::new(control);
        let told = (0..count).map(|place| {
            let body = fleet::registration(place, 0);
            let told = exchange(&mut control, "POST", "/v1/register", "", &body);
            // So many that never used their key may not come from one address.
            send(&mut control, &fleet::inbox(&told));
            told
        });
        self.registered = told.collect();
    }

    /// Each opens its own.
    fn connect(&mut self, subscribers: &mut Subscribers, count: usize) {
        assert_eq!(self.registered.len(), count);
        for (place, told) in self.registered.drain(..).enumerate() {
            let mut socket = connect_from(place, self.address);
            let head = fleet::upgrade(&told);
            socket.write_all(head.as_bytes()).expect("a connection");
            read_hello(&mut socket);
            subscribers.push(socket);
        }
    }

    fn publish(&mut self) {
        self.notify();
    }

    fn delivery_bytes(&self) -> usize {
        fleet::frame_bytes(PAYLOAD_BYTES)
    }

    fn process(&self) -> &Child {
        &self.process.0
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

    fn process(&self) -> &Child {
        &self.process.0
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

    fn process(&self) -> &Child {
        &self.process.0
    }
}

/// One request and the body of its answer.
fn exchange(
    connection: &mut BufReader<TcpStream>,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> String {
    send(connection, &fleet::request(method, target, headers, body))
}

/// Sends a request and returns the body of its answer.
fn send(connection: &mut BufReader<TcpStream>, request: &str) -> String {
    // In one piece: two small ones would wait for each other's acknowledgement.
    connection
        .get_mut()
        .write_all(request.as_bytes())
        .expect("a connection");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(
            connection.read_line(&mut head).expect("a head"),
            0,
            "{head}"
        );
    }
    assert!(head.starts_with("HTTP/1.1 20"), "{head}");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
        .expect("a length");
    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("a body");
    String::from_utf8(body).expect("text")
}

/// Reads the 101 and the relay's first frame.
fn read_hello(socket: &mut TcpStream) {
    let mut reader = BufReader::new(&mut *socket);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("a head"), 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut header = [0; HEADER_BYTES];
    reader.read_exact(&mut header).expect("a frame");
    let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    reader
        .read_exact(&mut vec![0; length as usize])
        .expect("a frame");
}
