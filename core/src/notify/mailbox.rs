//! The client's side: what came in, and the replies to it.

use alloc::vec::Vec;
use core::time::Duration;

use super::seen::Seen;
use crate::collections::{Pool, ReadyList, Slab, TimerKey, Wheel};
use crate::wire::message;
use crate::{Incarnation, Instant, Key, Machine, NotificationId, Random};

/// After how long a reply that was sent and not taken, or was refused for want
/// of room, is sent again.
pub(crate) const RESEND: Duration = Duration::from_secs(60);

/// The bounds of a [`Mailbox`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxLimits {
    /// Notifications that are being handled or whose reply was not taken.
    pub notifications_max: u32,
    /// Bytes of a payload.
    pub payload_bytes_max: usize,
    /// Bytes of a reply.
    pub reply_bytes_max: usize,
    /// Notifications that came out of order and are remembered until the way
    /// that keeps the order has passed them.
    pub ahead_max: u32,
}

impl Default for MailboxLimits {
    fn default() -> Self {
        Self {
            notifications_max: 64,
            payload_bytes_max: 65_536,
            reply_bytes_max: 65_536,
            ahead_max: 256,
        }
    }
}

/// The handle of a notification that the application has to handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub(crate) Key);

/// What the way that a notification came says of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All before it came as well: the persistent connection, the inbox.
    InOrder,
    /// Nothing: a datagram.
    Loose,
}

/// What became of a notification that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is new: hand it to the application.
    New(Handle),
    /// It came before.
    Known,
    /// It is longer than allowed, and dropped.
    TooLong,
    /// There is no room: take no more until there is.
    Full,
    /// Too many came out of order, and it is dropped: ask the inbox, which
    /// knows the order.
    OutOfOrder,
}

/// Why a reply is not kept. The caller is to blame; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyMisuse {
    /// The notification is gone: replied to, dismissed or expired.
    #[error("the notification is gone")]
    Gone,
    /// The reply is longer than allowed.
    #[error("the reply is longer than {bytes_max} bytes")]
    TooLong {
        /// How long it may be.
        bytes_max: usize,
    },
}

/// What a [`Mailbox`] tells on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxEffect {
    /// A reply is due: see [`Mailbox::next_reply`].
    ReplyDue,
    /// The notification's lifetime is over; the handle ends here.
    Expired(Handle),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The application handles it.
    Handling,
    /// The reply waits for its moment.
    Held,
    /// The reply waits for a way.
    Due,
    /// The reply was sent and not taken.
    Sent,
}

struct Entry {
    id: NotificationId,
    reply_window: Duration,
    /// The payload, then the reply.
    bytes: Vec<u8>,
    stage: Stage,
    expiry: Option<TimerKey>,
    moment: Option<TimerKey>,
    /// A connection has begun to write the reply. It stays until that is done.
    pinned: bool,
    gone: bool,
}

#[derive(Clone, Copy)]
enum Timer {
    Expiry(Key),
    Moment(Key),
}

/// The notifications of a client, each once, and the replies until they are
/// taken.
pub struct Mailbox {
    limits: MailboxLimits,
    random: Random,
    entries: Slab<Entry>,
    due: ReadyList,
    timers: Wheel<Timer>,
    pool: Pool,
    seen: Seen,
    now: Instant,
}

impl Mailbox {
    /// An empty mailbox.
    pub fn new(limits: MailboxLimits, random: Random) -> Self {
        let entries_max = limits.notifications_max.max(1);
        Self {
            random,
            entries: Slab::new(entries_max),
            due: ReadyList::new(entries_max),
            timers: Wheel::new(entries_max.saturating_mul(2)),
            pool: Pool::new(
                entries_max,
                limits.payload_bytes_max.max(limits.reply_bytes_max),
            ),
            seen: Seen::new(limits.ahead_max as usize),
            now: Instant::ORIGIN,
            limits,
        }
    }

    /// Whether one more notification finds room.
    pub const fn has_room(&self) -> bool {
        !self.entries.is_full()
    }

    /// How far the client came: all up to this one were handed to the
    /// application, or are of no use to it. One that came out of order may be
    /// newer.
    pub const fn seen(&self) -> NotificationId {
        self.seen.watermark()
    }

