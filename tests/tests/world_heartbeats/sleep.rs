//! Machines that sleep, and programs that are stopped: clocks jump. Wall clocks
//! do so, too, which is nobody's business here.

use tautline_core::heartbeat::ProberSettings;
use tautline_tests::Dice;
use tautline_tests::world::Fault;

use super::*;

const CLIENTS: usize = 6;
/// A way of it leaves time to stop an end while a probe is under way.
const DELAY: Duration = Duration::from_millis(400);

/// The relay asks and its clients do not look, so that only the relay's clock
/// matters.
fn relay_asks() -> Figures {
    Figures {
        client: client::HeartbeatSettings {
            heartbeat: Some(Duration::ZERO),
            ..client::HeartbeatSettings::default()
        },
        ..Figures::default()
    }
}

/// The clients ask, and look as well; the relay does neither.
fn clients_ask() -> Figures {
    Figures {
        relay: relay::HeartbeatSettings {
            prober: ProberSettings {
                period: Duration::ZERO,
                ..ProberSettings::default()
            },
            ..relay::HeartbeatSettings::default()
        },
        client: client::HeartbeatSettings {
            period: PERIOD,
            heartbeat: Some(HEARTBEAT),
            ..client::HeartbeatSettings::default()
        },
        ..Figures::default()
    }
}

/// A moment at which a probe may just be under way: within a period, probes of
/// all clients are.
fn any_moment(world: &mut World) {
    world.set_network(DELAY, 0);
    let span = world.dice().span(PERIOD..2 * PERIOD);
    world.run_for(span);
}

fn hours(world: &mut World) -> Duration {
    world.dice().span(seconds(10)..8 * HOUR)
}

/// Runs on until the relay has just asked a client.
fn until_asked(fleet: &Fleet, world: &mut World) {
    let sent = |world: &World| fleet.of_relay(world, |it| it.stats().heartbeats.prober.sent);
    let before = sent(world);
    assert!(world.run_until(PERIOD, |world| sent(world) > before));
}

#[test]
fn h4_a_relay_that_was_stopped_for_hours_ends_no_live_client() {
    let name = "sleep::h4_a_relay_that_was_stopped_for_hours_ends_no_live_client";
    calmly(name, 30, |world| {
        let fleet = Fleet::connected(world, relay_asks(), CLIENTS);
        let since = world.now();
        any_moment(world);
        if world.dice().one_in(2) {
            until_asked(&fleet, world);
        }
        let stopped = hours(world);
        world.pause(fleet.relay, stopped);
        world.run_for(stopped + 4 * PERIOD);
        fleet.assert_kept(since);
        let stats = fleet.of_relay(world, |it| it.stats().heartbeats.prober);
        assert!(stats.jumps > 0, "{stats:?}");
    });
}

#[test]
fn h4_a_client_that_was_stopped_for_hours_does_not_leave_a_live_relay() {
    let name = "sleep::h4_a_client_that_was_stopped_for_hours_does_not_leave_a_live_relay";
    calmly(name, 30, |world| {
        let fleet = Fleet::connected(world, clients_ask(), 2);
        let since = world.now();
        any_moment(world);
        let asked = |world: &World| {
            let app: &ClientApp = world.app(fleet.node(0)).expect("it runs");
            app.client.stats().probes_sent
        };
        if world.dice().one_in(2) {
            let before = asked(world);
            assert!(world.run_until(PERIOD, |world| asked(world) > before));
        }
        let stopped = hours(world);
        world.pause(fleet.node(0), stopped);
        world.run_for(stopped + 4 * PERIOD);
        fleet.assert_kept(since);
    });
}

#[test]
fn h4_a_client_that_slept_through_its_end_gets_another_connection() {
    let name = "sleep::h4_a_client_that_slept_through_its_end_gets_another_connection";
    calmly(name, 30, |world| {
        let fleet = Fleet::connected(world, Figures::default(), CLIENTS);
        any_moment(world);
        let from = world.now();
        let slept = seconds(120) + hours(world);
        world.suspend(fleet.node(0), slept);
        world.run_for(slept);
        let (rule, at, _) = fleet.ended(fleet.relay, 0, from);
        assert_eq!(rule, Rule::ResponseTimeout);
        assert!(at <= from + PERIOD + RESPONSE_TIMEOUT + SLACK, "{at:?}");
        assert_eq!(fleet.told(fleet.node(0), 0, from), [], "it slept");
        // Nothing answers for the old connection, which is silent from now on.
        let awake = world.now();
        fleet.await_lines(world, HEARTBEAT + 2 * FREQUENCY + RETURN);
        let told = fleet.told(fleet.node(0), 0, awake);
        let silent = told.iter().filter(|it| matches!(it.told, Told::Silent(..)));
        assert!(silent.count() <= 1, "{told:?}");
        let since = world.now();
        world.run_for(4 * PERIOD);
        fleet.assert_kept(since);
        for other in 1..CLIENTS {
            assert_eq!(fleet.told(fleet.relay, other, from), []);
        }
    });
}

