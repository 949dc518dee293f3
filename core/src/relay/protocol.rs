//! The protocol's own paths, and the frames of clients.

use alloc::vec::Vec;

use super::connection::{HttpConn, Role, Route};
use super::drive::Step;
use super::event::Event;
use super::line::Line;
use super::{Relay, whole_millis};
use crate::http::problem::{self, Problem};
use crate::http::{Effect, Reading, Request, ResponseBody, ResponseHead};
use crate::notify::ReplyRefusal;
use crate::notify::body::{Inbox, Item, encode_payload};
use crate::registration::Refusal;
use crate::wire::message::{ByeReason, ToRelay};
use crate::wire::proof::{self, Authorization, BodyDigest};
use crate::{Close, ConnId, Key, NotificationId, Output, RequestId};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PROBLEM: (&str, &str) = ("Content-Type", problem::CONTENT_TYPE);
const UPGRADE: &str = "tautline";
const REPLIES: &str = "/v1/replies/";

/// What the relay answers by itself.
enum Answer {
    Json(Vec<u8>),
    Nothing,
    Problem(u16, &'static str, &'static str),
}

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
                let bytes_max = self.limits.notifier.reply_bytes_max as u64;
                self.read(conn, Route::Reply, bytes_max);
            }
            "/v1/register" => self.wrong_method(conn, "POST"),
            "/v1/connect" | "/v1/inbox" => self.wrong_method(conn, "GET"),
            _ if path.starts_with(REPLIES) => self.wrong_method(conn, "POST"),
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
            conn.peer,
            conn.secure,
            request.target(),
            authorization.as_ref(),
            http.server.body(),
        );
        let admission = admission.inspect_err(|why| {
            self.stats.registrations_refused.count(why.name());
            self.events.push_back(Event::RegistrationRefused {
                conn: id,
                why: *why,
            });
        })?;
        if admission.new {
            self.notifier.handle_joined(admission.client);
        }
        self.stats.registrations += 1;
        let client = admission.answer.client;
        self.events.push_back(Event::Registered {
            client,
            new: admission.new,
        });
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
            .handle_proof(&authorization, &covered)
            .inspect_err(|why| self.stats.registrations_refused.count(why.name()))
    }

    fn connect(&mut self, id: ConnId) {
        let now = self.now;
        let client = match self.proven(id) {
            Ok(client) => client,
            Err(why) => return self.answer(id, &refused(why)),
        };
        let sent = self.notifier.sent_through(client);
        let Some(conn) = self.conns.get_mut(id.key()) else {
            return;
        };
        let Role::Http(http) = &mut conn.role else {
            return;
        };
        let after = http
            .server
            .request()
            .and_then(|request| after_of(&request))
            .unwrap_or(sent);
        if http
            .server
            .upgrade(now, &[("Upgrade", UPGRADE)], &mut self.pool)
            .is_ok()
        {
            http.route = Route::Connect { client, after };
        } else {
            self.answer(
                id,
                &Answer::Problem(426, "upgrade-required", "Ask for an upgrade to tautline."),
            );
        }
    }

    /// The 101 is written: from now on the connection carries frames.
    fn handle_upgraded(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.key()) else {
            return;
        };
        let Role::Http(http) = &mut conn.role else {
            return;
        };
        let Route::Connect { client, after } = http.route else {
            return;
        };
        http.server.handle_closed(&mut self.pool);
        conn.role = Role::Line(Line::new(client, after));
        // Frames that stood behind the request were not taken.
        conn.resume = true;
        self.stats.lines += 1;
        let Some(name) = self.registry.get(client).map(|record| record.id) else {
            return self.end(id, Close::Finish, "forgotten");
        };
        if let Some(old) = self.registry.set_connection(client, Some(id)) {
            self.say_bye(old, ByeReason::Replaced);
        }
        self.events.push_back(Event::Connected {
            client: name,
            conn: id,
        });
        if self.draining {
            self.say_bye(id, ByeReason::ShuttingDown);
        }
        self.touched(id);
    }

    fn say_bye(&mut self, id: ConnId, reason: ByeReason) {
        let window = match reason {
            ByeReason::ShuttingDown => whole_millis(self.settings.return_window),
            _ => 0,
        };
        if let Some(conn) = self.conns.get_mut(id.key())
            && let Role::Line(line) = &mut conn.role
        {
            line.owe_bye(reason, window);
            self.touched(id);
        }
    }

    fn inbox(&mut self, id: ConnId) -> Result<Answer, Refusal> {
        let client = self.proven(id)?;
        let request = match self.conns.get(id.key()).map(|conn| &conn.role) {
            Some(Role::Http(http)) => http.server.request(),
            _ => None,
        };
        let after = request.as_ref().and_then(after_of);
        let mut cursor = after.unwrap_or_else(|| self.notifier.sent_through(client));
        let mut inbox = Inbox {
            incarnation: self.incarnation().0,
            ..Inbox::default()
        };
        // Base64 and the fields take less than half as much again.
        let mut room = self.limits.http.response_bytes_max / 3;
        while let Some((notification, next)) = self.notifier.pending(client, cursor) {
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
            self.notifier.handle_sent(client, notification);
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
            return Ok(Answer::Problem(
                404,
                "no-notification",
                "That is no notification's id.",
            ));
        };
        let Some(name) = self.registry.get(client).map(|record| record.id) else {
            return Err(Refusal::Unknown);
        };
        let body = http.server.body();
        let taken = self
            .notifier
            .handle_reply(self.now, (client, name), notification, body);
        self.reply_judged(name, notification, taken);
        Ok(match taken {
            Ok(()) | Err(ReplyRefusal::Repeated) => Answer::Nothing,
            Err(ReplyRefusal::Foreign) => {
                Answer::Problem(403, "foreign", "The notification was not for this client.")
            }
            Err(ReplyRefusal::TooLong) => {
                Answer::Problem(413, "too-long", "The reply is too long.")
            }
            Err(ReplyRefusal::Full) => {
                Answer::Problem(503, "full", "There is no room for replies; try again.")
            }
            Err(ReplyRefusal::Unknown) => Answer::Problem(
                404,
                "no-notification",
                "The notification is unknown or has expired.",
            ),
        })
    }

    fn reply_judged(
        &mut self,
        client: crate::ClientId,
        notification: NotificationId,
        taken: Result<(), ReplyRefusal>,
    ) {
        match taken {
            Ok(()) => {
                self.stats.replies += 1;
                self.events.push_back(Event::Replied {
                    notification,
                    client,
                });
            }
            // The confirmation of the first one was lost; nothing is wrong.
            Err(ReplyRefusal::Repeated) => {}
            Err(why) => {
                self.stats.replies_refused.count(why.name());
                self.events.push_back(Event::ReplyRefused {
                    notification,
                    client,
                    why,
                });
            }
        }
    }

    /// Takes frames of a client, as long as there is room for what follows
    /// from them.
    pub(super) fn handle_frames(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.events.len() < self.limits.events_max;
            let Some(conn) = self.conns.get_mut(id.key()) else {
                break;
            };
            let Role::Line(line) = &mut conn.role else {
                break;
            };
            if !room || !line.can_take() {
                conn.resume = true;
                self.touched(id);
                return bytes.len() - rest.len();
            }
            let bytes_max = self.limits.frame_body_bytes_max;
            let fault = match line.deframer.next(&mut rest, bytes_max, &mut self.pool) {
                Ok(None) => break,
                Ok(Some(frame)) => match ToRelay::parse(frame.kind, frame.body) {
                    Ok(None) => continue,
                    Ok(Some(ToRelay::Ping(ping))) => {
                        line.owe_pong(ping.nonce);
                        continue;
                    }
                    Ok(Some(ToRelay::Pong(_))) => continue,
                    Ok(Some(ToRelay::Reply(reply))) => {
                        let notification = reply.notification;
                        let client = line.client;
                        let Some(name) = self.registry.get(client).map(|record| record.id) else {
                            continue;
                        };
                        let taken = self.notifier.handle_reply(
                            self.now,
                            (client, name),
                            notification,
                            reply.payload,
                        );
                        // Without room, the client keeps it for another time.
                        if taken != Err(ReplyRefusal::Full) {
                            line.owe_taken(notification);
                        }
                        self.reply_judged(name, notification, taken);
                        continue;
                    }
                    Ok(Some(ToRelay::Bye(_))) => {
                        self.end(id, Close::Finish, "closed by the client");
                        break;
                    }
                    Err(error) => error.name(),
                },
                Err(error) => error.name(),
            };
            self.stats.lines_refused.count(fault);
            self.say_bye(id, ByeReason::ProtocolError);
            break;
        }
        self.touched(id);
        bytes.len()
    }

    fn wrong_method(&mut self, conn: ConnId, allowed: &'static str) {
        let text = "This path is not asked for with this method.";
        self.respond_by(
            conn,
            405,
            &[PROBLEM, ("Allow", allowed)],
            &problem(405, "method", text),
        );
    }

    fn answer(&mut self, conn: ConnId, answer: &Answer) {
        match answer {
            Answer::Json(body) => self.respond_by(conn, 200, &[JSON], body),
            Answer::Nothing => self.respond_by(conn, 204, &[], &[]),
            Answer::Problem(status, kind, detail) => {
                let body = problem(*status, kind, detail);
                let challenge = [PROBLEM, ("WWW-Authenticate", "Tautline")];
                let headers = if *status == 401 {
                    &challenge[..]
                } else {
                    &challenge[..1]
                };
                self.respond_by(conn, *status, headers, &body);
            }
        }
    }

    fn respond_by(&mut self, conn: ConnId, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(conn.key()) else {
            return;
        };
        let Role::Http(http) = &mut conn.role else {
            return;
        };
        http.route = Route::Idle;
        let head = ResponseHead {
            status,
            headers,
            close: false,
        };
        let content = if body.is_empty() {
            ResponseBody::Empty
        } else {
            ResponseBody::Bytes(body)
        };
        if http
            .server
            .respond(now, &head, content, &mut self.pool)
            .is_err()
        {
            // Longer than what may wait to be written: settings that do not fit.
            http.server.abort(&mut self.pool);
        }
    }
}

