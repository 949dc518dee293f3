//! What comes in, and what it leads to.

use super::super::body::Incoming;
use super::super::fault::Fault;
use super::super::head::Gathered;
use super::super::pending::Pending;
use super::super::{Misuse, Pool, Reading};
use super::{Client, ClientError, Phase, response};
use crate::Instant;

/// Interim responses that may come before the one that counts.
const INTERIMS_MAX: u8 = 16;

impl Client {
    /// Offers bytes of the peer; returns how many were taken. The rest is to
    /// be offered again after `ClientEffect::Resume`.
    pub fn handle_received(&mut self, now: Instant, bytes: &[u8], pool: &mut Pool) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.phase {
                Phase::Head => self.receive_head(now, rest, pool),
                Phase::Body => self.receive_body(now, rest, pool),
                Phase::Upgraded => 0,
                Phase::Ready => {
                    self.disown(pool);
                    rest.len()
                }
                Phase::Lingering | Phase::Closed => rest.len(),
            };
            if taken == 0 {
                self.starved = true;
                break;
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        if self.pending.has(Pending::UPGRADED) {
            self.resume();
        }
        bytes.len() - rest.len()
    }

    /// The peer will send no more; told after its last byte was taken.
    pub fn handle_eof(&mut self, now: Instant, pool: &mut Pool) {
        match self.phase {
            Phase::Ready => {
                self.keep_alive = false;
                self.end(now);
            }
            Phase::Head if self.is_unanswered() => self.fail(ClientError::Closed, pool),
            Phase::Body if self.body.ends_with_connection() => {
                if self.body.ended() {
                    self.after_body_bytes(now, 0, false);
                } else {
                    // Complete, but nobody chose how to read it: it is empty.
                    self.body = Incoming::none(self.settings.limits());
                    self.complete(now);
                }
            }
            Phase::Head | Phase::Body => self.fail(ClientError::Truncated, pool),
            Phase::Upgraded | Phase::Lingering | Phase::Closed => {}
        }
    }

    /// So many bytes of a `Take` were moved since the last time.
    pub fn handle_moved(&mut self, now: Instant, bytes: u64, _pool: &mut Pool) {
        let Some((_, offset)) = &mut self.sink else {
            return;
        };
        let moved = self.body.moved(bytes);
        *offset = offset.saturating_add(moved);
        if self.phase == Phase::Body {
            self.after_body_bytes(now, moved, false);
            self.resume();
        }
    }

    /// Time has come to `now`. A call before the deadline changes nothing.
    pub fn handle_timeout(&mut self, now: Instant, pool: &mut Pool) {
        if self.write.is_due(now) {
            match self.phase {
                Phase::Head | Phase::Body => self.fail(ClientError::SlowReader, pool),
                _ => self.abort(pool),
            }
            return;
        }
        if !self.read.is_due(now) {
            return;
        }
        self.read.disarm();
        match self.phase {
            Phase::Ready => {
                self.keep_alive = false;
                self.end(now);
            }
            Phase::Head => self.fail(ClientError::SlowHead, pool),
            Phase::Body => self.fail(ClientError::SlowBody, pool),
            Phase::Lingering => self.abort(pool),
            Phase::Upgraded | Phase::Closed => {}
        }
    }

    /// The connection is gone, whoever ended it: gives the buffers back. A
    /// request under way has failed.
    pub fn handle_closed(&mut self, pool: &mut Pool) {
        match self.phase {
            Phase::Head if self.is_unanswered() => self.fail(ClientError::Closed, pool),
            Phase::Head | Phase::Body => self.fail(ClientError::Truncated, pool),
            _ => self.abort(pool),
        }
        self.head.release(pool);
        self.pending.clear(Pending::ABORT);
    }

