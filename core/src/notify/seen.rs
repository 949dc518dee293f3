//! Which notifications a client has had, also those that came out of order.

use alloc::collections::VecDeque;

use crate::{Incarnation, NotificationId};

/// Runs of relays that a client left and that are remembered: it may return.
const RUNS_LEFT_MAX: usize = 4;

/// All up to a watermark, and some above it.
///
/// What comes in order moves the watermark: there is nothing below that is
/// still to come. What comes by datagram says nothing of those before it, so
/// it is remembered above the watermark until that has passed it.
pub(super) struct Seen {
    watermark: NotificationId,
    /// Those above the watermark, by number.
    ahead: VecDeque<NotificationId>,
    ahead_max: usize,
    /// The relay's run.
    run: Incarnation,
    /// The runs before it, the last one first.
    left: VecDeque<Left>,
}

/// What was seen of a run.
struct Left {
    run: Incarnation,
    watermark: NotificationId,
    ahead: VecDeque<NotificationId>,
}

impl Left {
    fn contains(&self, id: NotificationId) -> bool {
        let is_of_run = id.incarnation() == self.run;
        is_of_run && (id <= self.watermark || self.ahead.binary_search(&id).is_ok())
    }
}

impl Seen {
    /// Nothing was seen; at most `ahead_max` are remembered out of order.
    pub(super) const fn new(ahead_max: usize) -> Self {
        Self {
            watermark: NotificationId(0),
            ahead: VecDeque::new(),
            ahead_max,
            run: Incarnation(0),
            left: VecDeque::new(),
        }
    }

    pub(super) const fn watermark(&self) -> NotificationId {
        self.watermark
    }

    pub(super) fn contains(&self, id: NotificationId) -> bool {
        id <= self.watermark
            || self.ahead.binary_search(&id).is_ok()
            || self.left.iter().any(|left| left.contains(id))
    }

    /// Whether one more is remembered out of order.
    pub(super) fn has_room(&self) -> bool {
        self.ahead.len() < self.ahead_max
    }

    /// It came, and so did all before it.
    pub(super) fn advance(&mut self, id: NotificationId) {
        self.watermark = self.watermark.max(id);
        self.forget_passed();
    }

    /// It came, whatever came before it. Costs at most as many moves as there
    /// are remembered; without room it is not remembered.
    pub(super) fn remember(&mut self, id: NotificationId) {
        if id > self.watermark
            && self.has_room()
            && let Err(place) = self.ahead.binary_search(&id)
        {
            self.ahead.insert(place, id);
        }
    }

    /// The relay runs as this incarnation. If nothing of that run was seen in
    /// order, it begins behind `notified`, what the relay says that it sent.
    pub(super) fn begin(&mut self, incarnation: Incarnation, notified: Option<NotificationId>) {
        self.turn_to(incarnation);
        let seen = self.watermark.incarnation();
        if seen == incarnation {
            return;
        }
        match notified.filter(|id| id.incarnation() == incarnation) {
            Some(notified) => self.watermark = notified,
            // A lower one counts anew below what was seen.
            None if incarnation < seen => self.watermark = NotificationId(0),
            None => {}
        }
        self.forget_passed();
    }

    /// Leaves the run for another, of which something may be remembered.
    fn turn_to(&mut self, run: Incarnation) {
        let before = core::mem::replace(&mut self.run, run);
        if before == run {
            return;
        }
        let place = self.left.iter().position(|left| left.run == run);
        let back = place.and_then(|place| self.left.remove(place));
        let (watermark, ahead) = back.map_or_else(
            || (self.watermark, VecDeque::new()),
            |back| (back.watermark, back.ahead),
        );
        let ahead = core::mem::replace(&mut self.ahead, ahead);
        // Some of the new run may have come already.
        let (early, ahead) = ahead.into_iter().partition(|id| id.incarnation() == run);
        self.left.truncate(RUNS_LEFT_MAX - 1);
        self.left.push_front(Left {
            run: before,
            watermark: self.watermark,
            ahead,
        });
        self.watermark = watermark;
        let early: VecDeque<NotificationId> = early;
        early.into_iter().for_each(|id| self.remember(id));
    }

    fn forget_passed(&mut self) {
        while self.ahead.front().is_some_and(|id| *id <= self.watermark) {
            self.ahead.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(run: u32, sequence: u32) -> NotificationId {
        NotificationId::new(Incarnation(run), sequence)
    }

    #[test]
    fn the_watermark_takes_in_what_it_passes() {
        let mut seen = Seen::new(3);
        seen.advance(id(1, 2));
        for sequence in [9, 5, 7, 5] {
            seen.remember(id(1, sequence));
        }
        assert!(!seen.has_room());
        assert_eq!(seen.watermark(), id(1, 2));
        assert!(seen.contains(id(1, 7)) && !seen.contains(id(1, 6)));
        seen.advance(id(1, 8));
        assert!(seen.has_room() && seen.contains(id(1, 6)) && seen.contains(id(1, 9)));
        assert!(!seen.contains(id(1, 10)));
    }

    #[test]
    fn another_run_begins_anew() {
        let mut seen = Seen::new(3);
        seen.advance(id(5, 2));
        seen.remember(id(5, 9));
        seen.begin(Incarnation(5), Some(id(5, 40)));
        assert_eq!(seen.watermark(), id(5, 2), "the same run");
        seen.begin(Incarnation(4), None);
        assert_eq!(seen.watermark(), NotificationId(0));
        assert!(!seen.contains(id(4, 1)));
        assert!(
            seen.contains(id(5, 2)) && seen.contains(id(5, 9)),
            "of the run before"
        );
        seen.remember(id(6, 3));
        seen.remember(id(6, 8));
        seen.begin(Incarnation(6), Some(id(6, 4)));
        assert!(seen.contains(id(6, 4)) && seen.contains(id(6, 8)));
        assert!(!seen.contains(id(6, 5)));
    }

    #[test]
    fn who_returns_to_a_run_has_seen_what_it_saw() {
        let mut seen = Seen::new(3);
        seen.begin(Incarnation(5), None);
        seen.advance(id(5, 2));
        seen.remember(id(5, 4));
        seen.begin(Incarnation(3), Some(id(3, 7)));
        assert!(seen.contains(id(3, 7)) && !seen.contains(id(3, 8)));
        seen.remember(id(3, 9));
        // The relay does not know what came by datagram.
        seen.begin(Incarnation(5), Some(id(5, 2)));
        assert_eq!(seen.watermark(), id(5, 2));
        for (sequence, known) in [(2, true), (3, false), (4, true), (5, false)] {
            assert_eq!(seen.contains(id(5, sequence)), known, "{sequence}");
        }
        assert!(seen.contains(id(3, 9)));
    }

    #[test]
    fn runs_that_were_left_are_forgotten_in_time() {
        let mut seen = Seen::new(300);
        for run in 1..=100 {
            seen.begin(Incarnation(run), None);
            seen.remember(id(run, 1));
        }
        assert_eq!(seen.left.len(), RUNS_LEFT_MAX);
        assert!(seen.contains(id(97, 1)));
        assert!(!seen.left.iter().any(|left| left.contains(id(50, 1))));
    }
}
