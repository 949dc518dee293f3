//! Heartbeats: who is asked, who answers, and who is ended.

use core::time::Duration;

use super::World;
use super::requests::message;
use crate::collections::model::Script;
use crate::heartbeat::{InFlight, LATE_MAX, LearnerSettings, Rule};
use crate::registration::Qualifier;
use crate::relay::connection::Role;
use crate::relay::{Event, Group, HeartbeatSettings};
use crate::wire::message::{Pong, ToRelay};
use crate::{Input, Instant};

/// Machines count whole milliseconds.
const TICK: Duration = Duration::from_millis(1);

/// Figures; none at the end of a script.
pub(super) fn draw(script: &mut Script<'_>) -> HeartbeatSettings {
    let [periods, more] = [(); 2].map(|()| usize::from(script.byte().unwrap_or_default()));
    let seconds = Duration::from_secs;
    let mut settings = HeartbeatSettings::default();
    settings.prober.period = seconds([0, 1, 3, 60][periods & 3]);
    settings.prober.response_timeout = seconds([1, 5][periods >> 2 & 1]);
    settings.prober.in_flight = match periods >> 3 & 3 {
        0 | 1 => InFlight::Auto,
        window => InFlight::Window(window as u32 - 1),
    };
    if periods >> 5 & 1 == 1 {
        settings.periods.push((Group::Site(0), seconds(2)));
    }
    let monitor = [(0, 60), (2, 1), (7, 3), (121, 10)][more & 3];
    (settings.heartbeat, settings.frequency) = (seconds(monitor.0), seconds(monitor.1));
    settings.learning = (more >> 2 & 1 == 1).then(|| LearnerSettings {
        deaths_needed: (more >> 3 & 3) as u8,
        tolerance_percent: 50,
        period_min: seconds(1),
        relax_after: seconds([10, 86_400][more >> 5 & 1]),
        groups_max: (more >> 6) as u16,
        ..LearnerSettings::default()
    });
    settings
}

impl super::peer::Line {
    /// Nothing is asked of it any more, and its silence begins now.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.heard_at = now;
        self.asked = None;
    }
}

