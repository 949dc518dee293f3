//! Places in the order of their last use.

use core::fmt;

use super::list::List;

/// A list of places from the newest to the oldest use, each in it at most
/// once. Everything is O(1).
///
/// The links take 8 bytes for every place up to the highest one that was ever
/// in it, in chunks of 256; a list that has been as long as it gets allocates
/// nothing.
///
/// ```
/// use tautline_core::collections::Lru;
///
/// let mut lru = Lru::new(100);
/// for place in [1, 2, 3] {
///     assert!(lru.push_front(place));
/// }
/// lru.touch(1);
/// assert_eq!(lru.pop_oldest(), Some(2));
/// assert_eq!(lru.oldest(), Some(3));
/// ```
pub struct Lru(List);

impl Lru {
    /// An empty list of places below `places_max`. It allocates nothing.
    pub const fn new(places_max: u32) -> Self {
        Self(List::new(places_max))
    }

    /// Puts a place in as the newest. False if it is in the list already,
    /// where it stays, or is no place below `places_max`.
    pub fn push_front(&mut self, place: u32) -> bool {
        self.0.push_front(place)
    }

    /// Makes a place of the list the newest. False if it is not there.
    pub fn touch(&mut self, place: u32) -> bool {
        if self.0.front() == Some(place) {
            return true;
        }
        self.0.remove(place) && self.0.push_front(place)
    }

    /// The place that was used last; it stays.
    pub fn newest(&self) -> Option<u32> {
        self.0.front()
    }

    /// The place whose use is longest ago; it stays.
    pub fn oldest(&self) -> Option<u32> {
        self.0.back()
    }

    /// The place that was used next after `place`: from
    /// [`oldest`](Self::oldest) on this walks the list.
    pub fn newer(&self, place: u32) -> Option<u32> {
        self.0.before(place)
    }

    /// Takes the place out whose use is longest ago.
    pub fn pop_oldest(&mut self) -> Option<u32> {
        let place = self.0.back()?;
        self.0.remove(place);
        Some(place)
    }

    /// Takes a place out, wherever it stands. False if it was not there.
    pub fn remove(&mut self, place: u32) -> bool {
        self.0.remove(place)
    }

    /// Whether the place is in the list.
    pub fn contains(&self, place: u32) -> bool {
        self.0.contains(place)
    }

    /// How many places are in the list.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the list is empty.
    pub const fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

impl fmt::Debug for Lru {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lru")
            .field("len", &self.len())
            .field("places_max", &self.0.places_max())
            .finish_non_exhaustive()
    }
}
