//! Places in groups that are found by name.

use core::fmt;
use core::hash::Hash;

use super::chunk::Chunks;
use super::{Full, Index, NONE, OUTSIDE, Slab, places_below};
use crate::Key;

/// Groups of places, found by a name: each place is in one group at most, and
/// a group is there as long as it has a member. Everything is O(1).
///
/// A group has a [`Key`]; that of a group which ended finds nothing, also
/// after another one has its place.
///
/// The links take 12 bytes for every place up to the highest one that was ever
/// in a group, a group takes its name and 32 bytes, in chunks of 256 up to the
/// two limits. What has been as full as it gets allocates nothing.
///
/// ```
/// use tautline_core::collections::Groups;
///
/// let mut groups = Groups::new([7; 16], 10, 100);
/// let red = groups.join("red", 1)?;
/// groups.join("red", 2)?;
/// groups.join("blue", 3)?;
/// assert_eq!(groups.members(red).collect::<Vec<_>>(), [2, 1]);
///
/// groups.join("blue", 1)?;
/// assert_eq!(groups.len_of(red), 1);
/// groups.leave(2);
/// assert_eq!(groups.find("red"), None);
/// # Ok::<(), tautline_core::collections::Full>(())
/// ```
pub struct Groups<N> {
    groups: Slab<Group<N>>,
    index: Index,
    /// By place.
    links: Chunks<Link>,
    len: u32,
}

struct Group<N> {
    name: N,
    first: u32,
    len: u32,
    /// The member that a walk comes to next.
    walked: u32,
}

#[derive(Clone, Copy)]
struct Link {
    /// The place of the group, or [`OUTSIDE`].
    group: u32,
    before: u32,
    next: u32,
}

const _: () = assert!(size_of::<Link>() == 12);

impl Link {
    const OUTSIDE: Self = Self {
        group: OUTSIDE,
        before: NONE,
        next: NONE,
    };
}

impl<N: Copy + Eq + Hash> Groups<N> {
    /// At most `groups_max` groups of places below `places_max`. It allocates
    /// nothing.
    ///
    /// The seed is drawn at random and kept to the process.
    pub fn new(seed: [u8; 16], groups_max: u32, places_max: u32) -> Self {
        let groups_max = places_below(groups_max);
        Self {
            groups: Slab::new(groups_max),
            index: Index::new(seed, groups_max),
            links: Chunks::new(places_below(places_max)),
            len: 0,
        }
    }

    /// Puts a place into the group of this name, as its first member, and out
    /// of the one that it was in. One that is there already stays where it is.
    ///
    /// # Errors
    /// [`Full`] if there is no room for another group, or it is no place below
    /// `places_max`; nothing is changed then.
    pub fn join(&mut self, name: N, place: u32) -> Result<Key, Full> {
        let before = self.group_of(place);
        if let Some(group) = self.find(name) {
            if before != Some(group) {
                self.enter(group, place)?;
            }
            return Ok(group);
        }
        let leaves_room = before.is_some_and(|group| self.len_of(group) == 1);
        if place >= self.links.len_max() || self.groups.is_full() && !leaves_room {
            return Err(Full(()));
        }
        self.leave(place);
        let group = Group {
            name,
            first: NONE,
            len: 0,
            walked: NONE,
        };
        let group = self.groups.insert(group).map_err(|_| Full(()))?;
        let hash = self.index.hash_of(&name);
        self.index.insert(hash, group.index() as u32)?;
        self.enter(group, place)?;
        Ok(group)
    }

