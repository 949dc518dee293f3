//! The relay's heartbeats.

use core::time::Duration;

use tautline_core::heartbeat::{Prober, ProberEffect, ProberLimits, ProberSettings};
use tautline_core::{Instant, Key};
use tautline_tests::Dice;
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};

use super::{assert_lawful, census};

const CONNECTIONS_MAX: u32 = 12;
const GROUPS_MAX: u16 = 3;

struct ProberCase {
    /// How often a connection came; the handles of each place rise.
    inserted: u32,
    conns: [Option<Key>; CONNECTIONS_MAX as usize],
    /// The last probe of each place.
    nonces: [u64; CONNECTIONS_MAX as usize],
    answers: bool,
}

impl ProberCase {
    fn conn(&self, dice: &mut Dice) -> Key {
        let place = dice.below(CONNECTIONS_MAX.into()) as u32;
        self.conns[place as usize].unwrap_or_else(|| Key::new(place, 0))
    }

    fn insert(&mut self, prober: &mut Prober, now: Instant, dice: &mut Dice) {
        self.inserted += 1;
        let place = dice.below(CONNECTIONS_MAX.into()) as u32;
        let conn = Key::new(place, self.inserted);
        self.conns[conn.index()] = Some(conn);
        let group = dice.below(GROUPS_MAX.into()) as u16;
        prober.insert(now, conn, group).expect("there is room");
    }
}

impl MachineCase for ProberCase {
    type Machine = Prober;
    const NAME: &'static str = "prober";

    fn new(seed: u64) -> (Prober, Self) {
        let settings = ProberSettings {
            period: Duration::from_secs(20),
            response_timeout: Duration::from_secs(3),
            ..ProberSettings::default()
        };
        let limits = ProberLimits {
            connections_max: CONNECTIONS_MAX,
            groups_max: GROUPS_MAX,
        };
        let case = Self {
            inserted: 0,
            conns: [None; CONNECTIONS_MAX as usize],
            nonces: [0; CONNECTIONS_MAX as usize],
            answers: !seed.is_multiple_of(3),
        };
        (
            Prober::new(settings, limits).expect("they are in range"),
            case,
        )
    }

    fn act(&mut self, prober: &mut Prober, now: Instant, dice: &mut Dice, _: &mut Log) {
        let conn = self.conn(dice);
        match dice.below(12) {
            0..=2 => self.insert(prober, now, dice),
            3 => prober.remove(conn),
            4 | 5 => prober.handle_sent(now, conn),
            6 | 7 => prober.handle_received(now, conn),
            8 | 9 => prober.handle_answer(now, conn, self.nonces[conn.index()]),
            10 => {
                let period = *dice.pick(&[0, 1, 5, 20, 600]);
                let group = dice.below(GROUPS_MAX.into()) as u16;
                let set = prober.set_period(now, group, Duration::from_secs(period));
                set.expect("it is in range");
            }
            _ => {}
        }
    }

    fn effect(&mut self, prober: &mut Prober, now: Instant, effect: ProberEffect, log: &mut Log) {
        log.event(&effect);
        match effect {
            ProberEffect::Probe { conn, nonce } if self.answers => {
                prober.handle_answer(now, conn, nonce);
            }
            ProberEffect::Probe { conn, nonce } => self.nonces[conn.index()] = nonce,
            ProberEffect::End(ended) => prober.remove(ended.conn),
        }
    }

    /// A peer may answer anything at any time.
    fn noise(&mut self, prober: &mut Prober, now: Instant, dice: &mut Dice, _: &mut Log) {
        prober.handle_answer(now, self.conn(dice), dice.next_u64());
    }

    fn misuse(
        &mut self,
        prober: &mut Prober,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let refused = match dice.below(4) {
            0 => prober.insert(now, Key::new(CONNECTIONS_MAX, 0), 0).is_err(),
            1 => prober.insert(now, Key::new(0, 0), GROUPS_MAX).is_err(),
            2 => prober
                .set_period(now, GROUPS_MAX, Duration::from_secs(1))
                .is_err(),
            _ => prober.set_period(now, 0, Duration::from_millis(1)).is_err(),
        };
        match refused {
            true => Ok(Misuse::Refused),
            false => Err("a misuse was accepted".to_owned()),
        }
    }

    fn flood(&mut self, prober: &mut Prober, now: Instant, dice: &mut Dice, _: &mut Log) {
        self.insert(prober, now, dice);
    }

    fn census(&self, prober: &Prober) -> Vec<Census> {
        let (in_flight, window) = (prober.in_flight(), prober.window());
        vec![
            census("connections_max", prober.len(), CONNECTIONS_MAX as usize),
            census("in_flight", in_flight as usize, window as usize),
        ]
    }

    /// Heartbeats, traffic, and connections that come and go.
    fn steady(&mut self, prober: &mut Prober, now: Instant, dice: &mut Dice) -> bool {
        if self.inserted < 2 * CONNECTIONS_MAX || dice.one_in(10) {
            self.insert(prober, now, dice);
        }
        let conn = self.conn(dice);
        prober.handle_sent(now, conn);
        prober.handle_received(now, self.conn(dice));
        prober.handle_answer(now, conn, self.nonces[conn.index()]);
        if dice.one_in(40) {
            prober.remove(conn);
        }
        true
    }
}

#[test]
fn the_prober_keeps_all_laws() {
    let tally = assert_lawful::<ProberCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.tables == 2 && tally.steady > 0,
        "{tally:?}"
    );
}
