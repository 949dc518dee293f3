//! A node's turn: facts are told, outputs are polled.

use core::time::Duration;

use tautline_core::{CloseReason, ConnId, Input, Instant, Output};

use super::app::{Boot, Running};
use super::disk::{Answer, Job};
use super::net::{LinkId, Side};
use super::node::{Fact, NodeId, State};
use super::trace::Brief;
use super::{Fault, Happening, World};

/// Outputs after which a drain is called endless.
const OUTPUTS_MAX: u64 = 100_000;
/// Bytes that a driver reads at a time.
const READ_BYTES_MAX: usize = 16 * 1024;

impl World {
    pub(super) fn start(&mut self, node: NodeId) {
        let (now, wall) = (self.now, self.wall(node));
        let state = &mut self.nodes[node.0];
        if state.running.is_some() {
            return;
        }
        if state.starts_at > now {
            let delay = state.starts_at.saturating_since(now);
            self.schedule(delay, Happening::Start(node));
            return;
        }
        let seed = self.dice.seed();
        state.life += 1;
        state.powered = true;
        if let (Some(site), None) = (state.site, state.public_udp_port) {
            state.public_udp_port = Some(self.sites.map_port(site, node, state.udp_port));
        }
        let boot = Boot {
            node,
            seed,
            life: state.life,
            now,
            wall,
            address: state.udp_address(),
        };
        state.running = Some((state.boot)(boot));
        self.note(node, format_args!("starts"));
        self.push_fact(node, Fact::WallClock);
    }

    /// Something waits to be told.
    pub(super) fn push_fact(&mut self, node: NodeId, fact: Fact) {
        self.nodes[node.0].facts.push_back(fact);
        self.want_turn(node);
    }

    pub(super) fn want_turn(&mut self, node: NodeId) {
        let now = self.now;
        let state = &mut self.nodes[node.0];
        if state.in_turn || core::mem::replace(&mut state.turn_wanted, true) {
            return;
        }
        let delay = state.paused_until.saturating_since(now);
        self.schedule(delay, Happening::Turn(node));
    }

    pub(super) fn turn(&mut self, node: NodeId) {
        let now = self.now;
        let state = &mut self.nodes[node.0];
        state.turn_wanted = false;
        if state.paused_until > now {
            self.want_turn(node);
            return;
        }
        let Some(mut running) = state.running.take() else {
            state.facts.clear();
            return;
        };
        state.in_turn = true;
        // Some drivers look at the clock first, some at what has come.
        if core::mem::take(&mut state.was_paused) && self.dice.one_in(2) {
            state.facts.push_front(Fact::Timeout);
        }
        let mut buf = core::mem::take(&mut self.buf);
        loop {
            if let Some(fact) = self.nodes[node.0].facts.pop_front() {
                self.tell(node, running.as_mut(), fact);
            }
            let more = !self.nodes[node.0].facts.is_empty();
            let polls = if more && self.faults.strike(Fault::InputBetweenPolls) {
                self.dice.below(4)
            } else {
                OUTPUTS_MAX
            };
            self.poll(node, running.as_mut(), &mut buf, polls);
            if self.nodes[node.0].facts.is_empty() {
                break;
            }
        }
        self.buf = buf;
        let state = &mut self.nodes[node.0];
        state.in_turn = false;
        let exits = running.exits();
        state.running = Some(running);
        if exits {
            self.crash(node, false, Duration::from_secs(1));
        }
    }

    fn poll(&mut self, node: NodeId, running: &mut dyn Running, buf: &mut [u8], polls: u64) {
        for _ in 0..polls {
            let (now, name, trace) = (self.now, &self.nodes[node.0].name, &mut self.trace);
            let mut show = |event: &dyn core::fmt::Debug| {
                trace.note(now, name, format_args!("event {event:?}"));
            };
            match running.poll(now, buf, &mut show) {
                Output::Wait(deadline) => {
                    self.wait(node, deadline.map(|deadline| deadline.at));
                    return;
                }
                output => {
                    self.nodes[node.0].silent_timeout = false;
                    self.carry_out(node, running, output);
                }
            }
        }
        assert!(
            polls < OUTPUTS_MAX,
            "contract: {} drains without end",
            self.nodes[node.0].name
        );
    }

    fn wait(&mut self, node: NodeId, deadline: Option<Instant>) {
        let now = self.now;
        let state = &mut self.nodes[node.0];
        let silent = core::mem::replace(&mut state.silent_timeout, false);
        assert!(
            !silent || deadline.is_none_or(|at| at > now),
            "contract: a timeout at {now:?} brings {} no output and no later deadline",
            state.name
        );
        if state.deadline == deadline {
            return;
        }
        state.deadline = deadline;
        let life = state.life;
        if let Some(at) = deadline {
            // A clock is never exact; it is late, not early.
            let late = self.dice.span(Duration::ZERO..Duration::from_millis(1));
            let due = (at + late).max(self.now);
            self.queue.push(due, Happening::Deadline(node, life, at));
        }
    }

