//! The relay's side: what was said, to whom, and who got it.
//!
//! Who has to be told what is found in lists (`notifier/lists.rs`).

mod lists;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::audience::{Audience, Heads, Membership};
use super::mailbox::Order;
use super::replies::{Chain, Replies, Reply, ReplyRefusal};
use super::terms::{NotifierLimits, NotifyError, NotifyOptions};
use super::told::Told;
use crate::collections::{Pool, Slab, TimerKey, Wheel};
use crate::wire::frame;
use crate::wire::message::{self, ToClient};
use crate::{ClientId, Incarnation, Instant, Key, Machine, NotificationId, Random};

/// How far a notification came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub id: NotificationId,
    /// How many clients it is for: those that it was for when it was made, and
    /// more where clients that came to its subnet or site were told.
    pub targets: u32,
    /// How many of them it was sent to.
    pub sent: u32,
    /// How many of them replied.
    pub replied: u32,
    /// When it ends.
    pub expires_at: Instant,
}

impl Status {
    /// A client that comes to a subnet or site is one that its notifications
    /// are for. Nobody comes to all: who registers is not told what was before.
    fn count_who_came(&mut self, audience: Audience) {
        match audience {
            Audience::Subnet(_) | Audience::Site(_) => self.targets = self.targets.max(self.sent),
            Audience::Client(_) | Audience::All => {
                self.targets = self.targets.max(self.replied);
                self.sent = self.sent.min(self.targets);
            }
        }
    }
}

/// What a [`Notifier`] tells on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifierEffect {
    /// A notification came to its end; its replies are gone with it.
    Expired(Status),
}

struct Entry {
    status: Status,
    audience: Audience,
    payload: Vec<u8>,
    reply_window_ms: u32,
    expiry: Option<TimerKey>,
    replies: Chain,
    /// The neighbours among the notifications of the same client or group, by id.
    older: Option<Key>,
    newer: Option<Key>,
    /// Connections that have begun to write it. It stays until they are done.
    writers: u32,
    expired: bool,
}

/// The notifications of a relay.
pub struct Notifier {
    incarnation: Incarnation,
    limits: NotifierLimits,
    sequence: u32,
    entries: Slab<Entry>,
    /// All that live, by id; keys of expired ones among them are dead.
    log: VecDeque<(NotificationId, Key)>,
    /// Those of them that are for all.
    broadcasts: VecDeque<(NotificationId, Key)>,
    told: Told,
    /// The lists of those for one client or group.
    heads: Heads,
    expiries: Wheel<Key>,
    replies: Replies,
    pool: Pool,
    payload_bytes: usize,
    now: Instant,
}

impl Notifier {
    /// A notifier with nothing to say, for at most `clients_max` clients.
    pub fn new(
        incarnation: Incarnation,
        limits: NotifierLimits,
        clients_max: u32,
        mut random: Random,
    ) -> Self {
        Self {
            incarnation,
            sequence: 0,
            entries: Slab::new(limits.notifications_max),
            log: VecDeque::new(),
            broadcasts: VecDeque::new(),
            told: Told::new(clients_max),
            heads: Heads::new(clients_max),
            expiries: Wheel::new(limits.notifications_max),
            replies: Replies::new(random.bytes(), limits.replies_max),
            pool: Pool::new(1_024, 4_096),
            payload_bytes: 0,
            now: Instant::ORIGIN,
            limits,
        }
    }

    /// Makes a notification for `targets` clients.
    ///
    /// # Errors
    /// [`NotifyError`]; nothing is changed then.
    pub fn notify(
        &mut self,
        now: Instant,
        audience: Audience,
        payload: &[u8],
        options: NotifyOptions,
        targets: u32,
    ) -> Result<NotificationId, NotifyError> {
        self.now = self.now.max(now);
        self.replies.collect(64, &mut self.pool);
        self.check(audience, payload, options)?;
        let sequence = self.sequence.checked_add(1).ok_or(NotifyError::Full)?;
        let id = NotificationId::new(self.incarnation, sequence);
        let expires_at = self.now + options.lifetime;
        let mut kept = self.pool.take(payload.len());
        kept.extend_from_slice(payload);
        let entry = Entry {
            status: Status {
                id,
                targets,
                sent: 0,
                replied: 0,
                expires_at,
            },
            audience,
            payload: kept,
            reply_window_ms: whole_millis(options.reply_window),
            expiry: None,
            replies: Chain::default(),
            older: None,
            newer: None,
            writers: 0,
            expired: false,
        };
        let key = self.entries.insert(entry).map_err(|_| NotifyError::Full)?;
        self.sequence = sequence;
        self.payload_bytes += payload.len();
        if let Some(entry) = self.entries.get_mut(key) {
            // There is a timer for each notification, so there is room.
            entry.expiry = self.expiries.insert(expires_at, key).ok();
        }
        self.enter(key, id, audience);
        Ok(id)
    }

