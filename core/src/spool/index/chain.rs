//! Lists through the entries of a table: what belongs to one segment.

use crate::collections::Slab;

/// No place.
pub(super) const NONE: u32 = u32::MAX;

/// The neighbours of an entry in its list.
#[derive(Clone, Copy)]
pub(super) struct Beside {
    pub(super) before: u32,
    pub(super) behind: u32,
}

impl Beside {
    pub(super) const NONE: Self = Self {
        before: NONE,
        behind: NONE,
    };
}

pub(super) trait Chained {
    fn beside(&mut self) -> &mut Beside;
}

pub(super) fn entry<T>(table: &Slab<T>, place: u32) -> Option<&T> {
    table.get(table.key_at(place as usize)?)
}

pub(super) fn entry_mut<T>(table: &mut Slab<T>, place: u32) -> Option<&mut T> {
    table.get_mut(table.key_at(place as usize)?)
}

/// Puts an entry that is in no list in front of one.
pub(super) fn link<T: Chained>(table: &mut Slab<T>, first: &mut u32, place: u32) {
    let behind = core::mem::replace(first, place);
    if let Some(entry) = entry_mut(table, place) {
        entry.beside().behind = behind;
    }
    if let Some(entry) = entry_mut(table, behind) {
        entry.beside().before = place;
    }
}

/// Takes an entry out of its list.
pub(super) fn unlink<T: Chained>(table: &mut Slab<T>, first: &mut u32, place: u32) {
    let taken = entry_mut(table, place);
    let Some(Beside { before, behind }) =
        taken.map(|entry| core::mem::replace(entry.beside(), Beside::NONE))
    else {
        return;
    };
    match entry_mut(table, before) {
        Some(entry) => entry.beside().behind = behind,
        None => *first = behind,
    }
    if let Some(entry) = entry_mut(table, behind) {
        entry.beside().before = before;
    }
}
