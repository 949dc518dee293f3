//! The client's side of the persistent connection.

use core::time::Duration;

use tautline_core::pcc::{Event, Pcc, PccSettings, transition};
use tautline_core::{Instant, Machine};
use tautline_tests::Dice;
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};

use super::{assert_lawful, census};

const SETTINGS: PccSettings = PccSettings {
    retry_delay: Duration::from_secs(180),
    attempts_max: 4,
};

struct PccCase;

fn happens(pcc: &mut Pcc, now: Instant, event: Event, wait: Duration) {
    match event {
        Event::Granted => pcc.handle_granted(now, wait, Some(10 * wait)),
        Event::Denied => pcc.handle_denied(),
        Event::Reached => pcc.handle_reached(),
        Event::Opened => pcc.handle_opened(),
        Event::Failed | Event::FailedLast => pcc.handle_failed(now),
        Event::Closed => pcc.handle_closed(),
        Event::Waited | Event::Lapsed => pcc.handle_timeout(now),
    }
}

impl MachineCase for PccCase {
    type Machine = Pcc;
    const NAME: &'static str = "pcc";
    const CLAMPS_TIME: bool = false;

    fn new(_seed: u64) -> (Pcc, Self) {
        (Pcc::new(SETTINGS), Self)
    }

    fn act(&mut self, pcc: &mut Pcc, now: Instant, dice: &mut Dice, log: &mut Log) {
        let event = match dice.below(4) {
            0 => *dice.pick(&Event::ALL),
            1 => Event::Opened,
            _ => *dice.pick(&[Event::Granted, Event::Failed]),
        };
        let wait = dice.span(Duration::ZERO..Duration::from_secs(60));
        happens(pcc, now, event, wait);
        log.event(&(event, pcc.state(), pcc.attempts(), pcc.poll_timeout()));
    }

    /// What the table has no answer to changes nothing.
    fn misuse(&mut self, pcc: &mut Pcc, now: Instant, dice: &mut Dice) -> Result<Misuse, String> {
        let event = *dice.pick(&Event::ALL);
        if transition(pcc.state(), event).is_some() {
            return Ok(Misuse::None);
        }
        let shown = |pcc: &Pcc| (pcc.state(), pcc.attempts(), pcc.poll_timeout());
        let before = shown(pcc);
        happens(pcc, now, event, Duration::from_secs(1));
        if shown(pcc) == before {
            Ok(Misuse::Refused)
        } else {
            Err(format!("{event:?} led from {before:?} to {:?}", shown(pcc)))
        }
    }

    fn census(&self, pcc: &Pcc) -> Vec<Census> {
        let (attempts, max) = (pcc.attempts() as usize, SETTINGS.attempts_max as usize);
        vec![census("attempts_max", attempts, max)]
    }

    fn steady(&mut self, pcc: &mut Pcc, now: Instant, dice: &mut Dice) -> bool {
        let event = *dice.pick(&Event::ALL);
        happens(pcc, now, event, Duration::from_millis(100));
        true
    }
}

#[test]
fn the_persistent_connection_keeps_all_laws() {
    let tally = assert_lawful::<PccCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.tables == 1 && tally.steady > 0,
        "{tally:?}"
    );
}
