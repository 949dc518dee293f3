//! The registry, and registrations as they come to the relay.

use std::hint::black_box;
use std::net::Ipv4Addr;

use super::rig::{NOW, Rig, registration};
use super::scenario::{Scenario, counted};
use super::timers::shuffled;
use tautline_core::registration::{Registry, RegistryLimits};
use tautline_core::relay::Settings;
use tautline_core::wire::proof::MasterKey;
use tautline_core::{Incarnation, Random};
use tautline_tests::fleet;

const SIZES: &[usize] = &[1_000, 100_000];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "registration/find",
        unit: "clients",
        sizes: SIZES,
        run: find,
    },
    Scenario {
        name: "registration/register",
        unit: "clients",
        sizes: SIZES,
        run: register,
    },
];

/// Each of the clients is looked up by its name.
fn find(clients: usize) -> usize {
    let settings = Settings::new(MasterKey([7; 32]), Incarnation(1)).registry;
    let random = Random::from_seed([1; 32]);
    let mut registry = Registry::new(settings, RegistryLimits::default(), random);
    let observed = (Ipv4Addr::LOCALHOST, 40_000).into();
    let ids = (0..clients).map(|place| {
        let body = fleet::registration(place, 0);
        let admitted = registry.handle_registration(
            NOW,
            observed,
            true,
            "/v1/register",
            None,
            body.as_bytes(),
        );
        admitted.expect("there is room").answer.client
    });
    let ids = shuffled(ids.collect());
    counted(|| {
        for id in &ids {
            assert!(black_box(registry.find(*id)).is_some());
        }
    });
    ids.len()
}

/// More clients come to a relay that has so many: each is accepted, registers
/// for the first time, and ends its connection.
fn register(clients: usize) -> usize {
    const MORE: usize = 1_000;
    let mut rig = Rig::new(1);
    let mut come = |request: &str| {
        let conn = rig.accept();
        rig.receive(conn, request.as_bytes(), |_| ());
        rig.close(conn);
        rig.drain(|_| ());
    };
    for place in 0..clients {
        come(&registration(place));
    }
    let more: Vec<String> = (clients..clients + MORE).map(registration).collect();
    counted(|| {
        for request in &more {
            come(request);
        }
    });
    assert_eq!(rig.relay.stats().clients, (clients + MORE) as u64);
    MORE
}