    /// Takes a place out of its group. False if it was in none.
    pub fn leave(&mut self, place: u32) -> bool {
        let Some(group) = self.group_of(place) else {
            return false;
        };
        let Link { before, next, .. } = core::mem::replace(&mut self.links[place], Link::OUTSIDE);
        if next != NONE {
            self.links[next].before = before;
        }
        if before != NONE {
            self.links[before].next = next;
        }
        self.len -= 1;
        let Some(entry) = self.groups.get_mut(group) else {
            return true;
        };
        entry.len -= 1;
        if before == NONE {
            entry.first = next;
        }
        if entry.walked == place {
            entry.walked = next;
        }
        if entry.len == 0 {
            self.index.remove(group.index() as u32);
            self.groups.remove(group);
        }
        true
    }

    /// The group of this name.
    pub fn find(&self, name: N) -> Option<Key> {
        let hash = self.index.hash_of(&name);
        let place = self.index.find(hash, |place| {
            let group = self.groups.key_at(place as usize);
            group.and_then(|group| self.name(group)) == Some(name)
        })?;
        self.groups.key_at(place as usize)
    }

    /// The group that a place is in.
    pub fn group_of(&self, place: u32) -> Option<Key> {
        let link = self.links.get(place as usize)?;
        self.groups.key_at(link.group as usize)
    }

    /// The name of a group, `None` if it ended.
    pub fn name(&self, group: Key) -> Option<N> {
        self.groups.get(group).map(|group| group.name)
    }

    /// How many members a group has: 0 if it ended.
    pub fn len_of(&self, group: Key) -> usize {
        self.groups.get(group).map_or(0, |group| group.len as usize)
    }

    /// The first member of a group: the one that joined last.
    pub fn first(&self, group: Key) -> Option<u32> {
        self.groups.get(group).map(|group| group.first)
    }

    /// The member of the same group behind this one. `None` at the end, and
    /// for a place that is in no group: a walk whose place left is over.
    pub fn next(&self, place: u32) -> Option<u32> {
        let next = self.links.get(place as usize)?.next;
        (next != NONE).then_some(next)
    }

    /// The members of a group, the one that joined last first.
    pub fn members(&self, group: Key) -> impl Iterator<Item = u32> {
        core::iter::successors(self.first(group), |place| self.next(*place))
    }

    /// Begins a walk over the members of a group, one for each group at a time.
    /// It comes to every member that is there now and stays, once; one that
    /// leaves meanwhile does not disturb it, one that joins is passed over.
    pub fn begin_walk(&mut self, group: Key) {
        if let Some(group) = self.groups.get_mut(group) {
            group.walked = group.first;
        }
    }

    /// The member that the walk came to; `None` at its end.
    pub fn walked(&self, group: Key) -> Option<u32> {
        let place = self.groups.get(group)?.walked;
        (place != NONE).then_some(place)
    }

    /// The walk goes on to the next member.
    pub fn pass(&mut self, group: Key) {
        if let Some(place) = self.walked(group) {
            let next = self.links[place].next;
            if let Some(group) = self.groups.get_mut(group) {
                group.walked = next;
            }
        }
    }

    /// The first group at or behind a place of the table of groups, to page
    /// through all of them.
    pub fn next_from(&self, index: usize) -> Option<Key> {
        self.groups.next_from(index)
    }

    /// How many groups there are.
    pub const fn groups_len(&self) -> usize {
        self.groups.len()
    }

    /// How many places are in a group.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no place is in a group.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a place that is no member in front of a group.
    fn enter(&mut self, group: Key, place: u32) -> Result<(), Full> {
        if place >= self.links.len_max() {
            return Err(Full(()));
        }
        self.leave(place);
        let entry = self.groups.get_mut(group).ok_or(Full(()))?;
        let next = core::mem::replace(&mut entry.first, place);
        entry.len += 1;
        if next != NONE {
            self.links[next].before = place;
        }
        if let Some(link) = self.links.get_or_grow(place, Link::OUTSIDE) {
            *link = Link {
                group: group.index() as u32,
                before: NONE,
                next,
            };
        }
        self.len += 1;
        Ok(())
    }
}

impl<N> fmt::Debug for Groups<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups")
            .field("groups_len", &self.groups.len())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
