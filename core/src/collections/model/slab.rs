//! The slab against a map.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Script;
use crate::Key;
use crate::collections::{Full, Slab};

/// See [`collections::model`](super).
pub fn check_model(data: &[u8]) {
    let mut script = Script(data);
    let _ = run(&mut script);
}

fn run(script: &mut Script<'_>) -> Option<()> {
    let entries_max = script.short()? % 700;
    let mut pair = Pair {
        slab: Slab::new(u32::from(entries_max)),
        model: BTreeMap::new(),
        keys: Vec::new(),
        entries_max: usize::from(entries_max),
    };
    while let Some(op) = script.byte() {
        match op % 8 {
            0 | 1 => pair.insert(),
            2 => {
                for _ in 0..script.byte()? {
                    pair.insert();
                }
            }
            3 => {
                // A stretch of neighbours leaves words of the bitmap empty.
                let from = script.short()? as usize % pair.keys.len().max(1);
                let count = script.byte()? as usize;
                let keys: Vec<Key> = pair.keys.iter().skip(from).take(count).copied().collect();
                keys.into_iter().for_each(|key| pair.remove(key));
            }
            4 => {
                if let Some(key) = script.choose(&pair.keys) {
                    pair.remove(key);
                }
            }
            5 => {
                if let Some(key) = script.choose(&pair.keys) {
                    pair.find(key);
                }
            }
            6 => pair.look(script.short()? as usize % 800),
            _ => pair.look_elsewhere(script.number(64)? as usize),
        }
        pair.check();
    }
    assert!(
        pair.slab
            .iter()
            .map(|(key, value)| (key, *value))
            .eq(pair.in_place_order())
    );
    Some(())
}

struct Pair {
    slab: Slab<u32>,
    /// Generation and value by place.
    model: BTreeMap<usize, (u32, u32)>,
    /// Every key there ever was.
    keys: Vec<Key>,
    entries_max: usize,
}

impl Pair {
    fn insert(&mut self) {
        let value = self.keys.len() as u32;
        let inserted = if value.is_multiple_of(2) {
            self.slab.insert(value)
        } else {
            let mut own = None;
            let inserted = self.slab.insert_with(|key| {
                own = Some(key);
                value
            });
            assert_eq!(inserted.ok(), own);
            inserted.map_err(|Full(())| Full(value))
        };
        match inserted {
            Ok(key) => {
                assert!(!self.keys.contains(&key), "a key came twice");
                assert!(key.index() < self.entries_max);
                let entry = (key.generation(), value);
                assert_eq!(self.model.insert(key.index(), entry), None);
                self.keys.push(key);
            }
            Err(Full(back)) => {
                assert_eq!(back, value);
                assert_eq!(self.model.len(), self.entries_max);
            }
        }
    }

    fn expected(&self, key: Key) -> Option<u32> {
        let (generation, value) = self.model.get(&key.index())?;
        (*generation == key.generation()).then_some(*value)
    }

    fn remove(&mut self, key: Key) {
        let expected = self.expected(key);
        assert_eq!(self.slab.remove(key), expected);
        if expected.is_some() {
            self.model.remove(&key.index());
        }
        assert!(!self.slab.contains(key));
    }

    fn find(&mut self, key: Key) {
        let expected = self.expected(key);
        assert_eq!(self.slab.get(key).copied(), expected);
        assert_eq!(self.slab.contains(key), expected.is_some());
        if let Some(value) = self.slab.get_mut(key) {
            *value ^= 1 << 31;
            self.model.get_mut(&key.index()).unwrap().1 ^= 1 << 31;
        }
    }

    fn look(&self, index: usize) {
        let key =
            |(place, (generation, _)): (&usize, &(u32, u32))| Key::new(*place as u32, *generation);
        let at = self.model.get_key_value(&index).map(key);
        assert_eq!(self.slab.key_at(index), at);
        assert_eq!(
            self.slab.next_from(index),
            self.model.range(index..).next().map(key)
        );
    }

    /// Places and keys that were never handed out.
    fn look_elsewhere(&mut self, index: usize) {
        self.look(index);
        let generation = (index >> 32) as u32;
        let forged = Key::new(index as u32, generation);
        if !self.keys.contains(&forged) {
            assert_eq!(self.slab.get(forged), None);
            assert_eq!(self.slab.remove(forged), None);
        }
    }

    fn check(&self) {
        assert_eq!(self.slab.len(), self.model.len());
        assert_eq!(self.slab.is_empty(), self.model.is_empty());
        assert_eq!(self.slab.is_full(), self.model.len() == self.entries_max);
        assert_eq!(self.slab.capacity_max(), self.entries_max);
    }

    fn in_place_order(&self) -> impl Iterator<Item = (Key, u32)> {
        self.model
            .iter()
            .map(|(place, (generation, value))| (Key::new(*place as u32, *generation), *value))
    }
}
