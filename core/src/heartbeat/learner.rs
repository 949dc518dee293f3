//! Learns how soon a firewall forgets connections.

mod terms;
#[cfg(test)]
mod tests;

use core::time::Duration;

use super::clock::millis;
use super::terms::{PERIOD_MIN, SettingError, check_span};
use crate::collections::{Chunks, ReadyList, TimerKey, Wheel};
use crate::{Instant, Machine};
pub use terms::{Evidence, LearnerEffect, LearnerSettings, Lesson, Why};

/// How often the wait before a longer period is tried is doubled.
const DOUBLINGS_MAX: u8 = 5;

/// Shortens the period of a group whose connections keep dying idle at about
/// the same age, as they do behind a firewall that forgets.
///
/// It is told of every connection of a group that died after nothing was said
/// on it for a while ([`handle_death`](Self::handle_death)), and of every one
/// that was found alive after such a while
/// ([`handle_survival`](Self::handle_survival)). `deaths_needed` deaths whose
/// ages differ by at most `tolerance_percent`, without a survivor of that age
/// in between, are a lesson: the period becomes half of the youngest age.
/// Single crashes teach nothing, because others are found alive at the same
/// age; nor does an outage, of which all that die do so within one period:
/// behind a firewall that forgets, those that come in their place die as well.
/// So the last of these deaths has to be more than a period behind the first.
///
/// A lesson may be wrong. If connections die at the shorter period as well, it
/// is halved again; if they still do at `period_min`, idleness is not why they
/// die, and the group goes back to the period that was set. If none dies for
/// `relax_after`, a period twice as long is tried, up to the one that was set;
/// each lesson after that doubles the wait, up to 32 times.
///
/// What was learned, from what and when, is shown by [`lesson`](Self::lesson).
/// Everything is O(1); 88 bytes for each group, and its timer.
pub struct Learner {
    settings: LearnerSettings,
    groups: Chunks<Group>,
    timers: Wheel<u32>,
    /// Groups whose period is to be told.
    changed: ReadyList,
    now: Instant,
}

/// A group, by its number. Spans are in milliseconds.
#[derive(Clone, Copy)]
struct Group {
    /// The one that was set, and the one in use.
    set: u32,
    period: u32,
    /// The one before that.
    before: u32,
    /// Deaths at about one age since the last survivor.
    deaths: u8,
    /// How often longer waits follow.
    doublings: u8,
    is_given_up: bool,
    youngest: u32,
    oldest: u32,
    /// When the first of the deaths was found.
    since: Instant,
    why: Option<Why>,
    changed_at: Instant,
    timer: Option<TimerKey>,
}

const _: () = assert!(size_of::<Group>() <= 88);

impl Learner {
    /// A learner that knows nothing.
    ///
    /// # Errors
    /// A figure is out of its range.
    pub fn new(settings: LearnerSettings) -> Result<Self, SettingError> {
        check_span("period", settings.period)?;
        check_span("period_min", settings.period_min)?;
        check_span("relax_after", settings.relax_after)?;
        let groups_max = u32::from(settings.groups_max);
        Ok(Self {
            groups: Chunks::new(groups_max),
            timers: Wheel::new(groups_max),
            changed: ReadyList::new(groups_max),
            now: Instant::ORIGIN,
            settings,
        })
    }

    /// Sets the period of a group, from which it learns anew; 0 is off, and
    /// nothing is learned.
    ///
    /// # Errors
    /// The period or the group is out of its range; nothing is changed.
    pub fn set_period(&mut self, group: u16, period: Duration) -> Result<(), SettingError> {
        check_span("period", period)?;
        let groups_max = self.settings.groups_max;
        if group >= groups_max {
            return Err(SettingError::Group { group, groups_max });
        }
        self.cancel(group);
        self.changed.remove(group.into());
        if let Some(entry) = self.entry(group) {
            *entry = Group::new(millis(period));
        }
        Ok(())
    }

    /// A connection of the group died, after nothing had been said on it for
    /// `idle`: from the last bytes to the first ones that nobody answered.
    pub fn handle_death(&mut self, now: Instant, group: u16, idle: Duration) {
        self.now = self.now.max(now);
        let now = self.now;
        let (idle, floor) = (millis(idle), self.floor());
        let tolerance = self.settings.tolerance_percent;
        let needed = self.settings.deaths_needed.max(1);
        let Some(entry) = self.entry(group) else {
            return;
        };
        // What is off, or younger than any period, is nothing to shorten.
        if entry.period == 0 || entry.is_given_up || idle < floor {
            return;
        }
        entry.note_death(now, idle, tolerance);
        let is_outage = now.saturating_since(entry.since) <= entry.period();
        if entry.deaths < needed || is_outage {
            return;
        }
        let (set, period) = (entry.set, entry.period);
        if period <= floor {
            entry.is_given_up = true;
            self.change(group, set, Why::GivenUp);
            return;
        }
        let shorter = (entry.youngest / 2).clamp(floor, period);
        if shorter < period {
            let evidence = entry.evidence();
            entry.doublings = (entry.doublings + 1).min(DOUBLINGS_MAX + 1);
            self.change(group, shorter, Why::Shortened(evidence));
        }
    }

