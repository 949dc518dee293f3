//! Peers that are gone, or seem to be, to one end or to both.

use tautline_core::NotificationId;
use tautline_core::heartbeat::{InFlight, ProberSettings};
use tautline_core::notify::NotifyOptions;
use tautline_core::relay::To;
use tautline_tests::world::NatKind;

use super::*;

const CLIENTS: usize = 4;

/// Lets it be any moment of the period.
fn any_moment(world: &mut World) {
    let span = world.dice().span(PERIOD..2 * PERIOD);
    world.run_for(span);
}

fn assert_found_by_relay(fleet: &Fleet, client: usize, from: Instant) -> Instant {
    let (rule, at, silent_for) = fleet.ended(fleet.relay, client, from);
    assert_eq!(rule, Rule::ResponseTimeout);
    let worst = PERIOD + RESPONSE_TIMEOUT;
    assert!(silent_for <= worst + SLACK, "{silent_for:?}");
    assert!(at <= from + worst + SLACK, "{at:?}, gone at {from:?}");
    at
}

fn assert_found_by_client(fleet: &Fleet, client: usize, from: Instant) {
    let (rule, at, silent_for) = fleet.ended(fleet.node(client), client, from);
    assert_eq!(rule, Rule::Heartbeat);
    let worst = HEARTBEAT + FREQUENCY;
    assert!(
        (HEARTBEAT..=worst + SLACK).contains(&silent_for),
        "{silent_for:?}"
    );
    assert!(at <= from + worst + SLACK, "{at:?}, gone at {from:?}");
}

/// Tells a client something.
fn tell(fleet: &Fleet, world: &mut World, client: usize) -> NotificationId {
    let to = To::Client(fleet.id(client));
    let told = world.command(fleet.relay, |app: &mut RelayApp, now| {
        app.notify(now, to, NotifyOptions::default())
    });
    told.expect("the relay runs").expect("there is room")
}

/// Waits until the clients have answered what was told; the cast sees that
/// nothing comes twice.
fn assert_answered(fleet: &Fleet, world: &mut World, told: &[(usize, NotificationId)]) {
    let answered = world.run_until(RETURN, |world| {
        let relay: &RelayApp = world.app(fleet.relay).expect("it runs");
        let mut told = told.iter();
        told.all(|(client, id)| relay.has_reply(*id, fleet.id(*client)))
    });
    assert!(answered, "a notification was lost");
}

/// Waits until the clients are back, and have answered what was told meanwhile.
fn assert_back(fleet: &Fleet, world: &mut World, told: &[(usize, NotificationId)]) {
    fleet.await_lines(world, 2 * RETURN);
    assert_answered(fleet, world, told);
}

#[test]
fn h2_a_client_that_hears_nothing_leaves_by_its_monitor_and_the_relay_by_its_prober() {
    let name =
        "gone::h2_a_client_that_hears_nothing_leaves_by_its_monitor_and_the_relay_by_its_prober";
    calmly(name, 20, |world| {
        let fleet = Fleet::connected(world, Figures::default(), CLIENTS);
        any_moment(world);
        let from = world.now();
        world.partition(fleet.relay, fleet.node(0), seconds(400));
        let mut told = vec![(0, tell(&fleet, world, 0))];
        world.run_for(seconds(200));
        // No probe arrives, so no answer comes; the reset does not arrive.
        assert_found_by_relay(&fleet, 0, from);
        assert_found_by_client(&fleet, 0, from);
        told.push((0, tell(&fleet, world, 0)));
        world.run_for(seconds(200));
        assert_back(&fleet, world, &told);
        fleet.ended(fleet.relay, 0, from);
        fleet.ended(fleet.node(0), 0, from);
    });
}

#[test]
fn h2_a_client_that_is_not_heard_is_ended_by_the_prober_and_told_by_the_reset() {
    let name = "gone::h2_a_client_that_is_not_heard_is_ended_by_the_prober_and_told_by_the_reset";
    calmly(name, 20, |world| {
        let fleet = Fleet::connected(world, Figures::default(), CLIENTS);
        any_moment(world);
        let from = world.now();
        world.partition(fleet.node(0), fleet.relay, seconds(400));
        let mut told = vec![(0, tell(&fleet, world, 0))];
        world.run_for(seconds(200));
        let ended_at = assert_found_by_relay(&fleet, 0, from);
        let at_client = fleet.told(fleet.node(0), 0, from);
        let [
            Entry {
                at,
                told: Told::Gone(_),
                ..
            },
        ] = &at_client[..]
        else {
            panic!("{at_client:?}");
        };
        assert!(*at > ended_at && *at <= ended_at + SLACK, "{at_client:?}");
        told.push((0, tell(&fleet, world, 0)));
        world.run_for(seconds(200));
        assert_back(&fleet, world, &told);
    });
}

#[test]
fn h2_a_client_without_power_is_found_once() {
    calmly(
        "gone::h2_a_client_without_power_is_found_once",
        20,
        |world| {
            let fleet = Fleet::connected(world, Figures::default(), CLIENTS);
            any_moment(world);
            let from = world.now();
            world.crash(fleet.node(0), true, seconds(1_700));
            world.run_for(seconds(1_600));
            let told = [(0, tell(&fleet, world, 0))];
            assert_found_by_relay(&fleet, 0, from);
            assert_eq!(fleet.told(fleet.relay, 0, from).len(), 2);
            for other in 1..CLIENTS {
                assert_eq!(fleet.told(fleet.relay, other, from), []);
            }
            world.run_for(seconds(200));
            assert_back(&fleet, world, &told);
        },
    );
}

