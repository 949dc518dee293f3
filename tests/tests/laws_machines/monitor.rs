//! The end that waits for heartbeats.

use core::time::Duration;

use tautline_core::heartbeat::{Monitor, MonitorSettings};
use tautline_core::{Instant, Key};
use tautline_tests::Dice;
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};

use super::{assert_lawful, census};

const CONNECTIONS_MAX: u32 = 12;

struct MonitorCase {
    /// How often a connection came; the handles of each place rise.
    inserted: u32,
    conns: [Option<Key>; CONNECTIONS_MAX as usize],
}

impl MonitorCase {
    fn conn(&self, dice: &mut Dice) -> Key {
        let place = dice.below(CONNECTIONS_MAX.into()) as u32;
        self.conns[place as usize].unwrap_or_else(|| Key::new(place, 0))
    }

    fn insert(&mut self, monitor: &mut Monitor, now: Instant, dice: &mut Dice) {
        self.inserted += 1;
        let place = dice.below(CONNECTIONS_MAX.into()) as u32;
        let conn = Key::new(place, self.inserted);
        self.conns[conn.index()] = Some(conn);
        monitor.insert(now, conn).expect("there is room");
    }
}

impl MachineCase for MonitorCase {
    type Machine = Monitor;
    const NAME: &'static str = "monitor";

    fn new(_seed: u64) -> (Monitor, Self) {
        let settings = MonitorSettings {
            heartbeat: Duration::from_secs(21),
            frequency: Duration::from_secs(4),
            connections_max: CONNECTIONS_MAX,
        };
        let case = Self {
            inserted: 0,
            conns: [None; CONNECTIONS_MAX as usize],
        };
        (Monitor::new(settings).expect("they are in range"), case)
    }

    fn act(&mut self, monitor: &mut Monitor, now: Instant, dice: &mut Dice, _: &mut Log) {
        let conn = self.conn(dice);
        match dice.below(10) {
            0..=2 => self.insert(monitor, now, dice),
            3 => monitor.remove(conn),
            4 | 5 => monitor.handle_received(now, conn),
            6 => monitor.handle_exchange_begun(now, conn),
            7 => monitor.handle_exchange_ended(now, conn),
            _ => {}
        }
    }

    fn misuse(
        &mut self,
        monitor: &mut Monitor,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let gone = match dice.one_in(2) {
            true => Key::new(CONNECTIONS_MAX, 0),
            false => Key::new(0, u32::MAX),
        };
        match monitor.insert(now, gone) {
            Err(_) => Ok(Misuse::Refused),
            Ok(()) => Err("a misuse was accepted".to_owned()),
        }
    }

    fn flood(&mut self, monitor: &mut Monitor, now: Instant, dice: &mut Dice, _: &mut Log) {
        self.insert(monitor, now, dice);
    }

    fn census(&self, monitor: &Monitor) -> Vec<Census> {
        let len = monitor.len();
        vec![census("connections_max", len, CONNECTIONS_MAX as usize)]
    }

    fn steady(&mut self, monitor: &mut Monitor, now: Instant, dice: &mut Dice) -> bool {
        if self.inserted < 2 * CONNECTIONS_MAX || dice.one_in(10) {
            self.insert(monitor, now, dice);
        }
        monitor.handle_received(now, self.conn(dice));
        let conn = self.conn(dice);
        monitor.handle_exchange_begun(now, conn);
        monitor.handle_exchange_ended(now, conn);
        if dice.one_in(40) {
            monitor.remove(conn);
        }
        true
    }
}

#[test]
fn the_monitor_keeps_all_laws() {
    let tally = assert_lawful::<MonitorCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.tables == 1 && tally.steady > 0,
        "{tally:?}"
    );
}
