//! The client's side: when to register.

use core::time::Duration;

#[cfg(feature = "_test")]
use crate::visits::Visits;
use crate::{Instant, Machine, Random};

/// The transitions that any [`Registrar`] took.
#[cfg(feature = "_test")]
pub static REGISTRAR_VISITS: Visits<{ RegistrarStage::ALL.len() }, { RegistrarEvent::ALL.len() }> =
    Visits::new();

/// The figures of a [`Registrar`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarSettings {
    /// The shortest wait after a failed registration.
    pub retry_min: Duration,
    /// The longest wait after a failed registration.
    pub retry_max: Duration,
    /// How far the moment of the next registration is moved at random, to
    /// both sides, in percent of the period. 0 to 100.
    pub spread_percent: u32,
    /// The window in which a client returns after it lost its relay, unless
    /// the relay stated another.
    pub return_window: Duration,
}

impl Default for RegistrarSettings {
    fn default() -> Self {
        Self {
            retry_min: Duration::from_secs(60),
            retry_max: Duration::from_secs(300),
            spread_percent: 10,
            return_window: Duration::from_secs(30),
        }
    }
}

/// Where a [`Registrar`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrarState {
    /// Not started.
    Stopped,
    /// Registers at the moment.
    Due(Instant),
    /// A registration is under way.
    Registering,
    /// Registered; registers anew at the moment.
    Registered(Instant),
}

impl RegistrarState {
    /// The state without its moment.
    pub const fn stage(self) -> RegistrarStage {
        match self {
            Self::Stopped => RegistrarStage::Stopped,
            Self::Due(_) => RegistrarStage::Due,
            Self::Registering => RegistrarStage::Registering,
            Self::Registered(_) => RegistrarStage::Registered,
        }
    }
}

/// A [`RegistrarState`] without its moment, for the transition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrarStage {
    /// Not started.
    Stopped,
    /// Waits for the moment to register.
    Due,
    /// A registration is under way.
    Registering,
    /// Registered; waits for the moment to register anew.
    Registered,
}

/// What can happen to a [`Registrar`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrarEvent {
    /// The client starts, or its addresses changed.
    Start,
    /// The client stops.
    Stop,
    /// The moment has come.
    Waited,
    /// The registration succeeded.
    Succeeded,
    /// The registration failed.
    Failed,
    /// The relay was lost or is another incarnation.
    Lost,
    /// What failed was a try with another relay: the registration before it
    /// stands.
    Stands,
}

impl RegistrarEvent {
    /// Every event, in the protocol's order.
    pub const ALL: [Self; 7] = [
        Self::Start,
        Self::Stop,
        Self::Waited,
        Self::Succeeded,
        Self::Failed,
        Self::Lost,
        Self::Stands,
    ];
}

impl RegistrarStage {
    /// Every stage, in the protocol's order.
    pub const ALL: [Self; 4] = [
        Self::Stopped,
        Self::Due,
        Self::Registering,
        Self::Registered,
    ];

    /// The transition table: the stage after an event, `None` where the event
    /// means nothing.
    pub const fn after(self, event: RegistrarEvent) -> Option<Self> {
        Some(match (self, event) {
            (_, RegistrarEvent::Stop) => Self::Stopped,
            // What is under way may state what has just changed: it is
            // followed by another.
            (Self::Registering, RegistrarEvent::Start) => Self::Registering,
            (_, RegistrarEvent::Start) => Self::Due,
            (Self::Due | Self::Registered, RegistrarEvent::Waited) => Self::Registering,
            (Self::Registering, RegistrarEvent::Succeeded) => Self::Registered,
            (Self::Registering, RegistrarEvent::Failed) => Self::Due,
            (Self::Registered, RegistrarEvent::Lost) => Self::Due,
            (Self::Due, RegistrarEvent::Stands) => Self::Registered,
            _ => return None,
        })
    }
}