    /// Chooses how the body is read. Of a response that is complete there is
    /// nothing to choose.
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] before the response's head is complete, and
    /// [`Misuse::ReadingChosen`] the second time.
    pub fn read_body(
        &mut self,
        now: Instant,
        reading: Reading,
        pool: &mut Pool,
    ) -> Result<(), Misuse> {
        if self.response().is_none() {
            return Err(Misuse::NoRequest);
        }
        if self.phase != Phase::Body {
            return Ok(());
        }
        if let Err(fault) = self.body.read(reading)? {
            self.fail(ClientError::from_refusal(fault.refusal), pool);
            return Ok(());
        }
        if let Reading::Take { sink, offset } = reading {
            self.sink = Some((sink, offset));
        }
        self.after_body_bytes(now, 0, false);
        self.resume();
        Ok(())
    }

    /// Drops what [`body`](Self::body) shows, and makes room for more.
    pub fn consume_body(&mut self, now: Instant) {
        if !self.head.is_complete() || self.head.body().is_empty() {
            return;
        }
        self.head.clear_body();
        self.pending.clear(Pending::BODY);
        if self.phase == Phase::Body && self.body.is_read_by_chunks() {
            self.after_body_bytes(now, 0, false);
            self.resume();
        }
    }

    /// Whether not a byte of a response has come.
    fn is_unanswered(&self) -> bool {
        self.interims == 0 && self.head.is_blank()
    }

    fn receive_head(&mut self, now: Instant, bytes: &[u8], pool: &mut Pool) -> usize {
        let limits = self.settings.limits();
        let begun = match self.head.gather(bytes, limits, pool) {
            Ok(Gathered::More) => return bytes.len(),
            Ok(Gathered::Complete(taken)) => self.begin(now, pool).map(|()| taken),
            Err(fault) => Err(fault),
        };
        begun.unwrap_or_else(|fault| {
            self.fail(ClientError::from_refusal(fault.refusal), pool);
            bytes.len()
        })
    }

    /// Begins the response whose head is complete.
    fn begin(&mut self, now: Instant, pool: &mut Pool) -> Result<(), Fault> {
        const UNASKED: Fault = Fault::malformed("An interim response that was not asked for.");
        let limits = self.settings.limits();
        let meaning = response::check(&mut self.head, self.is_head, limits)?;
        if meaning.status == 101 {
            if !self.wants_upgrade || !meaning.upgrades || !self.out.is_empty() {
                return Err(UNASKED);
            }
            self.phase = Phase::Upgraded;
            self.read.disarm();
            self.write.disarm();
            self.pending.set(Pending::UPGRADED);
            return Ok(());
        }
        if meaning.status < 200 {
            self.interims += 1;
            if self.interims > INTERIMS_MAX {
                return Err(UNASKED);
            }
            self.head.release(pool);
            return Ok(());
        }
        self.keep_alive &= !meaning.close;
        self.body = Incoming::new(meaning.body, limits);
        self.phase = Phase::Body;
        self.sink = None;
        self.read.disarm();
        self.pending.set(Pending::HEAD);
        if self.body.is_done() {
            self.complete(now);
        }
        Ok(())
    }

    fn receive_body(&mut self, now: Instant, bytes: &[u8], pool: &mut Pool) -> usize {
        let limits = self.settings.limits();
        match self.body.feed(bytes, &mut self.head, limits, pool) {
            Ok(taken) => {
                if self.body.is_wanted() {
                    self.after_body_bytes(now, taken as u64, taken < bytes.len());
                }
                taken
            }
            Err(fault) => {
                self.fail(ClientError::from_refusal(fault.refusal), pool);
                bytes.len()
            }
        }
    }

    /// Tells what has come of the body, and waits for more unless it is this
    /// end that makes the peer wait.
    fn after_body_bytes(&mut self, now: Instant, bytes: u64, is_full: bool) {
        let by_file = self.body.is_taken_to_file();
        if self.body.is_read_by_chunks() && !self.head.body().is_empty() {
            self.pending.set(Pending::BODY);
        } else if self.body.is_done() {
            self.complete(now);
            return;
        } else if by_file {
            self.pending.set(Pending::TAKE);
        }
        if self.body.is_done() || is_full && !by_file {
            self.read.disarm();
        } else {
            let timeouts = self.settings.timeouts();
            let rate = timeouts.body_bytes_per_second_min;
            self.read.progress(now, bytes, rate, timeouts.body_grace);
        }
    }

    /// The response is complete; the connection goes on or ends.
    fn complete(&mut self, now: Instant) {
        self.sink = None;
        self.pending.set(Pending::BODY_END);
        self.phase = Phase::Ready;
        // A request that is still being written would follow its own response,
        // and bytes that wait would be taken for the next one.
        self.keep_alive &= self.out.is_empty() && !self.starved;
        if self.keep_alive {
            self.read.arm(now + self.settings.timeouts().idle);
        } else {
            self.end(now);
        }
    }

    /// Ends the connection because of bytes that nobody asked for. What was
    /// received before stays.
    fn disown(&mut self, pool: &mut Pool) {
        self.phase = Phase::Closed;
        self.out.release(pool);
        self.read.disarm();
        self.write.disarm();
        self.pending.set(Pending::ABORT);
    }

    /// Ends this side and waits for the peer.
    fn end(&mut self, now: Instant) {
        self.phase = Phase::Lingering;
        self.read.arm(now + self.settings.timeouts().linger);
        self.pending.set(Pending::FINISH);
    }

    /// Tells of the failure and ends the connection.
    fn fail(&mut self, failure: ClientError, pool: &mut Pool) {
        self.abort(pool);
        self.failure = failure;
        self.pending.set(Pending::REFUSED);
    }

    /// Owes the driver a `Resume` if it has offered bytes in vain.
    fn resume(&mut self) {
        if core::mem::take(&mut self.starved) {
            self.pending.set(Pending::RESUME);
        }
    }
}
