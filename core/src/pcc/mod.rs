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
//! A client that registers anew is granted anew. One that is open then goes
//! through the same once more, beside the connection that it has:
//!
//! ```text
//! Open ──granted──▶ RenewalWaiting ──waited──▶ Renewing ──opened──▶ Open, with the new one
//!  ▲                                              │ failed   ▲
//!  └─────────── after 4 attempts ────────── RenewalRetrying ─┘
//! ```
//!
//! The old connection serves until the new one is open, a datagram is proven to
//! reach the client, or the verdict is no. If it is lost meanwhile, the client
//! goes on as one that is not open.
//!
//! The whole table is [`transition`]; a test prints it and compares it with a
//! file that is checked in, `tests/tables/pcc.txt`.

use core::time::Duration;

#[cfg(feature = "_test")]
use crate::visits::Visits;
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
    /// Open, and granted anew; waits for a test notification first.
    RenewalWaiting,
    /// Open, and an attempt to open a new one is under way.
    Renewing,
    /// Open; an attempt to open a new one failed, another will follow.
    RenewalRetrying,
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
    /// It is over, and so is the grant.
    Lapsed,
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
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::Waiting,
        Self::Connecting,
        Self::Retrying,
        Self::Open,
        Self::RenewalWaiting,
        Self::Renewing,
        Self::RenewalRetrying,
    ];

    /// Whether a persistent connection is open.
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Open | Self::RenewalWaiting | Self::Renewing | Self::RenewalRetrying
        )
    }
}

impl Event {
    /// Every event, in the protocol's order.
    pub const ALL: [Self; 9] = [
        Self::Granted,
        Self::Denied,
        Self::Reached,
        Self::Waited,
        Self::Lapsed,
        Self::Opened,
        Self::Failed,
        Self::FailedLast,
        Self::Closed,
    ];
}

/// The transition table: the state after an event, `None` where the event
/// means nothing.
pub const fn transition(state: State, event: Event) -> Option<State> {
    use Event as E;
    use State as S;
    Some(match (state, event) {
        (S::Idle | S::Waiting | S::Retrying, E::Granted) => S::Waiting,
        (S::Open | S::RenewalWaiting | S::RenewalRetrying, E::Granted) => S::RenewalWaiting,
        // The attempt goes on, under the new grant.
        (S::Connecting | S::Renewing, E::Granted) => state,
        // Nothing is left to give up.
        (S::Idle, E::Denied | E::Reached) => return None,
        (_, E::Denied | E::Reached) => S::Idle,
        (S::Waiting | S::Retrying, E::Waited) => S::Connecting,
        (S::RenewalWaiting | S::RenewalRetrying, E::Waited) => S::Renewing,
        (S::Waiting | S::Retrying, E::Lapsed) => S::Idle,
        (S::RenewalWaiting | S::RenewalRetrying, E::Lapsed) => S::Open,
        (S::Connecting | S::Renewing, E::Opened) => S::Open,
        (S::Connecting, E::Failed) => S::Retrying,
        (S::Connecting, E::FailedLast) => S::Idle,
        (S::Renewing, E::Failed) => S::RenewalRetrying,
        (S::Renewing, E::FailedLast) => S::Open,
        (S::Open, E::Closed) => S::Idle,
        (S::RenewalWaiting, E::Closed) => S::Waiting,
        (S::Renewing, E::Closed) => S::Connecting,
        (S::RenewalRetrying, E::Closed) => S::Retrying,
        _ => return None,
    })
}

/// The transitions that any [`Pcc`] took.
#[cfg(feature = "_test")]
pub static VISITS: Visits<{ State::ALL.len() }, { Event::ALL.len() }> = Visits::new();

