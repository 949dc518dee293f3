//! Probes against a list.

use alloc::vec::Vec;
use core::time::Duration;

use super::Awake;
use crate::collections::model::Script;
use crate::heartbeat::{
    Ended, InFlight, Prober, ProberEffect, ProberLimits, ProberSettings, ProberStats, Rule,
    WatchError,
};
use crate::{Key, Machine};

const CONNECTIONS: u32 = 6;
const GROUPS: u16 = 3;
const TIMEOUT: u64 = 5_000;
/// How long a probe waits for a window that is not set.
const WAIT: u64 = 1_000;
/// No group gets a longer one, so this is what the window looks back to.
const PERIOD: u64 = 60_000;
const SPAN: u64 = PERIOD + TIMEOUT;
/// 2^32 divided by the golden ratio.
const GOLDEN: u128 = 2_654_435_769;

/// 1,200 moments in a period, but no further apart than 50 ms.
fn grain(period: u64) -> u64 {
    (period / 1_200).clamp(1, 50)
}

/// Any bytes as operations on a prober.
pub fn prober(data: &[u8]) {
    let _ = run(&mut Script(data));
}

fn run(script: &mut Script<'_>) -> Option<()> {
    let in_flight = match script.byte()? % 4 {
        0 | 1 => InFlight::Auto,
        window => InFlight::Window(u32::from(window) - 2),
    };
    let settings = ProberSettings {
        period: Duration::from_millis(PERIOD),
        response_timeout: Duration::from_millis(TIMEOUT),
        in_flight,
    };
    let limits = ProberLimits {
        connections_max: CONNECTIONS,
        groups_max: GROUPS,
    };
    let mut pair = Pair {
        prober: Prober::new(settings, limits).unwrap(),
        in_flight,
        list: Vec::new(),
        periods: [PERIOD; GROUPS as usize],
        demands: Vec::new(),
        walk_at: None,
        clamp: [0; 2],
        order: 0,
        time: Awake::NEW,
        jumped_at: 0,
        stats: ProberStats::default(),
        generation: 0,
    };
    loop {
        match script.byte()? % 18 {
            0..3 => pair.insert(script)?,
            3 => pair.remove(script)?,
            4 => pair.send(script)?,
            5 => pair.receive(script)?,
            6 | 7 => pair.answer(script)?,
            8 => pair.set_period(script)?,
            9..14 => pair.keep_deadlines(script)?,
            14 => pair.send_late(script)?,
            15 => pair.take_back(script)?,
            _ => {
                let span = Duration::from_micros(script.number(27)?);
                pair.pass(span);
            }
        }
        pair.drain();
        pair.compare();
    }
}

/// Where it stands, with the order in which it came there.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Off,
    Idle(u64, u64),
    Asked(u64, u64),
    Ended,
}

struct Listed {
    key: Key,
    group: u16,
    at: At,
    sent: Option<u64>,
    received: u64,
    /// What is to be answered.
    nonce: Option<u64>,
    /// The last probe's number, which is in each nonce that it had.
    number: u8,
}

struct Pair {
    prober: Prober,
    in_flight: InFlight,
    list: Vec<Listed>,
    periods: [u64; GROUPS as usize],
    /// Since when which demand was there.
    demands: Vec<(u64, (u64, u64))>,
    walk_at: Option<u64>,
    /// Nothing is due before: for those that are idle, and asked.
    clamp: [u64; 2],
    order: u64,
    time: Awake,
    jumped_at: u64,
    stats: ProberStats,
    generation: u32,
}

impl Pair {
    fn insert(&mut self, script: &mut Script<'_>) -> Option<()> {
        self.generation += 1;
        let place = u32::from(script.byte()?) % (CONNECTIONS + 1);
        let group = u16::from(script.byte()?) % (GROUPS + 1);
        let mut key = Key::new(place, self.generation);
        // Or one that is there moves to another group.
        if let Some(listed) = self.list.first().filter(|_| script.one_in(4)) {
            key = listed.key;
        }
        let told = self.prober.insert(self.time.now, key, group);
        if key.index() == CONNECTIONS as usize {
            assert_eq!(told, Err(WatchError::Place));
            return Some(());
        }
        if group == GROUPS {
            assert_eq!(told, Err(WatchError::Group));
            return Some(());
        }
        assert_eq!(told, Ok(()));
        if let Some(at) = self.find(key).filter(|at| self.list[*at].at != At::Ended) {
            self.regroup(at, group);
            return Some(());
        }
        self.list.retain(|listed| listed.key.index() != key.index());
        self.note();
        self.list.push(Listed {
            key,
            group,
            at: At::Off,
            sent: None,
            received: self.time.tick(),
            nonce: None,
            number: 0,
        });
        self.arm(self.list.len() - 1, self.time.tick());
        self.note();
        Some(())
    }

