//! Which way a notification goes to a client without a connection of its own.

mod legs;
mod line;
mod states;
mod terms;
#[cfg(test)]
mod tests;

use legs::Legs;
#[cfg(feature = "_test")]
pub use line::LINE_VISITS;
use line::{Last, Line, NO_LINE, Subnet};
pub use line::{LineEvent, LineState};
pub use terms::{Leg, RouteRefusal, RouterEffect, RouterLimits, Way};

use crate::collections::{Chunks, ReadyList, Wheel};
use crate::{Instant, Key, Machine, Random};

/// How many lines of a subnet are compared for one client.
const COMPARED_MAX: u32 = 8;

/// Routes notifications by peers: clients that hold a persistent connection (a
/// *line*) and pass datagrams on to the others of their subnet.
///
/// It knows nothing but keys. One notification on its way to one client is a
/// *leg*: [`assign`](Self::assign) puts it on a line's queue,
/// [`begin_batch`](Self::begin_batch) says that it was written,
/// [`handle_served`](Self::handle_served) that the peer passed it on. A leg
/// ends in one of two effects: [`RouterEffect::Served`], or
/// [`RouterEffect::Reroute`] when its line closed or said nothing for too
/// long. Until then the pair of client and notification takes no other way.
///
/// Everything is O(1), a line that ends with a thousand legs included: they
/// come back one by one, with [`poll`](Machine::poll).
pub struct Router {
    limits: RouterLimits,
    lines: Chunks<Line>,
    subnets: Chunks<Subnet>,
    clients: Chunks<Last>,
    legs: Legs,
    timers: Wheel<Key>,
    /// Subnets that are to be told of room.
    rooms: ReadyList,
    /// Subnets that wait for a leg to end, on whatever line.
    starved: ReadyList,
    now: Instant,
}

impl Router {
    /// A router without lines. Places of lines are below `lines_max`, those of
    /// clients and subnets below `clients_max`.
    pub fn new(limits: RouterLimits, lines_max: u32, clients_max: u32, mut random: Random) -> Self {
        Self {
            lines: Chunks::new(lines_max),
            subnets: Chunks::new(clients_max),
            clients: Chunks::new(clients_max),
            legs: Legs::new(random.bytes(), limits.legs_max, clients_max),
            timers: Wheel::new(lines_max),
            rooms: ReadyList::new(clients_max),
            starved: ReadyList::new(clients_max),
            now: Instant::ORIGIN,
            limits,
        }
    }

    /// A line of the subnet opened; it takes `room` legs at a time, at least
    /// one and at most `legs_per_line_max`. One that was open under this place
    /// is closed. The same line may open anew, in another subnet: its frames
    /// are numbered on. Beyond the limits there is no such line.
    pub fn handle_line_opened(&mut self, line: Key, subnet: Key, room: u32) {
        if let Some(old) = self.lines.get(line.index()).filter(|old| old.is_open()) {
            let old = Key::new(line.index() as u32, old.generation);
            self.handle_line_closed(old);
        }
        let room = room.clamp(1, self.limits.legs_per_line_max.max(1));
        let place = line.index() as u32;
        let Some(slot) = self.lines.get_or_grow(place, Line::NONE) else {
            return;
        };
        let is_same = slot.generation == line.generation();
        let begun = if is_same { slot.begun } else { 0 };
        #[cfg(feature = "_test")]
        LINE_VISITS.note(slot.state as usize, LineEvent::Opened as usize);
        *slot = Line {
            begun,
            ..Line::opened(line.generation(), subnet, room)
        };
        if let Some(place) = self.begin_subnet(subnet) {
            self.subnets[place].lines += 1;
        }
        self.enter(line);
    }

    /// The line is gone; its legs come back.
    pub fn handle_line_closed(&mut self, line: Key) {
        self.change(line, LineEvent::Closed);
    }

    /// The line is about to close, and is written no more frames: what it was
    /// not sent comes back at once, what it was sent it may still confirm.
    pub fn handle_line_leaving(&mut self, line: Key) {
        self.change(line, LineEvent::Leaves);
    }

