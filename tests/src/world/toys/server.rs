//! The server: every message goes into its journal, and is echoed when it is
//! durable there.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use tautline_core::{
    AcceptError, Close, ConnId, Deadline, Endpoint, FileId, Input, Instant, Key, Output,
    StoreError, StoreOp, Ticket,
};

use super::{Line, MESSAGE_BYTES, Message};
use crate::world::{App, Boot};

const CONNS_MAX: usize = 8;
/// Messages of a connection that are not echoed yet.
const PENDING_MAX: usize = 4;
const DATAGRAMS_MAX: usize = 16;
const SILENCE_MAX: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);

/// The endpoint.
#[derive(Debug)]
pub struct Server {
    now: Instant,
    guests: Vec<Option<Guest>>,
    generations: u32,
    journal: Journal,
    /// The first storage effect of the journal's file.
    journal_since: Ticket,
    files: u32,
    durable: Vec<Message>,
    tickets: u64,
    todo: VecDeque<Todo>,
    datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
}

#[derive(Debug)]
struct Guest {
    line: Line,
    heard: Instant,
    stalled: bool,
    ended: bool,
    storing: VecDeque<(Ticket, Message)>,
    echoes: VecDeque<Message>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Journal {
    Wanted(Instant),
    Loading(Ticket),
    /// The copy of what is durable is synced by this effect. It may not get
    /// its name before: an append that failed would lose the journal.
    Making(FileId, Ticket),
    /// It gets its name by this effect.
    Naming(FileId, Ticket),
    Open(FileId),
}

#[derive(Debug)]
enum Todo {
    Resume(ConnId),
    Close(ConnId, Close),
    Load(Ticket),
    Create(Ticket, FileId),
    Append(Ticket, FileId, Vec<u8>),
    Sync(Ticket, FileId),
    Rename(Ticket),
    CloseFile(Ticket, FileId),
}

impl Server {
    /// A server whose storage may hold a journal.
    pub fn new(now: Instant) -> Self {
        Self {
            now,
            guests: (0..CONNS_MAX).map(|_| None).collect(),
            generations: 0,
            journal: Journal::Wanted(now),
            journal_since: Ticket(0),
            files: 0,
            durable: Vec::new(),
            tickets: 0,
            todo: VecDeque::new(),
            datagrams: VecDeque::new(),
        }
    }

    /// What it has in its journal, and will have after any crash.
    pub fn durable(&self) -> &[Message] {
        &self.durable
    }

    /// How full its tables are: name, used, limit.
    pub fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
        let guests = self.guests.iter().flatten();
        let pending = guests
            .clone()
            .map(|guest| guest.storing.len() + guest.echoes.len());
        vec![
            ("conns_max", guests.count(), CONNS_MAX),
            ("pending_max", pending.max().unwrap_or(0), PENDING_MAX),
            ("datagrams_max", self.datagrams.len(), DATAGRAMS_MAX),
        ]
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn guest(&mut self, conn: ConnId) -> Option<&mut Guest> {
        let guest = self.guests.get_mut(conn.index())?.as_mut()?;
        (guest.line.conn == conn).then_some(guest)
    }

    fn received(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let now = self.now;
        let Journal::Open(file) = self.journal else {
            // Guests came in while it was open; they wait for the next one.
            if let Some(guest) = self.guest(conn) {
                guest.stalled = true;
            }
            return 0;
        };
        let mut rest = bytes;
        loop {
            let Some(guest) = self.guest(conn).filter(|guest| !guest.line.closing) else {
                return bytes.len();
            };
            guest.heard = now;
            if rest.is_empty() {
                return bytes.len();
            }
            if guest.storing.len() + guest.echoes.len() >= PENDING_MAX {
                guest.stalled = true;
                return bytes.len() - rest.len();
            }
            let (taken, message) = guest.line.inbox.take(rest);
            rest = &rest[taken..];
            if let Some(message) = message {
                self.store(conn, file, message);
            }
        }
    }

    fn store(&mut self, conn: ConnId, file: FileId, message: Message) {
        let (append, sync) = (self.ticket(), self.ticket());
        self.todo
            .push_back(Todo::Append(append, file, message.to_vec()));
        self.todo.push_back(Todo::Sync(sync, file));
        if let Some(guest) = self.guest(conn) {
            guest.storing.push_back((sync, message));
        }
    }

    fn stored(&mut self, done: Ticket) {
        match self.journal {
            Journal::Making(file, sync) if sync <= done => {
                let rename = self.ticket();
                self.todo.push_back(Todo::Rename(rename));
                self.journal = Journal::Naming(file, rename);
            }
            Journal::Naming(file, rename) if rename <= done => {
                self.journal = Journal::Open(file);
                self.resume_all();
            }
            _ => {}
        }
        for guest in self.guests.iter_mut().flatten() {
            while let Some(&(sync, message)) = guest.storing.front()
                && sync <= done
            {
                guest.storing.pop_front();
                self.durable.push(message);
                guest.echoes.push_back(message);
            }
        }
    }

