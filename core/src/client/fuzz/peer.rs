//! The relay at the other end: its answers and frames, right and wrong, and
//! what it may get.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Event, World};
use crate::collections::Pool;
use crate::collections::model::Script;
use crate::notify::RESEND;
use crate::notify::body::{Inbox, Item, encode_payload};
use crate::registration::body::{Answer, HeartbeatFigures, Hex, PROTOCOL, Verdict};
use crate::wire::frame::Deframer;
use crate::wire::message::{
    Bye, ByeReason, Hello, Notification, Ping, Pong, Taken, ToClient, ToRelay, VERSION,
};
use crate::wire::proof::{Authorization, ClientSecret};
use crate::{ClientId, Close, ConnId, Endpoint, Incarnation, Input, Instant, NotificationId};

/// A connection as its driver and the relay know it.
pub(super) struct Peer {
    pub(super) conn: ConnId,
    pub(super) opened: bool,
    pub(super) paused: bool,
    pub(super) blocked: bool,
    pub(super) ended: bool,
    kept: Vec<u8>,
    closing: Option<Close>,
    /// What was written and not understood yet.
    requests: Vec<u8>,
    /// A persistent connection was asked for: what follows are frames.
    line: Option<(Deframer, Pool)>,
    /// The replies, each with when it was written last.
    replied: Vec<(NotificationId, Instant)>,
    over: bool,
    /// When bytes of the relay were last handed to the client.
    pub(super) heard_at: Instant,
    /// When a probe was last written.
    pub(super) pinged_at: Option<Instant>,
}

impl Peer {
    pub(super) fn new(conn: ConnId, now: Instant) -> Self {
        Self {
            conn,
            opened: false,
            paused: false,
            blocked: false,
            ended: false,
            kept: Vec::new(),
            closing: None,
            requests: Vec::new(),
            line: None,
            replied: Vec::new(),
            over: false,
            heard_at: now,
            pinged_at: None,
        }
    }

    /// Whether the connection is still being opened.
    pub(super) fn may_open(&self) -> bool {
        !self.opened && self.closing.is_none()
    }

    /// Whether the driver may say that the relay has ended.
    pub(super) fn may_end(&self) -> bool {
        self.kept.is_empty() && !self.ended && self.closing.is_none()
    }

    /// Whether a persistent connection was asked for.
    pub(super) fn is_line(&self) -> bool {
        self.line.is_some()
    }

    #[cfg(test)]
    pub(super) fn has_reply(&self) -> bool {
        !self.replied.is_empty()
    }

    pub(super) fn told_to_close(&mut self, how: Close) {
        match (self.closing, how) {
            (None, _) | (Some(Close::Finish), Close::Abort) => self.closing = Some(how),
            (Some(before), again) => panic!("{again:?} behind {before:?}"),
        }
        // One that was being opened is given up: `Closed` follows.
        self.opened = true;
    }
}

impl World {
    /// The relay sends more bytes.
    fn send(&mut self, at: usize, bytes: &[u8]) {
        let peer = &mut self.peers[at];
        if peer.ended || peer.closing.is_some() {
            return;
        }
        peer.kept.extend_from_slice(bytes);
        self.offer(at);
    }

    /// Offers what the driver holds; returns whether it did.
    pub(super) fn offer(&mut self, at: usize) -> bool {
        let peer = &mut self.peers[at];
        let conn = peer.conn;
        if peer.closing.is_some() || peer.kept.is_empty() || peer.paused {
            return false;
        }
        let kept = core::mem::take(&mut peer.kept);
        let is_end = |event: &Event| matches!(event, Event::HeartbeatEnded { .. });
        if !self.client.events.iter().any(is_end) {
            peer.heard_at = self.now;
        }
        let input = Input::Received { conn, bytes: &kept };
        let taken = self.client.handle_input(self.now, input);
        let peer = &mut self.peers[at];
        peer.kept.extend_from_slice(&kept[taken..]);
        peer.paused = taken < kept.len();
        true
    }

    /// Bytes went to the relay.
    pub(super) fn written(&mut self, at: usize, bytes: &[u8]) {
        let peer = &mut self.peers[at];
        assert!(peer.opened && !bytes.is_empty());
        assert!(!peer.blocked, "bytes for a blocked connection");
        assert!(peer.closing.is_none(), "bytes behind a close");
        if peer.line.is_some() {
            return self.read_frames(at, bytes);
        }
        peer.requests.extend_from_slice(bytes);
        while let Some(request) = next_request(&mut self.peers[at].requests) {
            self.check_request(at, &request);
        }
    }

