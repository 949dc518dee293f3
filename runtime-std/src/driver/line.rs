//! One connection, as the driver's own thread sees it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tautline_core::{CloseReason, ConnId, ConnectError, Endpoint, FileId, Input, Instant};

use super::connect::Connection;
use super::inbound::{Chunk, Inbound, Taking};
use super::outbound::{Outbound, Sending};
use super::storage::Job;
use super::{DriverLimits, Post, Turn};
use crate::tls;

/// Bytes of a file that are moved at a time.
const PART_BYTES: u64 = 16 * 1_024;

/// What the threads of a connection report.
#[derive(Debug)]
pub(super) enum LineNews {
    /// The reader read something.
    Read(Chunk),
    /// The reader found the peer's end.
    Ended,
    /// The reader or the writer failed.
    Failed(io::ErrorKind),
    /// The writer has written all.
    Drained,
    /// The writer has shut the sending direction down.
    SendingEnded,
    /// The storage wrote a part of a `Take`, or could not.
    Taken { bytes: Vec<u8>, is_written: bool },
    /// The storage read a part of a `SendFile`, or could not.
    FileRead { bytes: Vec<u8>, is_read: bool },
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    NotConnected(ConnectError),
    Closed(CloseReason),
}

/// A connection that is being opened, or open.
pub(super) struct Line {
    conn: ConnId,
    limits: DriverLimits,
    session: Option<tls::Session>,
    /// None until TCP has connected.
    link: Option<Link>,
}

/// The two directions of a connection.
struct Link {
    stream: Arc<TcpStream>,
    local: SocketAddr,
    peer: SocketAddr,
    inbound: Inbound,
    outbound: Outbound,
    /// When TLS must be established; `None` once the endpoint was told
    /// `Connected`.
    handshake_due: Option<Instant>,
}

impl Line {
    pub(super) fn new(conn: ConnId, session: Option<tls::Session>, limits: DriverLimits) -> Self {
        Self {
            conn,
            limits,
            session,
            link: None,
        }
    }

    /// When the handshake must be done, while there is one.
    pub(super) fn handshake_due(&self) -> Option<Instant> {
        self.link.as_ref().and_then(|link| link.handshake_due)
    }

    /// TCP has connected.
    pub(super) fn connected<E: Endpoint>(
        &mut self,
        turn: &mut Turn<'_, E>,
        connection: Connection,
        post: &Post,
    ) -> Verdict {
        match self.start_link(turn.now, connection, post) {
            Ok(link) => self.link = Some(link),
            Err(error) => {
                tracing::warn!(%error, "a connection's threads cannot be started");
                return Verdict::NotConnected(ConnectError::Exhausted);
            }
        }
        if self.session.is_none() {
            self.tell_connected(turn);
        }
        self.pump(turn)
    }

    /// A thread of the connection reports.
    pub(super) fn handle<E: Endpoint>(
        &mut self,
        turn: &mut Turn<'_, E>,
        news: LineNews,
    ) -> Verdict {
        let Some(link) = &mut self.link else {
            return Verdict::GoOn;
        };
        match news {
            LineNews::Read(chunk) => link.inbound.put(chunk),
            LineNews::Ended => {
                if self.session.as_ref().is_some_and(|s| !s.has_peer_closed()) {
                    // Cut off: an end of TLS is announced.
                    return self.lost(CloseReason::Reset);
                }
                link.inbound.has_ended = true;
            }
            LineNews::Failed(kind) => return self.lost(reason_of(kind)),
            LineNews::Drained => self.drained(turn),
            LineNews::SendingEnded => link.outbound.has_ended = true,
            LineNews::Taken { bytes, is_written } => {
                let count = bytes.len() as u64;
                turn.storage.give_back(bytes);
                if !is_written {
                    return Verdict::Closed(CloseReason::Storage);
                }
                self.taken(turn, count);
            }
            LineNews::FileRead { bytes, is_read } => {
                if !is_read {
                    return Verdict::Closed(CloseReason::Storage);
                }
                self.file_read(turn, &bytes);
                turn.storage.give_back(bytes);
            }
        }
        self.pump(turn)
    }