impl World {
    /// Time passes, and the driver says so; it may have slept.
    pub(super) fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        let due = self.relay.watch.poll_timeout();
        if due.is_some_and(|due| self.now > due + LATE_MAX) {
            self.steady_since = self.steady_since.max(self.now);
        }
        self.forget_late_legs();
        self.input(Input::Timeout);
    }

    /// Meets so many deadlines, each a little late.
    pub(super) fn keep_deadlines(&mut self, script: &mut Script<'_>, count: u64) {
        for _ in 0..count {
            self.settle(script);
            let Some(at) = self.relay.watch.poll_timeout() else {
                return;
            };
            let late = Duration::from_millis(script.byte().unwrap_or_default().into());
            let span = at.saturating_since(self.now) + late;
            self.pass(span);
        }
    }

    pub(super) fn fall_silent(&mut self, script: &mut Script<'_>) {
        if let Some(at) = self.choose_peer(script) {
            self.peers[at].silent = true;
        }
    }

    /// Bytes are offered: the relay hears, unless it has ended the connection.
    pub(super) fn hear(&mut self, at: usize) {
        let (now, peer) = (self.now, &mut self.peers[at]);
        let role = self.relay.conns.get(peer.conn.key()).map(|conn| &conn.role);
        if let (Some(line), Some(Role::Line(_))) = (&mut peer.line, role) {
            line.begin_anew(now);
        }
    }

    /// A question comes: there is one at a time, unless the driver was away
    /// meanwhile.
    pub(super) fn asked(&mut self, at: usize, nonce: u64) {
        let (now, steady_since) = (self.now, self.steady_since);
        let line = self.peers[at].line.as_mut().expect("it is a line");
        let before = line.asked.replace((nonce, now));
        if let Some((before, asked_at)) = before {
            assert!(asked_at < steady_since, "asked twice");
            assert_ne!(before, nonce);
        }
        let settings = &self.heartbeats;
        let is_on = |period: &Duration| !period.is_zero();
        let mut periods = settings.periods.iter().map(|(_, period)| period);
        assert!(is_on(&settings.prober.period) || periods.any(is_on));
    }

    /// The peer answers what it was asked, for the most part.
    pub(super) fn answer(&mut self, script: &mut Script<'_>, at: usize) -> bool {
        let line = self.peers[at].line.as_ref();
        let Some((nonce, _)) = line.and_then(|line| line.asked) else {
            return false;
        };
        if script.one_in(4) {
            return false;
        }
        self.send(at, &message(&ToRelay::Pong(Pong { nonce })));
        true
    }

    pub(super) fn learn_of_heartbeats(&mut self, event: Event) {
        match event {
            Event::HeartbeatEnded {
                client,
                conn,
                silent_for,
                rule,
            } => {
                let peer = self.peers.iter().find(|peer| peer.conn == conn);
                let Some(peer) = peer else { return };
                let line = peer.line.as_ref().expect("a connection that serves");
                assert!(line.client == client && !line.is_gone());
                let silence = self.now.saturating_since(line.heard_at) + TICK;
                assert!(silent_for <= silence, "{silent_for:?} of {silence:?}");
                match rule {
                    Rule::Heartbeat => {
                        let limit = self.heartbeats.heartbeat;
                        assert!(!limit.is_zero() && silent_for > limit, "{silent_for:?}");
                    }
                    Rule::ResponseTimeout => {
                        let limit = self.heartbeats.prober.response_timeout;
                        let (_, at) = line.asked.expect("nobody is ended who was not asked");
                        let time = self.now.saturating_since(at) + TICK;
                        assert!(time >= limit, "it had {time:?}");
                        assert!(silent_for + TICK >= limit);
                    }
                }
            }
            Event::HeartbeatAdvice { client, .. } => assert!(self.registered.contains(&client)),
            Event::HeartbeatLearned { subnet, lesson } => {
                assert!(self.heartbeats.learning.is_some());
                assert!(self.places.values().flatten().any(|place| *place == subnet));
                assert!(lesson.period <= lesson.set && !lesson.period.is_zero());
            }
            other => panic!("not of a heartbeat: {other:?}"),
        }
    }

    /// Nobody who is dead is left after the worst case.
    pub(super) fn compare_heartbeats(&self) {
        let heartbeats = self.relay.heartbeats();
        assert!(heartbeats.connections as u64 <= self.relay.stats().lines);
        assert!(heartbeats.in_flight as usize <= heartbeats.connections);
        let prober = self.heartbeats.prober;
        if prober.in_flight != InFlight::Auto {
            return;
        }
        for peer in &self.peers {
            let Some(line) = peer.line.as_ref().filter(|line| line.is_open()) else {
                continue;
            };
            let held = peer.blocked || peer.paused || peer.closing.is_some();
            let period = self.period_of(line.client);
            if held || period.is_zero() {
                continue;
            }
            let since = line.heard_at.max(line.moved_at).max(self.steady_since);
            // With a window of fewer than all a probe may wait where moments
            // are not spread, as after moves; and each deadline may be met late.
            let spare = [Duration::from_secs(1), Duration::ZERO]
                [usize::from(period < prober.response_timeout * 3)];
            let limit = period + prober.response_timeout + spare + 2 * (LATE_MAX + TICK);
            let silence = self.now.saturating_since(since);
            assert!(silence <= limit, "{silence:?} is more than {limit:?}");
        }
    }

    /// The period that was set for a client: none that is learned is longer.
    fn period_of(&self, client: crate::ClientId) -> Duration {
        let record = self.relay.client(client);
        let subnet = record.and_then(|record| self.relay.subnet_of(record));
        let qualifier = subnet.map(|subnet| subnet.name.qualifier);
        match self.heartbeats.periods.first() {
            Some((_, period)) if qualifier == Some(Qualifier::Site(0)) => *period,
            _ => self.heartbeats.prober.period,
        }
    }
}
