//! The groups against lists.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Script;
use crate::Key;
use crate::collections::{Full, Groups};

/// See [`collections::model`](super).
pub fn check_model(data: &[u8]) {
    let mut script = Script(data);
    let _ = run(&mut script);
}

fn run(script: &mut Script<'_>) -> Option<()> {
    let (groups_max, places_max) = (script.byte()? % 12, script.short()? % 600);
    let mut pair = Pair {
        groups: Groups::new([3; 16], groups_max.into(), places_max.into()),
        model: BTreeMap::new(),
        ended: Vec::new(),
        groups_max: groups_max.into(),
        places_max: places_max.into(),
    };
    while let Some(op) = script.byte() {
        let place = u32::from(script.short()? % 620);
        match op % 4 {
            0 | 1 => pair.join(script.byte()? % 16, place),
            2 => pair.leave(place),
            // Stretches fill groups and empty them again.
            _ => {
                let (name, count) = (script.byte()? % 16, u32::from(script.byte()?));
                for place in place..place + count {
                    match name {
                        0..12 => pair.join(name, place),
                        _ => pair.leave(place),
                    }
                }
            }
        }
        pair.check();
    }
    Some(())
}

/// Groups and their model.
struct Pair {
    groups: Groups<u8>,
    /// Key and members by name, the newest member last.
    model: BTreeMap<u8, (Key, Vec<u32>)>,
    ended: Vec<Key>,
    groups_max: usize,
    places_max: u32,
}

impl Pair {
    fn group_of(&self, place: u32) -> Option<u8> {
        let is_in = |(_, (_, members)): &(&u8, &(Key, Vec<u32>))| members.contains(&place);
        self.model.iter().find(is_in).map(|(name, _)| *name)
    }

    fn join(&mut self, name: u8, place: u32) {
        let before = self.group_of(place);
        let known = self.model.get(&name).map(|(key, _)| *key);
        // A group that ends makes room for the new one.
        let ends = before.is_some_and(|before| before != name && self.model[&before].1.len() == 1);
        let room = known.is_some() || self.model.len() - usize::from(ends) < self.groups_max;
        let joined = self.groups.join(name, place);
        if place >= self.places_max || !room {
            assert_eq!(joined, Err(Full(())));
            return;
        }
        let key = joined.unwrap();
        assert!(known.is_none_or(|known| known == key));
        assert!(
            known.is_some() || !self.ended.contains(&key),
            "a key came twice"
        );
        if before != Some(name) {
            self.take_out(place);
            let group = self.model.entry(name).or_insert((key, Vec::new()));
            group.1.push(place);
        }
    }

    fn leave(&mut self, place: u32) {
        assert_eq!(self.groups.leave(place), self.group_of(place).is_some());
        self.take_out(place);
    }

    fn take_out(&mut self, place: u32) {
        let Some(name) = self.group_of(place) else {
            return;
        };
        let (key, members) = self.model.get_mut(&name).unwrap();
        members.retain(|member| *member != place);
        if members.is_empty() {
            self.ended.push(*key);
            self.model.remove(&name);
        }
    }

    fn check(&self) {
        assert_eq!(self.groups.groups_len(), self.model.len());
        let len: usize = self.model.values().map(|(_, members)| members.len()).sum();
        assert_eq!(self.groups.len(), len);
        assert_eq!(self.groups.is_empty(), len == 0);
        for name in 0..16 {
            let key = self.model.get(&name).map(|(key, _)| *key);
            assert_eq!(self.groups.find(name), key);
        }
        for (name, (key, members)) in &self.model {
            assert_eq!(self.groups.name(*key), Some(*name));
            assert_eq!(self.groups.len_of(*key), members.len());
            let members = members.iter().rev().copied();
            assert!(self.groups.members(*key).eq(members));
        }
        for key in self.ended.iter().rev().take(8) {
            assert_eq!(self.groups.name(*key), None);
            assert_eq!(
                (self.groups.len_of(*key), self.groups.first(*key)),
                (0, None)
            );
        }
        for place in [0, 1, 17, self.places_max, u32::MAX] {
            let group = self.groups.group_of(place);
            let name = group.and_then(|group| self.groups.name(group));
            assert_eq!(name, self.group_of(place));
        }
        let mut keys: Vec<_> = self.model.values().map(|(key, _)| *key).collect();
        keys.sort();
        let walk = core::iter::successors(self.groups.next_from(0), |key| {
            self.groups.next_from(key.index() + 1)
        });
        assert!(walk.eq(keys), "the walk goes by places");
    }
}
