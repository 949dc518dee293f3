//! Periods of sites and subnets, and those that firewalls teach.

use tautline_core::Network;
use tautline_core::heartbeat::LearnerSettings;
use tautline_core::registration::{Qualifier, SubnetName};
use tautline_core::relay::Group;
use tautline_tests::world::NatKind;

use super::*;

const CLIENTS_PER_SUBNET: usize = 4;
const HOME: (u8, u8, u8, u8) = (192, 168, 0, 0);

fn home() -> Network {
    let (a, b, c, d) = HOME;
    Network::of([a, b, c, d].into(), 24).expect("a prefix of IPv4")
}

/// Clients of two sites, then those that are behind none.
fn three_subnets(world: &mut World, fleet: &mut Fleet, sites: [SiteId; 2]) {
    for site in [Some(sites[0]), Some(sites[1]), None] {
        for _ in 0..CLIENTS_PER_SUBNET {
            fleet.add(world, site);
        }
    }
    fleet.await_lines(world, RETURN);
}

/// The longest time that a client of each subnet was not asked, for so long.
fn silences(world: &mut World, fleet: &Fleet, span: Duration) -> [Duration; 3] {
    for (node, _) in &fleet.clients {
        world.longest_silence(*node);
    }
    world.run_for(span);
    let mut longest = [Duration::ZERO; 3];
    for (place, (node, _)) in fleet.clients.iter().enumerate() {
        let subnet = &mut longest[place / CLIENTS_PER_SUBNET];
        *subnet = world.longest_silence(*node).max(*subnet);
    }
    longest
}

#[test]
fn a_site_and_a_subnet_have_periods_of_their_own() {
    let name = "learning::a_site_and_a_subnet_have_periods_of_their_own";
    calmly(name, 10, |world| {
        let sites = [NatKind::Closed; 2].map(|kind| world.site(kind));
        let [named, other] = sites.map(|site| world.public_address(site));
        let subnet = SubnetName {
            qualifier: Qualifier::Behind(other),
            network: home(),
        };
        let periods = [seconds(20), seconds(35)];
        let mut figures = Figures {
            sites: vec![Site {
                name: "north".into(),
                networks: vec![Network::single(named)],
            }],
            ..Figures::default()
        };
        figures.relay.periods = vec![
            (Group::Site(0), periods[0]),
            (Group::Subnet(subnet), periods[1]),
        ];
        let mut fleet = Fleet::new(world, figures);
        three_subnets(world, &mut fleet, sites);
        let since = world.now();
        world.run_for(PERIOD);
        let silences = silences(world, &fleet, 10 * PERIOD);
        for (silence, period) in silences.into_iter().zip([periods[0], periods[1], PERIOD]) {
            let range = period - SLACK..=period + SLACK;
            assert!(range.contains(&silence), "{silence:?}, {period:?}");
        }
        fleet.assert_kept(since);
    });
}

#[test]
fn h2_the_period_of_a_subnet_is_shortened_until_its_firewall_forgets_nobody() {
    let name = "learning::h2_the_period_of_a_subnet_is_shortened_until_its_firewall_forgets_nobody";
    calmly(name, 20, |world| {
        let sites = [NatKind::Closed; 2].map(|kind| world.site(kind));
        // Between the shortest period that is tried and the one that was set.
        let memory = world.dice().span(seconds(12)..seconds(58));
        world.set_memory(sites[0], Some(memory));
        let mut figures = Figures::default();
        figures.relay.learning = Some(LearnerSettings::default());
        let mut fleet = Fleet::new(world, figures);
        three_subnets(world, &mut fleet, sites);
        world.run_for(HOUR);

        let since = world.now();
        let silences = silences(world, &fleet, HOUR);
        fleet.assert_kept(since);
        assert!(silences[0] < memory, "{silences:?}, {memory:?}");
        for silence in &silences[1..] {
            assert!(
                (PERIOD - SLACK..=PERIOD + SLACK).contains(silence),
                "{silences:?}"
            );
        }
        let periods = [0, 1, 2].map(|subnet| period_of(world, &fleet, subnet));
        assert!(
            periods[0] < memory && periods[0] >= seconds(10),
            "{periods:?}"
        );
        assert_eq!(periods[1..], [PERIOD; 2]);
        assert!(fleet.of_relay(world, |it| it.stats().heartbeat_lessons) > 0);
        // Of the other subnets nobody ever was ended.
        for client in CLIENTS_PER_SUBNET..3 * CLIENTS_PER_SUBNET {
            let told = fleet.told(fleet.relay, client, Instant::ORIGIN);
            assert!(told.iter().all(|it| it.told == Told::Connected), "{told:?}");
        }
    });
}

/// The period that is in use for a subnet.
fn period_of(world: &World, fleet: &Fleet, subnet: usize) -> Duration {
    let client = fleet.id(subnet * CLIENTS_PER_SUBNET);
    fleet.of_relay(world, |relay| {
        let record = relay.client(client).expect("it is registered");
        let subnet = relay.subnet_of(record).expect("it is in one");
        relay.subnet_period(&subnet).expect("it is learned").period
    })
}
