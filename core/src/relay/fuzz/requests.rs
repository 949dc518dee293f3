//! What peers send: noise, requests right and wrong, and frames.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::World;
use crate::collections::model::Script;
use crate::registration::body::{HeartbeatFigures, Interface, PROTOCOL, Request};
use crate::wire::frame;
use crate::wire::message::{Bye, ByeReason, Ping, Pong, Reply, ToRelay};
use crate::wire::proof::{self, BodyDigest};
use crate::{ClientId, NotificationId};

/// Requests that the application answers, and some that nobody should.
const REQUESTS: [&str; 10] = [
    "GET / HTTP/1.1\r\nHost: r\r\n\r\n",
    "HEAD /metrics HTTP/1.1\r\nHost: r\r\n\r\n",
    "GET /healthz HTTP/1.0\r\n\r\n",
    "POST /v1/messages/a HTTP/1.1\r\nHost: r\r\nContent-Length: 7\r\n\r\nmessage",
    "POST /v1/messages/b HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n3\r\nend\r\n0\r\n\r\n",
    "PUT /c HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: 4000\r\n\r\n",
    "GET /d HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n",
    "DELETE /v1/register HTTP/1.1\r\nHost: r\r\n\r\n",
    "GET /v1/connect HTTP/1.1\r\nHost: r\r\nConnection: upgrade\r\nUpgrade: tautline\r\n\r\n",
    "POST /e HTTP/1.1\r\nHost: r\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
];

impl World {
    pub(super) fn send_noise(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.choose_peer(script) else {
            return;
        };
        let len = usize::from(script.byte().unwrap_or_default() % 48);
        let noise = match script.one_in(4) {
            true => &[b'x'; 3_000],
            false => script.bytes(len),
        };
        self.send(at, noise);
    }

    pub(super) fn send_request(&mut self, script: &mut Script<'_>) {
        if let Some(at) = self.choose_peer(script)
            && let Some(text) = script.choose(&REQUESTS)
        {
            let cut = usize::from(script.byte().unwrap_or(u8::MAX));
            let cut = if cut < 64 { cut } else { text.len() };
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            self.send(at, first);
            self.send(at, second);
        }
    }

    /// A first or a later registration, right or wrong.
    pub(super) fn register(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.choose_peer(script) else {
            return;
        };
        let fault = script.byte().unwrap_or_default();
        let again = script
            .one_in(2)
            .then(|| self.choose_known(script))
            .flatten();
        self.registration += 1;
        let registration = match fault & 15 {
            1 => self.registration / 2,
            _ => self.registration,
        };
        // An inner address that others behind other addresses have as well, or
        // the one that the relay sees; with a port, or none.
        let place = script.byte().unwrap_or_default();
        let address = match place & 7 {
            0..6 => IpAddr::from([192, 168, 1, 1 + (place & 7) % 4]),
            6 => IpAddr::from([192, 168, 2, 1]),
            _ => self.peers[at].observed,
        };
        let interface = Interface {
            address,
            prefix: if fault & 15 == 2 { 60 } else { 24 },
        };
        let request = Request {
            protocol: PROTOCOL + u32::from(fault & 15 == 3),
            client: again.map(|known| self.known[known].id),
            registration,
            hostname: if fault & 15 == 4 { "" } else { "host" }.into(),
            interfaces: vec![interface; usize::from(fault & 15 == 5) + 1],
            udp_port: [7, 7, 7, 8, 8, 0][usize::from(place >> 3) % 6],
            persistent_connection: place >> 6 != 3,
            local: (place >> 3 != 5).then_some(address),
            instance: None,
            heartbeat: (fault & 15 == 8).then_some(HeartbeatFigures {
                period_s: u32::from(fault >> 6),
                heartbeat_s: u32::from(fault >> 4),
                frequency_s: 1,
            }),
        };
        let mut body = serde_json::to_vec(&request).unwrap();
        if fault & 15 == 6 {
            body.resize(1 + usize::from(fault >> 4) * 60, b' ');
        }
        let covered = proof::Request {
            method: "POST",
            target: "/v1/register",
            body: BodyDigest::of(&body),
        };
        let authorization = again.map(|known| {
            let known = &self.known[known];
            let mut proof = covered.prove_registration(&known.secret, known.id, registration);
            proof.mac[3] ^= u8::from(fault & 15 == 7);
            proof.to_string()
        });
        if self.peers[at].registering.is_none() {
            self.peers[at].registering = Some(registration);
            let bytes = request_bytes("POST", "/v1/register", authorization, "", &body);
            self.send(at, &bytes);
        }
    }

    pub(super) fn ask_connect(&mut self, script: &mut Script<'_>) {
        let (Some(at), Some(known)) = (self.choose_peer(script), self.choose_known(script)) else {
            return;
        };
        let (target, after) = self.with_after("/v1/connect", script);
        let upgrade = "Connection: Upgrade\r\nUpgrade: tautline\r\n";
        let (id, authorization, right) = self.prove(known, "GET", &target, &[], script);
        if right {
            self.peers[at].proved.push((id, after));
        }
        let mut bytes = request_bytes("GET", &target, authorization, upgrade, &[]);
        if script.one_in(4) {
            bytes.extend(message(&ToRelay::Ping(Ping { nonce: 1 })));
        }
        self.send(at, &bytes);
    }

