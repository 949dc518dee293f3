//! What is learned of deaths, against a list of all that was told.

use alloc::vec::Vec;
use core::time::Duration;

use crate::collections::model::{Script, fires_at};
use crate::heartbeat::{Learner, LearnerSettings, Why};
use crate::{Instant, Machine};

const GROUPS: u16 = 3;
const FLOOR: u64 = 10_000;
const PERIOD: u64 = 100_000;
const NEEDED: usize = 3;
const RELAX: Duration = Duration::from_secs(1_000);

/// Any bytes as operations on a learner.
pub fn learner(data: &[u8]) {
    let settings = LearnerSettings {
        period: Duration::from_millis(PERIOD),
        deaths_needed: NEEDED as u8,
        tolerance_percent: 20,
        period_min: Duration::from_millis(FLOOR),
        relax_after: RELAX,
        groups_max: GROUPS,
    };
    let mut pair = Pair {
        learner: Learner::new(settings).unwrap(),
        groups: (0..GROUPS).map(|_| Listed::new(PERIOD)).collect(),
        now: Instant::ORIGIN,
    };
    let _ = pair.run(&mut Script(data));
}

struct Listed {
    set: u64,
    period: u64,
    /// The ages of the last deaths, as long as they fit together.
    deaths: Vec<u64>,
    /// When the first of them came.
    since: Instant,
    lessons: u32,
    given_up: bool,
    relax_at: Option<Instant>,
    /// How often its period changed, and was told.
    changes: usize,
    told: usize,
}

impl Listed {
    fn new(period: u64) -> Self {
        Self {
            set: period,
            period,
            deaths: Vec::new(),
            since: Instant::ORIGIN,
            lessons: 0,
            given_up: false,
            relax_at: None,
            changes: 0,
            told: 0,
        }
    }

    fn change(&mut self, period: u64, now: Instant) {
        self.period = period;
        self.deaths.clear();
        self.changes += 1;
        let doublings = self.lessons.saturating_sub(1).min(5);
        let waits = self.given_up || period < self.set;
        self.relax_at = waits.then(|| fires_at(now + RELAX * (1 << doublings)));
    }

    fn die(&mut self, idle: u64, now: Instant) {
        if self.period == 0 || self.given_up || idle < FLOOR {
            return;
        }
        if self.deaths.is_empty() {
            self.since = now;
        }
        self.deaths.push(idle);
        let (youngest, oldest) = (self.youngest(), self.deaths.iter().max().unwrap());
        if youngest * 100 < oldest * 80 {
            self.deaths = [idle].into();
            self.since = now;
        }
        let span = now.saturating_since(self.since);
        if self.deaths.len() < NEEDED || span <= Duration::from_millis(self.period) {
            return;
        }
        let half = (self.youngest() / 2).max(FLOOR);
        if self.period <= FLOOR {
            self.given_up = true;
            self.change(self.set, now);
        } else if half < self.period {
            self.lessons += 1;
            self.change(half, now);
        }
    }

    fn youngest(&self) -> u64 {
        self.deaths.iter().copied().min().unwrap_or(u64::MAX)
    }
}

struct Pair {
    learner: Learner,
    groups: Vec<Listed>,
    now: Instant,
}

impl Pair {
    fn run(&mut self, script: &mut Script<'_>) -> Option<()> {
        loop {
            let op = script.byte()? % 16;
            let group = u16::from(script.byte()?) % (GROUPS + 1);
            let idle = Duration::from_millis(script.number(18)?);
            let known = self.groups.get_mut(usize::from(group));
            // Deaths at the period are what there is most of.
            let period = known.as_ref().map_or(0, |listed| listed.period);
            let idle = match op {
                0..6 => Duration::from_millis(period),
                _ => idle,
            };
            let millis = idle.as_millis() as u64;
            match op {
                0..9 => {
                    self.learner.handle_death(self.now, group, idle);
                    if let Some(listed) = known {
                        listed.die(millis, self.now);
                    }
                }
                9 | 10 => {
                    self.learner.handle_survival(self.now, group, idle);
                    if let Some(listed) = known.filter(|listed| {
                        !listed.deaths.is_empty() && millis * 100 >= listed.youngest() * 80
                    }) {
                        listed.deaths.clear();
                    }
                }
                11 => {
                    let told = self.learner.set_period(group, idle);
                    let fits = millis == 0 || (1_000..=86_400_000).contains(&millis);
                    assert_eq!(told.is_ok(), fits && group < GROUPS);
                    if let Some(listed) = known.filter(|_| fits) {
                        *listed = Listed::new(millis);
                    }
                }
                _ => self.pass(Duration::from_micros(script.number(34)?)),
            }
            if script.one_in(2) {
                self.drain();
            }
            self.compare();
        }
    }

    fn pass(&mut self, span: Duration) {
        self.drain();
        self.now = self.now + span;
        self.learner.handle_timeout(self.now);
        self.drain();
        let next = self.learner.poll_timeout();
        assert!(next.is_none_or(|at| at > self.now));
    }

    /// What is due is done, and each group whose period changed is told once.
    fn drain(&mut self) {
        for listed in &mut self.groups {
            while listed.relax_at.take_if(|at| *at <= self.now).is_some() {
                if core::mem::take(&mut listed.given_up) {
                    listed.deaths.clear();
                } else {
                    let longer = (listed.period * 2).min(listed.set);
                    listed.change(longer, self.now);
                }
            }
        }
        while let Some(effect) = self.learner.poll() {
            let listed = &mut self.groups[usize::from(effect.group)];
            assert!(listed.told < listed.changes, "nothing changed");
            listed.told = listed.changes;
            assert_eq!(Some(effect.lesson), self.learner.lesson(effect.group));
            assert_eq!(effect.lesson.period.as_millis(), u128::from(listed.period));
            if let Why::Shortened(evidence) = effect.lesson.why {
                assert!(usize::from(evidence.deaths) >= NEEDED);
                assert!(evidence.youngest <= evidence.oldest);
                assert!(effect.lesson.period < evidence.youngest || listed.period == FLOOR);
            }
        }
        let untold = |listed: &Listed| listed.told < listed.changes;
        assert!(!self.groups.iter().any(untold), "a change was not told");
    }

    fn compare(&self) {
        for (group, listed) in (0..GROUPS).zip(&self.groups) {
            let period = self.learner.period(group).as_millis();
            assert_eq!(period, u128::from(listed.period));
            assert!(listed.period <= listed.set);
            let lesson = self.learner.lesson(group);
            assert_eq!(lesson.is_some(), listed.changes > 0);
        }
        let earliest = self
            .groups
            .iter()
            .filter_map(|listed| listed.relax_at)
            .min();
        let told = self.learner.poll_timeout();
        assert_eq!(told.is_some(), earliest.is_some());
        assert!(told <= earliest, "{told:?} is later than {earliest:?}");
    }
}