    /// What failed may have taken anything after it along: the guests have to
    /// send again, and the journal is made anew from what is surely durable.
    fn store_failed(&mut self, ticket: Ticket, why: StoreError) {
        match self.journal {
            Journal::Loading(loading) if loading == ticket => {
                if why == StoreError::NotFound {
                    self.make_journal();
                } else {
                    self.journal = Journal::Wanted(self.now + RETRY);
                }
            }
            Journal::Making(file, _) | Journal::Naming(file, _) | Journal::Open(file)
                if ticket >= self.journal_since =>
            {
                let close = self.ticket();
                self.todo.push_back(Todo::CloseFile(close, file));
                self.journal = Journal::Wanted(self.now + RETRY);
                let guests = self.guests.iter().flatten();
                let conns: Vec<ConnId> = guests.map(|guest| guest.line.conn).collect();
                conns
                    .into_iter()
                    .for_each(|conn| self.close(conn, Close::Abort));
            }
            _ => {}
        }
    }

    fn loaded(&mut self, ticket: Ticket, bytes: &[u8]) {
        if self.journal == Journal::Loading(ticket) {
            let (messages, _torn) = bytes.as_chunks::<MESSAGE_BYTES>();
            self.durable = messages.to_vec();
            self.make_journal();
        }
    }

    fn make_journal(&mut self) {
        self.files += 1;
        let file = FileId::from_key(Key::new(self.files, 0));
        self.journal_since = self.ticket();
        self.todo.push_back(Todo::Create(self.journal_since, file));
        let chunks = self.durable.chunks(64).map(<[Message]>::concat);
        for content in chunks.collect::<Vec<_>>() {
            let append = self.ticket();
            self.todo.push_back(Todo::Append(append, file, content));
        }
        let sync = self.ticket();
        self.todo.push_back(Todo::Sync(sync, file));
        self.journal = Journal::Making(file, sync);
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        if let Some(guest) = self.guest(conn)
            && (!guest.line.closing || how == Close::Abort)
        {
            guest.line.closing = true;
            guest.storing.clear();
            guest.echoes.clear();
            self.todo.push_back(Todo::Close(conn, how));
        }
    }

    fn resume_all(&mut self) {
        for guest in self.guests.iter_mut().flatten() {
            if core::mem::take(&mut guest.stalled) {
                self.todo.push_back(Todo::Resume(guest.line.conn));
            }
        }
    }

    fn timeout(&mut self) {
        if let Journal::Wanted(at) = self.journal
            && at <= self.now
        {
            let ticket = self.ticket();
            self.todo.push_back(Todo::Load(ticket));
            self.journal = Journal::Loading(ticket);
        }
        let silent = |guest: &&Guest| guest.heard + SILENCE_MAX <= self.now;
        let silent = self.guests.iter().flatten().filter(silent);
        let silent: Vec<ConnId> = silent.map(|guest| guest.line.conn).collect();
        for conn in silent {
            if let Some(guest) = self.guest(conn) {
                guest.heard = Instant::MAX;
            }
            self.close(conn, Close::Abort);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let guests = self.guests.iter().flatten();
        let waited_for = guests.filter(|guest| guest.heard != Instant::MAX);
        let silence = waited_for.map(|guest| guest.heard + SILENCE_MAX).min();
        match self.journal {
            Journal::Wanted(at) => Some(silence.map_or(at, |silence| silence.min(at))),
            _ => silence,
        }
    }

    fn poll_guest<'b>(&mut self, buf: &'b mut [u8]) -> Option<Output<'b, ()>> {
        for guest in self.guests.iter_mut().flatten() {
            let conn = guest.line.conn;
            if guest.line.closing || guest.line.blocked {
                continue;
            }
            if let Some(message) = guest.echoes.pop_front() {
                buf[..MESSAGE_BYTES].copy_from_slice(&message);
                let bytes = &buf[..MESSAGE_BYTES];
                if core::mem::take(&mut guest.stalled) {
                    self.todo.push_back(Todo::Resume(conn));
                }
                return Some(Output::Write { conn, bytes });
            }
            if guest.ended && guest.storing.is_empty() {
                guest.line.closing = true;
                let how = Close::Finish;
                return Some(Output::Close { conn, how });
            }
        }
        None
    }
}

