//! The table of connections: one small entry each, and a [`Busy`] part only
//! for those that have bytes or a transfer under way.

use std::net::SocketAddr;

use mio::Token;
use mio::net::TcpStream;
use tautline_core::collections::Pool;
use tautline_core::{ConnId, Key};

use super::connect::Attempt;
use super::session::Session;
use super::transfer::Transfer;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Accepted; what it speaks is not known yet.
    Opening,
    /// Its name is being resolved, or a connect is under way.
    Connecting,
    /// The TLS handshake is under way.
    Handshake,
    /// The endpoint reads and writes it.
    Open,
}

/// What a connection waits for or has seen, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    /// Reading may give something; mio tells it once.
    pub(super) const READABLE: Self = Self(1);
    /// Writing may take something; mio tells it once.
    pub(super) const WRITABLE: Self = Self(1 << 1);
    /// The peer has ended its direction: the last read gives 0.
    pub(super) const READ_CLOSED: Self = Self(1 << 2);
    /// The socket holds an error.
    pub(super) const FAULTY: Self = Self(1 << 3);
    /// On the ready list.
    pub(super) const QUEUED: Self = Self(1 << 4);
    /// The endpoint did not take all bytes; nothing is read until it resumes.
    pub(super) const PAUSED: Self = Self(1 << 5);
    /// The last byte was read.
    pub(super) const ENDED: Self = Self(1 << 6);
    /// The endpoint knows that it was.
    pub(super) const END_TOLD: Self = Self(1 << 7);
    /// The endpoint knows that a tail is kept.
    pub(super) const BLOCKED: Self = Self(1 << 8);
    /// To be closed in order.
    pub(super) const FINISH: Self = Self(1 << 9);
    /// The sending direction is shut down.
    pub(super) const SHUT: Self = Self(1 << 10);
    /// Opened by this end.
    pub(super) const OUTGOING: Self = Self(1 << 11);
}

/// One connection.
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) socket: Option<TcpStream>,
    pub(super) tls: Option<Box<Session>>,
    busy: Option<Place>,
    pub(super) phase: Phase,
    flags: Flags,
}

// In a debug build mio's socket also notes the poll it is registered with.
const _: () = assert!(cfg!(debug_assertions) || size_of::<Option<Connection>>() <= 40);

impl Connection {
    pub(super) fn new(id: ConnId, socket: Option<TcpStream>, phase: Phase) -> Self {
        Self {
            id,
            socket,
            tls: None,
            busy: None,
            phase,
            flags: Flags::default(),
        }
    }

    pub(super) fn has(&self, flag: Flags) -> bool {
        self.flags.0 & flag.0 != 0
    }

    pub(super) fn set(&mut self, flag: Flags) {
        self.flags.0 |= flag.0;
    }

    pub(super) fn clear(&mut self, flag: Flags) {
        self.flags.0 &= !flag.0;
    }

    /// Sets the flag if the condition holds, and tells whether it was not set
    /// before.
    pub(super) fn raise(&mut self, flag: Flags) -> bool {
        let raised = !self.has(flag);
        self.set(flag);
        raised
    }
}

/// What a connection holds while it is not idle.
#[derive(Default)]
pub(super) struct Busy {
    /// Bytes that were to be written, and were not yet.
    pub(super) tail: Kept,
    /// Bytes that stand behind a `SendFile`.
    pub(super) behind: Kept,
    /// Bytes that were read, and not taken yet.
    pub(super) held: Kept,
    pub(super) transfer: Option<Transfer>,
    /// Who stands behind a believed proxy.
    pub(super) introduced: Option<SocketAddr>,
    pub(super) attempt: Option<Box<Attempt>>,
}

impl Busy {
    fn is_idle(&self) -> bool {
        self.tail.is_empty()
            && self.behind.is_empty()
            && self.held.is_empty()
            && self.transfer.is_none()
            && self.introduced.is_none()
            && self.attempt.is_none()
    }

    fn release(&mut self, pool: &mut Pool) {
        for kept in [&mut self.tail, &mut self.behind, &mut self.held] {
            kept.clear(pool);
        }
        *self = Self::default();
    }
}

/// Bytes in a pooled buffer, which is held only while there are any.
#[derive(Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    start: usize,
}

