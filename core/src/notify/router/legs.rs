//! The legs of a router: each in one queue, each pair once.

use super::terms::{Leg, RouteRefusal};
use crate::collections::{Chunks, Index, Slab};
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

/// The place of no leg.
const NO_LEG: u32 = u32::MAX;

/// Most clients have one leg at a time, if any: it is found by the client's
/// place. Only those that come while it is there are found by the pair.
pub(super) struct Legs {
    entries: Slab<Entry>,
    /// By the places of clients, that of a leg or [`NO_LEG`].
    owns: Chunks<u32>,
    by_pair: Index,
    /// Those that a peer passed on, and those whose line did not: until their
    /// effect is polled.
    served: Queue,
    given_back: Queue,
    /// Of those that ended since there were as many as there may be, how many
    /// made room that was not promised to anybody.
    unpromised: u32,
}

impl Legs {
    pub(super) fn new(seed: [u8; 16], legs_max: u32, clients_max: u32) -> Self {
        Self {
            entries: Slab::new(legs_max),
            owns: Chunks::new(clients_max),
            by_pair: Index::new(seed, legs_max),
            served: Queue::EMPTY,
            given_back: Queue::EMPTY,
            unpromised: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.entries.is_full()
    }

    /// Promises the room of a leg that ended: once for each. Where there is
    /// none left, nobody else could promise any, so it may be promised again.
    pub(super) fn promise_room(&mut self) -> bool {
        let promises = self.unpromised > 0 || self.entries.is_empty();
        self.unpromised = self.unpromised.saturating_sub(1);
        promises
    }

    /// Whether the pair is on its way.
    pub(super) fn contains(&self, leg: Leg) -> bool {
        let is_same = |place: u32| {
            let key = self.entries.key_at(place as usize);
            key.and_then(|key| self.entries.get(key))
                .is_some_and(|entry| entry.leg == leg)
        };
        let own = self.owns.get(leg.client.index());
        own.is_some_and(|own| is_same(*own))
            || !self.by_pair.is_empty()
                && self
                    .by_pair
                    .find(self.by_pair.hash_of(&leg), is_same)
                    .is_some()
    }

    /// A leg in no queue.
    pub(super) fn insert(&mut self, leg: Leg) -> Result<Key, RouteRefusal> {
        if self.contains(leg) {
            return Err(RouteRefusal::OnItsWay);
        }
        let entry = Entry {
            leg,
            sequence: 0,
            begun_at: Instant::ORIGIN,
            next: None,
        };
        let key = self.entries.insert(entry).map_err(|_| RouteRefusal::Full)?;
        let place = key.index() as u32;
        match self.owns.get_or_grow(leg.client.index() as u32, NO_LEG) {
            Some(own) if *own == NO_LEG => *own = place,
            _ => {
                if self
                    .by_pair
                    .insert(self.by_pair.hash_of(&leg), place)
                    .is_err()
                {
                    self.entries.remove(key);
                    return Err(RouteRefusal::Full);
                }
            }
        }
        let free = self.entries.capacity_max().saturating_sub(self.len());
        self.unpromised = self.unpromised.min(free as u32);
        Ok(key)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Leg> {
        let leg = self.entries.remove(key)?.leg;
        self.unpromised = self.unpromised.saturating_add(1);
        let place = key.index() as u32;
        match self.owns.get_mut(leg.client.index()) {
            Some(own) if *own == place => *own = NO_LEG,
            _ => _ = self.by_pair.remove(place),
        }
        Some(leg)
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

    /// Takes the legs at the front for which `takes` says so, given how many
    /// there were before.
    fn take_front(&mut self, queue: &mut Queue, takes: impl Fn(&mut Entry, u32) -> bool) -> Queue {
        let mut taken = Queue::EMPTY;
        let Some((first, last)) = queue.ends else {
            return taken;
        };
        let mut next = Some(first);
        while let Some(key) = next
            && let Some(entry) = self.entries.get_mut(key)
            && takes(entry, taken.len)
        {
            next = entry.next;
            taken = Queue {
                ends: Some((first, key)),
                len: taken.len + 1,
            };
        }
        if let Some((_, end)) = taken.ends
            && let Some(entry) = self.entries.get_mut(end)
        {
            entry.next = None;
        }
        queue.ends = next.map(|next| (next, last));
        queue.len -= taken.len;
        taken
    }

    /// The legs from one on, in the order of its queue.
    pub(super) fn iter(&self, first: Option<Key>) -> impl Iterator<Item = Leg> {
        let first = first.and_then(|key| self.entries.get(key));
        core::iter::successors(first, |entry| {
            entry.next.and_then(|key| self.entries.get(key))
        })
        .map(|entry| entry.leg)
    }

    /// The first `n` legs of a queue were written with a frame of this number:
    /// they go to the end of another.
    pub(super) fn begin(
        &mut self,
        (from, to): (&mut Queue, &mut Queue),
        n: u32,
        (sequence, now): (u32, Instant),
    ) {
        let begun = self.take_front(from, |entry, taken| {
            let begins = taken < n;
            if begins {
                (entry.sequence, entry.begun_at) = (sequence, now);
            }
            begins
        });
        append(&mut self.entries, to, begun);
    }

    /// The legs of the queue's frames up to `sequence` were passed on.
    pub(super) fn confirm(&mut self, queue: &mut Queue, sequence: u32) {
        let done = self.take_front(queue, |entry, _| entry.sequence <= sequence);
        append(&mut self.entries, &mut self.served, done);
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
