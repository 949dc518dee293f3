//! What is learned of firewalls that forget.

use core::time::Duration;

use tautline_core::Instant;
use tautline_core::heartbeat::{Learner, LearnerSettings};
use tautline_tests::Dice;
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};

use super::{assert_lawful, census};

const GROUPS_MAX: u16 = 6;

struct LearnerCase;

fn group(dice: &mut Dice) -> u16 {
    dice.below(GROUPS_MAX.into()) as u16
}

impl LearnerCase {
    fn tell(learner: &mut Learner, now: Instant, dice: &mut Dice) {
        let group = group(dice);
        let idle = match dice.below(4) {
            0 => dice.span(Duration::ZERO..Duration::from_secs(2_000)),
            _ => learner.period(group),
        };
        match dice.below(10) {
            0 => learner.handle_survival(now, group, idle),
            _ => learner.handle_death(now, group, idle),
        }
    }
}

impl MachineCase for LearnerCase {
    type Machine = Learner;
    const NAME: &'static str = "learner";

    fn new(_seed: u64) -> (Learner, Self) {
        let settings = LearnerSettings {
            relax_after: Duration::from_secs(60),
            groups_max: GROUPS_MAX,
            ..LearnerSettings::default()
        };
        (Learner::new(settings).expect("they are in range"), Self)
    }

    fn act(&mut self, learner: &mut Learner, now: Instant, dice: &mut Dice, log: &mut Log) {
        if dice.one_in(20) {
            let period = *dice.pick(&[0, 5, 60, 600]);
            let set = learner.set_period(group(dice), Duration::from_secs(period));
            set.expect("it is in range");
        }
        Self::tell(learner, now, dice);
        let group = group(dice);
        log.event(&(learner.period(group), learner.lesson(group)));
    }

    fn misuse(
        &mut self,
        learner: &mut Learner,
        _: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let refused = match dice.one_in(2) {
            true => learner.set_period(GROUPS_MAX, Duration::from_secs(60)),
            false => learner.set_period(0, Duration::from_millis(1)),
        };
        match refused {
            Err(_) => Ok(Misuse::Refused),
            Ok(()) => Err("a misuse was accepted".to_owned()),
        }
    }

    fn census(&self, learner: &Learner) -> Vec<Census> {
        let learned = (0..u16::MAX).filter(|group| learner.lesson(*group).is_some());
        vec![census("groups_max", learned.count(), GROUPS_MAX.into())]
    }

    fn steady(&mut self, learner: &mut Learner, now: Instant, dice: &mut Dice) -> bool {
        Self::tell(learner, now, dice);
        true
    }
}

#[test]
fn the_learner_keeps_all_laws() {
    let tally = assert_lawful::<LearnerCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.tables == 1 && tally.steady > 0,
        "{tally:?}"
    );
}
