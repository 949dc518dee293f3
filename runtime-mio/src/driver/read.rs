//! The reading side: what a connection speaks, bytes for the endpoint, the end.

use std::io::{self, ErrorKind, Read};

use tautline_core::wire::opening::{self, Opening};
use tautline_core::{CloseReason, ConnId, Endpoint, Input, Instant};

use super::Driver;
use super::session::{Fault, Session};
use super::table::{Busy, Connection, Flags, Kept, Phase};
use super::transfer::{Way, clamped, fault_reason};

impl<E: Endpoint> Driver<E> {
    /// Reads once, and brings what was read where it belongs.
    pub(super) fn read_some(
        &mut self,
        now: Instant,
        conn: ConnId,
        buffer: &mut [u8],
    ) -> Result<(), CloseReason> {
        let bytes_max = self.read_bytes_max(conn).min(buffer.len());
        let Some(connection) = self.table.get_mut(conn) else {
            return Ok(());
        };
        let into = buffer.get_mut(..bytes_max).unwrap_or_default();
        let count = match read(connection, into) {
            Ok(0) => {
                connection.set(Flags::ENDED);
                connection.clear(Flags::READABLE);
                return Ok(());
            }
            Ok(count) => count,
            Err(Fault::Socket(error)) => {
                return match error.kind() {
                    ErrorKind::WouldBlock => {
                        connection.clear(Flags::READABLE);
                        Ok(())
                    }
                    ErrorKind::Interrupted => Ok(()),
                    // Nobody waits for what a farewell would have protected.
                    ErrorKind::UnexpectedEof if connection.has(Flags::FINISH) => {
                        connection.set(Flags::ENDED);
                        Ok(())
                    }
                    _ => Err(super::close_reason(&error)),
                };
            }
            Err(Fault::Tls) => return Err(CloseReason::Tls),
        };
        self.statistics.bytes_received += count as u64;
        let bytes = buffer.get(..count).unwrap_or_default();
        match connection.phase {
            Phase::Opening => self.open_with(now, conn, bytes),
            _ if connection.has(Flags::FINISH) => Ok(()),
            _ => self.route(now, conn, bytes),
        }
    }

    /// Offers what is held, to the file of a `Take` first.
    pub(super) fn offer_held(&mut self, now: Instant, conn: ConnId) -> Result<(), CloseReason> {
        let Some((_, busy)) = self.table.busy_mut(conn) else {
            return Ok(());
        };
        let mut held = std::mem::take(&mut busy.held);
        let taken = self.take_bytes(now, conn, held.as_slice())?;
        held.consume(taken, &mut self.pool);
        if !held.is_empty() && !self.is_taking(conn) {
            let taken = self.offer(now, conn, held.as_slice());
            held.consume(taken, &mut self.pool);
        }
        self.keep(conn, held);
        Ok(())
    }

    /// Tells the endpoint that the peer has ended, once nothing stands before.
    pub(super) fn tell_end(&mut self, now: Instant, conn: ConnId) -> Result<(), CloseReason> {
        let Some((connection, busy)) = self.table.busy_mut(conn) else {
            return Ok(());
        };
        if connection.has(Flags::FINISH) {
            // The other direction is still to be shut down, or all is done.
            return match connection.has(Flags::SHUT) {
                true => Err(CloseReason::Done),
                false => Ok(()),
            };
        }
        let waits_for_file = busy
            .transfer
            .as_ref()
            .is_some_and(|transfer| transfer.way == Way::Take && transfer.file.is_none());
        if !busy.held.is_empty() || waits_for_file || !connection.raise(Flags::END_TOLD) {
            return Ok(());
        }
        busy.transfer.take_if(|transfer| transfer.way == Way::Take);
        self.feed(now, Input::Eof { conn });
        Ok(())
    }

    /// Goes on with a TLS handshake.
    pub(super) fn advance_handshake(
        &mut self,
        now: Instant,
        conn: ConnId,
    ) -> Result<(), CloseReason> {
        let Some(connection) = self.table.get_mut(conn) else {
            return Ok(());
        };
        let Connection {
            socket: Some(socket),
            tls: Some(tls),
            ..
        } = connection
        else {
            return Ok(());
        };
        let done = tls.handshake(socket).map_err(fault_reason)?;
        if !done {
            connection.clear(Flags::READABLE);
            return Ok(());
        }
        self.statistics.tls_established += 1;
        // Plaintext may have come along with the last of the handshake.
        connection.set(Flags::READABLE);
        if connection.has(Flags::OUTGOING) {
            return self.connected(now, conn);
        }
        let peer = socket_peer(connection);
        connection.phase = Phase::Open;
        self.introduce(
            now,
            conn,
            peer.map_err(|error| super::close_reason(&error))?,
            true,
        );
        Ok(())
    }

    /// The first bytes of an accepted connection have come, or its end has.
    pub(super) fn open_with(
        &mut self,
        now: Instant,
        conn: ConnId,
        bytes: &[u8],
    ) -> Result<(), CloseReason> {
        let Some((_, busy)) = self.table.busy_mut(conn) else {
            return Ok(());
        };
        if busy.held.is_empty() {
            let used = self.detect(now, conn, bytes)?;
            if let Some((_, busy)) = self.table.busy_mut(conn) {
                busy.held
                    .push(bytes.get(used..).unwrap_or_default(), &mut self.pool);
            }
        } else {
            busy.held.push(bytes, &mut self.pool);
            let mut held = std::mem::take(&mut busy.held);
            let used = self.detect(now, conn, held.as_slice())?;
            held.consume(used, &mut self.pool);
            self.keep(conn, held);
        }
        Ok(())
    }

