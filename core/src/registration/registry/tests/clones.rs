//! Two machines with one identity.

use super::*;

/// A client that was copied with its disk: both have registered since.
fn copied(world: &mut World) -> (Client, Client) {
    let mut one = direct("10.0.0.1");
    world.register(&mut one);
    let mut other = direct("10.0.0.2");
    (other.id, other.registration, other.instance) = (one.id, one.registration, 2);
    let told = world.try_register(&mut other).unwrap();
    assert!(
        !told.cloned,
        "it may as well be the next start of the first"
    );
    one.registration = other.registration;
    (one, other)
}

#[test]
fn a_start_that_comes_back_is_separated_by_a_proof() {
    let mut world = world();
    let (mut one, other) = copied(&mut world);
    let shared = one.id.unwrap();
    let told = world.try_register(&mut one).unwrap();
    assert!(told.cloned && told.new);
    let own = told.answer.client;
    assert_ne!(own, shared);
    let secret = told.answer.secret.expect("the one of its own identity");
    assert_eq!(secret.0, MASTER.client_secret(own).0);
    let proof = MASTER.client_secret(shared).separation(shared, own, 3);
    assert_eq!(told.answer.separated, Some(Hex(proof)));
    assert_eq!(world.registry.counts().separated, 1);
    // The other machine goes on: where it is, with its key.
    assert_eq!(world.registry.find(shared), other.key);
    assert_eq!(world.record(&other).observed(), ip("10.0.0.2"));
    let mut other = other;
    world.prove(&mut other);
    // And the separated one is a client as any other.
    world.prove(&mut one);
    let told = world.try_register(&mut one).unwrap();
    assert!(!told.cloned && told.answer.client == own);
}

#[test]
fn a_repeated_separation_is_a_replay() {
    let mut world = world();
    let (mut one, _) = copied(&mut world);
    let before = one.clone();
    world.try_register(&mut one).unwrap();
    let mut again = before.clone();
    let refused = world.try_register(&mut again);
    assert_eq!(refused.unwrap_err(), Refusal::Replayed);
    // Who lost the answer asks with the next number.
    let told = world.try_register(&mut again).unwrap();
    assert!(told.cloned);
    assert_eq!(world.registry.len(), 3);
}

#[test]
fn where_secrets_may_not_travel_a_copy_is_refused() {
    let mut world = world();
    let (mut one, other) = copied(&mut world);
    world.secure = false;
    let refused = world.try_register(&mut one);
    assert_eq!(refused.unwrap_err(), Refusal::Cloned);
    assert_eq!(
        (world.registry.len(), world.registry.counts().separated),
        (1, 0)
    );
    assert_eq!(world.registry.find(other.id.unwrap()), other.key);
}

#[test]
fn separating_takes_no_more_room_than_newcomers_have() {
    let mut world = world_of(|_, limits| limits.newcomers_per_address_max = 1);
    let (mut one, _) = copied(&mut world);
    assert!(world.try_register(&mut one.clone()).unwrap().cloned);
    one.registration += 1;
    let refused = world.try_register(&mut one);
    assert_eq!(refused.unwrap_err(), Refusal::Newcomers);
}

#[test]
fn a_machine_that_starts_again_and_again_is_one() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    for instance in [1, 1, 2, 3, 3, 4, 5] {
        client.instance = instance;
        let told = world.try_register(&mut client).unwrap();
        assert!(!told.cloned);
    }
    assert_eq!(world.registry.len(), 1);
}
