//! Notifications to clients without a connection of their own, in a hundred
//! subnets: by peers, by datagrams of the relay's own, and what the MACs alone
//! take of both.

use std::hint::black_box;

use super::scenario::{Scenario, counted};
use super::subnets::{Sent, Town};
use tautline_core::relay::To;
use tautline_core::wire::datagram::{Content, Fanout, Test};
use tautline_core::wire::proof::SessionKey;

const SIZES: &[usize] = &[1_000, 10_000, 100_000];
const PAYLOAD: [u8; 64] = [b'x'; 64];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "ways/all-by-peers",
        unit: "clients",
        sizes: SIZES,
        run: |clients| to_all(clients, true),
    },
    Scenario {
        name: "ways/all-by-datagrams",
        unit: "clients",
        sizes: SIZES,
        run: |clients| to_all(clients, false),
    },
    Scenario {
        name: "ways/one-by-peer",
        unit: "clients",
        sizes: SIZES,
        run: |clients| to_each(clients, true),
    },
    Scenario {
        name: "ways/one-by-datagram",
        unit: "clients",
        sizes: SIZES,
        run: |clients| to_each(clients, false),
    },
    Scenario {
        name: "ways/mac",
        unit: "clients",
        sizes: &[1_000],
        run: macs,
    },
];

fn expected(clients: usize, by_peers: bool) -> Sent {
    match by_peers {
        true => Sent {
            datagrams: 0,
            passed_on: clients,
        },
        false => Sent {
            datagrams: clients,
            passed_on: 0,
        },
    }
}

/// A town that is as full as it gets.
fn warm(clients: usize, by_peers: bool) -> Town {
    let mut town = Town::new(clients, by_peers);
    town.notify(To::All, &PAYLOAD);
    town.pass_an_hour();
    town
}

/// A notification of 64 bytes to all, for each of them, confirmed by peers.
fn to_all(clients: usize, by_peers: bool) -> usize {
    let mut town = warm(clients, by_peers);
    let sent = counted(|| town.notify(To::All, &PAYLOAD));
    assert_eq!(sent, expected(clients, by_peers));
    clients
}

/// A notification of 64 bytes to one client; to another one each time.
fn to_each(clients: usize, by_peers: bool) -> usize {
    const OPERATIONS: usize = 1_000;
    let mut town = warm(clients, by_peers);
    let ids: Vec<_> = town.clients[..OPERATIONS].to_vec();
    counted(|| {
        for id in &ids {
            let sent = town.notify(To::Client(*id), &PAYLOAD);
            assert_eq!(sent, expected(1, by_peers));
        }
    });
    OPERATIONS
}

/// The MACs of a fan-out alone.
fn macs(clients: usize) -> usize {
    let town = Town::new(clients, false);
    let content = Content::Test(Test { nonce: 7 });
    let (fanout, key) = (Fanout::new(&content), SessionKey([7; 32]));
    counted(|| {
        for (id, counter) in town.clients.iter().zip(1..) {
            black_box(fanout.mac(*id, counter, black_box(&key)));
        }
    });
    clients
}