    /// Tells what the bytes are, and returns how many of them are done with.
    fn detect(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> Result<usize, CloseReason> {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            let Some((connection, busy)) = self.table.busy_mut(conn) else {
                return Ok(bytes.len());
            };
            match opening::detect(rest) {
                Opening::NeedMore if !connection.has(Flags::ENDED) => return Ok(used),
                Opening::Proxy(header) if busy.introduced.is_none() => {
                    let peer =
                        socket_peer(connection).map_err(|error| super::close_reason(&error))?;
                    if !self
                        .proxies
                        .iter()
                        .any(|network| network.contains(peer.ip()))
                    {
                        self.statistics.refused.proxy_not_believed += 1;
                        return Err(CloseReason::Failed);
                    }
                    let source = header.addresses.map(|addresses| addresses.source);
                    busy.introduced = Some(source.unwrap_or(peer));
                    used += header.header_bytes;
                }
                Opening::Tls => {
                    let Some(config) = &self.accept_tls else {
                        self.statistics.refused.tls_not_configured += 1;
                        return Err(CloseReason::Tls);
                    };
                    let mut session = Session::server(config).map_err(fault_reason)?;
                    session.begin(rest);
                    connection.tls = Some(Box::new(session));
                    connection.phase = Phase::Handshake;
                    self.advance_handshake(now, conn)?;
                    return Ok(bytes.len());
                }
                Opening::BadProxy => {
                    self.statistics.refused.proxy_malformed += 1;
                    return Err(CloseReason::Failed);
                }
                // What it is not, the endpoint answers.
                _ => {
                    connection.phase = Phase::Open;
                    if let Some(peer) = busy.introduced {
                        self.introduce(now, conn, peer, false);
                    }
                    let rest = bytes.get(used..).unwrap_or_default();
                    return Ok(used
                        + if rest.is_empty() {
                            0
                        } else {
                            self.offer(now, conn, rest)
                        });
                }
            }
        }
    }

    fn introduce(&mut self, now: Instant, conn: ConnId, peer: std::net::SocketAddr, secure: bool) {
        let peer = self
            .table
            .busy_mut(conn)
            .and_then(|(_, busy)| busy.introduced.take())
            .unwrap_or(peer);
        self.feed(now, Input::Introduced { conn, peer, secure });
    }

    /// Brings bytes to the file of a `Take` first, then to the endpoint; keeps
    /// the rest.
    fn route(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> Result<(), CloseReason> {
        let mut taken = 0;
        if self.is_taking(conn) {
            taken = self.take_bytes(now, conn, bytes)?;
        }
        let rest = bytes.get(taken..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        let offered = if self.is_taking(conn) {
            0
        } else {
            self.offer(now, conn, rest)
        };
        let kept = rest.get(offered..).unwrap_or_default();
        if !kept.is_empty()
            && let Some((_, busy)) = self.table.busy_mut(conn)
        {
            busy.held.push(kept, &mut self.pool);
        }
        Ok(())
    }

    /// Offers bytes; returns how many were taken. If not all were, nothing is
    /// read until the endpoint resumes the connection.
    fn offer(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> usize {
        let taken = self
            .feed(now, Input::Received { conn, bytes })
            .min(bytes.len());
        if taken < bytes.len()
            && let Some(connection) = self.table.get_mut(conn)
        {
            connection.set(Flags::PAUSED);
            self.statistics.paused += 1;
        }
        taken
    }

    fn keep(&mut self, conn: ConnId, mut held: Kept) {
        match self.table.busy_mut(conn) {
            Some((_, busy)) => busy.held = held,
            None => held.clear(&mut self.pool),
        }
    }

    fn is_taking(&self, conn: ConnId) -> bool {
        taking(self.table.busy(conn)).is_some()
    }

    fn read_bytes_max(&self, conn: ConnId) -> usize {
        let busy = self.table.busy(conn);
        taking(busy).map_or(self.limits.read_bytes_max, clamped)
    }
}

/// How many bytes a `Take` still waits for.
fn taking(busy: Option<&Busy>) -> Option<u64> {
    let transfer = busy?.transfer.as_ref()?;
    (transfer.way == Way::Take).then(|| transfer.left())
}

/// Reads once. A short read of a plain socket has emptied it, and mio tells
/// when more comes; only an end that came before must still be looked at.
fn read(connection: &mut Connection, into: &mut [u8]) -> Result<usize, Fault> {
    let Some(socket) = connection.socket.as_mut() else {
        return Err(Fault::Socket(ErrorKind::NotConnected.into()));
    };
    if let Some(tls) = connection.tls.as_mut() {
        return tls.read(socket, into);
    }
    let count = socket.read(into)?;
    if count < into.len() && !connection.has(Flags::READ_CLOSED) {
        connection.clear(Flags::READABLE);
    }
    Ok(count)
}

fn socket_peer(connection: &Connection) -> io::Result<std::net::SocketAddr> {
    match &connection.socket {
        Some(socket) => socket.peer_addr(),
        None => Err(ErrorKind::NotConnected.into()),
    }
}
