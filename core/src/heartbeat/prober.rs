//! Asks every connection once in a period whether its other end is there.

mod demand;
mod phase;
mod record;
mod terms;
#[cfg(test)]
mod tests;

use core::time::Duration;

use super::clock::{Clock, millis};
use super::terms::{
    Ended, InFlight, Rule, SettingError, WatchError, check_span, sound_response_timeout, sound_span,
};
use crate::collections::{Chunks, Slots};
use crate::{Instant, Key, Machine};
use demand::{Demand, Peak};
use phase::Phase;
use record::{Group, NOBODY, Probed, State};
pub use terms::{ProberEffect, ProberLimits, ProberSettings, ProberStats};

/// For each connection, links included.
pub(super) const BYTES: usize = size_of::<Probed>();

/// Connections that one call looks at after a period was changed.
const WALK_STEPS: u32 = 1_024;

/// With [`InFlight::Auto`] a probe waits no longer for a full window, in
/// milliseconds.
const WAIT_MAX_MS: u64 = 1_000;

/// Sends probes, and ends connections whose other end does not answer.
///
/// **When.** Each connection has a moment of its own in the period, which
/// follows from its place alone: the places 0, 1, 2, … are spread evenly
/// (golden ratio), whether they are taken at once or one by one. So a
/// connection is probed exactly a period after the start of its last probe,
/// and a fleet never all at once. Moments are a 1,200th of the period apart,
/// 1 ms to 50 ms: a few of many connections share one, and a turn of the
/// driver's loop.
///
/// **Saved.** If bytes were both sent and received within the last half of the
/// period, the probe is put off by half a period: neither direction is ever
/// silent for longer than a period while the other end lives. (Putting it off
/// by all of it would leave silence of two periods, which is all that a
/// monitor bears; and a fleet that answers one notification would be probed
/// at one moment.) The next one is at the connection's own moment again.
///
/// **Life.** Any bytes that were received after the probe was sent settle it:
/// who sends is alive, and its answer may stand in a queue behind them.
/// Whether it also hears this end is what its own monitor finds out.
///
/// **In flight.** So many probes are unanswered at a time ([`InFlight`]); those
/// that are due wait in the order of their moments, with [`InFlight::Auto`] for
/// a second at most. A connection has one at most.
///
/// **Groups** are numbers that the caller gives to subnets, sites or child
/// relays whose period is their own.
///
/// Everything is O(1): bytes, probes, answers, ends. 32 bytes for each
/// connection.
pub struct Prober {
    settings: ProberSettings,
    timeout: u64,
    table: Chunks<Probed>,
    groups: Chunks<Group>,
    /// Connections that are [`State::Idle`], and those that are
    /// [`State::Asked`].
    due: Slots,
    asked: Slots,
    in_flight: u32,
    /// Of the connections that were not ended.
    demand: Demand,
    peak: Peak,
    /// The place where the walk after a change of periods goes on, and when.
    walk: Option<(u32, u64)>,
    /// Periods were changed behind the walk's back.
    walks_again: bool,
    clock: Clock,
    /// Probes that were sent before this tick went out before a jump.
    jumped_at: u64,
    stats: ProberStats,
}

impl Prober {
    /// A prober of no connection.
    ///
    /// # Errors
    /// A figure is out of its range.
    pub fn new(settings: ProberSettings, limits: ProberLimits) -> Result<Self, SettingError> {
        check_span("period", settings.period)?;
        let timeout = settings.response_timeout;
        if sound_response_timeout(timeout) != timeout {
            return Err(SettingError::ResponseTimeout(timeout));
        }
        Ok(Self::nearest(settings, limits))
    }