impl Endpoint for Server {
    type Event = ();

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.now = self.now.max(now);
        match input {
            Input::Timeout => self.timeout(),
            Input::Received { conn, bytes } => return self.received(conn, bytes),
            Input::Eof { conn } => {
                if let Some(guest) = self.guest(conn) {
                    guest.ended = true;
                }
            }
            Input::Blocked { conn } | Input::Writable { conn } => {
                if let Some(guest) = self.guest(conn) {
                    guest.line.blocked = matches!(input, Input::Blocked { .. });
                }
            }
            Input::Closed { conn, .. } => {
                if self.guest(conn).is_some() {
                    self.guests[conn.index()] = None;
                    self.todo.retain(|todo| !todo.names(conn));
                }
            }
            Input::Stored { ticket } => self.stored(ticket),
            Input::Loaded { ticket, bytes } => self.loaded(ticket, bytes),
            Input::StoreFailed { ticket, why } => self.store_failed(ticket, why),
            Input::Datagram { from, bytes } => {
                if self.datagrams.len() < DATAGRAMS_MAX && !bytes.is_empty() {
                    self.datagrams.push_back((from, bytes.to_vec()));
                }
            }
            Input::WallClock(_)
            | Input::Introduced { .. }
            | Input::Connected { .. }
            | Input::ConnectFailed { .. }
            | Input::Moved { .. }
            | Input::Hashed { .. } => {}
        }
        0
    }

    fn poll_output<'b>(&mut self, buf: &'b mut [u8]) -> Output<'b, ()> {
        if let Some(todo) = self.todo.pop_front() {
            return todo.output(buf);
        }
        if let Some((to, bytes)) = self.datagrams.pop_front() {
            let len = bytes.len().min(buf.len());
            buf[..len].copy_from_slice(&bytes[..len]);
            let bytes = &buf[..len];
            return Output::Datagram { to, bytes };
        }
        // What the borrow checker cannot see: without an output, `buf` is free.
        if let Some(output) = self.poll_guest(buf) {
            return output;
        }
        Output::Wait(self.deadline().map(|at| Deadline {
            at,
            reason: "silence or journal",
        }))
    }

    fn accept(
        &mut self,
        now: Instant,
        _peer: SocketAddr,
        _local: SocketAddr,
    ) -> Result<ConnId, AcceptError> {
        self.now = self.now.max(now);
        if !matches!(self.journal, Journal::Open(_)) {
            return Err(AcceptError::NotListening);
        }
        let free = self.guests.iter().position(Option::is_none);
        let place = free.ok_or(AcceptError::Full)?;
        self.generations += 1;
        let conn = ConnId::from_key(Key::new(place as u32, self.generations));
        self.guests[place] = Some(Guest {
            line: Line::new(conn),
            heard: self.now,
            stalled: false,
            ended: false,
            storing: VecDeque::new(),
            echoes: VecDeque::new(),
        });
        Ok(conn)
    }
}

impl Todo {
    fn names(&self, conn: ConnId) -> bool {
        matches!(self, Self::Resume(other) | Self::Close(other, _) if *other == conn)
    }

    fn output(self, buf: &mut [u8]) -> Output<'_, ()> {
        let (ticket, op) = match self {
            Self::Resume(conn) => return Output::Resume { conn },
            Self::Close(conn, how) => return Output::Close { conn, how },
            Self::Load(ticket) => {
                let bytes_max = 1 << 20;
                let name = "journal";
                (ticket, StoreOp::Load { name, bytes_max })
            }
            Self::Create(ticket, file) => {
                let (name, reserve) = ("journal.new", 0);
                (
                    ticket,
                    StoreOp::Create {
                        file,
                        name,
                        reserve,
                    },
                )
            }
            Self::Append(ticket, file, content) => {
                buf[..content.len()].copy_from_slice(&content);
                let bytes = &buf[..content.len()];
                (ticket, StoreOp::Append { file, bytes })
            }
            Self::Sync(ticket, file) => (ticket, StoreOp::Sync { file }),
            Self::Rename(ticket) => {
                let (from, to) = ("journal.new", "journal");
                (ticket, StoreOp::Rename { from, to })
            }
            Self::CloseFile(ticket, file) => (ticket, StoreOp::Close { file }),
        };
        Output::Store { ticket, op }
    }
}

/// A [`Server`] on a node.
#[derive(Debug)]
pub struct EchoServer {
    server: Server,
}

impl EchoServer {
    /// The server of a node's life.
    pub fn boot(boot: &Boot) -> Self {
        Self {
            server: Server::new(boot.now),
        }
    }

    /// See [`Server::durable`].
    pub fn durable(&self) -> &[Message] {
        self.server.durable()
    }
}

impl App for EchoServer {
    type Endpoint = Server;

    fn endpoint(&mut self) -> &mut Server {
        &mut self.server
    }

    fn on_event(&mut self, _now: Instant, (): ()) {}
}
