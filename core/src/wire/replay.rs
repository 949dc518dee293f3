//! Which counters were seen already.

/// How many counters behind the highest a [`ReplayWindow`] tells apart.
pub const WINDOW_COUNTERS: u64 = 64;

/// Accepts each counter once, in any order within a window of 64, as RFC 4303
/// section 3.4.3 has it for IPsec.
///
/// It must only be asked about counters of messages that were authenticated:
/// else anyone could push the window ahead.
///
/// ```
/// use tautline_core::wire::replay::{Replay, ReplayWindow};
///
/// let mut window = ReplayWindow::default();
/// assert_eq!(window.accept(100), Ok(()));
/// assert_eq!(window.accept(37), Ok(()));
/// assert_eq!(window.accept(100), Err(Replay::Repeated));
/// assert_eq!(window.accept(36), Err(Replay::TooOld));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    highest: u64,
    /// Bit `i`: whether `highest - i` was seen. Only a fresh window has none.
    seen: u64,
}

const _: () = assert!(size_of::<ReplayWindow>() == 16);

/// Why a counter is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Replay {
    /// It was accepted before.
    #[error("the counter was used before")]
    Repeated,
    /// It lies behind the window, where used and unused are not told apart.
    #[error("the counter is too old to be told from a used one")]
    TooOld,
}

impl ReplayWindow {
    /// Whether the counter could be accepted. Nothing is changed.
    ///
    /// # Errors
    /// [`Replay`] if it was, or may have been, accepted before.
    pub const fn check(&self, counter: u64) -> Result<(), Replay> {
        if self.seen == 0 || counter > self.highest {
            return Ok(());
        }
        let behind = self.highest - counter;
        if behind >= WINDOW_COUNTERS {
            return Err(Replay::TooOld);
        }
        if self.seen >> behind & 1 == 1 {
            return Err(Replay::Repeated);
        }
        Ok(())
    }

    /// Accepts the counter, now and not again.
    ///
    /// # Errors
    /// [`Replay`] if it was, or may have been, accepted before; nothing is
    /// changed then.
    pub fn accept(&mut self, counter: u64) -> Result<(), Replay> {
        self.check(counter)?;
        if self.seen == 0 {
            *self = Self {
                highest: counter,
                seen: 1,
            };
        } else if counter > self.highest {
            let ahead = counter - self.highest;
            let kept = u32::try_from(ahead)
                .map_or(0, |ahead| self.seen.checked_shl(ahead).unwrap_or_default());
            *self = Self {
                highest: counter,
                seen: kept | 1,
            };
        } else {
            self.seen |= 1 << (self.highest - counter);
        }
        Ok(())
    }

    /// The highest counter that was accepted.
    pub fn highest(&self) -> Option<u64> {
        (self.seen != 0).then_some(self.highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_counter_may_be_any() {
        for first in [0, 1, u64::MAX] {
            let mut window = ReplayWindow::default();
            assert_eq!(window.highest(), None);
            assert_eq!(window.accept(first), Ok(()));
            assert_eq!(window.accept(first), Err(Replay::Repeated));
            assert_eq!(window.highest(), Some(first));
        }
    }

    #[test]
    fn the_window_is_64_wide() {
        let mut window = ReplayWindow::default();
        assert_eq!(window.accept(1_000), Ok(()));
        assert_eq!(window.accept(937), Ok(()), "63 behind");
        assert_eq!(window.accept(936), Err(Replay::TooOld), "64 behind");
        assert_eq!(window.accept(937), Err(Replay::Repeated));
    }

    #[test]
    fn what_was_seen_moves_with_the_window() {
        for ahead in [1, 63] {
            let mut window = ReplayWindow::default();
            assert_eq!(window.accept(100), Ok(()));
            assert_eq!(window.accept(100 + ahead), Ok(()));
            assert_eq!(window.accept(100), Err(Replay::Repeated), "{ahead}");
        }
        for ahead in [64, 65, 1 << 32, u64::MAX - 100] {
            let mut window = ReplayWindow::default();
            assert_eq!(window.accept(100), Ok(()));
            assert_eq!(window.accept(100 + ahead), Ok(()));
            assert_eq!(window.accept(100), Err(Replay::TooOld), "{ahead}");
            assert_eq!(window.accept(99 + ahead), Ok(()), "{ahead}");
        }
    }

    #[test]
    fn a_check_changes_nothing() {
        let mut window = ReplayWindow::default();
        assert_eq!(window.accept(5), Ok(()));
        let before = window;
        assert_eq!(window.check(9), Ok(()));
        assert_eq!(window.check(5), Err(Replay::Repeated));
        assert_eq!(window, before);
    }
}
