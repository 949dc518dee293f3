//! What lives, by its number and by who it is for.

use alloc::collections::VecDeque;

use super::{Entry, Notifier, Status};
use crate::collections::Slab;
use crate::notify::audience::Audience;
use crate::notify::terms::{LIFETIME_MIN, NotifyError, NotifyOptions};
use crate::{Key, NotificationId};

impl Notifier {
    pub(super) fn check(
        &self,
        audience: Audience,
        payload: &[u8],
        options: NotifyOptions,
    ) -> Result<(), NotifyError> {
        let limits = &self.limits;
        if payload.len() > limits.payload_bytes_max {
            return Err(NotifyError::PayloadTooLong {
                bytes_max: limits.payload_bytes_max,
            });
        }
        if options.lifetime < LIFETIME_MIN || options.lifetime > limits.lifetime_max {
            return Err(NotifyError::Lifetime {
                lifetime_max: limits.lifetime_max,
            });
        }
        if options.reply_window > options.lifetime {
            return Err(NotifyError::ReplyWindow);
        }
        let alive = self.heads.get(audience).map_or(0, |head| head.count);
        if matches!(audience, Audience::Client(_)) {
            if alive >= limits.notifications_per_client_max {
                return Err(NotifyError::ClientFull);
            }
        } else if alive >= limits.notifications_per_group_max {
            return Err(NotifyError::GroupFull);
        }
        if self.entries.is_full() {
            return Err(NotifyError::Full);
        }
        if self.payload_bytes > limits.payloads_bytes_max.saturating_sub(payload.len()) {
            return Err(NotifyError::BytesFull);
        }
        Ok(())
    }

    pub(super) fn enter(&mut self, key: Key, id: NotificationId, audience: Audience) {
        let live_max = self.limits.notifications_max;
        trim(&mut self.log, &self.entries, live_max);
        self.log.push_back((id, key));
        if audience == Audience::All {
            trim(&mut self.broadcasts, &self.entries, live_max);
            self.broadcasts.push_back((id, key));
        }
        let Some(head) = self.heads.begin(audience) else {
            return;
        };
        let older = head.newest.replace(key);
        head.oldest.get_or_insert(key);
        head.count += 1;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.older = older;
        }
        if let Some(entry) = older.and_then(|older| self.entries.get_mut(older)) {
            entry.newer = Some(key);
        }
    }

    /// The first behind `after` of those for one client or group.
    pub(super) fn first_of(
        &self,
        audience: Audience,
        after: NotificationId,
    ) -> Option<(Key, NotificationId)> {
        let head = self.heads.get(audience)?;
        let (oldest, newest) = (head.oldest?, head.newest?);
        let id = |key| Some(self.entries.get(key)?.status.id);
        let first = match id(newest)? > after {
            false => return None,
            true if id(oldest)? > after => oldest,
            true => self.behind(audience, newest, after)?,
        };
        // One that expired stays while a connection writes it.
        let newer = |key: &Key| self.entries.get(*key)?.newer;
        let found = core::iter::successors(Some(first), newer).find(|key| self.is_alive(*key))?;
        Some((found, id(found)?))
    }

    /// The first behind `after` in a list whose newest is behind it, and whose
    /// oldest is not.
    fn behind(&self, audience: Audience, newest: Key, after: NotificationId) -> Option<Key> {
        // Who goes through the list has the one before.
        let before = self.find(after).and_then(|key| self.entries.get(key));
        if let Some(before) = before.filter(|entry| entry.audience == audience) {
            return before.newer;
        }
        let mut first = newest;
        while let Some(older) = self.entries.get(first)?.older
            && self.entries.get(older)?.status.id > after
        {
            first = older;
        }
        Some(first)
    }

    pub(super) fn first_broadcast(&self, after: NotificationId) -> Option<(Key, NotificationId)> {
        if self.broadcasts.back().is_none_or(|(id, _)| *id <= after) {
            return None;
        }
        let first = self.broadcasts.partition_point(|(id, _)| *id <= after);
        self.broadcasts
            .range(first..)
            .find(|(_, key)| self.entries.get(*key).is_some_and(|entry| !entry.expired))
            .map(|(id, key)| (*key, *id))
    }

    /// Takes an expired notification out; it is freed when nobody writes it.
    pub(super) fn expire(&mut self, key: Key) -> Option<Status> {
        let entry = self.entries.get_mut(key)?;
        entry.expired = true;
        entry.expiry = None;
        let (status, idle) = (entry.status, entry.writers == 0);
        if idle {
            self.remove(key);
        }
        Some(status)
    }

    pub(super) fn remove(&mut self, key: Key) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        self.payload_bytes -= entry.payload.len();
        self.pool.give(entry.payload);
        self.replies.discard(entry.replies);
        if let Some(newer) = entry.newer.and_then(|key| self.entries.get_mut(key)) {
            newer.older = entry.older;
        }
        if let Some(older) = entry.older.and_then(|key| self.entries.get_mut(key)) {
            older.newer = entry.newer;
        }
        if let Some(head) = self.heads.get_mut(entry.audience) {
            head.count -= 1;
            if head.newest == Some(key) {
                head.newest = entry.older;
            }
            if head.oldest == Some(key) {
                head.oldest = entry.newer;
            }
        }
    }
}

/// Drops the dead from the front, and all of them when they are the half.
fn trim(log: &mut VecDeque<(NotificationId, Key)>, entries: &Slab<Entry>, live_max: u32) {
    while log.front().is_some_and(|(_, key)| !entries.contains(*key)) {
        log.pop_front();
    }
    if log.len() >= 2 * live_max as usize {
        log.retain(|(_, key)| entries.contains(*key));
    }
}
