//! A notification to clients without a connection of their own, for each of
//! them: by a peer of their subnet, by a datagram of the relay's own, and what
//! the MACs alone take of both.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "inputs/subnets.rs"]
mod subnets;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use subnets::Town;
use tautline_core::relay::To;
use tautline_core::wire::datagram::{Content, Fanout, Test};
use tautline_core::wire::proof::SessionKey;

const PAYLOAD: [u8; 64] = [b'x'; 64];
const CLIENTS: [usize; 2] = [1_000, 10_000];

fn main() {
    divan::main();
}

#[divan::bench(args = CLIENTS, sample_count = 20, sample_size = 1)]
fn all_by_peers(bencher: Bencher<'_, '_>, clients: usize) {
    to_all(bencher, clients, true);
}

#[divan::bench(args = CLIENTS, sample_count = 20, sample_size = 1)]
fn all_by_datagrams(bencher: Bencher<'_, '_>, clients: usize) {
    to_all(bencher, clients, false);
}

fn to_all(bencher: Bencher<'_, '_>, clients: usize, peers: bool) {
    let mut town = Town::new(clients, peers);
    bencher.counter(ItemsCount::new(clients)).bench_local(|| {
        town.pass_an_hour();
        let sent = town.notify(To::All, black_box(&PAYLOAD));
        let expected = if peers { (0, clients) } else { (clients, 0) };
        assert_eq!((sent.datagrams, sent.passed_on), expected);
    });
}

#[divan::bench(args = CLIENTS)]
fn macs(bencher: Bencher<'_, '_>, clients: usize) {
    let town = Town::new(clients, false);
    let content = Content::Test(Test { nonce: 7 });
    let (fanout, key) = (Fanout::new(&content), SessionKey([7; 32]));
    bencher.counter(ItemsCount::new(clients)).bench_local(|| {
        for (id, counter) in town.clients.iter().zip(1..) {
            black_box(fanout.mac(*id, counter, black_box(&key)));
        }
    });
}
