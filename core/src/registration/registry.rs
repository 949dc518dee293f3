//! The relay's side: who is registered.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::body::{Answer, Hex, Interface, PROTOCOL, Request, Verdict};
use crate::collections::{Index, Slab, TimerKey, Wheel};
use crate::wire::proof::{self, Authorization, BodyDigest, MasterKey, Session, SessionKey};
use crate::wire::replay::ReplayWindow;
use crate::{ClientId, ConnId, Incarnation, Instant, Key, Machine, Random};

/// The figures of a [`Registry`].
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// The relay's key; the secrets of its clients follow from it.
    pub key: MasterKey,
    /// The number of the relay's run.
    pub incarnation: Incarnation,
    /// When a client shall register anew. 1 s to 49 days.
    pub period: Duration,
    /// After how many missed periods a client is forgotten. At least 1.
    pub missed_periods_max: u32,
    /// How long a newcomer is kept that never uses the key that it was given,
    /// so that nobody fills the table by registering in vain.
    pub newcomer_life: Duration,
    /// Whether persistent connections are granted at all.
    pub persistent_connections: bool,
    /// Whether a secret is handed out to a client that is neither on loopback
    /// nor behind TLS. Whoever listens can then take the client's identity.
    pub secrets_over_plaintext: bool,
}

/// The bounds of a [`Registry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLimits {
    /// Clients at a time.
    pub clients_max: u32,
    /// Bytes of a hostname.
    pub hostname_bytes_max: usize,
    /// Addresses that a client states.
    pub interfaces_max: usize,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            clients_max: 1_000_000,
            hostname_bytes_max: 255,
            interfaces_max: 32,
        }
    }
}

/// A registered client.
#[derive(Debug)]
pub struct ClientRecord {
    /// Its identity.
    pub id: ClientId,
    /// Its name, for people.
    pub hostname: Box<str>,
    /// The addresses that it stated.
    pub interfaces: Box<[Interface]>,
    /// The address that the relay saw.
    pub observed: IpAddr,
    /// The port that it takes datagrams on; 0 is none.
    pub udp_port: u16,
    /// When it registered last.
    pub registered_at: Instant,
    /// Its persistent connection, if one is open.
    pub connection: Option<ConnId>,
    /// Whether it may hold a persistent connection.
    pub granted: bool,
    /// Whether it has ever used a key that it was given.
    proven: bool,
    registration: u64,
    key: SessionKey,
    window: ReplayWindow,
    expiry: Option<TimerKey>,
}

/// An admitted registration.
#[derive(Debug)]
pub struct Admission {
    /// The client's handle.
    pub client: Key,
    /// Whether the registry did not know it before.
    pub new: bool,
    /// What to tell it.
    pub answer: Answer,
}

/// Why a registration or a proof is refused. Each is the client's doing,
/// except [`Full`](Self::Full).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The body is not what it should be.
    #[error("the body is no registration")]
    Malformed,
    /// The client speaks another version.
    #[error("the protocol version is not spoken here")]
    Protocol,
    /// The hostname is empty, too long or has control characters.
    #[error("the hostname is empty, too long or has control characters")]
    Hostname,
    /// Too many addresses, or a prefix that is too long.
    #[error("too many interfaces, or a prefix longer than its address")]
    Interfaces,
    /// A secret would travel in clear.
    #[error("a first registration needs TLS, loopback, or secrets_over_plaintext")]
    SecretInClear,
    /// The proof is missing or wrong.
    #[error("the proof of identity is missing or wrong")]
    Unproven,
    /// The client is not registered with this run of the relay.
    #[error("the client is not registered; it has to register anew")]
    Unknown,
    /// A number or counter that was used before.
    #[error("the number was used before")]
    Replayed,
    /// The registry is full.
    #[error("the table of clients is full")]
    Full,
}

