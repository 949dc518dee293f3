//! The client's side: what came in, and the replies to it.

use alloc::vec::Vec;
use core::time::Duration;

use crate::collections::{Pool, ReadyList, Slab, TimerKey, Wheel};
use crate::wire::message;
use crate::{Incarnation, Instant, Key, Machine, NotificationId, Random};

/// The bounds of a [`Mailbox`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxLimits {
    /// Notifications that are being handled or whose reply was not taken.
    pub notifications_max: u32,
    /// Bytes of a payload.
    pub payload_bytes_max: usize,
    /// Bytes of a reply.
    pub reply_bytes_max: usize,
}

impl Default for MailboxLimits {
    fn default() -> Self {
        Self {
            notifications_max: 64,
            payload_bytes_max: 65_536,
            reply_bytes_max: 65_536,
        }
    }
}

/// The handle of a notification that the application has to handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub(crate) Key);

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
    seen: NotificationId,
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
            seen: NotificationId(0),
            now: Instant::ORIGIN,
            limits,
        }
    }

    /// Whether one more notification finds room.
    pub const fn has_room(&self) -> bool {
        !self.entries.is_full()
    }

    /// The newest notification that was handed to the application.
    pub const fn seen(&self) -> NotificationId {
        self.seen
    }

    /// The relay runs as this incarnation. If the mailbox has seen nothing of
    /// that run, it begins behind `notified`, what the relay says that it sent.
    pub fn handle_incarnation(
        &mut self,
        incarnation: Incarnation,
        notified: Option<NotificationId>,
    ) {
        let seen = self.seen.incarnation();
        if seen == incarnation {
            return;
        }
        match notified.filter(|id| id.incarnation() == incarnation) {
            Some(notified) => self.seen = notified,
            // A lower one counts anew below what was seen.
            None if incarnation < seen => self.seen = NotificationId(0),
            None => {}
        }
    }

    /// A notification arrived, on whatever way.
    pub fn handle_notification(
        &mut self,
        now: Instant,
        message: &message::Notification<'_>,
    ) -> Received {
        self.now = self.now.max(now);
        if message.id <= self.seen {
            return Received::Known;
        }
        if message.payload.len() > self.limits.payload_bytes_max {
            self.seen = message.id;
            return Received::TooLong;
        }
        if !self.has_room() {
            return Received::Full;
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
        self.seen = message.id;
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
            entry.moment = self
                .timers
                .insert(self.now + delay, Timer::Moment(handle.0))
                .ok();
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

    /// The reply is on its way.
    pub fn handle_sent(&mut self, handle: Handle) {
        if let Some(entry) = self.entries.get_mut(handle.0)
            && entry.stage == Stage::Due
        {
            entry.stage = Stage::Sent;
            self.due.remove(handle.0.index() as u32);
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
            }
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
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn mailbox(notifications_max: u32) -> Mailbox {
        let limits = MailboxLimits {
            notifications_max,
            ..MailboxLimits::default()
        };
        Mailbox::new(limits, Random::from_seed([5; 32]))
    }

    fn notification(id: u64, reply_window_ms: u32) -> message::Notification<'static> {
        let id = NotificationId(id);
        message::Notification {
            id,
            lifetime_s: 60,
            reply_window_ms,
            payload: b"ping",
        }
    }

    fn new(received: Received) -> Handle {
        match received {
            Received::New(handle) => handle,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_notification_is_handed_out_once() {
        let mut mailbox = mailbox(4);
        let now = Instant::ORIGIN;
        let handle = new(mailbox.handle_notification(now, &notification(7, 0)));
        assert_eq!(
            mailbox.get(handle),
            Some((NotificationId(7), b"ping".as_slice()))
        );
        assert_eq!(
            mailbox.handle_notification(now, &notification(7, 0)),
            Received::Known
        );
        assert_eq!(
            mailbox.handle_notification(now, &notification(6, 0)),
            Received::Known
        );
    }

    #[test]
    fn a_reply_is_kept_until_it_is_taken() {
        let mut mailbox = mailbox(4);
        let handle = new(mailbox.handle_notification(Instant::ORIGIN, &notification(7, 0)));
        mailbox.reply(Instant::ORIGIN, handle, b"pong").unwrap();
        assert_eq!(
            mailbox.reply(Instant::ORIGIN, handle, b"again"),
            Err(ReplyMisuse::Gone)
        );
        let (sent, reply) = mailbox.next_reply().unwrap();
        assert_eq!((sent, reply.payload), (handle, b"pong".as_slice()));
        mailbox.handle_sent(handle);
        assert_eq!(mailbox.next_reply(), None);
        mailbox.handle_way_lost();
        assert!(mailbox.next_reply().is_some());
        mailbox.handle_sent(handle);
        mailbox.handle_taken(NotificationId(7));
        mailbox.handle_way_lost();
        assert_eq!(mailbox.next_reply(), None);
    }

    #[test]
    fn a_taken_reply_is_not_sent_again_while_the_rest_of_it_is_written() {
        let mut mailbox = mailbox(4);
        let handle = new(mailbox.handle_notification(Instant::ORIGIN, &notification(7, 0)));
        mailbox.reply(Instant::ORIGIN, handle, b"pong").unwrap();
        mailbox.handle_sent(handle);
        mailbox.pin(handle);
        mailbox.handle_taken(NotificationId(7));
        mailbox.handle_way_lost();
        assert_eq!(mailbox.next_reply(), None);
    }

    #[test]
    fn a_taken_reply_is_not_sent_again_when_its_way_was_lost_before() {
        let mut mailbox = mailbox(4);
        let handle = new(mailbox.handle_notification(Instant::ORIGIN, &notification(7, 0)));
        mailbox.reply(Instant::ORIGIN, handle, b"pong").unwrap();
        mailbox.handle_sent(handle);
        mailbox.pin(handle);
        mailbox.handle_way_lost();
        mailbox.handle_taken(NotificationId(7));
        assert_eq!(mailbox.next_reply(), None);
    }

    #[test]
    fn a_reply_waits_for_a_moment_within_the_window() {
        let mut mailbox = mailbox(4);
        let handle = new(mailbox.handle_notification(Instant::ORIGIN, &notification(7, 10_000)));
        mailbox.reply(Instant::ORIGIN, handle, b"pong").unwrap();
        assert_eq!(mailbox.next_reply(), None);
        mailbox.handle_timeout(Instant::ORIGIN + 11 * SECOND);
        assert_eq!(mailbox.poll(), Some(MailboxEffect::ReplyDue));
        assert!(mailbox.next_reply().is_some());
    }

    #[test]
    fn a_full_mailbox_forgets_nothing() {
        let mut mailbox = mailbox(1);
        let first = new(mailbox.handle_notification(Instant::ORIGIN, &notification(1, 0)));
        assert_eq!(
            mailbox.handle_notification(Instant::ORIGIN, &notification(2, 0)),
            Received::Full
        );
        mailbox.dismiss(first);
        new(mailbox.handle_notification(Instant::ORIGIN, &notification(2, 0)));
    }

    #[test]
    fn a_notification_ends_with_its_lifetime() {
        let mut mailbox = mailbox(1);
        let handle = new(mailbox.handle_notification(Instant::ORIGIN, &notification(1, 0)));
        mailbox.handle_timeout(Instant::ORIGIN + 60 * SECOND);
        assert_eq!(mailbox.poll(), Some(MailboxEffect::Expired(handle)));
        assert_eq!(mailbox.get(handle), None);
        assert_eq!(
            mailbox.reply(Instant::ORIGIN, handle, b"late"),
            Err(ReplyMisuse::Gone)
        );
        assert!(mailbox.has_room());
    }
}
