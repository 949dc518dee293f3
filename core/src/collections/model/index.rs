//! The hash index against a sorted map.

use alloc::collections::BTreeMap;

use super::Script;
use crate::collections::{Index, KeyHash};

/// Keys and places come from a small range, so that they meet again.
const KEYS: u16 = 600;
const PLACES: u16 = 400;

/// See [`collections::model`](super).
pub fn check_model(data: &[u8]) {
    let mut script = Script(data);
    let _ = run(&mut script);
}

fn run(script: &mut Script<'_>) -> Option<()> {
    let mut seed = [0; 16];
    seed[0] = script.byte()?;
    let collide = script.byte()?.is_multiple_of(2);
    let mut pair = Pair {
        index: Index::new(seed, u32::from(PLACES)),
        model: BTreeMap::new(),
        keys: BTreeMap::new(),
        collide,
    };
    while let Some(op) = script.byte() {
        let key = script.short()? % KEYS;
        match op % 4 {
            0 | 1 => pair.insert(key, script.short()? % (PLACES + 4)),
            2 => pair.find(key),
            _ => pair.remove(script.short()? % (PLACES + 4)),
        }
        assert_eq!(pair.index.len(), pair.model.len());
        assert_eq!(pair.index.is_empty(), pair.model.is_empty());
    }
    (0..KEYS).for_each(|key| pair.find(key));
    Some(())
}

struct Pair {
    index: Index,
    /// Places by key.
    model: BTreeMap<u16, u32>,
    /// The table beside the index: keys by place.
    keys: BTreeMap<u32, u16>,
    /// Few hashes for many keys.
    collide: bool,
}

impl Pair {
    fn hash(&self, key: u16) -> KeyHash {
        if self.collide {
            self.index.hash_of(&(key % 7))
        } else {
            self.index.hash(&key.to_be_bytes())
        }
    }

    fn insert(&mut self, key: u16, place: u16) {
        let place = u32::from(place);
        if self.model.contains_key(&key) {
            return self.find(key);
        }
        let inserted = self.index.insert(self.hash(key), place);
        assert_eq!(inserted.is_ok(), place < u32::from(PLACES));
        if inserted.is_ok() {
            if let Some(before) = self.keys.insert(place, key) {
                self.model.remove(&before);
                self.find(before);
            }
            self.model.insert(key, place);
        }
        self.find(key);
    }

    fn find(&self, key: u16) {
        let found = self.index.find(self.hash(key), |place| {
            *self.keys.get(&place).expect("a place that was removed") == key
        });
        assert_eq!(found, self.model.get(&key).copied());
    }

    fn remove(&mut self, place: u16) {
        let place = u32::from(place);
        let key = self.keys.remove(&place);
        assert_eq!(self.index.contains(place), key.is_some());
        assert_eq!(self.index.remove(place), key.is_some());
        assert!(!self.index.contains(place));
        if let Some(key) = key {
            assert_eq!(self.model.remove(&key), Some(place));
            self.find(key);
        }
    }
}
