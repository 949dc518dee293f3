//! A connection's turn: what it can do now, and whether it can go on.

use tautline_core::{CloseReason, ConnId, Endpoint, Instant};

use super::table::{Flags, Phase};
use super::transfer::Way;
use super::write::is_sending;
use super::{Driver, close_reason};

impl<E: Endpoint> Driver<E> {
    /// Serves the connections that can go on, at most the turn's share.
    pub(super) fn serve_ready(&mut self, now: Instant, buffer: &mut [u8]) {
        for _ in 0..self.ready.len().min(self.limits.connections_per_turn) {
            let Some(conn) = self.ready.pop_front() else {
                return;
            };
            let Some(connection) = self.table.get_mut(conn) else {
                continue;
            };
            connection.clear(Flags::QUEUED);
            if let Err(why) = self.serve(now, conn, buffer) {
                self.close(now, conn, why);
            }
            self.table.settle(conn);
            if self.can_go_on(conn) {
                self.enqueue(conn);
            }
        }
    }

    fn serve(&mut self, now: Instant, conn: ConnId, buffer: &mut [u8]) -> Result<(), CloseReason> {
        let Some(connection) = self.table.get(conn) else {
            return Ok(());
        };
        match connection.phase {
            Phase::Connecting => return self.advance_connect(now, conn),
            Phase::Handshake => return self.advance_handshake(now, conn),
            Phase::Opening | Phase::Open => {}
        }
        if connection.has(Flags::FAULTY)
            && let Some(socket) = &connection.socket
            && let Ok(Some(error)) = socket.take_error()
        {
            return Err(close_reason(&error));
        }
        if self.can_write(conn) {
            self.flush(now, conn, buffer)?;
        }
        if self.can_offer(conn) {
            self.offer_held(now, conn)?;
        }
        if self.can_read(conn) {
            self.read_some(now, conn, buffer)?;
        }
        if let Some(connection) = self.table.get(conn)
            && connection.has(Flags::ENDED)
        {
            if connection.phase == Phase::Opening {
                self.open_with(now, conn, &[])?;
            }
            self.tell_end(now, conn)?;
        }
        Ok(())
    }

    /// Whether the connection can do something before its next event.
    fn can_go_on(&self, conn: ConnId) -> bool {
        self.can_read(conn) || self.can_offer(conn) || self.can_write(conn)
    }

    fn can_write(&self, conn: ConnId) -> bool {
        let Some(connection) = self.table.get(conn) else {
            return false;
        };
        let shuts = connection.has(Flags::FINISH) && !connection.has(Flags::SHUT);
        let open = matches!(connection.phase, Phase::Open | Phase::Opening);
        open && connection.has(Flags::WRITABLE)
            && (connection.has(Flags::BLOCKED)
                || !self.is_drained(conn)
                || shuts
                || self
                    .table
                    .busy(conn)
                    .and_then(|busy| busy.transfer.as_ref())
                    .is_some_and(|transfer| transfer.runs(Way::Send)))
            && !self.waits_for_file(conn)
    }

    /// Whether everything that is to be written stands behind a file that is
    /// not there yet.
    fn waits_for_file(&self, conn: ConnId) -> bool {
        self.is_drained(conn)
            && self.table.busy(conn).is_some_and(|busy| {
                is_sending(busy)
                    && busy
                        .transfer
                        .as_ref()
                        .is_some_and(|transfer| transfer.file.is_none())
            })
    }

    fn can_offer(&self, conn: ConnId) -> bool {
        let Some((connection, busy)) = self.table.get(conn).zip(self.table.busy(conn)) else {
            return false;
        };
        connection.phase == Phase::Open
            && !busy.held.is_empty()
            && match &busy.transfer {
                Some(transfer) if transfer.way == Way::Take => transfer.file.is_some(),
                _ => !connection.has(Flags::PAUSED),
            }
    }

    fn can_read(&self, conn: ConnId) -> bool {
        let Some(connection) = self.table.get(conn) else {
            return false;
        };
        if !connection.has(Flags::READABLE) || connection.has(Flags::ENDED) {
            return false;
        }
        let Some(busy) = self.table.busy(conn) else {
            return !connection.has(Flags::PAUSED);
        };
        match (&busy.transfer, connection.phase) {
            (_, Phase::Opening) => true,
            (Some(transfer), _) if transfer.way == Way::Take => {
                transfer.file.is_some() && busy.held.is_empty()
            }
            _ => !connection.has(Flags::PAUSED) && busy.held.is_empty(),
        }
    }
}