    /// A prober of no connection. A figure that is out of its range counts as
    /// the nearest that is not.
    pub fn nearest(mut settings: ProberSettings, limits: ProberLimits) -> Self {
        settings.period = sound_span(settings.period);
        settings.response_timeout = sound_response_timeout(settings.response_timeout);
        let timeout = settings.response_timeout;
        Self {
            settings,
            timeout: millis(timeout).into(),
            table: Chunks::new(limits.connections_max),
            groups: Chunks::new(limits.groups_max.max(1).into()),
            due: Slots::new(),
            asked: Slots::new(),
            in_flight: 0,
            demand: Demand::default(),
            peak: Peak::new(millis(settings.period), millis(timeout)),
            walk: None,
            walks_again: false,
            clock: Clock::new(),
            jumped_at: 0,
            stats: ProberStats::default(),
        }
    }

    /// Sets the period of a group; 0 is off. Connections that are there take a
    /// shorter one over within milliseconds, a longer one after their next
    /// probe.
    ///
    /// # Errors
    /// The period or the group is out of its range; nothing is changed.
    pub fn set_period(
        &mut self,
        now: Instant,
        group: u16,
        period: Duration,
    ) -> Result<(), SettingError> {
        self.advance(now);
        check_span("period", period)?;
        let groups_max = self.groups.len_max() as u16;
        let filler = self.unset();
        let entry = self.groups.get_or_grow(group.into(), filler);
        let entry = entry.ok_or(SettingError::Group { group, groups_max })?;
        let before = core::mem::replace(&mut entry.period, millis(period));
        let (period, connections) = (entry.period, u64::from(entry.connections));
        self.demand.load -= connections * self.weight(before);
        self.demand.load += connections * self.weight(period);
        self.peak.stretch(period, self.demand);
        if connections > 0 && before != period {
            let (place, _) = *self.walk.get_or_insert_with(|| (0, self.clock.tick() + 1));
            self.walks_again |= place > 0;
        }
        Ok(())
    }

    /// The period of a group, zero if it is off.
    pub fn period(&self, group: u16) -> Duration {
        Duration::from_millis(self.period_of(group).into())
    }

    /// Probes a connection from now on, as one of the group. Another one that
    /// had its place is forgotten. One that is probed already changes its
    /// group: a probe that is unanswered stays so, and the next one is at the
    /// sooner of its moments.
    ///
    /// # Errors
    /// [`WatchError`]; nothing is changed.
    pub fn insert(&mut self, now: Instant, conn: Key, group: u16) -> Result<(), WatchError> {
        self.advance(now);
        let place = conn.index() as u32;
        if place >= self.table.len_max() || conn.generation() == NOBODY {
            return Err(WatchError::Place);
        }
        let filler = self.unset();
        let entry = self.groups.get_or_grow(group.into(), filler);
        entry.ok_or(WatchError::Group)?;
        if self.probed(conn).is_some_and(|it| it.state != State::Ended) {
            self.regroup(place, group);
            return Ok(());
        }
        self.vacate(place);
        let tick = self.clock.tick();
        let entry = self.table.get_or_grow(place, Probed::NONE);
        *entry.ok_or(WatchError::Place)? = Probed::new(conn.generation(), group, tick);
        self.count(group, true);
        self.arm(place, tick);
        Ok(())
    }

    /// The connection is gone, or is not to be probed any more.
    pub fn remove(&mut self, conn: Key) {
        if self.find(conn).is_some() {
            self.vacate(conn.index() as u32);
        }
    }

    /// The probe of a connection is written only now, not when it was asked
    /// for: returns the nonce that it has to carry. Its answer may take the
    /// response timeout from now on. Without this call the time runs from the
    /// effect, and the nonce is the effect's.
    ///
    /// A probe that other bytes have settled is still to be written, as the
    /// other end may listen for it. `None` if there is none: it was answered,
    /// or the connection was ended or is not probed.
    pub fn handle_asked(&mut self, now: Instant, conn: Key) -> Option<u64> {
        self.advance(now);
        let deadline = self.clock.tick() + self.timeout;
        let probed = self.find(conn)?;
        let nonce = probed.ask_late(deadline)?;
        if probed.state == State::Asked && probed.spot.tick < deadline {
            let place = conn.index() as u32;
            self.asked.remove(&mut self.table, place);
            self.asked.insert(&mut self.table, place, deadline);
        }
        Some(nonce)
    }

