//! What is asked of the relay over HTTP, one thing at a time.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::event::Failure;
use super::settings::RelayAddress;
use super::{Client, Conn, Stage};
use crate::http::RequestHead;
use crate::notify::Handle;
use crate::wire::message::Reply;
use crate::wire::proof::{self, BodyDigest};
use crate::{Close, Instant, Key, NotificationId};

/// What the client wants to ask.
#[derive(Default)]
pub(super) struct Asking {
    pub(super) register: bool,
    pub(super) inbox: bool,
    /// The nonce of a test that came by datagram.
    pub(super) test: Option<u64>,
    /// A notification of the persistent connection found no room. Until the
    /// inbox was read to its end, the ones behind it are left to that too, so
    /// that none is passed over.
    pub(super) behind: bool,
    /// A reply was not taken: the inbox goes before the next one.
    pub(super) inbox_first: bool,
    pub(super) current: Option<Question>,
    pub(super) resting_until: Option<Instant>,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Register,
    Test(u64),
    Reply(Handle, NotificationId),
    Inbox,
}

impl Question {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Register => "registration",
            Self::Test(_) => "test",
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
        // An identity that is not on disk yet is none.
        if self.admitted.is_some() {
            return None;
        }
        if self.asking.resting_until.is_some() {
            return None;
        }
        if let Some(nonce) = self.asking.test {
            return Some(Question::Test(nonce));
        }
        let inbox = self.asking.inbox && self.mailbox.has_room();
        if inbox && self.asking.inbox_first {
            return Some(Question::Inbox);
        }
        if let Some((handle, reply)) = self.mailbox.next_reply()
            && !self.is_for_line(reply)
        {
            return Some(Question::Reply(handle, reply.notification));
        }
        inbox.then_some(Question::Inbox)
    }

    /// Whether the reply travels on the persistent connection.
    fn is_for_line(&self, reply: Reply<'_>) -> bool {
        let conn = self.line.and_then(|key| self.conns.get(key));
        conn.is_some_and(|conn| match &conn.stage {
            Stage::Line(line) => !line.is_deaf && (!line.greeted || line.carries(reply)),
            _ => true,
        })
    }

    /// The inbox had what the persistent connection should have brought: a
    /// firewall may have forgotten it. Replies go by POST until it is heard of
    /// again, also those that were written to it.
    pub(super) fn bypass_line(&mut self) {
        let conn = self.line.and_then(|key| self.conns.get_mut(key));
        if let Some(Stage::Line(line)) = conn.map(|conn| &mut conn.stage)
            && line.greeted
            && !line.is_deaf
        {
            line.is_deaf = true;
            self.mailbox.handle_way_lost();
        }
    }

    /// Whom to ask, by its place in the list: a session is good with the relay
    /// that it was agreed with.
    pub(super) fn relay_of(&self, question: Question) -> usize {
        match (question, &self.session) {
            (Question::Test(_) | Question::Reply(..) | Question::Inbox, Some(session)) => {
                session.relay
            }
            _ => self.selector.relay(),
        }
    }

    /// Asks the next thing on the connection, or ends it if there is nothing,
    /// or nothing for the relay that it leads to.
    pub(super) fn ask(&mut self, control: Key) {
        let leads_to = self.conns.get(control).map(|conn| conn.relay);
        let here = |question: &Question| leads_to == Some(self.relay_of(*question));
        match self.next_question().filter(here) {
            Some(question) => {
                self.asking.current = Some(question);
                let asked = match question {
                    Question::Register => self.ask_register(control),
                    Question::Test(nonce) => self.ask_test(control, nonce),
                    Question::Reply(handle, id) => self.ask_reply(control, handle, id),
                    Question::Inbox => self.ask_inbox(control),
                };
                if !asked {
                    self.end(control, Close::Abort);
                    self.question_failed(leads_to, Failure::Full);
                }
            }
            None => self.end(control, Close::Finish),
        }
    }

    /// Proves that a datagram of the relay arrived.
    fn ask_test(&mut self, control: Key, nonce: u64) -> bool {
        self.asking.test = None;
        let target = alloc::format!("/v1/tests/{nonce:016x}");
        let authorization = self.prove("POST", &target, &[]);
        self.send(control, "POST", &target, authorization, None, &[], None)
    }

    fn ask_reply(&mut self, control: Key, handle: Handle, id: NotificationId) -> bool {
        let Some(reply) = self.mailbox.reply_of(handle) else {
            return false;
        };
        let body: Vec<u8> = reply.payload.into();
        self.mailbox.handle_sent(self.now, handle);
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
        self.asking.inbox_first = false;
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
        let session = self.session.as_mut()?;
        session.counter += 1;
        let covered = proof::Request {
            method,
            target,
            body: BodyDigest::of(body),
        };
        Some(
            covered
                .prove(&session.key, session.client, session.counter)
                .to_string(),
        )
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    pub(super) fn send(
        &mut self,
        key: Key,
        method: &str,
        target: &str,
        authorization: Option<String>,
        content_type: Option<&str>,
        body: &[u8],
        upgrade: Option<&str>,
    ) -> bool {
        let leads_to = self.conns.get(key).map(|conn| conn.relay);
        let relay = leads_to.and_then(|relay| self.settings.relays.get(relay));
        let host = relay.map(RelayAddress::authority).unwrap_or_default();
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
}
