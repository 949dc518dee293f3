//! The client's side: with which relay to register.
//!
//! The relays are a list, the best one first. The client keeps to one of them
//! until that has failed for a while, then goes on to the next, and behind the
//! last begins anew. While it uses a worse one it tries the better ones from
//! time to time, each once and in order; if none of them works it is straight
//! back at the one it came from, whose registration stood all the time.
//!
//! The table is [`SelectorStage::after`]; a test compares it with
//! `tests/tables/selector.txt`.

use core::time::Duration;

#[cfg(feature = "_test")]
use crate::visits::Visits;
use crate::{Instant, Machine, Random};

/// The transitions that any [`Selector`] took.
#[cfg(feature = "_test")]
pub static SELECTOR_VISITS: Visits<{ SelectorStage::ALL.len() }, { SelectorEvent::ALL.len() }> =
    Visits::new();

/// The longest [`SelectorSettings::failover_after`].
const FAILOVER_AFTER_MAX: Duration = Duration::from_secs(21_600);

/// The figures of a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorSettings {
    /// How long a relay has to fail before the client goes on to the next. Up
    /// to 6 hours; zero goes on at the first failure.
    pub failover_after: Duration,
    /// When a client of a worse relay tries the better ones; zero is never.
    pub reselect_interval: Duration,
    /// How far that moment is moved at random, to both sides, in percent of
    /// the interval. 0 to 100.
    pub spread_percent: u32,
}

impl Default for SelectorSettings {
    fn default() -> Self {
        Self {
            failover_after: Duration::from_secs(600),
            reselect_interval: Duration::from_secs(21_600),
            spread_percent: 10,
        }
    }
}

/// Where a [`Selector`] stands, without its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorStage {
    /// Uses a relay of which it knows no failure.
    Using,
    /// The relay in use fails.
    Failing,
    /// Tries a better relay than the one in use.
    Trying,
}

/// What can happen to a [`Selector`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorEvent {
    /// The relay that is asked answered as it should.
    Worked,
    /// The relay in use did not.
    Failed,
    /// The relay in use failed for long enough, and there is another.
    Overdue,
    /// The better ones shall be tried, and there are some.
    Reselect,
    /// The relay that was tried did not work, and there is another better one.
    TryFailed,
    /// The relay that was tried did not work, and it was the last better one.
    TriesOver,
}

impl SelectorEvent {
    /// Every event, in the protocol's order.
    pub const ALL: [Self; 6] = [
        Self::Worked,
        Self::Failed,
        Self::Overdue,
        Self::Reselect,
        Self::TryFailed,
        Self::TriesOver,
    ];
}

impl SelectorStage {
    /// Every stage, in the protocol's order.
    pub const ALL: [Self; 3] = [Self::Using, Self::Failing, Self::Trying];

    /// The transition table: the stage after an event, `None` where the event
    /// means nothing.
    pub const fn after(self, event: SelectorEvent) -> Option<Self> {
        Some(match (self, event) {
            (_, SelectorEvent::Worked) => Self::Using,
            (Self::Using | Self::Failing, SelectorEvent::Failed) => Self::Failing,
            (Self::Failing, SelectorEvent::Overdue) => Self::Using,
            (Self::Using | Self::Failing, SelectorEvent::Reselect)
            | (Self::Trying, SelectorEvent::TryFailed) => Self::Trying,
            // If the one in use failed before, `Failed` follows.
            (Self::Trying, SelectorEvent::TriesOver) => Self::Using,
            _ => return None,
        })
    }
}

/// What a [`Selector`] wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorEffect {
    /// Register with [`Selector::relay`] now.
    Register,
    /// The better ones did not work: the client is back at the relay that it
    /// uses, and registers only if what it registered there holds no more.
    Returned,
    /// This relay is in use from now on, by its place in the list.
    Changed(usize),
}

