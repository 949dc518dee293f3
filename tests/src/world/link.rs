//! A TCP connection between two nodes: two pipes that hold bytes and lose none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// Where the listener sees the opener.
    pub(super) seen: SocketAddr,
    pub(super) ends: [End; 2],
    /// By the side that writes.
    pub(super) pipes: [Pipe; 2],
    /// When a router on the way saw it last.
    pub(super) seen_at: Instant,
    /// A router on the way has forgotten it: nothing of it passes any more.
    pub(super) forgotten: bool,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) node: NodeId,
    pub(super) address: SocketAddr,
    /// Not known before the endpoint accepted.
    pub(super) conn: Option<ConnId>,
    /// Whether its system still knows the connection.
    pub(super) open: bool,
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
    by_node: BTreeSet<(NodeId, LinkId)>,
    made: u64,
}

impl Links {
    pub(super) fn add(
        &mut self,
        opener: (NodeId, SocketAddr, ConnId),
        listener: (NodeId, SocketAddr),
        seen: SocketAddr,
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
        };
        let (node, address) = listener;
        let listener = End {
            node,
            address,
            conn: None,
            open: false,
        };
        let ends = [opener, listener];
        self.by_node
            .extend(ends.each_ref().map(|end| (end.node, id)));
        let link = Link {
            tls,
            seen,
            ends,
            pipes,
            seen_at: Instant::ORIGIN,
            forgotten: false,
        };
        self.links.insert(id, link);
        id
    }

    pub(super) fn get(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    /// The links that a node knows, and its side of each.
    pub(super) fn of_node(&self, node: NodeId) -> Vec<(LinkId, Side)> {
        let own = (node, LinkId(0))..=(node, LinkId(u64::MAX));
        let sides = self.by_node.range(own).flat_map(|&(_, id)| {
            let link = &self.links[&id];
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

    /// A link that both ends know: the next one after any that there ever was.
    pub(super) fn pick(&self, dice: &mut Dice) -> Option<LinkId> {
        let start = LinkId(dice.below(self.made + 1));
        let (later, earlier) = (self.links.range(start..), self.links.range(..start));
        later
            .chain(earlier)
            .find(|(_, link)| link.ends.iter().all(|end| end.open))
            .map(|(&id, _)| id)
    }

    /// Forgets a link that no end knows any more and that carries nothing.
    pub(super) fn sweep(&mut self, id: LinkId) {
        let dead = self
            .links
            .get(&id)
            .is_some_and(|link| link.ends.iter().all(|end| !end.open));
        if dead && let Some(link) = self.links.remove(&id) {
            for end in link.ends {
                self.by_node.remove(&(end.node, id));
            }
        }
    }
}
