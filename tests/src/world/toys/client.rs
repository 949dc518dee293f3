//! The client: it sends one message after another, each when the one before
//! came back, over a connection that it opens again and again.

use core::time::Duration;
use std::net::SocketAddr;

use tautline_core::{
    AcceptError, Close, ConnId, Deadline, Endpoint, Input, Instant, Key, Output, Random,
};

use super::{Line, MESSAGE_BYTES, Message, message};
use crate::world::{App, Boot};

const ECHO_TIMEOUT: Duration = Duration::from_secs(10);
const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);
const PING_PERIOD: Duration = Duration::from_secs(3);
const UDP_PORT: u16 = 52_311;

/// What the application learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The message came back.
    Echo(Message),
    /// A datagram came back.
    Pong,
}

/// The endpoint.
#[derive(Debug)]
pub struct Client {
    now: Instant,
    random: Random,
    host: String,
    port: u16,
    identity: (u32, u32),
    generations: u32,
    state: State,
    delay: Duration,
    number: u64,
    echo: Option<Message>,
    abort: Option<ConnId>,
    server: Option<SocketAddr>,
    ping_at: Instant,
    ping: bool,
    pong: bool,
}

#[derive(Debug)]
enum State {
    Waiting(Instant),
    Dialing(ConnId, bool),
    Open(Line, Talk),
    Closing(ConnId),
}

#[derive(Clone, Copy, Debug)]
enum Talk {
    Pause(Instant),
    Send,
    Sent(Instant),
}

impl Client {
    /// A client that opens connections to `host`.
    pub fn new(now: Instant, seed: [u8; 32], identity: (u32, u32), host: &str, port: u16) -> Self {
        Self {
            now,
            random: Random::from_seed(seed),
            host: host.to_owned(),
            port,
            identity,
            generations: 0,
            state: State::Waiting(now),
            delay: DELAY_MIN,
            number: 1,
            echo: None,
            abort: None,
            server: None,
            ping_at: now + PING_PERIOD,
            ping: false,
            pong: false,
        }
    }

    fn current(&self) -> Message {
        message(self.identity.0, self.identity.1, self.number)
    }

    fn retry(&mut self) {
        let jitter = self.random.within(self.delay / 2);
        self.state = State::Waiting(self.now + self.delay + jitter);
        self.delay = (2 * self.delay).min(DELAY_MAX);
    }

    fn received(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let (now, current) = (self.now, self.current());
        let State::Open(line, talk) = &mut self.state else {
            return bytes.len();
        };
        if line.conn != conn {
            return bytes.len();
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (taken, message) = line.inbox.take(rest);
            rest = &rest[taken..];
            if message == Some(current) && matches!(talk, Talk::Sent(_)) {
                self.echo = message;
                self.number += 1;
                // Proven health, not just a connection.
                self.delay = DELAY_MIN;
                *talk = Talk::Pause(now + PAUSE);
                break;
            }
        }
        bytes.len()
    }

    fn lost(&mut self, conn: ConnId) {
        let known = match &self.state {
            State::Waiting(_) => false,
            State::Dialing(dialing, _) => *dialing == conn,
            State::Open(line, _) => line.conn == conn,
            State::Closing(closing) => *closing == conn,
        };
        if known {
            self.abort = None;
            self.retry();
        }
    }

