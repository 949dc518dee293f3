//! A doubly linked list of places.

use super::chunk::Chunks;
use super::{NONE, OUTSIDE, places_below};

/// A list that holds each place at most once; everything is O(1).
///
/// It has two links of 4 bytes for every place up to the highest one that was
/// in it.
pub(super) struct List {
    links: Chunks<Link>,
    front: u32,
    back: u32,
    len: u32,
}

#[derive(Clone, Copy)]
struct Link {
    /// The place before, or [`OUTSIDE`] if this one is not in the list.
    prev: u32,
    next: u32,
}

const _: () = assert!(size_of::<Link>() == 8);

impl Link {
    const OUTSIDE: Self = Self {
        prev: OUTSIDE,
        next: NONE,
    };
}

impl List {
    pub(super) const fn new(places_max: u32) -> Self {
        Self {
            links: Chunks::new(places_below(places_max)),
            front: NONE,
            back: NONE,
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) const fn places_max(&self) -> u32 {
        self.links.len_max()
    }

    pub(super) fn contains(&self, place: u32) -> bool {
        self.links
            .get(place as usize)
            .is_some_and(|link| link.prev != OUTSIDE)
    }

    pub(super) fn front(&self) -> Option<u32> {
        some_place(self.front)
    }

    pub(super) fn back(&self) -> Option<u32> {
        some_place(self.back)
    }

    /// The place before `place`, if both are there.
    pub(super) fn before(&self, place: u32) -> Option<u32> {
        let link = self.links.get(place as usize)?;
        (link.prev != OUTSIDE).then_some(some_place(link.prev)?)
    }

    /// False if the place is there, or above the limit.
    pub(super) fn push_back(&mut self, place: u32) -> bool {
        let back = self.back;
        let link = Link {
            prev: back,
            next: NONE,
        };
        if !self.enter(place, link) {
            return false;
        }
        match some_place(back) {
            Some(back) => self.links[back].next = place,
            None => self.front = place,
        }
        self.back = place;
        true
    }

    /// False if the place is there, or above the limit.
    pub(super) fn push_front(&mut self, place: u32) -> bool {
        let front = self.front;
        let link = Link {
            prev: NONE,
            next: front,
        };
        if !self.enter(place, link) {
            return false;
        }
        match some_place(front) {
            Some(front) => self.links[front].prev = place,
            None => self.back = place,
        }
        self.front = place;
        true
    }

    /// False if the place was not there.
    pub(super) fn remove(&mut self, place: u32) -> bool {
        if !self.contains(place) {
            return false;
        }
        let Link { prev, next } = core::mem::replace(&mut self.links[place], Link::OUTSIDE);
        match some_place(prev) {
            Some(prev) => self.links[prev].next = next,
            None => self.front = next,
        }
        match some_place(next) {
            Some(next) => self.links[next].prev = prev,
            None => self.back = prev,
        }
        self.len -= 1;
        true
    }

    fn enter(&mut self, place: u32, link: Link) -> bool {
        match self.links.get_or_grow(place, Link::OUTSIDE) {
            Some(own) if own.prev == OUTSIDE => *own = link,
            _ => return false,
        }
        self.len += 1;
        true
    }
}

fn some_place(place: u32) -> Option<u32> {
    (place != NONE).then_some(place)
}