    /// `Output::Write`; whether the endpoint is to be told `Blocked`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        let Some(link) = &mut self.link else {
            return false;
        };
        let outbound = &mut link.outbound;
        if outbound.is_finishing {
            return false;
        }
        if outbound.sending.is_some() {
            outbound.behind.extend_from_slice(bytes);
        } else {
            outbound.push(self.session.as_mut(), bytes);
        }
        let is_blocked = outbound.is_full() || outbound.sending.is_some();
        let is_new = is_blocked && !outbound.is_blocked;
        outbound.is_blocked |= is_blocked;
        is_new
    }

    /// `Output::Resume`.
    pub(super) fn resume<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>) -> Verdict {
        if let Some(link) = &mut self.link {
            link.inbound.is_paused = false;
        }
        self.pump(turn)
    }

    /// `Output::Take`.
    pub(super) fn take<E: Endpoint>(
        &mut self,
        turn: &mut Turn<'_, E>,
        sink: FileId,
        offset: u64,
        len: u64,
    ) -> Verdict {
        if let Some(link) = &mut self.link
            && len > 0
        {
            link.inbound.taking = Some(Taking {
                sink,
                offset,
                len,
                is_writing: false,
            });
        }
        self.pump(turn)
    }

    /// `Output::SendFile`.
    pub(super) fn send_file<E: Endpoint>(
        &mut self,
        turn: &mut Turn<'_, E>,
        file: FileId,
        range: Range<u64>,
    ) -> Verdict {
        if let Some(link) = &mut self.link
            && !range.is_empty()
        {
            link.outbound.sending = Some(Sending {
                file,
                range,
                is_reading: false,
            });
            self.read_part(turn);
        }
        Verdict::GoOn
    }

    /// `Close::Finish`.
    pub(super) fn finish<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>) -> Verdict {
        let Some(link) = self
            .link
            .as_mut()
            .filter(|link| link.handshake_due.is_none())
        else {
            return Verdict::Closed(CloseReason::Local);
        };
        link.inbound.is_dropping = true;
        link.inbound.taking = None;
        link.outbound.is_finishing = true;
        if link.outbound.sending.is_none() {
            link.outbound.end(self.session.as_mut());
        }
        self.pump(turn)
    }

    /// `Close::Abort`: what is unsent is lost.
    pub(super) fn abort(&mut self) {
        if let Some(link) = &self.link {
            // Without it the system would go on sending in the background.
            let _ = SockRef::from(&*link.stream).set_linger(Some(Duration::ZERO));
        }
    }

    fn start_link(&self, now: Instant, connection: Connection, post: &Post) -> io::Result<Link> {
        let stream = Arc::new(connection.stream);
        let outbound = Outbound::start(
            self.conn,
            Arc::clone(&stream),
            self.limits.tail_bytes_max,
            post.clone(),
        )?;
        let inbound = Inbound::start(
            self.conn,
            Arc::clone(&stream),
            self.session.is_some(),
            self.limits.read_bytes,
            post.clone(),
        )?;
        Ok(Link {
            stream,
            local: connection.local,
            peer: connection.peer,
            inbound,
            outbound,
            handshake_due: Some(now + self.limits.connect_timeout),
        })
    }

    fn tell_connected<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>) {
        if let Some(link) = &mut self.link {
            link.handshake_due = None;
            turn.input(Input::Connected {
                conn: self.conn,
                local: link.local,
                peer: link.peer,
            });
        }
    }

    /// Moves what was received as far as it goes, and sees whether the
    /// connection is over.
    fn pump<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>) -> Verdict {
        loop {
            if let Err(verdict) = self.decrypt(turn) {
                return verdict;
            }
            if !self.use_some(turn) {
                break;
            }
        }
        let is_tls = self.session.is_some();
        let Some(link) = &mut self.link else {
            return Verdict::GoOn;
        };
        let inbound = &mut link.inbound;
        inbound.read_on();
        // A part that is on its way to a file is told as moved before the end.
        let is_writing = inbound.taking.as_ref().is_some_and(|t| t.is_writing);
        let is_used = inbound.waiting(is_tls).is_empty() && !is_writing;
        if inbound.has_ended && !inbound.is_end_told && is_used {
            inbound.is_end_told = true;
            if !inbound.is_dropping {
                turn.input(Input::Eof { conn: self.conn });
            }
        }
        if inbound.is_end_told && link.outbound.has_ended {
            return Verdict::Closed(CloseReason::Done);
        }
        Verdict::GoOn
    }

    /// Under TLS, decrypts what was received and sends what that calls for.
    fn decrypt<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>) -> Result<(), Verdict> {
        let (Some(session), Some(link)) = (&mut self.session, &mut self.link) else {
            return Ok(());
        };
        let result = link.inbound.decrypt(session);
        link.outbound.flush(session);
        let is_handshaking = session.is_handshaking();
        if let Err(error) = result {
            tracing::warn!(peer = %link.peer, %error, "TLS failed");
            return Err(self.lost(CloseReason::Tls));
        }
        if link.handshake_due.is_some() && !is_handshaking {
            self.tell_connected(turn);
        }
        Ok(())
    }

    /// Gives bytes at hand to whom they belong; `false` if nothing could be.
    fn use_some<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>) -> bool {
        let is_tls = self.session.is_some();
        let Some(link) = &mut self.link else {
            return false;
        };
        let inbound = &mut link.inbound;
        let waiting = inbound.waiting(is_tls);
        if waiting.is_empty() {
            return false;
        }
        let count = if inbound.is_dropping {
            waiting.len()
        } else if inbound.taking.is_some() {
            return self.take_some(turn);
        } else if inbound.is_paused {
            return false;
        } else {
            let conn = self.conn;
            let taken = turn.input(Input::Received {
                conn,
                bytes: waiting,
            });
            let taken = taken.min(waiting.len());
            inbound.is_paused = taken < waiting.len();
            taken
        };
        inbound.consume(is_tls, count);
        count > 0
    }

    /// Gives bytes at hand to the storage; `false` while it has a part.
    fn take_some<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>) -> bool {
        let is_tls = self.session.is_some();
        let Some(link) = &mut self.link else {
            return false;
        };
        let waiting = link.inbound.waiting(is_tls);
        let Some(taking) = link.inbound.taking.as_ref().filter(|t| !t.is_writing) else {
            return false;
        };
        let part = usize::try_from(taking.len).unwrap_or(usize::MAX);
        let part = waiting.get(..part).unwrap_or(waiting);
        let count = part.len();
        let mut bytes = turn.storage.spare_buffer();
        bytes.extend_from_slice(part);
        turn.storage.push(Job::Take {
            conn: self.conn,
            sink: taking.sink,
            offset: taking.offset,
            bytes,
        });
        if let Some(taking) = &mut link.inbound.taking {
            taking.is_writing = true;
        }
        link.inbound.consume(is_tls, count);
        count > 0
    }

    /// A part of a `Take` is in its file.
    fn taken<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>, bytes: u64) {
        let Some(link) = &mut self.link else {
            return;
        };
        let inbound = &mut link.inbound;
        if let Some(taking) = &mut inbound.taking {
            taking.is_writing = false;
            taking.offset = taking.offset.saturating_add(bytes);
            taking.len = taking.len.saturating_sub(bytes);
            if taking.len == 0 {
                inbound.taking = None;
                inbound.is_paused = false;
            }
        }
        if !inbound.is_dropping {
            turn.input(Input::Moved {
                conn: self.conn,
                bytes,
            });
        }
    }

    /// A part of a `SendFile` was read.
    fn file_read<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>, bytes: &[u8]) {
        let Some(link) = &mut self.link else {
            return;
        };
        let outbound = &mut link.outbound;
        outbound.push(self.session.as_mut(), bytes);
        let count = bytes.len() as u64;
        if let Some(sending) = &mut outbound.sending {
            sending.is_reading = false;
            sending.range.start = sending.range.start.saturating_add(count);
            if sending.range.is_empty() {
                outbound.sending = None;
                let behind = std::mem::take(&mut outbound.behind);
                outbound.push(self.session.as_mut(), &behind);
                if outbound.is_finishing {
                    outbound.end(self.session.as_mut());
                }
            }
        }
        turn.input(Input::Moved {
            conn: self.conn,
            bytes: count,
        });
        if !link.outbound.is_full() {
            self.drained(turn);
        }
    }

    /// There is room in the tail: for the next part of a file, or for the
    /// endpoint.
    fn drained<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>) {
        let Some(link) = &mut self.link else {
            return;
        };
        let outbound = &mut link.outbound;
        if outbound.sending.is_some() {
            self.read_part(turn);
        } else if std::mem::take(&mut outbound.is_blocked) && !outbound.is_finishing {
            turn.input(Input::Writable { conn: self.conn });
        }
    }

    fn read_part<E: Endpoint>(&mut self, turn: &mut Turn<'_, E>) {
        let Some(link) = &mut self.link else {
            return;
        };
        if link.outbound.is_full() {
            return;
        }
        if let Some(sending) = &mut link.outbound.sending
            && !sending.is_reading
        {
            sending.is_reading = true;
            let start = sending.range.start;
            let buffer = turn.storage.spare_buffer();
            turn.storage.push(Job::Read {
                conn: self.conn,
                file: sending.file,
                range: start..sending.range.end.min(start.saturating_add(PART_BYTES)),
                buffer,
            });
        }
    }

    /// The connection broke, or was never more than half open.
    fn lost(&self, why: CloseReason) -> Verdict {
        match (self.handshake_due(), &self.session) {
            (Some(_), Some(_)) => Verdict::NotConnected(ConnectError::Tls),
            _ => Verdict::Closed(why),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Wakes the threads. A stream that is gone needs no shutdown.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn reason_of(kind: io::ErrorKind) -> CloseReason {
    match kind {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::TimedOut => CloseReason::Reset,
        _ => CloseReason::Failed,
    }
}
