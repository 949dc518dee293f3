//! HTTP has deadlines of its own: a peer that vanishes in the middle of anything
//! leaves no connection behind, though nobody asks for signs of life.

use super::*;

const CLIENTS: usize = 8;
/// The longest deadline: a client's monitor finds a silent relay within 127 s.
/// What was in flight when the other end vanished may come up to a minute later.
const LEFT_MAX: Duration = Duration::from_secs(127 + 60);

/// Clients that start, at a moment of their first second or two, on a network on
/// which that is in the middle of something.
fn amid(world: &mut World) -> Fleet {
    let mut fleet = Fleet::new(world, Figures::default());
    world.run_for(seconds(1));
    let delay = Duration::from_millis(20 << world.dice().below(5));
    let loss_ppm = *world.dice().pick(&[0, 100_000, 300_000]);
    world.set_network(delay, loss_ppm);
    for _ in 0..CLIENTS {
        fleet.add(world, None);
    }
    let span = world.dice().span(Duration::ZERO..10 * delay + seconds(2));
    world.run_for(span);
    fleet
}

#[test]
fn clients_that_vanish_amid_anything_leave_no_connection_at_the_relay() {
    let name = "http::clients_that_vanish_amid_anything_leave_no_connection_at_the_relay";
    calmly(name, 100, |world| {
        let fleet = amid(world);
        for (node, _) in &fleet.clients {
            world.crash(*node, true, 100 * HOUR);
        }
        world.run_for(LEFT_MAX);
        assert_eq!(world.oldest_connection(fleet.relay), None);
    });
}

#[test]
fn a_relay_that_vanishes_amid_anything_leaves_no_connection_at_its_clients() {
    let name = "http::a_relay_that_vanishes_amid_anything_leaves_no_connection_at_its_clients";
    calmly(name, 100, |world| {
        let fleet = amid(world);
        world.crash(fleet.relay, true, 100 * HOUR);
        world.run_for(LEFT_MAX);
        // They go on trying: what there is, is from after that.
        for (node, _) in &fleet.clients {
            let oldest = world.oldest_connection(*node).unwrap_or_default();
            assert!(oldest < LEFT_MAX, "{oldest:?}");
        }
    });
}
