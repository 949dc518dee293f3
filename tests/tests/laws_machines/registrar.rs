//! When a client registers.

use core::time::Duration;

use tautline_core::registration::{Registrar, RegistrarEvent, RegistrarSettings};
use tautline_core::{Instant, Machine, Random};
use tautline_tests::Dice;
use tautline_tests::laws::{Log, MachineCase, Misuse};

use super::assert_lawful;

struct RegistrarCase;

fn happens(registrar: &mut Registrar, now: Instant, event: RegistrarEvent, span: Duration) {
    match event {
        RegistrarEvent::Start => registrar.handle_start(now),
        RegistrarEvent::Stop => registrar.handle_stop(),
        RegistrarEvent::Waited => registrar.handle_timeout(now),
        RegistrarEvent::Succeeded => registrar.handle_registered(now, span),
        RegistrarEvent::Failed => registrar.handle_failed(now),
        RegistrarEvent::Lost => registrar.handle_lost(now, Some(span / 100)),
        RegistrarEvent::Stands => registrar.handle_stands(),
    }
}

impl MachineCase for RegistrarCase {
    type Machine = Registrar;
    const NAME: &'static str = "registrar";
    const CLAMPS_TIME: bool = false;

    fn new(seed: u64) -> (Registrar, Self) {
        let random = Random::from_seed(Dice::new(seed).seed());
        let registrar = Registrar::new(RegistrarSettings::default(), random);
        (registrar, Self)
    }

    fn act(&mut self, registrar: &mut Registrar, now: Instant, dice: &mut Dice, log: &mut Log) {
        let event = *dice.pick(&RegistrarEvent::ALL);
        let span = dice.span(Duration::ZERO..Duration::from_secs(1_000));
        happens(registrar, now, event, span);
        log.event(&(event, registrar.state()));
    }

    /// What the table has no answer to changes nothing.
    fn misuse(
        &mut self,
        registrar: &mut Registrar,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let (event, before) = (*dice.pick(&RegistrarEvent::ALL), registrar.state());
        if before.stage().after(event).is_some() {
            return Ok(Misuse::None);
        }
        happens(registrar, now, event, Duration::from_secs(1));
        if registrar.state() == before {
            Ok(Misuse::Refused)
        } else {
            Err(format!("{event:?} led from {before:?} to another state"))
        }
    }

    fn steady(&mut self, registrar: &mut Registrar, now: Instant, dice: &mut Dice) -> bool {
        let event = *dice.pick(&RegistrarEvent::ALL);
        happens(registrar, now, event, Duration::from_secs(2));
        true
    }
}

#[test]
fn the_registrar_keeps_all_laws() {
    let tally = assert_lawful::<RegistrarCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.steady > 0,
        "{tally:?}"
    );
}