#[test]
fn h4_a_relay_that_slept_for_hours_ends_who_has_left_and_serves_them_anew() {
    let name = "sleep::h4_a_relay_that_slept_for_hours_ends_who_has_left_and_serves_them_anew";
    calmly(name, 20, |world| {
        let fleet = Fleet::connected(world, Figures::default(), CLIENTS);
        any_moment(world);
        let from = world.now();
        let slept = seconds(300) + hours(world);
        world.suspend(fleet.relay, slept);
        world.run_for(slept);
        for client in 0..CLIENTS {
            let (rule, at, _) = fleet.ended(fleet.node(client), client, from);
            assert_eq!(rule, Rule::Heartbeat);
            assert!(at <= from + HEARTBEAT + FREQUENCY + 2 * DELAY, "{at:?}");
        }
        let awake = world.now();
        fleet.await_lines(world, RETURN);
        for client in 0..CLIENTS {
            let told = fleet.told(fleet.relay, client, awake);
            let told: Vec<&Told> = told.iter().map(|it| &it.told).collect();
            assert!(told.contains(&&Told::Connected), "{told:?}");
        }
        world.run_for(2 * PERIOD);
        let since = world.now();
        world.run_for(4 * PERIOD);
        fleet.assert_kept(since);
    });
}

#[test]
fn h4_a_nap_of_either_end_within_what_the_other_bears_ends_nothing() {
    let name = "sleep::h4_a_nap_of_either_end_within_what_the_other_bears_ends_nothing";
    calmly(name, 30, |world| {
        let fleet = Fleet::connected(world, Figures::default(), CLIENTS);
        let since = world.now();
        any_moment(world);
        for _ in 0..10 {
            // A client's answer may be late by the nap, and a round trip.
            let nap = world.dice().span(seconds(1)..seconds(4));
            world.pause(fleet.node(0), nap);
            // A client bears a silence of a period more than the relay's own.
            let nap = world.dice().span(seconds(1)..seconds(55));
            world.pause(fleet.relay, nap);
            world.run_for(nap + PERIOD);
        }
        fleet.assert_kept(since);
    });
}

/// What heartbeats did in the world of a seed: all of it as a hash, and how
/// many probes were sent and answered. Wall clocks jump, or do not.
fn beats(seed: u64, wall_clocks_jump: bool) -> (u64, u64, u64) {
    const DAY_MS: i64 = 86_400_000;
    let mut world = World::new(seed, &Climate::calm());
    // Of its own, so that jumps change nothing for the world's.
    let mut dice = Dice::new(seed);
    let figures = match dice.one_in(2) {
        true => clients_ask(),
        false => Figures::default(),
    };
    let fleet = Fleet::connected(&mut world, figures, CLIENTS);
    world.set_network(DELAY, 0);
    let since = world.now();
    for _ in 0..20 {
        world.run_for(dice.span(Duration::ZERO..PERIOD));
        let nodes = (0..CLIENTS).map(|client| fleet.node(client));
        for node in nodes.chain([fleet.relay]) {
            let by_ms = *dice.pick(&[DAY_MS, -DAY_MS, 0]);
            if wall_clocks_jump && by_ms != 0 {
                world.jump_clock(node, by_ms);
            }
        }
    }
    world.run_for(4 * PERIOD);
    fleet.assert_kept(since);
    let jumped = world.faults().of(Fault::ClockJump);
    assert_eq!(jumped > 0, wall_clocks_jump);
    let of_relay = fleet.of_relay(&world, |it| it.stats().heartbeats.prober);
    let of_clients = (0..CLIENTS).map(|client| {
        let app: &ClientApp = world.app(fleet.node(client)).expect("it runs");
        let stats = app.client.stats();
        (stats.probes_sent, stats.probes_answered)
    });
    let (sent, answered) = of_clients.fold((of_relay.sent, of_relay.answered), |sum, of| {
        (sum.0 + of.0, sum.1 + of.1)
    });
    (world.trace_hash(), sent, answered)
}

#[test]
fn h4_a_wall_clock_that_jumps_a_day_forth_and_back_changes_no_timer() {
    let name = "sleep::h4_a_wall_clock_that_jumps_a_day_forth_and_back_changes_no_timer";
    calmly(name, 10, |world| {
        let seed = world.dice().next_u64();
        let (with, without) = (beats(seed, true), beats(seed, false));
        // Not one timeout came at another moment, or one more.
        assert_eq!(with, without);
        assert!(with.2 > 20, "{with:?}");
    });
}
