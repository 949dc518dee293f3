//! HTTP connections: who answers a request, and the protocol's own paths.

use super::Relay;
use super::answers::{Answer, UPGRADE, connect_refused, json, refused, reply_refused};
use super::connection::{HttpConn, Role, Route};
use super::drive::Step;
use super::event::Event;
use super::routing::membership_of;
use crate::http::{Effect, Reading, Request};
use crate::id::parse_hex;
use crate::notify::body::{Inbox, Item, encode_payload};
use crate::notify::{Order, ReplyRefusal};
use crate::registration::Refusal;
use crate::wire::proof::{self, Authorization, BodyDigest};
use crate::{ConnId, Key, NotificationId, Output, ParseIdError, RequestId};

const REPLIES: &str = "/v1/replies/";
const TESTS: &str = "/v1/tests/";

impl Relay {
    /// Goes on with an HTTP connection: first what its machine wants, then
    /// what it writes.
    pub(super) fn step_http(&mut self, id: ConnId, buf: &mut [u8]) -> Option<Step> {
        loop {
            let conn = self.conns.get_mut(id.key())?;
            let Role::Http(http) = &mut conn.role else {
                return self.again(id);
            };
            let Some(effect) = http.server.poll() else {
                break;
            };
            if let Some(output) = self.translate(id, effect) {
                return Some(Step::Output(output));
            }
            if !self.events.is_empty() {
                return self.again(id);
            }
        }
        let conn = self.conns.get_mut(id.key())?;
        let Role::Http(http) = &mut conn.role else {
            return None;
        };
        if conn.blocked {
            return None;
        }
        let len = http.server.poll_write(self.now, buf, &mut self.pool);
        if len > 0 {
            return Some(Step::Written { conn: id, len });
        }
        None
    }

    /// Has the connection looked at again, behind the events.
    fn again(&mut self, id: ConnId) -> Option<Step> {
        self.wake(id);
        None
    }