    /// The connection was not ended, because its probe has not been sent yet:
    /// it stays one that is asked, from now on.
    pub fn handle_not_asked(&mut self, now: Instant, conn: Key) {
        self.advance(now);
        let deadline = self.clock.tick() + self.timeout;
        let Some(probed) = self.find(conn).filter(|it| it.state == State::Ended) else {
            return;
        };
        probed.state = State::Asked;
        let group = probed.group;
        self.asked
            .insert(&mut self.table, conn.index() as u32, deadline);
        self.in_flight += 1;
        self.count(group, true);
        self.stats.ended -= 1;
    }

    /// Bytes were sent.
    pub fn handle_sent(&mut self, now: Instant, conn: Key) {
        self.advance(now);
        let tick = self.clock.tick();
        // What goes out with or behind a probe does not count: see `handle_received`.
        if let Some(probed) = self.find(conn).filter(|it| !it.is_asked()) {
            probed.sent = tick as u32;
        }
    }

    /// Bytes were received.
    pub fn handle_received(&mut self, now: Instant, conn: Key) {
        self.advance(now);
        let (tick, timeout) = (self.clock.tick(), self.timeout);
        let Some(probed) = self.find(conn) else {
            return;
        };
        probed.received = tick as u32;
        if probed.state == State::Asked {
            let asked_at = probed.spot.tick.saturating_sub(timeout);
            // A probe and its answer are no reason to save the next one.
            probed.sent = Probed::long_before(tick);
            let place = conn.index() as u32;
            self.disarm(place);
            self.arm(place, asked_at);
        }
    }

    /// The answer to a probe was received.
    pub fn handle_answer(&mut self, now: Instant, conn: Key, nonce: u64) {
        self.handle_received(now, conn);
        let tick = self.clock.tick();
        let Some(probed) = self.find(conn) else {
            return;
        };
        let counter = match probed.answer(nonce) {
            Some(deadline) if tick < deadline => &mut self.stats.answered,
            Some(_) => &mut self.stats.late,
            None => &mut self.stats.unasked,
        };
        *counter += 1;
    }

    /// The group of a connection that is probed.
    pub fn group(&self, conn: Key) -> Option<u16> {
        self.probed(conn).map(|probed| probed.group)
    }

    /// For how long nothing had been said in either direction when a probe was
    /// sent that is unanswered, or was when the connection was ended: what a
    /// [`Learner`](super::Learner) is told of.
    pub fn idle_before_probe(&self, conn: Key) -> Option<Duration> {
        self.before_probe(conn, Probed::idle)
    }

    /// For how long nothing had been received then.
    pub fn silent_before_probe(&self, conn: Key) -> Option<Duration> {
        self.before_probe(conn, Probed::silence)
    }

    /// A span that ended when a probe was sent.
    fn before_probe(&self, conn: Key, span: impl Fn(&Probed, u64) -> u32) -> Option<Duration> {
        let probed = self.probed(conn).filter(|it| it.is_asked())?;
        let asked_at = probed.spot.tick.saturating_sub(self.timeout);
        Some(Duration::from_millis(span(probed, asked_at).into()))
    }

    /// How many connections are probed: those that are there and were not
    /// ended, also in groups that are off.
    pub const fn len(&self) -> usize {
        self.demand.connections as usize
    }

    /// Whether there is no such connection.
    pub const fn is_empty(&self) -> bool {
        self.demand.connections == 0
    }

    /// How many probes are unanswered.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How many probes may be unanswered at the moment, but for those that
    /// waited for long ([`InFlight::Auto`]). While a fleet dies it stays what
    /// the whole fleet needed.
    pub fn window(&self) -> u32 {
        match self.settings.in_flight {
            InFlight::Window(0) => 1,
            InFlight::Window(window) => window,
            InFlight::Auto => self.peak.get().window().max(1),
        }
    }

    /// After which time at most a dead peer of the group is ended, counted
    /// from the last bytes that it sent, with as many connections as there
    /// are; see [`ProberSettings::worst_case_detection`]. `None` if the group
    /// is off.
    pub fn worst_case_detection(&self, group: u16) -> Option<Duration> {
        self.settings.worst_case(self.period(group), self.demand)
    }

