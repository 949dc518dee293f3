//! What is asked of the relay over HTTP, one thing at a time.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::event::{Event, Failure};
use super::{Client, Conn, Session, Stage};
use crate::http::RequestHead;
use crate::notify::body::{Inbox, decode_payload};
use crate::notify::{Handle, Order, Received};
use crate::registration::body::{Answer, PROTOCOL, Request};
use crate::wire::message::{Notification, Reply};
use crate::wire::proof::{self, BodyDigest, ClientSecret};
use crate::{ClientId, Close, Incarnation, Instant, Key, NotificationId};

/// A number that was used before means that the file of the identity is older
/// than what the relay knows: a restored backup. This far ahead it goes on.
const REPLAYED_SKIP: u64 = 1 << 16;

/// How long nothing but a registration is asked after a failure.
const REST: Duration = Duration::from_secs(60);

/// What the client wants to ask.
#[derive(Default)]
pub(super) struct Asking {
    pub(super) register: bool,
    pub(super) inbox: bool,
    /// A notification of the persistent connection found no room. Until the
    /// inbox was read to its end, the ones behind it are left to that too, so
    /// that none is passed over.
    pub(super) behind: bool,
    pub(super) current: Option<Question>,
    pub(super) resting_until: Option<Instant>,
}

/// A registration that the relay admitted, and that waits for the disk.
pub(super) struct Admitted {
    client: ClientId,
    session: Session,
    period: Duration,
    /// How long to wait before the persistent connection is opened.
    grant: Option<Duration>,
    notified: Option<NotificationId>,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Register,
    Reply(Handle, NotificationId),
    Inbox,
}

impl Question {
    const fn text(self) -> &'static str {
        match self {
            Self::Register => "registration",
            Self::Reply(..) => "reply",
            Self::Inbox => "inbox",
        }
    }
}

impl Asking {
    /// Wants nothing more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Client {
    /// What to ask next.
    pub(super) fn next_question(&self) -> Option<Question> {
        if self.asking.register {
            return self.keeper.is_saved().then_some(Question::Register);
        }
        self.session.as_ref()?;
        if self.asking.resting_until.is_some() {
            return None;
        }
        if let Some((handle, reply)) = self.mailbox.next_reply()
            && !self.is_for_line(reply)
        {
            return Some(Question::Reply(handle, reply.notification));
        }
        (self.asking.inbox && self.mailbox.has_room()).then_some(Question::Inbox)
    }

    /// Whether the reply travels on the persistent connection.
    fn is_for_line(&self, reply: Reply<'_>) -> bool {
        let conn = self.line.and_then(|key| self.conns.get(key));
        conn.is_some_and(|conn| match &conn.stage {
            Stage::Line(line) => !line.greeted || line.carries(reply),
            _ => true,
        })
    }

    /// Asks the next thing on the connection, or ends it.
    pub(super) fn ask(&mut self, control: Key) {
        match self.next_question() {
            Some(question) => {
                self.asking.current = Some(question);
                let asked = match question {
                    Question::Register => self.ask_register(control),
                    Question::Reply(handle, id) => self.ask_reply(control, handle, id),
                    Question::Inbox => self.ask_inbox(control),
                };
                if !asked {
                    self.end(control, Close::Abort);
                    self.question_failed(Failure::Full);
                }
            }
            None => self.end(control, Close::Finish),
        }
    }

