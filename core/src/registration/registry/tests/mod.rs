//! The registry, rule by rule. `fuzz.rs` has it against a naive one.

mod clones;
mod connections;
mod newcomers;
mod subnets;

use super::super::body::{Hex, Interface, PROTOCOL, Request, Verdict};
use super::*;
use crate::Incarnation;
use crate::wire::proof::{BodyDigest, MasterKey, Session};
use core::net::{IpAddr, SocketAddr};

const MASTER: MasterKey = MasterKey([7; 32]);
const INCARNATION: Incarnation = Incarnation(1);
const TARGET: &str = "/v1/register";

/// A registry and the time.
struct World {
    registry: Registry,
    now: Instant,
    secure: bool,
}

/// A machine that registers.
#[derive(Clone)]
struct Client {
    id: Option<ClientId>,
    key: Option<Key>,
    session: Option<SessionKey>,
    counter: u64,
    registration: u64,
    observed: IpAddr,
    interfaces: Vec<Interface>,
    local: Option<IpAddr>,
    udp_port: u16,
    wish: bool,
    instance: u64,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn conn(number: u32) -> ConnId {
    ConnId::from_key(Key::new(number, 0))
}

/// A machine that the relay sees with its own address.
fn direct(address: &str) -> Client {
    behind(address, address)
}

/// A machine behind a NAT.
fn behind(observed: &str, local: &str) -> Client {
    let address = ip(local);
    Client {
        id: None,
        key: None,
        session: None,
        counter: 0,
        registration: 0,
        observed: ip(observed),
        interfaces: [Interface {
            address,
            prefix: if address.is_ipv4() { 24 } else { 64 },
        }]
        .into(),
        local: Some(address),
        udp_port: 52_311,
        wish: true,
        instance: 1,
    }
}

impl Client {
    fn request(&self) -> Request<'static> {
        Request {
            protocol: PROTOCOL,
            client: self.id,
            registration: self.registration,
            hostname: "web-1".into(),
            interfaces: self.interfaces.clone(),
            udp_port: self.udp_port,
            persistent_connection: self.wish,
            local: self.local,
            instance: Some(Hex(self.instance.to_be_bytes())),
            heartbeat: None,
        }
    }

    fn key(&self) -> Key {
        self.key.unwrap()
    }
}

fn world() -> World {
    world_of(|_, _| {})
}

fn world_of(change: impl FnOnce(&mut RegistrySettings, &mut RegistryLimits)) -> World {
    run_of([4; 32], change)
}

/// A run of the relay with this seed; the key is that of all others.
fn run_of(
    seed: [u8; 32],
    change: impl FnOnce(&mut RegistrySettings, &mut RegistryLimits),
) -> World {
    let mut settings = RegistrySettings::new(MASTER, INCARNATION);
    let mut limits = RegistryLimits::default();
    change(&mut settings, &mut limits);
    World {
        registry: Registry::new(settings, limits, Random::from_seed(seed)),
        now: Instant::ORIGIN,
        secure: true,
    }
}

impl World {
    fn try_register(&mut self, client: &mut Client) -> Result<Admission, Refusal> {
        client.registration += 1;
        let body = serde_json::to_vec(&client.request()).unwrap();
        let told = self.hand_in(client, &body);
        if let Ok(told) = &told {
            let id = told.answer.client;
            let session = Session {
                client: id,
                registration: client.registration,
                incarnation: INCARNATION,
                nonce: told.answer.nonce.0,
            };
            client.id = Some(id);
            client.key = Some(told.client);
            client.session = Some(MASTER.client_secret(id).session_key(&session));
            client.counter = 0;
        }
        told
    }

    fn hand_in(&mut self, client: &Client, body: &[u8]) -> Result<Admission, Refusal> {
        let covered = proof::Request {
            method: "POST",
            target: TARGET,
            body: BodyDigest::of(body),
        };
        let proof = client.id.map(|id| {
            covered.prove_registration(&MASTER.client_secret(id), id, client.registration)
        });
        let observed = SocketAddr::new(client.observed, 4_000);
        self.registry.handle_registration(
            self.now,
            observed,
            self.secure,
            TARGET,
            proof.as_ref(),
            body,
        )
    }

    fn register(&mut self, client: &mut Client) -> Verdict {
        let told = self.try_register(client).expect("it is admitted");
        told.answer.persistent_connection.expect("a verdict")
    }

    /// The verdict in a word.
    fn verdict(&mut self, client: &mut Client) -> alloc::string::String {
        let verdict = self.register(client);
        assert_eq!(verdict.granted, verdict.reason.is_none());
        verdict.reason.unwrap_or_else(|| "granted".into())
    }

    /// The client uses its key.
    fn prove(&mut self, client: &mut Client) {
        let covered = proof::Request {
            method: "GET",
            target: "/v1/inbox",
            body: BodyDigest::of(b""),
        };
        client.counter += 1;
        let session = client.session.as_ref().unwrap();
        let proof = covered.prove(session, client.id.unwrap(), client.counter);
        let told = self.registry.handle_proof(self.now, &proof, &covered);
        assert_eq!(told, Ok(client.key()));
    }

