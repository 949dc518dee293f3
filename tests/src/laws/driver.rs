//! A driver that keeps the contract and is otherwise as contrary as it may be.

use core::fmt::Debug;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tautline_core::{
    Close, CloseReason, ConnId, ConnectError, Endpoint, FileId, Input, Instant, OUTPUT_BUF_MIN,
    Output, Ticket, UnixTime,
};

use super::{EndpointCase, Log, Step};
use crate::world::disk::{Answer, Disk, Job, Task};
use crate::world::fault::Fault;
use crate::{Dice, counting};

/// An endpoint and what a driver keeps beside it.
///
/// A case drives it by hand where it has to ([`accept`](Self::accept),
/// [`receive`](Self::receive), [`tell`](Self::tell)); the harness does the rest.
pub struct Driver<E> {
    /// The endpoint under test.
    pub endpoint: E,
    pub(super) now: Instant,
    pub(super) deadline: Option<Instant>,
    pub(super) contrary: bool,
    conns: BTreeMap<usize, Conn>,
    old: VecDeque<ConnId>,
    dice: Dice,
    disk: Disk,
    jobs: VecDeque<Job>,
    ticket: Option<Ticket>,
    buf: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
    Finishing,
    Aborted,
}

/// What an effect makes the driver tell before its next poll.
enum Tell {
    Nothing,
    Blocked(ConnId),
    Closed(ConnId, CloseReason),
    Moved(ConnId, u64),
    Held(ConnId),
}

#[derive(Debug)]
struct Conn {
    id: ConnId,
    state: State,
    blocked: bool,
    stalled: bool,
    ended: bool,
    held: Vec<u8>,
    take: Option<(FileId, u64, u64)>,
    send: u64,
}

impl<E: Endpoint<Event: Debug>> Driver<E> {
    pub(super) fn new(endpoint: E, seed: u64) -> Self {
        Self {
            endpoint,
            now: Instant::ORIGIN,
            deadline: None,
            contrary: true,
            conns: BTreeMap::new(),
            old: VecDeque::with_capacity(16),
            dice: Dice::new(seed),
            disk: Disk::default(),
            jobs: VecDeque::new(),
            ticket: None,
            buf: vec![0; 2 * OUTPUT_BUF_MIN],
        }
    }

    /// The open connections, oldest place first.
    pub fn open(&self) -> impl Iterator<Item = ConnId> {
        let open = |conn: &&Conn| conn.state == State::Open;
        self.conns.values().filter(open).map(|conn| conn.id)
    }

    /// The connections that the endpoint opens.
    pub fn connecting(&self) -> impl Iterator<Item = ConnId> {
        let connecting = |conn: &&Conn| conn.state == State::Connecting;
        self.conns.values().filter(connecting).map(|conn| conn.id)
    }

    /// A connection that the endpoint opens is open.
    pub fn connected(&mut self, now: Instant, conn: ConnId) {
        self.conn(conn).state = State::Open;
        let (local, peer) = (address(&mut self.dice), address(&mut self.dice));
        self.tell(now, Input::Connected { conn, local, peer });
    }

