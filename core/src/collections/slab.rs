//! Entries behind keys that never find another entry.

use core::fmt;

use super::bits::Bits;
use super::chunk::Chunks;
use super::{Full, NONE};
use crate::Key;

/// A table whose entries are found by a [`Key`]: a place and a generation.
///
/// A key of an entry that was removed finds nothing, also after the place was
/// taken again. The last place that became free is taken first.
///
/// It grows by chunks of 256 entries up to `entries_max` and moves no entry.
/// An entry takes the value's own size and 8 bytes (4 where the value's type
/// has a niche), and a bit.
///
/// A place that was taken 2^32 times is not used again, so that its
/// generations never repeat; [`capacity_max`](Self::capacity_max) is then one
/// less.
///
/// ```
/// use tautline_core::collections::Slab;
///
/// let mut slab = Slab::new(1);
/// let first = slab.insert("first")?;
/// assert!(slab.insert("no room").is_err());
/// assert_eq!(slab.remove(first), Some("first"));
/// let second = slab.insert("second")?;
/// assert_eq!(first.index(), second.index());
/// assert_eq!(slab.get(first), None);
/// assert_eq!(slab.get(second), Some(&"second"));
/// # Ok::<(), tautline_core::collections::Full<&str>>(())
/// ```
pub struct Slab<T> {
    entries: Chunks<Entry<T>>,
    live: Bits,
    free: u32,
    len: u32,
    retired: u32,
}

struct Entry<T> {
    generation: u32,
    content: Content<T>,
}

enum Content<T> {
    Live(T),
    /// The place that becomes free after this one is taken.
    Vacant(u32),
}

const _: () = assert!(size_of::<Entry<u32>>() == 12);
const _: () = assert!(size_of::<Entry<&u8>>() == 24);

impl<T> Slab<T> {
    /// An empty table for at most `entries_max` entries. It allocates nothing.
    pub const fn new(entries_max: u32) -> Self {
        Self {
            entries: Chunks::new(entries_max),
            live: Bits::new(),
            free: NONE,
            len: 0,
            retired: 0,
        }
    }

    /// Takes a place for `value`.
    ///
    /// # Errors
    /// [`Full`] with the value when there are
    /// [`capacity_max`](Self::capacity_max) entries.
    pub fn insert(&mut self, value: T) -> Result<Key, Full<T>> {
        let Some(key) = self.next_key() else {
            return Err(Full(value));
        };
        self.fill(key, value);
        Ok(key)
    }

    /// Takes a place for a value that knows its own key.
    ///
    /// # Errors
    /// [`Full`] when there are [`capacity_max`](Self::capacity_max) entries;
    /// the value is not made then.
    pub fn insert_with(&mut self, value: impl FnOnce(Key) -> T) -> Result<Key, Full> {
        let key = self.next_key().ok_or(Full(()))?;
        self.fill(key, value(key));
        Ok(key)
    }

