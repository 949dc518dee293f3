//! Heartbeats on persistent connections: whether the clients are still there.
//!
//! The [`Prober`] asks each client once in the period of its subnet, site or
//! own; the [`Monitor`], where the settings have one, ends who was silent for
//! too long; the [`Learner`] shortens the period of subnets whose connections
//! keep dying idle. Any bytes of a client count as life.

mod groups;
mod terms;

use core::time::Duration;

use super::connection::{Conn, Role};
use super::{Event, HeartbeatStats, Relay};
use crate::heartbeat::{
    Advice, Ended, Figures, Learner, LearnerEffect, LearnerSettings, Monitor, MonitorSettings,
    Prober, ProberEffect, ProberLimits, Rule, advise_ends,
};
use crate::registration::body::HeartbeatFigures;
use crate::registration::{Admission, ClientRecord, Registry, Subnet};
use crate::{Close, CloseReason, ConnId, Instant, Key, Machine};
use groups::{Groups, Member};
pub use terms::{Group, HeartbeatSettings, Heartbeats, SubnetPeriod};

/// How soon an answer follows what it answers.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// The machines, and who is in which group.
pub(super) struct Watch {
    figures: Figures,
    groups: Groups,
    /// Some period is on: else nobody is put into the prober.
    is_asking: bool,
    prober: Prober,
    /// None while its figures are off.
    monitor: Option<Monitor>,
    learner: Option<Learner>,
    /// The next deadline of all three, when all they asked for was done last.
    due_at: Option<Instant>,
}

/// What is to be done about a connection; kept beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    /// It serves.
    is_open: bool,
    /// It is asked: its end can hear that, and its answer is read.
    is_asked: bool,
    /// A frame is half received, or nothing can be read or written at the
    /// moment. Each of these has a deadline of its own.
    is_busy: bool,
}

impl Watch {
    /// The settings are sound.
    pub(super) fn new(settings: &HeartbeatSettings, connections_max: u32) -> Self {
        let groups = Groups::new(settings);
        let limits = ProberLimits {
            connections_max,
            groups_max: groups.len_max(),
        };
        let mut prober = Prober::nearest(settings.prober, limits);
        for (number, period) in groups.periods() {
            // Both come from sound settings.
            let _ = prober.set_period(Instant::ORIGIN, number, period);
        }
        let monitor = MonitorSettings {
            heartbeat: settings.heartbeat,
            frequency: settings.frequency,
            connections_max,
        };
        let figures = settings.figures();
        let is_on = figures.worst_case_detection().is_some();
        let learner = settings.learning.map(|learning| LearnerSettings {
            groups_max: limits.groups_max,
            ..learning
        });
        let is_asking = groups.periods().any(|(_, period)| !period.is_zero());
        Self {
            figures,
            is_asking,
            groups,
            prober,
            monitor: is_on.then(|| Monitor::new(monitor)).and_then(Result::ok),
            learner: learner.and_then(|learner| Learner::new(learner).ok()),
            due_at: None,
        }
    }

    /// Gives the connection the period of its client; a probe that is
    /// unanswered stays so.
    fn ask(&mut self, now: Instant, conn: Key, member: &Member) {
        if !self.is_asking {
            return;
        }
        let place = self.groups.place(member);
        if let (Some(period), Some(learner)) = (place.anew, &mut self.learner) {
            // The figures come from sound settings, the number from `groups`.
            let _ = learner.set_period(place.group, period);
            let _ = self.prober.set_period(now, place.group, period);
        }
        if self.prober.group(conn) != Some(place.group) {
            let _ = self.prober.insert(now, conn, place.group);
        }
    }

    /// Does what has changed about a connection, but for [`ask`](Self::ask).
    fn set(&mut self, now: Instant, conn: Key, old: Watched, new: Watched) {
        if old.is_asked && !new.is_asked {
            self.prober.remove(conn);
        }
        let Some(monitor) = &mut self.monitor else {
            return;
        };
        match (old.is_open, new.is_open) {
            // There is a place for each connection.
            (false, true) => _ = monitor.insert(now, conn),
            (true, false) => monitor.remove(conn),
            _ => {}
        }
        match (old.is_busy, new.is_busy) {
            (false, true) => monitor.handle_exchange_begun(now, conn),
            (true, false) => monitor.handle_exchange_ended(now, conn),
            _ => {}
        }
    }

    pub(super) fn forget(&mut self, conn: Key) {
        self.prober.remove(conn);
        if let Some(monitor) = &mut self.monitor {
            monitor.remove(conn);
        }
    }

    pub(super) fn handle_sent(&mut self, now: Instant, conn: Key) {
        self.prober.handle_sent(now, conn);
    }

    /// A probe that is owed is written now; returns its nonce.
    pub(super) fn handle_asked(&mut self, now: Instant, conn: Key) -> Option<u64> {
        self.prober.handle_asked(now, conn)
    }

