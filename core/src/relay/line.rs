//! A persistent connection, seen from the relay.

use arrayvec::ArrayVec;

use super::watch::Watched;
use crate::collections::Pool;
use crate::notify::{Membership, Notifier, Order};
use crate::wire::BufferTooSmall;
use crate::wire::frame::Deframer;
use crate::wire::message::{Bye, ByeReason, Hello, Ping, Pong, Taken, ToClient};
use crate::{ClientId, Instant, Key, NotificationId};

/// Replies that wait to be confirmed; while it is full, nothing is taken.
const TAKEN_MAX: usize = 2;

/// The state of a persistent connection. It holds what is owed to the client,
/// not the bytes.
pub(super) struct Line {
    pub(super) client: Key,
    /// The subnet that the client passes datagrams on to.
    pub(super) serves: Option<Key>,
    pub(super) deframer: Deframer,
    /// The newest notification that was written, or came another way.
    cursor: NotificationId,
    /// A frame of which a part was written.
    partial: Option<Partial>,
    owed: Owed,
    /// When a peer that takes nothing is given up.
    stall: Option<Instant>,
    /// By when the frame that has begun to come has to be whole.
    frame_due: Option<Instant>,
    /// What prober and monitor do about it.
    pub(super) watched: Watched,
    /// Bytes of an unfinished frame that the relay has counted.
    pub(super) held_bytes: u32,
}

#[derive(Default)]
struct Owed {
    hello: bool,
    ping: bool,
    pong: Option<u64>,
    taken: ArrayVec<NotificationId, TAKEN_MAX>,
    bye: Option<Bye>,
    /// The last frame was written, for this reason: the connection can be
    /// ended.
    over: Option<ByeReason>,
}

#[derive(Clone, Copy)]
struct Partial {
    notification: Key,
    lifetime_s: u32,
    /// A frame's length is a `u32`, and its header's.
    offset: u32,
}

/// What a line needs to write.
pub(super) struct Source<'a> {
    pub(super) notifier: &'a mut Notifier,
    /// The name of the line's client, and its groups.
    pub(super) name: ClientId,
    pub(super) membership: Membership,
    pub(super) hello: Hello,
    /// What a question that is owed has to carry; none is owed without it.
    pub(super) nonce: Option<u64>,
}

impl Line {
    pub(super) fn new(client: Key, after: NotificationId) -> Self {
        Self {
            client,
            serves: None,
            deframer: Deframer::default(),
            cursor: after,
            partial: None,
            owed: Owed {
                hello: true,
                ..Owed::default()
            },
            stall: None,
            frame_due: None,
            watched: Watched::default(),
            held_bytes: 0,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.stall, self.frame_due].into_iter().flatten().min()
    }

    /// Whether a frame did not come whole in time.
    pub(super) fn is_slow(&self, now: Instant) -> bool {
        self.frame_due.is_some_and(|at| at <= now)
    }

    /// Bytes were taken. A frame that is unfinished has until `due`, counted
    /// from its beginning.
    pub(super) fn handle_taken_bytes(&mut self, some_whole: bool, due: Instant) {
        let begun = self.frame_due.filter(|_| !some_whole).unwrap_or(due);
        let waits = self.deframer.is_partial() && self.can_take();
        self.frame_due = waits.then_some(begun);
    }

    /// What had a deadline has a new one.
    pub(super) fn postpone(&mut self, frame: Instant, stall: Instant) {
        self.frame_due = self.frame_due.map(|_| frame);
        self.stall = self.stall.map(|_| stall);
    }

    pub(super) const fn handle_blocked(&mut self, stall: Instant) {
        if self.stall.is_none() {
            self.stall = Some(stall);
        }
    }

    pub(super) const fn handle_writable(&mut self) {
        self.stall = None;
    }

    /// The client asks whether the relay is alive. One that asks again before
    /// the answer left gets one answer.
    pub(super) const fn owe_pong(&mut self, nonce: u64) {
        self.owed.pong = Some(nonce);
    }

    /// The client is to be asked whether it is alive.
    pub(super) const fn owe_ping(&mut self) {
        self.owed.ping = true;
    }

    /// It needs not be asked any more, if it was not yet.
    pub(super) const fn owe_no_ping(&mut self) {
        self.owed.ping = false;
    }

    /// Whether that was not written yet.
    pub(super) const fn owes_ping(&self) -> bool {
        self.owed.ping
    }

    /// Whether a frame is half received. One that is half written says nothing
    /// of the client: where it takes no more, the connection is blocked.
    pub(super) fn is_amid_frame(&self) -> bool {
        self.deframer.is_partial()
    }

    /// Whether another reply can be confirmed.
    pub(super) const fn can_take(&self) -> bool {
        !self.owed.taken.is_full() && !self.is_leaving()
    }

    pub(super) fn owe_taken(&mut self, id: NotificationId) {
        // `can_take` was asked before.
        let _ = self.owed.taken.try_push(id);
    }

