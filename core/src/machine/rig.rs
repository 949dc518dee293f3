//! A driver in memory, for the tests of endpoints.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::mem::take;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use super::Endpoint;
use crate::{Close, CloseReason, ConnId, FileId, Input, Instant, Output, StoreOp, Ticket};

/// An endpoint, and everything that its driver was told.
pub(crate) struct Rig<E: Endpoint> {
    pub(crate) endpoint: E,
    pub(crate) now: Instant,
    pub(crate) buf_bytes: usize,
    /// Whether a connection is gone as soon as the endpoint ends it.
    pub(crate) closes: bool,
    pub(crate) events: Vec<E::Event>,
    pub(crate) connects: Vec<(ConnId, String, u16, bool)>,
    pub(crate) stores: Vec<(Ticket, Op)>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) datagrams: Vec<(SocketAddr, Vec<u8>)>,
    wires: BTreeMap<ConnId, Wire>,
}

/// A connection, seen from its driver.
#[derive(Default)]
pub(crate) struct Wire {
    /// What was written to it.
    pub(crate) written: Vec<u8>,
    /// The lengths of the writes.
    pub(crate) writes: Vec<usize>,
    /// What was not taken.
    pub(crate) held: Vec<u8>,
    pub(crate) closed: Option<Close>,
    /// Whether every write is cut short.
    pub(crate) blocks: bool,
    pub(crate) blocked: bool,
    pub(crate) resumes: u32,
    pub(crate) bulk: Vec<Bulk>,
}

/// A `Take` or a `SendFile`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bulk {
    Take(FileId, u64, u64),
    SendFile(FileId, Range<u64>),
}

/// A storage effect with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Load(String),
    Create(String),
    Append(Vec<u8>),
    Sync,
    Close,
    Rename(String, String),
}

impl<E: Endpoint<Event: Debug>> Rig<E> {
    pub(crate) fn new(endpoint: E) -> Self {
        Self {
            endpoint,
            now: Instant::ORIGIN,
            buf_bytes: crate::OUTPUT_BUF_MIN,
            closes: true,
            events: Vec::new(),
            connects: Vec::new(),
            stores: Vec::new(),
            deadline: None,
            datagrams: Vec::new(),
            wires: BTreeMap::new(),
        }
    }

    pub(crate) fn accept(&mut self, peer: &str) -> ConnId {
        let local = SocketAddr::from(([127, 0, 0, 1], 52311));
        let peer = peer.parse().expect("an address");
        self.endpoint
            .accept(self.now, peer, local)
            .expect("the table has room")
    }

    pub(crate) fn wire(&mut self, conn: ConnId) -> &mut Wire {
        self.wires.entry(conn).or_default()
    }

    /// What was written to the connection since the last time.
    pub(crate) fn written(&mut self, conn: ConnId) -> Vec<u8> {
        take(&mut self.wire(conn).written)
    }

    /// The events since the last time.
    pub(crate) fn told(&mut self) -> Vec<E::Event> {
        take(&mut self.events)
    }

    /// Tells a fact and carries out what follows from it.
    pub(crate) fn tell(&mut self, input: Input<'_>) {
        self.endpoint.handle_input(self.now, input);
        self.poll();
    }

    /// Offers bytes of the peer; what is not taken is held.
    pub(crate) fn feed(&mut self, conn: ConnId, bytes: &[u8]) {
        self.wire(conn).held.extend_from_slice(bytes);
        self.offer(conn);
        self.poll();
    }

    /// Offers bytes of the peer one by one.
    pub(crate) fn feed_split(&mut self, conn: ConnId, bytes: &[u8]) {
        for byte in bytes.chunks(1) {
            self.feed(conn, byte);
        }
    }

    pub(crate) fn closed(&mut self, conn: ConnId, why: CloseReason) {
        self.tell(Input::Closed { conn, why });
    }

