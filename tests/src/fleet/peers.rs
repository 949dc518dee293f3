//! The other ends of persistent connections: they answer, or fall silent.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use tautline_core::collections::Pool;
use tautline_core::wire::frame::Deframer;
use tautline_core::wire::message::{Ping, Pong, ToClient, ToRelay};

use super::Relay;

/// The longest sleep, so that a fact is looked for now and then.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// New connections between two looks at those that are there.
const SERVED_EVERY: usize = 64;
const BODY_BYTES_MAX: u32 = 4_096;

/// Peers whose sockets are served by one loop. They answer each probe at once.
pub struct Peers {
    poll: OwnedFd,
    peers: Vec<Peer>,
    pool: Pool,
    events: Vec<epoll::Event>,
    pings: Vec<Instant>,
    ended: Vec<(usize, Instant)>,
}

struct Peer {
    socket: TcpStream,
    deframer: Deframer,
    pings: u32,
    is_silent: bool,
    is_ended: bool,
}

impl Default for Peers {
    fn default() -> Self {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
        Self {
            poll,
            peers: Vec::new(),
            pool: Pool::new(16, BODY_BYTES_MAX as usize),
            events: Vec::with_capacity(1_024),
            pings: Vec::new(),
            ended: Vec::new(),
        }
    }
}

impl Peers {
    /// Registers so many clients with the relay and opens their persistent
    /// connections. They are answered for from the first one on.
    ///
    /// # Panics
    /// When the relay refuses one.
    pub fn connected(relay: &Relay, count: usize) -> Self {
        let mut peers = Self::default();
        for (place, told) in relay.register(count).iter().enumerate() {
            peers.push(relay.connect(place, told));
            if place % SERVED_EVERY == 0 {
                peers.serve(Duration::ZERO);
            }
        }
        peers
    }

    /// Takes a connection that was opened; its place is the next one.
    ///
    /// # Panics
    /// When the system does not take it.
    pub fn push(&mut self, socket: TcpStream) {
        socket.set_nonblocking(true).expect("a socket");
        let data = epoll::EventData::new_u64(self.peers.len() as u64);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        epoll::add(&self.poll, &socket, data, flags).expect("epoll");
        self.peers.push(Peer {
            socket,
            deframer: Deframer::default(),
            pings: 0,
            is_silent: false,
            is_ended: false,
        });
    }

    /// From now on nothing is read and nothing answered there; the socket stays
    /// open.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn silence(&mut self, place: usize) {
        let peer = &mut self.peers[place];
        if !peer.is_ended {
            peer.is_silent = true;
            let data = epoll::EventData::new_u64(place as u64);
            let flags = epoll::EventFlags::RDHUP;
            epoll::modify(&self.poll, &peer.socket, data, flags).expect("epoll");
        }
    }

    /// Answers until then.
    pub fn serve_until(&mut self, end: Instant) {
        self.serve_while(end, |_| true);
    }

    /// Answers while that holds, at most until `end`; whether it held until
    /// then.
    pub fn serve_while(&mut self, end: Instant, holds: impl Fn(&Self) -> bool) -> bool {
        while holds(self) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            self.serve(left.min(SLEEP_MAX));
        }
        false
    }

    /// Answers what is there, or what comes within the time.
    ///
    /// # Panics
    /// When the relay breaks the protocol.
    pub fn serve(&mut self, patience: Duration) {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let timeout = Timespec::try_from(patience).expect("a span");
        let spare = rustix::buffer::spare_capacity(&mut events);
        // A signal that interrupts it is one more look.
        epoll::wait(&self.poll, spare, Some(&timeout)).ok();
        let now = Instant::now();
        for event in &events {
            self.look_at(event.data.u64() as usize, now);
        }
        self.events = events;
    }

    /// The moments of all probes that came, in order.
    pub fn pings(&self) -> &[Instant] {
        &self.pings
    }

    /// How many probes came there.
    pub fn pings_at(&self, place: usize) -> u32 {
        self.peers[place].pings
    }

    /// The connections that were ended by the other end, and when that was
    /// seen.
    pub fn ended(&self) -> &[(usize, Instant)] {
        &self.ended
    }

    fn look_at(&mut self, place: usize, now: Instant) {
        let peer = &mut self.peers[place];
        // One that is silent is told of nothing but its end.
        if !peer.is_silent && peer.answer(&mut self.pool, &mut self.pings, now) {
            return;
        }
        epoll::delete(&self.poll, &peer.socket).expect("epoll");
        peer.is_ended = true;
        self.ended.push((place, now));
    }
}

impl Peer {
    /// Reads once, and answers; whether the connection goes on.
    fn answer(&mut self, pool: &mut Pool, pings: &mut Vec<Instant>, now: Instant) -> bool {
        let mut buffer = [0; 4_096];
        let mut bytes = match self.socket.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => &buffer[..count],
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        loop {
            let frame = self.deframer.next(&mut bytes, BODY_BYTES_MAX, pool);
            let Some(frame) = frame.expect("a frame") else {
                return true;
            };
            let message = ToClient::parse(frame.kind, frame.body);
            let Some(ToClient::Ping(Ping { nonce })) = message.expect("a message") else {
                continue;
            };
            self.pings += 1;
            pings.push(now);
            let mut pong = [0; 64];
            let len = ToRelay::Pong(Pong { nonce }).encode(&mut pong);
            let written = self.socket.write_all(&pong[..len.expect("room")]);
            if written.is_err() {
                return false;
            }
        }
    }
}
