//! What happens on the network: connections open, segments and datagrams
//! arrive, or do not.

use core::time::Duration;
use std::net::{IpAddr, SocketAddr};

use tautline_core::{CloseReason, ConnId, ConnectError};

use super::link::Segment;
pub(super) use super::link::{LinkId, Links, Side};
use super::node::{Fact, NodeId, State};
use super::paths::Place;
use super::{Fault, Happening, World};

/// How long a driver lets a connection open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// When a segment that found no way is sent again; each time after it waits
/// twice as long, up to the second one.
const RESEND: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(120));
/// After which a sender gives a connection up: what Linux comes to with
/// `tcp_retries2` at 15.
const GIVE_UP: Duration = Duration::from_secs(924);

pub(super) struct Datagram {
    from: NodeId,
    /// Where the receiver sees the sender.
    seen: SocketAddr,
    to: NodeId,
    bytes: Vec<u8>,
}

impl World {
    /// A node opens a connection.
    pub(super) fn open(&mut self, node: NodeId, conn: ConnId, host: &str, port: u16, tls: bool) {
        let address = self.nodes[node.0].next_address();
        let target = self.resolve(node, host);
        let to = target.unwrap_or(node);
        let seen = self.seen_connection(node, to, address);
        let listener = (to, SocketAddr::new(self.nodes[to.0].ip, port));
        let opener = (node, address, conn);
        let link = self.links.add(opener, listener, seen, tls, &mut self.dice);
        self.nodes[node.0].insert(self.now, conn, (link, Side::Opener), State::Connecting);
        if self.faults.strike(Fault::Exhausted) {
            self.fail_open(link, ConnectError::Exhausted);
        } else if target.is_none() || self.faults.strike(Fault::Unresolved) {
            self.fail_open(link, ConnectError::Unresolved);
        } else {
            self.schedule(OPEN_TIMEOUT, Happening::OpenTimedOut(link));
            if self.is_routable(node, to) && !self.faults.strike(Fault::ConnectLost) {
                let delay = self.trip(node, to);
                self.schedule(delay, Happening::OpenArrives(link));
            }
        }
    }

    fn resolve(&self, from: NodeId, host: &str) -> Option<NodeId> {
        match host.parse::<IpAddr>() {
            Ok(ip) => self.sites.node_at(self.nodes[from.0].site, ip),
            Err(_) => self.names.get(host).copied(),
        }
    }

    pub(super) fn open_arrives(&mut self, link: LinkId) {
        let Some([from, to]) = self.ends(link) else {
            return;
        };
        if !self.passes(from, to) || !self.nodes[to.0].hears(self.now) {
            self.schedule(Duration::from_secs(1), Happening::OpenArrives(link));
            return;
        }
        let (now, back) = (self.now, self.trip(to, from));
        let Some(state) = self.links.get(link) else {
            return;
        };
        if !state.end(Side::Opener).open {
            return;
        }
        let port = state.end(Side::Listener).address.port();
        let target = &self.nodes[to.0];
        let listens = target.running.is_some() && target.tcp_port == Some(port);
        if !listens || self.faults.strike(Fault::ConnectRefused) {
            self.schedule(back, Happening::OpenAnswered(link, false));
            return;
        }
        state.end(Side::Listener).open = true;
        state.seen_at = now;
        self.push_fact(to, Fact::Accept(link));
        self.schedule(back, Happening::OpenAnswered(link, true));
    }

    pub(super) fn open_answered(&mut self, link: LinkId, open: bool) {
        let Some([from, to]) = self.ends(link) else {
            return;
        };
        if !self.passes(to, from) {
            self.schedule(Duration::from_secs(1), Happening::OpenAnswered(link, open));
            return;
        }
        let Some(conn) = self.opening(link) else {
            return;
        };
        if !open {
            self.fail_open(link, ConnectError::Refused);
            return;
        }
        if let Some(state) = self.nodes[from.0].conn(conn) {
            state.state = State::Open;
        }
        self.push_fact(from, Fact::Connected(conn));
        self.push_fact(from, Fact::Readable(conn));
    }

    pub(super) fn open_timed_out(&mut self, link: LinkId) {
        if self.opening(link).is_some() {
            self.fail_open(link, ConnectError::TimedOut);
            self.send_reset(link, Side::Listener);
        }
    }

    /// The connection that the link is to be, while it is not open yet.
    fn opening(&mut self, link: LinkId) -> Option<ConnId> {
        let end = self.links.get(link)?.end(Side::Opener);
        let (node, conn) = (end.node, end.conn.filter(|_| end.open)?);
        let state = self.nodes[node.0].conn(conn)?.state;
        (state == State::Connecting).then_some(conn)
    }

