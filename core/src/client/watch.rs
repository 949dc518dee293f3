//! Heartbeats on the persistent connection: whether the relay is still there.
//!
//! The [`Monitor`] ends a connection that was silent for too long; it expects
//! what the relay says that it sends, unless the settings say otherwise. The
//! [`Prober`] asks by itself, where the settings have it do so. Any bytes of
//! the relay count as life.

use alloc::boxed::Box;
use core::time::Duration;

use arrayvec::ArrayVec;

use super::event::{Event, Failure};
use super::settings::HeartbeatSettings;
use super::{CONNECTIONS_MAX, Client, Conn, Stage};
use crate::heartbeat::{
    Advice, Ended, Figures, InFlight, Monitor, MonitorSettings, PERIOD_MAX, PERIOD_MIN, Prober,
    ProberEffect, ProberLimits, ProberSettings, ProberStats, Rule, advise_ends,
};
use crate::registration::body::HeartbeatFigures;
use crate::{Close, Instant, Key, Machine};

/// What is wrong with the figures of both ends, at most.
type Advices = ArrayVec<Advice, 5>;

/// The heartbeats that a client goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heartbeats {
    /// How often the relay asks, as it stated at the last registration, in
    /// whole seconds; 0 if it does not. `None` if it stated nothing.
    pub relay_period: Option<Duration>,
    /// How often the client itself asks; 0 if it does not.
    pub period: Duration,
    /// How long the answer may take.
    pub response_timeout: Duration,
    /// The silence after which the persistent connection is ended; 0 is off.
    pub heartbeat: Duration,
    /// How often that is looked for; 0 is off.
    pub frequency: Duration,
    /// After which time at most a silent relay is found, counted from its last
    /// bytes: the sooner of what the client finds by asking and by listening.
    /// `None` if it does neither.
    pub worst_case_detection: Option<Duration>,
}

/// Two machines, and what they watch.
pub(super) struct Watch {
    settings: HeartbeatSettings,
    /// What the relay stated last.
    relay: Option<HeartbeatFigures>,
    /// None if the period is 0; it has slots for timers, which are large.
    prober: Option<Box<Prober>>,
    /// None while its figures are off.
    monitor: Option<Monitor>,
    /// The monitor's figures, which may follow the relay's.
    figures: Figures,
    /// What is watched at the moment.
    watched: Option<Watched>,
    /// What was told last.
    advised: Advices,
}

/// A connection, and what is going on there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watched {
    conn: Key,
    /// Nothing can be written, or this end does not read: the answer to a probe
    /// could not come.
    is_held: bool,
    /// A frame is half received, or the connection is held.
    /// Each of these has a deadline of its own.
    is_busy: bool,
}

impl Watch {
    pub(super) fn new(settings: HeartbeatSettings) -> Self {
        let settings = settings.sound();
        let prober = asking(&settings);
        let limits = ProberLimits {
            connections_max: CONNECTIONS_MAX,
            groups_max: 1,
        };
        let is_on = !settings.period.is_zero();
        let mut watch = Self {
            settings,
            relay: None,
            prober: is_on.then(|| Box::new(Prober::nearest(prober, limits))),
            monitor: None,
            figures: Figures::default(),
            watched: None,
            advised: Advices::new(),
        };
        watch.follow(Instant::ORIGIN, None);
        watch
    }

    /// What the relay is told of this end's figures. What follows the relay's
    /// fits, and is stated as off.
    pub(super) fn stated(&self) -> Option<HeartbeatFigures> {
        let own = self.settings;
        let has_own = own.heartbeat.is_some() || own.frequency.is_some();
        let is_set = own.heartbeat.is_some();
        let frequency = match is_set {
            true => self.figures.frequency,
            false => own.frequency.unwrap_or_default(),
        };
        let heartbeat = own.heartbeat.unwrap_or_default();
        (has_own || !own.period.is_zero())
            .then(|| HeartbeatFigures::new(own.period, heartbeat, frequency))
    }

    /// The relay has stated its figures, or none: the monitor follows. Returns
    /// what does not fit, if that is something else than before.
    pub(super) fn handle_figures(
        &mut self,
        now: Instant,
        relay: Option<HeartbeatFigures>,
    ) -> Advices {
        self.relay = relay;
        self.follow(now, relay);
        let advised: Advices = self.advice(relay).collect();
        if advised == self.advised {
            return Advices::new();
        }
        self.advised = advised.clone();
        advised
    }

