//! The client's side of the persistent connection: when to open one.
//!
//! ```text
//! Idle ──granted──▶ Waiting ──waited──▶ Connecting ──opened──▶ Open
//!  ▲                   │ reached            │ failed   ▲         │ closed
//!  └───────────────────┘                    ▼          │         ▼
//!  ◀──────────────── after 4 attempts ── Retrying ─────┘       Idle, and the
//!                                                              client registers anew
//! ```
//!
//! The whole table is [`transition`]; a test prints it and compares it with a
//! file that is checked in, `tests/tables/pcc.txt`.

use core::time::Duration;

use crate::{Instant, Machine};

/// The figures of a [`Pcc`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PccSettings {
    /// How long to wait after a failed attempt.
    pub retry_delay: Duration,
    /// How many attempts there are in all. At least 1.
    pub attempts_max: u32,
}

impl Default for PccSettings {
    /// The figures of the seed: 4 attempts in all, 3 minutes apart.
    fn default() -> Self {
        Self {
            retry_delay: Duration::from_secs(180),
            attempts_max: 4,
        }
    }
}

/// Where a [`Pcc`] stands, without its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Neither granted nor open.
    Idle,
    /// Granted; waits for a test notification first.
    Waiting,
    /// An attempt is under way.
    Connecting,
    /// An attempt failed, another will follow.
    Retrying,
    /// The persistent connection is open.
    Open,
}

/// What can happen to a [`Pcc`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A registration granted a persistent connection.
    Granted,
    /// A registration granted none.
    Denied,
    /// A test notification arrived: UDP reaches the client.
    Reached,
    /// The wait before an attempt is over.
    Waited,
    /// The attempt succeeded.
    Opened,
    /// The attempt failed and it was not the last.
    Failed,
    /// The attempt failed and it was the last.
    FailedLast,
    /// The connection was lost or closed.
    Closed,
}

impl State {
    /// Every state, in the protocol's order.
    pub const ALL: [Self; 5] = [
        Self::Idle,
        Self::Waiting,
        Self::Connecting,
        Self::Retrying,
        Self::Open,
    ];
}

impl Event {
    /// Every event, in the protocol's order.
    pub const ALL: [Self; 8] = [
        Self::Granted,
        Self::Denied,
        Self::Reached,
        Self::Waited,
        Self::Opened,
        Self::Failed,
        Self::FailedLast,
        Self::Closed,
    ];
}

/// The transition table: the state after an event, `None` where the event
/// means nothing.
pub const fn transition(state: State, event: Event) -> Option<State> {
    Some(match (state, event) {
        (State::Idle, Event::Granted) => State::Waiting,
        (State::Waiting | State::Retrying, Event::Granted) => State::Waiting,
        // One that is open serves until the relay or the network ends it.
        (State::Open, Event::Granted) => State::Open,
        (State::Waiting | State::Connecting | State::Retrying | State::Open, Event::Denied) => {
            State::Idle
        }
        (State::Waiting | State::Retrying, Event::Reached) => State::Idle,
        (State::Waiting | State::Retrying, Event::Waited) => State::Connecting,
        (State::Connecting, Event::Opened) => State::Open,
        (State::Connecting, Event::Failed) => State::Retrying,
        (State::Connecting, Event::FailedLast) => State::Idle,
        (State::Open, Event::Closed) => State::Idle,
        _ => return None,
    })
}

/// What a [`Pcc`] wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open the persistent connection.
    Connect,
    /// End the attempt or the connection: it is no longer granted.
    Disconnect,
    /// The connection was lost: register anew, at a random moment.
    Register,
}

/// Decides when a client opens its persistent connection.
///
/// ```
/// use core::time::Duration;
/// use tautline_core::pcc::{Effect, Pcc, PccSettings};
/// use tautline_core::{Instant, Machine};
///
/// let mut pcc = Pcc::new(PccSettings::default());
/// let now = Instant::ORIGIN;
/// pcc.handle_granted(now, Duration::from_secs(60));
/// let at = pcc.poll_timeout().unwrap();
/// assert_eq!(at, now + Duration::from_secs(60));
/// pcc.handle_timeout(at);
/// assert_eq!(pcc.poll(), Some(Effect::Connect));
/// pcc.handle_opened();
/// assert_eq!(pcc.poll_timeout(), None);
/// ```
#[derive(Debug)]
pub struct Pcc {
    settings: PccSettings,
    state: State,
    attempts: u32,
    wait_until: Option<Instant>,
    effect: Option<Effect>,
}