    /// Nothing can be written to the line until
    /// [`handle_line_writable`](Self::handle_line_writable). It takes no more
    /// legs; those that it has come back when it lasts for `served_timeout`.
    pub fn handle_line_blocked(&mut self, now: Instant, line: Key) {
        self.now = self.now.max(now);
        if self.line(line).is_none() {
            return;
        }
        let open = &mut self.lines[line.index() as u32];
        if open.blocked_at.is_none() {
            open.blocked_at = Some(self.now);
            self.change(line, LineEvent::Blocked);
        }
    }

    /// The line can be written to again.
    pub fn handle_line_writable(&mut self, line: Key) {
        if self.line(line).is_none() {
            return;
        }
        let open = &mut self.lines[line.index() as u32];
        if open.blocked_at.take().is_none() {
            return;
        }
        let event = match open.state {
            // Its sulk was over and nobody noticed.
            LineState::Sulking if open.timer.is_none() => LineEvent::Forgiven,
            LineState::Held if open.load() >= open.room => LineEvent::Filled,
            _ => LineEvent::Writable,
        };
        self.change(line, event);
    }

    /// Whether the subnet is still to be told that a leg ended.
    #[cfg(any(test, feature = "_test"))]
    pub(super) fn is_starved(&self, subnet: Key) -> bool {
        self.starved.contains(subnet.index() as u32)
    }

    /// Which way the next notification goes to a client: `servable` says that
    /// a peer can reach it, `datagram` that the relay can.
    ///
    /// A peer is preferred, the one with the fewest legs. The way that the
    /// client's last notification took and left unanswered is avoided if there
    /// is another.
    pub fn route(
        &mut self,
        now: Instant,
        client: Key,
        subnet: Key,
        servable: bool,
        datagram: bool,
    ) -> Way {
        self.now = self.now.max(now);
        let avoided = self.last(client).and_then(|last| last.line);
        match self.subnet_place(subnet).filter(|_| servable) {
            Some(place) => self.route_by_peer(place, avoided, datagram),
            None if datagram => Way::Datagram,
            None => Way::None,
        }
    }

    /// The client's notification left as a datagram: that was its last way.
    pub fn handle_datagram(&mut self, client: Key) {
        self.note(client, None);
    }

    /// The client answered: the way of its last notification is good.
    pub fn handle_answered(&mut self, client: Key) {
        self.note(client, None);
    }

    /// Puts a leg on the line's queue.
    ///
    /// # Errors
    /// [`RouteRefusal`]; nothing is changed then.
    pub fn assign(
        &mut self,
        line: Key,
        client: Key,
        notification: Key,
    ) -> Result<(), RouteRefusal> {
        let open = self.line(line).ok_or(RouteRefusal::UnknownLine)?;
        if open.state != LineState::Ready {
            return Err(RouteRefusal::NoRoom);
        }
        let subnet = self.subnet_place(open.subnet);
        if subnet.is_some_and(|subnet| self.has_its_share(subnet)) {
            return Err(RouteRefusal::NoRoom);
        }
        let leg = Leg {
            client,
            notification,
        };
        let place = self.legs.insert(leg)?;
        if let Some(subnet) = subnet {
            self.subnets[subnet].legs += 1;
        }
        let open = &mut self.lines[line.index() as u32];
        self.legs.push(&mut open.queue, place);
        if open.load() >= open.room {
            self.change(line, LineEvent::Filled);
        }
        self.note(client, Some(line));
        Ok(())
    }

    /// The legs at the front of the line's queue that are of one notification:
    /// what one frame can carry.
    pub fn next_batch(&self, line: Key) -> impl Iterator<Item = Leg> {
        let first = self.line(line).and_then(|line| line.queue.first());
        let mut of_one = None;
        self.legs
            .iter(first)
            .take_while(move |leg| *of_one.get_or_insert(leg.notification) == leg.notification)
    }

