//! What goes out: responses.

use super::super::encode::{self, Framing, Persistence};
use super::super::pace::allowance;
use super::super::pending::Pending;
use super::super::{Misuse, Pool, ResponseBody, ResponseHead};
use super::{Leg, Phase, Reply, Route, Server};
use crate::Instant;

impl Server {
    /// Answers the waiting request. From here on its head and body are gone.
    ///
    /// A response to `HEAD` has the head that the same response to `GET` has,
    /// and no body: no `SendFile` and no `Pull` follow.
    ///
    /// # Errors
    /// [`Misuse`]: nothing was changed, and the request still waits.
    pub fn respond(
        &mut self,
        now: Instant,
        head: &ResponseHead<'_>,
        body: ResponseBody<'_>,
        pool: &mut Pool,
    ) -> Result<(), Misuse> {
        self.check_response(head, &body)?;
        self.pending.clear(Pending::OF_EXCHANGE);
        self.keep_alive &= !head.close && !self.last;
        if self.expects_continue {
            // It may send the body or not: what comes next could be either
            // (RFC 9110 section 10.1.1).
            self.body.kill();
            self.keep_alive = false;
        }
        let discard_max = self.settings.limits().body_bytes_discard_max;
        self.keep_alive &= self.body.discard(discard_max);
        let framing = self.framing(head.status, &body);
        let inline = match &body {
            ResponseBody::Bytes(bytes) if !self.is_head => *bytes,
            _ => &[],
        };
        let persistence = match self.keep_alive {
            true => Persistence::Open,
            false => Persistence::Close,
        };
        let bytes = encode::head_bytes(head.headers) + inline.len();
        let out = self.out.append(bytes, pool);
        encode::response_head(out, head.status, head.headers, framing, persistence);
        out.extend_from_slice(inline);
        self.route = match self.is_head {
            true => Route::Buffers,
            false => self.route(body, framing),
        };
        self.status = head.status;
        self.reply = Reply::Writing;
        self.head.release(pool);
        self.await_discarded(now);
        if self.body.is_dropped() {
            self.resume();
        }
        Ok(())
    }

    /// Adds bytes to the streamed response; returns how many were taken, 0 if
    /// there is no room before the next `Pull`, or no streamed response.
    pub fn stream(&mut self, _now: Instant, bytes: &[u8], pool: &mut Pool) -> usize {
        let left = match self.route {
            Route::Known => usize::try_from(self.leg.left).unwrap_or(usize::MAX),
            Route::Chunked | Route::Raw => usize::MAX,
            Route::Buffers | Route::Take | Route::File | Route::Moving => return 0,
        };
        let limits = self.settings.limits();
        let room = limits
            .response_bytes_max
            .saturating_sub(self.out.len())
            .saturating_sub(encode::CHUNK_OVERHEAD + encode::LAST_CHUNK.len());
        let data = bytes.get(..room.min(left)).unwrap_or(bytes);
        if data.is_empty() {
            return 0;
        }
        let out = self.out.append(data.len() + encode::CHUNK_OVERHEAD, pool);
        if self.route == Route::Chunked {
            encode::chunk(out, data);
        } else {
            out.extend_from_slice(data);
            self.leg.left = self.leg.left.saturating_sub(data.len() as u64);
        }
        data.len()
    }

    /// Ends the streamed response.
    ///
    /// # Errors
    /// [`Misuse::NoStream`], and [`Misuse::StreamShort`] if the head announced
    /// more bytes: they must follow, or [`abort`](Self::abort).
    pub fn stream_end(&mut self, now: Instant, pool: &mut Pool) -> Result<(), Misuse> {
        match self.route {
            Route::Known if self.leg.left > 0 => return Err(Misuse::StreamShort),
            Route::Known | Route::Raw => {}
            Route::Chunked => self
                .out
                .append(encode::LAST_CHUNK.len(), pool)
                .extend_from_slice(encode::LAST_CHUNK),
            Route::Buffers | Route::Take | Route::File | Route::Moving => {
                return Err(Misuse::NoStream);
            }
        }
        self.route = Route::Buffers;
        self.pending.clear(Pending::PULL);
        self.advance(now, pool);
        Ok(())
    }