/// Says with which relay a client registers; the endpoint does it and tells
/// the outcome.
///
/// ```
/// use tautline_core::registration::{Selector, SelectorEffect, SelectorSettings};
/// use tautline_core::{Instant, Machine, Random};
///
/// let random = Random::from_seed([0; 32]);
/// let mut selector = Selector::new(SelectorSettings::default(), 2, random);
/// assert_eq!(selector.relay(), 0);
/// selector.handle_failed(Instant::ORIGIN, 0);
/// selector.handle_timeout(selector.poll_timeout().unwrap()); // 600 s later
/// assert_eq!(selector.poll(), Some(SelectorEffect::Changed(1)));
/// assert_eq!(selector.poll(), Some(SelectorEffect::Register));
/// assert_eq!(selector.relay(), 1);
/// ```
#[derive(Debug)]
pub struct Selector {
    settings: SelectorSettings,
    random: Random,
    relays: usize,
    stage: SelectorStage,
    /// The relay in use.
    home: usize,
    /// The relay that is tried, while one is.
    tried: usize,
    /// When the relay in use began to fail.
    failing_since: Option<Instant>,
    /// Relays that were left since one worked.
    left: usize,
    reselect_at: Option<Instant>,
    changed: bool,
    then: Option<SelectorEffect>,
}

impl Selector {
    /// A selector among so many relays, at least one, that begins with the
    /// first.
    pub fn new(settings: SelectorSettings, relays: usize, random: Random) -> Self {
        Self {
            settings,
            random,
            relays: relays.max(1),
            stage: SelectorStage::Using,
            home: 0,
            tried: 0,
            failing_since: None,
            left: 0,
            reselect_at: None,
            changed: false,
            then: None,
        }
    }

    /// Where it stands.
    pub const fn stage(&self) -> SelectorStage {
        self.stage
    }

    /// The relay to register with, by its place in the list.
    pub const fn relay(&self) -> usize {
        match self.stage {
            SelectorStage::Trying => self.tried,
            SelectorStage::Using | SelectorStage::Failing => self.home,
        }
    }

    /// The relay in use, by its place in the list.
    pub const fn home(&self) -> usize {
        self.home
    }

    /// This relay answered as it should. It counts for the one that is to be
    /// asked alone.
    pub fn handle_worked(&mut self, now: Instant, relay: usize) {
        if relay != self.relay() || !self.apply(SelectorEvent::Worked) {
            return;
        }
        self.failing_since = None;
        self.left = 0;
        self.use_relay(now, relay);
    }

    /// This relay could not be asked, or refused to register the client. It
    /// counts for the one that is to be asked alone.
    pub fn handle_failed(&mut self, now: Instant, relay: usize) {
        if relay != self.relay() {
            return;
        }
        if self.stage == SelectorStage::Trying {
            return self.handle_try_failed(now);
        }
        if self.apply(SelectorEvent::Failed) {
            self.failing_since.get_or_insert(now);
        }
    }

    /// The better ones shall be tried now: the moment has come, the machine's
    /// addresses changed, or someone asks for it. Nothing is better than the
    /// first.
    pub fn handle_reselect(&mut self, now: Instant) {
        if self.home > 0 && self.apply(SelectorEvent::Reselect) {
            self.tried = 0;
            self.rearm(now);
            self.then = Some(SelectorEffect::Register);
        }
    }

    fn handle_try_failed(&mut self, now: Instant) {
        let next = self.tried + 1;
        if next < self.home {
            self.apply(SelectorEvent::TryFailed);
            self.tried = next;
            self.then = Some(SelectorEffect::Register);
            return;
        }
        self.apply(SelectorEvent::TriesOver);
        if self.failing_since.is_some() {
            self.apply(SelectorEvent::Failed);
        }
        self.rearm(now);
        self.then = Some(SelectorEffect::Returned);
    }

    /// The relay in use failed for long enough.
    fn handle_overdue(&mut self, now: Instant) {
        if !self.apply(SelectorEvent::Overdue) {
            return;
        }
        self.failing_since = None;
        self.left = self.left.saturating_add(1);
        self.use_relay(now, (self.home + 1) % self.relays);
        // In later rounds the time is that of any registration that failed:
        // a client whose relays are all gone does not race through the list.
        let first_round = self.left < self.relays;
        self.then = first_round.then_some(SelectorEffect::Register);
    }

    fn use_relay(&mut self, now: Instant, relay: usize) {
        if core::mem::replace(&mut self.home, relay) != relay {
            self.changed = true;
            self.rearm(now);
        }
    }

