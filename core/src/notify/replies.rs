//! The replies to the notifications of a relay.

use alloc::vec::Vec;

use crate::collections::{Index, Pool, Slab};
use crate::{ClientId, Key};

/// A client's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Who replied.
    pub client: ClientId,
    /// What it said.
    pub payload: &'a [u8],
}

/// Why a reply is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyRefusal {
    /// No such notification lives.
    #[error("the notification is unknown or has expired")]
    Unknown,
    /// It was not for this client.
    #[error("the notification was not for this client")]
    Foreign,
    /// The client replied before; the first reply stands.
    #[error("the client has replied already")]
    Repeated,
    /// The reply is longer than allowed.
    #[error("the reply is too long")]
    TooLong,
    /// There is no room for replies.
    #[error("there is no room for replies")]
    Full,
}

impl ReplyRefusal {
    /// The reason in one word, to count it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Foreign => "foreign",
            Self::Repeated => "repeated",
            Self::TooLong => "too_long",
            Self::Full => "full",
        }
    }
}

/// The replies of one notification, a chain through the table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chain {
    ends: Option<(Key, Key)>,
}

struct Entry {
    notification: Key,
    client: ClientId,
    payload: Vec<u8>,
    next: Option<Key>,
}

/// The replies of all notifications.
pub(super) struct Replies {
    entries: Slab<Entry>,
    by_pair: Index,
    /// Replies of notifications that are gone. They are freed a few at a time:
    /// a notification to all may have had a million.
    garbage: Chain,
    bytes: usize,
}

impl Replies {
    pub(super) fn new(seed: [u8; 16], replies_max: u32) -> Self {
        Self {
            entries: Slab::new(replies_max),
            by_pair: Index::new(seed, replies_max),
            garbage: Chain::default(),
            bytes: 0,
        }
    }

    /// Bytes of all payloads.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the client replied, under whatever handle it was registered.
    pub(super) fn contains(&self, notification: Key, client: ClientId) -> bool {
        self.find(notification, client).is_some()
    }

    fn find(&self, notification: Key, client: ClientId) -> Option<&Entry> {
        let at = |place: u32| self.entries.get(self.entries.key_at(place as usize)?);
        let hash = self.by_pair.hash(&pair(notification, client));
        let place = self.by_pair.find(hash, |place| {
            at(place)
                .is_some_and(|entry| entry.notification == notification && entry.client == client)
        });
        at(place?)
    }

    /// Keeps a reply. The caller made sure that there is none of the pair.
    pub(super) fn push(
        &mut self,
        chain: &mut Chain,
        notification: Key,
        client: ClientId,
        payload: &[u8],
        pool: &mut Pool,
    ) -> Result<(), ReplyRefusal> {
        self.collect(2, pool);
        while self.entries.is_full() && self.collect(8, pool) {}
        if self.entries.is_full() {
            return Err(ReplyRefusal::Full);
        }
        let mut kept = pool.take(payload.len());
        kept.extend_from_slice(payload);
        let entry = Entry {
            notification,
            client,
            payload: kept,
            next: None,
        };
        let key = match self.entries.insert(entry) {
            Ok(key) => key,
            Err(full) => {
                pool.give(full.0.payload);
                return Err(ReplyRefusal::Full);
            }
        };
        let hash = self.by_pair.hash(&pair(notification, client));
        if self.by_pair.insert(hash, key.index() as u32).is_err() {
            if let Some(entry) = self.entries.remove(key) {
                pool.give(entry.payload);
            }
            return Err(ReplyRefusal::Full);
        }
        self.bytes += payload.len();
        self.append(chain, key);
        Ok(())
    }

    /// The replies of a notification behind that of a client, in the order they
    /// came; all of its chain if there is no such client, or no reply of it.
    pub(super) fn behind(
        &self,
        chain: Chain,
        notification: Key,
        after: Option<ClientId>,
    ) -> impl Iterator<Item = Reply<'_>> {
        let first = match after.and_then(|client| self.find(notification, client)) {
            Some(entry) => entry.next,
            None => chain.ends.map(|(first, _)| first),
        };
        core::iter::successors(first.and_then(|key| self.entries.get(key)), |entry| {
            entry.next.and_then(|key| self.entries.get(key))
        })
        .map(|entry| Reply {
            client: entry.client,
            payload: &entry.payload,
        })
    }

    /// Gives a whole chain up, in O(1).
    pub(super) fn discard(&mut self, chain: Chain) {
        let Some((first, last)) = chain.ends else {
            return;
        };
        self.garbage = match self.garbage.ends {
            None => chain,
            Some((front, back)) => {
                if let Some(entry) = self.entries.get_mut(back) {
                    entry.next = Some(first);
                }
                Chain {
                    ends: Some((front, last)),
                }
            }
        };
    }

    /// Frees at most `count` replies that were given up; returns whether
    /// there was one.
    pub(super) fn collect(&mut self, count: usize, pool: &mut Pool) -> bool {
        let mut found = false;
        for _ in 0..count {
            let Some((first, last)) = self.garbage.ends else {
                break;
            };
            let Some(entry) = self.entries.remove(first) else {
                self.garbage = Chain::default();
                break;
            };
            found = true;
            self.by_pair.remove(first.index() as u32);
            self.bytes -= entry.payload.len();
            pool.give(entry.payload);
            self.garbage.ends = entry.next.map(|next| (next, last));
        }
        found
    }

    fn append(&mut self, chain: &mut Chain, key: Key) {
        chain.ends = match chain.ends {
            None => Some((key, key)),
            Some((first, last)) => {
                if let Some(entry) = self.entries.get_mut(last) {
                    entry.next = Some(key);
                }
                Some((first, key))
            }
        };
    }
}

/// What a pair of notification and client is found by.
fn pair(notification: Key, client: ClientId) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&(notification.index() as u32).to_be_bytes());
    bytes[4..8].copy_from_slice(&notification.generation().to_be_bytes());
    bytes[8..].copy_from_slice(&client.0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_the_same_under_another_handle() {
        let (mut replies, mut pool) = (Replies::new([1; 16], 4), Pool::new(1, 16));
        let (notification, client) = (Key::new(0, 0), ClientId([7; 16]));
        let mut chain = Chain::default();
        let pushed = replies.push(&mut chain, notification, client, b"pong", &mut pool);
        assert_eq!(pushed, Ok(()));
        assert!(replies.contains(notification, client));
        assert!(!replies.contains(notification, ClientId([8; 16])));
        assert!(!replies.contains(Key::new(0, 1), client));
    }
}
