//! One node: its life, its connections, its storage.

use core::ops::Range;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use tautline_core::{CloseReason, ConnId, ConnectError, FileId, Instant, Ticket};

use super::app::{Boot, Running};
use super::disk::{Answer, Disk, Job};
use super::net::{LinkId, Side};
use super::site::SiteId;

/// A node of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) usize);

impl NodeId {
    /// Its number, from 0 in the order in which nodes were added.
    pub fn number(self) -> usize {
        self.0
    }
}

pub(super) type BootFn = Box<dyn FnMut(Boot) -> Box<dyn Running>>;

pub(super) struct Node {
    pub(super) name: String,
    pub(super) ip: IpAddr,
    pub(super) site: Option<SiteId>,
    /// The port for datagrams at the site's public address.
    pub(super) public_udp_port: Option<u16>,
    /// Before this it does not start.
    pub(super) starts_at: Instant,
    pub(super) tcp_port: Option<u16>,
    pub(super) udp_port: u16,
    pub(super) sheltered: bool,
    pub(super) boot: BootFn,
    pub(super) running: Option<Box<dyn Running>>,
    pub(super) life: u32,
    /// Without power nobody answers for the node, not even with a refusal.
    pub(super) powered: bool,
    pub(super) paused_until: Instant,
    /// It has not run since it was paused.
    pub(super) was_paused: bool,
    /// Until then nothing reaches it either.
    pub(super) asleep_until: Instant,
    /// When bytes of a connection reached it last, and the longest time between
    /// two such moments.
    pub(super) reached_at: Instant,
    pub(super) longest_silence: Duration,
    pub(super) wall_offset_ms: i64,
    pub(super) turn_wanted: bool,
    pub(super) in_turn: bool,
    pub(super) facts: VecDeque<Fact>,
    pub(super) conns: BTreeMap<usize, Conn>,
    pub(super) ports_used: u16,
    pub(super) disk: Disk,
    pub(super) jobs: VecDeque<Job>,
    pub(super) last_ticket: Option<Ticket>,
    /// Done, and to be told with a later one.
    pub(super) stored: Option<Ticket>,
    pub(super) deadline: Option<Instant>,
    /// A timeout was told, and nothing came of it so far.
    pub(super) silent_timeout: bool,
}

/// What waits to be told to the endpoint.
#[derive(Debug)]
pub(super) enum Fact {
    Timeout,
    WallClock,
    Accept(LinkId),
    Connected(ConnId),
    ConnectFailed(ConnId, ConnectError),
    Readable(ConnId),
    Room(ConnId),
    Closed(ConnId, CloseReason),
    Datagram(SocketAddr, Vec<u8>),
    Stored(Ticket),
    Answer(Ticket, Answer),
}

/// What a driver keeps of a connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) link: LinkId,
    pub(super) side: Side,
    pub(super) since: Instant,
    pub(super) state: State,
    pub(super) blocked: bool,
    pub(super) stalled: bool,
    pub(super) eof_told: bool,
    pub(super) fin_sent: bool,
    pub(super) held: Vec<u8>,
    pub(super) out: VecDeque<Out>,
    pub(super) take: Option<Take>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Open,
    /// Closed in order by this end: writes what is left, drops what comes.
    Finishing,
    /// Over; `Closed` or `ConnectFailed` waits to be told.
    Over,
}

/// What is still to be written, in order.
#[derive(Debug)]
pub(super) enum Out {
    Bytes(Vec<u8>),
    File(FileId, Range<u64>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Take {
    pub(super) sink: FileId,
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Node {
    pub(super) fn new(name: &str, ip: IpAddr, boot: BootFn) -> Self {
        Self {
            name: name.to_owned(),
            ip,
            site: None,
            public_udp_port: None,
            starts_at: Instant::ORIGIN,
            tcp_port: None,
            udp_port: 52_311,
            sheltered: false,
            boot,
            running: None,
            life: 0,
            powered: true,
            paused_until: Instant::ORIGIN,
            was_paused: false,
            asleep_until: Instant::ORIGIN,
            reached_at: Instant::ORIGIN,
            longest_silence: Duration::ZERO,
            wall_offset_ms: 0,
            turn_wanted: false,
            in_turn: false,
            facts: VecDeque::new(),
            conns: BTreeMap::new(),
            ports_used: 0,
            disk: Disk::default(),
            jobs: VecDeque::new(),
            last_ticket: None,
            stored: None,
            deadline: None,
            silent_timeout: false,
        }
    }

    /// Whether what comes reaches its system.
    pub(super) fn hears(&self, now: Instant) -> bool {
        self.powered && self.asleep_until <= now
    }

    /// Bytes of a connection have come.
    pub(super) fn note_reached(&mut self, now: Instant) {
        let silence = now.saturating_since(self.reached_at);
        self.longest_silence = self.longest_silence.max(silence);
        self.reached_at = now;
    }

    pub(super) fn udp_address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.udp_port)
    }

    /// An address for a connection that the node opens.
    pub(super) fn next_address(&mut self) -> SocketAddr {
        self.ports_used = (self.ports_used + 1) % 16_384;
        SocketAddr::new(self.ip, 49_152 + self.ports_used)
    }

    /// The connection, unless it is gone or never was.
    pub(super) fn conn(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&id.index()).filter(|conn| conn.id == id)
    }

    pub(super) fn insert(
        &mut self,
        now: Instant,
        id: ConnId,
        (link, side): (LinkId, Side),
        state: State,
    ) {
        let before = self.conns.insert(
            id.index(),
            Conn {
                id,
                link,
                side,
                since: now,
                state,
                blocked: false,
                stalled: false,
                eof_told: false,
                fin_sent: false,
                held: Vec::new(),
                out: VecDeque::new(),
                take: None,
            },
        );
        assert!(
            before.is_none(),
            "contract: {id:?} has the index of a live connection"
        );
    }

    /// The node's memory is gone.
    pub(super) fn forget(&mut self) {
        self.running = None;
        self.facts.clear();
        self.conns.clear();
        self.jobs.clear();
        self.last_ticket = None;
        self.stored = None;
        self.deadline = None;
        self.silent_timeout = false;
        self.was_paused = false;
    }
}