    /// The relay runs as this incarnation. If the mailbox has seen nothing of
    /// that run, it begins behind `notified`, what the relay says that it sent.
    pub fn handle_incarnation(
        &mut self,
        incarnation: Incarnation,
        notified: Option<NotificationId>,
    ) {
        self.seen.begin(incarnation, notified);
    }

    /// A notification arrived. It is handed out once, on whatever ways it
    /// comes.
    pub fn handle_notification(
        &mut self,
        now: Instant,
        message: &message::Notification<'_>,
        order: Order,
    ) -> Received {
        self.now = self.now.max(now);
        if self.seen.contains(message.id) {
            self.note(message.id, order);
            return Received::Known;
        }
        if message.payload.len() > self.limits.payload_bytes_max {
            self.note(message.id, order);
            return Received::TooLong;
        }
        if !self.has_room() {
            return Received::Full;
        }
        if order == Order::Loose && !self.seen.has_room() {
            return Received::OutOfOrder;
        }
        let mut bytes = self.pool.take(message.payload.len());
        bytes.extend_from_slice(message.payload);
        let entry = Entry {
            id: message.id,
            reply_window: Duration::from_millis(message.reply_window_ms.into()),
            bytes,
            stage: Stage::Handling,
            expiry: None,
            moment: None,
            pinned: false,
            gone: false,
        };
        let Ok(key) = self.entries.insert(entry) else {
            return Received::Full;
        };
        self.note(message.id, order);
        let expires_at = self.now + Duration::from_secs(message.lifetime_s.max(1).into());
        let expiry = self.timers.insert(expires_at, Timer::Expiry(key)).ok();
        if let Some(entry) = self.entries.get_mut(key) {
            entry.expiry = expiry;
        }
        Received::New(Handle(key))
    }

    /// The notification's number and payload, until the application replied.
    pub fn get(&self, handle: Handle) -> Option<(NotificationId, &[u8])> {
        let entry = self.entries.get(handle.0)?;
        (entry.stage == Stage::Handling).then_some((entry.id, entry.bytes.as_slice()))
    }

    /// The application replies. The reply leaves at a random moment of the
    /// window that the relay stated, and is kept until the relay took it.
    ///
    /// # Errors
    /// [`ReplyMisuse`]; nothing is changed then.
    pub fn reply(
        &mut self,
        now: Instant,
        handle: Handle,
        payload: &[u8],
    ) -> Result<(), ReplyMisuse> {
        self.now = self.now.max(now);
        let entry = self.entries.get_mut(handle.0).ok_or(ReplyMisuse::Gone)?;
        if entry.stage != Stage::Handling {
            return Err(ReplyMisuse::Gone);
        }
        if payload.len() > self.limits.reply_bytes_max {
            return Err(ReplyMisuse::TooLong {
                bytes_max: self.limits.reply_bytes_max,
            });
        }
        entry.bytes.clear();
        entry.bytes.extend_from_slice(payload);
        let delay = self.random.within(entry.reply_window);
        if delay < Duration::from_millis(1) {
            entry.stage = Stage::Due;
            self.due.push(handle.0.index() as u32);
        } else {
            entry.stage = Stage::Held;
            self.wait_for(handle.0, delay);
        }
        Ok(())
    }

    /// The application has no reply. The handle ends here.
    pub fn dismiss(&mut self, handle: Handle) {
        if self.get(handle).is_some() {
            self.remove(handle.0);
        }
    }

    /// The next reply that is to be sent.
    pub fn next_reply(&self) -> Option<(Handle, message::Reply<'_>)> {
        let key = self.entries.key_at(self.due.peek()? as usize)?;
        let entry = self.entries.get(key)?;
        Some((
            Handle(key),
            message::Reply {
                notification: entry.id,
                payload: &entry.bytes,
            },
        ))
    }