    fn fail_open(&mut self, link: LinkId, why: ConnectError) {
        let Some(state) = self.links.get(link) else {
            return;
        };
        let end = state.end(Side::Opener);
        end.open = false;
        let (node, conn) = (end.node, end.conn);
        if let Some(conn) = conn
            && let Some(state) = self.nodes[node.0].conn(conn)
        {
            state.state = State::Over;
            self.push_fact(node, Fact::ConnectFailed(conn, why));
        }
        self.links.sweep(link);
    }

    /// Writes to a link as much as it takes.
    pub(super) fn write_link(&mut self, link: LinkId, side: Side, bytes: &[u8]) -> usize {
        let short = self.faults.strike(Fault::PartialWrite);
        let Some(state) = self.links.get(link) else {
            return bytes.len();
        };
        let pipe = state.pipe_from(side);
        let mut len = bytes.len().min(pipe.room());
        if short {
            len = self.dice.index(len + 1);
            // Nobody reads to make room, so it is told by itself.
            let delay = self.dice.span(Duration::ZERO..Duration::from_millis(5));
            self.schedule(delay, Happening::RoomArrives(link, side));
        }
        if len > 0 {
            self.send_segment(link, side, Segment::Bytes(bytes[..len].to_vec()));
        }
        len
    }

    /// Ends the sending direction behind all that was written.
    pub(super) fn write_fin(&mut self, link: LinkId, side: Side) {
        self.send_segment(link, side, Segment::Fin);
    }

    fn send_segment(&mut self, link: LinkId, side: Side, segment: Segment) {
        let Some([opener, listener]) = self.ends(link) else {
            return;
        };
        let (from, to) = match side {
            Side::Opener => (opener, listener),
            Side::Listener => (listener, opener),
        };
        let mut delay = self.trip(from, to);
        if self.faults.strike(Fault::Straggler) {
            delay += self.dice.span(Duration::ZERO..Duration::from_secs(3));
        }
        let mut due = self.now + delay;
        if let Some(state) = self.links.get(link) {
            let pipe = state.pipe_from(side);
            if pipe.cut {
                self.send_reset(link, side);
                return;
            }
            due = due.max(pipe.last_due.unwrap_or(due));
            pipe.last_due = Some(due);
            if let Segment::Bytes(bytes) = &segment {
                pipe.used_bytes += bytes.len();
            }
            pipe.flying.push_back(segment);
        }
        self.queue.push(due, Happening::SegmentArrives(link, side));
    }

    pub(super) fn segment_arrives(&mut self, link: LinkId, from: Side) {
        let now = self.now;
        let Some(state) = self.links.get(link) else {
            return;
        };
        let sender = state.end(from).node;
        let receiver = state.end(from.other());
        let (to, open, conn) = (receiver.node, receiver.open, receiver.conn);
        let finds_way = self.finds_way(link, sender, to);
        let is_awake = self.nodes[sender.0].asleep_until <= now;
        let Some(state) = self.links.get(link) else {
            return;
        };
        let pipe = state.pipe_from(from);
        // Who sleeps sends nothing again.
        if !finds_way || (pipe.lost_since.is_some() && !is_awake) {
            return self.send_again(link, from, is_awake);
        }
        // After a gap all that waits behind the segment comes with it.
        let count = match pipe.lost_since.take() {
            Some(_) => pipe.flying.len(),
            None => 1.min(pipe.flying.len()),
        };
        if count == 0 {
            return;
        }
        if !open {
            // Without an answer it goes again.
            if !self.send_reset(link, from) {
                self.send_again(link, from, is_awake);
            }
            return;
        }
        let pipe = match self.links.get(link) {
            Some(state) => state.pipe_from(from),
            None => return,
        };
        let segments: Vec<Segment> = pipe.flying.drain(..count).collect();
        for segment in segments {
            match segment {
                Segment::Bytes(bytes) => pipe.arrived.extend(bytes),
                Segment::Fin => pipe.fin_arrived = true,
            }
        }
        self.nodes[to.0].note_reached(now);
        if let Some(conn) = conn {
            self.push_fact(to, Fact::Readable(conn));
        }
    }

    /// A segment did not find its way: it goes again, or the sender gives up.
    fn send_again(&mut self, link: LinkId, from: Side, is_awake: bool) {
        let now = self.now;
        let Some(state) = self.links.get(link) else {
            return;
        };
        let pipe = state.pipe_from(from);
        let since = match pipe.lost_since {
            Some(since) if is_awake => since,
            _ => now,
        };
        pipe.lost_since = Some(since);
        let (first, longest) = RESEND;
        let tried_for = now.saturating_since(since);
        if tried_for < GIVE_UP {
            let delay = (tried_for + first).min(longest);
            self.schedule(delay, Happening::SegmentArrives(link, from));
        } else {
            self.end_side(link, from, CloseReason::Reset);
        }
    }

    /// The reader has read; the writer will hear of it.
    pub(super) fn announce_room(&mut self, link: LinkId, reader: Side) {
        if let Some([opener, listener]) = self.ends(link) {
            let delay = self.latency(opener, listener);
            self.schedule(delay, Happening::RoomArrives(link, reader.other()));
        }
    }

