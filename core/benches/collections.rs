//! The tables at the size of a large relay, next to the standard library's.
//!
//! A row's time is that of all its operations, its throughput counts them:
//! 1,000,000 unless it says otherwise. In shuffled order nearly every access
//! misses the caches, which is what those rows measure.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "inputs/timers.rs"]
mod timers;

use std::collections::{BTreeMap, HashMap};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tautline_core::collections::{Index, Slab, Wheel};
use tautline_core::{ClientId, Instant, Key};
use timers::{deadlines, emptied_wheel, full_wheel, random, shuffled};

const COUNT: usize = 1_000_000;

fn main() {
    divan::main();
}

type Tree = BTreeMap<(Instant, u32), u32>;

fn full_tree(deadlines: &[Instant]) -> Tree {
    // Inserted one by one: a tree that is collected lies in memory in order.
    let mut tree = Tree::new();
    for (at, value) in deadlines.iter().zip(0..) {
        tree.insert((*at, value), value);
    }
    tree
}

#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod wheel {
    use super::*;

    /// Into a wheel that held as many before.
    #[divan::bench]
    fn insert(bencher: Bencher<'_, '_>) {
        let deadlines = deadlines(COUNT);
        bencher
            .counter(ItemsCount::new(COUNT))
            .with_inputs(|| emptied_wheel(&deadlines))
            .bench_local_refs(|wheel| {
                for (at, value) in deadlines.iter().zip(0..) {
                    wheel.insert(*at, value).unwrap();
                }
            });
    }

    #[divan::bench]
    fn insert_with_growth(bencher: Bencher<'_, '_>) {
        let deadlines = deadlines(COUNT);
        bencher
            .counter(ItemsCount::new(COUNT))
            .bench_local(|| full_wheel(&deadlines));
    }

    #[divan::bench]
    fn cancel_in_order(bencher: Bencher<'_, '_>) {
        let deadlines = deadlines(COUNT);
        bencher
            .counter(ItemsCount::new(COUNT))
            .with_inputs(|| full_wheel(&deadlines))
            .bench_local_refs(|(wheel, keys)| {
                for key in keys {
                    black_box(wheel.cancel(*key));
                }
            });
    }

    #[divan::bench]
    fn cancel_shuffled(bencher: Bencher<'_, '_>) {
        let deadlines = deadlines(COUNT);
        bencher
            .counter(ItemsCount::new(COUNT))
            .with_inputs(|| {
                let (wheel, keys) = full_wheel(&deadlines);
                (wheel, shuffled(keys))
            })
            .bench_local_refs(|(wheel, keys)| {
                for key in keys {
                    black_box(wheel.cancel(*key));
                }
            });
    }

    /// One timer is cancelled and one inserted while 1,000,000 are set.
    #[divan::bench]
    fn cancel_and_insert_when_full(bencher: Bencher<'_, '_>) {
        let deadlines = deadlines(COUNT);
        bencher
            .counter(ItemsCount::new(COUNT))
            .with_inputs(|| {
                let (wheel, keys) = full_wheel(&deadlines);
                (wheel, shuffled(keys))
            })
            .bench_local_refs(|(wheel, keys)| {
                for (key, at) in keys.iter_mut().zip(&deadlines) {
                    let value = wheel.cancel(*key).unwrap();
                    *key = wheel.insert(*at, value).unwrap();
                }
            });
    }

    /// 10,000 short timers are set, and cancelled in another order, while
    /// 1,000,000 are set: 20,000 operations.
    #[divan::bench]
    fn short_timers_among_a_million(bencher: Bencher<'_, '_>) {
        const SHORT: usize = 10_000;
        let deadlines = deadlines(COUNT);
        let mut wheel = Wheel::new((COUNT + SHORT) as u32);
        for (at, value) in deadlines.iter().zip(0..) {
            wheel.insert(*at, value).unwrap();
        }
        let order = shuffled((0..SHORT).collect());
        let mut keys = Vec::with_capacity(SHORT);
        bencher.counter(ItemsCount::new(2 * SHORT)).bench_local(|| {
            keys.clear();
            for (at, value) in deadlines.iter().take(SHORT).zip(0..) {
                keys.push(wheel.insert(*at, value).unwrap());
            }
            for index in &order {
                black_box(wheel.cancel(keys[*index]));
            }
        });
    }

    /// The hour passes in steps of 10 ms.
    #[divan::bench]
    fn expire(bencher: Bencher<'_, '_>) {
        let deadlines = deadlines(COUNT);
        bencher
            .counter(ItemsCount::new(COUNT))
            .with_inputs(|| full_wheel(&deadlines).0)
            .bench_local_refs(|wheel| {
                for step in 0..=360_000 {
                    let now = Instant::from_micros(step * 10_000);
                    while let Some(value) = wheel.expire(now) {
                        black_box(value);
                    }
                }
                assert!(wheel.is_empty());
            });
    }

    #[divan::bench(sample_size = 100_000)]
    fn next_deadline(bencher: Bencher<'_, '_>) {
        let (wheel, _) = full_wheel(&deadlines(COUNT));
        bencher.bench_local(|| black_box(&wheel).next_deadline());
    }
}