    /// Grants the upgrade that the peer offered: 101 with `Connection:
    /// Upgrade` and these headers, one of which is the `Upgrade`.
    ///
    /// # Errors
    /// [`Misuse::NoUpgrade`] if the peer does not offer that protocol, if the
    /// request has a body that is not read, or if the headers have no
    /// `Upgrade`; [`Misuse`] as for [`respond`](Self::respond). Nothing was
    /// changed.
    pub fn upgrade(
        &mut self,
        _now: Instant,
        headers: &[(&str, &str)],
        pool: &mut Pool,
    ) -> Result<(), Misuse> {
        let request = self.request().ok_or(Misuse::NoRequest)?;
        encode::check_headers(headers)?;
        let protocol = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("upgrade"))
            .map(|(_, value)| *value);
        let granted = protocol.is_some_and(|protocol| request.wants_upgrade(protocol));
        if !granted || !self.body.is_done() {
            return Err(Misuse::NoUpgrade);
        }
        if encode::head_bytes(headers) > self.settings.limits().response_bytes_max {
            return Err(Misuse::TooLarge);
        }
        self.pending.clear(Pending::OF_EXCHANGE);
        let out = self.out.append(encode::head_bytes(headers), pool);
        encode::response_head(out, 101, headers, Framing::Silent, Persistence::Upgrade);
        self.status = 101;
        self.reply = Reply::Writing;
        self.phase = Phase::Upgrading;
        self.head.release(pool);
        Ok(())
    }

    /// Fills `buf` with bytes to write; returns how many, 0 if there are none
    /// or the connection is blocked.
    pub fn poll_write(&mut self, now: Instant, buf: &mut [u8], pool: &mut Pool) -> usize {
        if !self.wants_write() {
            return 0;
        }
        let len = self.out.write(buf, pool);
        if self.out.is_empty() {
            self.advance(now, pool);
        }
        len
    }

    /// A write was cut short and the driver keeps its tail.
    pub fn handle_blocked(&mut self, now: Instant) {
        if self.blocked || matches!(self.phase, Phase::Upgraded | Phase::Closed) {
            return;
        }
        self.blocked = true;
        if self.phase == Phase::Lingering {
            // The peer can not see the end before it took what stands before.
            self.read.disarm();
        }
        // A file that moves has its own pace.
        if !self.is_file_moving() {
            let timeouts = self.settings.timeouts();
            let rate = timeouts.response_bytes_per_second_min;
            let time = timeouts.response + allowance(self.out.handed(), rate);
            self.write.arm(now + time);
        }
    }

    /// The tail is gone, the connection can be written to again.
    pub fn handle_writable(&mut self, now: Instant) {
        if !core::mem::take(&mut self.blocked) {
            return;
        }
        if self.pending.has(Pending::SEND_FILE) {
            self.write.arm(now + self.settings.timeouts().response);
        } else if !self.is_file_moving() {
            self.write.disarm();
        }
        if self.phase == Phase::Lingering {
            self.read.arm(now + self.settings.timeouts().linger);
        }
    }

    /// Whether a `SendFile` is with the driver.
    fn is_file_moving(&self) -> bool {
        self.route == Route::Moving && !self.pending.has(Pending::SEND_FILE)
    }

    /// Does what follows when nothing waits to be written.
    pub(super) fn advance(&mut self, now: Instant, pool: &mut Pool) {
        if self.reply != Reply::Writing || !self.out.is_empty() {
            return;
        }
        match self.route {
            Route::Buffers | Route::Take => self.replied(now, pool),
            Route::Known | Route::Chunked | Route::Raw => self.pending.set(Pending::PULL),
            Route::File => {
                self.route = Route::Moving;
                self.pending.set(Pending::SEND_FILE);
                self.write.arm(now + self.settings.timeouts().response);
            }
            Route::Moving => {}
        }
    }

    /// The last byte of the response was handed out.
    fn replied(&mut self, now: Instant, pool: &mut Pool) {
        self.reply = Reply::Done;
        if core::mem::take(&mut self.told) {
            self.pending.set(Pending::FINISHED);
        }
        if self.phase == Phase::Upgrading {
            self.phase = Phase::Upgraded;
            self.write.disarm();
            self.read.disarm();
            self.blocked = false;
            self.pending.set(Pending::UPGRADED);
            self.resume();
        } else {
            self.next_request(now, pool);
        }
    }

    /// Goes on to the next request, or ends, if the one in hand is over.
    pub(super) fn next_request(&mut self, now: Instant, pool: &mut Pool) {
        if self.phase != Phase::Exchange || self.reply != Reply::Done {
            return;
        }
        if !self.keep_alive {
            self.finish(now, pool);
        } else if self.body.is_done() {
            self.phase = Phase::Idle;
            self.reply = Reply::None;
            self.read.arm(now + self.settings.timeouts().idle);
            self.resume();
        }
    }

    /// How the head tells of the body: RFC 9112 section 6.
    fn framing(&self, status: u16, body: &ResponseBody<'_>) -> Framing {
        match body {
            _ if is_bodiless(status) => Framing::Silent,
            ResponseBody::Empty => Framing::Length(0),
            ResponseBody::Bytes(bytes) => Framing::Length(bytes.len() as u64),
            ResponseBody::File { range, .. } => Framing::Length(range.end - range.start),
            ResponseBody::Stream { len: Some(len) } => Framing::Length(*len),
            ResponseBody::Stream { len: None } if self.is_http10 => Framing::Silent,
            ResponseBody::Stream { len: None } => Framing::Chunked,
        }
    }

    /// Which way the body goes.
    fn route(&mut self, body: ResponseBody<'_>, framing: Framing) -> Route {
        match body {
            ResponseBody::File { file, range } if !range.is_empty() => {
                self.leg = Leg {
                    file,
                    at: range.start,
                    left: range.end - range.start,
                };
                Route::File
            }
            ResponseBody::Stream { .. } => {
                self.pending.set(Pending::PULL);
                match framing {
                    Framing::Length(left) => {
                        self.leg.left = left;
                        Route::Known
                    }
                    Framing::Chunked => Route::Chunked,
                    Framing::Silent => Route::Raw,
                }
            }
            ResponseBody::Empty | ResponseBody::Bytes(_) | ResponseBody::File { .. } => {
                Route::Buffers
            }
        }
    }

    fn await_discarded(&mut self, now: Instant) {
        if self.body.is_awaited() {
            let timeouts = self.settings.timeouts();
            self.read.arm(now + timeouts.body_grace);
        } else {
            self.read.disarm();
        }
    }

    fn check_response(
        &self,
        head: &ResponseHead<'_>,
        body: &ResponseBody<'_>,
    ) -> Result<(), Misuse> {
        if !self.is_waiting() {
            return Err(Misuse::NoRequest);
        }
        if self.body.is_taken_to_file() {
            return Err(Misuse::BodyOutstanding);
        }
        if !(200..=599).contains(&head.status) {
            return Err(Misuse::Status);
        }
        encode::check_headers(head.headers)?;
        if is_bodiless(head.status) && *body != ResponseBody::Empty {
            return Err(Misuse::BodyNotAllowed);
        }
        let inline = match body {
            ResponseBody::File { range, .. } if range.start > range.end => {
                return Err(Misuse::Range);
            }
            ResponseBody::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        let bytes = encode::head_bytes(head.headers).saturating_add(inline);
        if bytes > self.settings.limits().response_bytes_max {
            return Err(Misuse::TooLarge);
        }
        Ok(())
    }
}

/// Whether a final response of this status never has a body.
fn is_bodiless(status: u16) -> bool {
    matches!(status, 204 | 304)
}
