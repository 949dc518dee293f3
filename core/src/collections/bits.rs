//! A set of places that finds the next one fast.

use alloc::vec::Vec;

const WORD_BITS: usize = 64;

/// A set of places, with a summary that skips 4,096 empty places a step.
///
/// One bit a place, and 1/64 of that for the summary.
#[derive(Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    /// One bit for each word that is not 0.
    summary: Vec<u64>,
}

impl Bits {
    pub(super) const fn new() -> Self {
        Self {
            words: Vec::new(),
            summary: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, place: usize) {
        set(&mut self.words, place);
        set(&mut self.summary, place / WORD_BITS);
    }

    pub(super) fn remove(&mut self, place: usize) {
        if clear(&mut self.words, place) {
            clear(&mut self.summary, place / WORD_BITS);
        }
    }

    /// The first member at or after `place`.
    pub(super) fn next_from(&self, place: usize) -> Option<usize> {
        let word = place / WORD_BITS;
        let rest = self.words.get(word)? & (u64::MAX << (place % WORD_BITS));
        if rest != 0 {
            return Some(word * WORD_BITS + rest.trailing_zeros() as usize);
        }
        let word = self.next_word_from(word + 1)?;
        let bit = self.words.get(word)?.trailing_zeros() as usize;
        Some(word * WORD_BITS + bit)
    }

    fn next_word_from(&self, word: usize) -> Option<usize> {
        let first = word / WORD_BITS;
        let mut mask = u64::MAX << (word % WORD_BITS);
        for (index, summary) in self.summary.iter().enumerate().skip(first) {
            let rest = summary & mask;
            if rest != 0 {
                return Some(index * WORD_BITS + rest.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }
}

fn set(words: &mut Vec<u64>, bit: usize) {
    let word = bit / WORD_BITS;
    if word >= words.len() {
        words.resize(word + 1, 0);
    }
    if let Some(word) = words.get_mut(word) {
        *word |= 1 << (bit % WORD_BITS);
    }
}

/// Whether the word of the bit is 0 now.
fn clear(words: &mut [u64], bit: usize) -> bool {
    words.get_mut(bit / WORD_BITS).is_some_and(|word| {
        *word &= !(1 << (bit % WORD_BITS));
        *word == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(bits: &Bits) -> Vec<usize> {
        let mut members = Vec::new();
        let mut from = 0;
        while let Some(place) = bits.next_from(from) {
            members.push(place);
            from = place + 1;
        }
        members
    }

    #[test]
    fn finds_members_across_words_and_summaries() {
        let mut bits = Bits::new();
        let places = [0, 1, 63, 64, 4_095, 4_096, 70_000, 1_000_000];
        for place in places {
            bits.insert(place);
        }
        assert_eq!(members(&bits), places);
        for place in [0, 63, 4_096, 70_000] {
            bits.remove(place);
        }
        assert_eq!(members(&bits), [1, 64, 4_095, 1_000_000]);
        assert_eq!(bits.next_from(1_000_001), None);
        assert_eq!(bits.next_from(usize::MAX), None);
    }

    #[test]
    fn the_place_to_start_from_hides_nothing_behind_it() {
        let mut bits = Bits::new();
        bits.insert(8_192);
        for from in [0, 63, 4_000, 4_095, 4_096, 8_191, 8_192] {
            assert_eq!(bits.next_from(from), Some(8_192), "{from}");
        }
        assert_eq!(bits.next_from(8_193), None);
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut bits = Bits::new();
        bits.remove(5);
        bits.insert(7);
        bits.remove(6);
        bits.remove(100_000);
        assert_eq!(members(&bits), [7]);
    }
}
