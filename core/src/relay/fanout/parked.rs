//! Members that a walk left behind, as their way was not free.

use super::Lane;
use crate::Key;
use crate::collections::Chunks;

/// No place.
const NONE: u32 = u32::MAX;

/// The first and the last place of a list of members.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) first: u32,
    last: u32,
}

impl Ends {
    pub(super) const NONE: Self = Self {
        first: NONE,
        last: NONE,
    };

    pub(super) const fn is_empty(self) -> bool {
        self.first == NONE
    }
}

/// A member that waits. It waits for tasks that stand behind each other in the
/// queue of its subnet: the first and the last of them say it all.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Of the client.
    generation: u32,
    pub(super) subnet: Key,
    pub(super) lane: Lane,
    /// How many tasks it waits for: no more than a subnet has.
    pub(super) tasks: u16,
    previous: u32,
    next: u32,
    /// Places of the first and the last task.
    pub(super) from: u32,
    pub(super) through: u32,
}

const _: () = assert!(size_of::<Entry>() == 32);

impl Entry {
    const NONE: Self = Self {
        generation: NONE,
        subnet: Key::new(NONE, NONE),
        lane: Lane::Ready,
        tasks: 0,
        previous: NONE,
        next: NONE,
        from: NONE,
        through: NONE,
    };
}

/// Entries by the places of clients, in lists whose ends the queues keep. What
/// is O(1) stays so: a queue that ends forgets its lists, and an entry of a
/// queue that is gone counts as none.
pub(super) struct Parked {
    entries: Chunks<Entry>,
}

impl Parked {
    pub(super) const fn new(clients_max: u32) -> Self {
        Self {
            entries: Chunks::new(clients_max),
        }
    }

    /// The entry at the place of a client, whichever client it was made for.
    pub(super) fn at(&self, place: u32) -> Option<&Entry> {
        let entry = self.entries.get(place as usize);
        entry.filter(|entry| entry.generation != NONE)
    }

    /// The entry of a client.
    pub(super) fn get_mut(&mut self, client: Key) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(client.index());
        entry.filter(|entry| entry.generation == client.generation())
    }

    /// The client at the front of a list.
    pub(super) fn front(&self, ends: Ends) -> Option<(Key, &Entry)> {
        let entry = self.at(ends.first)?;
        Some((Key::new(ends.first, entry.generation), entry))
    }

    /// Puts a client that is in no list at the end of one. False if its place
    /// is beyond the limit.
    pub(super) fn push(
        &mut self,
        ends: &mut Ends,
        client: Key,
        (subnet, lane): (Key, Lane),
        (from, through, tasks): (u32, u32, u16),
    ) -> bool {
        let place = client.index() as u32;
        let Some(entry) = self.entries.get_or_grow(place, Entry::NONE) else {
            return false;
        };
        *entry = Entry {
            generation: client.generation(),
            subnet,
            lane,
            tasks,
            previous: ends.last,
            next: NONE,
            from,
            through,
        };
        match ends.last {
            NONE => ends.first = place,
            last => self.entries[last].next = place,
        }
        ends.last = place;
        true
    }

    /// The list that the client at a place was in is gone.
    pub(super) fn forget(&mut self, place: u32) {
        if let Some(entry) = self.entries.get_mut(place as usize) {
            *entry = Entry::NONE;
        }
    }

    /// Takes the client at a place out of its list.
    pub(super) fn remove(&mut self, ends: &mut Ends, place: u32) -> Option<Entry> {
        let entry = self.entries.get_mut(place as usize)?;
        let entry = core::mem::replace(entry, Entry::NONE);
        match entry.previous {
            NONE => ends.first = entry.next,
            previous => self.entries[previous].next = entry.next,
        }
        match entry.next {
            NONE => ends.last = entry.previous,
            next => self.entries[next].previous = entry.previous,
        }
        Some(entry)
    }
}