#[test]
fn h2_a_relay_without_power_is_left_once_by_each() {
    calmly(
        "gone::h2_a_relay_without_power_is_left_once_by_each",
        20,
        |world| {
            let fleet = Fleet::connected(world, Figures::default(), CLIENTS);
            any_moment(world);
            let from = world.now();
            world.crash(fleet.relay, true, HOUR);
            world.run_for(HOUR);
            for client in 0..CLIENTS {
                assert_found_by_client(&fleet, client, from);
                assert_eq!(fleet.told(fleet.node(client), client, from).len(), 2);
            }
            assert_back(&fleet, world, &[]);
        },
    );
}

#[test]
fn h2_what_a_firewall_forgot_is_found_by_both_ends_once() {
    let name = "gone::h2_what_a_firewall_forgot_is_found_by_both_ends_once";
    calmly(name, 20, |world| {
        let figures = Figures {
            poll_interval: seconds(20),
            ..Figures::default()
        };
        let mut fleet = Fleet::new(world, figures);
        let site = world.site(NatKind::Closed);
        for client in 0..CLIENTS {
            fleet.add(world, (client < 2).then_some(site));
        }
        fleet.await_lines(world, RETURN);
        any_moment(world);
        let from = world.now();
        world.forget_connections(site);
        // Inboxes have what the connections do not bring, before those are left.
        let told = [0, 1].map(|client| (client, tell(&fleet, world, client)));
        assert_answered(&fleet, world, &told);
        for client in 0..2 {
            assert_eq!(fleet.told(fleet.node(client), client, from), []);
        }
        world.run_for(seconds(400));
        for client in 0..2 {
            assert_found_by_relay(&fleet, client, from);
            assert_found_by_client(&fleet, client, from);
        }
        for client in 2..CLIENTS {
            assert_eq!(fleet.told(fleet.relay, client, from), []);
        }
        assert_back(&fleet, world, &[]);
    });
}

/// The figures of the seed, 60, 1201 and 600 s, at both ends; each may ask or
/// not. Who asks is patient, so that monitors decide.
fn of_the_seed(asks: [bool; 2]) -> Figures {
    let [of_relay, of_client] = asks.map(|asks| if asks { seconds(600) } else { Duration::ZERO });
    let patience = seconds(3_600);
    Figures {
        relay: relay::HeartbeatSettings {
            prober: ProberSettings {
                period: of_relay,
                response_timeout: patience,
                in_flight: InFlight::Auto,
            },
            heartbeat: seconds(1_201),
            frequency: seconds(60),
            ..relay::HeartbeatSettings::default()
        },
        client: client::HeartbeatSettings {
            period: of_client,
            response_timeout: patience,
            heartbeat: Some(seconds(1_201)),
            frequency: Some(seconds(60)),
        },
        ..Figures::default()
    }
}

/// After hours in which nobody is ended one end falls silent; the monitor of the
/// other one finds that.
fn fall_silent(world: &mut World, asks: [bool; 2], silence: impl FnOnce(&mut World, NodeId)) {
    let fleet = Fleet::connected(world, of_the_seed(asks), CLIENTS);
    let (since, span) = (world.now(), world.dice().span(HOUR..2 * HOUR));
    world.run_for(span);
    fleet.assert_kept(since);
    let is_relay = asks[0] && (!asks[1] || world.dice().one_in(2));
    let (silent, others) = match is_relay {
        true => (
            fleet.relay,
            (0..CLIENTS).map(|it| (fleet.node(it), it)).collect(),
        ),
        false => (fleet.node(0), vec![(fleet.relay, 0)]),
    };
    let from = world.now();
    silence(world, silent);
    world.run_for(seconds(1_262));
    for (end, client) in others {
        let (rule, at, silent_for) = fleet.ended(end, client, from);
        assert_eq!(rule, Rule::Heartbeat);
        let range = seconds(1_201)..=seconds(1_261) + SLACK;
        assert!(range.contains(&silent_for), "{silent_for:?}");
        assert!(at <= from + seconds(1_261) + SLACK, "{at:?}");
    }
    let of_relay = fleet.journal.borrow();
    let of_relay = of_relay
        .iter()
        .filter(|it| it.node == fleet.relay && it.at >= from);
    let expected = if is_relay { 0 } else { 2 };
    assert_eq!(of_relay.count(), expected, "others are kept");
}

#[test]
fn h1_with_the_figures_of_the_seed_a_stuck_peer_is_left_between_1201_and_1261_s() {
    let name = "gone::h1_with_the_figures_of_the_seed_a_stuck_peer_is_left_between_1201_and_1261_s";
    calmly(name, 20, |world| {
        fall_silent(world, [true; 2], |world, node| world.pause(node, HOUR));
    });
}

#[test]
fn h1_with_the_figures_of_the_seed_a_vanished_peer_is_left_between_1201_and_1261_s() {
    let name =
        "gone::h1_with_the_figures_of_the_seed_a_vanished_peer_is_left_between_1201_and_1261_s";
    // Only who vanishes has asked: else TCP gives up after 924 s.
    for asks in [[true, false], [false, true]] {
        calmly(name, 10, |world| {
            fall_silent(world, asks, |world, node| world.crash(node, true, HOUR));
        });
    }
}
