//! Which way the relay's notifications go.

use core::time::Duration;

use tautline_core::notify::{Router, RouterLimits, Way};
use tautline_core::{Instant, Key, Random};
use tautline_tests::Dice;
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};

use super::{assert_lawful, census};

const CLIENTS_MAX: u32 = 16;
const LINES_MAX: u32 = 4;
const LIMITS: RouterLimits = RouterLimits {
    legs_max: 20,
    legs_per_line_max: 8,
    legs_per_subnet_max: 12,
    served_timeout: Duration::from_secs(10),
    sulk: Duration::from_secs(60),
};

struct RouterCase {
    /// How often a line opened; the handles of each place rise.
    opened: u32,
    lines: [Option<Key>; LINES_MAX as usize],
    /// The number of the last frame of each line.
    begun: [u32; LINES_MAX as usize],
}

impl RouterCase {
    fn line(&self, dice: &mut Dice) -> Key {
        let place = dice.below(LINES_MAX.into()) as u32;
        self.lines[place as usize].unwrap_or_else(|| Key::new(place, 0))
    }

    fn open(&mut self, router: &mut Router, dice: &mut Dice) {
        self.opened += 1;
        let line = Key::new(dice.below(LINES_MAX.into()) as u32, self.opened);
        self.lines[line.index()] = Some(line);
        self.begun[line.index()] = 0;
        router.handle_line_opened(line, subnet(dice), dice.below(12) as u32);
    }

    fn send(&mut self, router: &mut Router, now: Instant, dice: &mut Dice, log: &mut Log) {
        let (to, datagram) = (client(dice), dice.one_in(3));
        let way = router.route(now, to, subnet(dice), !dice.one_in(8), datagram);
        log.event(&way);
        if let Way::Peer(line) = way {
            log.event(&router.assign(line, to, notification(dice)));
        }
    }

    fn begin(&mut self, router: &mut Router, now: Instant, line: Key, log: &mut Log) {
        let legs = router.next_batch(line).count() as u32;
        let begun = router.begin_batch(now, line, legs);
        log.event(&begun);
        if let Some(sequence) = begun {
            self.begun[line.index()] = sequence;
        }
    }
}

fn client(dice: &mut Dice) -> Key {
    Key::new(dice.below(CLIENTS_MAX.into()) as u32, 0)
}

fn subnet(dice: &mut Dice) -> Key {
    Key::new(dice.below(2) as u32, 0)
}

fn notification(dice: &mut Dice) -> Key {
    Key::new(dice.below(4) as u32, 0)
}

impl MachineCase for RouterCase {
    type Machine = Router;
    const NAME: &'static str = "router";

    fn new(seed: u64) -> (Router, Self) {
        let random = Random::from_seed(Dice::new(seed).seed());
        let router = Router::new(LIMITS, LINES_MAX, CLIENTS_MAX, random);
        let case = Self {
            opened: 0,
            lines: [None; LINES_MAX as usize],
            begun: [0; LINES_MAX as usize],
        };
        (router, case)
    }

    fn act(&mut self, router: &mut Router, now: Instant, dice: &mut Dice, log: &mut Log) {
        let line = self.line(dice);
        match dice.below(14) {
            0 => self.open(router, dice),
            1 if dice.one_in(3) => router.handle_line_closed(line),
            1..=6 => self.send(router, now, dice, log),
            7 | 8 => self.begin(router, now, line, log),
            9 => router.skip(line, dice.below(3) as u32),
            10 => router.handle_answered(client(dice)),
            11 => router.handle_line_blocked(now, line),
            12 if dice.one_in(8) => router.handle_line_leaving(line),
            12 => router.handle_line_writable(line),
            _ => {
                let sequence = dice.below(u64::from(self.begun[line.index()]) + 1) as u32;
                assert!(router.handle_served(line, sequence));
            }
        }
    }

    /// A peer may say any number; one that it was not sent changes nothing.
    fn noise(&mut self, router: &mut Router, _: Instant, dice: &mut Dice, log: &mut Log) {
        let line = self.line(dice);
        let right = router.handle_served(line, dice.below(u64::from(u32::MAX) + 1) as u32);
        log.event(&right);
    }

    fn misuse(
        &mut self,
        router: &mut Router,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let gone = match dice.one_in(2) {
            true => Key::new(dice.below(LINES_MAX.into()) as u32, u32::MAX - 1),
            false => Key::new(LINES_MAX, 0),
        };
        let refused = match dice.below(3) {
            0 => router
                .assign(gone, client(dice), notification(dice))
                .is_err(),
            1 => router.begin_batch(now, gone, 1).is_none(),
            _ => {
                // A pair that is on its way takes no other.
                let line = self.line(dice);
                let Some(leg) = router.next_batch(line).next() else {
                    return Ok(Misuse::None);
                };
                let line = self.line(dice);
                router.assign(line, leg.client, leg.notification).is_err()
            }
        };
        match refused {
            true => Ok(Misuse::Refused),
            false => Err("a misuse was accepted".to_owned()),
        }
    }

    fn census(&self, router: &Router) -> Vec<Census> {
        let lines = self.lines.iter().flatten();
        let longest = lines.map(|line| router.line_len(*line)).max();
        let (legs_max, line_max) = (LIMITS.legs_max, LIMITS.legs_per_line_max);
        vec![
            census("legs_max", router.len(), legs_max as usize),
            census("legs_per_line_max", longest.unwrap_or(0), line_max as usize),
        ]
    }

    /// A leg, its frame and the peer's confirmation; some peers stay silent,
    /// and some go.
    fn steady(&mut self, router: &mut Router, now: Instant, dice: &mut Dice) -> bool {
        if self.opened < LINES_MAX || dice.one_in(50) {
            self.open(router, dice);
        }
        for _ in 0..8 {
            let to = client(dice);
            if let Way::Peer(line) = router.route(now, to, subnet(dice), true, false) {
                let _ = router.assign(line, to, notification(dice));
            }
        }
        let line = self.line(dice);
        let legs = router.next_batch(line).count() as u32;
        if let Some(sequence) = router.begin_batch(now, line, legs) {
            self.begun[line.index()] = sequence;
        }
        if !dice.one_in(8) {
            assert!(router.handle_served(line, self.begun[line.index()]));
        }
        router.handle_answered(client(dice));
        true
    }
}

#[test]
fn the_router_keeps_all_laws() {
    let tally = assert_lawful::<RouterCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.tables == 2 && tally.steady > 0,
        "{tally:?}"
    );
}
