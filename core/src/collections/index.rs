//! From the name of an entry to its place.

use core::fmt;
use core::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use super::chunk::Chunks;
use super::{Full, NONE, OUTSIDE, places_below};

/// The hash of a key under the seed of one [`Index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u32);

/// A hash index over places of a table that stands beside it: the table holds
/// the keys, the index holds their hashes.
///
/// Keys are hashed by SipHash-1-3 under a secret seed, so that no peer can
/// choose keys that collide. The index grows by linear hashing: each insertion
/// splits one bucket at most, so there is never a moment at which everything
/// is hashed again, and no key is needed for it.
///
/// It takes 8 bytes for every place up to the highest one that was ever in
/// it, and 4 for every entry, in chunks of 256 up to `entries_max`. An index
/// that has been as full as it gets allocates nothing.
///
/// ```
/// use tautline_core::collections::Index;
///
/// let names = ["ada", "grace"];
/// let mut index = Index::new([7; 16], 100);
/// for (place, name) in names.iter().enumerate() {
///     index.insert(index.hash(name.as_bytes()), place as u32)?;
/// }
/// let find = |name: &str| {
///     index.find(index.hash(name.as_bytes()), |place| names[place as usize] == name)
/// };
/// assert_eq!(find("grace"), Some(1));
/// assert_eq!(find("joan"), None);
/// # Ok::<(), tautline_core::collections::Full>(())
/// ```
pub struct Index {
    hasher: SipHasher13,
    /// By place.
    entries: Chunks<Entry>,
    /// The first place of every bucket's chain.
    buckets: Chunks<u32>,
    len: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: KeyHash,
    /// The next place of the chain, or [`OUTSIDE`] if the place is in none.
    next: u32,
}

const _: () = assert!(size_of::<Entry>() == 8);

impl Entry {
    const OUTSIDE: Self = Self {
        hash: KeyHash(0),
        next: OUTSIDE,
    };
}

impl Index {
    /// An empty index of places below `entries_max`. It allocates nothing.
    ///
    /// The seed is drawn at random and kept to the process.
    pub fn new(seed: [u8; 16], entries_max: u32) -> Self {
        let places_max = places_below(entries_max);
        Self {
            hasher: SipHasher13::new_with_key(&seed),
            entries: Chunks::new(places_max),
            buckets: Chunks::new(places_max),
            len: 0,
        }
    }