#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod tree {
    use super::*;

    #[divan::bench]
    fn insert(bencher: Bencher<'_, '_>) {
        let deadlines = deadlines(COUNT);
        bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
            let mut tree = Tree::new();
            for (at, value) in deadlines.iter().zip(0..) {
                tree.insert((*at, value), value);
            }
            tree
        });
    }

    #[divan::bench]
    fn cancel_shuffled(bencher: Bencher<'_, '_>) {
        let deadlines = deadlines(COUNT);
        let keys = shuffled(deadlines.iter().copied().zip(0..).collect());
        bencher
            .counter(ItemsCount::new(COUNT))
            .with_inputs(|| full_tree(&deadlines))
            .bench_local_refs(|tree| {
                for key in &keys {
                    black_box(tree.remove(key));
                }
            });
    }

    #[divan::bench]
    fn expire(bencher: Bencher<'_, '_>) {
        let deadlines = deadlines(COUNT);
        bencher
            .counter(ItemsCount::new(COUNT))
            .with_inputs(|| full_tree(&deadlines))
            .bench_local_refs(|tree| {
                for step in 0..=360_000 {
                    let now = Instant::from_micros(step * 10_000);
                    while let Some(first) = tree.first_entry() {
                        if first.key().0 > now {
                            break;
                        }
                        black_box(first.remove());
                    }
                }
                assert!(tree.is_empty());
            });
    }
}

#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod slab {
    use super::*;

    #[divan::bench]
    fn get_shuffled(bencher: Bencher<'_, '_>) {
        let mut slab = Slab::new(COUNT as u32);
        let keys = (0..COUNT).map(|n| slab.insert(n).unwrap()).collect();
        let keys: Vec<Key> = shuffled(keys);
        bencher
            .counter(ItemsCount::new(COUNT))
            .bench_local(|| keys.iter().filter_map(|key| slab.get(*key)).sum::<usize>());
    }

    #[divan::bench]
    fn remove_and_insert(bencher: Bencher<'_, '_>) {
        let mut slab = Slab::new(COUNT as u32);
        let keys = (0..COUNT).map(|n| slab.insert(n).unwrap()).collect();
        let mut keys: Vec<Key> = shuffled(keys);
        bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
            for key in &mut keys {
                let value = slab.remove(*key).unwrap();
                *key = slab.insert(value).unwrap();
            }
        });
    }
}

#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod index {
    use super::*;

    fn clients() -> Vec<ClientId> {
        let mut random = random();
        (0..COUNT).map(|_| ClientId(random.bytes())).collect()
    }

    fn full_index(clients: &[ClientId]) -> Index {
        let mut index = Index::new([1; 16], COUNT as u32);
        for (client, place) in clients.iter().zip(0..) {
            index.insert(index.hash(&client.0), place).unwrap();
        }
        index
    }

    #[divan::bench]
    fn insert_with_growth(bencher: Bencher<'_, '_>) {
        let clients = clients();
        bencher
            .counter(ItemsCount::new(COUNT))
            .bench_local(|| full_index(&clients));
    }

    #[divan::bench]
    fn find_shuffled(bencher: Bencher<'_, '_>) {
        let clients = clients();
        let index = full_index(&clients);
        let wanted = shuffled(clients.clone());
        bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
            for client in &wanted {
                let is_key = |place: u32| clients[place as usize] == *client;
                black_box(index.find(index.hash(&client.0), is_key).unwrap());
            }
        });
    }

    /// The standard library's map, which hashes all again when it grows.
    #[divan::bench]
    fn hash_map_find_shuffled(bencher: Bencher<'_, '_>) {
        let clients = clients();
        let map: HashMap<ClientId, u32> = clients.iter().copied().zip(0..).collect();
        let wanted = shuffled(clients);
        bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
            for client in &wanted {
                black_box(map[client]);
            }
        });
    }
}
