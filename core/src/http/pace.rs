//! A deadline that progress moves: the least rate of a transfer.

use core::time::Duration;

use crate::Instant;

/// When a peer is too late. Bytes move it by the time that they take at the
/// least rate, but never further than the grace from now: a byte now and then
/// does not hold a connection, and a burst is no credit for a long silence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    pub(super) fn deadline(self) -> Option<Instant> {
        self.0
    }

    pub(super) fn is_due(self, now: Instant) -> bool {
        self.0.is_some_and(|deadline| deadline <= now)
    }

    pub(super) fn arm(&mut self, deadline: Instant) {
        self.0 = Some(deadline);
    }

    pub(super) fn disarm(&mut self) {
        self.0 = None;
    }

    /// The peer moved `bytes`; starts to wait if it was not waited for.
    pub(super) fn progress(
        &mut self,
        now: Instant,
        bytes: u64,
        bytes_per_second_min: u32,
        grace: Duration,
    ) {
        let latest = now + grace;
        self.0 = Some(match self.0 {
            Some(deadline) => latest.min(deadline + allowance(bytes, bytes_per_second_min)),
            None => latest,
        });
    }
}

/// The time that so many bytes may take.
pub(super) fn allowance(bytes: u64, bytes_per_second_min: u32) -> Duration {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(bytes_per_second_min.max(1));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    #[test]
    fn w4_a_byte_now_and_then_does_not_hold() {
        let mut pace = Pace::default();
        let mut now = Instant::ORIGIN;
        pace.progress(now, 0, 500, GRACE);
        let mut bytes = 0;
        while !pace.is_due(now) {
            now = now + Duration::from_secs(1);
            pace.progress(now, 1, 500, GRACE);
            bytes += 1;
        }
        assert_eq!(bytes, 11);
    }

    #[test]
    fn w4_the_least_rate_holds_and_is_no_credit() {
        let mut pace = Pace::default();
        let mut now = Instant::ORIGIN;
        pace.progress(now, 0, 500, GRACE);
        for _ in 0..1_000 {
            now = now + Duration::from_secs(1);
            pace.progress(now, 500, 500, GRACE);
            assert!(!pace.is_due(now));
        }
        pace.progress(now, u64::MAX, 500, GRACE);
        assert_eq!(pace.deadline(), Some(now + GRACE));
    }
}