    fn follow(&mut self, now: Instant, relay: Option<HeartbeatFigures>) {
        let figures = monitored(&self.settings, relay);
        if figures == self.figures {
            return;
        }
        self.figures = figures;
        let is_on = figures.worst_case_detection().is_some();
        let settings = MonitorSettings {
            heartbeat: figures.heartbeat,
            frequency: figures.frequency,
            connections_max: CONNECTIONS_MAX,
        };
        let monitor = is_on.then(|| Monitor::new(settings));
        self.monitor = monitor.and_then(Result::ok);
        if let (Some(monitor), Some(watched)) = (&mut self.monitor, self.watched) {
            // Its place is below the table's end.
            let _ = monitor.insert(now, watched.conn);
            if watched.is_busy {
                monitor.handle_exchange_begun(now, watched.conn);
            }
        }
    }

    fn heartbeats(&self) -> Heartbeats {
        let by_asking = asking(&self.settings).worst_case_detection(1);
        let by_listening = self.figures.worst_case_detection();
        let relay = self.relay.map(|relay| Figures::from(relay.spans()));
        Heartbeats {
            relay_period: relay.map(|relay| relay.period),
            period: self.settings.period,
            response_timeout: self.settings.response_timeout,
            heartbeat: self.figures.heartbeat,
            frequency: self.figures.frequency,
            worst_case_detection: by_asking.into_iter().chain(by_listening).min(),
        }
    }

    fn advice(&self, relay: Option<HeartbeatFigures>) -> impl Iterator<Item = Advice> + use<> {
        let here = Figures {
            period: self.settings.period,
            ..self.figures
        };
        let there = relay.unwrap_or_default().spans().into();
        advise_ends(&here, &there, relay.is_some())
    }

    /// What is to be watched from now on.
    fn set(&mut self, now: Instant, watched: Option<Watched>) {
        if self.watched == watched {
            return;
        }
        let old = core::mem::replace(&mut self.watched, watched);
        let before = |conn| old.filter(|old| old.conn == conn);
        if let Some(old) = old.filter(|old| watched.is_none_or(|new| new.conn != old.conn)) {
            self.forget(old.conn);
        }
        let Some(new) = watched else {
            return;
        };
        let before = before(new.conn);
        match (before.is_some_and(|old| !old.is_held), !new.is_held) {
            (false, true) => self.ask_later(now, new.conn),
            (true, false) => self.ask_no_more(new.conn),
            _ => {}
        }
        if let Some(monitor) = &mut self.monitor {
            if before.is_none() {
                let _ = monitor.insert(now, new.conn);
            }
            match (before.is_some_and(|old| old.is_busy), new.is_busy) {
                (false, true) => monitor.handle_exchange_begun(now, new.conn),
                (true, false) => monitor.handle_exchange_ended(now, new.conn),
                _ => {}
            }
        }
    }

    /// Probes the connection as one that is new.
    fn ask_later(&mut self, now: Instant, conn: Key) {
        if let Some(prober) = &mut self.prober {
            // Its place is below the table's end.
            let _ = prober.insert(now, conn, 0);
        }
    }

    fn ask_no_more(&mut self, conn: Key) {
        if let Some(prober) = &mut self.prober {
            prober.remove(conn);
        }
    }

    fn forget(&mut self, conn: Key) {
        self.ask_no_more(conn);
        if let Some(monitor) = &mut self.monitor {
            monitor.remove(conn);
        }
    }

    pub(super) fn handle_received(&mut self, now: Instant, conn: Key) {
        if let Some(prober) = &mut self.prober {
            prober.handle_received(now, conn);
        }
        if let Some(monitor) = &mut self.monitor {
            monitor.handle_received(now, conn);
        }
    }

    pub(super) fn handle_sent(&mut self, now: Instant, conn: Key) {
        if let Some(prober) = &mut self.prober {
            prober.handle_sent(now, conn);
        }
    }

    /// A probe that is owed is written now; returns its nonce.
    pub(super) fn handle_asked(&mut self, now: Instant, conn: Key) -> Option<u64> {
        self.prober.as_mut()?.handle_asked(now, conn)
    }

