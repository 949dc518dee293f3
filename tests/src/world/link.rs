//! A TCP connection between two nodes: two pipes that hold bytes and lose none.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use tautline_core::{ConnId, Instant};

use super::node::NodeId;
use crate::Dice;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(u64);

/// An end of a link: the one that opened it, or the one that accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Opener,
    Listener,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Opener, Self::Listener];

    pub(super) fn other(self) -> Self {
        match self {
            Self::Opener => Self::Listener,
            Self::Listener => Self::Opener,
        }
    }
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) tls: bool,
    pub(super) ends: [End; 2],
    /// By the side that writes.
    pub(super) pipes: [Pipe; 2],
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) node: NodeId,
    pub(super) address: SocketAddr,
    /// Not known before the endpoint accepted.
    pub(super) conn: Option<ConnId>,
    /// Whether its system still knows the connection.
    pub(super) open: bool,
    /// Questions of its keep-alive that found no answer.
    pub(super) unanswered: u32,
}

#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) flying: VecDeque<Segment>,
    pub(super) arrived: VecDeque<u8>,
    pub(super) fin_arrived: bool,
    /// Bytes written that the reader has not read.
    pub(super) used_bytes: usize,
    pub(super) bytes_max: usize,
    pub(super) last_due: Option<Instant>,
    /// Since when the front segment finds no way.
    pub(super) lost_since: Option<Instant>,
    /// Something in the middle ended it: what is written now is answered by a
    /// reset.
    pub(super) cut: bool,
}

#[derive(Debug)]
pub(super) enum Segment {
    Bytes(Vec<u8>),
    Fin,
}

impl Link {
    pub(super) fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// The pipe that this side writes to.
    pub(super) fn pipe_from(&mut self, side: Side) -> &mut Pipe {
        &mut self.pipes[side as usize]
    }

    /// The pipe that this side reads from.
    pub(super) fn pipe_to(&mut self, side: Side) -> &mut Pipe {
        self.pipe_from(side.other())
    }
}

impl Pipe {
    pub(super) fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.used_bytes)
    }

    /// Reads up to `len` bytes.
    pub(super) fn read(&mut self, len: usize) -> Vec<u8> {
        let len = len.min(self.arrived.len());
        self.used_bytes -= len;
        self.arrived.drain(..len).collect()
    }

    /// Whether the reader has all that will ever come.
    pub(super) fn at_end(&self) -> bool {
        self.fin_arrived && self.arrived.is_empty()
    }
}

/// All links that some end still knows.
#[derive(Default)]
pub(super) struct Links {
    links: BTreeMap<LinkId, Link>,
    made: u64,
}

impl Links {
    pub(super) fn add(
        &mut self,
        opener: (NodeId, SocketAddr, ConnId),
        listener: (NodeId, SocketAddr),
        tls: bool,
        dice: &mut Dice,
    ) -> LinkId {
        self.made += 1;
        let id = LinkId(self.made);
        let mut pipe = || Pipe {
            // From a few hundred bytes to the usual: a small one blocks often.
            bytes_max: 256 << dice.below(9),
            ..Pipe::default()
        };
        let pipes = [pipe(), pipe()];
        let (node, address, conn) = opener;
        let opener = End {
            node,
            address,
            conn: Some(conn),
            open: true,
            unanswered: 0,
        };
        let (node, address) = listener;
        let listener = End {
            node,
            address,
            conn: None,
            open: false,
            unanswered: 0,
        };
        let ends = [opener, listener];
        self.links.insert(id, Link { tls, ends, pipes });
        id
    }

    pub(super) fn get(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    /// The links that a node knows, and its side of each.
    pub(super) fn of_node(&self, node: NodeId) -> Vec<(LinkId, Side)> {
        let sides = self.links.iter().flat_map(|(&id, link)| {
            Side::BOTH
                .into_iter()
                .filter(move |&side| {
                    let end = &link.ends[side as usize];
                    end.open && end.node == node
                })
                .map(move |side| (id, side))
        });
        sides.collect()
    }

    /// A link that both ends know.
    pub(super) fn pick(&self, dice: &mut Dice) -> Option<LinkId> {
        let open: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.ends.iter().all(|end| end.open))
            .map(|(&id, _)| id)
            .collect();
        (!open.is_empty()).then(|| *dice.pick(&open))
    }

    /// Forgets a link that no end knows any more and that carries nothing.
    pub(super) fn sweep(&mut self, id: LinkId) {
        let dead = self
            .links
            .get(&id)
            .is_some_and(|link| link.ends.iter().all(|end| !end.open));
        if dead {
            self.links.remove(&id);
        }
    }
}

/// The ways between nodes.
pub(super) struct Paths {
    base: Duration,
    jitter: Duration,
    blocked_until: BTreeMap<(NodeId, NodeId), Instant>,
    clogged_until: BTreeMap<(NodeId, NodeId), Instant>,
}

impl Paths {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        Self {
            base: Duration::from_micros(50 << dice.below(10)),
            jitter: Duration::from_micros(10 << dice.below(11)),
            blocked_until: BTreeMap::new(),
            clogged_until: BTreeMap::new(),
        }
    }

    pub(super) fn latency(
        &self,
        from: NodeId,
        to: NodeId,
        now: Instant,
        dice: &mut Dice,
    ) -> Duration {
        let clogged = self.clogged_until.get(&(from, to));
        let queued = clogged.map_or(Duration::ZERO, |until| until.saturating_since(now));
        queued + self.base + dice.span(Duration::ZERO..self.jitter)
    }

    pub(super) fn open(&self, from: NodeId, to: NodeId, now: Instant) -> bool {
        self.blocked_until
            .get(&(from, to))
            .is_none_or(|&until| until <= now)
    }

    pub(super) fn block(&mut self, from: NodeId, to: NodeId, until: Instant) {
        self.blocked_until.insert((from, to), until);
    }

    pub(super) fn clog(&mut self, from: NodeId, to: NodeId, until: Instant) {
        self.clogged_until.insert((from, to), until);
    }

    pub(super) fn heal(&mut self) {
        self.blocked_until.clear();
        self.clogged_until.clear();
    }
}