    /// What was asked stays asked, and nothing is later than it was.
    fn regroup(&mut self, at: usize, group: u16) {
        self.list[at].group = group;
        self.note();
        let before = match self.list[at].at {
            At::Idle(due, _) => Some(due),
            At::Off => None,
            At::Asked(..) | At::Ended => return,
        };
        self.arm(at, self.time.tick());
        if let (Some(before), At::Idle(due, order)) = (before, self.list[at].at) {
            self.list[at].at = At::Idle(due.min(before).max(self.clamp[0]), order);
        }
    }

    /// A probe leaves later than it was asked for.
    fn send_late(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = self.choose(script)?;
        let told = self.prober.handle_asked(self.time.now, key);
        let deadline = self.time.tick() + TIMEOUT;
        let Some(at) = self.find(key) else {
            assert_eq!(told, None);
            return Some(());
        };
        let listed = &mut self.list[at];
        let is_owed = match listed.at {
            At::Asked(..) => true,
            At::Idle(..) | At::Off => listed.nonce.is_some(),
            At::Ended => false,
        };
        let nonce = deadline << 8 | u64::from(listed.number);
        assert_eq!(told, is_owed.then_some(nonce));
        listed.nonce = told.or(listed.nonce);
        if let At::Asked(before, _) = listed.at
            && before < deadline
        {
            self.order += 1;
            listed.at = At::Asked(deadline, self.order);
        }
        Some(())
    }

    /// A connection that was to be ended is not.
    fn take_back(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = self.choose(script)?;
        self.prober.handle_not_asked(self.time.now, key);
        if let Some(at) = self.find(key)
            && self.list[at].at == At::Ended
        {
            self.order += 1;
            self.list[at].at = At::Asked(self.time.tick() + TIMEOUT, self.order);
            self.stats.ended -= 1;
            self.note();
        }
        Some(())
    }

    fn remove(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = self.choose(script)?;
        self.prober.remove(key);
        self.list.retain(|listed| listed.key != key);
        self.note();
        Some(())
    }

    fn send(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = self.choose(script)?;
        self.prober.handle_sent(self.time.now, key);
        if let Some(place) = self.find(key) {
            self.list[place].sent = Some(self.time.tick());
        }
        Some(())
    }

    fn receive(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = self.choose(script)?;
        self.prober.handle_received(self.time.now, key);
        self.hear(key);
        Some(())
    }

    fn hear(&mut self, key: Key) {
        let Some(place) = self.find(key) else {
            return;
        };
        self.list[place].received = self.time.tick();
        if let At::Asked(deadline, _) = self.list[place].at {
            self.list[place].sent = None;
            self.arm(place, deadline - TIMEOUT);
        }
    }

    fn answer(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = self.choose(script)?;
        let wrong = script.one_in(4);
        let tick = self.time.tick();
        let asked = self.find(key).and_then(|place| self.list[place].nonce);
        let nonce = match wrong {
            true => asked.unwrap_or(0).wrapping_add(2),
            false => asked.unwrap_or(77),
        };
        self.prober.handle_answer(self.time.now, key, nonce);
        self.hear(key);
        let Some(place) = self.find(key) else {
            return Some(());
        };
        if asked != Some(nonce) {
            self.stats.unasked += 1;
            return Some(());
        }
        self.list[place].nonce = None;
        match tick < nonce >> 8 {
            true => self.stats.answered += 1,
            false => self.stats.late += 1,
        }
        Some(())
    }

    fn set_period(&mut self, script: &mut Script<'_>) -> Option<()> {
        let group = u16::from(script.byte()?) % (GROUPS + 1);
        let seconds = *[0, 1, 3, 10, 60, 90_000].get(usize::from(script.byte()? % 6))?;
        let period = Duration::from_secs(seconds);
        let told = self.prober.set_period(self.time.now, group, period);
        if group == GROUPS || seconds == 90_000 {
            assert!(told.is_err());
            return Some(());
        }
        assert_eq!(told, Ok(()));
        let of_group = |listed: &Listed| listed.group == group && listed.at != At::Ended;
        let before = core::mem::replace(&mut self.periods[usize::from(group)], seconds * 1_000);
        if before != seconds * 1_000 && self.list.iter().any(of_group) {
            self.walk_at.get_or_insert_with(|| self.time.tick() + 1);
        }
        self.note();
        Some(())
    }

