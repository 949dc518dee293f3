//! Registrations among a thousand and among a million clients.
//!
//! `again` is the whole of it, from the body's bytes to the answer; `decode`
//! is what reading the JSON takes of it, `proofs` what the HMACs and the digest
//! do. `judge` is the registry itself: from a decoded registration to the
//! answer, all indexes and the derivation of the session's key included.

#![allow(missing_docs, clippy::unwrap_used)]

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use divan::{Bencher, black_box};
use tautline_core::registration::{
    Interface, Registry, RegistryLimits, RegistrySettings, Request, body,
};
use tautline_core::wire::proof::{self, Authorization, BodyDigest, MasterKey, Session};
use tautline_core::{ClientId, Incarnation, Instant, Random};

const MASTER: MasterKey = MasterKey([7; 32]);
const INCARNATION: Incarnation = Incarnation(1);
const TARGET: &str = "/v1/register";
const CLIENTS: [u32; 2] = [1_000, 1_000_000];

fn main() {
    divan::main();
}

fn body_of(client: Option<ClientId>, number: u32, registration: u64) -> Vec<u8> {
    let address: IpAddr = Ipv4Addr::from_bits(0x0a00_0000 + number).into();
    let interfaces = [address, [192, 168, 1, 5].into()];
    let request = Request {
        protocol: body::PROTOCOL,
        client,
        registration,
        hostname: format!("web-{number:016}").into(),
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
    serde_json::to_vec(&request).unwrap()
}

fn peer(number: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0000 + number).into(), 4_000)
}

fn covered(body: &[u8]) -> proof::Request<'_> {
    proof::Request {
        method: "POST",
        target: TARGET,
        body: BodyDigest::of(body),
    }
}

/// A registry of so many clients.
struct Full {
    registry: Registry,
    ids: Vec<ClientId>,
    registration: u64,
    random: Random,
}

/// A registration that is ready to be handed in.
struct Prepared {
    peer: SocketAddr,
    proof: Authorization,
    body: Vec<u8>,
}

impl Full {
    fn new(clients: u32) -> Self {
        let settings = RegistrySettings::new(MASTER, INCARNATION);
        let limits = RegistryLimits {
            newcomers_max: Some(u32::MAX),
            ..RegistryLimits::default()
        };
        let mut registry = Registry::new(settings, limits, Random::from_seed([4; 32]));
        let ids = (0..clients)
            .map(|number| {
                let body = body_of(None, number, 1);
                let now = Instant::ORIGIN;
                let told =
                    registry.handle_registration(now, peer(number), true, TARGET, None, &body);
                let id = told.unwrap().answer.client;
                // By coming again it is no newcomer any more.
                let body = body_of(Some(id), number, 2);
                let request: Request<'_> = serde_json::from_slice(&body).unwrap();
                let again = registry.handle_decoded(now, peer(number).ip(), &request);
                again.unwrap().answer.client
            })
            .collect();
        Self {
            registry,
            ids,
            registration: 2,
            random: Random::from_seed([5; 32]),
        }
    }

    /// One of any of the clients.
    fn prepare(&mut self) -> Prepared {
        self.registration += 1;
        let number = self.random.below(self.ids.len() as u64) as u32;
        let id = self.ids[number as usize];
        let body = body_of(Some(id), number, self.registration);
        let secret = MASTER.client_secret(id);
        let proof = covered(&body).prove_registration(&secret, id, self.registration);
        Prepared {
            peer: peer(number),
            proof,
            body,
        }
    }
}

#[divan::bench(args = CLIENTS, sample_count = 100, sample_size = 100)]
fn again(bencher: Bencher<'_, '_>, clients: u32) {
    let mut full = Full::new(clients);
    let prepared: Vec<_> = (0..10_100).map(|_| full.prepare()).collect();
    let (mut next, registry) = (prepared.iter(), &mut full.registry);
    let now = Instant::from_micros(1_000_000);
    bencher.bench_local(|| {
        let Prepared { peer, proof, body } = next.next().unwrap();
        registry
            .handle_registration(now, *peer, false, TARGET, Some(proof), body)
            .unwrap()
    });
}

#[divan::bench(args = CLIENTS, sample_count = 100, sample_size = 100)]
fn judge(bencher: Bencher<'_, '_>, clients: u32) {
    let mut full = Full::new(clients);
    let prepared: Vec<_> = (0..10_100).map(|_| full.prepare()).collect();
    let decoded: Vec<(IpAddr, Request<'_>)> = prepared
        .iter()
        .map(|Prepared { peer, body, .. }| (peer.ip(), serde_json::from_slice(body).unwrap()))
        .collect();
    let (mut next, registry) = (decoded.iter(), &mut full.registry);
    let now = Instant::from_micros(1_000_000);
    bencher.bench_local(|| {
        let (observed, request) = next.next().unwrap();
        registry.handle_decoded(now, *observed, request).unwrap()
    });
}

#[divan::bench(args = CLIENTS)]
fn find(bencher: Bencher<'_, '_>, clients: u32) {
    let full = Full::new(clients);
    let mut random = Random::from_seed([6; 32]);
    bencher
        .with_inputs(|| full.ids[random.below(full.ids.len() as u64) as usize])
        .bench_local_values(|id| full.registry.find(black_box(id)).unwrap());
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let body = body_of(Some(ClientId([3; 16])), 7, 9);
    bencher.bench_local(|| {
        let request: Request<'_> = serde_json::from_slice(black_box(&body)).unwrap();
        drop(black_box(request));
    });
}

#[divan::bench]
fn proofs(bencher: Bencher<'_, '_>) {
    let mut full = Full::new(1);
    let Prepared { proof, body, .. } = full.prepare();
    let session = Session {
        client: proof.client,
        registration: 2,
        incarnation: INCARNATION,
        nonce: [1; 16],
    };
    bencher.bench_local(|| {
        let secret = MASTER.client_secret(black_box(&proof).client);
        assert!(proof.proves_registration(&secret, &covered(&body)));
        secret.session_key(&session)
    });
}