impl Pcc {
    /// A client without a grant.
    pub const fn new(settings: PccSettings) -> Self {
        Self {
            settings,
            state: State::Idle,
            attempts: 0,
            wait_until: None,
            effect: None,
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The attempts since the last grant.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// A registration granted a persistent connection, to be opened after
    /// `wait` unless UDP turns out to work.
    pub fn handle_granted(&mut self, now: Instant, wait: Duration) {
        if self.apply(Event::Granted) == Some(State::Waiting) {
            self.attempts = 0;
            self.wait_until = Some(now + wait);
        }
    }

    /// A registration granted none.
    pub fn handle_denied(&mut self) {
        let before = self.state;
        if self.apply(Event::Denied).is_some() {
            self.wait_until = None;
            if matches!(before, State::Connecting | State::Open) {
                self.effect = Some(Effect::Disconnect);
            }
        }
    }

    /// A test notification arrived.
    pub fn handle_reached(&mut self) {
        if self.apply(Event::Reached).is_some() {
            self.wait_until = None;
        }
    }

    /// The connection is open.
    pub fn handle_opened(&mut self) {
        self.apply(Event::Opened);
    }

    /// The attempt failed.
    pub fn handle_failed(&mut self, now: Instant) {
        let last = self.attempts >= self.settings.attempts_max;
        let event = if last {
            Event::FailedLast
        } else {
            Event::Failed
        };
        if self.apply(event) == Some(State::Retrying) {
            self.wait_until = Some(now + self.settings.retry_delay);
        }
    }

    /// The open connection was lost or closed.
    pub fn handle_closed(&mut self) {
        if self.apply(Event::Closed).is_some() {
            self.effect = Some(Effect::Register);
        }
    }

    fn apply(&mut self, event: Event) -> Option<State> {
        let next = transition(self.state, event)?;
        self.state = next;
        Some(next)
    }
}

impl Machine for Pcc {
    type Effect = Effect;

    fn poll_timeout(&self) -> Option<Instant> {
        self.wait_until
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.wait_until.is_some_and(|at| at <= now) && self.apply(Event::Waited).is_some() {
            self.wait_until = None;
            self.attempts = self.attempts.saturating_add(1);
            self.effect = Some(Effect::Connect);
        }
    }

    fn poll(&mut self) -> Option<Effect> {
        self.effect.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn p2_a_failed_attempt_is_repeated_every_three_minutes_four_in_all() {
        let mut pcc = Pcc::new(PccSettings::default());
        let mut now = Instant::ORIGIN;
        pcc.handle_granted(now, MINUTE);
        for wait in [MINUTE, 3 * MINUTE, 3 * MINUTE, 3 * MINUTE] {
            assert_eq!(pcc.poll_timeout(), Some(now + wait));
            now = now + wait;
            pcc.handle_timeout(now);
            assert_eq!(pcc.poll(), Some(Effect::Connect));
            pcc.handle_failed(now);
        }
        assert_eq!(pcc.poll_timeout(), None);
        assert_eq!(pcc.state(), State::Idle);
    }

    #[test]
    fn a_client_that_udp_reaches_opens_none() {
        let mut pcc = Pcc::new(PccSettings::default());
        pcc.handle_granted(Instant::ORIGIN, MINUTE);
        pcc.handle_reached();
        assert_eq!((pcc.poll_timeout(), pcc.poll()), (None, None));
    }

    #[test]
    fn a_lost_connection_leads_to_a_registration() {
        let mut pcc = Pcc::new(PccSettings::default());
        pcc.handle_granted(Instant::ORIGIN, Duration::ZERO);
        pcc.handle_timeout(Instant::ORIGIN);
        assert_eq!(pcc.poll(), Some(Effect::Connect));
        pcc.handle_opened();
        pcc.handle_closed();
        assert_eq!(pcc.poll(), Some(Effect::Register));
        assert_eq!(pcc.state(), State::Idle);
    }

    #[test]
    fn a_verdict_of_no_ends_what_is_open() {
        let mut pcc = Pcc::new(PccSettings::default());
        pcc.handle_granted(Instant::ORIGIN, Duration::ZERO);
        pcc.handle_timeout(Instant::ORIGIN);
        assert_eq!(pcc.poll(), Some(Effect::Connect));
        pcc.handle_opened();
        pcc.handle_denied();
        assert_eq!(pcc.poll(), Some(Effect::Disconnect));
    }
}
