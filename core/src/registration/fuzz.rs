//! The registry against a list.
//!
//! [`registry`] decodes bytes into registrations, proofs, connections and
//! time, right and wrong, and does them on a [`Registry`] and on a list of
//! clients; it panics where the two disagree.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use super::body::{PROTOCOL, Request};
use super::{Admission, Refusal, Registry, RegistryEffect, RegistryLimits, RegistrySettings};
use crate::collections::model::{Script, fires_at};
use crate::wire::proof::{self, BodyDigest, ClientSecret, MasterKey, Session, SessionKey};
use crate::{ClientId, ConnId, Incarnation, Instant, Key, Machine, Random};

const MASTER: MasterKey = MasterKey([9; 32]);
const INCARNATION: Incarnation = Incarnation(3);
const PERIOD: Duration = Duration::from_secs(3_600);
const MISSED_MAX: u32 = 2;
const CLIENTS_MAX: u32 = 4;
const TARGET: &str = "/v1/register";

/// Any bytes as operations on a registry.
pub fn registry(data: &[u8]) {
    let mut script = Script(data);
    let mut pair = Pair::new(script.one_in(2));
    let _ = pair.run(&mut script);
}

/// A registered client.
struct Listed {
    client: Key,
    id: ClientId,
    registration: u64,
    key: SessionKey,
    /// Counters that were used under the key, and the highest of them.
    used: Vec<u64>,
    expires_at: Instant,
    /// It has used a key that it was given.
    proven: bool,
    connection: Option<ConnId>,
}

struct Pair {
    registry: Registry,
    list: Vec<Listed>,
    /// Every identity that was ever given; its client keeps it for good.
    given: Vec<(ClientId, ClientSecret)>,
    plaintext: bool,
    now: Instant,
}

impl Pair {
    fn new(plaintext: bool) -> Self {
        let settings = RegistrySettings {
            key: MASTER,
            incarnation: INCARNATION,
            period: PERIOD,
            missed_periods_max: MISSED_MAX,
            newcomer_life: Duration::MAX,
            persistent_connections: true,
            secrets_over_plaintext: plaintext,
        };
        let limits = RegistryLimits {
            clients_max: CLIENTS_MAX,
            ..RegistryLimits::default()
        };
        Self {
            registry: Registry::new(settings, limits, Random::from_seed([5; 32])),
            list: Vec::new(),
            given: Vec::new(),
            plaintext,
            now: Instant::ORIGIN,
        }
    }

    fn run(&mut self, script: &mut Script<'_>) -> Option<()> {
        loop {
            match script.byte()? % 8 {
                0 | 1 => self.register_first(script)?,
                2 | 3 => self.register_again(script)?,
                4 => self.prove(script)?,
                5 => self.connect(script)?,
                6 => self.pass_time(script)?,
                _ => self.register_noise(script)?,
            }
            self.compare();
        }
    }

    fn register_first(&mut self, script: &mut Script<'_>) -> Option<()> {
        let (far, secure) = (script.one_in(2), script.one_in(2));
        let registration = script.number(4)?;
        let body = body(None, registration);
        let full = self.list.len() == CLIENTS_MAX as usize;
        match self.register(far, secure, None, &body) {
            Ok(admission) => {
                assert!(!full && (!far || secure || self.plaintext));
                assert!(admission.new);
                let id = admission.answer.client;
                assert!(!self.given.iter().any(|(given, _)| *given == id));
                let secret = ClientSecret(admission.answer.secret.unwrap().0);
                assert_eq!(secret, MASTER.client_secret(id));
                self.given.push((id, secret));
                self.admitted(id, registration, &admission);
            }
            Err(Refusal::SecretInClear) => assert!(far && !secure && !self.plaintext),
            Err(why) => assert_eq!((why, full), (Refusal::Full, true)),
        }
        Some(())
    }