    pub(super) fn deadline(&mut self, node: NodeId, life: u32, at: Instant) {
        let state = &mut self.nodes[node.0];
        if state.life == life && state.deadline == Some(at) {
            self.push_fact(node, Fact::Timeout);
        }
    }

    fn tell(&mut self, node: NodeId, running: &mut dyn Running, fact: Fact) {
        let now = self.now;
        self.nodes[node.0].silent_timeout = false;
        if self.faults.strike(Fault::EarlyTimeout) {
            running.tell(now, Input::Timeout);
        }
        match fact {
            Fact::Timeout => self.tell_timeout(node, running),
            Fact::WallClock => {
                let wall = self.wall(node);
                running.tell(now, Input::WallClock(wall));
            }
            Fact::Accept(link) => self.tell_accept(node, running, link),
            Fact::Connected(conn) => self.tell_connected(node, running, conn),
            Fact::ConnectFailed(conn, why) => {
                self.note(node, format_args!("{conn:?} failed: {why}"));
                self.nodes[node.0].conns.remove(&conn.index());
                running.tell(now, Input::ConnectFailed { conn, why });
            }
            Fact::Readable(conn) => self.read(node, running, conn),
            Fact::Room(conn) => self.write_on(node, running, conn),
            Fact::Closed(conn, why) => {
                self.note(node, format_args!("{conn:?} closed: {why}"));
                self.nodes[node.0].conns.remove(&conn.index());
                running.tell(now, Input::Closed { conn, why });
            }
            Fact::Datagram(from, bytes) => {
                self.note(
                    node,
                    format_args!("datagram from {from}: {}", Brief(&bytes)),
                );
                let bytes = &bytes;
                running.tell(now, Input::Datagram { from, bytes });
            }
            Fact::Stored(ticket) => {
                self.note(node, format_args!("stored {}", ticket.0));
                running.tell(now, Input::Stored { ticket });
            }
            Fact::Answer(ticket, answer) => self.tell_answer(node, running, ticket, &answer),
        }
    }

    fn tell_timeout(&mut self, node: NodeId, running: &mut dyn Running) {
        let now = self.now;
        let state = &mut self.nodes[node.0];
        let Some(at) = state.deadline.filter(|&at| at <= now) else {
            return;
        };
        state.deadline = None;
        state.silent_timeout = true;
        self.note(node, format_args!("timeout of {at:?}"));
        running.tell(now, Input::Timeout);
    }

    fn tell_accept(&mut self, node: NodeId, running: &mut dyn Running, link: LinkId) {
        let now = self.now;
        let Some(state) = self.links.get(link).filter(|link| link.ends[1].open) else {
            return;
        };
        let (peer, local, secure) = (state.seen, state.ends[1].address, state.tls);
        match running.accept(now, peer, local) {
            Ok(conn) => {
                state.end(Side::Listener).conn = Some(conn);
                self.nodes[node.0].insert(now, conn, (link, Side::Listener), State::Open);
                self.note(node, format_args!("{conn:?} accepted from {peer}"));
                if secure {
                    running.tell(now, Input::Introduced { conn, peer, secure });
                }
                self.push_fact(node, Fact::Readable(conn));
            }
            Err(error) => {
                state.end(Side::Listener).open = false;
                self.note(node, format_args!("{peer} is not accepted: {error}"));
                self.send_reset(link, Side::Opener);
                self.links.sweep(link);
            }
        }
    }

    fn tell_connected(&mut self, node: NodeId, running: &mut dyn Running, conn: ConnId) {
        let Some(state) = self.nodes[node.0].conn(conn) else {
            return;
        };
        let link = state.link;
        if state.state != State::Open {
            // It was over before it was told; then only that is.
            return;
        }
        let Some(link) = self.links.get(link) else {
            return;
        };
        let (local, peer) = (link.ends[0].address, link.ends[1].address);
        self.note(node, format_args!("{conn:?} connected"));
        running.tell(self.now, Input::Connected { conn, local, peer });
    }

    fn read(&mut self, node: NodeId, running: &mut dyn Running, conn: ConnId) {
        let short = self.faults.strike(Fault::ShortRead);
        let Some(state) = self.nodes[node.0].conn(conn) else {
            return;
        };
        let (link, side) = (state.link, state.side);
        let Some(pipe) = self.links.get(link).map(|link| link.pipe_to(side)) else {
            return;
        };
        match state.state {
            State::Connecting | State::Over => return,
            State::Finishing => {
                state.held.clear();
                pipe.read(usize::MAX);
                self.announce_room(link, side);
                self.finish_if_done(node, conn);
                return;
            }
            State::Open if state.stalled && state.take.is_none() => return,
            State::Open => {}
        }
        let mut len = READ_BYTES_MAX.min(pipe.arrived.len());
        if short {
            len = self.dice.index(len) + 1;
        }
        if state.held.is_empty() && !pipe.arrived.is_empty() {
            state.held = pipe.read(len);
            self.announce_room(link, side);
        }
        if self.nodes[node.0]
            .conn(conn)
            .is_some_and(|state| state.take.is_some())
        {
            self.take_on(node, running, conn);
        } else {
            self.offer(node, running, conn);
        }
    }

