//! The persistent connection, seen from the client.

use super::serving::Serving;
use crate::Instant;
use crate::collections::Pool;
use crate::notify::{Handle, Mailbox};
use crate::wire::frame::{Deframer, HEADER_BYTES, encode_part};
use crate::wire::message::{Bye, ByeReason, Ping, Pong, Reply, Served, ToRelay};

/// The state of a persistent connection. It holds what is owed to the relay,
/// not the bytes.
#[derive(Default)]
pub(super) struct Line {
    pub(super) deframer: Deframer,
    /// Whether the relay's first frame came.
    pub(super) greeted: bool,
    /// How long the body of a frame may be, as the relay said in its first.
    pub(super) body_bytes_max: u32,
    /// A frame of datagrams for the subnet, while it is worked off.
    pub(super) serving: Option<Serving>,
    served: Option<Served>,
    ping: bool,
    pong: Option<u64>,
    bye: Option<Bye>,
    over: bool,
    /// A reply of which a part was written.
    partial: Option<(Handle, u64)>,
    stall: Option<Instant>,
    /// Something that was to come on it did not: replies take another way
    /// until it is heard of again.
    pub(super) is_deaf: bool,
}

impl Line {
    pub(super) const fn stall(&self) -> Option<Instant> {
        self.stall
    }

    pub(super) const fn handle_blocked(&mut self, stall: Instant) {
        if self.stall.is_none() {
            self.stall = Some(stall);
        }
    }

    /// Gives a relay that takes nothing until then.
    pub(super) fn postpone_stall(&mut self, stall: Instant) {
        self.stall = self.stall.map(|_| stall);
    }

    pub(super) const fn handle_writable(&mut self) {
        self.stall = None;
    }

    pub(super) const fn owe_ping(&mut self) {
        self.ping = true;
    }

    pub(super) const fn owes_ping(&self) -> bool {
        self.ping
    }

    pub(super) const fn owe_pong(&mut self, nonce: u64) {
        self.pong = Some(nonce);
    }

    pub(super) const fn owe_bye(&mut self, reason: ByeReason) {
        if self.bye.is_none() && !self.over {
            self.bye = Some(Bye {
                reason,
                retry_after_ms: 0,
            });
        }
    }

    /// Whether a frame is half received. One that is half written says nothing
    /// of the relay: where it takes no more, the connection is blocked.
    pub(super) fn is_amid_frame(&self) -> bool {
        self.deframer.is_partial()
    }

    /// Whether the last frame was written.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether frames are still taken.
    pub(super) const fn can_take(&self) -> bool {
        self.bye.is_none() && !self.over
    }

    /// Whether a frame of datagrams is not done and confirmed yet: until then
    /// no other frame is taken.
    pub(super) const fn is_serving(&self) -> bool {
        self.serving.is_some() || self.served.is_some()
    }

    /// The frame of datagrams is done; its confirmation is owed.
    pub(super) fn handle_served(&mut self, pool: &mut Pool) {
        if let Some(serving) = self.serving.take() {
            self.served = Some(serving.release(pool));
        }
    }

    /// Whether the reply fits a frame that the relay takes.
    pub(super) fn carries(&self, reply: Reply<'_>) -> bool {
        let body_bytes = ToRelay::Reply(reply).encoded_len() - HEADER_BYTES;
        body_bytes as u64 <= u64::from(self.body_bytes_max)
    }

    /// The frame of datagrams will not be done.
    pub(super) fn drop_serving(&mut self, pool: &mut Pool) {
        if let Some(serving) = self.serving.take() {
            serving.release(pool);
        }
    }

    /// Fills `buf` with what is owed and with replies; returns the bytes. A
    /// question that is owed carries the nonce; none is owed without it.
    pub(super) fn write(
        &mut self,
        now: Instant,
        mailbox: &mut Mailbox,
        nonce: Option<u64>,
        buf: &mut [u8],
    ) -> usize {
        let mut len = 0;
        if let Some((handle, offset)) = self.partial.take() {
            len = self.write_reply(mailbox, handle, offset, buf);
            if self.partial.is_some() {
                return len;
            }
            mailbox.unpin(handle);
        }
        len += self.write_owed(nonce, &mut buf[len..]);
        while self.greeted && !self.is_deaf && self.can_take() {
            let Some((handle, reply)) = mailbox.next_reply() else {
                break;
            };
            if !self.carries(reply) {
                break;
            }
            if len > 0 && ToRelay::Reply(reply).encoded_len() > buf.len() - len {
                break;
            }
            mailbox.handle_sent(now, handle);
            len += self.write_reply(mailbox, handle, 0, &mut buf[len..]);
            if self.partial.is_some() {
                mailbox.pin(handle);
                break;
            }
        }
        len
    }

    /// Gives everything back when the connection is gone.
    pub(super) fn release(&mut self, mailbox: &mut Mailbox, pool: &mut Pool) {
        self.deframer.release(pool);
        self.drop_serving(pool);
        if let Some((handle, _)) = self.partial.take() {
            mailbox.unpin(handle);
        }
    }

    fn write_reply(
        &mut self,
        mailbox: &Mailbox,
        handle: Handle,
        offset: u64,
        buf: &mut [u8],
    ) -> usize {
        let Some(reply) = mailbox.reply_of(handle) else {
            return 0;
        };
        let message = ToRelay::Reply(reply);
        let Ok(header) = message.header() else {
            return 0;
        };
        let parts: [&[u8]; 2] = [&message.head(), message.payload()];
        let written = encode_part(&header, &parts, offset, buf);
        if offset + (written as u64) < header.frame_bytes() {
            self.partial = Some((handle, offset + written as u64));
        }
        written
    }

    fn write_owed(&mut self, nonce: Option<u64>, buf: &mut [u8]) -> usize {
        let mut len = 0;
        if let Some(nonce) = self.pong
            && let Ok(written) = ToRelay::Pong(Pong { nonce }).encode(buf)
        {
            len += written;
            self.pong = None;
        }
        if self.ping {
            let ping = nonce.map(|nonce| ToRelay::Ping(Ping { nonce }));
            if let Ok(written) = ping.map_or(Ok(0), |ping| ping.encode(&mut buf[len..])) {
                len += written;
                self.ping = false;
            }
        }
        if let Some(served) = self.served
            && let Ok(written) = ToRelay::Served(served).encode(&mut buf[len..])
        {
            len += written;
            self.served = None;
        }
        if let Some(bye) = self.bye
            && let Ok(written) = ToRelay::Bye(bye).encode(&mut buf[len..])
        {
            len += written;
            self.bye = None;
            self.over = true;
        }
        len
    }
}