    /// Hashes a key of bytes.
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash(self.hasher.hash(key) as u32)
    }

    /// Hashes a key of several parts. It differs from
    /// [`hash`](Self::hash) of the same bytes.
    pub fn hash_of(&self, key: &(impl Hash + ?Sized)) -> KeyHash {
        let mut hasher = self.hasher;
        key.hash(&mut hasher);
        KeyHash(hasher.finish() as u32)
    }

    /// Enters a place under its key's hash. A place that is in the index
    /// already is moved to the new hash.
    ///
    /// The index does not see keys: that no other place has the same one is
    /// found out by [`find`](Self::find) before.
    ///
    /// # Errors
    /// [`Full`] if it is no place below `entries_max`.
    pub fn insert(&mut self, hash: KeyHash, place: u32) -> Result<(), Full> {
        if place >= self.entries.len_max() {
            return Err(Full(()));
        }
        self.remove(place);
        self.len += 1;
        if self.len > self.buckets.len() {
            self.split()?;
        }
        let bucket = self.bucket_of(hash);
        let next = core::mem::replace(&mut self.buckets[bucket], place);
        if let Some(entry) = self.entries.get_or_grow(place, Entry::OUTSIDE) {
            *entry = Entry { hash, next };
        }
        Ok(())
    }

    /// The place of the key with this hash; `is_key` compares the key with
    /// that of a place, which is called for places whose hash is the same.
    pub fn find(&self, hash: KeyHash, mut is_key: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let mut place = self.buckets[self.bucket_of(hash)];
        while place != NONE {
            let entry = self.entries[place];
            if entry.hash == hash && is_key(place) {
                return Some(place);
            }
            place = entry.next;
        }
        None
    }

    /// Takes a place out; the key is not needed. False if it was not there.
    pub fn remove(&mut self, place: u32) -> bool {
        if !self.contains(place) {
            return false;
        }
        let Entry { hash, next } = core::mem::replace(&mut self.entries[place], Entry::OUTSIDE);
        let bucket = self.bucket_of(hash);
        if self.buckets[bucket] == place {
            self.buckets[bucket] = next;
        } else {
            let mut before = self.buckets[bucket];
            while self.entries[before].next != place {
                before = self.entries[before].next;
            }
            self.entries[before].next = next;
        }
        self.len -= 1;
        true
    }

    /// Whether the place is in the index.
    pub fn contains(&self, place: u32) -> bool {
        self.entries
            .get(place as usize)
            .is_some_and(|entry| entry.next != OUTSIDE)
    }

    /// How many places are in the index.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the index is empty.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many places there can be.
    pub const fn capacity_max(&self) -> usize {
        self.entries.len_max() as usize
    }

    /// With `n` buckets, a bucket is the hash modulo the power of two at or
    /// above `n`; those that are not there yet share one with half of it.
    const fn bucket_of(&self, hash: KeyHash) -> u32 {
        let buckets = self.buckets.len();
        let bits = u32::BITS - (buckets - 1).leading_zeros();
        let mask = ((1_u64 << bits) - 1) as u32;
        let bucket = hash.0 & mask;
        if bucket < buckets {
            bucket
        } else {
            bucket & (mask >> 1)
        }
    }

    /// Adds one bucket and gives it its part of the one it shared.
    fn split(&mut self) -> Result<(), Full> {
        let added = self.buckets.push(NONE).map_err(|_| Full(()))?;
        if added == 0 {
            return Ok(());
        }
        let shared = added & !(1 << added.ilog2());
        let mut place = core::mem::replace(&mut self.buckets[shared], NONE);
        while place != NONE {
            let Entry { hash, next } = self.entries[place];
            let bucket = self.bucket_of(hash);
            self.entries[place].next = core::mem::replace(&mut self.buckets[bucket], place);
            place = next;
        }
        Ok(())
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("len", &self.len)
            .field("capacity_max", &self.capacity_max())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn filled(entries: u32) -> Index {
        let mut index = Index::new([9; 16], entries);
        for place in 0..entries {
            let hash = index.hash(&place.to_be_bytes());
            index.insert(hash, place).unwrap();
        }
        index
    }

    fn chain(index: &Index, bucket: u32) -> Vec<u32> {
        let first = index.buckets[bucket];
        let step = |place: &u32| Some(index.entries[*place].next).filter(|next| *next != NONE);
        core::iter::successors(Some(first).filter(|first| *first != NONE), step).collect()
    }

    #[test]
    fn every_entry_is_in_the_bucket_of_its_hash() {
        for entries in [1, 2, 3, 255, 256, 257, 1_000] {
            let index = filled(entries);
            assert_eq!(index.buckets.len(), entries, "one bucket an entry");
            let mut seen = 0;
            for bucket in 0..entries {
                for place in chain(&index, bucket) {
                    assert_eq!(index.bucket_of(index.entries[place].hash), bucket);
                    seen += 1;
                }
            }
            assert_eq!(seen, entries);
        }
    }

    #[test]
    fn chains_stay_short() {
        let index = filled(10_000);
        let longest = (0..10_000).map(|bucket| chain(&index, bucket).len()).max();
        assert!(longest < Some(16), "{longest:?}");
    }

    #[test]
    fn the_seed_decides_the_hash() {
        let [one, other] = [1, 2].map(|byte| Index::new([byte; 16], 1));
        assert_eq!(one.hash(b"key"), one.hash(b"key"));
        assert_ne!(one.hash(b"key"), other.hash(b"key"));
        assert_ne!(one.hash_of("key"), other.hash_of("key"));
    }

    #[test]
    fn the_hash_is_siphash_1_3() {
        // The first of the vectors that the standard library tests its own
        // with: key 00..0f, no input, abac0158050fc4dc.
        let seed = core::array::from_fn(|i| i as u8);
        assert_eq!(Index::new(seed, 1).hash(b""), KeyHash(0x050f_c4dc));
    }

    #[test]
    fn equal_hashes_are_told_apart_by_the_key() {
        let mut index = Index::new([0; 16], 3);
        for place in 0..3 {
            index.insert(KeyHash(5), place).unwrap();
        }
        for place in 0..3 {
            assert_eq!(index.find(KeyHash(5), |other| other == place), Some(place));
        }
        assert!(index.remove(1));
        assert_eq!(index.find(KeyHash(5), |other| other == 1), None);
        assert_eq!(index.find(KeyHash(5), |other| other == 0), Some(0));
        assert_eq!(index.find(KeyHash(5), |other| other == 2), Some(2));
    }

    #[test]
    fn a_place_above_the_limit_finds_no_room() {
        let mut index = filled(4);
        assert_eq!(index.insert(KeyHash(1), 4), Err(Full(())));
        assert_eq!(index.insert(KeyHash(1), u32::MAX), Err(Full(())));
        assert_eq!(index.len(), 4);
        assert!(!index.remove(u32::MAX));
        assert!(index.insert(KeyHash(1), 3).is_ok(), "it moves");
        assert_eq!(index.len(), 4);
        assert_eq!(index.find(KeyHash(1), |_| true), Some(3));
    }
}
