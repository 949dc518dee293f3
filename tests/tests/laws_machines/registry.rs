//! The relay's registry of clients.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use tautline_core::registration::{
    Interface, Refusal, Registry, RegistryEffect, RegistryLimits, RegistrySettings, Request, Site,
    body,
};
use tautline_core::wire::proof::{
    self, Authorization, BodyDigest, ClientSecret, MasterKey, Session, SessionKey,
};
use tautline_core::{ClientId, ConnId, Incarnation, Instant, Key, Network, Random};
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};
use tautline_tests::{Dice, counting};

use super::{assert_lawful, census};

const CLIENTS_MAX: u32 = 5;
const NEWCOMERS_MAX: u32 = 4;
const CONNECTIONS_MAX: u32 = 3;
const MASTER: MasterKey = MasterKey([7; 32]);
const INCARNATION: Incarnation = Incarnation(1);
const TARGET: &str = "/v1/register";
const ASKED: proof::Request<'_> = proof::Request {
    method: "GET",
    target: "/v1/inbox",
    body: BodyDigest([0; 32]),
};

/// What a client keeps.
struct Known {
    id: ClientId,
    registration: u64,
    key: SessionKey,
    counter: u64,
}

#[derive(Default)]
struct RegistryCase {
    known: Vec<Known>,
    /// The last proof that was good.
    used: Option<Authorization>,
    /// Persistent connections, and how many there were.
    open: Vec<(Key, ConnId)>,
    conns: u32,
    /// What the last test notification carried.
    tested: Option<(Key, u64)>,
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)), 4_000)
}

fn text(client: Option<ClientId>, registration: u64, hostname: &str) -> Vec<u8> {
    text_of(client, registration, hostname, 9, 1)
}

fn text_of(
    client: Option<ClientId>,
    registration: u64,
    hostname: &str,
    host: u8,
    instance: u8,
) -> Vec<u8> {
    let local = address(host).ip();
    let request = Request {
        protocol: body::PROTOCOL,
        client,
        registration,
        hostname: hostname.into(),
        interfaces: vec![Interface {
            address: local,
            prefix: 24 + host % 8,
        }],
        udp_port: u16::from(host % 4),
        persistent_connection: !registration.is_multiple_of(4),
        local: Some(local),
        instance: Some(body::Hex([instance; 8])),
        heartbeat: None,
    };
    serde_json::to_vec(&request).expect("it is text")
}

fn prove(id: ClientId, secret: &ClientSecret, number: u64, body: &[u8]) -> Authorization {
    let covered = proof::Request {
        method: "POST",
        target: TARGET,
        body: BodyDigest::of(body),
    };
    covered.prove_registration(secret, id, number)
}

impl RegistryCase {
    fn register_first(&mut self, registry: &mut Registry, now: Instant, log: &mut Log) {
        let body = text(None, 1, "new");
        let told = registry.handle_registration(now, address(1), true, TARGET, None, &body);
        log.event(&told.as_ref().map(|told| (told.client, &told.answer)));
        if let Ok(told) = told {
            assert!(told.new);
            self.remember(told.answer.client, 1, told.answer.nonce.0);
        }
    }

    fn register_again(
        &mut self,
        registry: &mut Registry,
        now: Instant,
        place: usize,
        dice: &mut Dice,
        log: &mut Log,
    ) {
        let Known {
            id, registration, ..
        } = self.known[place];
        let number = registration + 1;
        let (host, instance) = (dice.below(20) as u8, dice.below(3) as u8);
        let body = text_of(Some(id), number, "known", host, instance);
        let proof = prove(id, &MASTER.client_secret(id), number, &body);
        let (observed, secure) = (address(dice.below(4) as u8), dice.one_in(2));
        let told = registry.handle_registration(now, observed, secure, TARGET, Some(&proof), &body);
        log.event(&told.as_ref().map(|told| (told.client, &told.answer)));
        if let Ok(told) = told {
            self.known.swap_remove(place);
            self.remember(told.answer.client, number, told.answer.nonce.0);
        }
    }

