//! The registration: what is stated, and what the answer brings.

use alloc::borrow::Cow;
use alloc::string::ToString as _;
use core::time::Duration;

use serde::Deserialize;

use super::asking::Question;
use super::event::{Event, Failure};
use super::{Client, Session};
use crate::http::problem::NAMESPACE;
use crate::registration::Refusal;
use crate::registration::body::{Answer, HeartbeatFigures, PROTOCOL, Request, Verdict};
use crate::wire::message::ByeReason;
use crate::wire::proof::{self, BodyDigest, ClientSecret, same_secret};
use crate::{ClientId, Key, Machine as _, NotificationId};

/// A number that was used before means that the file of the identity is older
/// than what the relay knows: a restored backup. This far ahead it goes on.
const REPLAYED_SKIP: u64 = 1 << 16;

/// A registration that the relay admitted, and that waits for the disk.
pub(super) struct Admitted {
    /// The identity that another machine has too, if this is a new one.
    separated_from: Option<ClientId>,
    session: Session,
    period: Duration,
    grant: Option<Grant>,
    /// Why there is no grant.
    reason: Option<&'static str>,
    return_window: Option<Duration>,
    notified: Option<NotificationId>,
    heartbeat: Option<HeartbeatFigures>,
}

/// A persistent connection is granted.
struct Grant {
    /// How long to wait before it is opened.
    wait: Duration,
    /// How long the grant holds, if the relay said so.
    valid: Option<Duration>,
}

impl Grant {
    /// An answer without a verdict is an older relay's: not enabled.
    fn of(verdict: Option<&Verdict>) -> Option<Self> {
        let verdict = verdict.filter(|verdict| verdict.granted)?;
        Some(Self {
            wait: Duration::from_millis(verdict.wait_ms.into()),
            valid: stated_ms(verdict.valid_ms),
        })
    }
}

/// A span that a relay stated in milliseconds; 0 is none.
fn stated_ms(ms: u32) -> Option<Duration> {
    (ms != 0).then(|| Duration::from_millis(ms.into()))
}

/// The body of an answer that is a refusal (RFC 9457).
#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

/// Whether the refusal says that another machine has the same identity.
fn is_cloned(body: &[u8]) -> bool {
    let problem = serde_json::from_slice::<Problem<'_>>(body);
    problem
        .is_ok_and(|problem| problem.kind.strip_prefix(NAMESPACE) == Some(Refusal::Cloned.name()))
}

impl Client {
    pub(super) fn ask_register(&mut self, control: Key) -> bool {
        let registration = self.keeper.registration();
        let identity = self.keeper.identity();
        let request = Request {
            protocol: PROTOCOL,
            client: identity.map(|(id, _)| id),
            registration,
            hostname: self.settings.hostname.as_ref().into(),
            interfaces: self.settings.interfaces.clone(),
            udp_port: self.settings.udp_port,
            persistent_connection: self.settings.persistent_connection,
            local: self.conns.get(control).and_then(|conn| conn.local),
            instance: Some(self.instance),
            heartbeat: self.watch.stated(),
        };
        let Ok(body) = serde_json::to_vec(&request) else {
            return false;
        };
        let target = "/v1/register";
        let covered = proof::Request {
            method: "POST",
            target,
            body: BodyDigest::of(&body),
        };
        let authorization = identity.map(|(id, secret)| {
            covered
                .prove_registration(secret, id, registration)
                .to_string()
        });
        self.send(
            control,
            "POST",
            target,
            authorization,
            Some("application/json"),
            &body,
            None,
        )
    }

