//! Bulk between a connection and a file: `Take` and `SendFile`.

use std::sync::Arc;

use tautline_core::{CloseReason, ConnId, Endpoint, FileId, Input, Instant};
use tautline_std::files::OpenFile;

use super::session::Fault;
use super::table::{Connection, Flags};
use super::{Driver, close_reason};

/// A transfer under way. The file is lent by the storage thread, in order with
/// its effects; until it comes, nothing moves.
pub(super) struct Transfer {
    pub(super) way: Way,
    pub(super) id: FileId,
    pub(super) file: Option<Arc<OpenFile>>,
    offset: u64,
    left: u64,
}

/// Which way a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the connection to the file.
    Take,
    /// From the file to the connection.
    Send,
}

impl<E: Endpoint> Driver<E> {
    /// Begins a transfer and asks for its file.
    pub(super) fn begin_transfer(
        &mut self,
        conn: ConnId,
        way: Way,
        file: FileId,
        offset: u64,
        left: u64,
    ) {
        if left == 0 {
            return;
        }
        let Some((connection, busy)) = self.table.busy_mut(conn) else {
            return;
        };
        if way == Way::Take {
            connection.clear(Flags::PAUSED);
        }
        busy.transfer = Some(Transfer {
            way,
            id: file,
            file: None,
            offset,
            left,
        });
        self.storage.lend(conn, file);
    }

    /// The storage thread lends the file, or has none.
    pub(super) fn lent(
        &mut self,
        now: Instant,
        conn: ConnId,
        id: FileId,
        file: Option<Arc<OpenFile>>,
    ) {
        let Some((_, busy)) = self.table.busy_mut(conn) else {
            return;
        };
        let waits = |transfer: &&mut Transfer| transfer.id == id && transfer.file.is_none();
        match (busy.transfer.as_mut().filter(waits), file) {
            (Some(transfer), Some(file)) => {
                transfer.file = Some(file);
                self.enqueue(conn);
            }
            (Some(_), None) => self.close(now, conn, CloseReason::Storage),
            (None, _) => self.table.settle(conn),
        }
    }

    /// Moves bytes of the stream to the file of a `Take`; returns how many.
    pub(super) fn take_bytes(
        &mut self,
        now: Instant,
        conn: ConnId,
        bytes: &[u8],
    ) -> Result<usize, CloseReason> {
        let Some((_, busy)) = self.table.busy_mut(conn) else {
            return Ok(0);
        };
        let Some(transfer) = busy.transfer.as_mut() else {
            return Ok(0);
        };
        let Some(file) = transfer.file.as_ref() else {
            return Ok(0);
        };
        let count = bytes.len().min(clamped(transfer.left));
        let moved = bytes.get(..count).unwrap_or_default();
        file.write_all_at(moved, transfer.offset)
            .map_err(|_| CloseReason::Storage)?;
        transfer.offset += count as u64;
        transfer.left -= count as u64;
        if transfer.left == 0 {
            busy.transfer = None;
        }
        self.statistics.bytes_taken += count as u64;
        self.moved(now, conn, count as u64);
        Ok(count)
    }

    /// Sends the next piece of a `SendFile`, at most the turn's share.
    pub(super) fn send_piece(
        &mut self,
        now: Instant,
        conn: ConnId,
        buffer: &mut [u8],
    ) -> Result<(), CloseReason> {
        let share = self.limits.transfer_bytes_per_turn;
        let Some((connection, busy)) = self.table.busy_mut(conn) else {
            return Ok(());
        };
        let Some(transfer) = busy.transfer.as_mut().filter(|t| t.way == Way::Send) else {
            return Ok(());
        };
        let Some(file) = transfer.file.clone() else {
            return Ok(());
        };
        let (offset, count) = (transfer.offset, clamped(transfer.left).min(share));
        let sent = if connection.tls.is_some() {
            send_encrypted(connection, &file, offset, count, buffer)?
        } else {
            send_plain(connection, &file, offset, count)?
        };
        transfer.offset += sent;
        transfer.left -= sent;
        if transfer.left == 0 {
            busy.transfer = None;
        }
        self.statistics.file_bytes_sent += sent;
        self.statistics.bytes_sent += sent;
        self.moved(now, conn, sent);
        Ok(())
    }

    fn moved(&mut self, now: Instant, conn: ConnId, bytes: u64) {
        if bytes > 0 {
            self.feed(now, Input::Moved { conn, bytes });
        }
    }
}

/// How many bytes the next read may bring, for a connection whose transfer
/// takes them.
pub(super) fn clamped(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX)
}

impl Transfer {
    /// Bytes that are still to be moved.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Whether its file is there, and it goes that way.
    pub(super) fn runs(&self, way: Way) -> bool {
        self.way == way && self.file.is_some()
    }
}

fn send_plain(
    connection: &mut Connection,
    file: &OpenFile,
    mut offset: u64,
    count: usize,
) -> Result<u64, CloseReason> {
    let Some(socket) = connection.socket.as_ref() else {
        return Ok(0);
    };
    let mut sent = 0;
    while sent < count {
        match rustix::fs::sendfile(socket, file.file(), Some(&mut offset), count - sent) {
            // The file is shorter than what was announced.
            Ok(0) => return Err(CloseReason::Storage),
            Ok(bytes) => sent += bytes,
            Err(rustix::io::Errno::AGAIN) => {
                connection.clear(Flags::WRITABLE);
                break;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::IO) => return Err(CloseReason::Storage),
            Err(error) => return Err(close_reason(&error.into())),
        }
    }
    Ok(sent as u64)
}

fn send_encrypted(
    connection: &mut Connection,
    file: &OpenFile,
    offset: u64,
    count: usize,
    buffer: &mut [u8],
) -> Result<u64, CloseReason> {
    let Connection {
        socket: Some(socket),
        tls: Some(tls),
        ..
    } = connection
    else {
        return Ok(0);
    };
    let mut sent = 0;
    while sent < count {
        let room = buffer.len().min(count - sent);
        let piece = buffer.get_mut(..room).unwrap_or_default();
        let read = read_at(file, piece, offset + sent as u64)?;
        // What TLS does not take is read again when its turn comes.
        sent += tls
            .write(socket, piece.get(..read).unwrap_or_default())
            .map_err(fault_reason)?;
        if !tls.is_drained() {
            connection.clear(Flags::WRITABLE);
            break;
        }
    }
    Ok(sent as u64)
}

/// Reads at least one byte: the end of the file comes too early.
fn read_at(file: &OpenFile, piece: &mut [u8], offset: u64) -> Result<usize, CloseReason> {
    match file.read_at(piece, offset) {
        Ok(0) | Err(_) => Err(CloseReason::Storage),
        Ok(count) => Ok(count),
    }
}

/// How a connection went whose TLS session ended so.
pub(super) fn fault_reason(fault: Fault) -> CloseReason {
    match fault {
        Fault::Tls => CloseReason::Tls,
        Fault::Socket(error) => close_reason(&error),
    }
}