    /// Ends the connection behind what was begun.
    pub(super) const fn owe_bye(&mut self, reason: ByeReason, retry_after_ms: u32) {
        self.frame_due = None;
        if !self.is_leaving() {
            self.owed.bye = Some(Bye {
                reason,
                retry_after_ms,
            });
        }
    }

    /// The reason of the last frame, when that was written.
    pub(super) const fn over(&self) -> Option<ByeReason> {
        self.owed.over
    }

    /// The newest notification that was written, or begun to be.
    pub(super) const fn written_through(&self) -> NotificationId {
        self.cursor
    }

    /// Whether the goodbye was written, or is owed.
    pub(super) const fn is_leaving(&self) -> bool {
        self.owed.bye.is_some() || self.owed.over.is_some()
    }

    /// Whether a whole frame can follow what was written.
    pub(super) const fn is_between_frames(&self) -> bool {
        self.partial.is_none() && !self.is_leaving()
    }

    /// Whether there is something to write.
    pub(super) fn wants_write(&self, notifier: &Notifier, membership: Membership) -> bool {
        let owed = &self.owed;
        owed.over.is_none()
            && (self.partial.is_some()
                || owed.hello
                || owed.ping
                || owed.pong.is_some()
                || owed.bye.is_some()
                || !owed.taken.is_empty()
                || notifier
                    .pending(self.client, membership, self.cursor)
                    .is_some())
    }

    /// Fills `buf` with what is owed and with notifications; returns the bytes
    /// and how many notifications were begun.
    pub(super) fn write(&mut self, source: &mut Source<'_>, buf: &mut [u8]) -> (usize, u64) {
        let mut len = self.write_partial(source.notifier, buf);
        if self.partial.is_some() {
            return (len, 0);
        }
        len += self.write_owed(source, &mut buf[len..]);
        if self.is_leaving() {
            return (len, 0);
        }
        let mut begun = 0;
        while let Some((notification, id)) =
            source
                .notifier
                .pending(self.client, source.membership, self.cursor)
        {
            let Some(written) = self.begin(source.notifier, notification, &mut buf[len..], len > 0)
            else {
                break;
            };
            source
                .notifier
                .handle_sent((self.client, source.name), notification, Order::InOrder);
            self.cursor = id;
            begun += 1;
            len += written;
            if self.partial.is_some() {
                break;
            }
        }
        (len, begun)
    }

    /// Gives everything back when the connection is gone.
    pub(super) fn release(&mut self, notifier: &mut Notifier, pool: &mut Pool) {
        self.deframer.release(pool);
        if let Some(partial) = self.partial.take() {
            notifier.unpin(partial.notification);
        }
    }

    /// Writes a notification's frame, or its first part if nothing else is in
    /// the buffer. `None` leaves it for the next one.
    fn begin(
        &mut self,
        notifier: &mut Notifier,
        notification: Key,
        buf: &mut [u8],
        not_first: bool,
    ) -> Option<usize> {
        let message = notifier.message(notification)?;
        let lifetime_s = message.lifetime_s;
        let frame_bytes = ToClient::Notification(message).encoded_len();
        if not_first && frame_bytes > buf.len() {
            return None;
        }
        let written = notifier.write_frame(notification, lifetime_s, 0, buf);
        if written < frame_bytes {
            notifier.pin(notification);
            self.partial = Some(Partial {
                notification,
                lifetime_s,
                offset: written as u32,
            });
        }
        Some(written)
    }

    fn write_partial(&mut self, notifier: &mut Notifier, buf: &mut [u8]) -> usize {
        let Some(partial) = self.partial else {
            return 0;
        };
        let Partial {
            notification,
            lifetime_s,
            offset,
        } = partial;
        let written = notifier.write_frame(notification, lifetime_s, offset.into(), buf);
        if written < buf.len() {
            self.partial = None;
            notifier.unpin(notification);
        } else {
            self.partial = Some(Partial {
                offset: offset.saturating_add(written as u32),
                ..partial
            });
        }
        written
    }

    /// Control frames are small: what does not fit waits for the next buffer.
    fn write_owed(&mut self, source: &Source<'_>, buf: &mut [u8]) -> usize {
        let mut len = 0;
        let mut put = |message: ToClient<'_>| match message.encode(&mut buf[len..]) {
            Ok(written) => {
                len += written;
                true
            }
            Err(BufferTooSmall { .. }) => false,
        };
        let owed = &mut self.owed;
        if owed.hello {
            owed.hello = !put(ToClient::Hello(source.hello));
        }
        if owed.ping {
            let written = |nonce| put(ToClient::Ping(Ping { nonce }));
            owed.ping = !source.nonce.is_none_or(written);
        }
        if let Some(nonce) = owed.pong
            && put(ToClient::Pong(Pong { nonce }))
        {
            owed.pong = None;
        }
        while let Some(&notification) = owed.taken.first() {
            if !put(ToClient::Taken(Taken { notification })) {
                return len;
            }
            owed.taken.remove(0);
        }
        if let Some(bye) = owed.bye
            && put(ToClient::Bye(bye))
        {
            owed.bye = None;
            owed.over = Some(bye.reason);
        }
        len
    }
}