fn json(value: &impl serde::Serialize) -> Answer {
    serde_json::to_vec(value).map_or(
        Answer::Problem(500, "internal", "The answer can not be written."),
        Answer::Json,
    )
}

fn problem(status: u16, kind: &str, detail: &str) -> Vec<u8> {
    let kind = alloc::format!("urn:tautline:problem:{kind}");
    let mut body = Vec::new();
    Problem {
        kind: Some(&kind),
        ..Problem::new(status).detail(detail)
    }
    .encode(&mut body);
    body
}

fn refused(why: Refusal) -> Answer {
    match why {
        Refusal::Malformed => Answer::Problem(
            400,
            "malformed",
            "The body is no registration; see docs/protocol.md.",
        ),
        Refusal::Protocol => Answer::Problem(
            400,
            "protocol",
            "This version of the protocol is not spoken here.",
        ),
        Refusal::Hostname => Answer::Problem(
            400,
            "hostname",
            "hostname is empty, too long or has control characters.",
        ),
        Refusal::Interfaces => Answer::Problem(
            400,
            "interfaces",
            "Too many interfaces, or a prefix longer than its address.",
        ),
        Refusal::SecretInClear => Answer::Problem(
            403,
            "secret-in-clear",
            "A first registration needs TLS, loopback, or the relay's setting secrets_over_plaintext.",
        ),
        Refusal::Unproven => Answer::Problem(
            401,
            "unproven",
            "The proof of identity is missing or wrong.",
        ),
        Refusal::Unknown => Answer::Problem(
            401,
            "unknown-client",
            "The client is not registered with this run of the relay; register anew.",
        ),
        Refusal::Replayed => Answer::Problem(
            409,
            "replayed",
            "The number was used before; use a higher one.",
        ),
        Refusal::Full => Answer::Problem(503, "full", "The relay has no room for another client."),
    }
}

fn authorization_of(request: &Request<'_>) -> Option<Authorization> {
    Authorization::parse(request.header("Authorization")?).ok()
}

/// The notification that the client has seen last, as it says.
fn after_of(request: &Request<'_>) -> Option<NotificationId> {
    let pairs = request.query()?.split('&');
    pairs
        .filter_map(|pair| pair.strip_prefix("after="))
        .next()?
        .parse()
        .ok()
}