    fn connect(&mut self, client: &Client, number: u32) -> Result<Option<ConnId>, ConnectRefusal> {
        self.registry
            .handle_connected(self.now, client.key(), conn(number))
    }

    /// Everything that is due until a moment, and when.
    fn wait_until(&mut self, seconds: u64) -> Vec<(u64, RegistryEffect)> {
        let until = Instant::ORIGIN + Duration::from_secs(seconds);
        let mut told = Vec::new();
        loop {
            while let Some(effect) = self.registry.poll() {
                told.push((self.now.as_micros() / 1_000_000, effect));
            }
            let next = self.registry.poll_timeout().filter(|next| *next <= until);
            self.now = next.unwrap_or(until);
            self.registry.handle_timeout(self.now);
            if next.is_none() {
                return told;
            }
        }
    }

    fn record(&self, client: &Client) -> &ClientRecord {
        self.registry.get(client.key()).unwrap()
    }

    fn subnet(&self, client: &Client) -> Subnet {
        self.registry.subnet(self.record(client).subnet).unwrap()
    }

    /// The clients that a walk over the subnet comes to.
    fn walk(&mut self, subnet: Key) -> Vec<Key> {
        let mut members = Vec::new();
        self.registry.begin_walk(subnet);
        while let Some(member) = self.registry.walked_member(subnet) {
            members.push(member);
            self.registry.pass_member(subnet);
        }
        members
    }

    /// The subnets in the order of their places.
    fn subnets(&self) -> impl Iterator<Item = Subnet> {
        let next = |subnet: &Subnet| self.registry.next_subnet_from(subnet.key.index() + 1);
        core::iter::successors(self.registry.next_subnet_from(0), next)
    }

    /// Open connections and grants.
    fn held(&self) -> (usize, usize) {
        let counts = self.registry.counts();
        (counts.connected, counts.granted)
    }
}

#[test]
fn a_refusal_for_want_of_room_leaves_no_trace() {
    let identities = [0, 3].map(|refusals| {
        let mut world = world_of(|_, limits| limits.clients_max = 1);
        world.register(&mut direct("10.0.0.1"));
        for _ in 0..refusals {
            let refused = world.try_register(&mut direct("10.0.0.2"));
            assert_eq!(refused.unwrap_err(), Refusal::Full);
        }
        world.wait_until(600);
        assert!(world.registry.is_empty(), "the first one is forgotten");
        let mut late = direct("10.0.0.2");
        world.register(&mut late);
        late.id
    });
    assert_eq!(identities[0], identities[1]);
}

#[test]
fn a_client_that_is_forgotten_leaves_nothing() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    world.register(&mut client);
    assert_eq!((world.held(), world.registry.subnets_len()), ((0, 1), 1));
    let told = world.wait_until(601);
    let id = client.id.unwrap();
    let forgotten = RegistryEffect::Forgotten {
        client: client.key(),
        id,
    };
    assert_eq!(told.last(), Some(&(600, forgotten)));
    let counts = world.registry.counts();
    assert_eq!(
        (counts.clients, counts.newcomers, counts.subnets),
        (0, 0, 0)
    );
    assert_eq!(world.held(), (0, 0));
    assert_eq!(world.registry.poll_timeout(), None);
    assert_eq!(world.registry.next_subnet_from(0), None);
}

#[test]
fn datagrams_are_numbered_anew_with_each_key() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    world.register(&mut client);
    for number in 1..=3 {
        let (counter, key) = world.registry.datagram_key(client.key()).unwrap();
        assert_eq!((counter, Some(key)), (number, client.session.as_ref()));
    }
    world.register(&mut client);
    let (counter, key) = world.registry.datagram_key(client.key()).unwrap();
    assert_eq!((counter, Some(key)), (1, client.session.as_ref()));
    assert!(world.registry.datagram_key(Key::new(9, 9)).is_none());
}

#[test]
fn p8_stating_another_address_redirects_no_datagrams() {
    let mut world = world();
    let mut victim = direct("10.0.0.1");
    let mut liar = behind("192.0.2.9", "10.0.0.1");
    world.register(&mut victim);
    world.register(&mut liar);
    let told = |world: &World, client: &Client| world.record(client).udp_address().unwrap();
    assert_eq!(
        told(&world, &liar),
        SocketAddr::new(ip("192.0.2.9"), 52_311)
    );
    assert_eq!(
        told(&world, &victim),
        SocketAddr::new(ip("10.0.0.1"), 52_311)
    );
    assert_ne!(world.subnet(&victim).key, world.subnet(&liar).key);
    // What it says for itself is no word for the other.
    let record = world.record(&victim);
    assert_eq!(record.local_address(), record.udp_address());
}