/// Says when a client registers; the endpoint does it and tells the outcome.
///
/// ```
/// use core::time::Duration;
/// use tautline_core::registration::{Registrar, RegistrarSettings};
/// use tautline_core::{Instant, Machine, Random};
///
/// let mut registrar = Registrar::new(RegistrarSettings::default(), Random::from_seed([0; 32]));
/// let now = Instant::ORIGIN;
/// registrar.handle_start(now);
/// registrar.handle_timeout(now);
/// assert_eq!(registrar.poll(), Some(())); // register now
/// registrar.handle_registered(now, Duration::from_secs(21_600));
/// let next = registrar.poll_timeout().unwrap();
/// assert!(next >= now + Duration::from_secs(19_440));
/// assert!(next <= now + Duration::from_secs(23_760));
/// ```
#[derive(Debug)]
pub struct Registrar {
    settings: RegistrarSettings,
    random: Random,
    state: RegistrarState,
    wanted: bool,
    /// What the registration under way states may have changed since.
    again: bool,
    /// When the last registration that succeeded is to be followed by another.
    renewal_at: Instant,
}

impl Registrar {
    /// A registrar that was not started.
    pub const fn new(settings: RegistrarSettings, random: Random) -> Self {
        Self {
            settings,
            random,
            state: RegistrarState::Stopped,
            wanted: false,
            again: false,
            renewal_at: Instant::ORIGIN,
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> RegistrarState {
        self.state
    }

    /// The client starts, or its addresses changed: register at once. Behind a
    /// registration that is under way, another follows.
    pub fn handle_start(&mut self, now: Instant) {
        if self.follows(RegistrarEvent::Start, RegistrarStage::Due) {
            self.state = RegistrarState::Due(now);
        } else {
            self.again = true;
        }
    }

    /// The client stops.
    pub fn handle_stop(&mut self) {
        if self.follows(RegistrarEvent::Stop, RegistrarStage::Stopped) {
            self.state = RegistrarState::Stopped;
            self.wanted = false;
            self.again = false;
        }
    }

    /// The registration succeeded; the relay wants the next one after `period`.
    pub fn handle_registered(&mut self, now: Instant, period: Duration) {
        if !self.follows(RegistrarEvent::Succeeded, RegistrarStage::Registered) {
            return;
        }
        let delay = self.random.around(period, self.settings.spread_percent);
        // A period of zero must not turn into a loop.
        self.renewal_at = now + delay.max(Duration::from_secs(1));
        self.state = RegistrarState::Registered(self.renewal_at);
        if core::mem::take(&mut self.again) {
            self.handle_start(now);
        }
    }

    /// The registration failed.
    pub fn handle_failed(&mut self, now: Instant) {
        if !self.follows(RegistrarEvent::Failed, RegistrarStage::Due) {
            return;
        }
        let RegistrarSettings {
            retry_min,
            retry_max,
            ..
        } = self.settings;
        let window = retry_max.saturating_sub(retry_min);
        let delay = retry_min.saturating_add(self.random.within(window));
        self.state = RegistrarState::Due(now + delay.max(Duration::from_millis(1)));
        self.again = false;
    }

    /// The relay was lost or is another incarnation: register anew at a random
    /// moment within the window (`None`: the configured one), so that a fleet
    /// does not return all at once.
    pub fn handle_lost(&mut self, now: Instant, window: Option<Duration>) {
        if let RegistrarState::Registered(at) = self.state
            && self.follows(RegistrarEvent::Lost, RegistrarStage::Due)
        {
            let window = window.unwrap_or(self.settings.return_window);
            let due = now + self.random.within(window);
            self.state = RegistrarState::Due(due.min(at));
        }
    }

    /// The registration that failed was a try with another relay, and the one
    /// before it stands: it is renewed when it would have been.
    pub fn handle_stands(&mut self) {
        if self.follows(RegistrarEvent::Stands, RegistrarStage::Registered) {
            self.state = RegistrarState::Registered(self.renewal_at);
        }
    }

    /// Whether the table leads from here to the stage.
    fn follows(&self, event: RegistrarEvent, stage: RegistrarStage) -> bool {
        let here = self.state.stage();
        let next = here.after(event);
        #[cfg(feature = "_test")]
        if next.is_some() {
            REGISTRAR_VISITS.note(here as usize, event as usize);
        }
        next == Some(stage)
    }
}

impl Machine for Registrar {
    /// Register now.
    type Effect = ();

    fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            RegistrarState::Due(at) | RegistrarState::Registered(at) => Some(at),
            RegistrarState::Stopped | RegistrarState::Registering => None,
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let is_due = self.poll_timeout().is_some_and(|at| at <= now);
        if is_due && self.follows(RegistrarEvent::Waited, RegistrarStage::Registering) {
            self.state = RegistrarState::Registering;
            self.wanted = true;
        }
    }

    fn poll(&mut self) -> Option<()> {
        core::mem::take(&mut self.wanted).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn registering() -> Registrar {
        let random = Random::from_seed([3; 32]);
        let mut registrar = Registrar::new(RegistrarSettings::default(), random);
        registrar.handle_start(Instant::ORIGIN);
        registrar.handle_timeout(Instant::ORIGIN);
        assert_eq!(registrar.poll(), Some(()));
        assert_eq!(registrar.poll(), None);
        registrar
    }

    #[test]
    fn a_failure_is_followed_by_another_try_in_one_to_five_minutes() {
        for _ in 0..100 {
            let mut registrar = registering();
            registrar.handle_failed(Instant::ORIGIN);
            let at = registrar.poll_timeout().unwrap();
            assert!(at >= Instant::ORIGIN + 60 * SECOND && at <= Instant::ORIGIN + 300 * SECOND);
        }
    }

    #[test]
    fn a_lost_relay_is_sought_within_the_window() {
        let mut registrar = registering();
        registrar.handle_registered(Instant::ORIGIN, 3600 * SECOND);
        let now = Instant::ORIGIN + 10 * SECOND;
        registrar.handle_lost(now, Some(5 * SECOND));
        let at = registrar.poll_timeout().unwrap();
        assert!(at >= now && at <= now + 5 * SECOND);
        assert_eq!(registrar.state(), RegistrarState::Due(at));
    }

    #[test]
    fn a_period_of_zero_is_no_hot_loop() {
        let mut registrar = registering();
        registrar.handle_registered(Instant::ORIGIN, Duration::ZERO);
        assert!(registrar.poll_timeout().unwrap() >= Instant::ORIGIN + SECOND);
    }

    #[test]
    fn outcomes_without_a_registration_change_nothing() {
        let random = Random::from_seed([3; 32]);
        let mut registrar = Registrar::new(RegistrarSettings::default(), random);
        registrar.handle_registered(Instant::ORIGIN, SECOND);
        registrar.handle_failed(Instant::ORIGIN);
        registrar.handle_lost(Instant::ORIGIN, None);
        assert_eq!(registrar.state(), RegistrarState::Stopped);
    }

    #[test]
    fn a_change_during_a_registration_is_followed_by_another() {
        let mut registrar = registering();
        registrar.handle_start(Instant::ORIGIN);
        assert_eq!((registrar.poll_timeout(), registrar.poll()), (None, None));
        registrar.handle_registered(Instant::ORIGIN, 100 * SECOND);
        assert_eq!(registrar.poll_timeout(), Some(Instant::ORIGIN));
        registrar.handle_timeout(Instant::ORIGIN);
        registrar.handle_registered(Instant::ORIGIN, 100 * SECOND);
        assert!(registrar.poll_timeout() > Some(Instant::ORIGIN));
    }

    #[test]
    fn a_try_that_failed_leaves_the_registration_before_it() {
        let mut registrar = registering();
        registrar.handle_registered(Instant::ORIGIN, 3_600 * SECOND);
        let renewal = registrar.poll_timeout();
        registrar.handle_stands();
        registrar.handle_start(Instant::ORIGIN + SECOND);
        registrar.handle_timeout(Instant::ORIGIN + SECOND);
        registrar.handle_failed(Instant::ORIGIN + SECOND);
        registrar.handle_stands();
        assert_eq!(registrar.poll_timeout(), renewal);
        assert_eq!(registrar.state().stage(), RegistrarStage::Registered);
    }

    #[test]
    fn figures_at_their_ends_do_no_harm() {
        let mut registrar = registering();
        registrar.handle_registered(Instant::MAX, Duration::MAX);
        assert_eq!(registrar.poll_timeout(), Some(Instant::MAX));
        registrar.handle_lost(Instant::MAX, Some(Duration::MAX));
        registrar.handle_timeout(Instant::MAX);
        registrar.settings.retry_min = Duration::MAX;
        registrar.handle_failed(Instant::ORIGIN);
        assert_eq!(registrar.poll_timeout(), Some(Instant::MAX));
    }
}
