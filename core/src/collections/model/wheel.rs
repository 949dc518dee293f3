//! The timer wheel against a sorted map.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Script;
use crate::Instant;
use crate::collections::{TimerKey, Wheel};

/// See [`collections::model`](super).
pub fn check_model(data: &[u8]) {
    let mut script = Script(data);
    let _ = run(&mut script);
}

fn run(script: &mut Script<'_>) -> Option<()> {
    let timers_max = u32::from(script.byte()?) % 100;
    let mut pair = Pair::new(timers_max, script.number(64)?);
    while let Some(op) = script.byte() {
        match op % 16 {
            0..=5 => {
                let at = pair.moment(script)?;
                pair.insert(at);
            }
            6 | 7 => pair.cancel(script.short()?),
            8 | 9 => {
                let which = script.short()?;
                let at = pair.moment(script)?;
                pair.reschedule(which, at);
            }
            10 | 11 => {
                pair.now = pair.now.saturating_add(script.number(26)?);
                pair.drain();
            }
            12 | 13 => {
                pair.now = pair.now.saturating_add(script.number(36)?);
                pair.expire(pair.now);
            }
            14 => {
                let back = script.number(64)?;
                pair.expire(pair.now.saturating_sub(back));
            }
            // A jump, up to the end of time if the script wants it.
            _ => {
                let bits = script.byte()?.saturating_sub(192);
                pair.now = pair.now.saturating_add(script.number(u32::from(bits))?);
                pair.drain();
            }
        }
        pair.check();
    }
    pair.follow_deadlines();
    Some(())
}

/// A wheel and its model. Time is in microseconds.
struct Pair {
    wheel: Wheel<u32>,
    /// Values by tick and order.
    model: BTreeMap<(u64, u32), u32>,
    /// Every timer that there ever was, by value, and where the model has it.
    timers: Vec<(TimerKey, Option<(u64, u32)>)>,
    timers_max: usize,
    order: u32,
    now: u64,
    /// The tick before which nothing is set any more.
    current: u64,
    latest: u64,
    drained: bool,
    /// No timer was ever taken back, so that deadlines are exact.
    untouched: bool,
}

impl Pair {
    fn new(timers_max: u32, now: u64) -> Self {
        Self {
            wheel: Wheel::new(timers_max),
            model: BTreeMap::new(),
            timers: Vec::new(),
            timers_max: timers_max as usize,
            order: 0,
            now,
            current: 0,
            latest: 0,
            drained: false,
            untouched: true,
        }
    }

    fn place(&mut self, at: u64) -> (u64, u32) {
        self.order += 1;
        let tick = at.div_ceil(1_000).min((u64::MAX - 1) / 1_000);
        self.drained &= tick > self.latest;
        (tick.max(self.current), self.order)
    }

    /// A moment ahead, or now and then one in the past.
    fn moment(&self, script: &mut Script<'_>) -> Option<u64> {
        let past = script.byte()?.is_multiple_of(8);
        Some(if past {
            self.now.saturating_sub(script.number(64)?)
        } else {
            self.now.saturating_add(script.number(64)?)
        })
    }

    fn insert(&mut self, at: u64) {
        let value = self.timers.len() as u32;
        let inserted = self.wheel.insert(Instant::from_micros(at), value);
        assert_eq!(inserted.is_ok(), self.model.len() < self.timers_max);
        if let Ok(key) = inserted {
            let place = self.place(at);
            self.model.insert(place, value);
            self.timers.push((key, Some(place)));
        }
    }

    fn cancel(&mut self, which: u16) {
        self.untouched = false;
        let count = self.timers.len().max(1);
        let Some((key, place)) = self.timers.get_mut(usize::from(which) % count) else {
            return;
        };
        let expected = place.take().and_then(|place| self.model.remove(&place));
        assert_eq!(self.wheel.get(*key), expected);
        assert_eq!(self.wheel.cancel(*key), expected);
        assert_eq!(self.wheel.cancel(*key), None);
    }

    fn reschedule(&mut self, which: u16, at: u64) {
        self.untouched = false;
        let index = usize::from(which) % self.timers.len().max(1);
        let Some((key, place)) = self.timers.get(index).copied() else {
            return;
        };
        let moved = self.wheel.reschedule(key, Instant::from_micros(at));
        assert_eq!(moved, place.is_some());
        if let Some(place) = place {
            let value = self.model.remove(&place).unwrap();
            let place = self.place(at);
            self.model.insert(place, value);
            self.timers[index].1 = Some(place);
            let deadline = Instant::from_micros(place.0.saturating_mul(1_000));
            assert_eq!(self.wheel.deadline(key), Some(deadline));
        }
    }

    fn drain(&mut self) {
        while self.expire(self.now) {}
    }

    /// Whether a timer was due.
    fn expire(&mut self, now: u64) -> bool {
        self.latest = self
            .latest
            .max(Instant::from_micros(now).as_micros() / 1_000);
        let due = self
            .model
            .first_entry()
            .filter(|first| first.key().0 <= self.latest)
            .map(|first| first.remove_entry());
        let value = self.wheel.expire(Instant::from_micros(now));
        assert_eq!(value, due.map(|(_, value)| value));
        match due {
            Some(((tick, _), value)) => {
                self.current = tick;
                self.timers[value as usize].1 = None;
            }
            None => self.current = self.latest,
        }
        self.drained = due.is_none();
        due.is_some()
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        assert_eq!(self.wheel.is_empty(), self.model.is_empty());
        let next = self.wheel.next_deadline();
        let first = self.model.first_key_value();
        let exact = first.map(|((tick, _), _)| Instant::from_micros(tick.saturating_mul(1_000)));
        assert_eq!(next.is_some(), exact.is_some());
        assert!(next <= exact, "the deadline is late");
        if self.untouched {
            assert_eq!(next, exact);
        }
        if self.drained {
            let now = Instant::from_micros(self.latest * 1_000);
            assert!(next.is_none_or(|next| next > now), "the deadline stands");
        }
    }

    /// Sleeping from deadline to deadline ends, and finds every timer.
    fn follow_deadlines(&mut self) {
        self.drain();
        // Each timer may leave one early deadline behind on every level.
        let mut steps = 20 * (self.timers.len() + 1);
        while let Some(next) = self.wheel.next_deadline() {
            self.now = next.as_micros();
            self.drain();
            self.check();
            steps = steps.checked_sub(1).expect("sleeping never ends");
        }
        assert!(self.model.is_empty());
    }
}