    fn keep_deadlines(&mut self, script: &mut Script<'_>) -> Option<()> {
        for _ in 0..script.byte()? % 8 {
            let Some(at) = self.prober.poll_timeout() else {
                break;
            };
            self.pass(at.saturating_since(self.time.now));
            self.drain();
        }
        Some(())
    }

    fn pass(&mut self, span: Duration) {
        if self.time.pass(span, self.prober.poll_timeout()) {
            self.jumped_at = self.time.tick();
            self.stats.jumps += 1;
        }
        self.prober.handle_timeout(self.time.now);
        let tick = self.time.tick();
        if self.walk_at.take_if(|at| *at <= tick).is_none() {
            return;
        }
        let mut places: Vec<usize> = (0..self.list.len()).collect();
        places.sort_by_key(|place| self.list[*place].key.index());
        for place in places {
            let period = self.period(place);
            let stale = match self.list[place].at {
                At::Off => period > 0,
                At::Idle(due, _) => period == 0 || due > tick + period,
                At::Asked(..) | At::Ended => false,
            };
            if stale {
                self.list[place].sent = None;
                self.arm(place, tick);
            }
        }
    }

    /// The last moment of the place within a period of `from`.
    fn arm(&mut self, place: usize, from: u64) {
        let period = self.period(place);
        if period == 0 {
            self.list[place].at = At::Off;
            return;
        }
        let fraction = self.list[place].key.index() as u128 * GOLDEN % (1 << 32);
        let offset = (fraction * u128::from(period) / (1 << 32)) as u64;
        let offset = offset - offset % grain(period);
        let last = (0..).map(|round| offset + round * period);
        // Few rounds, begun near the end.
        let skipped = from / period;
        let last = last.skip(skipped as usize).take(3);
        let due = last.filter(|due| *due <= from + period).max().unwrap();
        self.arm_at(place, due);
    }

    fn arm_at(&mut self, place: usize, due: u64) {
        self.order += 1;
        self.list[place].at = At::Idle(due.max(self.clamp[0]), self.order);
    }

    /// The effects that are to come, one by one.
    fn drain(&mut self) {
        loop {
            let told = self.prober.poll();
            let expected = self.next_effect(told);
            assert_eq!(told, expected);
            if told.is_none() {
                break;
            }
        }
    }

    fn next_effect(&mut self, told: Option<ProberEffect>) -> Option<ProberEffect> {
        let tick = self.time.tick();
        if let Some((place, deadline)) = self.first(|at| match at {
            At::Asked(deadline, order) => Some((deadline, order)),
            _ => None,
        }) {
            self.clamp[1] = deadline;
            if deadline < self.jumped_at + TIMEOUT {
                return Some(self.ask(place, told));
            }
            let listed = &mut self.list[place];
            listed.at = At::Ended;
            self.stats.ended += 1;
            let ended = Ended {
                conn: listed.key,
                silent_for: Duration::from_millis(tick - listed.received),
                rule: Rule::ResponseTimeout,
            };
            self.note();
            return Some(ProberEffect::End(ended));
        }
        self.clamp[1] = tick;
        while let Some(wait) = self.wait() {
            let Some((place, due)) = self.first(|at| match at {
                At::Idle(due, order) => Some((due, order)),
                _ => None,
            }) else {
                self.clamp[0] = tick;
                return None;
            };
            self.clamp[0] = due;
            if due + wait > tick {
                break;
            }
            let (period, listed) = (self.period(place), &mut self.list[place]);
            if period == 0 {
                listed.at = At::Off;
                continue;
            }
            // The last half of a period that is not later than one after both.
            let both = listed.sent.map(|sent| sent.min(listed.received));
            let steps = (1..).map(|step| due + step * (period / 2));
            let within = |later: &u64| both.is_some_and(|both| *later <= both + period);
            match steps
                .take_while(within)
                .last()
                .filter(|later| *later > tick)
            {
                Some(later) => {
                    self.stats.saved += 1;
                    self.arm_at(place, later);
                }
                None => return Some(self.ask(place, told)),
            }
        }
        None
    }

