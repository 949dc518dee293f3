//! What one file holds, and what a crash leaves of it.

use std::collections::BTreeMap;

use crate::Dice;
use crate::world::fault::Fault;

/// What a disk writes as a whole, or not at all.
pub const SECTOR_BYTES: usize = 512;

/// The bytes of a file, those that are durable, and what lies between.
///
/// A crash leaves each sector as it was at the last sync or after any of the
/// writes since, whatever became of the others; and the file ends anywhere
/// between its end at the last sync and its end now.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
    /// A sync failed: the system forgot which bytes were not written.
    poisoned: bool,
    pub(super) access: Access,
}

/// Who may do what with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Access {
    #[default]
    Free,
    /// Its owner may not read it either.
    Forbidden,
    /// It is a folder.
    Folder,
}

#[derive(Clone, Debug)]
struct Write {
    start: usize,
    bytes: Vec<u8>,
}

impl Write {
    /// Its parts by the sectors that they are in.
    fn pieces(&self) -> impl Iterator<Item = (usize, usize, &[u8])> {
        let end = self.start + self.bytes.len();
        let sectors = self.start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
        sectors.map(move |sector| {
            let from = self.start.max(sector * SECTOR_BYTES);
            let to = end.min((sector + 1) * SECTOR_BYTES);
            (
                sector,
                from,
                &self.bytes[from - self.start..to - self.start],
            )
        })
    }
}

impl Inode {
    /// A file that is durable.
    pub(super) fn of(content: Vec<u8>) -> Self {
        Self {
            durable: content.clone(),
            content,
            ..Self::default()
        }
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    pub(super) fn write(&mut self, start: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        put(&mut self.content, start, bytes);
        let bytes = bytes.to_vec();
        self.unsynced.push(Write { start, bytes });
    }

    /// After a sync that failed, no other one saves anything.
    pub(super) fn sync(&mut self) {
        if self.poisoned {
            return;
        }
        for Write { start, bytes } in self.unsynced.drain(..) {
            put(&mut self.durable, start, &bytes);
        }
    }

    pub(super) fn poison(&mut self) {
        self.poisoned = true;
    }

    pub(super) fn crash(&mut self, dice: &mut Dice, strike: &mut dyn FnMut(Fault) -> bool) {
        self.poisoned = false;
        if self.unsynced.is_empty() {
            return;
        }
        if strike(Fault::WriteLost) {
            self.content.clone_from(&self.durable);
        } else if strike(Fault::WriteTorn) {
            self.content = self.torn(dice);
        }
        self.durable.clone_from(&self.content);
        self.unsynced.clear();
    }

    fn torn(&self, dice: &mut Dice) -> Vec<u8> {
        let mut survivors = self.survivors(dice);
        let mut torn = self.durable.clone();
        for (sector, start, bytes) in self.unsynced.iter().flat_map(Write::pieces) {
            // The first ones of each sector: a later one is written with all
            // that the sector held by then.
            if let Some(left @ 1..) = survivors.get_mut(&sector) {
                *left -= 1;
                put(&mut torn, start, bytes);
            }
        }
        let grown = self.content.len() - self.durable.len();
        let length = match dice.below(3) {
            // The length reached the disk, whether the bytes did or not.
            0 => self.content.len(),
            // As far as there are bytes.
            1 => torn.len(),
            _ => self.durable.len() + dice.index(grown + 1),
        };
        torn.resize(length, 0);
        torn
    }

    /// How many of the writes to each sector reached the disk.
    fn survivors(&self, dice: &mut Dice) -> BTreeMap<usize, usize> {
        let sectors = || self.unsynced.iter().flat_map(Write::pieces);
        let mut survivors = BTreeMap::new();
        if dice.one_in(2) {
            // In their order, up to a moment.
            let kept = dice.index(sectors().count() + 1);
            for (sector, ..) in sectors().take(kept) {
                *survivors.entry(sector).or_insert(0) += 1;
            }
        } else {
            // Each sector by itself.
            for (sector, ..) in sectors() {
                *survivors.entry(sector).or_insert(0) += 1;
            }
            for count in survivors.values_mut() {
                *count = dice.index(*count + 1);
            }
        }
        survivors
    }
}

fn put(content: &mut Vec<u8>, start: usize, bytes: &[u8]) {
    let end = start + bytes.len();
    content.resize(content.len().max(end), 0);
    content[start..end].copy_from_slice(bytes);
}
