//! The legs of a router: each in one queue, each pair once.

use super::terms::{Leg, RouteRefusal};
use crate::collections::{Index, KeyHash, Slab};
use crate::{Instant, Key};

/// A first-in, first-out list through the legs.
#[derive(Clone, Copy)]
pub(super) struct Queue {
    ends: Option<(Key, Key)>,
    len: u32,
}

impl Queue {
    pub(super) const EMPTY: Self = Self { ends: None, len: 0 };

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn first(&self) -> Option<Key> {
        self.ends.map(|(first, _)| first)
    }
}

struct Entry {
    leg: Leg,
    /// The number of its frame on the line, and when that was begun.
    sequence: u32,
    begun_at: Instant,
    next: Option<Key>,
}

pub(super) struct Legs {
    entries: Slab<Entry>,
    by_pair: Index,
    /// Those that a peer passed on, and those whose line did not: until their
    /// effect is polled.
    served: Queue,
    given_back: Queue,
}

impl Legs {
    pub(super) fn new(seed: [u8; 16], legs_max: u32) -> Self {
        Self {
            entries: Slab::new(legs_max),
            by_pair: Index::new(seed, legs_max),
            served: Queue::EMPTY,
            given_back: Queue::EMPTY,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.entries.is_full()
    }

    /// Whether the pair is on its way.
    pub(super) fn contains(&self, leg: Leg) -> bool {
        self.contains_hashed(self.by_pair.hash_of(&leg), leg)
    }

    fn contains_hashed(&self, hash: KeyHash, leg: Leg) -> bool {
        let is_same = |place: u32| {
            let key = self.entries.key_at(place as usize);
            key.and_then(|key| self.entries.get(key))
                .is_some_and(|entry| entry.leg == leg)
        };
        self.by_pair.find(hash, is_same).is_some()
    }

    /// A leg in no queue.
    pub(super) fn insert(&mut self, leg: Leg) -> Result<Key, RouteRefusal> {
        let hash = self.by_pair.hash_of(&leg);
        if self.contains_hashed(hash, leg) {
            return Err(RouteRefusal::OnItsWay);
        }
        let entry = Entry {
            leg,
            sequence: 0,
            begun_at: Instant::ORIGIN,
            next: None,
        };
        let key = self.entries.insert(entry).map_err(|_| RouteRefusal::Full)?;
        if self.by_pair.insert(hash, key.index() as u32).is_err() {
            self.entries.remove(key);
            return Err(RouteRefusal::Full);
        }
        Ok(key)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Leg> {
        self.by_pair.remove(key.index() as u32);
        self.entries.remove(key).map(|entry| entry.leg)
    }

    /// The leg was written with a frame of this number.
    pub(super) fn stamp(&mut self, key: Key, sequence: u32, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.sequence = sequence;
            entry.begun_at = now;
        }
    }

    pub(super) fn begun_at(&self, key: Key) -> Option<Instant> {
        self.entries.get(key).map(|entry| entry.begun_at)
    }

    pub(super) fn push(&mut self, queue: &mut Queue, key: Key) {
        let one = Queue {
            ends: Some((key, key)),
            len: 1,
        };
        append(&mut self.entries, queue, one);
    }

    pub(super) fn pop(&mut self, queue: &mut Queue) -> Option<Key> {
        let (first, last) = queue.ends?;
        let next = self
            .entries
            .get_mut(first)
            .and_then(|entry| entry.next.take());
        queue.ends = next.map(|next| (next, last));
        queue.len -= 1;
        Some(first)
    }

    /// The legs from one on, in the order of its queue.
    pub(super) fn iter(&self, first: Option<Key>) -> impl Iterator<Item = Leg> {
        let first = first.and_then(|key| self.entries.get(key));
        core::iter::successors(first, |entry| {
            entry.next.and_then(|key| self.entries.get(key))
        })
        .map(|entry| entry.leg)
    }

    /// The legs of the queue's frames up to `sequence` were passed on.
    pub(super) fn confirm(&mut self, queue: &mut Queue, sequence: u32) {
        let is_done = |entries: &Slab<Entry>, key| {
            entries
                .get(key)
                .is_some_and(|entry: &Entry| entry.sequence <= sequence)
        };
        while queue.first().is_some_and(|key| is_done(&self.entries, key)) {
            let Some(key) = self.pop(queue) else {
                return;
            };
            let mut served = self.served;
            self.push(&mut served, key);
            self.served = served;
        }
    }

    /// The queue's legs take another way; O(1).
    pub(super) fn give_back(&mut self, queue: &mut Queue) {
        let given = core::mem::replace(queue, Queue::EMPTY);
        append(&mut self.entries, &mut self.given_back, given);
    }

    /// Ends the next leg that was passed on.
    pub(super) fn pop_served(&mut self) -> Option<Leg> {
        let mut served = self.served;
        let key = self.pop(&mut served)?;
        self.served = served;
        self.remove(key)
    }

    /// Ends the next leg that was not.
    pub(super) fn pop_given_back(&mut self) -> Option<Leg> {
        let mut given_back = self.given_back;
        let key = self.pop(&mut given_back)?;
        self.given_back = given_back;
        self.remove(key)
    }
}

/// Puts a queue behind another.
fn append(entries: &mut Slab<Entry>, queue: &mut Queue, behind: Queue) {
    let Some((first, last)) = behind.ends else {
        return;
    };
    queue.ends = Some(match queue.ends {
        None => (first, last),
        Some((front, back)) => {
            if let Some(entry) = entries.get_mut(back) {
                entry.next = Some(first);
            }
            (front, last)
        }
    });
    queue.len += behind.len;
}