/// What a [`Pcc`] wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a persistent connection; one that is open stays beside it.
    Connect,
    /// End the attempt and the connection: it is no longer granted, or not
    /// needed.
    Disconnect,
    /// The connection was lost: register anew, at a random moment.
    Register,
    /// No connection comes of the grant, and none is open: what waited for one
    /// has to be fetched.
    Fetch,
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
/// pcc.handle_granted(now, Duration::from_secs(60), None);
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
    /// When the grant ends, if the relay said so.
    valid_until: Option<Instant>,
    /// The open connection was lost while a new one was on its way, perhaps
    /// since that takes its place; if it does not, the client registers anew.
    lost: bool,
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
            valid_until: None,
            lost: false,
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
    /// `wait` unless UDP turns out to work. No attempt begins later than
    /// `valid` from now; `None` is no bound.
    pub fn handle_granted(&mut self, now: Instant, wait: Duration, valid: Option<Duration>) {
        let Some(state) = self.apply(Event::Granted) else {
            return;
        };
        self.valid_until = valid.map(|valid| now + valid);
        self.lost = false;
        if matches!(state, State::Waiting | State::RenewalWaiting) {
            self.attempts = 0;
            self.wait_until = Some(now + wait);
        } else {
            self.attempts = 1;
        }
    }

    /// A registration granted none.
    pub fn handle_denied(&mut self) {
        self.give_up(Event::Denied);
    }

    /// It is proven that datagrams reach the client: there is no need for a
    /// connection.
    pub fn handle_reached(&mut self) {
        self.give_up(Event::Reached);
    }

    fn give_up(&mut self, event: Event) {
        let holds = self.state.is_open() || self.state == State::Connecting;
        if self.apply(event).is_some() {
            self.wait_until = None;
            self.lost = false;
            self.effect = holds.then_some(Effect::Disconnect);
        }
    }

    /// The connection is open. One that was open before is to be ended.
    pub fn handle_opened(&mut self) {
        if self.apply(Event::Opened).is_some() {
            self.lost = false;
        }
    }

    /// The attempt failed.
    pub fn handle_failed(&mut self, now: Instant) {
        let retry_at = now + self.settings.retry_delay;
        let used_up = self.attempts >= self.settings.attempts_max;
        let event = if used_up || self.has_ended(retry_at) {
            Event::FailedLast
        } else {
            Event::Failed
        };
        let Some(state) = self.apply(event) else {
            return;
        };
        if matches!(state, State::Retrying | State::RenewalRetrying) {
            self.wait_until = Some(retry_at);
        }
        if core::mem::take(&mut self.lost) {
            self.effect = Some(Effect::Register);
        } else if state == State::Idle {
            self.effect = Some(Effect::Fetch);
        }
    }

    /// The open connection was lost or closed.
    pub fn handle_closed(&mut self) {
        match self.apply(Event::Closed) {
            Some(State::Connecting) => self.lost = true,
            Some(_) => self.effect = Some(Effect::Register),
            None => {}
        }
    }

    fn has_ended(&self, at: Instant) -> bool {
        self.valid_until.is_some_and(|end| end < at)
    }

    fn apply(&mut self, event: Event) -> Option<State> {
        let next = transition(self.state, event)?;
        #[cfg(feature = "_test")]
        VISITS.note(self.state as usize, event as usize);
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
        if self.wait_until.is_none_or(|at| at > now) {
            return;
        }
        self.wait_until = None;
        if self.has_ended(now) {
            if self.apply(Event::Lapsed) == Some(State::Idle) {
                self.effect = Some(Effect::Fetch);
            }
        } else if self.apply(Event::Waited).is_some() {
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
    const START: Instant = Instant::ORIGIN;

    /// A client whose first attempt is under way.
    fn connecting() -> Pcc {
        let mut pcc = Pcc::new(PccSettings::default());
        pcc.handle_granted(START, Duration::ZERO, None);
        pcc.handle_timeout(START);
        assert_eq!(pcc.poll(), Some(Effect::Connect));
        pcc
    }

    fn open() -> Pcc {
        let mut pcc = connecting();
        pcc.handle_opened();
        pcc
    }

    /// A client that is open, and whose attempt to renew is under way.
    fn renewing() -> Pcc {
        let mut pcc = open();
        pcc.handle_granted(START, MINUTE, None);
        assert_eq!(pcc.state(), State::RenewalWaiting);
        pcc.handle_timeout(START + MINUTE);
        assert_eq!(pcc.poll(), Some(Effect::Connect));
        assert_eq!(pcc.state(), State::Renewing);
        pcc
    }

    #[test]
    fn p2_a_failed_attempt_is_repeated_every_three_minutes_four_in_all() {
        for (mut pcc, end, then) in [
            (
                Pcc::new(PccSettings::default()),
                State::Idle,
                Some(Effect::Fetch),
            ),
            (open(), State::Open, None),
        ] {
            let mut now = START;
            pcc.handle_granted(now, MINUTE, None);
            for wait in [MINUTE, 3 * MINUTE, 3 * MINUTE, 3 * MINUTE] {
                assert_eq!(pcc.poll_timeout(), Some(now + wait));
                now = now + wait;
                pcc.handle_timeout(now);
                assert_eq!(pcc.poll(), Some(Effect::Connect));
                pcc.handle_failed(now);
            }
            assert_eq!((pcc.poll_timeout(), pcc.poll()), (None, then));
            assert_eq!((pcc.state(), pcc.poll()), (end, None));
        }
    }

    #[test]
    fn p1_a_client_that_udp_reaches_opens_none() {
        let mut pcc = Pcc::new(PccSettings::default());
        pcc.handle_granted(START, MINUTE, None);
        pcc.handle_reached();
        assert_eq!((pcc.poll_timeout(), pcc.poll()), (None, None));

        let mut pcc = connecting();
        pcc.handle_reached();
        assert_eq!(pcc.poll(), Some(Effect::Disconnect));
        assert_eq!(pcc.state(), State::Idle);
    }

    #[test]
    fn a_lost_connection_leads_to_a_registration() {
        let mut pcc = open();
        pcc.handle_closed();
        assert_eq!(pcc.poll(), Some(Effect::Register));
        assert_eq!(pcc.state(), State::Idle);
    }

    #[test]
    fn a_verdict_of_no_or_a_datagram_that_arrives_ends_what_is_open() {
        for give_up in [Pcc::handle_denied, Pcc::handle_reached] {
            for mut pcc in [open(), renewing()] {
                give_up(&mut pcc);
                assert_eq!(pcc.poll(), Some(Effect::Disconnect));
                assert_eq!((pcc.state(), pcc.poll_timeout()), (State::Idle, None));
                // The end of what is ended leads to no registration.
                pcc.handle_closed();
                assert_eq!(pcc.poll(), None);
            }
        }
    }

    #[test]
    fn a_new_connection_takes_the_place_of_the_old_one() {
        let mut pcc = renewing();
        pcc.handle_opened();
        assert_eq!((pcc.state(), pcc.poll()), (State::Open, None));
        pcc.handle_closed();
        assert_eq!(pcc.poll(), Some(Effect::Register));
    }

    #[test]
    fn the_relay_may_end_the_old_one_before_the_new_one_is_seen_to_be_open() {
        let mut pcc = renewing();
        pcc.handle_closed();
        assert_eq!((pcc.state(), pcc.poll()), (State::Connecting, None));
        pcc.handle_opened();
        assert_eq!((pcc.state(), pcc.poll()), (State::Open, None));
    }

    #[test]
    fn an_old_one_that_is_lost_and_not_replaced_leads_to_a_registration() {
        let mut pcc = renewing();
        pcc.handle_closed();
        pcc.handle_failed(START + MINUTE);
        assert_eq!(pcc.poll(), Some(Effect::Register));
        assert_eq!(pcc.state(), State::Retrying);

        let mut pcc = renewing();
        pcc.handle_failed(START + MINUTE);
        assert_eq!((pcc.state(), pcc.poll()), (State::RenewalRetrying, None));
        pcc.handle_closed();
        assert_eq!(pcc.poll(), Some(Effect::Register));
        assert_eq!(pcc.state(), State::Retrying);
    }

    #[test]
    fn no_attempt_begins_after_the_grant_has_ended() {
        let mut pcc = Pcc::new(PccSettings::default());
        // 60 s and 240 s are within, 420 s is not.
        pcc.handle_granted(START, MINUTE, Some(Duration::from_secs(300)));
        for at in [MINUTE, 4 * MINUTE] {
            pcc.handle_timeout(START + at);
            assert_eq!(pcc.poll(), Some(Effect::Connect));
            pcc.handle_failed(START + at);
        }
        assert_eq!((pcc.state(), pcc.poll_timeout()), (State::Idle, None));
        assert_eq!(pcc.poll(), Some(Effect::Fetch));

        // A machine that slept.
        for (mut pcc, end, then) in [
            (
                Pcc::new(PccSettings::default()),
                State::Idle,
                Some(Effect::Fetch),
            ),
            (open(), State::Open, None),
        ] {
            pcc.handle_granted(START, MINUTE, Some(5 * MINUTE));
            pcc.handle_timeout(START + 60 * MINUTE);
            assert_eq!((pcc.state(), pcc.poll()), (end, then));
            assert_eq!(pcc.poll_timeout(), None);
        }
    }

    #[test]
    fn an_attempt_under_way_goes_on_under_a_new_grant() {
        let mut pcc = connecting();
        for _ in 0..3 {
            pcc.handle_failed(START);
            pcc.handle_timeout(START + 3 * MINUTE);
            assert_eq!(pcc.poll(), Some(Effect::Connect));
        }
        pcc.handle_granted(START, MINUTE, None);
        assert_eq!((pcc.state(), pcc.attempts()), (State::Connecting, 1));
        pcc.handle_failed(START);
        assert_eq!(pcc.state(), State::Retrying);
    }
}