    fn register_again(&mut self, script: &mut Script<'_>) -> Option<()> {
        let draw = usize::from(script.byte()?);
        let Some((id, secret)) = self.given.get(draw % self.given.len().max(1)).cloned() else {
            return Some(());
        };
        let (registration, fault) = (script.number(6)?, script.byte()? % 8);
        let body = body(Some(id), registration);
        let covered = proof::Request {
            method: "POST",
            target: if fault == 1 { "/v1/inbox" } else { TARGET },
            body: BodyDigest::of(if fault == 2 { b"" } else { &body }),
        };
        let number = registration + u64::from(fault == 3);
        let mut proof = covered.prove_registration(&secret, id, number);
        proof.mac[0] ^= u8::from(fault == 4);
        let right = fault == 0 || fault > 4;
        let at = self.list.iter().position(|listed| listed.id == id);
        let replayed = at.is_some_and(|at| registration <= self.list[at].registration);
        let full = at.is_none() && self.list.len() == CLIENTS_MAX as usize;
        match self.register(true, false, Some(&proof), &body) {
            Ok(admission) => {
                assert!(right && !replayed && !full);
                assert_eq!(admission.new, at.is_none());
                assert_eq!(admission.answer.secret, None, "told once");
                self.admitted(id, registration, &admission);
            }
            Err(Refusal::Unproven) => assert!(!right),
            Err(Refusal::Replayed) => assert!(replayed),
            Err(why) => assert_eq!((why, full), (Refusal::Full, true)),
        }
        Some(())
    }

    /// A body of any bytes is refused or it is a sound first registration.
    fn register_noise(&mut self, script: &mut Script<'_>) -> Option<()> {
        let len = usize::from(script.byte()?);
        let body = script.bytes(len);
        if let Ok(admission) = self.register(false, false, None, body) {
            let request: Request<'_> = serde_json::from_slice(body).unwrap();
            assert!(request.client.is_none() && request.protocol == PROTOCOL);
            let id = admission.answer.client;
            self.given.push((id, MASTER.client_secret(id)));
            self.admitted(id, request.registration, &admission);
        }
        Some(())
    }

