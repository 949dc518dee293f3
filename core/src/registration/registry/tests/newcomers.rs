//! Clients that register and are not heard of again.

use super::*;

#[test]
fn p9_newcomers_are_bounded_for_each_address_and_in_all() {
    let mut world = world_of(|_, limits| {
        limits.newcomers_max = 5;
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