    fn connect(&mut self, registry: &mut Registry, now: Instant, place: usize, log: &mut Log) {
        let Some(client) = registry.find(self.known[place].id) else {
            return;
        };
        self.conns += 1;
        let conn = ConnId::from_key(Key::new(self.conns, 1));
        let told = registry.handle_connected(now, client, conn);
        log.event(&told);
        if let Ok(before) = told {
            self.open.retain(|(_, conn)| Some(*conn) != before);
            self.open.push((client, conn));
        }
    }

    fn disconnect(&mut self, registry: &mut Registry, dice: &mut Dice) {
        if !self.open.is_empty() {
            let place = dice.index(self.open.len());
            let (client, conn) = self.open.swap_remove(place);
            assert!(registry.handle_disconnected(client, conn));
        }
    }

    fn prove_test(&self, registry: &mut Registry, now: Instant, dice: &mut Dice, log: &mut Log) {
        if let Some((client, nonce)) = self.tested {
            let nonce = nonce ^ u64::from(dice.one_in(4));
            log.event(&registry.handle_test_proof(now, client, nonce));
        }
    }

    fn remember(&mut self, client: ClientId, registration: u64, nonce: [u8; 16]) {
        let session = Session {
            client,
            registration,
            incarnation: INCARNATION,
            nonce,
        };
        self.known.push(Known {
            id: client,
            registration,
            key: MASTER.client_secret(client).session_key(&session),
            counter: 0,
        });
    }

    fn prove(
        &mut self,
        registry: &mut Registry,
        now: Instant,
        place: usize,
    ) -> Result<Key, Refusal> {
        let known = &mut self.known[place];
        known.counter += 1;
        let proof = ASKED.prove(&known.key, known.id, known.counter);
        let told = registry.handle_proof(now, &proof, &ASKED);
        self.used = told.is_ok().then_some(proof);
        told
    }
}

fn is_full(registry: &Registry) -> bool {
    let newcomers = registry.counts().newcomers;
    registry.len() == CLIENTS_MAX as usize || newcomers == NEWCOMERS_MAX as usize
}

impl MachineCase for RegistryCase {
    type Machine = Registry;
    const NAME: &'static str = "registry";

    fn new(seed: u64) -> (Registry, Self) {
        let settings = RegistrySettings {
            period: Duration::from_secs(1_000),
            missed_periods_max: 2,
            newcomer_life: Duration::from_secs(600),
            connections_max: CONNECTIONS_MAX,
            connections_per_subnet_max: 2,
            sites: vec![Site {
                name: "site".to_owned(),
                networks: vec![Network::single(address(2).ip())],
            }],
            ..RegistrySettings::new(MASTER, INCARNATION)
        };
        let limits = RegistryLimits {
            clients_max: CLIENTS_MAX,
            newcomers_max: Some(NEWCOMERS_MAX),
            ..RegistryLimits::default()
        };
        let random = Random::from_seed(Dice::new(seed).seed());
        (Registry::new(settings, limits, random), Self::default())
    }

    fn act(&mut self, registry: &mut Registry, now: Instant, dice: &mut Dice, log: &mut Log) {
        let place = dice.index(self.known.len());
        match dice.below(12) {
            0 => self.register_first(registry, now, log),
            1 => self.disconnect(registry, dice),
            2 => self.prove_test(registry, now, dice, log),
            _ if self.known.is_empty() => {}
            3..6 => self.register_again(registry, now, place, dice, log),
            6 | 7 => self.connect(registry, now, place, log),
            8 => {
                let key = registry.find(self.known[place].id);
                let sealed = key.and_then(|key| registry.datagram_key(key));
                log.event(&sealed.map(|(counter, _)| counter));
            }
            _ => log.event(&self.prove(registry, now, place)),
        }
    }

    fn effect(
        &mut self,
        registry: &mut Registry,
        _: Instant,
        effect: RegistryEffect,
        log: &mut Log,
    ) {
        log.event(&effect);
        match effect {
            RegistryEffect::Forgotten { client, id } => {
                assert!(registry.get(client).is_none() && registry.find(id).is_none());
            }
            RegistryEffect::Test { client, nonce } => {
                let record = registry.get(client).expect("a client that is tested");
                assert!(record.udp_address().is_some());
                self.tested = Some((client, nonce));
            }
            RegistryEffect::GrantEnded { client } => assert!(registry.get(client).is_some()),
            RegistryEffect::Release { client, conn, .. } => {
                assert!(self.open.contains(&(client, conn)));
            }
        }
    }

