//! Enrols any [`Machine`].

use core::fmt::Debug;

use tautline_core::{Instant, Machine};

use super::{Census, Log, Misuse, Step, Subject};
use crate::Dice;

/// What a machine of one concern adds to be a [`Subject`]: how it is made and
/// what can happen to it. All else has a default; a case fills the hooks of
/// the laws that its machine has a side for.
///
/// ```
/// use tautline_core::pcc::{Pcc, PccSettings};
/// use tautline_core::Instant;
/// use tautline_tests::Dice;
/// use tautline_tests::laws::{Log, MachineCase};
///
/// struct PccCase;
///
/// impl MachineCase for PccCase {
///     type Machine = Pcc;
///     const NAME: &'static str = "pcc";
///
///     fn new(_seed: u64) -> (Pcc, Self) {
///         (Pcc::new(PccSettings::default()), Self)
///     }
///
///     fn act(&mut self, pcc: &mut Pcc, now: Instant, dice: &mut Dice, _log: &mut Log) {
///         match dice.below(3) {
///             0 => pcc.handle_granted(now, dice.span(Default::default()..core::time::Duration::MAX), None),
///             1 => pcc.handle_opened(),
///             _ => pcc.handle_closed(),
///         }
///     }
/// }
/// ```
pub trait MachineCase: Sized {
    /// The machine. One that is driven by other methods than those of the
    /// trait, as one that borrows its buffers, is put into an adapter.
    type Machine: Machine<Effect: Debug>;

    /// What reports call it.
    const NAME: &'static str;

    /// See [`Subject::CLAMPS_TIME`].
    const CLAMPS_TIME: bool = true;

    /// See [`Subject::STEADY_OPERATIONS`].
    const STEADY_OPERATIONS: u64 = 2_000;

    /// The machine of a seed, and what the case keeps beside it.
    fn new(seed: u64) -> (Self::Machine, Self);

    /// Performs one random input or command.
    fn act(&mut self, machine: &mut Self::Machine, now: Instant, dice: &mut Dice, log: &mut Log);

    /// Answers an effect, if the machine waits for an answer, and writes it
    /// into the log; the default does the latter.
    fn effect(
        &mut self,
        _machine: &mut Self::Machine,
        _now: Instant,
        effect: <Self::Machine as Machine>::Effect,
        log: &mut Log,
    ) {
        log.event(&effect);
    }

    /// See [`Subject::noise`]; an error that surfaced is to be a panic here.
    fn noise(&mut self, machine: &mut Self::Machine, now: Instant, dice: &mut Dice, log: &mut Log) {
        self.act(machine, now, dice, log);
    }

    /// See [`Subject::misuse`].
    ///
    /// # Errors
    /// What was accepted although it is a misuse.
    fn misuse(
        &mut self,
        _machine: &mut Self::Machine,
        _now: Instant,
        _dice: &mut Dice,
    ) -> Result<Misuse, String> {
        Ok(Misuse::None)
    }

    /// See [`Subject::flood`].
    fn flood(&mut self, machine: &mut Self::Machine, now: Instant, dice: &mut Dice, log: &mut Log) {
        self.act(machine, now, dice, log);
    }

    /// See [`Subject::census`].
    fn census(&self, _machine: &Self::Machine) -> Vec<Census> {
        Vec::new()
    }

    /// See [`Subject::steady`].
    fn steady(&mut self, _machine: &mut Self::Machine, _now: Instant, _dice: &mut Dice) -> bool {
        false
    }

    /// See [`Subject::stream`].
    fn stream(_dice: &mut Dice) -> Option<Vec<u8>> {
        None
    }

    /// See [`Subject::feed`].
    fn feed(
        &mut self,
        _machine: &mut Self::Machine,
        _now: Instant,
        bytes: &[u8],
        _log: &mut Log,
    ) -> usize {
        bytes.len()
    }

    /// See [`Subject::feed_end`].
    fn feed_end(&mut self, _machine: &mut Self::Machine, _now: Instant, _log: &mut Log) {}
}

/// A [`Machine`] as a [`Subject`].
pub struct MachineSubject<C: MachineCase> {
    machine: C::Machine,
    case: C,
    /// The latest moment that the machine was told.
    now: Instant,
}

impl<C: MachineCase> MachineSubject<C> {
    fn told(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

impl<C: MachineCase> Subject for MachineSubject<C> {
    const NAME: &'static str = C::NAME;
    const CLAMPS_TIME: bool = C::CLAMPS_TIME;
    const STEADY_OPERATIONS: u64 = C::STEADY_OPERATIONS;

    fn new(seed: u64) -> Self {
        let (machine, case) = C::new(seed);
        let now = Instant::ORIGIN;
        Self { machine, case, now }
    }

    fn act(&mut self, now: Instant, dice: &mut Dice, log: &mut Log) {
        self.told(now);
        self.case.act(&mut self.machine, now, dice, log);
    }

    fn step(&mut self, log: &mut Log) -> Step {
        match self.machine.poll() {
            Some(effect) => {
                self.case.effect(&mut self.machine, self.now, effect, log);
                Step::Output
            }
            None => Step::Idle,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn timeout(&mut self, now: Instant) {
        self.told(now);
        self.machine.handle_timeout(now);
    }

    fn noise(&mut self, now: Instant, dice: &mut Dice, log: &mut Log) -> Result<(), String> {
        self.told(now);
        self.case.noise(&mut self.machine, now, dice, log);
        Ok(())
    }

    fn misuse(&mut self, now: Instant, dice: &mut Dice) -> Result<Misuse, String> {
        self.told(now);
        self.case.misuse(&mut self.machine, now, dice)
    }

    fn flood(&mut self, now: Instant, dice: &mut Dice, log: &mut Log) {
        self.told(now);
        self.case.flood(&mut self.machine, now, dice, log);
    }

    fn census(&self) -> Vec<Census> {
        self.case.census(&self.machine)
    }

    fn steady(&mut self, now: Instant, dice: &mut Dice) -> bool {
        self.told(now);
        self.case.steady(&mut self.machine, now, dice)
    }

    fn stream(dice: &mut Dice) -> Option<Vec<u8>> {
        C::stream(dice)
    }

    fn feed(&mut self, now: Instant, bytes: &[u8], log: &mut Log) -> usize {
        self.told(now);
        self.case.feed(&mut self.machine, now, bytes, log)
    }

    fn feed_end(&mut self, now: Instant, log: &mut Log) {
        self.told(now);
        self.case.feed_end(&mut self.machine, now, log);
    }
}
