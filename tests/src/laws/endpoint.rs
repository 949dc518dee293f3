//! Enrols any [`Endpoint`].

use core::fmt::Debug;

use tautline_core::{ConnId, Endpoint, Input, Instant, Output, Ticket};

use super::{Census, Driver, Log, Misuse, Step, Subject};
use crate::Dice;

/// How often a connection for the stream is asked for.
const ROUNDS_MAX: u32 = 100;

/// What an endpoint adds to be a [`Subject`]: how it is made and what its peers
/// say. The harness plays the driver.
pub trait EndpointCase: Sized {
    /// The endpoint.
    type Endpoint: Endpoint<Event: Debug>;

    /// What reports call it.
    const NAME: &'static str;

    /// See [`Subject::STEADY_OPERATIONS`].
    const STEADY_OPERATIONS: u64 = 5_000;

    /// The endpoint of a seed, and what the case keeps beside it.
    fn new(seed: u64) -> (Self::Endpoint, Self);

    /// Hands an event to the application, which may command. The default
    /// writes it into the log; do so too, without what depends on how a stream
    /// is cut.
    fn event(
        &mut self,
        _endpoint: &mut Self::Endpoint,
        _now: Instant,
        event: <Self::Endpoint as Endpoint>::Event,
        log: &mut Log,
    ) {
        log.event(&event);
    }

    /// Gives one random command.
    fn command(&mut self, _driver: &mut Driver<Self::Endpoint>, _now: Instant, _dice: &mut Dice) {}

    /// What the peer of a connection sends next: sound for the most part,
    /// empty if it has nothing to say.
    fn bytes(&mut self, _conn: ConnId, dice: &mut Dice) -> Vec<u8> {
        dice.bytes(200)
    }

    /// A connection that the endpoint opens reaches its peer; false if that
    /// does not take it.
    fn opened(&mut self, _conn: ConnId, _now: Instant) -> bool {
        true
    }

    /// What may come as a datagram: sound for the most part.
    fn datagram(&mut self, dice: &mut Dice) -> Vec<u8> {
        dice.bytes(200)
    }

    /// Sees what the endpoint writes, so that [`bytes`](Self::bytes) can answer.
    fn sent(&mut self, _conn: ConnId, _bytes: &[u8]) {}

    /// Sees every output; names the storage effect that one rests on, if it
    /// promises durability.
    fn promises(
        &mut self,
        _output: &Output<'_, <Self::Endpoint as Endpoint>::Event>,
    ) -> Option<Ticket> {
        None
    }

    /// See [`Subject::misuse`].
    ///
    /// # Errors
    /// What was accepted although it is a misuse.
    fn misuse(
        &mut self,
        _endpoint: &mut Self::Endpoint,
        _now: Instant,
        _dice: &mut Dice,
    ) -> Result<Misuse, String> {
        Ok(Misuse::None)
    }

    /// See [`Subject::census`].
    fn census(&self, _endpoint: &Self::Endpoint) -> Vec<Census> {
        Vec::new()
    }

    /// See [`Subject::steady`].
    fn steady(
        &mut self,
        _driver: &mut Driver<Self::Endpoint>,
        _now: Instant,
        _dice: &mut Dice,
    ) -> bool {
        false
    }

    /// The connection that the stream comes on, once there is one: asked for
    /// again and again until then, with what follows from it carried out in
    /// between. The default lets the endpoint accept one.
    fn stream_conn(&mut self, driver: &mut Driver<Self::Endpoint>, now: Instant) -> Option<ConnId> {
        driver.accept(now)
    }

    /// A conversation on that connection; see [`Subject::stream`].
    fn stream(_dice: &mut Dice) -> Option<Vec<u8>> {
        None
    }
}

/// An [`Endpoint`] as a [`Subject`].
pub struct EndpointSubject<C: EndpointCase> {
    driver: Driver<C::Endpoint>,
    case: C,
    stream: Option<ConnId>,
    warm: bool,
}

impl<C: EndpointCase> EndpointSubject<C> {
    /// Lets the endpoint start up until there is a connection for the stream.
    fn open_stream(&mut self, now: Instant, log: &mut Log) -> ConnId {
        self.driver.contrary = false;
        self.driver.tell(now, Input::Timeout);
        for _ in 0..ROUNDS_MAX {
            for _ in 0..Self::STEPS_MAX {
                if self.step(log) == Step::Idle {
                    break;
                }
            }
            if let Some(conn) = self.case.stream_conn(&mut self.driver, now) {
                self.stream = Some(conn);
                return conn;
            }
        }
        panic!("an endpoint with a stream has a connection for it");
    }