    pub(super) fn ask_inbox(&mut self, script: &mut Script<'_>) {
        let (Some(at), Some(known)) = (self.choose_peer(script), self.choose_known(script)) else {
            return;
        };
        if self.peers[at].asking.is_some() {
            return;
        }
        let (target, after) = self.with_after("/v1/inbox", script);
        let (id, authorization, right) = self.prove(known, "GET", &target, &[], script);
        if right {
            self.peers[at].asking = Some((id, after));
        }
        let bytes = request_bytes("GET", &target, authorization, "", &[]);
        self.send(at, &bytes);
    }

    /// A reply by a request of its own.
    pub(super) fn send_reply(&mut self, script: &mut Script<'_>) {
        let (Some(at), Some(known)) = (self.choose_peer(script), self.choose_known(script)) else {
            return;
        };
        let id = self.choose_said(script).unwrap_or(NotificationId(0));
        let target = format!("/v1/replies/{id}");
        let body = vec![b'r'; usize::from(script.byte().unwrap_or_default() % 48)];
        let (_, authorization, _) = self.prove(known, "POST", &target, &body, script);
        let bytes = request_bytes("POST", &target, authorization, "", &body);
        self.send(at, &bytes);
    }

    /// A client returns the nonce of a test, or another one.
    pub(super) fn prove_test(&mut self, script: &mut Script<'_>) {
        let (Some(at), Some(known)) = (self.choose_peer(script), self.choose_known(script)) else {
            return;
        };
        let id = self.known[known].id;
        let own = self.tests.iter().rev().find(|(client, _)| *client == id);
        let nonce = own.map_or(7, |(_, nonce)| *nonce) ^ u64::from(script.one_in(4));
        let target = format!("/v1/tests/{nonce:016x}");
        let (_, authorization, _) = self.prove(known, "POST", &target, &[], script);
        let bytes = request_bytes("POST", &target, authorization, "", &[]);
        self.send(at, &bytes);
    }

    /// A frame, whole or damaged; only a persistent connection understands it.
    pub(super) fn send_frame(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.choose_peer(script) else {
            return;
        };
        let asked = self.peers[at].line.as_ref().and_then(|line| line.asked);
        let nonce = asked.map_or(5, |(nonce, _)| nonce);
        let id = self.choose_said(script).unwrap_or(NotificationId(0));
        let payload = vec![b'r'; usize::from(script.byte().unwrap_or_default() % 48)];
        let (reason, retry_after_ms) = (ByeReason::ShuttingDown, 0);
        let mut bytes = match script.byte().unwrap_or_default() % 16 {
            0 => message(&ToRelay::Bye(Bye {
                reason,
                retry_after_ms,
            })),
            1 => message(&ToRelay::Pong(Pong { nonce })),
            2..5 => message(&ToRelay::Ping(Ping { nonce })),
            5 => noise(script.byte().unwrap_or_default()),
            _ => {
                self.peers[at].replied.insert(id);
                message(&ToRelay::Reply(Reply {
                    notification: id,
                    payload: &payload,
                }))
            }
        };
        if script.one_in(32) {
            bytes[5] ^= 1;
        }
        let times = 1 + usize::from(script.byte().unwrap_or_default() % 8);
        self.send(at, &bytes.repeat(times));
    }

    /// A target, perhaps with a notification to go on behind.
    fn with_after(&self, path: &str, script: &mut Script<'_>) -> (String, NotificationId) {
        match script.one_in(3) {
            true => {
                let after = self.choose_said(script).unwrap_or(NotificationId(0));
                (format!("{path}?after={after}"), after)
            }
            false => (path.into(), NotificationId(0)),
        }
    }

    /// A proof, and whether it can be right.
    fn prove(
        &mut self,
        known: usize,
        method: &str,
        target: &str,
        body: &[u8],
        script: &mut Script<'_>,
    ) -> (ClientId, Option<String>, bool) {
        let known = &mut self.known[known];
        let fault = script.byte().unwrap_or_default();
        let covered = proof::Request {
            method,
            target,
            body: BodyDigest::of(body),
        };
        let Some(key) = known.key.as_ref().filter(|_| fault % 16 != 1) else {
            return (known.id, None, false);
        };
        known.counter += u64::from(fault % 16 != 2);
        let mut proof = covered.prove(key, known.id, known.counter);
        let right = fault % 16 != 3;
        proof.mac[9] ^= u8::from(!right) << 2;
        (known.id, Some(proof.to_string()), right)
    }
}

fn request_bytes(
    method: &str,
    target: &str,
    authorization: Option<String>,
    more: &str,
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: r\r\n{more}");
    if let Some(value) = authorization {
        head += &format!("Authorization: {value}\r\n");
    }
    if method == "POST" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub(super) fn message(message: &ToRelay<'_>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_len()];
    message.encode(&mut bytes).unwrap();
    bytes
}

/// A sound frame of any kind.
fn noise(kind: u8) -> Vec<u8> {
    let mut bytes = vec![0; frame::HEADER_BYTES + 3];
    frame::encode(kind, 0, b"abc", &mut bytes).unwrap();
    bytes
}
