//! One seed, one trace, over every driver: promise X1.
//!
//! A script of commands is played in the simulated world, over the event loop,
//! and over blocking sockets, each twice. What the applications hear is the
//! same, whoever drives the endpoints.

mod calm;
mod cast;
mod loopback;
mod script;

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread;

use calm::Calm;
use loopback::{Loopback, OverMio, OverStd};
use script::{Trace, play};

const SEEDS: u64 = 60;
const AT_A_TIME: u64 = 6;

fn assert_same(seed: u64, stage: &str, trace: &Trace, calm: &Trace) {
    if trace.hash() == calm.hash() {
        return;
    }
    let (trace, calm) = (trace.to_string(), calm.to_string());
    let (here, there): (BTreeSet<_>, BTreeSet<_>) =
        (trace.lines().collect(), calm.lines().collect());
    let only = |some: &BTreeSet<&str>, others| {
        let only: Vec<_> = some.difference(others).copied().collect();
        only.join("\n  ")
    };
    panic!(
        "seed {seed} {stage} leaves another trace than in the calm world.\nonly {stage}:\n  {}\n\
         only in the calm world:\n  {}\nall of it {stage}:\n{trace}",
        only(&here, &there),
        only(&there, &here),
    );
}

/// Plays the script of a seed on every stage, and returns what was heard.
fn play_everywhere(seed: u64) -> Trace {
    let calm = play(seed, Calm::new(seed));
    for (stage, trace) in [
        ("in the calm world again", play(seed, Calm::new(seed))),
        ("over mio", play(seed, Loopback::<OverMio>::new(seed))),
        ("over mio again", play(seed, Loopback::<OverMio>::new(seed))),
        ("over std", play(seed, Loopback::<OverStd>::new(seed))),
        ("over std again", play(seed, Loopback::<OverStd>::new(seed))),
    ] {
        assert_same(seed, stage, &trace, &calm);
    }
    calm
}

/// The traces of all seeds. Stages wait for storage and deadlines more than
/// they work, so a few are played at a time.
fn all_traces() -> Vec<Trace> {
    thread::scope(|scope| {
        let shares = (0..AT_A_TIME).map(|share| {
            scope.spawn(move || {
                let seeds = (share..SEEDS).step_by(AT_A_TIME as usize);
                seeds.map(play_everywhere).collect::<Vec<_>>()
            })
        });
        let shares: Vec<_> = shares.collect();
        let traces = shares.into_iter().map(|share| share.join());
        let traces = traces.map(|traces| traces.unwrap_or_else(|panic| resume_unwind(panic)));
        traces.flatten().collect()
    })
}

#[test]
fn x1_a_seed_is_one_trace_over_every_driver() {
    let traces = all_traces();
    let hashes: BTreeSet<_> = traces.iter().map(Trace::hash).collect();
    assert_eq!(hashes.len() as u64, SEEDS, "a seed is a script of its own");
    let heard: String = traces.iter().map(Trace::to_string).collect();
    for what in [
        "registered, new: false",
        "told",
        "replied with",
        "dismissed",
        "expired, 1 targets, 0 sent",
        "refused: ",
        "disconnected: ",
        "drained",
        "stopped",
    ] {
        assert!(heard.contains(what), "no seed has \"{what}\"");
    }
}