    /// A connection of the group was found alive, after nothing had been said
    /// on it for `idle`.
    pub fn handle_survival(&mut self, now: Instant, group: u16, idle: Duration) {
        self.now = self.now.max(now);
        let idle = millis(idle);
        let tolerance = self.settings.tolerance_percent;
        let known = self.groups.get_mut(group.into());
        let Some(entry) = known.filter(|entry| entry.deaths > 0) else {
            return;
        };
        if within(idle, entry.youngest, tolerance) {
            entry.deaths = 0;
        }
    }

    /// The period of a group.
    pub fn period(&self, group: u16) -> Duration {
        let period = self.groups.get(group.into()).map(|entry| entry.period);
        let period = period.unwrap_or_else(|| millis(self.settings.period));
        Duration::from_millis(period.into())
    }

    /// What was learned about a group, `None` if nothing was.
    pub fn lesson(&self, group: u16) -> Option<Lesson> {
        let entry = self.groups.get(group.into())?;
        Some(Lesson {
            set: Duration::from_millis(entry.set.into()),
            before: Duration::from_millis(entry.before.into()),
            period: Duration::from_millis(entry.period.into()),
            why: entry.why?,
            at: entry.changed_at,
        })
    }

    fn floor(&self) -> u32 {
        millis(self.settings.period_min.max(PERIOD_MIN))
    }

    /// `None` at and above `groups_max`.
    fn entry(&mut self, group: u16) -> Option<&mut Group> {
        let filler = Group::new(millis(self.settings.period));
        self.groups.get_or_grow(group.into(), filler)
    }

    fn cancel(&mut self, group: u16) {
        let known = self.groups.get_mut(group.into());
        if let Some(timer) = known.and_then(|entry| entry.timer.take()) {
            self.timers.cancel(timer);
        }
    }

    /// The group has another period from now on.
    fn change(&mut self, group: u16, period: u32, why: Why) {
        self.cancel(group);
        let place = u32::from(group);
        let entry = &mut self.groups[place];
        entry.before = core::mem::replace(&mut entry.period, period);
        entry.why = Some(why);
        entry.changed_at = self.now;
        entry.deaths = 0;
        let waits = entry.is_given_up || period < entry.set;
        if waits && !self.settings.relax_after.is_zero() {
            let doublings = u32::from(entry.doublings.saturating_sub(1));
            let wait = self.settings.relax_after.saturating_mul(1 << doublings);
            // There is a timer for each group, so there is room.
            entry.timer = self.timers.insert(self.now + wait, place).ok();
        }
        self.changed.push(place);
    }

    /// None died for long: a longer period is tried, or learning goes on.
    fn relax(&mut self, place: u32) {
        let entry = &mut self.groups[place];
        entry.timer = None;
        if core::mem::take(&mut entry.is_given_up) {
            entry.deaths = 0;
            return;
        }
        let longer = entry.period.saturating_mul(2).min(entry.set);
        self.change(place as u16, longer, Why::Relaxed);
    }
}

impl Group {
    const fn new(period: u32) -> Self {
        Self {
            set: period,
            period,
            before: period,
            deaths: 0,
            doublings: 0,
            is_given_up: false,
            youngest: 0,
            oldest: 0,
            since: Instant::ORIGIN,
            why: None,
            changed_at: Instant::ORIGIN,
            timer: None,
        }
    }

    /// One more at about the age of the others, or the first of another age.
    fn note_death(&mut self, now: Instant, idle: u32, tolerance: u8) {
        let (youngest, oldest) = (self.youngest.min(idle), self.oldest.max(idle));
        if self.deaths > 0 && within(youngest, oldest, tolerance) {
            (self.youngest, self.oldest) = (youngest, oldest);
            self.deaths = self.deaths.saturating_add(1);
        } else {
            (self.youngest, self.oldest) = (idle, idle);
            self.deaths = 1;
            self.since = now;
        }
    }

    const fn period(&self) -> Duration {
        Duration::from_millis(self.period as u64)
    }

    fn evidence(&self) -> Evidence {
        Evidence {
            deaths: self.deaths,
            youngest: Duration::from_millis(self.youngest.into()),
            oldest: Duration::from_millis(self.oldest.into()),
        }
    }
}

/// Whether `age` is at least `of`, less so many percent.
fn within(age: u32, of: u32, percent: u8) -> bool {
    let kept = u64::from(100_u8.saturating_sub(percent));
    u64::from(age) * 100 >= u64::from(of) * kept
}

impl Machine for Learner {
    type Effect = LearnerEffect;

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn poll(&mut self) -> Option<LearnerEffect> {
        while let Some(place) = self.timers.expire(self.now) {
            self.relax(place);
        }
        let group = self.changed.pop()? as u16;
        let lesson = self.lesson(group)?;
        Some(LearnerEffect { group, lesson })
    }
}
