//! How many probes at a time keep every connection to its moments.

use super::phase::grain;

/// The fraction bits of a load.
const LOAD_BITS: u32 = 16;

/// What a fleet needs of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) connections: u32,
    /// The sum of their [`weight`]s.
    pub(super) load: u64,
}

/// The share of a window that a connection needs: the part of the period that
/// a dead peer's probe takes, in whole moments: those that share one are asked
/// together. In 65,536ths, rounded up.
pub(super) const fn weight(timeout: u64, period: u32) -> u64 {
    if period == 0 {
        return 0;
    }
    let period = period as u64;
    (timeout.next_multiple_of(grain(period)) << LOAD_BITS).div_ceil(period)
}

impl Demand {
    /// See [`InFlight::Auto`](crate::heartbeat::InFlight::Auto).
    pub(super) fn window(self) -> u32 {
        let needed = self.load.div_ceil(1 << LOAD_BITS);
        let spare = u32::BITS - self.connections.leading_zeros();
        let window = needed.saturating_add(spare.into());
        u32::try_from(window)
            .unwrap_or(u32::MAX)
            .min(self.connections)
    }

    fn max(self, other: Self) -> Self {
        Self {
            connections: self.connections.max(other.connections),
            load: self.load.max(other.load),
        }
    }
}

/// The greatest demand within the last period or two. Those who die leave the
/// moments of the others as they were, so a window that shrank with them would
/// delay the rest of the sweep.
pub(super) struct Peak {
    /// The longest period there is, and a response timeout.
    span: u64,
    /// The number of the span that time is in.
    number: u64,
    now: Demand,
    before: Demand,
}

impl Peak {
    pub(super) fn new(period: u32, timeout: u32) -> Self {
        Self {
            span: (u64::from(period) + u64::from(timeout)).max(1),
            number: 0,
            now: Demand::default(),
            before: Demand::default(),
        }
    }

    pub(super) fn get(&self) -> Demand {
        self.now.max(self.before)
    }

    /// The demand is another one now.
    pub(super) fn note(&mut self, demand: Demand) {
        self.now = self.now.max(demand);
    }

    /// Time has come to `tick`; the demand has been as it is since the last
    /// [`note`](Self::note).
    pub(super) fn advance(&mut self, tick: u64, demand: Demand) {
        let number = tick / self.span;
        if number <= self.number {
            return;
        }
        self.before = if number == self.number + 1 {
            self.now
        } else {
            demand
        };
        self.now = demand;
        self.number = number;
    }

    /// There is a period that may be longer than those before.
    pub(super) fn stretch(&mut self, period: u32, demand: Demand) {
        let tick = self.number * self.span;
        self.span = self.span.max(period.into());
        self.number = tick / self.span;
        self.note(demand);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(connections: u32, timeout: u64, period: u32) -> Demand {
        let load = u64::from(connections) * weight(timeout, period);
        Demand { connections, load }
    }

    #[test]
    fn a_window_fits_the_sweep_of_the_dead_and_is_no_larger_than_all() {
        let window = |connections, timeout, period| fleet(connections, timeout, period).window();
        assert_eq!(window(0, 5_000, 60_000), 0);
        assert_eq!(window(1, 5_000, 60_000), 1);
        assert_eq!(
            window(12, 5_000, 60_000),
            2 + 4,
            "rounded up, and four digits"
        );
        assert_eq!(window(19_000, 5_000, 60_000), 1_584 + 15);
        assert_eq!(window(1_000_000, 5_000, 60_000), 83_344 + 20);
        assert_eq!(window(7, 5_000, 1_000), 7, "never more than there are");
        assert_eq!(window(9, 5_000, 0), 4);
    }

    #[test]
    fn what_was_needed_is_remembered_for_a_period() {
        let mut peak = Peak::new(60_000, 5_000);
        let (many, few) = (fleet(1_000, 5_000, 60_000), fleet(10, 5_000, 60_000));
        peak.note(many);
        peak.advance(65_000, few);
        assert_eq!(peak.get(), many);
        peak.advance(129_999, few);
        assert_eq!(peak.get(), many);
        peak.advance(130_000, few);
        assert_eq!(peak.get(), few);
        peak.note(many);
        peak.stretch(600_000, few);
        peak.advance(600_000, few);
        assert_eq!(peak.get(), many);
        peak.advance(5_000_000, few);
        assert_eq!(peak.get(), few);
    }
}