    /// The first notification for the client behind `after` that lives. What
    /// was said to its groups before it joined is not for it.
    ///
    /// O(1) for a client that has all or nothing, or goes through a list in
    /// order; else in the number of those for it alone or for a group of its
    /// that it has not, at most `notifications_per_client_max` and twice
    /// `notifications_per_group_max`.
    pub fn pending(
        &self,
        client: Key,
        membership: Membership,
        after: NotificationId,
    ) -> Option<(Key, NotificationId)> {
        let joined = self.told.get(client).joined;
        let said = after.max(NotificationId::new(self.incarnation, joined));
        let own = self.first_of(Audience::Client(client), after);
        let subnet = membership.subnet.map(Audience::Subnet);
        let site = membership.site.map(Audience::Site);
        let groups = subnet.into_iter().chain(site);
        groups
            .filter_map(|audience| self.first_of(audience, said))
            .chain(self.first_broadcast(said))
            .chain(own)
            .min_by_key(|(_, id)| *id)
    }

    /// Whether a notification has not expired.
    pub fn is_alive(&self, notification: Key) -> bool {
        let entry = self.entries.get(notification);
        entry.is_some_and(|entry| !entry.expired)
    }

    /// A notification as the message that carries it, at the moment; one that
    /// expired as well, as long as a connection writes it.
    pub fn message(&self, notification: Key) -> Option<message::Notification<'_>> {
        let entry = self.entries.get(notification)?;
        let left = entry.status.expires_at.saturating_since(self.now);
        Some(message::Notification {
            id: entry.status.id,
            lifetime_s: u32::try_from(left.as_secs()).unwrap_or(u32::MAX),
            reply_window_ms: entry.reply_window_ms,
            payload: &entry.payload,
        })
    }

    /// Writes the notification's frame from `offset` on; returns how many
    /// bytes. `lifetime_s` must be the same for all parts of a frame.
    pub fn write_frame(
        &self,
        notification: Key,
        lifetime_s: u32,
        offset: u64,
        buf: &mut [u8],
    ) -> usize {
        let Some(message) = self.message(notification) else {
            return 0;
        };
        let message = ToClient::Notification(message::Notification {
            lifetime_s,
            ..message
        });
        let Ok(header) = message.header() else {
            return 0;
        };
        frame::encode_part(&header, &[&message.head(), message.payload()], offset, buf)
    }

    /// A connection began to write it and could not end: it stays until
    /// [`unpin`](Self::unpin).
    pub fn pin(&mut self, notification: Key) {
        if let Some(entry) = self.entries.get_mut(notification) {
            entry.writers += 1;
        }
    }

    /// The connection wrote the rest, or is gone.
    pub fn unpin(&mut self, notification: Key) {
        if let Some(entry) = self.entries.get_mut(notification) {
            entry.writers = entry.writers.saturating_sub(1);
            if entry.writers == 0 && entry.expired {
                self.remove(notification);
            }
        }
    }

    /// The notification was handed to the client's way. Counted once for each
    /// client and notification: where the reply overtook what a way confirms,
    /// it was counted with the reply.
    pub fn handle_sent(&mut self, client: (Key, ClientId), notification: Key, order: Order) {
        let Some(entry) = self.entries.get_mut(notification) else {
            return;
        };
        let sequence = entry.status.id.sequence();
        let first = self.told.handle_sent(client.0, sequence, order);
        let counted = || entry.status.replied > 0 && self.replies.contains(notification, client.1);
        if first && !counted() {
            entry.status.sent += 1;
            entry.status.count_who_came(entry.audience);
        }
    }

    /// How far the client came, by what it was sent in order: datagrams may
    /// have been lost.
    pub fn sent_through(&self, client: Key) -> NotificationId {
        NotificationId::new(self.incarnation, self.told.get(client).in_order_through)
    }

    /// A client that just joined is not told what was said before.
    pub fn handle_joined(&mut self, client: Key) {
        self.told.handle_joined(client, self.sequence);
    }

    /// A client's reply.
    ///
    /// # Errors
    /// [`ReplyRefusal`]; nothing is changed then.
    pub fn handle_reply(
        &mut self,
        now: Instant,
        client: (Key, ClientId),
        membership: Membership,
        id: NotificationId,
        payload: &[u8],
    ) -> Result<(), ReplyRefusal> {
        self.now = self.now.max(now);
        let key = self.find(id).ok_or(ReplyRefusal::Unknown)?;
        let told = self.told.get(client.0);
        // Who left the group after it was told may reply.
        if !told.was_sent(id.sequence()) && !self.concerns(key, client.0, membership) {
            return Err(ReplyRefusal::Foreign);
        }
        let entry = self.entries.get_mut(key).ok_or(ReplyRefusal::Unknown)?;
        if payload.len() > self.limits.reply_bytes_max {
            return Err(ReplyRefusal::TooLong);
        }
        if self.replies.contains(key, client.1) {
            return Err(ReplyRefusal::Repeated);
        }
        let room = self.limits.replies_bytes_max;
        while self.replies.bytes() + payload.len() > room && self.replies.collect(8, &mut self.pool)
        {
        }
        if self.replies.bytes() + payload.len() > room {
            return Err(ReplyRefusal::Full);
        }
        self.replies
            .push(&mut entry.replies, key, client.1, payload, &mut self.pool)?;
        let status = &mut entry.status;
        status.replied += 1;
        // Who replies was sent it, whatever was heard of its way.
        if told.sent_through < id.sequence() {
            status.sent += 1;
        }
        status.sent = status.sent.max(status.replied);
        status.count_who_came(entry.audience);
        Ok(())
    }

    /// Whether a notification lives and is for the client: it is the one, or
    /// belongs to the group and was registered when the notification was made.
    pub fn concerns(&self, notification: Key, client: Key, membership: Membership) -> bool {
        let Some(entry) = self.entries.get(notification).filter(|it| !it.expired) else {
            return false;
        };
        let sequence = entry.status.id.sequence();
        let joined = self.told.get(client).joined;
        entry.audience.includes(client, membership)
            && (matches!(entry.audience, Audience::Client(_)) || joined < sequence)
    }

    /// Whether the client replied to the notification.
    pub fn has_replied(&self, id: NotificationId, client: ClientId) -> bool {
        self.find(id)
            .is_some_and(|key| self.replies.contains(key, client))
    }

    /// How far a notification came; `None` when it is unknown or has expired.
    pub fn status(&self, id: NotificationId) -> Option<Status> {
        self.entries.get(self.find(id)?).map(|entry| entry.status)
    }

    /// The replies to a notification, in the order they came.
    pub fn replies(&self, id: NotificationId) -> impl Iterator<Item = Reply<'_>> {
        self.replies_behind(id, None)
    }

    /// The replies that came behind that of a client, found in O(1); all if
    /// that client did not reply.
    pub fn replies_behind(
        &self,
        id: NotificationId,
        after: Option<ClientId>,
    ) -> impl Iterator<Item = Reply<'_>> {
        let found = self
            .find(id)
            .and_then(|key| Some((key, self.entries.get(key)?)));
        found
            .into_iter()
            .flat_map(move |(key, entry)| self.replies.behind(entry.replies, key, after))
    }

    /// How many notifications live.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none lives.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the payloads and replies that are kept.
    pub const fn bytes(&self) -> usize {
        self.payload_bytes + self.replies.bytes()
    }

    /// How many replies are kept.
    pub const fn replies_len(&self) -> usize {
        self.replies.len()
    }

    /// The handle of a notification that lives.
    pub fn find(&self, id: NotificationId) -> Option<Key> {
        let place = self.log.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let (_, key) = self.log.get(place)?;
        self.entries
            .get(*key)
            .filter(|entry| !entry.expired)
            .map(|_| *key)
    }
}

impl Machine for Notifier {
    type Effect = NotifierEffect;

    fn poll_timeout(&self) -> Option<Instant> {
        self.expiries.next_deadline()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn poll(&mut self) -> Option<NotifierEffect> {
        while let Some(key) = self.expiries.expire(self.now) {
            if let Some(status) = self.expire(key) {
                return Some(NotifierEffect::Expired(status));
            }
        }
        None
    }
}

fn whole_millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