    /// Sets the moment to try the better ones, if there are any.
    fn rearm(&mut self, now: Instant) {
        let interval = self.settings.reselect_interval;
        let wanted = self.home > 0 && !interval.is_zero();
        let delay = self.random.around(interval, self.settings.spread_percent);
        self.reselect_at = wanted.then(|| now + delay.max(Duration::from_secs(1)));
    }

    fn overdue_at(&self) -> Option<Instant> {
        let another = self.relays > 1 && self.stage == SelectorStage::Failing;
        let after = self.settings.failover_after.min(FAILOVER_AFTER_MAX);
        self.failing_since
            .filter(|_| another)
            .map(|since| since + after)
    }

    /// Tries that are under way come to their end first.
    fn reselect_at(&self) -> Option<Instant> {
        self.reselect_at
            .filter(|_| self.stage != SelectorStage::Trying)
    }

    fn apply(&mut self, event: SelectorEvent) -> bool {
        let next = self.stage.after(event);
        #[cfg(feature = "_test")]
        if next.is_some() {
            SELECTOR_VISITS.note(self.stage as usize, event as usize);
        }
        self.stage = next.unwrap_or(self.stage);
        next.is_some()
    }
}

impl Machine for Selector {
    type Effect = SelectorEffect;

    fn poll_timeout(&self) -> Option<Instant> {
        [self.overdue_at(), self.reselect_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.overdue_at().is_some_and(|at| at <= now) {
            self.handle_overdue(now);
        }
        if self.reselect_at().is_some_and(|at| at <= now) {
            self.handle_reselect(now);
        }
    }

    fn poll(&mut self) -> Option<SelectorEffect> {
        if core::mem::take(&mut self.changed) {
            return Some(SelectorEffect::Changed(self.home));
        }
        self.then.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const START: Instant = Instant::ORIGIN;

    fn selector(relays: usize) -> Selector {
        selector_with(SelectorSettings::default(), relays)
    }

    fn selector_with(settings: SelectorSettings, relays: usize) -> Selector {
        Selector::new(settings, relays, Random::from_seed([4; 32]))
    }

    fn effects(selector: &mut Selector) -> alloc::vec::Vec<SelectorEffect> {
        core::iter::from_fn(|| selector.poll()).collect()
    }

    /// A selector that uses the relay, which works.
    fn using(relays: usize, relay: usize) -> Selector {
        let mut selector = selector(relays);
        for at in 0..relay {
            selector.handle_failed(START, at);
            selector.handle_timeout(START + 600 * SECOND);
        }
        selector.handle_worked(START, relay);
        effects(&mut selector);
        assert_eq!((selector.relay(), selector.home()), (relay, relay));
        selector
    }

    #[test]
    fn after_600_seconds_of_failures_the_next_is_used_and_behind_the_last_the_first() {
        let mut selector = selector(3);
        let mut now = START;
        for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 1)] {
            selector.handle_failed(now, from);
            selector.handle_failed(now + 500 * SECOND, from);
            selector.handle_timeout(now + 599 * SECOND);
            assert_eq!(selector.relay(), from);
            now = now + 600 * SECOND;
            assert_eq!(selector.poll_timeout(), Some(now));
            selector.handle_timeout(now);
            assert_eq!(selector.relay(), to);
            assert_eq!(selector.poll(), Some(SelectorEffect::Changed(to)));
        }
    }

    #[test]
    fn one_that_works_in_between_begins_anew() {
        let mut selector = selector(2);
        selector.handle_failed(START, 0);
        selector.handle_worked(START + 599 * SECOND, 0);
        assert_eq!(selector.poll_timeout(), None);
        selector.handle_failed(START + 599 * SECOND, 0);
        assert_eq!(selector.poll_timeout(), Some(START + 1_199 * SECOND));
    }

    #[test]
    fn a_relay_without_another_is_kept_to() {
        let mut selector = selector(1);
        selector.handle_failed(START, 0);
        selector.handle_reselect(START);
        selector.handle_timeout(Instant::MAX);
        assert_eq!((selector.relay(), selector.poll_timeout()), (0, None));
        assert_eq!(effects(&mut selector), []);
    }

