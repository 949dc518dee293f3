//! What has something to do, each once, in the order it came.

use core::fmt;

use super::list::List;

/// A first-in, first-out list of places, each in it at most once. Everything
/// is O(1).
///
/// The links take 8 bytes for every place up to the highest one that was ever
/// in it, in chunks of 256; a list that has been as long as it gets allocates
/// nothing.
///
/// ```
/// use tautline_core::collections::ReadyList;
///
/// let mut ready = ReadyList::new(100);
/// assert!(ready.push(7));
/// assert!(ready.push(3));
/// assert!(!ready.push(7), "it is there already");
/// assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(7), Some(3), None]);
/// ```
pub struct ReadyList(List);

impl ReadyList {
    /// An empty list of places below `places_max`. It allocates nothing.
    pub const fn new(places_max: u32) -> Self {
        Self(List::new(places_max))
    }

    /// Puts the place at the end. False if it is in the list already, where it
    /// stays, or is no place below `places_max`.
    pub fn push(&mut self, place: u32) -> bool {
        self.0.push_back(place)
    }

    /// Takes the place that has waited longest.
    pub fn pop(&mut self) -> Option<u32> {
        let place = self.0.front()?;
        self.0.remove(place);
        Some(place)
    }

    /// The place that has waited longest; it stays.
    pub fn peek(&self) -> Option<u32> {
        self.0.front()
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

impl fmt::Debug for ReadyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyList")
            .field("len", &self.len())
            .field("places_max", &self.0.places_max())
            .finish_non_exhaustive()
    }
}