    fn timeout(&mut self) {
        if self.ping_at <= self.now {
            self.ping_at = self.now + PING_PERIOD;
            self.ping = self.server.is_some();
        }
        let now = self.now;
        match &mut self.state {
            State::Waiting(at) if *at <= now => {
                self.generations += 1;
                let conn = ConnId::from_key(Key::new(0, self.generations));
                self.state = State::Dialing(conn, false);
            }
            State::Open(_, talk @ Talk::Pause(_)) => {
                if matches!(talk, Talk::Pause(at) if *at <= now) {
                    *talk = Talk::Send;
                }
            }
            State::Open(line, Talk::Sent(at)) if *at + ECHO_TIMEOUT <= now => {
                self.abort = Some(line.conn);
                self.state = State::Closing(line.conn);
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Instant {
        let next = match &self.state {
            State::Waiting(at) | State::Open(_, Talk::Pause(at)) => *at,
            State::Open(_, Talk::Sent(at)) => *at + ECHO_TIMEOUT,
            _ => Instant::MAX,
        };
        next.min(self.ping_at)
    }
}

impl Endpoint for Client {
    type Event = Event;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.now = self.now.max(now);
        match input {
            Input::Timeout => self.timeout(),
            Input::Connected { conn, peer, .. } => {
                if matches!(self.state, State::Dialing(dialing, true) if dialing == conn) {
                    self.server = Some(SocketAddr::new(peer.ip(), UDP_PORT));
                    self.state = State::Open(Line::new(conn), Talk::Send);
                }
            }
            Input::Received { conn, bytes } => return self.received(conn, bytes),
            Input::Blocked { conn } | Input::Writable { conn } => {
                if let State::Open(line, _) = &mut self.state
                    && line.conn == conn
                {
                    line.blocked = matches!(input, Input::Blocked { .. });
                }
            }
            Input::Eof { conn } => {
                if matches!(&self.state, State::Open(line, _) if line.conn == conn) {
                    self.abort = Some(conn);
                    self.state = State::Closing(conn);
                }
            }
            Input::ConnectFailed { conn, .. } | Input::Closed { conn, .. } => self.lost(conn),
            Input::Datagram { bytes, .. } => self.pong |= bytes == b"ping",
            Input::WallClock(_)
            | Input::Introduced { .. }
            | Input::Moved { .. }
            | Input::Hashed { .. }
            | Input::Stored { .. }
            | Input::Loaded { .. }
            | Input::StoreFailed { .. } => {}
        }
        0
    }

    fn poll_output<'b>(&mut self, buf: &'b mut [u8]) -> Output<'b, Event> {
        if let Some(conn) = self.abort.take() {
            let how = Close::Abort;
            return Output::Close { conn, how };
        }
        if let Some(message) = self.echo.take() {
            return Output::Event(Event::Echo(message));
        }
        if core::mem::take(&mut self.pong) {
            return Output::Event(Event::Pong);
        }
        if let (true, Some(to)) = (core::mem::take(&mut self.ping), self.server) {
            buf[..4].copy_from_slice(b"ping");
            let bytes = &buf[..4];
            return Output::Datagram { to, bytes };
        }
        let (now, current) = (self.now, self.current());
        match &mut self.state {
            State::Dialing(conn, told @ false) => {
                *told = true;
                let host = &mut buf[..self.host.len()];
                host.copy_from_slice(self.host.as_bytes());
                return Output::Connect {
                    conn: *conn,
                    host: core::str::from_utf8(host).unwrap_or_default(),
                    port: self.port,
                    tls: false,
                };
            }
            State::Open(line, talk @ Talk::Send) if !line.blocked => {
                *talk = Talk::Sent(now);
                buf[..MESSAGE_BYTES].copy_from_slice(&current);
                return Output::Write {
                    conn: line.conn,
                    bytes: &buf[..MESSAGE_BYTES],
                };
            }
            _ => {}
        }
        Output::Wait(Some(Deadline {
            at: self.deadline(),
            reason: "echo, retry or ping",
        }))
    }

    fn accept(
        &mut self,
        _now: Instant,
        _peer: SocketAddr,
        _local: SocketAddr,
    ) -> Result<ConnId, AcceptError> {
        Err(AcceptError::NotListening)
    }
}

/// A [`Client`] on a node, which counts.
#[derive(Debug)]
pub struct EchoClient {
    client: Client,
    echoed: Vec<Message>,
    pongs: u64,
}

impl EchoClient {
    /// The client of a node's life.
    pub fn boot(boot: &Boot, host: &str, port: u16) -> Self {
        let identity = (boot.node.number() as u32, boot.life);
        Self {
            client: Client::new(boot.now, boot.seed, identity, host, port),
            echoed: Vec::new(),
            pongs: 0,
        }
    }

    /// The messages of this life that came back.
    pub fn echoed(&self) -> &[Message] {
        &self.echoed
    }

    /// How many messages of this life came back.
    pub fn echoes(&self) -> usize {
        self.echoed.len()
    }

    /// How many datagrams of this life came back.
    pub fn pongs(&self) -> u64 {
        self.pongs
    }
}

impl App for EchoClient {
    type Endpoint = Client;

    fn endpoint(&mut self) -> &mut Client {
        &mut self.client
    }

    fn on_event(&mut self, _now: Instant, event: Event) {
        match event {
            Event::Echo(message) => self.echoed.push(message),
            Event::Pong => self.pongs += 1,
        }
    }
}