    #[test]
    fn without_a_delay_a_round_is_quick_and_the_next_is_not() {
        let settings = SelectorSettings {
            failover_after: Duration::ZERO,
            ..SelectorSettings::default()
        };
        let mut selector = selector_with(settings, 3);
        for (relay, registers) in [(0, true), (1, true), (2, false), (0, false)] {
            selector.handle_failed(START, relay);
            selector.handle_timeout(START);
            let told = effects(&mut selector);
            let told = told.contains(&SelectorEffect::Register);
            assert_eq!(told, registers, "{relay}");
        }
    }

    #[test]
    fn failover_takes_six_hours_at_most() {
        let settings = SelectorSettings {
            failover_after: Duration::MAX,
            ..SelectorSettings::default()
        };
        let mut selector = selector_with(settings, 2);
        selector.handle_failed(START, 0);
        assert_eq!(selector.poll_timeout(), Some(START + 21_600 * SECOND));
    }

    #[test]
    fn better_ones_are_tried_every_six_hours_more_or_less() {
        for seed in 0..100 {
            let random = Random::from_seed([seed; 32]);
            let mut selector = Selector::new(SelectorSettings::default(), 2, random);
            selector.handle_failed(START, 0);
            let moved = START + 600 * SECOND;
            selector.handle_timeout(moved);
            selector.handle_worked(moved, 1);
            let at = selector.poll_timeout().expect("a moment");
            assert!(at >= moved + 19_440 * SECOND && at <= moved + 23_760 * SECOND);
            effects(&mut selector);
            selector.handle_timeout(at);
            assert_eq!(selector.poll(), Some(SelectorEffect::Register));
            assert_eq!((selector.relay(), selector.home()), (0, 1));
        }
    }

    #[test]
    fn better_ones_are_tried_in_order_and_then_it_is_back_where_it_was() {
        let mut selector = using(4, 2);
        selector.handle_reselect(START);
        for relay in [0, 1] {
            assert_eq!(selector.relay(), relay);
            assert_eq!(effects(&mut selector), [SelectorEffect::Register]);
            selector.handle_failed(START, relay);
        }
        assert_eq!(effects(&mut selector), [SelectorEffect::Returned]);
        assert_eq!((selector.relay(), selector.home()), (2, 2));
        assert_eq!(selector.stage(), SelectorStage::Using);
        assert!(selector.poll_timeout() >= Some(START + 19_440 * SECOND));
    }

    #[test]
    fn a_better_one_that_works_is_used() {
        let mut selector = using(3, 2);
        selector.handle_reselect(START);
        selector.handle_failed(START, 0);
        effects(&mut selector);
        selector.handle_worked(START, 1);
        assert_eq!(effects(&mut selector), [SelectorEffect::Changed(1)]);
        assert_eq!((selector.relay(), selector.home()), (1, 1));
    }

    #[test]
    fn a_try_hears_nothing_of_the_relay_in_use() {
        let mut selector = using(2, 1);
        selector.handle_reselect(START);
        selector.handle_worked(START, 1);
        selector.handle_failed(START, 1);
        assert_eq!(selector.stage(), SelectorStage::Trying);
        assert_eq!(effects(&mut selector), [SelectorEffect::Register]);
    }

    #[test]
    fn a_failed_try_does_not_lengthen_the_failing_of_the_relay_in_use() {
        let mut selector = using(3, 1);
        selector.handle_failed(START + 10 * SECOND, 1);
        selector.handle_reselect(START + 300 * SECOND);
        selector.handle_failed(START + 310 * SECOND, 0);
        assert_eq!(selector.stage(), SelectorStage::Failing);
        assert_eq!(selector.poll_timeout(), Some(START + 610 * SECOND));
    }

    #[test]
    fn figures_at_their_ends_do_no_harm() {
        let settings = SelectorSettings {
            failover_after: Duration::MAX,
            reselect_interval: Duration::MAX,
            spread_percent: u32::MAX,
        };
        let mut selector = selector_with(settings, usize::MAX);
        selector.handle_failed(Instant::MAX, 0);
        selector.handle_timeout(Instant::MAX);
        selector.handle_worked(Instant::MAX, 1);
        selector.handle_reselect(Instant::MAX);
        selector.handle_failed(Instant::MAX, 0);
        assert_eq!(selector.relay(), 1);
    }
}
