//! The writing side: output straight to the socket, tails, and the end.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;

use tautline_core::{CloseReason, ConnId, Endpoint, Input, Instant};

use super::Driver;
use super::session::Fault;
use super::table::{Busy, Connection, Flags, Phase};
use super::transfer::{Way, fault_reason};

impl<E: Endpoint> Driver<E> {
    /// Writes what the endpoint puts out, and keeps what the network does not
    /// take.
    pub(super) fn write(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        let Some(connection) = self.table.get_mut(conn) else {
            return;
        };
        if connection.has(Flags::SHUT) || !matches!(connection.phase, Phase::Open | Phase::Opening)
        {
            return;
        }
        let stands_behind = self.table.busy(conn).is_some_and(is_sending);
        if stands_behind || !self.is_drained(conn) {
            self.queue(now, conn, bytes);
            return;
        }
        let Some(connection) = self.table.get_mut(conn) else {
            return;
        };
        match write(connection, bytes) {
            Ok(count) => {
                self.statistics.bytes_sent += count as u64;
                let tail = bytes.get(count..).unwrap_or_default();
                if !tail.is_empty() || !is_encrypted_away(connection) {
                    self.queue(now, conn, tail);
                }
            }
            Err(why) => self.close(now, conn, why),
        }
    }

    /// Writes tails and files on as far as they go, and what follows when all
    /// are gone: `Writable`, or the shutdown of an ordered close.
    pub(super) fn flush(
        &mut self,
        now: Instant,
        conn: ConnId,
        buffer: &mut [u8],
    ) -> Result<(), CloseReason> {
        self.flush_tail(conn)?;
        if self.is_drained(conn) && self.table.busy(conn).is_some_and(is_sending) {
            self.send_piece(now, conn, buffer)?;
        }
        if let Some((_, busy)) = self.table.busy_mut(conn)
            && !is_sending(busy)
            && busy.tail.is_empty()
        {
            std::mem::swap(&mut busy.tail, &mut busy.behind);
        }
        let sending = self.table.busy(conn).is_some_and(is_sending);
        if sending || !self.is_drained(conn) {
            return Ok(());
        }
        let Some(connection) = self.table.get_mut(conn) else {
            return Ok(());
        };
        if connection.has(Flags::FINISH) {
            return self.shut_down(conn);
        }
        if connection.has(Flags::BLOCKED) {
            connection.clear(Flags::BLOCKED);
            self.feed(now, Input::Writable { conn });
        }
        Ok(())
    }

    /// Whether nothing waits to be written before a file.
    pub(super) fn is_drained(&self, conn: ConnId) -> bool {
        let tail_is_empty = self
            .table
            .busy(conn)
            .is_none_or(|busy| busy.tail.is_empty());
        tail_is_empty && self.table.get(conn).is_none_or(is_encrypted_away)
    }

    fn flush_tail(&mut self, conn: ConnId) -> Result<(), CloseReason> {
        let Some((connection, busy)) = self.table.busy_mut(conn) else {
            return Ok(());
        };
        let count = write(connection, busy.tail.as_slice())?;
        self.statistics.bytes_sent += count as u64;
        busy.tail.consume(count, &mut self.pool);
        Ok(())
    }

    /// Keeps bytes until the network takes them, and says so.
    fn queue(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        let Some((connection, busy)) = self.table.busy_mut(conn) else {
            return;
        };
        if is_sending(busy) {
            busy.behind.push(bytes, &mut self.pool);
        } else {
            busy.tail.push(bytes, &mut self.pool);
        }
        if connection.raise(Flags::BLOCKED) {
            self.statistics.blocked += 1;
            self.feed(now, Input::Blocked { conn });
        }
    }

    /// Everything is written: ends the sending direction, under TLS with its
    /// farewell first.
    fn shut_down(&mut self, conn: ConnId) -> Result<(), CloseReason> {
        let Some(connection) = self.table.get_mut(conn) else {
            return Ok(());
        };
        if !connection.raise(Flags::SHUT) {
            return Ok(());
        }
        let Some(socket) = connection.socket.as_mut() else {
            return Ok(());
        };
        if let Some(tls) = connection.tls.as_mut() {
            tls.finish();
            // What the socket does not take of the farewell is forgone: all
            // that the endpoint wrote is away.
            tls.flush(socket).map_err(fault_reason)?;
        }
        socket
            .shutdown(Shutdown::Write)
            .map_err(|error| super::close_reason(&error))
    }
}

/// Whether a file is being sent, or waits to be.
pub(super) fn is_sending(busy: &Busy) -> bool {
    busy.transfer
        .as_ref()
        .is_some_and(|transfer| transfer.way == Way::Send)
}

/// Whether TLS has nothing left that is encrypted and not written.
pub(super) fn is_encrypted_away(connection: &Connection) -> bool {
    connection.tls.as_ref().is_none_or(|tls| tls.is_drained())
}

/// Writes until the socket takes no more; returns how many bytes were taken.
/// Under TLS some of them may not be away yet, see [`is_encrypted_away`].
fn write(connection: &mut Connection, bytes: &[u8]) -> Result<usize, CloseReason> {
    let Some(socket) = connection.socket.as_mut() else {
        return Ok(0);
    };
    if let Some(tls) = connection.tls.as_mut() {
        let flushed = tls.flush(socket).map_err(fault_reason)?;
        let count = match flushed {
            true => tls.write(socket, bytes).map_err(fault_reason)?,
            false => 0,
        };
        if !tls.is_drained() {
            connection.clear(Flags::WRITABLE);
        }
        return Ok(count);
    }
    let mut count = 0;
    while let Some(rest) = bytes.get(count..).filter(|rest| !rest.is_empty()) {
        match socket.write(rest) {
            Ok(0) => return Err(CloseReason::Failed),
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.clear(Flags::WRITABLE);
                break;
            }
            Err(error) => return Err(fault_reason(Fault::Socket(error))),
        }
    }
    Ok(count)
}
