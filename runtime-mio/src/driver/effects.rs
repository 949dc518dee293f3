//! The endpoint's output, carried out.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tautline_core::{
    Close, CloseReason, ConnId, Endpoint, Input, Instant, Output, StoreError, Ticket,
};
use tautline_std::files::Done;

use super::table::{Flags, Phase};
use super::transfer::Way;
use super::{Application, Driver};

impl<E: Endpoint> Driver<E> {
    /// Polls the endpoint and does what it wants, at most the turn's share:
    /// during a fan-out other connections are served in between.
    pub(super) fn carry_out(&mut self, application: &mut impl Application<E>) {
        let now = self.clock.now();
        let mut buffer = std::mem::take(&mut self.output_buffer);
        for _ in 0..self.limits.outputs_per_turn {
            if !self.storage.has_room() {
                break;
            }
            match self.endpoint.poll_output(&mut buffer) {
                Output::Wait(deadline) => {
                    self.deadline = deadline.map(|deadline| deadline.at);
                    self.settled = true;
                    break;
                }
                Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                Output::Event(event) => application.event(now, &mut self.endpoint, event),
                output => self.carry_out_one(now, output),
            }
        }
        self.output_buffer = buffer;
        self.datagrams.flush(&mut self.statistics);
    }

    fn carry_out_one(&mut self, now: Instant, output: Output<'_, E::Event>) {
        match output {
            Output::Write { conn, bytes } => self.write(now, conn, bytes),
            Output::Resume { conn } => self.resume(conn),
            Output::Connect {
                conn,
                host,
                port,
                tls,
            } => self.connect(now, conn, host, port, tls),
            Output::Close { conn, how } => match how {
                Close::Finish => self.finish(now, conn),
                Close::Abort => self.abort(now, conn),
            },
            Output::Take {
                conn,
                sink,
                offset,
                len,
            } => self.begin_transfer(conn, Way::Take, sink, offset, len),
            Output::SendFile { conn, file, range } => {
                let len = range.end.saturating_sub(range.start);
                self.begin_transfer(conn, Way::Send, file, range.start, len);
            }
            Output::Datagram { to, bytes } => {
                let waiting_max = self.limits.datagrams_waiting_max;
                self.datagrams
                    .push(to, bytes, waiting_max, &mut self.statistics);
            }
            Output::Hash {
                ticket,
                file,
                range,
            } => {
                self.statistics.storage_effects += 1;
                self.storage.hash(ticket, file, range);
            }
            Output::Store { ticket, op } => {
                self.statistics.storage_effects += 1;
                self.storage.store(ticket, &op);
            }
            Output::Event(_) | Output::Wait(_) | Output::BufferTooSmall { .. } => {}
        }
    }

    /// Tells what an effect brought; `Stored` covers those that brought nothing.
    pub(super) fn tell_outcome(
        &mut self,
        now: Instant,
        ticket: Ticket,
        outcome: Result<Done, StoreError>,
    ) {
        match outcome {
            Ok(Done::Nothing) => {}
            Ok(Done::Loaded(bytes)) => {
                let bytes = &bytes;
                self.feed(now, Input::Loaded { ticket, bytes });
            }
            Ok(Done::Hashed(digest)) => {
                self.feed(now, Input::Hashed { ticket, digest });
            }
            Err(why) => {
                self.feed(now, Input::StoreFailed { ticket, why });
            }
        }
    }

    fn resume(&mut self, conn: ConnId) {
        if let Some(connection) = self.table.get_mut(conn) {
            connection.clear(Flags::PAUSED);
            self.enqueue(conn);
        }
    }

    /// Ends a connection in order, once everything before is written.
    fn finish(&mut self, now: Instant, conn: ConnId) {
        let Some((connection, busy)) = self.table.busy_mut(conn) else {
            return;
        };
        if !matches!(connection.phase, Phase::Open | Phase::Opening) {
            // There is nothing that could be ended in order yet.
            self.abort(now, conn);
            return;
        }
        connection.phase = Phase::Open;
        connection.set(Flags::FINISH);
        connection.clear(Flags::PAUSED);
        busy.held.clear(&mut self.pool);
        busy.transfer.take_if(|transfer| transfer.way == Way::Take);
        self.table.settle(conn);
        // Most have nothing left to write, and end here.
        if self.is_drained(conn) && self.table.busy(conn).is_none() {
            let ended = self.flush(now, conn, &mut []);
            if let Err(why) = ended {
                self.close(now, conn, why);
            }
        }
        self.enqueue(conn);
    }

    /// Ends a connection at once; the peer sees a reset.
    fn abort(&mut self, now: Instant, conn: ConnId) {
        if let Some(connection) = self.table.get(conn)
            && let Some(socket) = &connection.socket
        {
            // If it fails, the peer sees an end instead of a reset.
            let _ = set_socket_linger(socket.as_fd(), Some(Duration::ZERO));
        }
        self.close(now, conn, CloseReason::Local);
    }
}
