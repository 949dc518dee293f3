//! A small machine that keeps all eight laws: it stores lines and acknowledges
//! those that are durable.
//!
//! It has one of everything that a law speaks of: a deadline, a stream, a
//! table with a limit, storage, a command that can be misused. [`Keeper`] is
//! generic over one flaw, so that a broken machine is a sound one but for a
//! line.

use core::time::Duration;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use tautline_core::{Instant, Machine, Ticket};

use super::broken::flaw;
use super::{Census, Log, Misuse, Step, Subject};
use crate::{Dice, counting};

/// The sound machine as a subject.
pub type Toy = KeeperSubject<{ flaw::NONE }>;

/// Lines that wait for storage at a time.
const LINES_MAX: usize = 8;
/// Bytes of a line; longer ones are dropped.
const LINE_BYTES_MAX: usize = 32;
/// Silence after which a ping is due.
const PING_PERIOD: Duration = Duration::from_secs(10);

/// What a keeper wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Store a line of so many bytes, with this sum.
    Store(Ticket, usize, u32),
    /// The line is durable.
    Acknowledge(Ticket),
    /// The line is lost.
    Refuse(Ticket),
    /// A sign of life.
    Ping(u64),
    /// Offer the stream again.
    Resume,
}

/// Keeps lines: each is stored, then acknowledged.
#[derive(Clone, Debug)]
pub struct Keeper<const FLAW: u8> {
    now: Instant,
    ping_at: Instant,
    pings: u64,
    partial: [u8; LINE_BYTES_MAX],
    partial_bytes: usize,
    stalled: bool,
    tickets: u64,
    waiting: VecDeque<Ticket>,
    effects: VecDeque<Effect>,
}

impl<const FLAW: u8> Keeper<FLAW> {
    fn new(now: Instant) -> Self {
        Self {
            now,
            ping_at: now + PING_PERIOD,
            pings: 0,
            partial: [0; LINE_BYTES_MAX],
            partial_bytes: 0,
            stalled: false,
            tickets: 0,
            waiting: VecDeque::with_capacity(LINES_MAX),
            effects: VecDeque::with_capacity(4 * LINES_MAX),
        }
    }

    /// Takes bytes of the stream while there is room for their lines.
    fn handle_received(&mut self, now: Instant, bytes: &[u8]) -> usize {
        self.set_now(now);
        self.ping_at = self.now + PING_PERIOD;
        for (taken, &byte) in bytes.iter().enumerate() {
            if self.waiting.len() >= LINES_MAX && FLAW != flaw::UNBOUNDED {
                self.stalled = true;
                return taken;
            }
            if byte == b'\n' {
                self.finish_line();
            } else if self.partial_bytes < LINE_BYTES_MAX {
                assert!(byte != 0xff || FLAW != flaw::PANICS, "a byte of 0xff");
                self.partial[self.partial_bytes] = byte;
                self.partial_bytes += 1;
            }
        }
        if FLAW == flaw::CUT_SHOWS {
            self.finish_line();
        }
        bytes.len()
    }

    fn finish_line(&mut self) {
        let line = &self.partial[..self.partial_bytes];
        let sum = line.iter().map(|&byte| u32::from(byte)).sum();
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.push_back(ticket);
        self.effects
            .push_back(Effect::Store(ticket, line.len(), sum));
        if FLAW == flaw::EAGER {
            self.effects.push_back(Effect::Acknowledge(ticket));
        }
        self.partial_bytes = 0;
    }

    fn handle_stored(&mut self, now: Instant, ticket: Ticket, done: bool) {
        self.set_now(now);
        if self.drop_waiting(ticket) && FLAW != flaw::EAGER {
            self.effects.push_back(if done {
                Effect::Acknowledge(ticket)
            } else {
                Effect::Refuse(ticket)
            });
        }
    }

    /// A command: gives up a line that waits for storage.
    fn forget(&mut self, now: Instant, ticket: Ticket) -> Result<(), ()> {
        if !self.waiting.contains(&ticket) {
            if FLAW == flaw::MISUSE_SHOWS {
                self.partial_bytes = 0;
            }
            return Err(());
        }
        self.set_now(now);
        self.drop_waiting(ticket);
        Ok(())
    }

    fn drop_waiting(&mut self, ticket: Ticket) -> bool {
        let Some(place) = self.waiting.iter().position(|&other| other == ticket) else {
            return false;
        };
        self.waiting.remove(place);
        if core::mem::take(&mut self.stalled) {
            self.effects.push_back(Effect::Resume);
        }
        true
    }

    fn set_now(&mut self, now: Instant) {
        self.now = if FLAW == flaw::BACKWARDS {
            now
        } else {
            self.now.max(now)
        };
    }
}

