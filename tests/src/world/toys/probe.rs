//! The probe: it opens connections and sends datagrams when told to, and notes
//! the addresses that it sees.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tautline_core::{
    AcceptError, Close, ConnId, ConnectError, Endpoint, Input, Instant, Key, Output,
};

use crate::world::App;

/// What a probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// A connection came in from here.
    Accepted(SocketAddr),
    /// A connection is open, from its own address to the other's.
    Connected(SocketAddr, SocketAddr),
    /// A connection did not open.
    ConnectFailed(ConnectError),
    /// A datagram came from here.
    Datagram(SocketAddr),
}

/// The endpoint, which is its own application.
#[derive(Debug, Default)]
pub struct Probe {
    conns: u32,
    wishes: VecDeque<Wish>,
    sights: Vec<Sight>,
}

#[derive(Debug)]
enum Wish {
    Connect(String, u16),
    Send(SocketAddr),
    Close(ConnId),
}

impl Probe {
    /// Opens a connection.
    pub fn connect(&mut self, host: &str, port: u16) {
        self.wishes.push_back(Wish::Connect(host.to_owned(), port));
    }

    /// Sends a datagram.
    pub fn send(&mut self, to: SocketAddr) {
        self.wishes.push_back(Wish::Send(to));
    }

    /// What it saw so far.
    pub fn sights(&self) -> &[Sight] {
        &self.sights
    }

    fn next_conn(&mut self) -> ConnId {
        self.conns += 1;
        ConnId::from_key(Key::new(self.conns, 0))
    }
}

impl Endpoint for Probe {
    type Event = ();

    fn handle_input(&mut self, _now: Instant, input: Input<'_>) -> usize {
        match input {
            Input::Connected { local, peer, .. } => {
                self.sights.push(Sight::Connected(local, peer));
            }
            Input::ConnectFailed { why, .. } => self.sights.push(Sight::ConnectFailed(why)),
            Input::Datagram { from, .. } => self.sights.push(Sight::Datagram(from)),
            Input::Received { bytes, .. } => return bytes.len(),
            Input::Eof { conn } => self.wishes.push_back(Wish::Close(conn)),
            _ => {}
        }
        0
    }

    fn poll_output<'b>(&mut self, buf: &'b mut [u8]) -> Output<'b, ()> {
        match self.wishes.pop_front() {
            None => Output::Wait(None),
            Some(Wish::Close(conn)) => Output::Close {
                conn,
                how: Close::Finish,
            },
            Some(Wish::Send(to)) => {
                buf[0] = 1;
                let bytes = &buf[..1];
                Output::Datagram { to, bytes }
            }
            Some(Wish::Connect(host, port)) => {
                let bytes = &mut buf[..host.len()];
                bytes.copy_from_slice(host.as_bytes());
                Output::Connect {
                    conn: self.next_conn(),
                    host: core::str::from_utf8(bytes).unwrap_or_default(),
                    port,
                    tls: false,
                }
            }
        }
    }

    fn accept(
        &mut self,
        _now: Instant,
        peer: SocketAddr,
        _local: SocketAddr,
    ) -> Result<ConnId, AcceptError> {
        self.sights.push(Sight::Accepted(peer));
        Ok(self.next_conn())
    }
}

impl App for Probe {
    type Endpoint = Self;

    fn endpoint(&mut self) -> &mut Self {
        self
    }

    fn on_event(&mut self, _now: Instant, (): ()) {}
}