    pub(crate) fn writable(&mut self, conn: ConnId) {
        let wire = self.wire(conn);
        wire.blocks = false;
        wire.blocked = false;
        self.tell(Input::Writable { conn });
    }

    /// Lets time pass; every deadline on the way is met.
    pub(crate) fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        self.poll();
        for _ in 0..10_000 {
            let Some(next) = self.deadline.filter(|at| *at <= end) else {
                self.now = end;
                self.tell(Input::Timeout);
                return;
            };
            self.now = self.now.max(next);
            self.tell(Input::Timeout);
            let moved = self.deadline.is_none_or(|at| at > self.now);
            assert!(moved, "time stands still at {:?}", self.now);
        }
        panic!("too many deadlines");
    }

    /// Carries effects out until there is nothing left to do.
    pub(crate) fn poll(&mut self) {
        let mut buf = alloc::vec![0; self.buf_bytes];
        for _ in 0..100_000 {
            match self.endpoint.poll_output(&mut buf) {
                Output::Wait(deadline) => {
                    self.deadline = deadline.map(|deadline| deadline.at);
                    return;
                }
                Output::Write { conn, bytes } => {
                    let wire = self.wires.entry(conn).or_default();
                    assert!(!wire.blocked, "{conn:?} is blocked");
                    assert!(!bytes.is_empty());
                    wire.written.extend_from_slice(bytes);
                    wire.writes.push(bytes.len());
                    wire.blocked = wire.blocks;
                    if wire.blocks {
                        let input = Input::Blocked { conn };
                        self.endpoint.handle_input(self.now, input);
                    }
                }
                Output::Resume { conn } => {
                    self.wire(conn).resumes += 1;
                    self.offer(conn);
                }
                Output::Close { conn, how } => {
                    self.wire(conn).closed = Some(how);
                    if self.closes {
                        let why = CloseReason::Local;
                        let input = Input::Closed { conn, why };
                        self.endpoint.handle_input(self.now, input);
                    }
                }
                Output::Connect {
                    conn,
                    host,
                    port,
                    tls,
                } => {
                    // A place that is free again begins with an empty wire.
                    self.wires.insert(conn, Wire::default());
                    self.connects.push((conn, host.into(), port, tls));
                }
                Output::Take {
                    conn,
                    sink,
                    offset,
                    len,
                } => self.wire(conn).bulk.push(Bulk::Take(sink, offset, len)),
                Output::SendFile { conn, file, range } => {
                    self.wire(conn).bulk.push(Bulk::SendFile(file, range));
                }
                Output::Store { ticket, op } => self.stores.push((ticket, Op::from(op))),
                Output::Event(event) => self.events.push(event),
                Output::Datagram { to, bytes } => self.datagrams.push((to, bytes.into())),
                other @ (Output::Hash { .. } | Output::BufferTooSmall { .. }) => {
                    panic!("{other:?}")
                }
            }
        }
        panic!("the endpoint does not come to rest");
    }

    fn offer(&mut self, conn: ConnId) {
        let bytes = take(&mut self.wire(conn).held);
        if bytes.is_empty() {
            return;
        }
        let bytes = &bytes[..];
        let input = Input::Received { conn, bytes };
        let taken = self.endpoint.handle_input(self.now, input);
        self.wire(conn).held = bytes[taken..].into();
    }
}

impl From<StoreOp<'_>> for Op {
    fn from(op: StoreOp<'_>) -> Self {
        match op {
            StoreOp::Load { name, .. } => Self::Load(name.into()),
            StoreOp::Create { name, .. } => Self::Create(name.into()),
            StoreOp::Append { bytes, .. } => Self::Append(bytes.into()),
            StoreOp::Sync { .. } => Self::Sync,
            StoreOp::Close { .. } => Self::Close,
            StoreOp::Rename { from, to } => Self::Rename(from.into(), to.into()),
            other => panic!("not a client's: {other:?}"),
        }
    }
}
