//! With which relay a client registers.

use core::time::Duration;

use tautline_core::registration::{Selector, SelectorSettings};
use tautline_core::{Instant, Machine, Random};
use tautline_tests::Dice;
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};

use super::{assert_lawful, census};

const RELAYS: usize = 3;

struct SelectorCase;

fn happens(selector: &mut Selector, now: Instant, dice: &mut Dice) {
    let relay = match dice.below(4) {
        0 => dice.index(RELAYS),
        _ => selector.relay(),
    };
    match dice.below(6) {
        0 => selector.handle_worked(now, relay),
        1 => selector.handle_reselect(now),
        2 => selector.handle_timeout(now),
        _ => selector.handle_failed(now, relay),
    }
}

fn shown(selector: &Selector) -> impl core::fmt::Debug + PartialEq + use<> {
    let stage = selector.stage();
    (
        stage,
        selector.relay(),
        selector.home(),
        selector.poll_timeout(),
    )
}

impl MachineCase for SelectorCase {
    type Machine = Selector;
    const NAME: &'static str = "selector";
    const CLAMPS_TIME: bool = false;

    fn new(seed: u64) -> (Selector, Self) {
        let mut dice = Dice::new(seed);
        let settings = SelectorSettings {
            failover_after: dice.span(Duration::ZERO..Duration::from_secs(600)),
            reselect_interval: dice.span(Duration::ZERO..Duration::from_secs(1_000)),
            spread_percent: dice.below(101) as u32,
        };
        let random = Random::from_seed(dice.seed());
        (Selector::new(settings, RELAYS, random), Self)
    }

    fn act(&mut self, selector: &mut Selector, now: Instant, dice: &mut Dice, log: &mut Log) {
        happens(selector, now, dice);
        log.event(&shown(selector));
    }

    /// What is said of a relay that is not the one to be asked changes nothing.
    fn misuse(
        &mut self,
        selector: &mut Selector,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let before = shown(selector);
        let other = (selector.relay() + 1 + dice.index(RELAYS - 1)) % RELAYS;
        match dice.below(2) {
            0 => selector.handle_worked(now, other),
            _ => selector.handle_failed(now, other),
        }
        if shown(selector) == before {
            Ok(Misuse::Refused)
        } else {
            Err(format!(
                "relay {other} led from {before:?} to another state"
            ))
        }
    }

    /// A relay that is not listed is never asked.
    fn census(&self, selector: &Selector) -> Vec<Census> {
        vec![
            census("relays", selector.relay() + 1, RELAYS),
            census("relays in use", selector.home() + 1, RELAYS),
        ]
    }

    fn steady(&mut self, selector: &mut Selector, now: Instant, dice: &mut Dice) -> bool {
        happens(selector, now, dice);
        true
    }
}

#[test]
fn the_selector_keeps_all_laws() {
    let tally = assert_lawful::<SelectorCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.tables == 2 && tally.steady > 0,
        "{tally:?}"
    );
}
