//! The registry against a naive one.
//!
//! [`registry`] decodes bytes into registrations, proofs, connections, tests
//! and time, right and wrong, and does them on a [`Registry`] and on a list of
//! clients that counts everything anew each time; it panics where the two
//! disagree.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

mod naive;

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use super::body::{Hex, Interface, PROTOCOL, Request};
use super::{
    Admission, ConnectRefusal, Refusal, Registry, RegistryEffect, RegistryLimits, RegistrySettings,
    Site,
};
use crate::collections::model::Script;
use crate::wire::proof::{self, BodyDigest, ClientSecret, MasterKey, SessionKey};
use crate::{ClientId, ConnId, Incarnation, Instant, Key, Machine, Random};
use naive::{Naive, Wish};

const MASTER: MasterKey = MasterKey([9; 32]);
const INCARNATION: Incarnation = Incarnation(3);
const PERIOD: Duration = Duration::from_secs(3_600);
const MISSED_MAX: u32 = 2;
const NEWCOMER_LIFE: Duration = Duration::from_secs(600);
const CLIENTS_MAX: usize = 6;
const NEWCOMERS_MAX: usize = 4;
const NEWCOMERS_PER_ADDRESS_MAX: usize = 3;
const CONNECTIONS_MAX: usize = 3;
const TARGET: &str = "/v1/register";

/// Any bytes as operations on a registry.
pub fn registry(data: &[u8]) {
    let mut script = Script(data);
    let plaintext = script.one_in(2);
    let mut cap = || u32::from(script.byte().unwrap_or_default() % 4);
    let caps = (cap(), cap());
    let mut pair = Pair::new(plaintext, caps);
    let _ = pair.run(&mut script);
}

struct Pair {
    registry: Registry,
    naive: Naive,
    /// Every identity that was ever given; its client keeps it for good.
    given: Vec<(ClientId, ClientSecret)>,
    plaintext: bool,
    conns: u32,
    now: Instant,
}

impl Pair {
    fn new(plaintext: bool, caps: (u32, u32)) -> Self {
        let settings = RegistrySettings {
            period: PERIOD,
            missed_periods_max: MISSED_MAX,
            newcomer_life: NEWCOMER_LIFE,
            connections_max: CONNECTIONS_MAX as u32,
            connections_per_subnet_max: caps.0,
            connections_per_address_max: caps.1,
            sites: vec![Site {
                name: "site".into(),
                networks: vec!["10.0.0.2/31".parse().unwrap()],
            }],
            secrets_over_plaintext: plaintext,
            ..RegistrySettings::new(MASTER, INCARNATION)
        };
        let limits = RegistryLimits {
            clients_max: CLIENTS_MAX as u32,
            newcomers_max: Some(NEWCOMERS_MAX as u32),
            newcomers_per_address_max: NEWCOMERS_PER_ADDRESS_MAX as u32,
            ..RegistryLimits::default()
        };
        Self {
            registry: Registry::new(settings, limits, Random::from_seed([5; 32])),
            naive: Naive::new(caps),
            given: Vec::new(),
            plaintext,
            conns: 0,
            now: Instant::ORIGIN,
        }
    }

    fn run(&mut self, script: &mut Script<'_>) -> Option<()> {
        loop {
            match script.byte()? % 16 {
                0..=2 => self.register_first(script)?,
                3..=6 => self.register_again(script)?,
                7 => self.prove(script)?,
                8 | 9 => self.connect(script)?,
                10 => self.disconnect(script)?,
                11 => self.prove_test(script)?,
                12 | 13 => self.pass_time(script)?,
                14 => self.number_datagrams(script)?,
                _ => self.register_noise(script)?,
            }
            self.drain();
            self.naive.compare(&mut self.registry, self.now);
            let known = |id: &ClientId| self.naive.list.iter().any(|listed| listed.id == *id);
            for (id, _) in &self.given {
                assert_eq!(self.registry.find(*id).is_some(), known(id));
            }
        }
    }

    fn register_first(&mut self, script: &mut Script<'_>) -> Option<()> {
        let secure = script.one_in(2);
        let registration = script.number(4)?;
        let (observed, body) = some_body(script, None, registration)?;
        let expected = self.newcomer_refused(observed, secure);
        let told = self.register(observed, secure, None, &body);
        assert_eq!(told.as_ref().err().copied(), expected);
        if let Ok(admission) = told {
            assert!(admission.new && !admission.cloned);
            self.enrolled(observed, &admission, &body);
        }
        Some(())
    }