    fn noise(&mut self, registry: &mut Registry, now: Instant, dice: &mut Dice, log: &mut Log) {
        let mut body = text(Some(ClientId([3; 16])), dice.next_u64(), "noise");
        for _ in 0..dice.below(4) {
            let place = dice.index(body.len());
            body[place] ^= 1 << dice.below(8);
        }
        body.truncate(dice.index(2 * body.len()));
        let told = registry.handle_registration(now, address(3), false, TARGET, None, &body);
        log.event(&told.map(|told| told.new));
    }

    fn misuse(
        &mut self,
        registry: &mut Registry,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let (mut secure, mut authorization) = (true, None);
        let (id, again) = (ClientId([8; 16]), self.known.first());
        let (body, why) = match dice.below(7) {
            0 => (b"{}".to_vec(), Refusal::Malformed),
            1 => (text(None, 1, ""), Refusal::Hostname),
            2 => {
                secure = false;
                (text(None, 1, "far"), Refusal::SecretInClear)
            }
            3 => (text(Some(id), 1, "liar"), Refusal::Unproven),
            4 if is_full(registry) => (text(None, 1, "late"), Refusal::Full),
            5 if again.is_some_and(|known| registry.find(known.id).is_some()) => {
                let Known {
                    id, registration, ..
                } = &self.known[0];
                let body = text(Some(*id), *registration, "again");
                let secret = MASTER.client_secret(*id);
                authorization = Some(prove(*id, &secret, *registration, &body));
                (body, Refusal::Replayed)
            }
            6 => {
                let told = self
                    .used
                    .map(|used| registry.handle_proof(now, &used, &ASKED));
                return match told {
                    None => Ok(Misuse::None),
                    Some(Err(_)) => Ok(Misuse::Refused),
                    Some(Ok(_)) => Err("a proof was taken twice".to_owned()),
                };
            }
            _ => return Ok(Misuse::None),
        };
        let proof = authorization.as_ref();
        let told = registry.handle_registration(now, address(4), secure, TARGET, proof, &body);
        match told {
            Err(told) if told == why => Ok(Misuse::Refused),
            told => Err(format!("not {why:?}, but {told:?}")),
        }
    }

    fn flood(&mut self, registry: &mut Registry, now: Instant, dice: &mut Dice, log: &mut Log) {
        match dice.one_in(2) {
            true => self.register_first(registry, now, log),
            false => self.act(registry, now, dice, log),
        }
    }

    fn census(&self, registry: &Registry) -> Vec<Census> {
        let counts = registry.counts();
        let held = counts.connected + counts.granted;
        vec![
            census("clients_max", registry.len(), CLIENTS_MAX as usize),
            census("newcomers_max", counts.newcomers, NEWCOMERS_MAX as usize),
            census("connections_max", held, CONNECTIONS_MAX as usize),
        ]
    }

    /// Proofs; a registration may allocate.
    fn steady(&mut self, registry: &mut Registry, now: Instant, dice: &mut Dice) -> bool {
        counting::paused(|| {
            if registry.len() < 3 {
                let mut log = Log::counting();
                self.register_first(registry, now, &mut log);
                self.connect(registry, now, self.known.len() - 1, &mut log);
            }
        });
        let place = dice.index(self.known.len());
        let client = self.prove(registry, now, place);
        let client = client.expect("a client that is there");
        assert!(registry.datagram_key(client).is_some());
        // A line that comes back in the place of the one before.
        if let Some(conn) = registry.connection(client) {
            assert_eq!(registry.handle_connected(now, client, conn), Ok(Some(conn)));
        }
        true
    }
}

#[test]
fn the_registry_keeps_all_laws() {
    let tally = assert_lawful::<RegistryCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.tables == 3 && tally.steady > 0,
        "{tally:?}"
    );
}
