//! What comes in: heads and bodies.

use super::super::fault::Fault;
use super::super::head::Gathered;
use super::super::pending::Pending;
use super::super::{Misuse, Pool, Reading, body::Incoming, request};
use super::{Phase, Reply, Route, Server};
use crate::Instant;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Server {
    /// Offers bytes of the peer; returns how many were taken. The rest is to
    /// be offered again after `Effect::Resume`.
    pub fn handle_received(&mut self, now: Instant, bytes: &[u8], pool: &mut Pool) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.phase {
                Phase::Idle | Phase::Head => self.receive_head(now, rest, pool),
                Phase::Exchange => self.receive_body(now, rest, pool),
                Phase::Upgrading | Phase::Upgraded => 0,
                Phase::Lingering | Phase::Closed => rest.len(),
            };
            if taken == 0 {
                self.starved = true;
                break;
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        bytes.len() - rest.len()
    }

    /// So many bytes of a `Take` or a `SendFile` were moved since the last
    /// time.
    pub fn handle_moved(&mut self, now: Instant, bytes: u64, pool: &mut Pool) {
        match self.route {
            Route::Take => {
                let moved = self.body.moved(bytes);
                self.leg.at = self.leg.at.saturating_add(moved);
                self.after_body_bytes(now, moved, false);
                self.resume();
            }
            Route::Moving => {
                let moved = bytes.min(self.leg.left);
                self.leg.left -= moved;
                self.leg.at = self.leg.at.saturating_add(moved);
                let timeouts = self.settings.timeouts();
                let rate = timeouts.response_bytes_per_second_min;
                self.write.progress(now, moved, rate, timeouts.response);
                if self.leg.left == 0 {
                    self.route = Route::Buffers;
                    if !self.blocked {
                        self.write.disarm();
                    }
                    self.advance(now, pool);
                }
            }
            Route::Buffers | Route::File | Route::Known | Route::Chunked | Route::Raw => {}
        }
    }

    /// Chooses how the body of the waiting request is read. A peer that waits
    /// for a 100 gets it.
    ///
    /// # Errors
    /// [`Misuse::NoRequest`], and [`Misuse::ReadingChosen`] the second time.
    pub fn read_body(
        &mut self,
        now: Instant,
        reading: Reading,
        pool: &mut Pool,
    ) -> Result<(), Misuse> {
        if !self.is_waiting() {
            return Err(Misuse::NoRequest);
        }
        if let Err(fault) = self.body.read(reading)? {
            self.refuse(now, fault, pool);
            return Ok(());
        }
        if let Reading::Take { sink, offset } = reading {
            self.route = Route::Take;
            self.leg.file = sink;
            self.leg.at = offset;
        }
        if core::mem::take(&mut self.expects_continue) && !self.body.is_done() {
            self.out
                .append(CONTINUE.len(), pool)
                .extend_from_slice(CONTINUE);
        }
        self.after_body_bytes(now, 0, false);
        self.resume();
        Ok(())
    }

    /// Drops what [`body`](Self::body) shows, and makes room for more.
    pub fn consume_body(&mut self, now: Instant) {
        if !self.is_waiting() || self.head.body().is_empty() {
            return;
        }
        self.head.clear_body();
        self.pending.clear(Pending::BODY);
        if self.body.is_read_by_chunks() {
            self.after_body_bytes(now, 0, false);
            self.resume();
        }
    }

    fn receive_head(&mut self, now: Instant, bytes: &[u8], pool: &mut Pool) -> usize {
        if self.phase == Phase::Idle {
            self.phase = Phase::Head;
            if self.head.count() > 0 {
                self.read.arm(now + self.settings.timeouts().head);
            }
        }
        let limits = self.settings.limits();
        let gathered = self.head.gather(bytes, limits, pool);
        let taken = match gathered {
            Ok(Gathered::More) => return bytes.len(),
            Ok(Gathered::Complete(taken)) => taken,
            Err(fault) => {
                self.refuse(now, fault, pool);
                return bytes.len();
            }
        };
        if let Err(fault) = self.begin() {
            self.refuse(now, fault, pool);
            return bytes.len();
        }
        taken
    }

    /// Begins the request whose head is complete.
    fn begin(&mut self) -> Result<(), Fault> {
        let limits = self.settings.limits();
        let meaning = request::check(&mut self.head, limits)?;
        self.body = Incoming::new(meaning.body, limits);
        self.is_http10 = meaning.version == super::super::Version::Http10;
        self.is_head = meaning.is_head;
        self.expects_continue = meaning.expects_continue;
        self.keep_alive =
            !meaning.close && !self.last && self.head.count() < limits.requests_per_connection_max;
        self.phase = Phase::Exchange;
        self.reply = Reply::None;
        self.status = 0;
        self.told = true;
        self.read.disarm();
        self.pending.set(Pending::HEAD);
        Ok(())
    }

    fn receive_body(&mut self, now: Instant, bytes: &[u8], pool: &mut Pool) -> usize {
        let limits = self.settings.limits();
        let was_awaited = self.body.is_awaited();
        match self.body.feed(bytes, &mut self.head, limits, pool) {
            Ok(taken) => {
                if was_awaited {
                    self.after_body_bytes(now, taken as u64, taken < bytes.len());
                    self.next_request(now, pool);
                }
                taken
            }
            Err(fault) => {
                self.refuse(now, fault, pool);
                bytes.len()
            }
        }
    }

    /// Tells what has come of the body, and waits for more unless it is this
    /// end that makes the peer wait.
    fn after_body_bytes(&mut self, now: Instant, bytes: u64, is_full: bool) {
        if self.body.is_wanted() {
            let waiting = !self.head.body().is_empty();
            if self.body.is_read_by_chunks() && waiting {
                self.pending.set(Pending::BODY);
            } else if self.body.is_done() {
                self.pending.set(Pending::BODY_END);
                self.route = Route::Buffers;
            } else if self.body.is_taken_to_file() {
                self.pending.set(Pending::TAKE);
            }
        }
        let by_file = self.body.is_taken_to_file();
        if !self.body.is_awaited() || is_full && !by_file {
            self.read.disarm();
        } else {
            let timeouts = self.settings.timeouts();
            let rate = timeouts.body_bytes_per_second_min;
            self.read.progress(now, bytes, rate, timeouts.body_grace);
        }
    }
}
