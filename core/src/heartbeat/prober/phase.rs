//! The moments of a connection.

use core::time::Duration;

/// 2^32 divided by the golden ratio: its multiples, as fractions of 2^32, are
/// spread evenly however many of them there are (Knuth, The Art of Computer
/// Programming, volume 3, section 6.4).
const GOLDEN: u32 = 2_654_435_769;

/// A period has at most so many moments, so that connections share one: their
/// probes leave in one turn of the driver's loop, and their answers come
/// together. With a turn for each, a probe costs nearly five times the CPU time.
const MOMENTS: u64 = 1_200;
/// But moments are no further apart, in milliseconds: with long periods a turn
/// for each costs nothing.
const GRAIN_MAX: u64 = 50;

/// The moments of a place, a period apart. Ticks are milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    period: u64,
    offset: u64,
}

impl Phase {
    /// `None` if the period is 0.
    pub(super) const fn new(place: u32, period: u32) -> Option<Self> {
        if period == 0 {
            return None;
        }
        let fraction = place.wrapping_mul(GOLDEN) as u64;
        let period = period as u64;
        let offset = (fraction * period) >> u32::BITS;
        Some(Self {
            period,
            offset: offset - offset % grain(period),
        })
    }

    /// The last moment within a period after `tick`; later than `tick`.
    pub(super) const fn next(self, tick: u64) -> u64 {
        let end = tick.saturating_add(self.period);
        // `end` is at least a period, which no offset is.
        end - (end - self.offset) % self.period
    }

    /// Until when the probe that is due at `due` can be put off at `now`, if
    /// bytes were both sent and received `quiet` before: by as many halves of
    /// the period as leave no silence longer than a period.
    pub(super) fn put_off(self, due: u64, now: u64, quiet: u64) -> Option<u64> {
        let half = (self.period / 2).max(1);
        let left = self.period.checked_sub(quiet)?;
        let end = now.saturating_add(left);
        let later = due + end.checked_sub(due)? / half * half;
        (later > now).then_some(later)
    }
}

/// How far apart the moments of a period are that connections share.
pub(super) const fn grain(period: u64) -> u64 {
    match period / MOMENTS {
        0 => 1,
        grain if grain < GRAIN_MAX => grain,
        _ => GRAIN_MAX,
    }
}

/// After which time at most a dead peer is ended. `window` is that of a sweep
/// that does not fit the period: then each probe may wait for all others.
pub(super) fn worst_case(
    period: Duration,
    timeout: Duration,
    connections: u32,
    window: Option<u32>,
) -> Duration {
    let rounds = window.map_or(1, |window| connections.div_ceil(window.max(1)).max(1));
    period.saturating_add(timeout.saturating_mul(rounds))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn moments_are_a_period_apart() {
        for (place, period) in [
            (0, 1_000),
            (1, 60_000),
            (77, 86_400_000),
            (u32::MAX - 1, 1_000),
        ] {
            let phase = Phase::new(place, period).unwrap();
            for tick in [0, 1, 999, 1_000, 123_456_789] {
                let next = phase.next(tick);
                assert!(next > tick && next <= tick + u64::from(period));
                assert_eq!(phase.next(next), next + u64::from(period));
            }
        }
        assert!(Phase::new(5, 0).is_none());
    }

    #[test]
    fn places_are_spread_evenly_however_many_there_are() {
        for count in [2_u32, 10, 100, 1_000, 19_000] {
            let period = 60_000;
            let offset = |place| Phase::new(place, period).unwrap().offset;
            let mut offsets: Vec<u64> = (0..count).map(offset).collect();
            offsets.sort();
            let gaps = offsets.windows(2).map(|pair| pair[1] - pair[0]);
            let longest = gaps.max().unwrap();
            // Three-gap theorem: the longest is below the average times 1 + golden ratio.
            let even = u64::from(period / count);
            let spread = even * 2_619 / 1_000 + 2;
            assert!(
                longest <= spread + grain(period.into()),
                "{count}: {longest}"
            );
        }
    }

    #[test]
    fn a_moment_is_shared_by_few_of_many() {
        let mut shared = [0_u32; 1_200];
        for place in 0..19_000 {
            let offset = Phase::new(place, 60_000).unwrap().offset;
            assert_eq!(offset % 50, 0);
            shared[offset as usize / 50] += 1;
        }
        // 15.8 on average.
        assert!(shared.iter().all(|count| (14..=18).contains(count)));
    }

    #[test]
    fn moments_of_short_periods_are_closer() {
        let grains = [0, 1, 1_000, 2_400, 6_000, 60_000, 86_400_000].map(grain);
        assert_eq!(grains, [1, 1, 1, 2, 5, 50, 50]);
    }

    #[test]
    fn a_probe_is_put_off_by_halves_and_leaves_no_longer_silence_than_a_period() {
        let phase = Phase::new(0, 1_000).unwrap();
        assert_eq!(phase.put_off(5_000, 5_000, 0), Some(6_000));
        assert_eq!(phase.put_off(5_000, 5_000, 1), Some(5_500));
        assert_eq!(phase.put_off(5_000, 5_000, 500), Some(5_500));
        assert_eq!(phase.put_off(5_000, 5_000, 501), None);
        assert_eq!(phase.put_off(5_000, 5_000, 5_000_000), None);
        assert_eq!(phase.put_off(5_000, 5_600, 0), Some(6_500), "it waited");
    }
}
