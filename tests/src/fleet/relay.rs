//! The relay daemon as a process, and the connections of its clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketType};
use tautline_core::wire::frame::HEADER_BYTES;

use super::{Process, inbox, registration, request, upgrade};

/// Ports for one peer address are short of 20,000, so sources are spread over
/// the loopback network.
const PER_ADDRESS: usize = 4_000;

/// The daemon, with its clients registered and connected as the protocol has
/// it, but without an endpoint for each.
#[derive(Debug)]
pub struct Relay {
    process: Process,
    address: SocketAddr,
    token: String,
    operator: Option<BufReader<TcpStream>>,
    _data: tempfile::TempDir,
}

impl Relay {
    /// With these settings, as environment variables without their `TAUTLINE_`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let settings = settings
            .iter()
            .map(|(key, value)| (format!("TAUTLINE_{key}"), value));
        let child = Command::new(crate::binary("tautlined"))
            .args(["--listen", "127.0.0.1:0", "--log-level", "error"])
            .arg("--data-dir")
            .arg(data.path())
            // Nothing of the environment here is meant for it.
            .env_clear()
            .envs(settings)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        let mut process = Process(child);
        let stdout = process.0.stdout.as_mut().expect("a pipe");
        let mut page = String::new();
        let read = BufReader::new(stdout).read_line(&mut page);
        read.expect("a line");
        let (base, token) = page.trim().split_once("/#token=").expect("the page");
        let (_, address) = base.split_once("://").expect("an address");
        Self {
            process,
            address: address.parse().expect("an address"),
            token: token.into(),
            operator: None,
            _data: data,
        }
    }

    /// Its process.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Registers so many clients that take no datagrams, over one connection;
    /// what each of them was told.
    ///
    /// # Panics
    /// When the relay refuses one.
    pub fn register(&self, count: usize) -> Vec<String> {
        let control = TcpStream::connect(self.address).expect("a connection");
        register(&mut BufReader::new(control), 0..count, 0)
    }

    /// Registers clients that take datagrams on `port`, from the address of
    /// `source`.
    ///
    /// # Panics
    /// When the relay refuses one.
    pub fn register_at(&self, source: SocketAddr, places: Range<usize>, port: u16) {
        let mut control = BufReader::new(connect(source, self.address));
        register(&mut control, places, port);
    }

    /// Opens the persistent connection of a client, by what it was told. The
    /// relay's greeting is read, and nothing behind it.
    ///
    /// # Panics
    /// When the relay refuses it.
    pub fn connect(&self, place: usize, told: &str) -> TcpStream {
        let mut socket = connect_from(place, self.address);
        socket
            .write_all(upgrade(told).as_bytes())
            .expect("a connection");
        read_greeting(&mut socket);
        socket
    }

    /// Notifies all; the notification's id.
    ///
    /// # Panics
    /// When the relay refuses it.
    pub fn notify(&mut self, payload: &str) -> String {
        let body = format!(r#"{{"target":{{"all":true}},"payload":"{payload}"}}"#);
        let answer = self.ask("POST", "/v1/notifications", &body);
        let id = answer.split('"').nth(3);
        id.expect("an id").into()
    }

    /// What it answers to a `GET` of the operator.
    ///
    /// # Panics
    /// When it refuses.
    pub fn get(&mut self, target: &str) -> serde_json::Value {
        let answer = self.ask("GET", target, "");
        serde_json::from_str(&answer).expect("JSON")
    }

    /// What it says of its heartbeats.
    ///
    /// # Panics
    /// When it says nothing.
    pub fn heartbeat(&mut self) -> serde_json::Value {
        // The relay ends what was idle between two looks.
        self.operator = None;
        self.get("/v1/status")["heartbeat"].take()
    }

    fn ask(&mut self, method: &str, target: &str, body: &str) -> String {
        let token = format!("Authorization: Bearer {}\r\n", self.token);
        let address = self.address;
        let operator = self.operator.get_or_insert_with(|| {
            BufReader::new(TcpStream::connect(address).expect("a connection"))
        });
        send(operator, &request(method, target, &token, body))
    }
}

fn register(
    control: &mut BufReader<TcpStream>,
    places: Range<usize>,
    udp_port: u16,
) -> Vec<String> {
    let told = places.map(|place| {
        let body = registration(place, udp_port);
        let told = send(control, &request("POST", "/v1/register", "", &body));
        // So many that never used their key may not come from one address.
        send(control, &inbox(&told));
        told
    });
    told.collect()
}

/// A connection from the address that the place has among many.
///
/// # Panics
/// When there is none.
pub fn connect_from(place: usize, to: SocketAddr) -> TcpStream {
    let source = Ipv4Addr::new(127, 1, (place / PER_ADDRESS) as u8, 1);
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

/// Sends a request and returns the body of its answer.
fn send(connection: &mut BufReader<TcpStream>, request: &str) -> String {
    // In one piece: two small ones would wait for each other's acknowledgement.
    let written = connection.get_mut().write_all(request.as_bytes());
    written.expect("a connection");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = connection.read_line(&mut head).expect("a head");
        assert_ne!(read, 0, "{head}");
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

/// Reads the 101 and the relay's first frame. A probe may stand behind them.
fn read_greeting(socket: &mut TcpStream) {
    let mut ahead = [0; 1_024];
    let (head_bytes, seen) = loop {
        let seen = socket.peek(&mut ahead).expect("a head");
        let end = ahead[..seen].windows(4).position(|it| it == b"\r\n\r\n");
        if let Some(end) = end {
            break (end + 4, seen);
        }
        // What peeks does not wait for more.
        assert!(seen > 0 && seen < ahead.len(), "no head, but {seen} bytes");
        std::thread::yield_now();
    };
    let head = String::from_utf8_lossy(&ahead[..seen]).into_owned();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut read = |bytes: usize| {
        let taken = &mut ahead[..bytes];
        socket.read_exact(taken).expect("a frame");
        [taken[0], taken[1], taken[2], taken[3]]
    };
    read(head_bytes);
    let body_bytes = u32::from_be_bytes(read(HEADER_BYTES));
    read(body_bytes as usize);
}