impl Refusal {
    /// The reason in one word, to count it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Protocol => "protocol",
            Self::Hostname => "hostname",
            Self::Interfaces => "interfaces",
            Self::SecretInClear => "secret_in_clear",
            Self::Unproven => "unproven",
            Self::Unknown => "unknown",
            Self::Replayed => "replayed",
            Self::Full => "full",
        }
    }
}

/// What a [`Registry`] tells on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryEffect {
    /// The client did not return and was forgotten; the handle ends here.
    Forgotten {
        /// Its handle.
        client: Key,
        /// Its identity.
        id: ClientId,
    },
}

/// The clients of a relay.
pub struct Registry {
    settings: RegistrySettings,
    limits: RegistryLimits,
    random: Random,
    clients: Slab<ClientRecord>,
    by_id: Index,
    expiries: Wheel<Key>,
    now: Instant,
}

impl Registry {
    /// An empty registry.
    pub fn new(settings: RegistrySettings, limits: RegistryLimits, mut random: Random) -> Self {
        Self {
            clients: Slab::new(limits.clients_max),
            by_id: Index::new(random.bytes(), limits.clients_max),
            expiries: Wheel::new(limits.clients_max),
            random,
            settings,
            limits,
            now: Instant::ORIGIN,
        }
    }

    /// Judges a registration that came from `observed`; `target` and `body`
    /// as the request had them.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then.
    pub fn handle_registration(
        &mut self,
        now: Instant,
        observed: SocketAddr,
        secure: bool,
        target: &str,
        authorization: Option<&Authorization>,
        body: &[u8],
    ) -> Result<Admission, Refusal> {
        self.now = self.now.max(now);
        let request: Request<'_> = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
        self.check(&request)?;
        match request.client {
            None => {
                if !self.may_carry_secrets(observed.ip(), secure) {
                    return Err(Refusal::SecretInClear);
                }
                // Before anything is drawn: a refusal leaves no trace.
                if self.clients.is_full() {
                    return Err(Refusal::Full);
                }
                let id = ClientId(self.random.bytes());
                self.admit(id, observed.ip(), &request, true)
            }
            Some(id) => {
                let covered = proof::Request {
                    method: "POST",
                    target,
                    body: BodyDigest::of(body),
                };
                let secret = self.settings.key.client_secret(id);
                let proven = authorization.is_some_and(|authorization| {
                    authorization.client == id
                        && authorization.counter == request.registration
                        && authorization.proves_registration(&secret, &covered)
                });
                if !proven {
                    return Err(Refusal::Unproven);
                }
                self.admit(id, observed.ip(), &request, false)
            }
        }
    }

    /// Whether a request can come from the client that it names, before its
    /// body was read. [`handle_proof`](Self::handle_proof) decides.
    ///
    /// # Errors
    /// [`Refusal`] if it will be refused whatever its body is.
    pub fn check_head(&self, authorization: &Authorization) -> Result<(), Refusal> {
        let key = self.find(authorization.client).ok_or(Refusal::Unknown)?;
        let record = self.clients.get(key).ok_or(Refusal::Unknown)?;
        let unused = record.window.check(authorization.counter);
        unused.map_err(|_| Refusal::Replayed)
    }

    /// Whether the request comes from the client that it names. Each counter
    /// is good for one request.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then.
    pub fn handle_proof(
        &mut self,
        now: Instant,
        authorization: &Authorization,
        request: &proof::Request<'_>,
    ) -> Result<Key, Refusal> {
        self.now = self.now.max(now);
        let key = self.find(authorization.client).ok_or(Refusal::Unknown)?;
        let record = self.clients.get_mut(key).ok_or(Refusal::Unknown)?;
        if !authorization.proves(&record.key, request) {
            return Err(Refusal::Unproven);
        }
        record
            .window
            .accept(authorization.counter)
            .map_err(|_| Refusal::Replayed)?;
        if !core::mem::replace(&mut record.proven, true) {
            self.rearm(key);
        }
        Ok(key)
    }

