//! What a learner is told, and what it tells.

use core::time::Duration;

use crate::Instant;

/// The figures of a [`Learner`](super::Learner).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerSettings {
    /// The period of groups that have none of their own; 0 is off.
    pub period: Duration,
    /// How many deaths at about one age are a lesson, if the last is more than
    /// a period behind the first. 0 counts as 1.
    pub deaths_needed: u8,
    /// By how much their ages may differ, in percent of the oldest.
    pub tolerance_percent: u8,
    /// No period is shortened below it. 0 counts as 1 s.
    pub period_min: Duration,
    /// After which time without a lesson a longer period is tried; 0 is never.
    pub relax_after: Duration,
    /// Groups: their numbers are below it.
    pub groups_max: u16,
}

impl Default for LearnerSettings {
    /// Three deaths within a fifth, never below 10 s, a day.
    fn default() -> Self {
        Self {
            period: Duration::from_secs(600),
            deaths_needed: 3,
            tolerance_percent: 20,
            period_min: Duration::from_secs(10),
            relax_after: Duration::from_secs(86_400),
            groups_max: 4_096,
        }
    }
}

/// The deaths that a period was shortened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// How many.
    pub deaths: u8,
    /// The shortest time that one of them had been idle.
    pub youngest: Duration,
    /// The longest one.
    pub oldest: Duration,
}

/// Why a group has the period that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its connections kept dying idle.
    Shortened(Evidence),
    /// None of them died for long: a longer one is tried.
    Relaxed,
    /// They died however short it was: it is the one that was set.
    GivenUp,
}

/// What was learned about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// The period that was set.
    pub set: Duration,
    /// The one in use until then.
    pub before: Duration,
    /// The one in use.
    pub period: Duration,
    /// Why.
    pub why: Why,
    /// Since when.
    pub at: Instant,
}

/// A group has another period:
/// [`Prober::set_period`](crate::heartbeat::Prober::set_period).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerEffect {
    /// Which one.
    pub group: u16,
    /// Its period, and why.
    pub lesson: Lesson,
}