    pub(super) fn room_arrives(&mut self, link: LinkId, at: Side) {
        let Some(state) = self.links.get(link) else {
            return;
        };
        let end = state.end(at);
        if let (true, Some(conn)) = (end.open, end.conn) {
            let node = end.node;
            self.push_fact(node, Fact::Room(conn));
        }
    }

    /// A reset is one packet, which may be lost; then `false`.
    pub(super) fn send_reset(&mut self, link: LinkId, to: Side) -> bool {
        if self.paths.loses(&mut self.dice) {
            return false;
        }
        if let Some([opener, listener]) = self.ends(link) {
            let delay = self.latency(opener, listener);
            self.schedule(delay, Happening::ResetArrives(link, to));
        }
        true
    }

    pub(super) fn reset_arrives(&mut self, link: LinkId, at: Side) {
        let Some(state) = self.links.get(link) else {
            return;
        };
        let (to, from) = (state.end(at).node, state.end(at.other()).node);
        if self.finds_way(link, from, to) {
            self.end_side(link, at, CloseReason::Reset);
        }
    }

    /// A system forgets its side of a connection, and its driver hears why.
    pub(super) fn end_side(&mut self, link: LinkId, side: Side, why: CloseReason) {
        let Some(state) = self.links.get(link) else {
            return;
        };
        let end = state.end(side);
        if !core::mem::replace(&mut end.open, false) {
            return;
        }
        let (node, conn) = (end.node, end.conn);
        self.links.sweep(link);
        if let Some(conn) = conn
            && let Some(state) = self.nodes[node.0].conn(conn)
        {
            let opening = state.state == State::Connecting;
            state.state = State::Over;
            self.push_fact(
                node,
                if opening && why == CloseReason::Reset {
                    Fact::ConnectFailed(conn, ConnectError::Refused)
                } else {
                    Fact::Closed(conn, why)
                },
            );
        }
    }

    /// A node sends a datagram.
    pub(super) fn send_datagram(&mut self, node: NodeId, to: SocketAddr, bytes: &[u8]) {
        if self.faults.strike(Fault::DatagramLost) || self.paths.loses(&mut self.dice) {
            return;
        }
        let Some(target) = self.route_datagram(node, to) else {
            return;
        };
        let copies = 1 + u32::from(self.faults.strike(Fault::DatagramRepeated));
        for _ in 0..copies {
            let mut bytes = bytes.to_vec();
            if self.faults.strike(Fault::DatagramFlipped) {
                let place = self.dice.index(bytes.len());
                bytes[place] ^= 1 << self.dice.below(8);
            }
            let mut delay = self.latency(node, target);
            if self.faults.strike(Fault::DatagramDelayed) {
                delay += self.dice.span(Duration::ZERO..Duration::from_secs(2));
            }
            let datagram = Datagram {
                from: node,
                seen: self.seen_datagrams(node, target),
                to: target,
                bytes,
            };
            self.schedule(delay, Happening::DatagramArrives(Box::new(datagram)));
        }
    }

    pub(super) fn datagram_arrives(&mut self, datagram: Datagram) {
        let Datagram {
            from,
            seen,
            to,
            bytes,
        } = datagram;
        let state = &self.nodes[to.0];
        let up = state.running.is_some() && state.hears(self.now);
        if up && self.passes(from, to) {
            self.push_fact(to, Fact::Datagram(seen, bytes));
        }
    }

    pub(super) fn ends(&mut self, link: LinkId) -> Option<[NodeId; 2]> {
        let link = self.links.get(link)?;
        Some([link.ends[0].node, link.ends[1].node])
    }

    fn place(&self, node: NodeId) -> Place {
        (node, self.nodes[node.0].site)
    }

    /// Whether packets from one node to another arrive now.
    fn passes(&self, from: NodeId, to: NodeId) -> bool {
        let (from, to) = (self.place(from), self.place(to));
        self.paths.open(from, to, self.now)
    }

    /// Whether what is sent on a link arrives now. Routers see it.
    fn finds_way(&mut self, link: LinkId, from: NodeId, to: NodeId) -> bool {
        let now = self.now;
        if !self.passes(from, to) || !self.nodes[to.0].hears(now) {
            return false;
        }
        let memory = self.memory_between(from, to);
        let Some(state) = self.links.get(link) else {
            return false;
        };
        let silence = now.saturating_since(state.seen_at);
        state.forgotten |= memory.is_some_and(|memory| silence > memory);
        state.seen_at = now;
        !state.forgotten
    }

    /// How long a segment takes, with those before it that were lost.
    fn trip(&mut self, from: NodeId, to: NodeId) -> Duration {
        self.latency(from, to) + self.paths.resends(&mut self.dice)
    }

    fn latency(&mut self, from: NodeId, to: NodeId) -> Duration {
        let (from, to) = (self.place(from), self.place(to));
        self.paths.latency(from, to, self.now, &mut self.dice)
    }
}
