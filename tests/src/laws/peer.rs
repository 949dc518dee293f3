//! A sound endpoint as the peer of the one under test: what it writes is what
//! a real peer says.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tautline_core::{CloseReason, ConnId, ConnectError, Endpoint, Input, Instant, Output};

use crate::world::disk::{Answer, Disk, Task};

/// Outputs of one [`Peer::run`].
const OUTPUTS_MAX: u32 = 1_000;

/// A peer and its connections to the endpoint under test.
///
/// A case keeps some, lets them [`run`](Self::run) now and then, and takes what
/// they say by [`said`](Self::said). Everything here is the harness's own work:
/// a case calls it inside [`counting::paused`](crate::counting::paused).
pub struct Peer<E> {
    /// The peer's endpoint.
    pub endpoint: E,
    wires: Vec<Wire>,
    disk: Disk,
    buf: Vec<u8>,
}

struct Wire {
    own: ConnId,
    /// The handle of the endpoint under test.
    other: ConnId,
    incoming: Vec<u8>,
    outgoing: VecDeque<u8>,
}

/// What a run asks of the case.
pub enum Wish<'a, Event> {
    /// The peer opens a connection: the handle that the other end gave it, if
    /// it took it.
    Open,
    /// The peer ended a connection.
    Ended(ConnId),
    /// Something for the peer's application.
    Event(&'a Event),
}

impl<E: Endpoint> Peer<E> {
    /// A peer without a connection.
    pub fn new(endpoint: E) -> Self {
        let (wires, disk, buf) = (Vec::new(), Disk::default(), vec![0; 16 * 1_024]);
        Self {
            endpoint,
            wires,
            disk,
            buf,
        }
    }

    /// The endpoint under test opened a connection to this peer; false if the
    /// peer does not take it.
    pub fn accept(&mut self, now: Instant, other: ConnId) -> bool {
        let accepted = self.endpoint.accept(now, address(2), address(1));
        if let Ok(own) = accepted {
            self.wires.push(Wire::new(own, other));
        }
        accepted.is_ok()
    }

    /// The endpoint under test wrote to a connection; false if it is not one
    /// of this peer's.
    pub fn hear(&mut self, conn: ConnId, bytes: &[u8]) -> bool {
        let wire = self.wires.iter_mut().find(|wire| wire.other == conn);
        wire.map(|wire| wire.incoming.extend_from_slice(bytes))
            .is_some()
    }

    /// What the peer says next on a connection, up to `len` bytes; `None` if
    /// the connection is not one of this peer's.
    pub fn said(&mut self, conn: ConnId, len: usize) -> Option<Vec<u8>> {
        let wire = self.wires.iter_mut().find(|wire| wire.other == conn)?;
        let len = len.min(wire.outgoing.len());
        Some(wire.outgoing.drain(..len).collect())
    }

    /// The connections on which the peer has something to say.
    pub fn talking(&self) -> impl Iterator<Item = ConnId> {
        let talking = self.wires.iter().filter(|wire| !wire.outgoing.is_empty());
        talking.map(|wire| wire.other)
    }

    /// The peer works off what it heard. `knows` tells which connections the
    /// other end still has, `wish` does what the peer cannot do itself.
    pub fn run(
        &mut self,
        now: Instant,
        knows: impl Fn(ConnId) -> bool,
        mut wish: impl FnMut(&mut E, Wish<'_, E::Event>) -> Option<ConnId>,
    ) {
        self.endpoint.handle_input(now, Input::Timeout);
        for wire in self.wires.extract_if(.., |wire| !knows(wire.other)) {
            let (conn, why) = (wire.own, CloseReason::Reset);
            self.endpoint.handle_input(now, Input::Closed { conn, why });
        }
        let mut buf = core::mem::take(&mut self.buf);
        for _ in 0..OUTPUTS_MAX {
            self.offer(now);
            let output = self.endpoint.poll_output(&mut buf);
            match output {
                Output::Wait(_) if self.wires.iter().all(|wire| wire.incoming.is_empty()) => break,
                Output::Event(event) => {
                    wish(&mut self.endpoint, Wish::Event(&event));
                }
                Output::Connect { conn, .. } => {
                    let other = wish(&mut self.endpoint, Wish::Open);
                    self.opened(now, conn, other);
                }
                Output::Close { conn, .. } => {
                    let wire = self.wires.iter().position(|wire| wire.own == conn);
                    if let Some(wire) = wire.map(|place| self.wires.remove(place)) {
                        wish(&mut self.endpoint, Wish::Ended(wire.other));
                    }
                    let why = CloseReason::Done;
                    self.endpoint.handle_input(now, Input::Closed { conn, why });
                }
                Output::Write { conn, bytes } => {
                    if let Some(wire) = self.wires.iter_mut().find(|wire| wire.own == conn) {
                        wire.outgoing.extend(bytes);
                    }
                }
                Output::Store { ticket, op } => {
                    let answer = self.disk.run(&Task::of(&op), &mut |_| false);
                    let input = match &answer {
                        Answer::Loaded(bytes) => Input::Loaded { ticket, bytes },
                        &Answer::Failed(why) => Input::StoreFailed { ticket, why },
                        Answer::Done | Answer::Hashed(_) => Input::Stored { ticket },
                    };
                    self.endpoint.handle_input(now, input);
                }
                _ => {}
            }
        }
        self.buf = buf;
    }

    fn offer(&mut self, now: Instant) {
        for wire in self
            .wires
            .iter_mut()
            .filter(|wire| !wire.incoming.is_empty())
        {
            let (conn, bytes) = (wire.own, &wire.incoming);
            let taken = self
                .endpoint
                .handle_input(now, Input::Received { conn, bytes });
            wire.incoming.drain(..taken);
        }
    }

    fn opened(&mut self, now: Instant, own: ConnId, other: Option<ConnId>) {
        let input = match other {
            Some(other) => {
                self.wires.push(Wire::new(own, other));
                let (local, peer) = (address(2), address(1));
                Input::Connected {
                    conn: own,
                    local,
                    peer,
                }
            }
            None => Input::ConnectFailed {
                conn: own,
                why: ConnectError::Refused,
            },
        };
        self.endpoint.handle_input(now, input);
    }
}

impl Wire {
    fn new(own: ConnId, other: ConnId) -> Self {
        Self {
            own,
            other,
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
        }
    }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)), 52_311)
}