impl Kept {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == self.start
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(super) fn push(&mut self, bytes: &[u8], pool: &mut Pool) {
        if bytes.is_empty() {
            return;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take(bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn consume(&mut self, count: usize, pool: &mut Pool) {
        self.start = self.start.saturating_add(count).min(self.bytes.len());
        if self.is_empty() {
            self.clear(pool);
        }
    }

    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.start = 0;
        if self.bytes.capacity() > 0 {
            pool.give(std::mem::take(&mut self.bytes));
        }
    }
}

/// The place of a busy part, shifted by one so that `None` costs nothing.
type Place = std::num::NonZeroU32;

/// Entries of one chunk.
const CHUNK: usize = 256;

type Chunk = Box<[Option<Connection>]>;

/// All connections, found by the index of their handle. It grows by chunks, to
/// the greatest index that the endpoint gives out.
#[derive(Default)]
pub(super) struct Table {
    chunks: Vec<Chunk>,
    busy: Vec<Busy>,
    free: Vec<Place>,
    len: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a connection at its place. `false`: the place is taken, which an
    /// endpoint that keeps to the contract does not cause.
    pub(super) fn insert(&mut self, connection: Connection) -> bool {
        let index = connection.id.index();
        while self.chunks.len() <= index / CHUNK {
            self.chunks.push((0..CHUNK).map(|_| None).collect());
        }
        let Some(entry) = self.entry_mut(index) else {
            return false;
        };
        if entry.is_some() {
            return false;
        }
        *entry = Some(connection);
        self.len += 1;
        true
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Connection> {
        let index = id.index();
        self.chunks
            .get(index / CHUNK)?
            .get(index % CHUNK)?
            .as_ref()
            .filter(|connection| connection.id == id)
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.entry_mut(id.index())?
            .as_mut()
            .filter(|connection| connection.id == id)
    }

    /// The connection and its busy part, which is made if there is none.
    pub(super) fn busy_mut(&mut self, id: ConnId) -> Option<(&mut Connection, &mut Busy)> {
        let place = match self.get(id)?.busy {
            Some(place) => place,
            None => self.claim()?,
        };
        let index = id.index();
        let connection = self
            .chunks
            .get_mut(index / CHUNK)?
            .get_mut(index % CHUNK)?
            .as_mut()?;
        connection.busy = Some(place);
        Some((connection, self.busy.get_mut(place.get() as usize - 1)?))
    }

    /// The busy part, if there is one.
    pub(super) fn busy(&self, id: ConnId) -> Option<&Busy> {
        self.busy.get(self.get(id)?.busy?.get() as usize - 1)
    }

    /// Gives the busy part back if it holds nothing.
    pub(super) fn settle(&mut self, id: ConnId) {
        let Some(place) = self.get(id).and_then(|connection| connection.busy) else {
            return;
        };
        let idle = self
            .busy
            .get(place.get() as usize - 1)
            .is_some_and(Busy::is_idle);
        if idle && let Some(connection) = self.get_mut(id) {
            connection.busy = None;
            self.free.push(place);
        }
    }

    pub(super) fn remove(&mut self, id: ConnId, pool: &mut Pool) -> Option<Connection> {
        let entry = self.entry_mut(id.index())?;
        if entry.as_ref()?.id != id {
            return None;
        }
        let connection = entry.take()?;
        self.len -= 1;
        if let Some(place) = connection.busy {
            if let Some(busy) = self.busy.get_mut(place.get() as usize - 1) {
                busy.release(pool);
            }
            self.free.push(place);
        }
        Some(connection)
    }

    fn claim(&mut self) -> Option<Place> {
        if let Some(place) = self.free.pop() {
            return Some(place);
        }
        self.busy.push(Busy::default());
        u32::try_from(self.busy.len()).ok().and_then(Place::new)
    }

    fn entry_mut(&mut self, index: usize) -> Option<&mut Option<Connection>> {
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }
}

/// The token of a connection: its handle, so that an event for one that is
/// gone never reaches the one that took its place.
pub(super) fn token_of(id: ConnId) -> Token {
    let generation = id.key().generation() as usize;
    Token(generation << 32 | id.index())
}

/// The handle in a token.
pub(super) fn id_of(token: Token) -> ConnId {
    ConnId::from_key(Key::new(token.0 as u32, (token.0 >> 32) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32, generation: u32) -> ConnId {
        ConnId::from_key(Key::new(index, generation))
    }

    #[test]
    fn an_old_handle_finds_nothing() {
        let mut table = Table::default();
        let mut pool = Pool::new(4, 4_096);
        assert!(table.insert(Connection::new(id(300, 0), None, Phase::Opening)));
        assert!(!table.insert(Connection::new(id(300, 1), None, Phase::Opening)));
        assert!(table.remove(id(300, 1), &mut pool).is_none());
        assert!(table.remove(id(300, 0), &mut pool).is_some());
        assert!(table.insert(Connection::new(id(300, 1), None, Phase::Opening)));
        assert!(table.get(id(300, 0)).is_none());
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_busy_part_is_given_back_when_it_holds_nothing() {
        let mut table = Table::default();
        let mut pool = Pool::new(4, 4_096);
        for index in 0..2 {
            table.insert(Connection::new(id(index, 0), None, Phase::Open));
        }
        let (_, busy) = table.busy_mut(id(0, 0)).unwrap();
        busy.held.push(b"bytes", &mut pool);
        table.settle(id(0, 0));
        assert!(table.busy(id(0, 0)).is_some());
        let (_, busy) = table.busy_mut(id(0, 0)).unwrap();
        busy.held.consume(5, &mut pool);
        table.settle(id(0, 0));
        assert!(table.busy(id(0, 0)).is_none());
        assert!(table.busy_mut(id(1, 0)).is_some());
        assert_eq!(table.busy.len(), 1);
    }

    #[test]
    fn tokens_carry_the_whole_handle() {
        let id = id(49_999, u32::MAX);
        assert_eq!(id_of(token_of(id)), id);
    }
}