    /// The answer to a registration with this relay is complete.
    pub(super) fn registered(&mut self, relay: usize, status: u16, body: &[u8]) {
        self.asking.register = false;
        let answer = serde_json::from_slice::<Answer>(body).ok();
        let Some(answer) = answer.filter(|answer| status == 200 && self.is_for_us(answer)) else {
            let why = match status {
                200 => Failure::Answer,
                409 if is_cloned(body) => Failure::Cloned,
                _ => Failure::Status(status),
            };
            if why == Failure::Status(409) {
                self.keeper.take_number(REPLAYED_SKIP);
            }
            return self.registration_failed(relay, why);
        };
        let incarnation = answer.incarnation();
        let known = self.keeper.identity();
        let separated_from = known.map(|(id, _)| id).filter(|id| *id != answer.client);
        let secret = match (answer.secret, known) {
            (_, Some((id, secret))) if id == answer.client => secret.clone(),
            (Some(secret), _) => {
                let secret = ClientSecret(secret.0);
                self.keeper.take_identity(answer.client, secret.clone());
                secret
            }
            (None, _) => return,
        };
        let session = proof::Session {
            client: answer.client,
            registration: self.keeper.registration(),
            incarnation,
            nonce: answer.nonce.0,
        };
        self.admitted = Some(Admitted {
            separated_from,
            session: Session {
                client: answer.client,
                relay,
                key: secret.session_key(&session),
                incarnation,
                counter: 0,
            },
            period: Duration::from_secs(answer.register_again_s.into()),
            grant: Grant::of(answer.persistent_connection.as_ref()),
            reason: answer
                .persistent_connection
                .and_then(|it| it.known_reason()),
            return_window: stated_ms(answer.return_window_ms),
            notified: answer.notified,
            heartbeat: answer.heartbeat,
        });
    }

    /// The relay could not be asked to register the client, or would not.
    pub(super) fn registration_failed(&mut self, relay: usize, why: Failure) {
        self.asking.register = false;
        self.events.push_back(Event::Failed {
            what: Question::Register.text(),
            why,
        });
        self.registrar.handle_failed(self.now);
        self.selector.handle_failed(self.now, relay);
    }

    /// The registration stands, and the identity is on disk.
    pub(super) fn settle(&mut self, admitted: Admitted) {
        let Admitted {
            separated_from,
            session,
            period,
            grant,
            reason,
            return_window,
            notified,
            heartbeat,
        } = admitted;
        let (client, incarnation) = (session.client, session.incarnation);
        self.leave_other(&session);
        self.selector.handle_worked(self.now, session.relay);
        self.mailbox.handle_incarnation(incarnation, notified);
        self.inbound
            .begin(self.session.take().map(|session| session.key));
        self.session = Some(session);
        self.stale = false;
        self.return_window = return_window;
        self.registrar.handle_registered(self.now, period);
        match &grant {
            Some(grant) => self.pcc.handle_granted(self.now, grant.wait, grant.valid),
            None => self.pcc.handle_denied(),
        }
        self.heard_at = self.now;
        self.asking.resting_until = None;
        // Who connects at once proves itself by that, and is told by it what
        // was said meanwhile. To any other the inbox does both.
        self.asking.inbox |= grant.as_ref().is_none_or(|grant| !grant.wait.is_zero());
        if let Some(from) = separated_from {
            self.events.push_back(Event::Separated { from, client });
        }
        let granted = grant.is_some();
        self.events.push_back(Event::Registered {
            client,
            incarnation,
            granted,
            reason: reason.filter(|_| !granted),
        });
        self.heed(heartbeat);
    }

    /// What belongs to another relay or another identity than the new session
    /// is given up.
    fn leave_other(&mut self, new: &Session) {
        let session = self.session.as_ref();
        if session.is_some_and(|old| (old.relay, old.client) != (new.relay, new.client)) {
            self.leave_line(ByeReason::Replaced);
            self.pcc.handle_denied();
            // The connection is left already.
            while self.pcc.poll().is_some() {}
            self.session = None;
        }
    }

    /// Whether the answer is one to this client's registration. Another
    /// identity than its own it takes only with the proof that the relay knows
    /// the secret of its own.
    fn is_for_us(&self, answer: &Answer) -> bool {
        let Some((id, secret)) = self.keeper.identity() else {
            return answer.secret.is_some();
        };
        if answer.client == id {
            return true;
        }
        let right = secret.separation(id, answer.client, self.keeper.registration());
        let proof = answer.separated.filter(|_| answer.secret.is_some());
        proof.is_some_and(|proof| same_secret(&proof.0, &right))
    }
}