    /// A frame with the first `n` legs of the queue was written; returns its
    /// number on the line, which is that of [`Serve`]. `None` if there is
    /// nothing to send, or if the line's numbers are used up, which closes it.
    ///
    /// [`Serve`]: crate::wire::message::Serve
    pub fn begin_batch(&mut self, now: Instant, line: Key, n: u32) -> Option<u32> {
        self.now = self.now.max(now);
        self.line(line)
            .filter(|line| n > 0 && line.queue.len() > 0)?;
        let open = &mut self.lines[line.index() as u32];
        let Some(sequence) = open.begun.checked_add(1) else {
            self.handle_line_closed(line);
            return None;
        };
        open.begun = sequence;
        let queues = (&mut open.queue, &mut open.outstanding);
        self.legs.begin(queues, n, (sequence, self.now));
        if open.timer.is_none() {
            self.watch(line);
        }
        Some(sequence)
    }

    /// The first `n` legs of the queue are of no use any more: the client or
    /// the notification is gone.
    pub fn skip(&mut self, line: Key, n: u32) {
        if self.line(line).is_none() {
            return;
        }
        let mut skipped = 0;
        while skipped < n {
            let open = &mut self.lines[line.index() as u32];
            let Some(place) = self.legs.pop(&mut open.queue) else {
                break;
            };
            self.legs.remove(place);
            skipped += 1;
        }
        self.freed(line, skipped);
    }

    /// The peer says that all its frames up to `sequence` are done. False if
    /// it was never sent such a frame: the peer is wrong, nothing is changed.
    /// One that says it twice, or too late, says nothing.
    pub fn handle_served(&mut self, line: Key, sequence: u32) -> bool {
        let Some(begun) = self.line(line).map(|line| line.begun) else {
            return true;
        };
        if sequence > begun {
            return false;
        }
        let open = &mut self.lines[line.index() as u32];
        let before = open.outstanding.len();
        self.legs.confirm(&mut open.outstanding, sequence);
        let confirmed = before - open.outstanding.len();
        if confirmed > 0 {
            open.confirmed_at = Some(self.now);
            self.watch(line);
        }
        self.freed(line, confirmed);
        true
    }

    /// Whether the notification is on its way to the client by a peer.
    pub fn is_on_its_way(&self, client: Key, notification: Key) -> bool {
        let leg = Leg {
            client,
            notification,
        };
        !self.is_empty() && self.legs.contains(leg)
    }

    /// How many legs there are, with those whose effect was not polled yet.
    pub const fn len(&self) -> usize {
        self.legs.len()
    }

    /// Whether there is no leg.
    pub const fn is_empty(&self) -> bool {
        self.legs.len() == 0
    }

    /// How many legs the line has, queued and outstanding.
    pub fn line_len(&self, line: Key) -> usize {
        self.line(line).map_or(0, |line| line.load() as usize)
    }

    /// Whether a line of the subnet takes legs, now or once it has room: not
    /// one that rests or is about to close.
    pub fn has_line(&self, subnet: Key) -> bool {
        let lines = self.subnet_place(subnet).map(|place| self.subnets[place]);
        lines.is_some_and(|lines| lines.ready != NO_LINE || lines.full + lines.held > 0)
    }

    /// What the line can do at the moment.
    pub fn line_state(&self, line: Key) -> LineState {
        self.line(line).map_or(LineState::Closed, |line| line.state)
    }

    fn route_by_peer(&mut self, place: u32, avoided: Option<Key>, datagram: bool) -> Way {
        let (best, spare) = self.compare(place, avoided);
        if let Some(line) = best.or_else(|| spare.filter(|_| !datagram)) {
            if self.legs.is_full() {
                self.starved.push(place);
                return Way::Later;
            }
            if self.has_its_share(place) {
                self.subnets[place].waits = true;
                return Way::Later;
            }
            return Way::Peer(line);
        }
        // The one to avoid is nothing to wait for while there is another way,
        // nor is one that is blocked.
        let avoids = avoided.is_some_and(|line| self.is_full_in(line, place));
        let subnet = &mut self.subnets[place];
        let others = subnet.full - u32::from(avoids);
        if datagram && (others == 0 || spare.is_some()) {
            Way::Datagram
        } else if subnet.full + subnet.held > 0 {
            subnet.waits = true;
            Way::Later
        } else {
            Way::None
        }
    }