    /// Returns whether that settled a probe, so that another one may be due.
    pub(super) fn handle_received(&mut self, now: Instant, conn: Key) -> bool {
        let in_flight = self.prober.in_flight();
        self.learn(now, conn, Learner::handle_survival);
        self.prober.handle_received(now, conn);
        if let Some(monitor) = &mut self.monitor {
            monitor.handle_received(now, conn);
        }
        in_flight != self.prober.in_flight()
    }

    pub(super) fn handle_answer(&mut self, now: Instant, conn: Key, nonce: u64) {
        self.prober.handle_answer(now, conn, nonce);
    }

    /// The connection ended by itself: if that was its answer to a probe, it
    /// died idle.
    pub(super) fn handle_closed(&mut self, now: Instant, conn: Key, why: CloseReason) {
        if matches!(why, CloseReason::Reset | CloseReason::Failed) {
            self.learn_of_death(now, conn);
        }
    }

    /// The connection died idle, unless something was sent after the last that
    /// was received, and not as its answer: nobody knows whether that arrived.
    fn learn_of_death(&mut self, now: Instant, conn: Key) {
        let silent = self.prober.silent_before_probe(conn);
        let idle = self.prober.idle_before_probe(conn);
        if idle.map(|idle| idle + ANSWER_MAX) >= silent {
            self.learn(now, conn, Learner::handle_death);
        }
    }

    /// Tells what became of a connection that was idle until a probe.
    fn learn(
        &mut self,
        now: Instant,
        conn: Key,
        lesson: impl FnOnce(&mut Learner, Instant, u16, Duration),
    ) {
        if let Some(learner) = &mut self.learner
            && let Some(group) = self.prober.group(conn)
            && self.groups.subnet(group).is_some()
            && let Some(idle) = self.prober.idle_before_probe(conn)
        {
            lesson(learner, now, group, idle);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.prober.handle_timeout(now);
        if let Some(monitor) = &mut self.monitor {
            monitor.handle_timeout(now);
        }
        if let Some(learner) = &mut self.learner {
            learner.handle_timeout(now);
        }
    }

    /// When something is due next, if all that was asked for is done.
    pub(super) const fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let monitor = self.monitor.as_ref().and_then(Machine::poll_timeout);
        let learner = self.learner.as_ref().and_then(Machine::poll_timeout);
        let all = [self.prober.poll_timeout(), monitor, learner];
        all.into_iter().flatten().min()
    }

    pub(super) fn stats(&self) -> HeartbeatStats {
        HeartbeatStats {
            prober: self.prober.stats(),
            monitor: self
                .monitor
                .as_ref()
                .map(Monitor::stats)
                .unwrap_or_default(),
        }
    }

    fn poll(&mut self) -> Option<ProberEffect> {
        self.prober.poll().or_else(|| {
            let ended = self.monitor.as_mut().and_then(Machine::poll);
            ended.map(ProberEffect::End)
        })
    }

    /// A subnet has another period now.
    fn poll_lesson(&mut self, now: Instant) -> Option<(Option<Key>, LearnerEffect)> {
        let effect = self.learner.as_mut().and_then(Machine::poll)?;
        let _ = self
            .prober
            .set_period(now, effect.group, effect.lesson.period);
        Some((self.groups.subnet(effect.group), effect))
    }

    /// What a client is told of this end. Of its period what was set: one that
    /// is learned is shorter, and may be longer again.
    fn stated(&self, member: &Member) -> Figures {
        Figures {
            period: self.groups.period(member),
            ..self.figures
        }
    }
}

fn member_of(registry: &Registry, record: &ClientRecord) -> Member {
    Member {
        client: record.id,
        subnet: record.subnet,
        name: registry.subnet(record.subnet).map(|subnet| subnet.name),
        site: record.site(),
    }
}

impl Relay {
    /// What the heartbeats come to at the moment.
    pub fn heartbeats(&self) -> Heartbeats {
        let prober = &self.watch.prober;
        Heartbeats {
            connections: prober.len(),
            in_flight: prober.in_flight(),
            window: prober.window(),
            worst_case_detection: prober.worst_case_detection(0),
            monitor_detection: self.watch.figures.worst_case_detection(),
        }
    }

    /// The periods that were set for groups, and after which time at most a
    /// dead peer of each is found; `None` if that is off.
    pub fn heartbeat_periods(&self) -> impl Iterator<Item = (Group, Duration, Option<Duration>)> {
        let prober = &self.watch.prober;
        let set = self.watch.groups.set();
        set.map(|(group, number)| {
            let worst = prober.worst_case_detection(number);
            (group, prober.period(number), worst)
        })
    }