    /// The entry, `None` if it was removed.
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.entries.get(key.index())? {
            Entry {
                generation,
                content: Content::Live(value),
            } if *generation == key.generation() => Some(value),
            _ => None,
        }
    }

    /// The entry, `None` if it was removed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.entries.get_mut(key.index())? {
            Entry {
                generation,
                content: Content::Live(value),
            } if *generation == key.generation() => Some(value),
            _ => None,
        }
    }

    /// Removes the entry, `None` if that was done before.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let free = self.free;
        let entry = self.entries.get_mut(key.index())?;
        if entry.generation != key.generation() || !matches!(entry.content, Content::Live(_)) {
            return None;
        }
        let content = core::mem::replace(&mut entry.content, Content::Vacant(free));
        match entry.generation.checked_add(1) {
            Some(generation) => {
                entry.generation = generation;
                self.free = key.index() as u32;
            }
            None => self.retired += 1,
        }
        self.live.remove(key.index());
        self.len -= 1;
        match content {
            Content::Live(value) => Some(value),
            Content::Vacant(_) => None,
        }
    }

    /// Whether the entry is there.
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no entry.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the next insertion fails.
    pub const fn is_full(&self) -> bool {
        self.len() == self.capacity_max()
    }

    /// How many entries there can be: `entries_max`, less the places whose
    /// generations are used up.
    pub const fn capacity_max(&self) -> usize {
        (self.entries.len_max() - self.retired) as usize
    }

    /// The key of the live entry at a place.
    pub fn key_at(&self, index: usize) -> Option<Key> {
        match self.entries.get(index)? {
            Entry {
                generation,
                content: Content::Live(_),
            } => Some(Key::new(index as u32, *generation)),
            _ => None,
        }
    }

    /// The first live entry at or after a place: the cursor of a walk that
    /// goes on while entries come and go. Empty places are skipped 4,096 at a
    /// time.
    ///
    /// ```
    /// # use tautline_core::collections::Slab;
    /// let mut slab = Slab::new(10);
    /// let keys = [slab.insert('a')?, slab.insert('b')?, slab.insert('c')?];
    /// let mut cursor = 0;
    /// let mut seen = String::new();
    /// while let Some(key) = slab.next_from(cursor) {
    ///     cursor = key.index() + 1;
    ///     seen.extend(slab.get(key));
    ///     slab.remove(keys[1]);
    /// }
    /// assert_eq!(seen, "ac");
    /// # Ok::<(), tautline_core::collections::Full<char>>(())
    /// ```
    pub fn next_from(&self, index: usize) -> Option<Key> {
        self.key_at(self.live.next_from(index)?)
    }

    /// The entries in the order of their places.
    pub const fn iter(&self) -> Iter<'_, T> {
        Iter {
            slab: self,
            cursor: 0,
        }
    }

    /// The key that the next insertion gets.
    fn next_key(&self) -> Option<Key> {
        if self.free != NONE {
            let entry = self.entries.get(self.free as usize)?;
            return Some(Key::new(self.free, entry.generation));
        }
        let fresh = self.entries.len();
        (fresh < self.entries.len_max()).then_some(Key::new(fresh, 0))
    }

    /// Puts the value where [`next_key`](Self::next_key) said.
    fn fill(&mut self, key: Key, value: T) {
        if let Some(entry) = self.entries.get_mut(key.index()) {
            if let Content::Vacant(next) = entry.content {
                self.free = next;
            }
            entry.content = Content::Live(value);
        } else {
            let fresh = self.entries.push(Entry {
                generation: 0,
                content: Content::Live(value),
            });
            debug_assert!(fresh.is_ok_and(|index| index as usize == key.index()));
        }
        self.live.insert(key.index());
        self.len += 1;
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab")
            .field("len", &self.len)
            .field("capacity_max", &self.capacity_max())
            .finish_non_exhaustive()
    }
}

impl<'a, T> IntoIterator for &'a Slab<T> {
    type Item = (Key, &'a T);
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// The entries of a [`Slab`] in the order of their places.
#[derive(Debug)]
pub struct Iter<'a, T> {
    slab: &'a Slab<T>,
    cursor: usize,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (Key, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.slab.next_from(self.cursor)?;
        self.cursor = key.index() + 1;
        Some((key, self.slab.get(key)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;

    #[test]
    fn a_place_with_no_generations_left_is_retired() {
        let mut slab = Slab::new(2);
        let key = slab.insert('a').unwrap();
        slab.remove(key);
        slab.entries[0].generation = u32::MAX;
        let last = slab.insert('b').unwrap();
        assert_eq!(last, Key::new(0, u32::MAX));
        assert_eq!(slab.remove(last), Some('b'));
        assert_eq!(slab.capacity_max(), 1);
        assert_eq!(slab.get(last), None);
        assert_eq!(slab.remove(last), None);
        assert_eq!(slab.get(key), None);
        let other = slab.insert('c').unwrap();
        assert_eq!(other.index(), 1);
        assert!(slab.is_full());
        assert_eq!(slab.insert('d'), Err(Full('d')));
        assert_eq!(slab.next_from(0), Some(other));
    }

    #[test]
    fn the_last_free_place_is_taken_first() {
        let mut slab = Slab::new(10);
        let keys = [0, 1, 2].map(|n| slab.insert(n).unwrap());
        slab.remove(keys[0]);
        slab.remove(keys[2]);
        assert_eq!(slab.insert(3).map(Key::index), Ok(2));
        assert_eq!(slab.insert(4).map(Key::index), Ok(0));
        assert_eq!(slab.insert(5).map(Key::index), Ok(3));
        assert_eq!(slab.entries.len(), 4);
    }

    #[test]
    fn values_are_dropped_once() {
        let value = Rc::new(());
        let mut slab = Slab::new(2);
        let key = slab.insert(Rc::clone(&value)).unwrap();
        slab.insert(Rc::clone(&value)).unwrap();
        assert!(slab.insert(Rc::clone(&value)).is_err());
        assert_eq!(Rc::strong_count(&value), 3);
        slab.remove(key);
        assert_eq!(Rc::strong_count(&value), 2);
        drop(slab);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    #[test]
    fn a_place_beyond_the_table_finds_nothing() {
        let mut slab = Slab::new(2);
        slab.insert('a').unwrap();
        for index in [1, 2, u32::MAX] {
            assert_eq!(slab.get(Key::new(index, 0)), None);
            assert_eq!(slab.remove(Key::new(index, 0)), None);
            assert_eq!(slab.next_from(index as usize), None);
        }
    }
}
