//! Every machine keeps the laws of the contract; broken ones are caught.

use std::collections::BTreeMap;
use tautline_tests::counting::Counting;

use tautline_core::{ConnId, Instant, Output, StoreOp, Ticket};
use tautline_tests::Dice;
use tautline_tests::laws::{self, Census, Driver, EndpointCase, EndpointSubject, Flawed, Log, toy};
use tautline_tests::world::toys::{self, ClientEvent, MESSAGE_BYTES, Message};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_sound_machine_keeps_all_laws() {
    let tally = laws::assert_lawful::<toy::Toy>(0..20);
    for (what, count) in [
        ("outputs", tally.outputs),
        ("timeouts", tally.timeouts),
        ("pokes", tally.pokes),
        ("dips", tally.dips),
        ("streams", tally.streams),
        ("noises", tally.noises),
        ("misuses", tally.misuses),
        ("tables", tally.tables),
        ("steady", tally.steady),
        ("promises", tally.promises),
    ] {
        assert!(count > 0, "no {what} in {tally:?}");
    }
}

#[test]
fn a_broken_machine_is_caught_at_its_law_and_no_other() {
    Flawed::each(0..20, |flaw, law, report| {
        assert_eq!(report.laws(), [law], "{flaw}: {:?}", report.broken);
    });
}

#[test]
fn a_breach_comes_back_from_its_seed() {
    Flawed::each(3..6, |flaw, _, report| {
        for broken in &report.broken {
            Flawed::each(broken.seed..broken.seed + 1, |other, _, again| {
                if other == flaw {
                    assert_eq!(again.broken.first().map(|b| b.step), Some(broken.step));
                }
            });
        }
    });
}

/// The toy server: storage, promises, a stream, back pressure.
#[derive(Default)]
struct ServerCase {
    rests_on: BTreeMap<Message, Ticket>,
    appended: Vec<Message>,
}

impl EndpointCase for ServerCase {
    type Endpoint = toys::Server;
    const NAME: &'static str = "toy server";

    fn new(_seed: u64) -> (toys::Server, Self) {
        (toys::Server::new(Instant::ORIGIN), Self::default())
    }

    fn bytes(&mut self, _: ConnId, dice: &mut Dice) -> Vec<u8> {
        // Random, so that no two messages are the same however they are cut.
        dice.bytes(2 * MESSAGE_BYTES)
    }

    fn promises(&mut self, output: &Output<'_, ()>) -> Option<Ticket> {
        match output {
            Output::Store { ticket, op } => match op {
                StoreOp::Append { bytes, .. } => {
                    self.appended.extend(bytes.as_chunks().0);
                }
                StoreOp::Sync { .. } => {
                    let synced = self.appended.drain(..).map(|message| (message, *ticket));
                    self.rests_on.extend(synced);
                }
                _ => {}
            },
            Output::Write { bytes, .. } => {
                return self.rests_on.get(*bytes).copied();
            }
            _ => {}
        }
        None
    }

    fn census(&self, server: &toys::Server) -> Vec<Census> {
        let sizes = server.sizes().into_iter();
        let census = sizes.map(|(name, used, limit)| Census {
            name,
            used: used as u64,
            limit: limit as u64,
        });
        census.collect()
    }

    fn stream(dice: &mut Dice) -> Option<Vec<u8>> {
        let messages = 1 + dice.below(30);
        Some(
            (0..messages)
                .flat_map(|number| toys::message(1, 1, number))
                .collect(),
        )
    }
}

#[test]
fn an_endpoint_that_stores_keeps_all_laws() {
    let tally = laws::assert_lawful::<EndpointSubject<ServerCase>>(0..40);
    assert!(tally.promises > 100, "{tally:?}");
    assert!(
        tally.streams > 0 && tally.tables > 0 && tally.pokes > 0,
        "{tally:?}"
    );
}

/// The toy client: it connects, and is still.
#[derive(Default)]
struct ClientCase {
    sent: Option<(ConnId, Message)>,
}

impl EndpointCase for ClientCase {
    type Endpoint = toys::Client;
    const NAME: &'static str = "toy client";

    fn new(seed: u64) -> (toys::Client, Self) {
        let seed = Dice::new(seed).seed();
        let client = toys::Client::new(Instant::ORIGIN, seed, (1, 1), "server", 7);
        (client, Self::default())
    }

    fn event(&mut self, _: &mut toys::Client, _: Instant, event: ClientEvent, log: &mut Log) {
        log.event(&event);
    }

    fn sent(&mut self, conn: ConnId, bytes: &[u8]) {
        self.sent = bytes.try_into().ok().map(|message| (conn, message));
    }

    fn bytes(&mut self, _: ConnId, dice: &mut Dice) -> Vec<u8> {
        match self.sent {
            Some((_, message)) => message.to_vec(),
            None => dice.bytes(MESSAGE_BYTES),
        }
    }

    fn steady(&mut self, driver: &mut Driver<toys::Client>, now: Instant, _: &mut Dice) -> bool {
        let connecting = driver.connecting().next();
        if let Some(conn) = connecting {
            driver.connected(now, conn);
        }
        if let Some((conn, message)) = self.sent.take() {
            assert_eq!(driver.receive(now, conn, &message), MESSAGE_BYTES);
        }
        true
    }
}

#[test]
fn an_endpoint_that_connects_keeps_all_laws() {
    let tally = laws::assert_lawful::<EndpointSubject<ClientCase>>(0..10);
    assert!(tally.steady > 0 && tally.outputs > 1_000, "{tally:?}");
}
