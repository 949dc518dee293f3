//! The client's side: when to register.

use core::time::Duration;

use crate::{Instant, Machine, Random};

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
    /// Every state's name, for the transition table.
    pub const NAMES: [&'static str; 4] = ["Stopped", "Due", "Registering", "Registered"];

    /// The state's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stopped => "Stopped",
            Self::Due(_) => "Due",
            Self::Registering => "Registering",
            Self::Registered(_) => "Registered",
        }
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
}

impl Registrar {
    /// A registrar that was not started.
    pub const fn new(settings: RegistrarSettings, random: Random) -> Self {
        Self {
            settings,
            random,
            state: RegistrarState::Stopped,
            wanted: false,
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> RegistrarState {
        self.state
    }

    /// The client starts, or its addresses changed: register at once, unless a
    /// registration is under way.
    pub fn handle_start(&mut self, now: Instant) {
        if self.state != RegistrarState::Registering {
            self.state = RegistrarState::Due(now);
        }
    }

    /// The client stops.
    pub const fn handle_stop(&mut self) {
        self.state = RegistrarState::Stopped;
        self.wanted = false;
    }

    /// The registration succeeded; the relay wants the next one after `period`.
    pub fn handle_registered(&mut self, now: Instant, period: Duration) {
        if self.state == RegistrarState::Registering {
            let spread = period / 100 * self.settings.spread_percent.min(100);
            let delay =
                (period - spread).saturating_add(self.random.within(spread.saturating_mul(2)));
            // A period of zero must not turn into a loop.
            self.state = RegistrarState::Registered(now + delay.max(Duration::from_secs(1)));
        }
    }

    /// The registration failed.
    pub fn handle_failed(&mut self, now: Instant) {
        if self.state == RegistrarState::Registering {
            let window = self
                .settings
                .retry_max
                .saturating_sub(self.settings.retry_min);
            let delay = self
                .settings
                .retry_min
                .saturating_add(self.random.within(window));
            self.state = RegistrarState::Due(now + delay.max(Duration::from_millis(1)));
        }
    }

    /// The relay was lost or is another incarnation: register anew at a random
    /// moment within the window (`None`: the configured one), so that a fleet
    /// does not return all at once.
    pub fn handle_lost(&mut self, now: Instant, window: Option<Duration>) {
        if let RegistrarState::Registered(at) = self.state {
            let window = window.unwrap_or(self.settings.return_window);
            let due = now + self.random.within(window);
            self.state = RegistrarState::Due(due.min(at));
        }
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
        if self.poll_timeout().is_some_and(|at| at <= now) {
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
}