    /// The client's persistent connection opened (`Some`) or is gone. Returns
    /// the one that it had before.
    pub fn set_connection(&mut self, client: Key, conn: Option<ConnId>) -> Option<ConnId> {
        let record = self.clients.get_mut(client)?;
        core::mem::replace(&mut record.connection, conn)
    }

    /// The handle of a registered client.
    pub fn find(&self, id: ClientId) -> Option<Key> {
        let hash = self.by_id.hash(&id.0);
        let place = self.by_id.find(hash, |place| {
            let key = self.clients.key_at(place as usize);
            key.and_then(|key| self.clients.get(key))
                .is_some_and(|record| record.id == id)
        })?;
        self.clients.key_at(place as usize)
    }

    /// A registered client.
    pub fn get(&self, client: Key) -> Option<&ClientRecord> {
        self.clients.get(client)
    }

    /// The first client at or behind a place, to page through all of them.
    pub fn next_from(&self, place: usize) -> Option<(Key, &ClientRecord)> {
        let key = self.clients.next_from(place)?;
        self.clients.get(key).map(|record| (key, record))
    }

    /// How many clients are registered.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether no client is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Refusal> {
        if request.protocol != PROTOCOL {
            return Err(Refusal::Protocol);
        }
        let hostname = &request.hostname;
        let length_fits = (1..=self.limits.hostname_bytes_max).contains(&hostname.len());
        if !length_fits || hostname.chars().any(char::is_control) {
            return Err(Refusal::Hostname);
        }
        let interfaces = &request.interfaces;
        if interfaces.len() > self.limits.interfaces_max
            || !interfaces.iter().all(Interface::is_valid)
        {
            return Err(Refusal::Interfaces);
        }
        Ok(())
    }

    fn may_carry_secrets(&self, observed: IpAddr, secure: bool) -> bool {
        secure || observed.to_canonical().is_loopback() || self.settings.secrets_over_plaintext
    }

    /// Makes or renews the record of a client whose identity is beyond doubt.
    fn admit(
        &mut self,
        id: ClientId,
        observed: IpAddr,
        request: &Request<'_>,
        first: bool,
    ) -> Result<Admission, Refusal> {
        let known = self.find(id);
        if let Some(record) = known.and_then(|key| self.clients.get(key))
            && request.registration <= record.registration
        {
            return Err(Refusal::Replayed);
        }
        if known.is_none() && self.clients.is_full() {
            return Err(Refusal::Full);
        }
        let nonce = self.random.bytes();
        let secret = self.settings.key.client_secret(id);
        let session = Session {
            client: id,
            registration: request.registration,
            incarnation: self.settings.incarnation,
            nonce,
        };
        let verdict = self.judge(request);
        let record = ClientRecord {
            id,
            hostname: request.hostname.as_ref().into(),
            interfaces: request.interfaces.as_slice().into(),
            observed,
            udp_port: request.udp_port,
            registered_at: self.now,
            connection: None,
            granted: verdict.granted,
            proven: !first,
            registration: request.registration,
            key: secret.session_key(&session),
            window: ReplayWindow::default(),
            expiry: None,
        };
        let client = match known {
            Some(key) => self.renew(key, record),
            None => self.insert(record)?,
        };
        let answer = Answer {
            protocol: PROTOCOL,
            client: id,
            secret: first.then_some(Hex(secret.0)),
            incarnation: self.settings.incarnation.0,
            nonce: Hex(nonce),
            register_again_s: u32::try_from(self.settings.period.as_secs()).unwrap_or(u32::MAX),
            notified: None,
            return_window_ms: 0,
            separated: None,
            persistent_connection: Some(verdict),
        };
        Ok(Admission {
            client,
            new: known.is_none(),
            answer,
        })
    }

    fn judge(&self, request: &Request<'_>) -> Verdict {
        let reason = match (
            self.settings.persistent_connections,
            request.persistent_connection,
        ) {
            (false, _) => Some("disabled"),
            (true, false) => Some("not_asked"),
            (true, true) => None,
        };
        Verdict {
            granted: reason.is_none(),
            wait_ms: 0,
            valid_ms: 0,
            reason: reason.map(Into::into),
        }
    }

    fn insert(&mut self, record: ClientRecord) -> Result<Key, Refusal> {
        let id = record.id;
        let key = self.clients.insert(record).map_err(|_| Refusal::Full)?;
        let hash = self.by_id.hash(&id.0);
        if self.by_id.insert(hash, key.index() as u32).is_err() {
            self.clients.remove(key);
            return Err(Refusal::Full);
        }
        self.rearm(key);
        Ok(key)
    }

    fn renew(&mut self, key: Key, record: ClientRecord) -> Key {
        if let Some(kept) = self.clients.get_mut(key) {
            let (connection, expiry) = (kept.connection, kept.expiry);
            *kept = ClientRecord {
                connection,
                expiry,
                ..record
            };
        }
        self.rearm(key);
        key
    }

    fn rearm(&mut self, key: Key) {
        let period = self.settings.period;
        let Some(record) = self.clients.get_mut(key) else {
            return;
        };
        // A client moves its next registration by up to a tenth of the period.
        let life = period
            .saturating_mul(self.settings.missed_periods_max.max(1))
            .saturating_add(period / 10);
        let life = match record.proven {
            true => life,
            false => life.min(self.settings.newcomer_life),
        };
        let at = self.now + life;
        let moved = record
            .expiry
            .is_some_and(|timer| self.expiries.reschedule(timer, at));
        if !moved {
            // There is a timer for each client, so there is room.
            record.expiry = self.expiries.insert(at, key).ok();
        }
    }

    fn remove(&mut self, key: Key) -> Option<ClientRecord> {
        let record = self.clients.remove(key)?;
        self.by_id.remove(key.index() as u32);
        Some(record)
    }
}