    /// Why a newcomer is refused.
    fn newcomer_refused(&self, observed: IpAddr, secure: bool) -> Option<Refusal> {
        let newcomers = || self.naive.list.iter().filter(|listed| listed.newcomer);
        let near = newcomers().filter(|listed| listed.wish.observed == observed);
        if !observed.is_loopback() && !secure && !self.plaintext {
            Some(Refusal::SecretInClear)
        } else if self.naive.list.len() == CLIENTS_MAX || newcomers().count() == NEWCOMERS_MAX {
            Some(Refusal::Full)
        } else {
            (near.count() >= NEWCOMERS_PER_ADDRESS_MAX).then_some(Refusal::Newcomers)
        }
    }

    /// A client of which nobody knew has an identity that nobody had.
    fn enrolled(&mut self, observed: IpAddr, admission: &Admission, body: &[u8]) {
        let id = admission.answer.client;
        assert!(!self.given.iter().any(|(given, _)| *given == id));
        let secret = ClientSecret(admission.answer.secret.unwrap().0);
        assert_eq!(secret, MASTER.client_secret(id));
        self.given.push((id, secret));
        self.admitted(observed, admission, body);
    }

    fn admitted(&mut self, observed: IpAddr, admission: &Admission, body: &[u8]) {
        let request: Request<'_> = serde_json::from_slice(body).unwrap();
        let wish = Wish::of(&request, observed);
        self.naive.register(self.now, admission, &request, wish);
    }

    fn register_again(&mut self, script: &mut Script<'_>) -> Option<()> {
        let draw = usize::from(script.byte()?);
        let Some((id, secret)) = self.given.get(draw % self.given.len().max(1)).cloned() else {
            return Some(());
        };
        let (registration, fault) = (script.number(6)?, script.byte()? % 16);
        let secure = script.one_in(2);
        let (observed, body) = some_body(script, Some(id), registration)?;
        let covered = proof::Request {
            method: "POST",
            target: if fault == 1 { "/v1/inbox" } else { TARGET },
            body: BodyDigest::of(if fault == 2 { b"" } else { &body }),
        };
        let number = registration + u64::from(fault == 3);
        let mut proof = covered.prove_registration(&secret, id, number);
        proof.mac[0] ^= u8::from(fault == 4);
        let right = fault == 0 || fault > 4;
        let request: Request<'_> = serde_json::from_slice(&body).unwrap();
        let known = self.naive.list.iter().find(|listed| listed.id == id);
        let copied = known.is_some_and(|listed| listed.is_copy(&request));
        let full = self.naive.list.len() == CLIENTS_MAX;
        let expected = match known {
            _ if !right => Some(Refusal::Unproven),
            Some(listed) if registration <= listed.registration => Some(Refusal::Replayed),
            Some(_) if copied => match self.newcomer_refused(observed, secure) {
                Some(Refusal::SecretInClear) => Some(Refusal::Cloned),
                why => why,
            },
            None if full => Some(Refusal::Full),
            _ => None,
        };
        let was_known = known.is_some();
        let told = self.register(observed, secure, Some(&proof), &body);
        assert_eq!(told.as_ref().err().copied(), expected);
        let Ok(admission) = told else {
            return Some(());
        };
        assert_eq!(admission.cloned, copied);
        if copied {
            let own = admission.answer.client;
            let separated = secret.separation(id, own, registration);
            assert_eq!(admission.answer.separated, Some(Hex(separated)));
            self.naive.of_id(id).registration = registration;
            self.enrolled(observed, &admission, &body);
        } else {
            assert_eq!(admission.new, !was_known);
            assert_eq!(admission.answer.secret, None, "told once");
            self.admitted(observed, &admission, &body);
        }
        Some(())
    }

    /// A body of any bytes is refused or it is a sound first registration.
    fn register_noise(&mut self, script: &mut Script<'_>) -> Option<()> {
        let len = usize::from(script.byte()?);
        let body = script.bytes(len);
        let observed = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if let Ok(admission) = self.register(observed, false, None, body) {
            let request: Request<'_> = serde_json::from_slice(body).unwrap();
            assert!(request.client.is_none() && request.protocol == PROTOCOL);
            assert_eq!(self.newcomer_refused(observed, false), None);
            self.enrolled(observed, &admission, body);
        }
        Some(())
    }