    /// A probe was not written in time.
    fn handle_not_asked(&mut self, now: Instant, conn: Key) {
        if let Some(prober) = &mut self.prober {
            prober.handle_not_asked(now, conn);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(prober) = &mut self.prober {
            prober.handle_timeout(now);
        }
        if let Some(monitor) = &mut self.monitor {
            monitor.handle_timeout(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let prober = self.prober.as_ref().and_then(|it| it.poll_timeout());
        let monitor = self.monitor.as_ref().and_then(Machine::poll_timeout);
        [prober, monitor].into_iter().flatten().min()
    }

    fn poll(&mut self) -> Option<ProberEffect> {
        let prober = self.prober.as_mut().and_then(|it| it.poll());
        prober.or_else(|| {
            let ended = self.monitor.as_mut().and_then(Machine::poll);
            ended.map(ProberEffect::End)
        })
    }

    fn probes(&self) -> Option<ProberStats> {
        self.prober.as_ref().map(|prober| prober.stats())
    }
}

/// The prober's settings: there is one connection to ask on.
const fn asking(own: &HeartbeatSettings) -> ProberSettings {
    ProberSettings {
        period: own.period,
        response_timeout: own.response_timeout,
        in_flight: InFlight::Window(1),
    }
}

/// The monitor's figures: those of the settings, else what fits the relay's.
fn monitored(own: &HeartbeatSettings, relay: Option<HeartbeatFigures>) -> Figures {
    let [period, ..] = relay.unwrap_or_default().spans();
    // One silent period and a second one that is cut short by a second.
    let twice = period.saturating_mul(2) + Duration::from_secs(1);
    let can_follow = !period.is_zero() && twice <= PERIOD_MAX;
    let followed = if can_follow { twice } else { Duration::ZERO };
    let heartbeat = own.heartbeat.unwrap_or(followed);
    let tenth = if can_follow {
        period / 10
    } else {
        heartbeat / 20
    };
    Figures {
        period: Duration::ZERO,
        heartbeat,
        frequency: own.frequency.unwrap_or_else(|| tenth.max(PERIOD_MIN)),
    }
}

impl Client {
    /// The heartbeats that it goes by: those of its settings and, once it is
    /// registered, what follows from the relay's.
    pub fn heartbeats(&self) -> Heartbeats {
        self.watch.heartbeats()
    }

    /// Takes over the relay's figures, and tells what does not fit.
    pub(super) fn heed(&mut self, relay: Option<HeartbeatFigures>) {
        let advised = self.watch.handle_figures(self.now, relay);
        let events = advised.into_iter().map(Event::HeartbeatAdvice);
        self.events.extend(events);
    }

    /// Does what the heartbeats ask for.
    pub(super) fn settle_watch(&mut self) {
        let watched = self.watched();
        self.watch.set(self.now, watched);
        while let Some(effect) = self.watch.poll() {
            match effect {
                ProberEffect::Probe { conn, .. } => {
                    if let Some(Conn {
                        stage: Stage::Line(line),
                        ..
                    }) = self.conns.get_mut(conn)
                    {
                        line.owe_ping();
                    }
                }
                ProberEffect::End(ended) => self.handle_silent(ended),
            }
        }
        self.count_probes();
    }

    /// The persistent connection, once it serves and as long as it does.
    fn watched(&self) -> Option<Watched> {
        let conn = self.line?;
        let Conn {
            stage: Stage::Line(line),
            blocked,
            resume,
            ..
        } = self.conns.get(conn)?
        else {
            return None;
        };
        let is_held = *blocked || *resume || line.is_serving();
        (line.greeted && line.can_take()).then_some(Watched {
            conn,
            is_held,
            is_busy: is_held || line.is_amid_frame(),
        })
    }

    /// The relay was not heard for too long: its connection is lost.
    fn handle_silent(&mut self, ended: Ended) {
        let Ended {
            conn,
            silent_for,
            rule,
        } = ended;
        let stage = self.conns.get(conn).map(|conn| &conn.stage);
        let Some(Stage::Line(line)) = stage else {
            return;
        };
        if rule == Rule::ResponseTimeout && line.owes_ping() {
            // What was not asked yet needs no answer yet.
            return self.watch.handle_not_asked(self.now, conn);
        }
        *match rule {
            Rule::ResponseTimeout => &mut self.stats.ended_by_prober,
            Rule::Heartbeat => &mut self.stats.ended_by_monitor,
        } += 1;
        self.events
            .push_back(Event::HeartbeatEnded { silent_for, rule });
        self.lost(conn, Failure::TimedOut, None);
        self.end(conn, Close::Abort);
        self.watch.set(self.now, None);
    }

    pub(super) fn handle_pong(&mut self, conn: Key, nonce: u64) {
        if let Some(prober) = &mut self.watch.prober {
            prober.handle_answer(self.now, conn, nonce);
        }
        self.count_probes();
    }

    fn count_probes(&mut self) {
        if let Some(probes) = self.watch.probes() {
            self.stats.probes_sent = probes.sent;
            self.stats.probes_answered = probes.answered;
            self.stats.probes_late = probes.late;
            self.stats.probes_saved = probes.saved;
        }
    }
}