    fn ask_register(&mut self, control: Key) -> bool {
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
            local: None,
            instance: None,
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

    fn ask_reply(&mut self, control: Key, handle: Handle, id: NotificationId) -> bool {
        let Some(reply) = self.mailbox.reply_of(handle) else {
            return false;
        };
        let body: Vec<u8> = reply.payload.into();
        self.mailbox.handle_sent(handle);
        let target = alloc::format!("/v1/replies/{id}");
        let authorization = self.prove("POST", &target, &body);
        let content_type = Some("application/octet-stream");
        self.send(
            control,
            "POST",
            &target,
            authorization,
            content_type,
            &body,
            None,
        )
    }

    fn ask_inbox(&mut self, control: Key) -> bool {
        self.asking.inbox = false;
        let target = self.with_after("/v1/inbox");
        let authorization = self.prove("GET", &target, &[]);
        self.send(control, "GET", &target, authorization, None, &[], None)
    }

    /// Asks for the persistent connection on a connection that was opened.
    pub(super) fn ask_connect(&mut self, line: Key) -> bool {
        let target = self.with_after("/v1/connect");
        let authorization = self.prove("GET", &target, &[]);
        self.send(
            line,
            "GET",
            &target,
            authorization,
            None,
            &[],
            Some("tautline"),
        )
    }

    /// The target with the newest notification that was seen, if one was.
    fn with_after(&self, path: &str) -> String {
        match self.mailbox.seen() {
            NotificationId(0) => path.into(),
            seen => alloc::format!("{path}?after={seen}"),
        }
    }

    fn prove(&mut self, method: &str, target: &str, body: &[u8]) -> Option<String> {
        let (id, _) = self.keeper.identity()?;
        let session = self.session.as_mut()?;
        session.counter += 1;
        let covered = proof::Request {
            method,
            target,
            body: BodyDigest::of(body),
        };
        Some(covered.prove(&session.key, id, session.counter).to_string())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    fn send(
        &mut self,
        key: Key,
        method: &str,
        target: &str,
        authorization: Option<String>,
        content_type: Option<&str>,
        body: &[u8],
        upgrade: Option<&str>,
    ) -> bool {
        let host = self.settings.relay.authority();
        let headers: Vec<(&str, &str)> = [
            content_type.map(|value| ("Content-Type", value)),
            authorization
                .as_deref()
                .map(|value| ("Authorization", value)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let head = RequestHead {
            method,
            target,
            host: &host,
            headers: &headers,
            upgrade,
            close: false,
        };
        let Some(Conn {
            stage: Stage::Http(http),
            ..
        }) = self.conns.get_mut(key)
        else {
            return false;
        };
        http.request(self.now, &head, body, &mut self.pool).is_ok()
    }

    /// The answer to what was asked is complete.
    pub(super) fn answered(&mut self, control: Key) {
        let Some(question) = self.asking.current.take() else {
            return;
        };
        let Some(Conn {
            stage: Stage::Http(http),
            ..
        }) = self.conns.get_mut(control)
        else {
            return;
        };
        let status = http.response().map_or(0, |response| response.status());
        let body: Vec<u8> = http.body().into();
        http.finish(&mut self.pool);
        match question {
            Question::Register => self.registered(status, &body),
            Question::Reply(_, id) => self.replied(id, status),
            Question::Inbox => self.inboxed(status, &body),
        }
        if status == 401 && question != Question::Register {
            self.unknown_to_relay();
        }
        let reusable = self
            .conns
            .get(control)
            .is_some_and(|conn| matches!(&conn.stage, Stage::Http(http) if http.is_ready()));
        if reusable {
            self.ask(control);
        }
    }

    /// The question could not be brought to an answer.
    pub(super) fn question_failed(&mut self, why: Failure) {
        let Some(question) = self.asking.current.take().or_else(|| self.next_question()) else {
            return;
        };
        self.events.push_back(Event::Failed {
            what: question.text(),
            why,
        });
        match question {
            Question::Register => {
                self.asking.register = false;
                self.registrar.handle_failed(self.now);
            }
            // It goes with the next registration, connection or poll.
            Question::Reply(..) => self.mailbox.handle_way_lost(),
            Question::Inbox => self.asking.inbox = self.asking.behind,
        }
        self.rest();
    }

    fn registered(&mut self, status: u16, body: &[u8]) {
        self.asking.register = false;
        let answer = serde_json::from_slice::<Answer>(body).ok();
        let Some(answer) = answer.filter(|answer| status == 200 && self.is_for_us(answer)) else {
            let why = if status == 200 {
                Failure::Answer
            } else {
                Failure::Status(status)
            };
            self.events.push_back(Event::Failed {
                what: Question::Register.text(),
                why,
            });
            if status == 409 {
                self.keeper.take_number(REPLAYED_SKIP);
            }
            self.registrar.handle_failed(self.now);
            return;
        };
        let incarnation = answer.incarnation();
        let secret = match (answer.secret, self.keeper.identity()) {
            (Some(secret), None) => {
                let secret = ClientSecret(secret.0);
                self.keeper.take_identity(answer.client, secret.clone());
                secret
            }
            (_, Some((_, secret))) => secret.clone(),
            (None, None) => return,
        };
        let session = proof::Session {
            client: answer.client,
            registration: self.keeper.registration(),
            incarnation,
            nonce: answer.nonce.0,
        };
        // An answer without a verdict is an older relay's: not enabled.
        let verdict = answer
            .persistent_connection
            .as_ref()
            .filter(|verdict| verdict.granted);
        self.admitted = Some(Admitted {
            client: answer.client,
            session: Session {
                key: secret.session_key(&session),
                incarnation,
                counter: 0,
            },
            period: Duration::from_secs(answer.register_again_s.into()),
            grant: verdict.map(|verdict| Duration::from_millis(verdict.wait_ms.into())),
            notified: answer.notified,
        });
    }

    /// The registration stands, and the identity is on disk.
    pub(super) fn settle(&mut self, admitted: Admitted) {
        let Admitted {
            client,
            session,
            period,
            grant,
            notified,
        } = admitted;
        let incarnation = session.incarnation;
        self.mailbox.handle_incarnation(incarnation, notified);
        self.session = Some(session);
        self.registrar.handle_registered(self.now, period);
        match grant {
            Some(wait) => self.pcc.handle_granted(self.now, wait),
            None => self.pcc.handle_denied(),
        }
        self.heard_at = self.now;
        self.asking.resting_until = None;
        // Without a connection, what was said meanwhile is in the inbox.
        self.asking.inbox = grant.is_none();
        let granted = grant.is_some();
        self.events.push_back(Event::Registered {
            client,
            incarnation,
            granted,
        });
    }

    /// Whether the answer is one to this client's registration.
    fn is_for_us(&self, answer: &Answer) -> bool {
        match self.keeper.identity() {
            Some((id, _)) => answer.client == id,
            None => answer.secret.is_some(),
        }
    }

    fn replied(&mut self, id: NotificationId, status: u16) {
        match status {
            200..300 | 403 | 404 | 413 => self.mailbox.handle_taken(id),
            _ => self.mailbox.handle_way_lost(),
        }
        if !matches!(status, 200..300) {
            let why = Failure::Status(status);
            self.events.push_back(Event::Failed { what: "reply", why });
            self.rest();
        }
    }

    fn inboxed(&mut self, status: u16, body: &[u8]) {
        let inbox = serde_json::from_slice::<Inbox>(body)
            .ok()
            .filter(|_| status == 200);
        let Some(inbox) = inbox else {
            let why = if status == 200 {
                Failure::Answer
            } else {
                Failure::Status(status)
            };
            self.events.push_back(Event::Failed {
                what: Question::Inbox.text(),
                why,
            });
            if self.asking.behind {
                self.asking.inbox = true;
                self.rest();
            }
            return;
        };
        let known = self.session.as_ref().map(|session| session.incarnation);
        if known.is_some_and(|known| known != Incarnation(inbox.incarnation)) {
            self.unknown_to_relay();
        }
        let seen = self.mailbox.seen();
        let mut has_room = true;
        for item in &inbox.notifications {
            let Some(payload) = decode_payload(&item.payload_base64) else {
                continue;
            };
            let message = Notification {
                id: item.notification,
                lifetime_s: item.lifetime_s,
                reply_window_ms: item.reply_window_ms,
                payload: &payload,
            };
            if !self.notified(&message) {
                has_room = false;
                break;
            }
        }
        // A relay that promises more and has nothing new is not asked in a loop.
        let more = inbox.more && self.mailbox.seen() != seen;
        self.asking.inbox |= more || !has_room;
        self.asking.behind &= self.asking.inbox;
    }

    /// A notification arrived; returns whether it found room.
    pub(super) fn notified(&mut self, message: &Notification<'_>) -> bool {
        self.heard_at = self.now;
        let order = Order::InOrder;
        match self.mailbox.handle_notification(self.now, message, order) {
            Received::New(notification) => {
                let id = message.id;
                self.events
                    .push_back(Event::Notification { notification, id });
                true
            }
            Received::TooLong => {
                let what = "notification";
                self.events.push_back(Event::Failed {
                    what,
                    why: Failure::Full,
                });
                true
            }
            Received::Known => true,
            Received::Full | Received::OutOfOrder => false,
        }
    }

    /// The relay is another run, or knows the client no more.
    pub(super) fn unknown_to_relay(&mut self) {
        self.session = None;
        self.registrar.handle_lost(self.now, None);
    }

    /// After a failure nothing but a registration is asked for a while: a
    /// relay that refuses is not asked in a loop.
    fn rest(&mut self) {
        self.asking.resting_until = Some(self.now + REST);
    }
}
