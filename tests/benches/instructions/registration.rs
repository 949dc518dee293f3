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

const SIZES: &[usize] = &[1_000, 1_000_000];

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
        sizes: SIZES,
        run: judge,
    },
    Scenario {
        name: "registration/register",
        unit: "clients",
        sizes: &[1_000, 100_000],
        run: register,
    },
];

/// A registry that clients come to whose registrations are decoded.
struct Town {
    registry: Registry,
}

impl Town {
    fn new() -> Self {
        let settings = Settings::new(MasterKey([7; 32]), Incarnation(1)).registry;
        let random = Random::from_seed([1; 32]);
        Self {
            registry: Registry::new(settings, RegistryLimits::default(), random),
        }
    }

    /// One that so many clients have come to.
    fn of(clients: usize) -> Self {
        let mut town = Self::new();
        for place in 0..clients {
            assert!(town.come(place as u32, 1));
        }
        town
    }

    /// Whether the registry did not know the client.
    fn come(&mut self, place: u32, registration: u64) -> bool {
        let address = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + place));
        let interfaces = [address, [192, 168, 1, 5].into()];
        let request = Request {
            protocol: body::PROTOCOL,
            client: Some(id_of(place)),
            registration,
            hostname: "web-0000000000000001".into(),
            interfaces: interfaces
                .map(|address| Interface {
                    address,
                    prefix: 24,
                })
                .into(),
            udp_port: 52_311,
            persistent_connection: true,
            local: Some(address),
            instance: Some(body::Hex([7; 8])),
            heartbeat: None,
        };
        let admitted = self.registry.handle_decoded(NOW, address, &request);
        admitted.expect("there is room").new
    }
}

fn id_of(place: u32) -> ClientId {
    ClientId(u128::from(place).to_be_bytes())
}

/// Some of the clients, in no order.
fn some(clients: usize) -> Vec<u32> {
    let mut places = shuffled((0..clients as u32).collect());
    places.truncate(1_000);
    places
}

/// Clients are looked up by their names.
fn find(clients: usize) -> usize {
    let town = Town::of(clients);
    let places = some(clients);
    counted(|| {
        for place in &places {
            assert!(black_box(town.registry.find(id_of(*place))).is_some());
        }
    });
    places.len()
}

/// Clients of a registry that has so many register again: from the decoded
/// registration to the answer.
fn judge(clients: usize) -> usize {
    let mut town = Town::of(clients);
    let places = some(clients);
    counted(|| {
        for place in &places {
            assert!(!town.come(*place, 2));
        }
    });
    places.len()
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