impl<const FLAW: u8> Machine for Keeper<FLAW> {
    type Effect = Effect;

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.ping_at)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.set_now(now);
        if self.now < self.ping_at && FLAW != flaw::EARLY {
            return;
        }
        if FLAW == flaw::STUCK && self.partial_bytes > 0 {
            return;
        }
        self.ping_at = self.now + PING_PERIOD;
        self.pings += 1;
        if FLAW == flaw::ALLOCATES {
            drop(black_box(Box::new(self.pings)));
        }
        if FLAW == flaw::UNSEEDED {
            static PINGS: AtomicU64 = AtomicU64::new(0);
            self.pings = PINGS.fetch_add(1, Ordering::Relaxed);
        }
        self.effects.push_back(Effect::Ping(self.pings));
    }

    fn poll(&mut self) -> Option<Effect> {
        if FLAW == flaw::ENDLESS && self.pings > 0 {
            return Some(Effect::Ping(self.pings));
        }
        self.effects.pop_front()
    }
}

/// A keeper and the storage below it.
pub struct KeeperSubject<const FLAW: u8> {
    keeper: Keeper<FLAW>,
    storing: VecDeque<Ticket>,
    storage_answers_at_once: bool,
    now: Instant,
}

impl<const FLAW: u8> KeeperSubject<FLAW> {
    fn answer(&mut self, ticket: Ticket, done: bool, log: &mut Log) {
        if done {
            log.stored(ticket);
        }
        self.keeper.handle_stored(self.now, ticket, done);
    }

    fn offer_lines(&mut self, now: Instant, dice: &mut Dice) {
        let mut bytes = dice.bytes(60);
        bytes[0] = b'\n';
        self.keeper.handle_received(now, &bytes);
    }
}

impl<const FLAW: u8> Subject for KeeperSubject<FLAW> {
    const NAME: &'static str = "toy keeper";
    const STEADY_OPERATIONS: u64 = 500;

    fn new(_seed: u64) -> Self {
        Self {
            keeper: Keeper::new(Instant::ORIGIN),
            storing: VecDeque::with_capacity(LINES_MAX),
            storage_answers_at_once: false,
            now: Instant::ORIGIN,
        }
    }

    fn act(&mut self, now: Instant, dice: &mut Dice, log: &mut Log) {
        self.now = now;
        match dice.below(4) {
            0 => self.offer_lines(now, dice),
            1 => {
                if let Some(&ticket) = self.keeper.waiting.front() {
                    assert!(self.keeper.forget(now, ticket).is_ok());
                }
            }
            _ => {
                if let Some(ticket) = self.storing.pop_front() {
                    self.answer(ticket, !dice.one_in(4), log);
                }
            }
        }
    }

    fn step(&mut self, log: &mut Log) -> Step {
        let Some(effect) = self.keeper.poll() else {
            return Step::Idle;
        };
        match effect {
            Effect::Store(ticket, ..) => {
                log.event(&effect);
                if self.storage_answers_at_once {
                    self.answer(ticket, true, log);
                } else {
                    counting::paused(|| self.storing.push_back(ticket));
                }
            }
            Effect::Acknowledge(ticket) => {
                log.bytes(0, &ticket.0.to_be_bytes());
                log.promise(ticket);
            }
            Effect::Refuse(_) => log.event(&effect),
            Effect::Ping(_) => log.effect(&effect),
            Effect::Resume => log.resume(),
        }
        Step::Output
    }

    fn deadline(&self) -> Option<Instant> {
        self.keeper.poll_timeout()
    }

    fn timeout(&mut self, now: Instant) {
        self.keeper.handle_timeout(now);
    }

    fn misuse(&mut self, now: Instant, dice: &mut Dice) -> Result<Misuse, String> {
        let ticket = Ticket(1_000_000 + dice.next_u64() / 2);
        match self.keeper.forget(now, ticket) {
            Ok(()) => Err(format!("{ticket:?} was forgotten, but is not known")),
            Err(()) => Ok(Misuse::Refused),
        }
    }

    fn flood(&mut self, now: Instant, dice: &mut Dice, _log: &mut Log) {
        self.offer_lines(now, dice);
    }

    fn census(&self) -> Vec<Census> {
        vec![Census {
            name: "lines_max",
            used: self.keeper.waiting.len() as u64,
            limit: LINES_MAX as u64,
        }]
    }

    fn steady(&mut self, now: Instant, dice: &mut Dice) -> bool {
        self.now = now;
        self.storage_answers_at_once = true;
        // In between, it is silent for long enough that a ping comes due.
        if dice.one_in(60) {
            self.keeper.handle_received(now, b"still\n");
        }
        true
    }

    fn stream(dice: &mut Dice) -> Option<Vec<u8>> {
        let mut bytes = dice.bytes(400);
        for byte in &mut bytes {
            if dice.one_in(12) {
                *byte = b'\n';
            }
        }
        Some(bytes)
    }

    fn feed(&mut self, now: Instant, bytes: &[u8], _log: &mut Log) -> usize {
        self.now = now;
        self.storage_answers_at_once = true;
        self.keeper.handle_received(now, bytes)
    }

    fn feed_end(&mut self, now: Instant, _log: &mut Log) {
        self.keeper.handle_received(now, b"\n");
    }
}