    /// Offers what is held, then tells the end if that was all.
    pub(super) fn offer(&mut self, node: NodeId, running: &mut dyn Running, conn: ConnId) {
        let now = self.now;
        let Some(state) = self.nodes[node.0].conn(conn) else {
            return;
        };
        let (link, side) = (state.link, state.side);
        let mut held = core::mem::take(&mut state.held);
        if !held.is_empty() {
            let bytes = &held;
            let taken = running.tell(now, Input::Received { conn, bytes });
            assert!(taken <= held.len(), "contract: more taken than offered");
            let brief = Brief(&held);
            self.note(
                node,
                format_args!("{conn:?} received {brief}, {taken} taken"),
            );
            held.drain(..taken);
        }
        let Some(state) = self.nodes[node.0].conn(conn) else {
            return;
        };
        state.stalled = !held.is_empty();
        state.held = held;
        let Some(pipe) = self.links.get(link).map(|link| link.pipe_to(side)) else {
            return;
        };
        if !state.held.is_empty() {
            return;
        }
        if !pipe.arrived.is_empty() {
            self.push_fact(node, Fact::Readable(conn));
        } else if pipe.fin_arrived && !core::mem::replace(&mut state.eof_told, true) {
            self.note(node, format_args!("{conn:?} ended by the peer"));
            running.tell(now, Input::Eof { conn });
        }
    }

    /// Closed in order by both ends.
    pub(super) fn finish_if_done(&mut self, node: NodeId, conn: ConnId) {
        let Some(state) = self.nodes[node.0].conn(conn) else {
            return;
        };
        let (link, side) = (state.link, state.side);
        let finished = state.state == State::Finishing && state.fin_sent;
        let ended = self
            .links
            .get(link)
            .is_some_and(|link| link.pipe_to(side).at_end());
        if finished && ended {
            self.end_side(link, side, CloseReason::Done);
        }
    }

    fn tell_answer(
        &mut self,
        node: NodeId,
        running: &mut dyn Running,
        ticket: tautline_core::Ticket,
        answer: &Answer,
    ) {
        let input = match answer {
            Answer::Done => Input::Stored { ticket },
            Answer::Loaded(bytes) => Input::Loaded { ticket, bytes },
            &Answer::Hashed(digest) => Input::Hashed { ticket, digest },
            &Answer::Failed(why) => Input::StoreFailed { ticket, why },
        };
        self.note(node, format_args!("storage {}: {answer:?}", ticket.0));
        running.tell(self.now, input);
    }

    /// The oldest storage effect of a node comes to its end.
    pub(super) fn storage_done(&mut self, node: NodeId, life: u32) {
        let faults = &mut self.faults;
        let state = &mut self.nodes[node.0];
        if state.life != life {
            return;
        }
        let Some(Job { ticket, task }) = state.jobs.pop_front() else {
            return;
        };
        let answer = state.disk.run(&task, &mut |fault| faults.strike(fault));
        if !state.sheltered && faults.strike(Fault::CrashInStore) {
            let down_for = self.dice.span(Duration::ZERO..Duration::from_secs(30));
            self.crash(node, true, down_for);
            return;
        }
        let more = !state.jobs.is_empty();
        if answer == Answer::Done && more && self.dice.one_in(2) {
            state.stored = Some(ticket);
        } else {
            let earlier = state.stored.take();
            if answer == Answer::Done {
                self.push_fact(node, Fact::Stored(ticket));
            } else {
                if let Some(earlier) = earlier {
                    self.push_fact(node, Fact::Stored(earlier));
                }
                self.push_fact(node, Fact::Answer(ticket, answer));
            }
        }
        if more {
            self.schedule_storage(node);
        }
    }

    pub(super) fn schedule_storage(&mut self, node: NodeId) {
        let longest = if self.faults.strike(Fault::StoreSlow) {
            Duration::from_secs(3)
        } else {
            Duration::from_millis(2)
        };
        let delay = self.dice.span(Duration::from_micros(20)..longest);
        let life = self.nodes[node.0].life;
        self.schedule(delay, Happening::StorageDone(node, life));
    }

    pub(super) fn note(&mut self, node: NodeId, what: core::fmt::Arguments<'_>) {
        self.trace.note(self.now, &self.nodes[node.0].name, what);
    }
}
