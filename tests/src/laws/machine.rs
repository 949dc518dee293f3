//! Enrols any [`Machine`].

use tautline_core::{Instant, Machine};

use super::{Census, Log, Misuse, Step, Subject};
use crate::Dice;

/// What a machine of one concern adds to be a [`Subject`]: how it is made and
/// what can happen to it. The other methods are those of [`Subject`].
pub trait MachineCase: Sized {
    /// The machine.
    type Machine: Machine;

    /// What reports call it.
    const NAME: &'static str;

    /// Whether the machine itself ignores time that goes backwards.
    const CLAMPS_TIME: bool = true;

    /// The machine of a seed, and what the case keeps beside it.
    fn new(seed: u64) -> (Self::Machine, Self);

    /// Performs one random input or command.
    fn act(&mut self, machine: &mut Self::Machine, now: Instant, dice: &mut Dice, log: &mut Log);

    /// Writes an effect into the log, and answers it if the machine waits for
    /// an answer.
    fn effect(&mut self, effect: <Self::Machine as Machine>::Effect, log: &mut Log);

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

    /// See [`Subject::census`].
    fn census(&self, _machine: &Self::Machine) -> Vec<Census> {
        Vec::new()
    }

    /// See [`Subject::steady`].
    fn steady(&mut self, _machine: &mut Self::Machine, _now: Instant, _dice: &mut Dice) -> bool {
        false
    }
}

/// A [`Machine`] as a [`Subject`].
pub struct MachineSubject<C: MachineCase> {
    machine: C::Machine,
    case: C,
}

impl<C: MachineCase> Subject for MachineSubject<C> {
    const NAME: &'static str = C::NAME;
    const CLAMPS_TIME: bool = C::CLAMPS_TIME;

    fn new(seed: u64) -> Self {
        let (machine, case) = C::new(seed);
        Self { machine, case }
    }

    fn act(&mut self, now: Instant, dice: &mut Dice, log: &mut Log) {
        self.case.act(&mut self.machine, now, dice, log);
    }

    fn step(&mut self, log: &mut Log) -> Step {
        match self.machine.poll() {
            Some(effect) => {
                self.case.effect(effect, log);
                Step::Output
            }
            None => Step::Idle,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
    }

    fn misuse(&mut self, now: Instant, dice: &mut Dice) -> Result<Misuse, String> {
        self.case.misuse(&mut self.machine, now, dice)
    }

    fn census(&self) -> Vec<Census> {
        self.case.census(&self.machine)
    }

    fn steady(&mut self, now: Instant, dice: &mut Dice) -> bool {
        self.case.steady(&mut self.machine, now, dice)
    }
}
