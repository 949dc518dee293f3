//! Machines that sleep, and programs that are stopped: clocks jump.

use tautline_core::heartbeat::ProberSettings;

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