    fn answer_all(&mut self, now: Instant, log: &mut Log) {
        while self.driver.stores() {
            self.driver.answer_storage(now, log);
        }
    }
}

impl<C: EndpointCase> Subject for EndpointSubject<C> {
    const NAME: &'static str = C::NAME;
    const STEADY_OPERATIONS: u64 = C::STEADY_OPERATIONS;

    fn new(seed: u64) -> Self {
        let (endpoint, case) = C::new(seed);
        Self {
            driver: Driver::new(endpoint, seed),
            case,
            stream: None,
            warm: false,
        }
    }

    fn act(&mut self, now: Instant, dice: &mut Dice, log: &mut Log) {
        self.driver.now = self.driver.now.max(now);
        let (driver, case) = (&mut self.driver, &mut self.case);
        match dice.below(16) {
            0 => {
                driver.accept(now);
            }
            1..=8 => driver.act_on_conn(case, now, dice, log),
            9..=11 => driver.answer_storage(now, log),
            12 => {
                let bytes = case.datagram(dice);
                driver.act_stray(now, &bytes, dice);
            }
            _ => case.command(driver, now, dice),
        }
    }

    fn step(&mut self, log: &mut Log) -> Step {
        let step = self.driver.step(&mut self.case, log);
        if !self.driver.contrary && self.driver.stores() {
            self.answer_all(self.driver.now, log);
            return Step::Output;
        }
        step
    }

    fn deadline(&self) -> Option<Instant> {
        self.driver.deadline
    }

    fn timeout(&mut self, now: Instant) {
        self.driver.now = self.driver.now.max(now);
        self.driver.tell(now, Input::Timeout);
    }

    fn noise(&mut self, now: Instant, dice: &mut Dice, _log: &mut Log) -> Result<(), String> {
        self.driver.now = self.driver.now.max(now);
        let open: Vec<ConnId> = self.driver.open().collect();
        let conn = (!open.is_empty()).then(|| *dice.pick(&open));
        let mut bytes = match (dice.below(4), conn) {
            (0, _) => dice.bytes(600),
            (2 | 3, Some(conn)) => self.case.bytes(conn, dice),
            _ => self.case.datagram(dice),
        };
        for _ in 0..dice.below(4) {
            let place = dice.index(bytes.len());
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << dice.below(8);
            }
        }
        bytes.truncate(1 + dice.index(2 * bytes.len().max(1)));
        bytes.push(0);
        match conn {
            Some(conn) if !dice.one_in(3) => {
                self.driver.receive(now, conn, &bytes);
            }
            _ => self.driver.act_stray(now, &bytes, dice),
        }
        Ok(())
    }

    fn misuse(&mut self, now: Instant, dice: &mut Dice) -> Result<Misuse, String> {
        self.case.misuse(&mut self.driver.endpoint, now, dice)
    }

    fn flood(&mut self, now: Instant, dice: &mut Dice, log: &mut Log) {
        self.driver.now = self.driver.now.max(now);
        match dice.below(4) {
            0 => {
                self.driver.accept(now);
            }
            1 => self.case.command(&mut self.driver, now, dice),
            _ => self.act(now, dice, log),
        }
    }

    fn census(&self) -> Vec<Census> {
        self.case.census(&self.driver.endpoint)
    }

    fn steady(&mut self, now: Instant, dice: &mut Dice) -> bool {
        self.driver.now = self.driver.now.max(now);
        if !self.warm {
            self.warm = true;
            self.driver.contrary = false;
        }
        self.case.steady(&mut self.driver, now, dice)
    }

    fn stream(dice: &mut Dice) -> Option<Vec<u8>> {
        C::stream(dice)
    }

    fn feed(&mut self, now: Instant, bytes: &[u8], log: &mut Log) -> usize {
        self.driver.now = self.driver.now.max(now);
        let conn = match self.stream {
            Some(conn) => conn,
            None => self.open_stream(now, log),
        };
        self.driver.offer(now, conn, bytes, log)
    }

    fn feed_end(&mut self, now: Instant, _log: &mut Log) {
        if let Some(conn) = self.stream {
            self.driver.end(now, conn);
        }
    }
}
