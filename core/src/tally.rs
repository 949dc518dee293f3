//! Counts by reason.

use arrayvec::ArrayVec;

/// Reasons that a [`Tally`] tells apart; what comes after goes to `other`.
const REASONS_MAX: usize = 24;

/// Counts by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: ArrayVec<(&'static str, u64), REASONS_MAX>,
}

impl Tally {
    /// Counts one more of the reason.
    pub fn count(&mut self, reason: &'static str) {
        self.add(reason, 1);
    }

    /// Counts `more` of the reason.
    pub fn add(&mut self, reason: &'static str, more: u64) {
        let known = self.counts.iter().position(|(known, _)| *known == reason);
        let room = self.counts.len() + 1 < REASONS_MAX || reason == OTHER;
        match known {
            Some(place) => self.counts[place].1 += more,
            // The last place is kept for `OTHER`.
            None if room => self.counts.push((reason, more)),
            None => self.add(OTHER, more),
        }
    }

    /// The count of a reason.
    pub fn get(&self, reason: &str) -> u64 {
        self.iter()
            .find(|(known, _)| *known == reason)
            .map_or(0, |(_, count)| count)
    }

    /// Reasons and counts, in the order of their first time.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().copied()
    }

    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_reasons_than_there_is_room_for_are_counted_together() {
        let reasons: [&'static str; REASONS_MAX + 5] = core::array::from_fn(|i| {
            &"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[i..=i]
        });
        let mut tally = Tally::default();
        for reason in reasons {
            tally.count(reason);
            tally.count(reason);
        }
        assert_eq!(tally.get("a"), 2);
        assert_eq!(tally.total(), 2 * reasons.len() as u64);
        assert!(tally.get(OTHER) > 0);
    }
}