    /// What it did so far.
    pub const fn stats(&self) -> ProberStats {
        ProberStats {
            jumps: self.clock.jumps(),
            ..self.stats
        }
    }

    fn unset(&self) -> Group {
        Group {
            period: millis(self.settings.period),
            connections: 0,
        }
    }

    fn period_of(&self, group: u16) -> u32 {
        let set = self.groups.get(group.into());
        set.map_or_else(|| self.unset().period, |group| group.period)
    }

    /// The share of a window that a connection with the period needs.
    fn weight(&self, period: u32) -> u64 {
        demand::weight(self.timeout, period)
    }

    /// How long after its moment a probe is sent at present, in ticks; `None`
    /// until another one is answered or its connection is ended.
    fn wait(&self) -> Option<u64> {
        match self.settings.in_flight {
            _ if self.in_flight < self.window() => Some(0),
            InFlight::Auto => Some(WAIT_MAX_MS),
            InFlight::Window(_) => None,
        }
    }

    fn advance(&mut self, now: Instant) {
        if !self.clock.is_before(now) {
            return;
        }
        let due = self.poll_timeout();
        if self.clock.advance(now, due) {
            self.jumped_at = self.clock.tick();
        }
        self.peak.advance(self.clock.tick(), self.demand);
    }

    fn probed(&self, conn: Key) -> Option<&Probed> {
        let probed = self.table.get(conn.index())?;
        (probed.generation == conn.generation() && probed.generation != NOBODY).then_some(probed)
    }

    fn find(&mut self, conn: Key) -> Option<&mut Probed> {
        let probed = self.table.get_mut(conn.index())?;
        (probed.generation == conn.generation() && probed.generation != NOBODY).then_some(probed)
    }

    /// One more or one less of a group is probed.
    fn count(&mut self, group: u16, comes: bool) {
        let weight = self.weight(self.period_of(group));
        let entry = &mut self.groups[group.into()];
        if comes {
            entry.connections += 1;
            self.demand.connections += 1;
            self.demand.load += weight;
        } else {
            entry.connections -= 1;
            self.demand.connections -= 1;
            self.demand.load -= weight;
        }
        self.peak.note(self.demand);
    }

    /// Forgets who is at the place.
    fn vacate(&mut self, place: u32) {
        let Some(probed) = self.table.get(place as usize) else {
            return;
        };
        let (state, group) = (probed.state, probed.group);
        if probed.generation == NOBODY {
            return;
        }
        self.disarm(place);
        self.table[place] = Probed::NONE;
        if state != State::Ended {
            self.count(group, false);
        }
    }

    /// Who is at the place is one of another group from now on.
    fn regroup(&mut self, place: u32, group: u16) {
        let Probed {
            state,
            spot,
            group: before,
            ..
        } = self.table[place];
        self.count(before, false);
        self.table[place].group = group;
        self.count(group, true);
        if state == State::Asked {
            return;
        }
        let tick = self.clock.tick();
        let own = Phase::new(place, self.period_of(group)).map(|phase| phase.next(tick));
        self.disarm(place);
        if let Some(own) = own {
            let kept = (state == State::Idle).then_some(spot.tick);
            self.arm_at(place, kept.map_or(own, |kept| kept.min(own)));
        }
    }

    /// Sets the next probe: at the last own moment within a period of `from`.
    fn arm(&mut self, place: u32, from: u64) {
        let period = self.period_of(self.table[place].group);
        match Phase::new(place, period) {
            None => self.table[place].state = State::Off,
            Some(phase) => self.arm_at(place, phase.next(from)),
        }
    }

    fn arm_at(&mut self, place: u32, tick: u64) {
        self.table[place].state = State::Idle;
        self.due.insert(&mut self.table, place, tick);
    }

