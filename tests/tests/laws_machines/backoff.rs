//! The delays between attempts, as a machine that attempts.

use core::time::Duration;

use tautline_core::backoff::Backoff;
use tautline_core::{Instant, Machine, Random};
use tautline_tests::Dice;
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};

use super::{assert_lawful, census};

const ATTEMPTS_MAX: u32 = 6;

struct Attempts {
    backoff: Backoff,
    random: Random,
    at: Option<Instant>,
    due: bool,
}

impl Attempts {
    fn retry(&mut self, now: Instant) {
        let delay = self.backoff.next(&mut self.random);
        self.at = delay.map(|delay| now + delay);
    }
}

impl Machine for Attempts {
    /// The number of the attempt.
    type Effect = u32;

    fn poll_timeout(&self) -> Option<Instant> {
        self.at
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.due |= self.at.take_if(|at| *at <= now).is_some();
    }

    fn poll(&mut self) -> Option<u32> {
        core::mem::take(&mut self.due).then(|| self.backoff.attempts())
    }
}

struct BackoffCase;

impl MachineCase for BackoffCase {
    type Machine = Attempts;
    const NAME: &'static str = "backoff";
    const CLAMPS_TIME: bool = false;

    fn new(seed: u64) -> (Attempts, Self) {
        let second = Duration::from_secs(1);
        let backoff = match seed % 2 {
            0 => Backoff::exponential(second, 60 * second),
            _ => Backoff::steps(&[second, 5 * second, 30 * second]),
        };
        let attempts = Attempts {
            backoff: backoff
                .with_jitter_permille(500)
                .with_attempts_max(ATTEMPTS_MAX),
            random: Random::from_seed(Dice::new(seed).seed()),
            at: None,
            due: false,
        };
        (attempts, Self)
    }

    fn act(&mut self, machine: &mut Attempts, now: Instant, dice: &mut Dice, log: &mut Log) {
        match dice.below(60) {
            0 => machine.backoff.reset(),
            _ if machine.at.is_none() => machine.retry(now),
            _ => {}
        }
        log.event(&machine.at);
    }

    /// One attempt more than there are.
    fn misuse(
        &mut self,
        machine: &mut Attempts,
        _: Instant,
        _: &mut Dice,
    ) -> Result<Misuse, String> {
        if machine.backoff.attempts() < ATTEMPTS_MAX {
            return Ok(Misuse::None);
        }
        match machine.backoff.next(&mut machine.random) {
            None => Ok(Misuse::Refused),
            Some(delay) => Err(format!("one more attempt after {delay:?}")),
        }
    }

    fn census(&self, machine: &Attempts) -> Vec<Census> {
        let attempts = machine.backoff.attempts();
        vec![census(
            "attempts_max",
            attempts as usize,
            ATTEMPTS_MAX as usize,
        )]
    }

    fn steady(&mut self, machine: &mut Attempts, now: Instant, dice: &mut Dice) -> bool {
        if dice.one_in(4) {
            machine.backoff.reset();
        }
        if machine.at.is_none() {
            machine.retry(now);
        }
        true
    }
}

#[test]
fn backoff_keeps_all_laws() {
    let tally = assert_lawful::<BackoffCase>(50);
    assert!(
        tally.misuses > 10 && tally.timeouts > 100 && tally.tables == 1 && tally.steady > 0,
        "{tally:?}"
    );
}