    fn register(
        &mut self,
        observed: IpAddr,
        secure: bool,
        proof: Option<&proof::Authorization>,
        body: &[u8],
    ) -> Result<Admission, Refusal> {
        let observed = SocketAddr::new(observed, 4_000);
        self.registry
            .handle_registration(self.now, observed, secure, TARGET, proof, body)
    }

    fn prove(&mut self, script: &mut Script<'_>) -> Option<()> {
        let (draw, fault) = (usize::from(script.byte()?), script.byte()? % 8);
        let counter = script.number(7)?;
        let covered = proof::Request {
            method: "GET",
            target: "/v1/inbox",
            body: BodyDigest::of(b""),
        };
        let Some(listed) = self.naive.choose(draw) else {
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
                listed.prove();
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
        let now = self.now;
        let Some(listed) = self.naive.choose(draw) else {
            return Some(());
        };
        self.conns += 1;
        let conn = ConnId::from_key(Key::new(self.conns, 0));
        let expected = listed.may_connect(now).map(|()| listed.connect(conn));
        let told = self.registry.handle_connected(now, listed.client, conn);
        assert_eq!(told, expected);
        Some(())
    }

    fn disconnect(&mut self, script: &mut Script<'_>) -> Option<()> {
        let (draw, stale) = (usize::from(script.byte()?), script.one_in(4));
        let Some(listed) = self.naive.choose(draw) else {
            return Some(());
        };
        let other = ConnId::from_key(Key::new(u32::MAX - 1, 0));
        let conn = listed.connection.filter(|_| !stale).unwrap_or(other);
        let was_open = listed.disconnect(conn);
        let told = self.registry.handle_disconnected(listed.client, conn);
        assert_eq!(told, was_open);
        Some(())
    }

    fn prove_test(&mut self, script: &mut Script<'_>) -> Option<()> {
        let (draw, wrong) = (usize::from(script.byte()?), script.one_in(4));
        let Some(listed) = self.naive.choose(draw) else {
            return Some(());
        };
        let nonce = listed.nonce.unwrap_or_default() ^ u64::from(wrong);
        let right = listed.prove_test(nonce);
        let client = listed.client;
        let told = self.registry.handle_test_proof(self.now, client, nonce);
        assert_eq!(told, right);
        Some(())
    }

    fn number_datagrams(&mut self, script: &mut Script<'_>) -> Option<()> {
        let draw = usize::from(script.byte()?);
        if let Some(listed) = self.naive.choose(draw) {
            listed.datagrams += 1;
            let told = self.registry.datagram_key(listed.client);
            assert_eq!(told, Some((listed.datagrams, &listed.key)));
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
        Some(())
    }

    /// Takes every effect, and checks that nothing is due then.
    fn drain(&mut self) {
        while let Some(effect) = self.registry.poll() {
            self.naive.handle_effect(self.now, effect);
            if let RegistryEffect::Test { client, .. } = effect {
                assert!(self.registry.get(client).is_some());
            }
        }
        self.naive.check_drained(self.now);
        assert!(self.registry.poll_timeout().is_none_or(|at| at > self.now));
    }
}

/// A sound registration from one of a few places.
fn some_body(
    script: &mut Script<'_>,
    client: Option<ClientId>,
    registration: u64,
) -> Option<(IpAddr, Vec<u8>)> {
    let (place, kind) = (script.byte()?, script.byte()?);
    let observed = match place % 6 {
        0 => Ipv4Addr::LOCALHOST,
        host => Ipv4Addr::new(10, 0, 0, host % 4),
    };
    let address = match place / 8 % 4 {
        0 => observed,
        1 => Ipv4Addr::new(169, 254, 0, 1),
        host => Ipv4Addr::new(192, 168, 1, host),
    };
    let address = IpAddr::V4(address);
    let request = Request {
        protocol: PROTOCOL,
        client,
        registration,
        hostname: "host".into(),
        interfaces: vec![Interface {
            address,
            prefix: 24,
        }],
        udp_port: u16::from(kind & 1) * 7,
        persistent_connection: kind & 6 != 0,
        local: (kind & 8 == 0).then_some(address),
        instance: (kind & 16 == 0).then_some(Hex([kind >> 5; 8])),
        heartbeat: None,
    };
    Some((observed.into(), serde_json::to_vec(&request).unwrap()))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn p5_the_registry_is_a_list_that_counts_anew(data in vec(any::<u8>(), 0..1_500)) {
            super::registry(&data);
        }
    }
}