    /// What is asked may be asked: its number and its identity are on disk.
    fn check_request(&mut self, at: usize, request: &str) {
        let field = "Authorization: ";
        let mut lines = request.lines();
        let proof = lines.find_map(|line| line.strip_prefix(field));
        let proof = proof.map(|value| Authorization::parse(value.as_bytes()).unwrap());
        if let Some(proof) = proof {
            let on_disk = self.disk.has_identity(proof.client);
            // One that is being left is good until its successor is settled.
            let left = self.given.split_last().map_or(&[][..], |(_, left)| left);
            assert!(
                on_disk || left.contains(&proof.client),
                "used before it is on disk"
            );
        }
        if request.starts_with("POST /v1/register ") {
            let (_, body) = request.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            let registration = body["registration"].as_u64().unwrap();
            assert!(
                registration <= self.disk.registration(),
                "used before it is on disk"
            );
            assert!(!self.registrations.contains(&registration), "used twice");
            self.registrations.push(registration);
        } else {
            // A session that ended while the connection was opened has no key
            // any more: the relay refuses, and the client registers anew.
            let unproven = request.starts_with("GET /v1/connect");
            assert!(proof.is_some() || unproven, "without a proof: {request}");
        }
        if request.starts_with("GET /v1/connect") {
            let rest = core::mem::take(&mut self.peers[at].requests);
            assert!(rest.is_empty());
            self.peers[at].line = Some((Deframer::default(), Pool::new(2, 4_096)));
        }
    }

    fn read_frames(&mut self, at: usize, bytes: &[u8]) {
        let peer = &mut self.peers[at];
        let Some((deframer, pool)) = &mut peer.line else {
            return;
        };
        let mut rest = bytes;
        let mut confirmed = Vec::new();
        while let Some(frame) = deframer
            .next(&mut rest, u32::MAX, pool)
            .expect("sound frames")
        {
            assert!(!peer.over, "a frame behind the goodbye");
            let message = ToRelay::parse(frame.kind, frame.body).expect("a sound message");
            match message.expect("a known kind") {
                ToRelay::Reply(reply) => {
                    let now = self.client.now;
                    let mut before = peer.replied.iter_mut();
                    match before.find(|(before, _)| *before == reply.notification) {
                        // It was not confirmed for long.
                        Some((_, at)) => {
                            assert!(now >= *at + RESEND, "sent twice, at {at:?} and {now:?}");
                            *at = now;
                        }
                        None => peer.replied.push((reply.notification, now)),
                    }
                    assert_eq!(self.replies[&reply.notification], reply.payload);
                }
                ToRelay::Bye(_) => peer.over = true,
                // By the time that the client was told last.
                ToRelay::Ping(_) => peer.pinged_at = Some(self.client.now),
                ToRelay::Pong(_) => {}
                ToRelay::Served(served) => {
                    confirmed.push((served.sequence, served.refused));
                }
            }
        }
        let conn = peer.conn;
        for (sequence, refused) in confirmed {
            self.check_served(conn, sequence, refused);
        }
    }

    /// The relay answers, whatever was asked.
    pub(super) fn answer(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.choose_open(script) else {
            return;
        };
        let asks_line = self.peers[at].line.is_some();
        let bytes = match script.byte().unwrap_or_default() % 16 {
            0..6 if asks_line => {
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tautline\r\n\r\n"
                    .to_vec()
            }
            0..8 => response("200 OK", &self.registration_answer(script)),
            8..10 => response("200 OK", &self.inbox(script)),
            10 => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            11 => response("401 Unauthorized", b"{}"),
            12 => response("409 Conflict", b"{}"),
            13 => response("503 Service Unavailable", b""),
            14 => response("200 OK", b"{\"half\""),
            _ => {
                let len = usize::from(script.byte().unwrap_or_default() % 48);
                script.bytes(len).to_vec()
            }
        };
        self.send(at, &bytes);
    }

    /// The secret of an identity that the relay gave.
    pub(super) fn secret_of(&self, client: ClientId) -> [u8; 32] {
        [client.0[0] + 1; 32]
    }

