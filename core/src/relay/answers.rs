//! What the relay answers by itself.

use alloc::vec::Vec;

use super::Relay;
use super::connection::{Role, Route};
use crate::ConnId;
use crate::http::problem::{self, Problem};
use crate::http::{ResponseBody, ResponseHead};
use crate::notify::ReplyRefusal;
use crate::registration::{ConnectRefusal, Refusal};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PROBLEM: (&str, &str) = ("Content-Type", problem::CONTENT_TYPE);

/// What the upgrade of a persistent connection is called.
pub(super) const UPGRADE: &str = "tautline";

/// An answer of the relay's own.
pub(super) enum Answer {
    Json(Vec<u8>),
    Nothing,
    Problem(u16, &'static str, &'static str),
}

impl Relay {
    pub(super) fn wrong_method(&mut self, conn: ConnId, allowed: &'static str) {
        let text = "This path is not asked for with this method.";
        self.respond_by(
            conn,
            405,
            &[PROBLEM, ("Allow", allowed)],
            &problem(405, "method", text),
        );
    }

    pub(super) fn answer(&mut self, conn: ConnId, answer: &Answer) {
        match answer {
            Answer::Json(body) => self.respond_by(conn, 200, &[JSON], body),
            Answer::Nothing => self.respond_by(conn, 204, &[], &[]),
            Answer::Problem(status, name, detail) => {
                let body = problem(*status, name, detail);
                let headers: &[_] = match status {
                    401 => &[PROBLEM, ("WWW-Authenticate", "Tautline")],
                    // RFC 9110 section 15.5.22
                    426 => &[PROBLEM, ("Upgrade", UPGRADE)],
                    _ => &[PROBLEM],
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

pub(super) fn json(value: &impl serde::Serialize) -> Answer {
    serde_json::to_vec(value).map_or(
        Answer::Problem(500, "internal", "The answer can not be written."),
        Answer::Json,
    )
}

fn problem(status: u16, name: &str, detail: &str) -> Vec<u8> {
    let mut body = Vec::new();
    Problem::new(status, name).detail(detail).encode(&mut body);
    body
}

/// What a client is told whose reply is not taken.
pub(super) fn reply_refused(why: ReplyRefusal) -> Answer {
    match why {
        // The confirmation of the first one was lost; nothing is wrong.
        ReplyRefusal::Repeated => Answer::Nothing,
        ReplyRefusal::Foreign => {
            Answer::Problem(403, "foreign", "The notification was not for this client.")
        }
        ReplyRefusal::TooLong => Answer::Problem(413, "too-long", "The reply is too long."),
        ReplyRefusal::Full => {
            Answer::Problem(503, "full", "There is no room for replies; try again.")
        }
        ReplyRefusal::Unknown => Answer::Problem(
            404,
            "no-notification",
            "The notification is unknown or has expired.",
        ),
    }
}

/// What a client is told that may not open a persistent connection.
pub(super) fn connect_refused(why: ConnectRefusal) -> Answer {
    let text = match why {
        ConnectRefusal::Disabled => "Persistent connections are disabled here.",
        ConnectRefusal::Root => "A root has no persistent connections.",
        ConnectRefusal::GrantEnded => "The grant of the last registration has ended.",
        ConnectRefusal::UdpProven => "Datagrams reach this client.",
        ConnectRefusal::Unknown => return refused(Refusal::Unknown),
        ConnectRefusal::NotGranted => {
            "No persistent connection was granted at the last registration."
        }
    };
    Answer::Problem(403, "not-granted", text)
}

pub(super) fn refused(why: Refusal) -> Answer {
    match why {
        Refusal::Malformed => {
            Answer::Problem(400, "malformed", "The body is no registration as JSON.")
        }
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
        Refusal::Cloned => Answer::Problem(
            409,
            "cloned",
            "Two machines have this identity; register over TLS, or as a new client.",
        ),
        Refusal::Newcomers => Answer::Problem(
            429,
            "newcomers",
            "Too many clients of this address registered and were not heard of again; try later.",
        ),
        Refusal::Full => Answer::Problem(503, "full", "The relay has no room for another client."),
    }
}