    fn translate(&mut self, conn: ConnId, effect: Effect) -> Option<Output<'static, Event>> {
        match effect {
            Effect::Request => self.route(conn),
            Effect::Body => self.tell(conn, |request| Event::RequestBody { request }),
            Effect::BodyEnd => self.handle_body(conn),
            Effect::Pull => self.tell(conn, |request| Event::ResponsePull { request }),
            Effect::Finished { status, aborted } => {
                // The route of an upgrade is needed when the 101 is written.
                if let Some(http) = self.http_of(conn)
                    && status != 101
                {
                    let route = core::mem::replace(&mut http.route, Route::Idle);
                    self.request_over(route, status, aborted);
                }
            }
            Effect::Upgraded => self.handle_upgraded(conn),
            Effect::Refused(why) => self.stats.http_refused.count(why.as_str()),
            Effect::Take { sink, offset, len } => {
                return Some(Output::Take {
                    conn,
                    sink,
                    offset,
                    len,
                });
            }
            Effect::SendFile { file, range } => {
                return Some(Output::SendFile { conn, file, range });
            }
            Effect::Resume => return Some(Output::Resume { conn }),
            Effect::Close(how) => return Some(Output::Close { conn, how }),
        }
        None
    }

    fn http_of(&mut self, conn: ConnId) -> Option<&mut HttpConn> {
        match &mut self.conns.get_mut(conn.key())?.role {
            Role::Http(http) => Some(http),
            Role::Line(_) | Role::Closing(_) => None,
        }
    }

    fn tell(&mut self, conn: ConnId, event: impl FnOnce(RequestId) -> Event) {
        if let Some(HttpConn {
            route: Route::Application(request),
            ..
        }) = self.http_of(conn)
        {
            let event = event(*request);
            self.events.push_back(event);
        }
    }

    /// A head is complete: who answers it?
    fn route(&mut self, conn: ConnId) {
        let Some(http) = self.http_of(conn) else {
            return;
        };
        let Some(request) = http.server.request() else {
            return;
        };
        let (method, path) = (request.method(), request.path());
        match path {
            "/v1/register" if method == "POST" => {
                self.stats.requests.count("register");
                self.read(
                    conn,
                    Route::Register,
                    self.limits.registration_body_bytes_max,
                );
            }
            "/v1/connect" if method == "GET" => {
                self.stats.requests.count("connect");
                self.connect(conn);
            }
            "/v1/inbox" if method == "GET" => {
                self.stats.requests.count("inbox");
                let answer = self.inbox(conn).unwrap_or_else(refused);
                self.answer(conn, &answer);
            }
            _ if path.starts_with(REPLIES) && method == "POST" => {
                self.stats.requests.count("reply");
                match self.reply_refused_early(conn) {
                    Some(answer) => self.answer(conn, &answer),
                    None => {
                        let bytes_max = self.limits.notifier.reply_bytes_max as u64;
                        self.read(conn, Route::Reply, bytes_max);
                    }
                }
            }
            _ if path.starts_with(TESTS) && method == "POST" => {
                self.stats.requests.count("test");
                self.read(conn, Route::Test, 0);
            }
            "/v1/register" => self.wrong_method(conn, "POST"),
            "/v1/connect" | "/v1/inbox" => self.wrong_method(conn, "GET"),
            _ if path.starts_with(REPLIES) || path.starts_with(TESTS) => {
                self.wrong_method(conn, "POST");
            }
            _ => self.hand_over(conn),
        }
    }

    fn read(&mut self, conn: ConnId, route: Route, bytes_max: u64) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(conn.key()) else {
            return;
        };
        let Role::Http(http) = &mut conn.role else {
            return;
        };
        http.route = route;
        // A fresh request can always be read.
        let _ = http
            .server
            .read_body(now, Reading::Whole { bytes_max }, &mut self.pool);
    }

    fn hand_over(&mut self, conn: ConnId) {
        match self.requests.insert(conn) {
            Ok(key) => {
                let request = RequestId::from_key(key);
                if let Some(http) = self.http_of(conn) {
                    http.route = Route::Application(request);
                }
                self.events.push_back(Event::Request { request });
            }
            Err(_) => self.answer(
                conn,
                &Answer::Problem(503, "busy", "Too many requests wait for an answer."),
            ),
        }
    }

    fn handle_body(&mut self, conn: ConnId) {
        let Some(http) = self.http_of(conn) else {
            return;
        };
        match http.route {
            Route::Register => {
                let answer = self.register(conn).unwrap_or_else(refused);
                self.answer(conn, &answer);
            }
            Route::Reply => {
                let answer = self.reply(conn).unwrap_or_else(refused);
                self.answer(conn, &answer);
            }
            Route::Test => {
                let answer = self.test_proven(conn).unwrap_or_else(refused);
                self.answer(conn, &answer);
            }
            Route::Application(_) => {
                self.tell(conn, |request| Event::RequestBodyEnd { request });
            }
            Route::Idle | Route::Connect { .. } => {}
        }
    }

    fn register(&mut self, id: ConnId) -> Result<Answer, Refusal> {
        let Some(conn) = self.conns.get(id.key()) else {
            return Ok(Answer::Nothing);
        };
        let Role::Http(http) = &conn.role else {
            return Ok(Answer::Nothing);
        };
        let Some(request) = http.server.request() else {
            return Ok(Answer::Nothing);
        };
        let authorization = authorization_of(&request);
        let admission = self.registry.handle_registration(
            self.now,
            http.peer,
            http.secure,
            request.target(),
            authorization.as_ref(),
            http.server.body(),
        );
        let mut admission = admission.inspect_err(|why| {
            self.stats.registrations_refused.count(why.name());
            self.events.push_back(Event::RegistrationRefused {
                conn: id,
                why: *why,
            });
        })?;
        if admission.new {
            self.notifier.handle_joined(admission.client);
        }
        admission.answer.notified = Some(self.notifier.sent_through(admission.client));
        admission.answer.return_window_ms = self.return_window_ms();
        self.stats.registrations += 1;
        let client = admission.answer.client;
        self.events.push_back(Event::Registered {
            client,
            new: admission.new,
            cloned: admission.cloned,
        });
        admission.answer.heartbeat = self.compare_heartbeats(&admission);
        if let Some(conn) = self.registry.connection(admission.client) {
            // It may be in another subnet now.
            self.settle_peer(conn);
            self.regroup(conn);
        }
        Ok(json(&admission.answer))
    }

    /// The client that the request on the connection proves to come from.
    fn proven(&mut self, id: ConnId) -> Result<Key, Refusal> {
        let Some(Role::Http(http)) = self.conns.get(id.key()).map(|conn| &conn.role) else {
            return Err(Refusal::Unproven);
        };
        let request = http.server.request().ok_or(Refusal::Unproven)?;
        let authorization = authorization_of(&request).ok_or(Refusal::Unproven)?;
        let covered = proof::Request {
            method: request.method(),
            target: request.target(),
            body: BodyDigest::of(http.server.body()),
        };
        self.registry
            .handle_proof(self.now, &authorization, &covered)
            .inspect_err(|why| self.stats.registrations_refused.count(why.name()))
    }

    /// What the head of a reply shows to be in vain: its body is not read. The
    /// proof itself covers the body.
    fn reply_refused_early(&mut self, id: ConnId) -> Option<Answer> {
        let http = self.http_of(id)?;
        let request = http.server.request()?;
        let notification = request.path().strip_prefix(REPLIES)?.parse().ok();
        let authorization = authorization_of(&request).ok_or(Refusal::Unproven);
        let judged =
            authorization.and_then(|authorization| self.registry.check_head(&authorization));
        if let Err(why) = judged {
            self.stats.registrations_refused.count(why.name());
            return Some(refused(why));
        }
        match notification.and_then(|id| self.notifier.status(id)) {
            Some(_) => None,
            None => {
                self.stats
                    .replies_refused
                    .count(ReplyRefusal::Unknown.name());
                Some(reply_refused(ReplyRefusal::Unknown))
            }
        }
    }

    /// The nonce of a test came back.
    fn test_proven(&mut self, id: ConnId) -> Result<Answer, Refusal> {
        let client = self.proven(id)?;
        let http = self.http_of(id);
        let request = http.as_ref().and_then(|http| http.server.request());
        let nonce = request.and_then(|request| nonce_of(request.path()));
        let right =
            nonce.is_some_and(|nonce| self.registry.handle_test_proof(self.now, client, nonce));
        if right {
            self.stats.tests_proven += 1;
            return Ok(Answer::Nothing);
        }
        let text = "No such test is awaited from this client.";
        Ok(Answer::Problem(404, "no-test", text))
    }

    fn connect(&mut self, id: ConnId) {
        let now = self.now;
        let client = match self.proven(id) {
            Ok(client) => client,
            Err(why) => return self.answer(id, &refused(why)),
        };
        if let Err(why) = self.registry.may_connect(client) {
            return self.answer(id, &connect_refused(why));
        }
        let sent = self.notifier.sent_through(client);
        let Some(conn) = self.conns.get_mut(id.key()) else {
            return;
        };
        let Role::Http(http) = &mut conn.role else {
            return;
        };
        let Ok(after) = http
            .server
            .request()
            .map_or(Ok(None), |request| after_of(&request))
        else {
            return self.answer(id, &WRONG_AFTER);
        };
        let after = after.unwrap_or(sent);
        if http
            .server
            .upgrade(now, &[("Upgrade", UPGRADE)], &mut self.pool)
            .is_ok()
        {
            http.route = Route::Connect { client, after };
        } else {
            let text = "Ask for an upgrade to tautline.";
            self.answer(id, &Answer::Problem(426, "upgrade-required", text));
        }
    }

    fn inbox(&mut self, id: ConnId) -> Result<Answer, Refusal> {
        let client = self.proven(id)?;
        let request = match self.conns.get(id.key()).map(|conn| &conn.role) {
            Some(Role::Http(http)) => http.server.request(),
            _ => None,
        };
        let Ok(after) = request.as_ref().map_or(Ok(None), after_of) else {
            return Ok(WRONG_AFTER);
        };
        let mut cursor = after.unwrap_or_else(|| self.notifier.sent_through(client));
        let mut inbox = Inbox {
            incarnation: self.incarnation().0,
            ..Inbox::default()
        };
        // Base64 and the fields take less than half as much again.
        let mut room = self.limits.http.response_bytes_max / 3;
        let record = self.registry.get(client).ok_or(Refusal::Unknown)?;
        let (name, membership) = (record.id, membership_of(record));
        while let Some((notification, next)) = self.notifier.pending(client, membership, cursor) {
            let Some(message) = self.notifier.message(notification) else {
                break;
            };
            let bytes = message.payload.len() + 128;
            let full = inbox.notifications.len() >= self.limits.inbox_notifications_max;
            if full || bytes > room && !inbox.notifications.is_empty() {
                inbox.more = true;
                break;
            }
            room = room.saturating_sub(bytes);
            inbox.notifications.push(Item {
                notification: message.id,
                lifetime_s: message.lifetime_s,
                reply_window_ms: message.reply_window_ms,
                payload_base64: encode_payload(message.payload),
            });
            self.notifier
                .handle_sent((client, name), notification, Order::InOrder);
            self.stats.sent.count("inbox");
            cursor = next;
        }
        Ok(json(&inbox))
    }

    fn reply(&mut self, id: ConnId) -> Result<Answer, Refusal> {
        let client = self.proven(id)?;
        let Some(conn) = self.conns.get(id.key()) else {
            return Ok(Answer::Nothing);
        };
        let Role::Http(http) = &conn.role else {
            return Ok(Answer::Nothing);
        };
        let notification = http
            .server
            .request()
            .and_then(|request| request.path().strip_prefix(REPLIES)?.parse().ok());
        let Some(notification) = notification else {
            return Ok(reply_refused(ReplyRefusal::Unknown));
        };
        let Some(name) = self.registry.get(client).map(|record| record.id) else {
            return Err(Refusal::Unknown);
        };
        let membership = self.membership(client);
        let body = http.server.body();
        let taken =
            self.notifier
                .handle_reply(self.now, (client, name), membership, notification, body);
        if taken.is_ok() {
            self.router.handle_answered(client);
        }
        self.reply_judged(name, notification, taken);
        Ok(taken.map_or_else(reply_refused, |()| Answer::Nothing))
    }
}

/// The nonce of a test: 16 hexadecimal digits.
fn nonce_of(path: &str) -> Option<u64> {
    let digits = path.strip_prefix(TESTS)?;
    parse_hex(digits).ok().map(u64::from_be_bytes)
}

fn authorization_of(request: &Request<'_>) -> Option<Authorization> {
    Authorization::parse(request.header("Authorization")?).ok()
}

const WRONG_AFTER: Answer = Answer::Problem(
    400,
    "after",
    "after= takes a notification's id, 16 hexadecimal digits.",
);

/// The notification that the client has seen last, if it says so.
fn after_of(request: &Request<'_>) -> Result<Option<NotificationId>, ParseIdError> {
    let mut pairs = request.query().unwrap_or_default().split('&');
    let after = pairs.find_map(|pair| pair.strip_prefix("after="));
    after.map(str::parse).transpose()
}