    fn has_its_share(&self, subnet: u32) -> bool {
        self.subnets[subnet].legs >= self.limits.legs_per_subnet_max
    }

    fn is_full_in(&self, line: Key, subnet: u32) -> bool {
        self.line(line).is_some_and(|line| {
            line.state == LineState::Full && self.subnet_place(line.subnet) == Some(subnet)
        })
    }

    /// The line with the fewest legs among the next few that are ready, and
    /// the one to avoid, if it is ready. The next call begins one further.
    fn compare(&mut self, place: u32, avoided: Option<Key>) -> (Option<Key>, Option<Key>) {
        let (mut best, mut spare) = (None::<(u32, Key)>, None);
        let first = self.subnets[place].ready;
        let mut at = first;
        for _ in 0..COMPARED_MAX {
            let Some(line) = self.lines.get(at as usize) else {
                break;
            };
            let key = Key::new(at, line.generation);
            if Some(key) == avoided {
                spare = Some(key);
            } else if best.is_none_or(|(load, _)| line.load() < load) {
                best = Some((line.load(), key));
            }
            at = line.next;
            if at == first {
                break;
            }
        }
        if let Some(line) = self.lines.get(first as usize) {
            self.subnets[place].ready = line.next;
        }
        (best.map(|(_, key)| key), spare)
    }

    /// The subnet that has waited longest for a leg of any line to end. One is
    /// told for each that ended, as one is what it made room for; when the last
    /// has ended, all are, so that room which was of no use is no loss.
    fn next_starved(&mut self) -> Option<u32> {
        let tells = !self.starved.is_empty() && self.legs.promise_room();
        tells.then(|| self.starved.pop()).flatten()
    }

    fn line(&self, line: Key) -> Option<&Line> {
        self.lines
            .get(line.index())
            .filter(|open| open.generation == line.generation() && open.is_open())
    }

    fn subnet_place(&self, subnet: Key) -> Option<u32> {
        let state = self.subnets.get(subnet.index())?;
        (state.generation == subnet.generation() && state.lines > 0)
            .then_some(subnet.index() as u32)
    }

    /// The subnet's place, begun anew if an earlier subnet had it: lines of
    /// that one are not chosen any more.
    fn begin_subnet(&mut self, subnet: Key) -> Option<u32> {
        let place = subnet.index() as u32;
        let state = self.subnets.get_or_grow(place, Subnet::new(0))?;
        if state.generation < subnet.generation() {
            *state = Subnet::new(subnet.generation());
        }
        (state.generation == subnet.generation()).then_some(place)
    }

    fn last(&self, client: Key) -> Option<&Last> {
        self.clients
            .get(client.index())
            .filter(|last| last.generation == client.generation())
    }

    /// Notes by which line the client's last notification went, if by one that
    /// is to be avoided.
    fn note(&mut self, client: Key, line: Option<Key>) {
        if line.is_none() && self.last(client).is_none() {
            return;
        }
        let place = client.index() as u32;
        if let Some(last) = self.clients.get_or_grow(place, Last::NONE) {
            let generation = client.generation();
            *last = Last { generation, line };
        }
    }
}

impl Machine for Router {
    type Effect = RouterEffect;

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn poll(&mut self) -> Option<RouterEffect> {
        while let Some(line) = self.timers.expire(self.now) {
            self.handle_timer(line);
        }
        if let Some(Leg {
            client,
            notification,
        }) = self.legs.pop_served()
        {
            return Some(RouterEffect::Served {
                client,
                notification,
            });
        }
        if let Some(Leg {
            client,
            notification,
        }) = self.legs.pop_given_back()
        {
            return Some(RouterEffect::Reroute {
                client,
                notification,
            });
        }
        let place = self.rooms.pop().or_else(|| self.next_starved())?;
        let subnet = Key::new(place, self.subnets.get(place as usize)?.generation);
        Some(RouterEffect::Room { subnet })
    }
}
