//! Clients that register and are not heard of again.

use super::*;

#[test]
fn p9_newcomers_are_bounded_for_each_address_and_in_all() {
    let mut world = world_of(|_, limits| {
        limits.newcomers_max = Some(5);
        limits.newcomers_per_address_max = 2;
    });
    let mut first = direct("10.0.0.1");
    world.register(&mut first);
    world.register(&mut direct("10.0.0.1"));
    let refused = world.try_register(&mut direct("10.0.0.1"));
    assert_eq!(refused.unwrap_err(), Refusal::Newcomers);
    // Who proves itself makes room for others, and stays.
    world.prove(&mut first);
    world.register(&mut direct("10.0.0.1"));
    for host in 2..5 {
        world.register(&mut direct(&alloc::format!("10.0.0.{host}")));
    }
    assert_eq!(world.registry.counts().newcomers, 5);
    let refused = world.try_register(&mut direct("10.0.0.9"));
    assert_eq!(refused.unwrap_err(), Refusal::Full);
    // By its identity it is admitted however many newcomers there are.
    world.register(&mut first);
    world.wait_until(600);
    assert_eq!(world.registry.counts().newcomers, 0);
    assert_eq!(world.registry.find(first.id.unwrap()), first.key);
}

#[test]
fn of_ipv6_a_network_of_64_bits_counts_as_one_address() {
    let mut world = world_of(|_, limits| limits.newcomers_per_address_max = 2);
    world.register(&mut direct("2001:db8::1"));
    world.register(&mut direct("2001:db8::2"));
    let refused = world.try_register(&mut direct("2001:db8::3"));
    assert_eq!(refused.unwrap_err(), Refusal::Newcomers);
    world.register(&mut direct("2001:db8:0:1::3"));
}

#[test]
fn a_registration_by_its_identity_proves_a_newcomer() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    world.register(&mut client);
    assert_eq!(world.registry.counts().newcomers, 1);
    assert!(!world.record(&client).is_proven());
    world.register(&mut client);
    assert_eq!(world.registry.counts().newcomers, 0);
    assert!(world.record(&client).is_proven());
    world.wait_until(3_600);
    assert_eq!(world.registry.len(), 1);
}

#[test]
fn p9_a_replayed_registration_of_another_run_lives_as_long_as_a_newcomer() {
    let (mut before, mut after) = (world(), run_of([5; 32], |_, _| {}));
    let mut client = direct("10.0.0.1");
    before.register(&mut client);
    let recordings = [2, 3].map(|number| {
        before.register(&mut client);
        assert_eq!(client.registration, number);
        serde_json::to_vec(&client.request()).unwrap()
    });
    // Whoever listened repeats both, each once, where the run is another.
    let mut thief = client.clone();
    thief.observed = ip("198.51.100.9");
    for (number, recording) in (2..).zip(&recordings) {
        thief.registration = number;
        let told = after
            .hand_in(&thief, recording)
            .expect("its proof is right");
        thief.key = Some(told.client);
        assert_eq!(told.new, number == 2);
        assert!(!after.record(&thief).is_proven());
        let again = after.hand_in(&thief, recording);
        assert_eq!(again.unwrap_err(), Refusal::Replayed);
        assert_eq!(after.registry.counts().newcomers, 0, "it takes no share");
    }
    let forgotten = RegistryEffect::Forgotten {
        client: thief.key(),
        id: client.id.unwrap(),
    };
    assert_eq!(after.wait_until(700).last(), Some(&(600, forgotten)));
    assert!(after.registry.is_empty());
}

#[test]
fn p9_the_client_takes_over_at_once_what_a_replay_made() {
    let (mut before, mut after) = (world(), run_of([5; 32], |_, _| {}));
    let mut client = direct("10.0.0.1");
    before.register(&mut client);
    before.register(&mut client);
    let recording = serde_json::to_vec(&client.request()).unwrap();
    let mut thief = client.clone();
    thief.observed = ip("198.51.100.9");
    let replayed = after.hand_in(&thief, &recording).unwrap().client;
    assert_eq!(
        after.registry.get(replayed).unwrap().observed(),
        thief.observed
    );
    after.wait_until(500);
    after.register(&mut client);
    assert_eq!(client.key(), replayed);
    assert_eq!(after.record(&client).observed(), client.observed);
    assert!(!after.record(&client).is_proven(), "it has used no key yet");
    after.prove(&mut client);
    assert!(after.record(&client).is_proven());
    after.wait_until(3_600);
    assert_eq!(after.registry.len(), 1);
    // From then on it is as any other: its next registration keeps that.
    after.register(&mut client);
    assert!(after.record(&client).is_proven());
}

#[test]
fn a_fleet_that_returns_after_a_restart_takes_no_share_of_newcomers() {
    let narrow = |_: &mut RegistrySettings, limits: &mut RegistryLimits| {
        limits.newcomers_max = Some(2);
        limits.newcomers_per_address_max = 1;
    };
    let (mut before, mut after) = (world(), run_of([5; 32], narrow));
    let mut fleet: Vec<_> = (1..=8)
        .map(|host| behind("192.0.2.1", &alloc::format!("10.0.0.{host}")))
        .collect();
    for client in &mut fleet {
        before.register(client);
        after.register(client);
        assert!(!after.record(client).is_proven());
    }
    assert_eq!(after.registry.counts().newcomers, 0);
    after.register(&mut behind("192.0.2.1", "10.0.0.9"));
    assert_eq!(after.registry.counts().newcomers, 1);
    fleet.iter_mut().for_each(|client| after.prove(client));
    after.wait_until(3_600);
    assert_eq!(after.registry.len(), fleet.len());
}

#[test]
fn p9_newcomers_are_a_quarter_of_the_clients_unless_said_otherwise() {
    for (clients_max, newcomers) in [(1, 1), (3, 1), (4, 1), (8, 2), (15, 3)] {
        let mut world = world_of(|_, limits| limits.clients_max = clients_max);
        for host in 1..=newcomers {
            world.register(&mut direct(&alloc::format!("10.0.0.{host}")));
        }
        let refused = world.try_register(&mut direct("10.0.0.99"));
        assert_eq!(refused.unwrap_err(), Refusal::Full, "{clients_max}");
    }
    let told = |clients_max, newcomers_max| {
        let limits = RegistryLimits {
            clients_max,
            newcomers_max,
            ..RegistryLimits::default()
        };
        limits.newcomers()
    };
    assert_eq!(RegistryLimits::default().newcomers(), 250_000);
    assert_eq!(told(16_000_000, None), 4_000_000);
    assert_eq!((told(10, Some(7)), told(10, Some(70))), (7, 10));
    assert_eq!((told(10, Some(0)), told(0, None)), (0, 0));
}
