//! How a registration is judged.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::super::body::{Answer, HeartbeatFigures, Hex, Interface, PROTOCOL, Request, Verdict};
use super::holders::{Counted, ReleaseReason, Seat};
use super::record::{ClientRecord, Details, Instances, NO_SITE, Trust};
use super::refusal::{Denial, Refusal};
use super::settings::Role;
use super::subnet::Position;
use super::{Registry, life, subnet};
use crate::wire::proof::{self, Authorization, BodyDigest, ClientSecret, Session};
use crate::wire::replay::ReplayWindow;
use crate::{ClientId, Instant, Key};

/// An admitted registration.
#[derive(Debug)]
pub struct Admission {
    /// The client's handle.
    pub client: Key,
    /// Whether the registry did not know it before.
    pub new: bool,
    /// Whether it was a copy of another client until now: the answer tells it
    /// the identity of its own.
    pub cloned: bool,
    /// Whether it was started since its last registration here, as far as it
    /// says: what it stated then may be other now. So it is of one that is new.
    pub started: bool,
    /// What it says of its heartbeats.
    pub heartbeat: Option<HeartbeatFigures>,
    /// What to tell it.
    pub answer: Answer,
}

/// Who registers, beyond doubt.
struct Applicant {
    id: ClientId,
    secret: ClientSecret,
    /// It is told its secret, and is a newcomer.
    first: bool,
    observed: IpAddr,
}

