//! Many clients: stuck ones delay nobody, probes are spread.

use tautline_core::heartbeat::{InFlight, ProberSettings};

use super::*;

const CLIENTS: usize = 30;
const STUCK_MAX: u64 = 5;

fn with_window(in_flight: InFlight) -> Figures {
    Figures {
        relay: relay::HeartbeatSettings {
            prober: ProberSettings {
                period: PERIOD,
                response_timeout: RESPONSE_TIMEOUT,
                in_flight,
            },
            ..relay::HeartbeatSettings::default()
        },
        ..Figures::default()
    }
}

/// Some clients are stuck: they neither read nor answer. How many these are,
/// and the longest time that another one was not asked.
fn stick(world: &mut World, in_flight: InFlight) -> (u32, Duration) {
    let fleet = Fleet::connected(world, with_window(in_flight), CLIENTS);
    world.run_for(2 * PERIOD);
    let stuck = 1 + world.dice().below(STUCK_MAX) as usize;
    for client in 0..CLIENTS {
        world.longest_silence(fleet.node(client));
    }
    let from = world.now();
    for client in 0..stuck {
        world.pause(fleet.node(client), 10 * PERIOD);
    }
    world.run_for(5 * PERIOD);
    let settings = fleet.figures.relay.prober;
    let worst = settings.worst_case_detection(CLIENTS as u32);
    let worst = worst.expect("it is on");
    for client in 0..stuck {
        let (rule, at, _) = fleet.ended(fleet.relay, client, from);
        assert_eq!(rule, Rule::ResponseTimeout);
        assert!(
            at <= from + worst + SLACK,
            "{at:?}: {worst:?} from {from:?}"
        );
    }
    let others = (stuck..CLIENTS).map(|client| {
        assert_eq!(fleet.told(fleet.relay, client, from), []);
        world.longest_silence(fleet.node(client))
    });
    let longest = others.max().expect("there are others");
    (stuck as u32, longest)
}

#[test]
fn h3_stuck_peers_delay_nobody() {
    calmly("fleet::h3_stuck_peers_delay_nobody", 20, |world| {
        let (stuck, longest) = stick(world, InFlight::Auto);
        assert!(longest <= PERIOD + SLACK, "{longest:?}, {stuck} stuck");
    });
}

#[test]
fn h3_one_after_another_a_stuck_peer_delays_by_the_response_timeout_at_most() {
    let name = "fleet::h3_one_after_another_a_stuck_peer_delays_by_the_response_timeout_at_most";
    calmly(name, 20, |world| {
        let (stuck, longest) = stick(world, InFlight::Window(1));
        let most = PERIOD + stuck * RESPONSE_TIMEOUT;
        // Each of the others has its round trip in between.
        let trips = CLIENTS as u32 * SLACK;
        assert!(longest <= most + trips, "{longest:?}, {stuck} stuck");
    });
}

/// The most probes that were sent in a second of a period.
fn busiest(fleet: &Fleet, world: &mut World) -> u64 {
    let sent = |world: &World| fleet.of_relay(world, |it| it.stats().heartbeats.prober.sent);
    let mut most = 0;
    for _ in 0..PERIOD.as_secs() {
        let before = sent(world);
        world.run_for(seconds(1));
        most = most.max(sent(world) - before);
    }
    most
}

#[test]
fn after_a_restart_of_the_relay_probes_are_spread() {
    const MANY: usize = 3_000;
    let name = "fleet::after_a_restart_of_the_relay_probes_are_spread";
    calmly(name, 1, |world| {
        let fleet = Fleet::connected(world, Figures::default(), MANY);
        // Places are spread evenly over the period; all at once, or as they came
        // back within the return window, would be twice the mean and more.
        let bound = MANY as u64 / PERIOD.as_secs() * 5 / 4;
        world.run_for(PERIOD);
        let most = busiest(&fleet, world);
        assert!(most > 0 && most <= bound, "{most} a second, {bound} before");
        let from = world.now();
        world.crash(fleet.relay, false, seconds(5));
        world.run_for(seconds(5));
        fleet.await_lines(world, RETURN);
        let back = world.now();
        let most = busiest(&fleet, world).max(busiest(&fleet, world));
        println!("{most} a second at most, {bound} is the bound");
        assert!(most > 0 && most <= bound, "{most} a second, {bound} after");
        fleet.assert_kept(back);
        let journal = fleet.journal.borrow();
        let silent = |it: &&Entry| it.at >= from && matches!(it.told, Told::Silent(..));
        assert_eq!(journal.iter().filter(silent).count(), 0);
    });
}