    /// The period of a subnet, and what was learned about it; `None` if nothing
    /// is learned about it, so that each client has the period that was set.
    pub fn subnet_period(&self, subnet: &Subnet) -> Option<SubnetPeriod> {
        let group = self.watch.groups.learned(subnet.key)?;
        let learner = self.watch.learner.as_ref()?;
        (self.watch.groups.subnet(group) == Some(subnet.key)).then(|| SubnetPeriod {
            period: learner.period(group),
            lesson: learner.lesson(group),
        })
    }

    /// What a client that has registered is told of the heartbeats here. What
    /// does not fit what it says of its own is told once for each of its starts.
    pub(super) fn compare_heartbeats(&mut self, admission: &Admission) -> Option<HeartbeatFigures> {
        let record = self.registry.get(admission.client)?;
        let here = self.watch.stated(&member_of(&self.registry, record));
        if let Some(stated) = admission.heartbeat.filter(|_| admission.started) {
            let there = stated.spans().into();
            let client = record.id;
            // How often either end looks is told to that end alone.
            let advised = advise_ends(&here, &there, true)
                .filter(|it| !matches!(it, Advice::FrequencyTooLong { .. }));
            let events = advised.map(|advice| Event::HeartbeatAdvice { client, advice });
            self.events.extend(events);
        }
        Some(HeartbeatFigures::new(
            here.period,
            here.heartbeat,
            here.frequency,
        ))
    }

    /// The client on the connection may be in another subnet.
    pub(super) fn regroup(&mut self, conn: ConnId) {
        let Some(Role::Line(line)) = self.conns.get(conn.key()).map(|conn| &conn.role) else {
            return;
        };
        if let Some(record) = self
            .registry
            .get(line.client)
            .filter(|_| line.watched.is_asked)
        {
            let member = member_of(&self.registry, record);
            self.watch.ask(self.now, conn.key(), &member);
            self.heartbeats_due = true;
        }
    }

    /// The one place where prober and monitor follow a connection's state.
    pub(super) fn settle_watch(&mut self, key: Key) {
        let Some(Conn {
            role: Role::Line(line),
            blocked,
            resume,
            ..
        }) = self.conns.get_mut(key)
        else {
            return;
        };
        let is_open = !line.is_leaving();
        let is_held = *blocked || *resume;
        let new = Watched {
            is_open,
            is_asked: is_open && !is_held,
            is_busy: is_open && (is_held || line.is_amid_frame()),
        };
        let old = core::mem::replace(&mut line.watched, new);
        if old == new {
            return;
        }
        if !new.is_asked {
            line.owe_no_ping();
        }
        let client = line.client;
        self.heartbeats_due = true;
        self.watch.set(self.now, key, old, new);
        if new.is_asked
            && !old.is_asked
            && let Some(record) = self.registry.get(client)
        {
            let member = member_of(&self.registry, record);
            self.watch.ask(self.now, key, &member);
        }
    }

    /// Does what the heartbeats ask for, as far as there is room for events.
    pub(super) fn settle_heartbeats(&mut self) {
        while self.events.len() < self.limits.events_max {
            let Some(effect) = self.watch.poll() else {
                return self.settle_lessons();
            };
            match effect {
                ProberEffect::Probe { conn, .. } => {
                    if let Some(line) = self.line_of(ConnId::from_key(conn)) {
                        line.owe_ping();
                        self.touched(ConnId::from_key(conn));
                    }
                }
                ProberEffect::End(ended) => self.handle_silent(ended),
            }
        }
    }

    fn settle_lessons(&mut self) {
        while self.events.len() < self.limits.events_max {
            let Some((subnet, effect)) = self.watch.poll_lesson(self.now) else {
                self.heartbeats_due = false;
                self.watch.due_at = self.watch.poll_timeout();
                return;
            };
            if let Some(subnet) = subnet.and_then(|subnet| self.registry.subnet(subnet)) {
                self.stats.heartbeat_lessons += 1;
                self.events.push_back(Event::HeartbeatLearned {
                    subnet: subnet.name,
                    lesson: effect.lesson,
                });
            }
        }
    }

    /// A client was not heard for too long: its connection is ended.
    fn handle_silent(&mut self, ended: Ended) {
        let Ended {
            conn,
            silent_for,
            rule,
        } = ended;
        let (now, id) = (self.now, ConnId::from_key(conn));
        let Some(line) = self.line_of(id) else {
            return;
        };
        if rule == Rule::ResponseTimeout && line.owes_ping() {
            // What was not asked yet needs no answer yet.
            return self.watch.prober.handle_not_asked(now, conn);
        }
        let client = line.client;
        if rule == Rule::ResponseTimeout {
            self.watch.learn_of_death(now, conn);
        }
        if let Some(client) = self.registry.get(client).map(|record| record.id) {
            self.events.push_back(Event::HeartbeatEnded {
                client,
                conn: id,
                silent_for,
                rule,
            });
        }
        self.end(id, Close::Abort, rule.name());
    }
}