    fn registration_answer(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        let known = self.client.id();
        let mut client = known.unwrap_or(self.given[0]);
        let mut separated = None;
        let incarnation = script.byte().unwrap_or_default();
        if incarnation >= 240 && client.0[0] < 200 {
            let new = ClientId([client.0[0] + 1; 16]);
            let registration = self.registrations.last().copied().unwrap_or_default();
            let secret = ClientSecret(self.secret_of(client));
            separated = Some(Hex(secret.separation(client, new, registration)));
            if !self.given.contains(&new) {
                self.given.push(new);
            }
            client = new;
        }
        let gives = known != Some(client);
        let answer = Answer {
            protocol: PROTOCOL,
            client,
            secret: gives.then(|| Hex(self.secret_of(client))),
            incarnation: u32::from(incarnation % 4),
            nonce: Hex([script.byte().unwrap_or_default(); 16]),
            notified: script.one_in(4).then(|| self.some_notification(script)),
            register_again_s: script.number(16).unwrap_or_default() as u32,
            return_window_ms: u32::from(incarnation) * 100,
            separated,
            heartbeat: (incarnation & 4 != 0).then(|| HeartbeatFigures {
                period_s: u32::from(incarnation / 32),
                heartbeat_s: u32::from(incarnation / 64),
                frequency_s: u32::from(incarnation / 128),
            }),
            persistent_connection: (!script.one_in(8)).then(|| Verdict {
                granted: !script.one_in(8),
                wait_ms: script.number(10).unwrap_or_default() as u32,
                valid_ms: u32::from(incarnation / 4) * 10_000,
                reason: None,
            }),
        };
        self.agree(client, answer.incarnation, answer.nonce.0);
        serde_json::to_vec(&answer).unwrap()
    }

    fn inbox(&self, script: &mut Script<'_>) -> Vec<u8> {
        let count = usize::from(script.byte().unwrap_or_default() % 5);
        let inbox = Inbox {
            incarnation: u32::from(script.byte().unwrap_or_default() % 4),
            notifications: (0..count)
                .map(|_| Item {
                    notification: self.some_notification(script),
                    lifetime_s: 60,
                    reply_window_ms: 0,
                    payload_base64: encode_payload(b"from the inbox"),
                })
                .collect(),
            more: script.one_in(4),
        };
        serde_json::to_vec(&inbox).unwrap()
    }

    pub(super) fn some_notification(&self, script: &mut Script<'_>) -> NotificationId {
        let step = u64::from(script.byte().unwrap_or_default() % 8);
        NotificationId((self.newest.0 + step).saturating_sub(2))
    }

    /// Frames of the relay; only a persistent connection understands them.
    pub(super) fn send_frames(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.choose_open(script) else {
            return;
        };
        for _ in 0..=script.byte().unwrap_or_default() % 4 {
            let id = self.some_notification(script);
            let payload = vec![b'n'; script.number(12).unwrap_or_default() as usize];
            let draw = script.byte().unwrap_or_default();
            if draw >= 192 {
                let bytes = self.serve(script, self.peers[at].conn);
                self.send(at, &bytes);
                continue;
            }
            let message = match draw % 16 {
                0..3 => ToClient::Hello(Hello {
                    version: VERSION + u16::from(script.one_in(16)),
                    incarnation: Incarnation(u32::from(script.byte().unwrap_or_default() % 4)),
                    body_bytes_max: 4_000,
                }),
                3 => ToClient::Ping(Ping { nonce: 1 }),
                4 => ToClient::Pong(Pong { nonce: 1 }),
                5 => ToClient::Bye(Bye {
                    reason: ByeReason::ShuttingDown,
                    retry_after_ms: script.number(14).unwrap_or_default() as u32,
                }),
                6..9 => ToClient::Taken(Taken { notification: id }),
                _ => ToClient::Notification(Notification {
                    id,
                    lifetime_s: script.number(10).unwrap_or_default() as u32,
                    reply_window_ms: script.number(12).unwrap_or_default() as u32,
                    payload: &payload,
                }),
            };
            let mut bytes = vec![0; message.encoded_len()];
            message.encode(&mut bytes).unwrap();
            if script.one_in(32) {
                bytes[7] ^= 4;
            }
            self.send(at, &bytes);
        }
    }
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Takes the next whole request out of what was written; bodies that are no
/// text are shown as far as they are.
fn next_request(written: &mut Vec<u8>) -> Option<String> {
    let end = written.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let head = core::str::from_utf8(&written[..end]).expect("a head is text");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.map_or(0, |text| text.parse().unwrap());
    if written.len() < end + length {
        return None;
    }
    let request: Vec<u8> = written.drain(..end + length).collect();
    Some(String::from_utf8_lossy(&request).into_owned())
}
