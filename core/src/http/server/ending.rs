//! How a connection ends: refusals, deadlines, and in order.

use super::super::Pool;
use super::super::encode::{self, Framing, Persistence};
use super::super::fault::{Fault, Refusal};
use super::super::pending::Pending;
use super::super::problem::{self, Problem};
use super::{Phase, Reply, Route, Server};
use crate::Instant;

impl Server {
    /// The peer will send no more; told after its last byte was taken.
    ///
    /// A peer that ends within a request is refused. One that ends behind a
    /// request still gets its response.
    pub fn handle_eof(&mut self, now: Instant, pool: &mut Pool) {
        self.last = true;
        match self.phase {
            Phase::Idle => self.finish(now, pool),
            Phase::Head if self.head.is_blank() => self.finish(now, pool),
            Phase::Head => self.refuse(now, Fault::TRUNCATED, pool),
            Phase::Exchange => {
                self.keep_alive = false;
                if !self.body.is_done() {
                    if self.reply == Reply::None {
                        self.refuse(now, Fault::TRUNCATED, pool);
                        return;
                    }
                    self.body.kill();
                    self.read.disarm();
                }
                self.next_request(now, pool);
            }
            Phase::Upgrading | Phase::Upgraded | Phase::Lingering | Phase::Closed => {}
        }
    }

    /// Time has come to `now`. A call before the deadline changes nothing.
    pub fn handle_timeout(&mut self, now: Instant, pool: &mut Pool) {
        if self.write.is_due(now) {
            self.count(Refusal::SlowReader);
            self.abort(pool);
            return;
        }
        if !self.read.is_due(now) {
            return;
        }
        self.read.disarm();
        match self.phase {
            Phase::Idle | Phase::Head if self.head.is_blank() => {
                if self.head.count() == 0 {
                    self.count(Refusal::Silent);
                }
                self.finish(now, pool);
            }
            Phase::Idle | Phase::Head => self.refuse(now, Fault::SLOW_HEAD, pool),
            Phase::Exchange => self.refuse(now, Fault::SLOW_BODY, pool),
            Phase::Lingering => self.abort(pool),
            Phase::Upgrading | Phase::Upgraded | Phase::Closed => {}
        }
    }

    /// The connection is gone, whoever ended it: gives the buffers back. A
    /// request in hand is finished as aborted.
    pub fn handle_closed(&mut self, pool: &mut Pool) {
        self.abort(pool);
        self.pending.clear(Pending::ABORT);
    }

    /// Ends the connection when the request in hand is answered; at once if
    /// there is none.
    pub fn drain(&mut self, now: Instant, pool: &mut Pool) {
        self.last = true;
        match self.phase {
            Phase::Idle => self.finish(now, pool),
            Phase::Exchange => {
                self.keep_alive = false;
                self.next_request(now, pool);
            }
            Phase::Head | Phase::Upgrading | Phase::Upgraded | Phase::Lingering | Phase::Closed => {
            }
        }
    }

    /// Ends the connection at once; what is unsent is lost. For a streamed
    /// response that can not be completed, and to break off a `Take`.
    pub fn abort(&mut self, pool: &mut Pool) {
        if matches!(self.phase, Phase::Closed | Phase::Upgraded) {
            return;
        }
        self.phase = Phase::Closed;
        self.end_request();
        self.release(pool);
        self.out.release(pool);
        self.read.disarm();
        self.write.disarm();
        self.pending.clear(Pending::FINISH);
        self.pending.clear(Pending::RESUME);
        self.pending.set(Pending::ABORT);
    }

    /// Refuses what the peer does: answers if no response was begun, and lets
    /// the connection end behind what is being written.
    pub(super) fn refuse(&mut self, now: Instant, fault: Fault, pool: &mut Pool) {
        let is_answered = self.phase == Phase::Exchange && self.reply != Reply::None;
        if !(is_answered && fault.refusal == Refusal::BodyTooLarge) {
            self.count(fault.refusal);
        }
        self.keep_alive = false;
        self.read.disarm();
        self.body.kill();
        if is_answered {
            self.next_request(now, pool);
            return;
        }
        let is_head = self.phase == Phase::Exchange && self.is_head;
        self.status = fault.status;
        self.end_request();
        self.release(pool);
        self.answer(fault, is_head, pool);
        self.phase = Phase::Exchange;
        self.reply = Reply::Writing;
        // Bytes that were offered in vain are taken from here on, and dropped.
        self.resume();
    }

    /// Ends this side: behind what was written, then waits for the peer.
    pub(super) fn finish(&mut self, now: Instant, pool: &mut Pool) {
        self.phase = Phase::Lingering;
        self.body.kill();
        self.release(pool);
        if self.blocked {
            self.read.disarm();
        } else {
            self.read.arm(now + self.settings.timeouts().linger);
        }
        self.pending.clear(Pending::RESUME);
        self.pending.set(Pending::FINISH);
    }

    fn count(&mut self, refusal: Refusal) {
        self.refusal = refusal;
        self.pending.set(Pending::REFUSED);
    }

    /// Tells that the request in hand is cut short; one that was not told of
    /// is not told of any more.
    fn end_request(&mut self) {
        let is_unseen = self.pending.has(Pending::HEAD);
        self.pending.clear(Pending::OF_EXCHANGE);
        if core::mem::take(&mut self.told) && !is_unseen {
            self.pending.set(Pending::FINISHED);
            self.pending.set(Pending::ABORTED);
        }
    }

    /// Gives back what the peer's bytes are kept in.
    fn release(&mut self, pool: &mut Pool) {
        self.head.release(pool);
        self.route = Route::Buffers;
    }

    /// Writes a refusal's problem details.
    fn answer(&mut self, fault: Fault, is_head: bool, pool: &mut Pool) {
        let headers = [("Content-Type", problem::CONTENT_TYPE)];
        let mut body = pool.take(256);
        Problem::new(fault.status, fault.refusal.problem())
            .detail(fault.detail)
            .encode(&mut body);
        let bytes = encode::head_bytes(&headers) + body.len();
        let out = self.out.append(bytes, pool);
        let framing = Framing::Length(body.len() as u64);
        encode::response_head(out, fault.status, &headers, framing, Persistence::Close);
        if !is_head {
            out.extend_from_slice(&body);
        }
        pool.give(body);
    }
}
