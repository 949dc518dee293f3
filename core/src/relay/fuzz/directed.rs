//! Scripts that make sense: bytes at random seldom lead to a peer that passes
//! something on. What a director chooses is written down as a script like any
//! other.

use alloc::vec;
use alloc::vec::Vec;

use proptest::collection::vec as any_vec;
use proptest::prelude::*;

use super::{World, operations};
use crate::collections::model::Script;

/// Zeros behind the bytes of an operation: what is not drawn is so.
const PADDING: usize = 4_096;

/// Chooses what happens next, by what there is.
struct Director {
    world: World,
    script: Vec<u8>,
}

impl Director {
    fn new(head: &[u8]) -> Self {
        let mut director = Self {
            world: World::new(&mut Script(&[])),
            script: Vec::new(),
        };
        let mut world = None;
        director.write(head, |_, script| world = Some(World::new(script)));
        director.world = world.expect("it was made");
        director
    }

    /// Does one thing, and writes down what was drawn.
    fn write(&mut self, bytes: &[u8], act: impl FnOnce(&mut World, &mut Script<'_>)) {
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len() + PADDING, 0);
        let mut script = Script(&padded);
        act(&mut self.world, &mut script);
        let drawn = padded.len() - script.0.len();
        self.script.extend_from_slice(&padded[..drawn]);
    }

    fn operate(&mut self, bytes: &[u8]) {
        self.write(bytes, |world, script| {
            world.operate(script).expect("there are bytes");
        });
        // As the loop over a script does it.
        self.write(&[], |world, script| {
            assert!(!script.one_in(4));
            world.settle(script);
        });
    }

    /// A connection that a request can be sent on.
    fn free(&self, draw: u8) -> Option<u8> {
        self.place(draw, |peer| {
            let idle = peer.kept.is_empty() && peer.registering.is_none() && peer.asking.is_none();
            idle && peer.line.is_none() && peer.closing.is_none() && !peer.ended && !peer.blocked
        })
    }

    fn line(&self, draw: u8) -> Option<u8> {
        self.place(draw, |peer| {
            let open = |line: &super::peer::Line| !line.over;
            peer.line.as_ref().is_some_and(open) && peer.closing.is_none()
        })
    }

    fn place(&self, draw: u8, fits: impl Fn(&super::Peer) -> bool) -> Option<u8> {
        let peers = self.world.peers.iter().enumerate();
        let fit: Vec<_> = peers.filter(|(_, peer)| fits(peer)).collect();
        let at = usize::from(draw) % fit.len().max(1);
        fit.get(at).map(|(place, _)| *place as u8)
    }

    /// What a step's bytes say, if it is possible now.
    fn step(&mut self, [kind, a, b, c]: [u8; 4]) {
        if let Some(over) = self.place(0, |peer| peer.closing.is_some()) {
            self.operate(&[12, over, 1]);
        }
        if self.world.peers.len() < 4 {
            let place = if a < 200 { 1 } else { a };
            self.operate(&[0, place, 0]);
        }
        // Most are in one subnet.
        let b = if c < 160 { b & 3 } else { b };
        let (free, line) = (self.free(a), self.line(a));
        let bytes = match (kind % 32, free, line) {
            (0..4, Some(peer), _) => vec![4, peer, 0, 0, b],
            (4..7, Some(peer), _) => vec![4, peer, 0, 1, c, b],
            (7..11, Some(peer), _) => vec![6, peer, b, 0, 0, 0],
            (11, Some(peer), _) => vec![8, peer, b, 0, 0],
            (12 | 13, Some(peer), _) => vec![9, peer, b, c, 1, 0],
            (14, Some(peer), _) => vec![20, peer, b, 0, 0],
            (15..20, _, Some(peer)) => vec![19, peer, c | (4 * u8::from(b > 0)), 0],
            (20, _, Some(peer)) => vec![10, peer, b, 4, 6, 0, 0, 0],
            (21, ..) if c < 128 => vec![12, a, b],
            (22, ..) => vec![15, 26, 0, b, c, a & 3, 0],
            (21 | 23, ..) => vec![13, a],
            (24 | 25, ..) => vec![21, 0, b, 12],
            (26, _, Some(peer)) if c < 64 => vec![21, 0, 0, 14, peer],
            _ => vec![16, b, c, a, a, 12, 60, c, 0],
        };
        self.operate(&bytes);
    }
}

/// Plays a direction; returns the script that it came to, and how many
/// datagrams were handed to peers and sent by the relay.
fn play(head: &[u8], steps: &[[u8; 4]]) -> (Vec<u8>, [u64; 3]) {
    let mut director = Director::new(head);
    for step in steps {
        director.step(*step);
    }
    let stats = director.world.relay.stats();
    let ways = ["peer", "datagram"].map(|way| stats.sent.get(way));
    director.world.finish(&mut Script(&[]));
    (director.script, [ways[0], ways[1], stats.rerouted])
}

#[test]
fn a_script_that_was_written_down_does_the_same() {
    let steps: Vec<_> = (0..200_u8)
        .map(|at| {
            [
                at.wrapping_mul(37),
                at.wrapping_mul(101),
                at.wrapping_mul(13),
                at,
            ]
        })
        .collect();
    let (script, _) = play(&[0, 1], &steps);
    operations(&script);
}

#[test]
fn clients_are_asked_and_ended_and_periods_learned() {
    use crate::Random;
    let mut random = Random::from_seed([8; 32]);
    let mut sums = [0; 4];
    for _ in 0..200 {
        let steps: Vec<[u8; 4]> = (0..150).map(|_| random.bytes()).collect();
        let [periods, more]: [u8; 2] = random.bytes();
        let head = [0, 1, 0, 0, 0, periods, more];
        let mut director = Director::new(&head);
        for step in &steps {
            director.step(*step);
        }
        let stats = director.world.relay.stats();
        director.world.finish(&mut Script(&[]));
        let (prober, monitor) = (stats.heartbeats.prober, stats.heartbeats.monitor);
        let told = [
            prober.answered,
            prober.ended,
            monitor.ended,
            stats.heartbeat_lessons,
        ];
        for (sum, told) in sums.iter_mut().zip(told) {
            *sum += told;
        }
    }
    assert!(sums.iter().all(|sum| *sum > 3), "{sums:?}");
}

#[test]
fn every_way_is_within_reach() {
    use crate::Random;
    let mut random = Random::from_seed([7; 32]);
    let mut sums = [0; 3];
    for _ in 0..150 {
        let steps: Vec<[u8; 4]> = (0..150).map(|_| random.bytes()).collect();
        let head: [u8; 4] = random.bytes();
        let (_, ways) = play(&[head[0], 1, 0, head[1] & 0xfe, head[2]], &steps);
        for (sum, way) in sums.iter_mut().zip(ways) {
            *sum += way;
        }
    }
    assert!(sums.iter().all(|sum| *sum > 30), "{sums:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_direction_keeps_the_promises(
        head in any::<[u8; 7]>(),
        steps in any_vec(any::<[u8; 4]>(), 0..250),
    ) {
        play(&head, &steps);
    }
}