    /// Takes the connection out of where it waits.
    fn disarm(&mut self, place: u32) {
        match self.table[place].state {
            State::Off | State::Ended => {}
            State::Idle => self.due.remove(&mut self.table, place),
            State::Asked => {
                self.asked.remove(&mut self.table, place);
                self.in_flight -= 1;
            }
        }
        self.table[place].state = State::Off;
    }

    /// A probe is due, unless traffic puts it off.
    fn handle_due(&mut self, place: u32) -> Option<ProberEffect> {
        let tick = self.clock.tick();
        let probed = self.table[place];
        let Some(phase) = Phase::new(place, self.period_of(probed.group)) else {
            self.table[place].state = State::Off;
            return None;
        };
        if let Some(later) = phase.put_off(probed.spot.tick, tick, probed.quiet(tick)) {
            self.stats.saved += 1;
            self.arm_at(place, later);
            return None;
        }
        Some(self.probe(place))
    }

    fn probe(&mut self, place: u32) -> ProberEffect {
        let tick = self.clock.tick();
        let deadline = tick + self.timeout;
        let probed = &mut self.table[place];
        probed.state = State::Asked;
        let conn = Key::new(place, probed.generation);
        let nonce = probed.ask(deadline);
        self.asked.insert(&mut self.table, place, deadline);
        self.in_flight += 1;
        self.stats.sent += 1;
        ProberEffect::Probe { conn, nonce }
    }

    /// The answer did not come in time. If the clock jumped meanwhile, that
    /// says nothing: it is asked again.
    fn handle_unanswered(&mut self, place: u32) -> ProberEffect {
        self.in_flight -= 1;
        let tick = self.clock.tick();
        let probed = &mut self.table[place];
        if probed.spot.tick < self.jumped_at + self.timeout {
            return self.probe(place);
        }
        probed.state = State::Ended;
        let ended = Ended {
            conn: Key::new(place, probed.generation),
            silent_for: Duration::from_millis(probed.silence(tick).into()),
            rule: Rule::ResponseTimeout,
        };
        let group = probed.group;
        self.count(group, false);
        self.stats.ended += 1;
        ProberEffect::End(ended)
    }

    /// Looks at some of the connections, after periods were changed.
    fn walk(&mut self) {
        let tick = self.clock.tick();
        let Some((first, _)) = self.walk.filter(|(_, at)| *at <= tick) else {
            return;
        };
        let end = self.table.len().min(first.saturating_add(WALK_STEPS));
        for place in first..end {
            let Probed {
                state, group, spot, ..
            } = self.table[place];
            let period = self.period_of(group);
            let is_stale = match state {
                State::Idle => period == 0 || spot.tick > tick + u64::from(period),
                State::Off => period > 0 && self.table[place].generation != NOBODY,
                State::Asked | State::Ended => false,
            };
            if is_stale {
                self.disarm(place);
                self.table[place].sent = Probed::long_before(tick);
                self.arm(place, tick);
            }
        }
        self.walk = if end < self.table.len() {
            Some((end, tick + 1))
        } else {
            core::mem::take(&mut self.walks_again).then_some((0, tick + 1))
        };
    }
}

impl Machine for Prober {
    type Effect = ProberEffect;

    fn poll_timeout(&self) -> Option<Instant> {
        let first = self.due.next_tick();
        let due = first.and_then(|tick| Some(tick + self.wait()?));
        let walk = self.walk.map(|(_, at)| at);
        let next = [due, self.asked.next_tick(), walk].into_iter().flatten();
        next.min().map(|tick| self.clock.moment(tick))
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.walk();
    }

    fn poll(&mut self) -> Option<ProberEffect> {
        let tick = self.clock.tick();
        if let Some(place) = self.asked.expire(&mut self.table, tick) {
            return Some(self.handle_unanswered(place));
        }
        while let Some(wait) = self.wait() {
            let due = self.due.first_due(&mut self.table, tick)?;
            if due + wait > tick {
                break;
            }
            let place = self.due.expire(&mut self.table, tick)?;
            if let Some(effect) = self.handle_due(place) {
                return Some(effect);
            }
        }
        None
    }
}