    /// A reply by its handle, to write the rest of it.
    pub fn reply_of(&self, handle: Handle) -> Option<message::Reply<'_>> {
        let entry = self.entries.get(handle.0)?;
        matches!(entry.stage, Stage::Due | Stage::Sent).then_some(message::Reply {
            notification: entry.id,
            payload: &entry.bytes,
        })
    }

    /// A connection began to write the reply and could not end: it stays
    /// until [`unpin`](Self::unpin).
    pub fn pin(&mut self, handle: Handle) {
        if let Some(entry) = self.entries.get_mut(handle.0) {
            entry.pinned = true;
        }
    }

    /// The connection wrote the rest, or is gone.
    pub fn unpin(&mut self, handle: Handle) {
        if let Some(entry) = self.entries.get_mut(handle.0) {
            entry.pinned = false;
            if entry.gone {
                self.remove(handle.0);
            }
        }
    }

    /// The reply is on its way. It is due again after 60 s if it was not taken.
    pub fn handle_sent(&mut self, now: Instant, handle: Handle) {
        self.now = self.now.max(now);
        if let Some(entry) = self.entries.get_mut(handle.0)
            && entry.stage == Stage::Due
        {
            entry.stage = Stage::Sent;
            self.due.remove(handle.0.index() as u32);
            self.wait_for(handle.0, RESEND);
        }
    }

    /// The relay has no room for the reply now: it is due again after 60 s.
    pub fn handle_refused(&mut self, now: Instant, handle: Handle) {
        self.now = self.now.max(now);
        if let Some(entry) = self.entries.get_mut(handle.0)
            && matches!(entry.stage, Stage::Due | Stage::Sent)
            && !entry.gone
        {
            entry.stage = Stage::Sent;
            self.due.remove(handle.0.index() as u32);
            self.wait_for(handle.0, RESEND);
        }
    }

    /// The relay has the reply, or wants it no more. A notification that was
    /// not replied to stays.
    pub fn handle_taken(&mut self, id: NotificationId) {
        let found = self
            .entries
            .iter()
            .find(|(_, entry)| entry.id == id && matches!(entry.stage, Stage::Due | Stage::Sent))
            .map(|(key, _)| key);
        if let Some(key) = found {
            self.remove(key);
        }
    }

    /// The way that replies were sent on is gone: what was not taken is sent
    /// again on the next one.
    pub fn handle_way_lost(&mut self) {
        let mut place = 0;
        while let Some(key) = self.entries.next_from(place) {
            place = key.index() + 1;
            if let Some(entry) = self.entries.get_mut(key)
                && entry.stage == Stage::Sent
                && !entry.gone
            {
                entry.stage = Stage::Due;
                self.due.push(key.index() as u32);
                if let Some(moment) = entry.moment.take() {
                    self.timers.cancel(moment);
                }
            }
        }
    }

    /// Sets the moment of a reply. Each entry has one, so there is room.
    fn wait_for(&mut self, key: Key, span: Duration) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if let Some(moment) = entry.moment.take() {
            self.timers.cancel(moment);
        }
        entry.moment = self.timers.insert(self.now + span, Timer::Moment(key)).ok();
    }

    /// It came, and is not handed out again.
    fn note(&mut self, id: NotificationId, order: Order) {
        match order {
            Order::InOrder => self.seen.advance(id),
            Order::Loose => self.seen.remember(id),
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.pinned
        {
            entry.gone = true;
            self.due.remove(key.index() as u32);
            return;
        }
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        self.due.remove(key.index() as u32);
        for timer in [entry.expiry, entry.moment].into_iter().flatten() {
            self.timers.cancel(timer);
        }
        self.pool.give(entry.bytes);
    }
}

impl Machine for Mailbox {
    type Effect = MailboxEffect;

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn poll(&mut self) -> Option<MailboxEffect> {
        while let Some(timer) = self.timers.expire(self.now) {
            match timer {
                Timer::Expiry(key) => {
                    if let Some(entry) = self.entries.get_mut(key) {
                        entry.expiry = None;
                        self.remove(key);
                        return Some(MailboxEffect::Expired(Handle(key)));
                    }
                }
                Timer::Moment(key) => {
                    if let Some(entry) = self.entries.get_mut(key) {
                        entry.moment = None;
                        if entry.gone {
                            continue;
                        }
                        // A connection that is so slow still writes it.
                        if entry.pinned {
                            self.wait_for(key, RESEND);
                            continue;
                        }
                        entry.stage = Stage::Due;
                        self.due.push(key.index() as u32);
                        return Some(MailboxEffect::ReplyDue);
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