    fn register(
        &mut self,
        far: bool,
        secure: bool,
        proof: Option<&proof::Authorization>,
        body: &[u8],
    ) -> Result<Admission, Refusal> {
        let first = if far { 10 } else { 127 };
        let observed = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(first, 0, 0, 1)), 4_000);
        self.registry
            .handle_registration(self.now, observed, secure, TARGET, proof, body)
    }

    fn admitted(&mut self, id: ClientId, registration: u64, admission: &Admission) {
        let client = admission.client;
        let known = self.list.iter().position(|listed| listed.id == id);
        let connection = known.and_then(|at| {
            assert_eq!(self.list[at].client, client, "the handle stays");
            self.list.swap_remove(at).connection
        });
        let session = Session {
            client: id,
            registration,
            incarnation: INCARNATION,
            nonce: admission.answer.nonce.0,
        };
        self.list.push(Listed {
            client,
            id,
            registration,
            key: MASTER.client_secret(id).session_key(&session),
            used: Vec::new(),
            expires_at: self.life(),
            proven: admission.answer.secret.is_none(),
            connection,
        });
    }

    /// The end of a life that begins now.
    fn life(&self) -> Instant {
        fires_at(self.now + PERIOD * MISSED_MAX + PERIOD / 10)
    }

    fn prove(&mut self, script: &mut Script<'_>) -> Option<()> {
        let (draw, fault) = (usize::from(script.byte()?), script.byte()? % 8);
        let counter = script.number(7)?;
        let covered = proof::Request {
            method: "GET",
            target: "/v1/inbox",
            body: BodyDigest::of(b""),
        };
        let (len, life) = (self.list.len(), self.life());
        let Some(listed) = self.list.get_mut(draw % len.max(1)) else {
            let proof = covered.prove(&SessionKey([1; 32]), ClientId([1; 16]), counter);
            let refused = self.registry.handle_proof(self.now, &proof, &covered);
            assert_eq!(refused, Err(Refusal::Unknown));
            return Some(());
        };
        let mut proof = covered.prove(&listed.key, listed.id, counter);
        proof.counter += u64::from(fault == 1);
        proof.mac[31] ^= u8::from(fault == 2);
        let right = fault == 0 || fault > 2;
        let highest = listed.used.iter().max().copied().unwrap_or_default();
        match self.registry.handle_proof(self.now, &proof, &covered) {
            Ok(client) => {
                assert!(right && client == listed.client);
                assert!(!listed.used.contains(&counter));
                listed.used.push(counter);
                // A newcomer's life begins anew when it proves itself.
                if !core::mem::replace(&mut listed.proven, true) {
                    listed.expires_at = life;
                }
            }
            Err(Refusal::Unproven) => assert!(!right),
            // Which old counters the window still knows is its own business.
            Err(why) => {
                assert_eq!((why, right), (Refusal::Replayed, true));
                let used = listed.used.contains(&counter);
                assert!(used || counter < highest || counter == 0, "{counter}");
            }
        }
        Some(())
    }

    fn connect(&mut self, script: &mut Script<'_>) -> Option<()> {
        let draw = usize::from(script.byte()?);
        let connection = script
            .byte()
            .filter(|byte| byte % 2 == 0)
            .map(|byte| ConnId::from_key(Key::new(byte.into(), 0)));
        let len = self.list.len();
        if let Some(listed) = self.list.get_mut(draw % len.max(1)) {
            let before = self.registry.set_connection(listed.client, connection);
            assert_eq!(
                before,
                core::mem::replace(&mut listed.connection, connection)
            );
        }
        Some(())
    }

    fn pass_time(&mut self, script: &mut Script<'_>) -> Option<()> {
        let span = Duration::from_micros(script.number(36)?);
        let back = script.one_in(4);
        let told = match back {
            true => Instant::from_micros(
                self.now.as_micros() - span.as_micros().min(self.now.as_micros().into()) as u64,
            ),
            false => self.now + span,
        };
        self.now = self.now.max(told);
        self.registry.handle_timeout(told);
        let due = |listed: &Listed| listed.expires_at <= self.now;
        while let Some(RegistryEffect::Forgotten { client, id }) = self.registry.poll() {
            let at = self.list.iter().position(|listed| listed.id == id).unwrap();
            let listed = self.list.swap_remove(at);
            assert!(listed.client == client && listed.connection.is_none() && due(&listed));
        }
        let life = self.life();
        for listed in &mut self.list {
            if listed.expires_at <= self.now {
                assert!(listed.connection.is_some(), "not forgotten in time");
                listed.expires_at = life;
            }
        }
        assert!(self.registry.poll_timeout().is_none_or(|at| at > self.now));
        Some(())
    }

    fn compare(&self) {
        assert_eq!(self.registry.len(), self.list.len());
        assert_eq!(self.registry.is_empty(), self.list.is_empty());
        let earliest = self.list.iter().map(|listed| listed.expires_at).min();
        // It may be early after a timer was moved, and never late.
        let deadline = self.registry.poll_timeout();
        assert!(deadline.is_some() == earliest.is_some() && deadline <= earliest);
        for listed in &self.list {
            assert_eq!(self.registry.find(listed.id), Some(listed.client));
            let record = self.registry.get(listed.client).unwrap();
            assert_eq!(
                (record.id, record.connection),
                (listed.id, listed.connection)
            );
        }
        for (id, _) in &self.given {
            let listed = self.list.iter().any(|listed| listed.id == *id);
            assert_eq!(self.registry.find(*id).is_some(), listed);
        }
        let (mut place, mut count) = (0, 0);
        while let Some((client, _)) = self.registry.next_from(place) {
            (place, count) = (client.index() + 1, count + 1);
        }
        assert_eq!(count, self.list.len());
    }
}

fn body(client: Option<ClientId>, registration: u64) -> Vec<u8> {
    let request = Request {
        protocol: PROTOCOL,
        client,
        registration,
        hostname: "host".into(),
        interfaces: Vec::new(),
        udp_port: 0,
        persistent_connection: true,
        local: None,
        instance: None,
    };
    serde_json::to_vec(&request).unwrap()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_registry_is_a_list(data in vec(any::<u8>(), 0..1_000)) {
            super::registry(&data);
        }
    }
}
