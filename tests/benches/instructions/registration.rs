//! The registry, and registrations as they come to the relay.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use super::rig::{NOW, Rig, registration};
use super::scenario::{Scenario, counted};
use super::timers::shuffled;
use tautline_core::registration::{Interface, Registry, RegistryLimits, Request, body};
use tautline_core::relay::Settings;
use tautline_core::wire::proof::MasterKey;
use tautline_core::{ClientId, Incarnation, Random};
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
        name: "registration/judge",
        unit: "clients",
        sizes: &[1_000, 1_000_000],
        run: judge,
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

/// Clients of a registry that has so many register again: from the decoded
/// registration to the answer.
fn judge(clients: usize) -> usize {
    const AGAIN: usize = 1_000;
    let settings = Settings::new(MasterKey([7; 32]), Incarnation(1)).registry;
    let mut registry = Registry::new(
        settings,
        RegistryLimits::default(),
        Random::from_seed([1; 32]),
    );
    let mut come = |place: u32, registration| {
        let address = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + place));
        let request = Request {
            protocol: body::PROTOCOL,
            client: Some(ClientId(u128::from(place).to_be_bytes())),
            registration,
            hostname: "web-0000000000000001".into(),
            interfaces: vec![Interface {
                address,
                prefix: 24,
            }],
            udp_port: 52_311,
            persistent_connection: true,
            local: Some(address),
            instance: Some(body::Hex([7; 8])),
            heartbeat: None,
        };
        let admitted = registry.handle_decoded(NOW, address, &request);
        admitted.expect("there is room").new
    };
    for place in 0..clients {
        assert!(come(place as u32, 1));
    }
    let places = shuffled((0..clients as u32).collect());
    counted(|| {
        for place in &places[..AGAIN] {
            assert!(!come(*place, 2));
        }
    });
    AGAIN
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