    /// Offers a connection of some peer; `None` if the endpoint refuses it.
    pub fn accept(&mut self, now: Instant) -> Option<ConnId> {
        let peer = counting::paused(|| address(&mut self.dice));
        let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 52_311);
        let conn = self.endpoint.accept(now, peer, local).ok()?;
        counting::paused(|| self.insert(conn, State::Open));
        Some(conn)
    }

    /// Whether the driver would read on the connection.
    pub fn reads(&self, conn: ConnId) -> bool {
        let state = self
            .conns
            .get(&conn.index())
            .filter(|state| state.id == conn);
        state.is_some_and(|state| {
            state.state == State::Open && !state.stalled && !state.ended && state.take.is_none()
        })
    }

    /// Whether the connection is open, or on its way to be.
    pub fn knows(&self, conn: ConnId) -> bool {
        let state = self
            .conns
            .get(&conn.index())
            .filter(|state| state.id == conn);
        state.is_some_and(|state| matches!(state.state, State::Connecting | State::Open))
    }

    /// Offers bytes of a connection's stream behind those that it holds, unless
    /// the endpoint does not want any; returns how many were taken.
    pub fn receive(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> usize {
        if !self.reads(conn) {
            return 0;
        }
        let Some(state) = self.conns.get_mut(&conn.index()) else {
            return 0;
        };
        let mut held = core::mem::take(&mut state.held);
        counting::paused(|| held.extend_from_slice(bytes));
        if held.is_empty() {
            return 0;
        }
        let input = Input::Received { conn, bytes: &held };
        let taken = self.endpoint.handle_input(now, input);
        assert!(
            taken <= held.len(),
            "contract: {taken} of {} bytes",
            held.len()
        );
        let bytes_held_before = held.len() - bytes.len();
        held.drain(..taken);
        if let Some(state) = self.conns.get_mut(&conn.index()) {
            state.stalled = !held.is_empty();
            state.held = held;
        }
        taken.saturating_sub(bytes_held_before)
    }

    /// Offers bytes as they are and keeps none; what nobody waits for is taken.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        conn: ConnId,
        bytes: &[u8],
        log: &mut Log,
    ) -> usize {
        let known = self.conns.get_mut(&conn.index());
        let Some(state) = known.filter(|state| state.id == conn && state.state == State::Open)
        else {
            return bytes.len();
        };
        if let Some((sink, offset, len)) = state.take {
            let moved = (bytes.len() as u64).min(len);
            state.take = (moved < len).then_some((sink, offset + moved, len - moved));
            log.file(sink.index() as u64, Some(offset), &bytes[..moved as usize]);
            self.tell(now, Input::Moved { conn, bytes: moved });
            return moved as usize;
        }
        if state.stalled {
            return 0;
        }
        let taken = self.tell(now, Input::Received { conn, bytes });
        self.conn(conn).stalled = taken < bytes.len();
        taken
    }

    /// Tells that the peer sends no more.
    pub(super) fn end(&mut self, now: Instant, conn: ConnId) {
        let known = self.conns.get(&conn.index());
        if known.is_some_and(|state| state.id == conn && state.state == State::Open) {
            self.tell(now, Input::Eof { conn });
        }
    }

    /// Tells any fact, as it is.
    pub fn tell(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.endpoint.handle_input(now, input)
    }

    /// Ends a connection from outside.
    pub fn lose(&mut self, now: Instant, conn: ConnId, why: CloseReason) {
        if counting::paused(|| self.remove(conn)) {
            self.endpoint.handle_input(now, Input::Closed { conn, why });
        }
    }

    /// One poll, carried out as far as it needs no answer.
    pub(super) fn step<C>(&mut self, case: &mut C, log: &mut Log) -> Step
    where
        C: EndpointCase<Endpoint = E>,
    {
        let mut buf = core::mem::take(&mut self.buf);
        let output = self.endpoint.poll_output(&mut buf);
        let (step, tell) = counting::paused(|| {
            if let Some(ticket) = case.promises(&output) {
                log.promise(ticket);
            }
            self.carry_out(case, output, log)
        });
        self.buf = buf;
        match tell {
            Tell::Nothing => {}
            Tell::Blocked(conn) => {
                self.endpoint
                    .handle_input(self.now, Input::Blocked { conn });
            }
            Tell::Held(conn) => {
                self.receive(self.now, conn, &[]);
            }
            Tell::Closed(conn, why) => self.lose(self.now, conn, why),
            Tell::Moved(conn, bytes) => {
                self.endpoint
                    .handle_input(self.now, Input::Moved { conn, bytes });
            }
        }
        step
    }

    /// Returns also what to tell at once.
    fn carry_out<C>(
        &mut self,
        case: &mut C,
        output: Output<'_, E::Event>,
        log: &mut Log,
    ) -> (Step, Tell)
    where
        C: EndpointCase<Endpoint = E>,
    {
        match output {
            Output::Wait(deadline) => {
                self.deadline = deadline.map(|deadline| deadline.at);
                return (Step::Idle, Tell::Nothing);
            }
            Output::Write { conn, bytes } => {
                return (Step::Output, self.write(case, conn, bytes, log));
            }
            Output::Resume { conn } => {
                log.resume();
                self.conn(conn).stalled = false;
                return (Step::Output, Tell::Held(conn));
            }
            Output::Connect { conn, .. } => {
                log.effect(&output);
                self.insert(conn, State::Connecting);
            }
            Output::Close { conn, how } => {
                log.effect(&output);
                let (state, why) = match how {
                    Close::Finish => (State::Finishing, CloseReason::Done),
                    Close::Abort => (State::Aborted, CloseReason::Local),
                };
                self.conn(conn).state = state;
                if !self.contrary {
                    return (Step::Output, Tell::Closed(conn, why));
                }
            }
            Output::Take {
                conn,
                sink,
                offset,
                len,
            } => {
                log.effect(&output);
                self.conn(conn).take = Some((sink, offset, len));
            }
            Output::SendFile {
                conn, ref range, ..
            } => {
                log.effect(&output);
                let bytes = range.end - range.start;
                if !self.contrary {
                    return (Step::Output, Tell::Moved(conn, bytes));
                }
                self.conn(conn).send += bytes;
            }
            Output::Datagram { to, bytes } => log.effect(&(to, bytes)),
            Output::Hash {
                ticket,
                file,
                ref range,
            } => {
                log.effect(&output);
                let range = range.clone();
                self.push_job(ticket, Task::Hash { file, range });
            }
            Output::Store { ticket, ref op } => {
                log.effect(&output);
                self.push_job(ticket, Task::of(op));
            }
            Output::Event(event) => {
                case.event(&mut self.endpoint, self.now, event, log);
            }
            Output::BufferTooSmall { needed } => {
                panic!("contract: {needed} bytes are not enough of a buffer");
            }
        }
        (Step::Output, Tell::Nothing)
    }

    fn write<C>(&mut self, case: &mut C, conn: ConnId, bytes: &[u8], log: &mut Log) -> Tell
    where
        C: EndpointCase<Endpoint = E>,
    {
        assert!(!bytes.is_empty(), "contract: an empty write");
        log.bytes(stream_of(conn), bytes);
        case.sent(conn, bytes);
        let contrary = self.contrary && self.dice.one_in(8);
        let state = self.conn(conn);
        assert!(!state.blocked, "contract: {conn:?} is blocked");
        assert!(
            state.state == State::Open,
            "contract: a write to {conn:?}, which is {:?}",
            state.state
        );
        state.blocked = contrary;
        if contrary {
            Tell::Blocked(conn)
        } else {
            Tell::Nothing
        }
    }

    fn push_job(&mut self, ticket: Ticket, task: Task) {
        if let Some(last) = self.ticket {
            assert!(
                ticket.0 == last.0 + 1,
                "contract: {ticket:?} after {last:?}"
            );
        }
        self.ticket = Some(ticket);
        self.jobs.push_back(Job { ticket, task });
    }

    fn conn(&mut self, conn: ConnId) -> &mut Conn {
        let state = self.conns.get_mut(&conn.index());
        state
            .filter(|state| state.id == conn)
            .unwrap_or_else(|| panic!("contract: {conn:?} is not known"))
    }

    fn insert(&mut self, id: ConnId, state: State) {
        let before = self.conns.insert(
            id.index(),
            Conn {
                id,
                state,
                blocked: false,
                stalled: false,
                ended: false,
                held: Vec::new(),
                take: None,
                send: 0,
            },
        );
        assert!(before.is_none(), "contract: the index of {id:?} is taken");
    }

    fn remove(&mut self, conn: ConnId) -> bool {
        let known = self
            .conns
            .get(&conn.index())
            .is_some_and(|state| state.id == conn);
        if known {
            self.conns.remove(&conn.index());
            if self.old.len() == self.old.capacity() {
                self.old.pop_front();
            }
            self.old.push_back(conn);
        }
        known
    }

    /// The oldest storage effect comes back.
    pub fn answer_storage(&mut self, now: Instant, log: &mut Log) {
        let job = counting::paused(|| self.jobs.pop_front());
        let Some(Job { ticket, task }) = job else {
            return;
        };
        let (contrary, dice) = (self.contrary, &mut self.dice);
        let mut strike = |fault| {
            contrary
                && dice.one_in(40)
                && matches!(
                    fault,
                    Fault::StoreFull
                        | Fault::StoreShort
                        | Fault::SyncFailed
                        | Fault::NameFailed
                        | Fault::ReadFailed
                )
        };
        match &task {
            Task::Append { file, bytes } => log.file(file.index() as u64, None, bytes),
            Task::Write {
                file,
                offset,
                bytes,
            } => log.file(file.index() as u64, Some(*offset), bytes),
            _ => {}
        }
        let answer = counting::paused(|| self.disk.run(&task, &mut strike));
        let input = match &answer {
            Answer::Done => {
                log.stored(ticket);
                Input::Stored { ticket }
            }
            Answer::Loaded(bytes) => Input::Loaded { ticket, bytes },
            &Answer::Hashed(digest) => Input::Hashed { ticket, digest },
            &Answer::Failed(why) => Input::StoreFailed { ticket, why },
        };
        self.endpoint.handle_input(now, input);
    }

    /// Whether storage effects wait.
    pub fn stores(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Something that can happen to some connection happens.
    pub(super) fn act_on_conn<C>(
        &mut self,
        case: &mut C,
        now: Instant,
        dice: &mut Dice,
        log: &mut Log,
    ) where
        C: EndpointCase<Endpoint = E>,
    {
        let Some(place) = pick_place(&self.conns, dice) else {
            return;
        };
        let state = &mut self.conns.get_mut(&place).expect("picked");
        let conn = state.id;
        match state.state {
            State::Connecting if dice.one_in(4) || !case.opened(conn, now) => {
                self.remove(conn);
                let why = *dice.pick(&[ConnectError::Refused, ConnectError::TimedOut]);
                self.tell(now, Input::ConnectFailed { conn, why });
            }
            State::Connecting => {
                self.connected(now, conn);
            }
            State::Open => self.act_on_open(case, conn, now, dice, log),
            State::Finishing => self.lose(now, conn, CloseReason::Done),
            State::Aborted => self.lose(now, conn, CloseReason::Local),
        }
    }

    fn act_on_open<C>(
        &mut self,
        case: &mut C,
        conn: ConnId,
        now: Instant,
        dice: &mut Dice,
        log: &mut Log,
    ) where
        C: EndpointCase<Endpoint = E>,
    {
        let state = self.conn(conn);
        if state.blocked && dice.one_in(2) {
            state.blocked = false;
            self.tell(now, Input::Writable { conn });
        } else if state.send > 0 && dice.one_in(2) {
            let bytes = 1 + dice.below(state.send);
            state.send -= bytes;
            self.tell(now, Input::Moved { conn, bytes });
        } else if state.take.is_some() {
            self.move_taken(case, conn, now, dice, log);
        } else if dice.one_in(40) {
            self.lose(now, conn, CloseReason::Reset);
        } else if !state.stalled && !state.ended && dice.one_in(40) {
            state.ended = true;
            self.tell(now, Input::Eof { conn });
        } else {
            let bytes = case.bytes(conn, dice);
            self.receive(now, conn, &bytes);
        }
    }

    fn move_taken<C>(
        &mut self,
        case: &mut C,
        conn: ConnId,
        now: Instant,
        dice: &mut Dice,
        log: &mut Log,
    ) where
        C: EndpointCase<Endpoint = E>,
    {
        let state = self.conn(conn);
        let Some((sink, offset, len)) = state.take else {
            return;
        };
        let mut bytes = core::mem::take(&mut state.held);
        if bytes.is_empty() {
            bytes = case.bytes(conn, dice);
        }
        let moved = (bytes.len() as u64).min(len);
        state.held = bytes.split_off(moved as usize);
        state.take = (moved < len).then_some((sink, offset + moved, len - moved));
        state.stalled = false;
        log.file(sink.index() as u64, Some(offset), &bytes);
        if self.disk.write_at(sink, offset, &bytes).is_err() {
            self.lose(now, conn, CloseReason::Storage);
            return;
        }
        self.tell(now, Input::Moved { conn, bytes: moved });
        self.receive(now, conn, &[]);
    }

    /// A fact that a driver may tell although nobody asked: a stale handle, a
    /// clock, a datagram.
    pub(super) fn act_stray(&mut self, now: Instant, bytes: &[u8], dice: &mut Dice) {
        let why = CloseReason::Reset;
        let conn = match self.old.is_empty() {
            true => None,
            false => Some(self.old[dice.index(self.old.len())]),
        };
        let conn = conn.filter(|old| self.conns.get(&old.index()).is_none_or(|c| c.id != *old));
        let input = match (dice.below(9), conn) {
            (0, _) => Input::WallClock(UnixTime::from_millis(dice.next_u64() >> 20)),
            (1, Some(conn)) => Input::Received { conn, bytes },
            (2, Some(conn)) => Input::Eof { conn },
            (3, Some(conn)) => Input::Blocked { conn },
            (4, Some(conn)) => Input::Writable { conn },
            (5, Some(conn)) => Input::Closed { conn, why },
            (6, Some(conn)) => Input::Moved { conn, bytes: 1 },
            (7, Some(conn)) => Input::ConnectFailed {
                conn,
                why: ConnectError::Refused,
            },
            _ => Input::Datagram {
                from: address(dice),
                bytes,
            },
        };
        self.tell(now, input);
    }
}

fn pick_place(conns: &BTreeMap<usize, Conn>, dice: &mut Dice) -> Option<usize> {
    conns.keys().copied().nth(dice.index(conns.len()))
}

fn address(dice: &mut Dice) -> SocketAddr {
    let host = Ipv4Addr::new(10, 0, dice.below(3) as u8, dice.below(6) as u8 + 1);
    SocketAddr::new(IpAddr::V4(host), 1_024 + dice.below(4) as u16)
}

fn stream_of(conn: ConnId) -> u64 {
    (u64::from(conn.key().generation()) << 32) | conn.index() as u64
}