impl Machine for Registry {
    type Effect = RegistryEffect;

    fn poll_timeout(&self) -> Option<Instant> {
        self.expiries.next_deadline()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn poll(&mut self) -> Option<RegistryEffect> {
        while let Some(client) = self.expiries.expire(self.now) {
            if let Some(record) = self.clients.get_mut(client) {
                record.expiry = None;
                if record.connection.is_some() {
                    // An open connection is a sign of life.
                    self.rearm(client);
                } else if let Some(record) = self.remove(client) {
                    return Some(RegistryEffect::Forgotten {
                        client,
                        id: record.id,
                    });
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let settings = RegistrySettings {
            key: MasterKey([7; 32]),
            incarnation: Incarnation(1),
            period: Duration::from_secs(60),
            missed_periods_max: 1,
            newcomer_life: Duration::from_secs(600),
            persistent_connections: true,
            secrets_over_plaintext: true,
        };
        let limits = RegistryLimits {
            clients_max: 1,
            ..RegistryLimits::default()
        };
        Registry::new(settings, limits, Random::from_seed([4; 32]))
    }

    fn register(registry: &mut Registry, now: Instant) -> Result<Answer, Refusal> {
        let body = br#"{"protocol":1,"registration":1,"hostname":"h"}"#;
        let peer = SocketAddr::new(IpAddr::from([10, 0, 0, 1]), 4_000);
        let told = registry.handle_registration(now, peer, true, "/v1/register", None, body);
        told.map(|told| told.answer)
    }

    #[test]
    fn a_refusal_for_want_of_room_leaves_no_trace() {
        let later = Instant::ORIGIN + Duration::from_secs(600);
        let identities = [0, 3].map(|refusals| {
            let mut registry = registry();
            assert!(register(&mut registry, Instant::ORIGIN).is_ok());
            for _ in 0..refusals {
                let refused = register(&mut registry, Instant::ORIGIN);
                assert_eq!(refused, Err(Refusal::Full));
            }
            registry.handle_timeout(later);
            assert!(registry.poll().is_some(), "the first one is forgotten");
            register(&mut registry, later).expect("there is room again")
        });
        assert_eq!(identities[0], identities[1]);
    }
}