impl Registry {
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
        let observed = observed.ip().to_canonical();
        let request: Request<'_> = serde_json::from_slice(body).map_err(|_| Refusal::Malformed)?;
        self.check(&request)?;
        let Some(id) = request.client else {
            return self.enrol(observed, secure, &request);
        };
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
        match proven {
            true => self.return_of(id, secret, observed, secure, &request),
            false => Err(Refusal::Unproven),
        }
    }

    /// The part of [`handle_registration`](Self::handle_registration) that is
    /// behind decoding and the proof, for benchmarks.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then.
    #[cfg(feature = "_test")]
    pub fn handle_decoded(
        &mut self,
        now: Instant,
        observed: IpAddr,
        request: &Request<'_>,
    ) -> Result<Admission, Refusal> {
        self.now = self.now.max(now);
        self.check(request)?;
        let id = request.client.ok_or(Refusal::Unknown)?;
        let secret = self.settings.key.client_secret(id);
        self.return_of(id, secret, observed, true, request)
    }

    /// Judges the registration of who has an identity.
    fn return_of(
        &mut self,
        id: ClientId,
        secret: ClientSecret,
        observed: IpAddr,
        secure: bool,
        request: &Request<'_>,
    ) -> Result<Admission, Refusal> {
        let known = self.find(id);
        if let Some(record) = known.and_then(|key| self.clients.get(key)) {
            if request.registration <= record.registration {
                return Err(Refusal::Replayed);
            }
            if record.instances.is_another(request.instance) {
                return self.separate(id, &secret, observed, secure, request);
            }
        }
        let applicant = Applicant {
            id,
            secret,
            first: false,
            observed,
        };
        self.admit(&applicant, known, request)
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

    /// Gives a newcomer an identity.
    fn enrol(
        &mut self,
        observed: IpAddr,
        secure: bool,
        request: &Request<'_>,
    ) -> Result<Admission, Refusal> {
        if !self.may_carry_secrets(observed, secure) {
            return Err(Refusal::SecretInClear);
        }
        // Before anything is drawn: a refusal leaves no trace.
        if self.clients.is_full() {
            return Err(Refusal::Full);
        }
        self.newcomers.check(observed)?;
        let id = ClientId(self.random.bytes());
        let applicant = Applicant {
            id,
            secret: self.settings.key.client_secret(id),
            first: true,
            observed,
        };
        self.admit(&applicant, None, request)
    }

    /// Makes a client of its own out of the copy of another. The number of
    /// this registration is used up under the old identity, so that nobody can
    /// repeat it; nothing else of the other machine is touched.
    fn separate(
        &mut self,
        from: ClientId,
        shared: &ClientSecret,
        observed: IpAddr,
        secure: bool,
        request: &Request<'_>,
    ) -> Result<Admission, Refusal> {
        let enrolled = self.enrol(observed, secure, request);
        let mut admission = enrolled.map_err(|why| match why {
            Refusal::SecretInClear => Refusal::Cloned,
            why => why,
        })?;
        let original = self.find(from);
        if let Some(record) = original.and_then(|key| self.clients.get_mut(key)) {
            record.registration = request.registration;
        }
        let to = admission.answer.client;
        let proof = shared.separation(from, to, request.registration);
        admission.answer.separated = Some(Hex(proof));
        admission.cloned = true;
        self.separated += 1;
        Ok(admission)
    }

    fn may_carry_secrets(&self, observed: IpAddr, secure: bool) -> bool {
        secure || observed.is_loopback() || self.settings.secrets_over_plaintext
    }

    /// Makes or renews the record of a client, and judges its wish.
    fn admit(
        &mut self,
        applicant: &Applicant,
        known: Option<Key>,
        request: &Request<'_>,
    ) -> Result<Admission, Refusal> {
        if known.is_none() && self.clients.is_full() {
            return Err(Refusal::Full);
        }
        let observed = applicant.observed;
        let nonce = self.random.bytes();
        let session = Session {
            client: applicant.id,
            registration: request.registration,
            incarnation: self.settings.incarnation,
            nonce,
        };
        let position = Position::of(request, observed, self.sites.find(observed));
        Details::pack(request, observed, position.interface, &mut self.scratch);
        let fresh = self.fresh(applicant, &session, request, &position);
        let before = known.and_then(|key| self.clients.get(key));
        let started = before.is_none_or(|record| !record.instances.is_current(fresh.instances));
        let client = match known {
            Some(key) => self.renew(key, fresh),
            None => self.insert(fresh),
        }?;
        self.settle(client, known.is_some(), &position, applicant)?;
        let verdict = self.judge(client, request, position.name, observed);
        let secret = applicant.first.then_some(Hex(applicant.secret.0));
        Ok(Admission {
            client,
            new: known.is_none(),
            cloned: false,
            started,
            heartbeat: request.heartbeat,
            answer: self.answer(applicant.id, secret, nonce, verdict),
        })
    }

    /// The record as it is without a history; the details are packed.
    fn fresh(
        &self,
        applicant: &Applicant,
        session: &Session,
        request: &Request<'_>,
        position: &Position,
    ) -> ClientRecord {
        let mut instances = Instances::default();
        instances.note(request.instance);
        ClientRecord {
            id: applicant.id,
            udp_port: request.udp_port,
            registered_at: self.now,
            subnet: Key::new(0, 0),
            site: position.site.unwrap_or(NO_SITE),
            details: Details::default(),
            key: applicant.secret.session_key(session),
            registration: request.registration,
            window: ReplayWindow::default(),
            datagrams: 0,
            instances,
            expiry: None,
            seat: Seat::NONE,
            // A registration alone may be a recording of another run or relay.
            trust: Trust::Stranger,
            connected: false,
            denied: None,
            udp_proven: false,
        }
    }

    fn insert(&mut self, mut fresh: ClientRecord) -> Result<Key, Refusal> {
        let id = fresh.id;
        fresh.details.update(&self.scratch);
        let key = self.clients.insert(fresh).map_err(|_| Refusal::Full)?;
        let hash = self.by_id.hash(&id.0);
        if self.by_id.insert(hash, key.index() as u32).is_err() {
            self.clients.remove(key);
            return Err(Refusal::Full);
        }
        Ok(key)
    }

    /// What outlives a registration is taken over.
    fn renew(&mut self, key: Key, fresh: ClientRecord) -> Result<Key, Refusal> {
        let kept = self.clients.get_mut(key).ok_or(Refusal::Unknown)?;
        let address = kept.udp_address();
        // Who was given its identity here, and now registers by it, is no
        // recording of another run or relay. Who comes from elsewhere may be.
        let before = match kept.trust {
            Trust::Stranger if self.newcomers.leave(key.index() as u32) => Trust::Proven,
            trust => trust,
        };
        let from = kept.observed();
        let mut details = core::mem::take(&mut kept.details);
        details.update(&self.scratch);
        let mut instances = kept.instances;
        instances.take_over(fresh.instances);
        *kept = ClientRecord {
            details,
            instances,
            subnet: kept.subnet,
            expiry: kept.expiry,
            seat: kept.seat,
            connected: kept.connected,
            udp_proven: kept.udp_proven,
            ..fresh
        };
        kept.trust = match before {
            Trust::Proven if kept.observed() != from => Trust::Moved,
            trust => trust,
        };
        // The proof was for the address that it had.
        kept.udp_proven &= kept.udp_address() == address;
        Ok(key)
    }

    /// Puts the client where it belongs: its subnet, the newcomers, its life.
    fn settle(
        &mut self,
        key: Key,
        known: bool,
        position: &Position,
        applicant: &Applicant,
    ) -> Result<(), Refusal> {
        let place = key.index() as u32;
        let record = self.clients.get_mut(key).ok_or(Refusal::Unknown)?;
        let stays = known && self.subnets.name(record.subnet) == Some(position.name);
        if !stays {
            let Ok(subnet) = self.subnets.join(position.name, place) else {
                // There is a subnet for each client, so there is room.
                self.remove(key);
                return Err(Refusal::Full);
            };
            record.subnet = subnet;
        }
        if applicant.first && !self.newcomers.join(applicant.observed, place) {
            self.remove(key);
            return Err(Refusal::Full);
        }
        let life = life(&self.settings, record.trust);
        self.arm(key, self.now + life);
        Ok(())
    }

    /// Whether the client may have a persistent connection. Who may not gives
    /// back what it has.
    fn judge(
        &mut self,
        client: Key,
        request: &Request<'_>,
        subnet: subnet::SubnetName,
        observed: IpAddr,
    ) -> Verdict {
        let at = Counted { subnet, observed };
        let seat = self.clients.get(client).map(|record| record.seat);
        let own = seat.and_then(|seat| self.holders.key_of(seat));
        let reason = match (self.settings.persistent_connections, self.settings.role) {
            (false, _) => Err(Denial::Disabled),
            (true, Role::Root) => Err(Denial::Root),
            _ if !request.persistent_connection => Err(Denial::NotAsked),
            _ => self.holders.judge(own, at),
        };
        let reason = reason.err();
        self.verdicts.count(reason.map_or("granted", Denial::name));
        let holder = match reason {
            None => {
                let tested = request.udp_port != 0;
                let test = tested.then(|| self.random.next_u64().max(1));
                let life = self.settings.grant.life();
                self.holders.grant(own, client, at, self.now, life, test)
            }
            Some(_) => own.filter(|own| self.holders.release(*own, ReleaseReason::Denied)),
        };
        if let Some(record) = self.clients.get_mut(client) {
            record.seat = Seat::of(holder);
            record.denied = reason;
        }
        let millis = |span: Duration| match reason {
            None => u32::try_from(span.as_millis()).unwrap_or(u32::MAX),
            Some(_) => 0,
        };
        Verdict {
            granted: reason.is_none(),
            wait_ms: millis(match request.udp_port {
                // No test can come that would be worth the wait.
                0 => Duration::ZERO,
                _ => self.settings.grant.wait,
            }),
            valid_ms: millis(self.settings.grant.valid()),
            reason: reason.map(|why| why.name().into()),
        }
    }

    fn answer(
        &self,
        client: ClientId,
        secret: Option<Hex<32>>,
        nonce: [u8; 16],
        verdict: Verdict,
    ) -> Answer {
        Answer {
            protocol: PROTOCOL,
            client,
            secret,
            incarnation: self.settings.incarnation.0,
            nonce: Hex(nonce),
            register_again_s: u32::try_from(self.settings.period.as_secs()).unwrap_or(u32::MAX),
            notified: None,
            return_window_ms: 0,
            separated: None,
            heartbeat: None,
            persistent_connection: Some(verdict),
        }
    }
}