    fn ask(&mut self, place: usize, told: Option<ProberEffect>) -> ProberEffect {
        let tick = self.time.tick();
        self.order += 1;
        self.stats.sent += 1;
        let listed = &mut self.list[place];
        let Some(ProberEffect::Probe { nonce, .. }) = told else {
            panic!("{told:?} instead of a probe of {:?}", listed.key);
        };
        assert_eq!(nonce >> 8, tick + TIMEOUT);
        assert_ne!(listed.nonce, Some(nonce));
        listed.nonce = Some(nonce);
        listed.number = nonce as u8;
        listed.sent = Some(tick);
        listed.at = At::Asked(tick + TIMEOUT, self.order);
        let conn = listed.key;
        ProberEffect::Probe { conn, nonce }
    }

    /// The first of a kind that is due.
    fn first(&self, of: impl Fn(At) -> Option<(u64, u64)>) -> Option<(usize, u64)> {
        let due = self.list.iter().enumerate();
        let due = due.filter_map(|(place, listed)| of(listed.at).map(|at| (at, place)));
        let ((at, _), place) = due.min()?;
        (at <= self.time.tick()).then_some((place, at))
    }

    fn period(&self, place: usize) -> u64 {
        self.periods[usize::from(self.list[place].group)]
    }

    fn asked(&self) -> u32 {
        let asked = |listed: &&Listed| matches!(listed.at, At::Asked(..));
        self.list.iter().filter(asked).count() as u32
    }

    /// How many are there, and their load.
    fn demand(&self) -> (u64, u64) {
        let alive = self.list.iter().enumerate();
        let alive = alive.filter(|(_, listed)| listed.at != At::Ended);
        let load = |place| match self.period(place) {
            0 => 0,
            period => (TIMEOUT.next_multiple_of(grain(period)) * 65_536).div_ceil(period),
        };
        alive.fold((0, 0), |(count, sum), (place, _)| {
            (count + 1, sum + load(place))
        })
    }

    fn note(&mut self) {
        self.demands.push((self.time.tick(), self.demand()));
    }

    fn window(&self) -> u32 {
        if let InFlight::Window(window) = self.in_flight {
            return window.max(1);
        }
        let begin = (self.time.tick() / SPAN).saturating_sub(1) * SPAN;
        // What was there when the span before began, and what came since.
        let before = self.demands.iter().rev().find(|(at, _)| *at < begin);
        let since = self.demands.iter().filter(|(at, _)| *at >= begin);
        let all = since.chain(before).map(|(_, demand)| *demand);
        let (count, load) = all.fold((0, 0), |most: (u64, u64), one| {
            (most.0.max(one.0), most.1.max(one.1))
        });
        let digits = u64::from(64 - count.leading_zeros());
        let window = load.div_ceil(65_536) + digits;
        window.min(count).max(1) as u32
    }

    /// How long after its moment the next one is asked.
    fn wait(&self) -> Option<u64> {
        let has_room = self.asked() < self.window();
        let waits = if has_room { 0 } else { WAIT };
        (has_room || self.in_flight == InFlight::Auto).then_some(waits)
    }

    fn find(&self, key: Key) -> Option<usize> {
        self.list.iter().position(|listed| listed.key == key)
    }

    /// A connection, also one that is gone.
    fn choose(&self, script: &mut Script<'_>) -> Option<Key> {
        let place = usize::from(script.byte()? % 8);
        let gone = Key::new(place as u32, 0);
        Some(self.list.get(place).map_or(gone, |listed| listed.key))
    }

    fn compare(&self) {
        assert_eq!(self.prober.len() as u64, self.demand().0);
        assert_eq!(self.prober.in_flight(), self.asked());
        assert_eq!(self.prober.window(), self.window());
        assert_eq!(self.prober.stats(), self.stats);
        let wait = self.wait();
        let due = self.list.iter().filter_map(|listed| match listed.at {
            At::Idle(due, _) => wait.map(|wait| due + wait),
            At::Asked(deadline, _) => Some(deadline),
            At::Off | At::Ended => None,
        });
        let earliest = due.chain(self.walk_at).min();
        let earliest = earliest.map(|tick| self.time.moment(tick));
        let told = self.prober.poll_timeout();
        // After a connection was armed anew it may be early, never late.
        assert_eq!(told.is_some(), earliest.is_some());
        assert!(told <= earliest, "{told:?} is later than {earliest:?}");
    }
}
