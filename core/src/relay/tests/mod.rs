//! A relay alone, driven in memory; one theme a file.

mod connect;
mod datagrams;
mod drain;
mod frames;
mod heartbeats;
mod inbox;
mod members;
mod notify;
mod peers;
mod registration;
mod replies;
mod requests;
mod robust;
mod subnets;
mod waiting;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::{Event, Limits, Relay, Settings};
use crate::machine::rig::Rig;
use crate::registration::body::Answer;
use crate::wire::frame::HEADER_BYTES;
use crate::wire::message::{Reply, ToClient, ToRelay};
use crate::wire::proof::{BodyDigest, ClientSecret, MasterKey, Request, Session, SessionKey};
use crate::{ClientId, ConnId, Incarnation, Instant, NotificationId};

const LOOPBACK: &str = "127.0.0.1:40000";
const ABROAD: &str = "192.0.2.7:40000";

/// Without caps on persistent connections: one address makes one subnet. And
/// without heartbeats, which most of these clients would not answer.
fn settings() -> Settings {
    let mut settings = Settings::new(MasterKey([7; 32]), Incarnation(3));
    settings.heartbeat.prober.period = Duration::ZERO;
    settings.registry.connections_per_subnet_max = 0;
    settings.registry.connections_per_address_max = 0;
    settings
}

fn relay() -> Rig<Relay> {
    relay_with(settings(), Limits::default())
}

fn relay_with(settings: Settings, limits: Limits) -> Rig<Relay> {
    Rig::new(Relay::new(settings, limits, [1; 32]))
}

/// A client as the relay sees one.
#[derive(Clone)]
struct Peer {
    id: ClientId,
    secret: ClientSecret,
    key: SessionKey,
    registration: u64,
    counter: u64,
}

/// An HTTP response.
#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The body as JSON.
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// Reads a whole response off the front of the bytes.
fn response(bytes: &mut Vec<u8>) -> Response {
    let end = bytes.windows(4).position(|end| end == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no response in {:?}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8(bytes[..end].into()).expect("text");
    let mut response = Response {
        status: head[9..12].parse().expect("a status"),
        head,
        body: Vec::new(),
    };
    let length = response
        .header("Content-Length")
        .map_or(0, |length| length.parse::<usize>().expect("a length"));
    let rest = bytes.split_off(end + 4);
    response.body = rest[..length].into();
    *bytes = rest[length..].into();
    response
}

fn head(method: &str, target: &str, authorization: &str, body: &[u8], more: &str) -> Vec<u8> {
    let mut text = alloc::format!("{method} {target} HTTP/1.1\r\nHost: relay\r\n{more}");
    if !authorization.is_empty() {
        text += &alloc::format!("Authorization: {authorization}\r\n");
    }
    if method == "POST" {
        text += &alloc::format!("Content-Length: {}\r\n", body.len());
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Sends a request over a connection of its own.
fn ask(rig: &mut Rig<Relay>, bytes: &[u8]) -> Response {
    ask_from(rig, LOOPBACK, bytes)
}

/// Sends a request over a connection of its own, from an address.
fn ask_from(rig: &mut Rig<Relay>, peer: &str, bytes: &[u8]) -> Response {
    let conn = rig.accept(peer);
    rig.wire(conn).written.clear();
    rig.feed(conn, bytes);
    let response = response(&mut rig.written(conn));
    rig.closed(conn, crate::CloseReason::Done);
    response
}

fn get(rig: &mut Rig<Relay>, target: &str) -> Response {
    ask(rig, &head("GET", target, "", b"", ""))
}

/// The body of a registration.
fn body(client: Option<ClientId>, registration: u64, more: &str) -> Vec<u8> {
    let client = client.map_or(String::new(), |id| alloc::format!(r#""client":"{id}","#));
    alloc::format!(
        r#"{{"protocol":1,{client}"registration":{registration},"hostname":"web-1",
            "persistent_connection":true{more}}}"#
    )
    .into_bytes()
}

fn register(rig: &mut Rig<Relay>) -> Peer {
    let answer = ask(
        rig,
        &head("POST", "/v1/register", "", &body(None, 1, ""), ""),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer: Answer = serde_json::from_slice(&answer.body).expect("an answer");
    let secret = ClientSecret(answer.secret.expect("a secret").0);
    peer(&answer, secret, 1)
}

fn peer(answer: &Answer, secret: ClientSecret, registration: u64) -> Peer {
    let session = Session {
        client: answer.client,
        registration,
        incarnation: answer.incarnation(),
        nonce: answer.nonce.0,
    };
    Peer {
        id: answer.client,
        key: secret.session_key(&session),
        secret,
        registration,
        counter: 0,
    }
}

impl Peer {
    /// A registration after the first, as it goes over the wire.
    fn registration(&self, number: u64) -> Vec<u8> {
        self.registration_of(number, &body(Some(self.id), number, ""))
    }

    /// The same with another body.
    fn registration_of(&self, number: u64, body: &[u8]) -> Vec<u8> {
        let covered = Request {
            method: "POST",
            target: "/v1/register",
            body: BodyDigest::of(body),
        };
        let proof = covered.prove_registration(&self.secret, self.id, number);
        head("POST", "/v1/register", &proof.to_string(), body, "")
    }

    fn register_again(&mut self, rig: &mut Rig<Relay>) {
        self.registration += 1;
        let bytes = self.registration(self.registration);
        let answer = ask(rig, &bytes);
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: Answer = serde_json::from_slice(&answer.body).expect("an answer");
        *self = peer(&answer, self.secret.clone(), self.registration);
    }

    /// A request that the client proves.
    fn request(&mut self, method: &str, target: &str, body: &[u8], more: &str) -> Vec<u8> {
        self.counter += 1;
        let covered = Request {
            method,
            target,
            body: BodyDigest::of(body),
        };
        let proof = covered.prove(&self.key, self.id, self.counter).to_string();
        head(method, target, &proof, body, more)
    }

    fn upgrade(&mut self, target: &str) -> Vec<u8> {
        let more = "Connection: Upgrade\r\nUpgrade: tautline\r\n";
        self.request("GET", target, b"", more)
    }

    /// Opens the persistent connection and reads the relay's first frame.
    fn connect(&mut self, rig: &mut Rig<Relay>) -> ConnId {
        self.connect_to(rig, "/v1/connect")
    }

    fn connect_to(&mut self, rig: &mut Rig<Relay>, target: &str) -> ConnId {
        let conn = rig.accept(LOOPBACK);
        *rig.wire(conn) = crate::machine::rig::Wire::default();
        let bytes = self.upgrade(target);
        rig.feed(conn, &bytes);
        let answer = response(&mut rig.wire(conn).written);
        assert_eq!(answer.status, 101, "{answer:?}");
        conn
    }

    fn inbox(&mut self, rig: &mut Rig<Relay>, after: Option<NotificationId>) -> Response {
        let target = match after {
            Some(id) => alloc::format!("/v1/inbox?after={id}"),
            None => "/v1/inbox".into(),
        };
        let bytes = self.request("GET", &target, b"", "");
        ask(rig, &bytes)
    }

    fn reply(&mut self, rig: &mut Rig<Relay>, id: NotificationId, payload: &[u8]) -> Response {
        let bytes = self.request("POST", &alloc::format!("/v1/replies/{id}"), payload, "");
        ask(rig, &bytes)
    }
}

/// What a frame to a client says, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Hello,
    Notification(NotificationId, Vec<u8>),
    Taken(NotificationId),
    Ping(u64),
    Pong(u64),
    /// Datagrams for others: the frame's number, and which goes where.
    Serve(u32, Vec<(SocketAddr, Vec<u8>)>),
    Bye(&'static str, u32),
}

/// The whole frames that were written to the connection since the last time.
fn said(rig: &mut Rig<Relay>, conn: ConnId) -> Vec<Said> {
    let bytes = &mut rig.wire(conn).written;
    let mut said = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let len = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let end = HEADER_BYTES + len as usize;
        if bytes.len() < end {
            break;
        }
        let mut pool = crate::collections::Pool::new(1, 64);
        let mut deframer = crate::wire::frame::Deframer::default();
        let mut input = &bytes[..end];
        let frame = deframer.next(&mut input, u32::MAX, &mut pool);
        let frame = frame.expect("right").expect("whole");
        said.push(match ToClient::parse(frame.kind, frame.body) {
            Ok(Some(ToClient::Hello(hello))) => {
                assert_eq!(hello.incarnation, Incarnation(3));
                Said::Hello
            }
            Ok(Some(ToClient::Notification(it))) => Said::Notification(it.id, it.payload.into()),
            Ok(Some(ToClient::Taken(taken))) => Said::Taken(taken.notification),
            Ok(Some(ToClient::Ping(ping))) => Said::Ping(ping.nonce),
            Ok(Some(ToClient::Pong(pong))) => Said::Pong(pong.nonce),
            Ok(Some(ToClient::Serve(serve))) => {
                let datagrams = serve.targets().map(|target| {
                    let mut bytes = alloc::vec![0; serve.datagram_bytes()];
                    serve.datagram(&target, &mut bytes).expect("room");
                    (target.address, bytes)
                });
                Said::Serve(serve.sequence, datagrams.collect())
            }
            Ok(Some(ToClient::Bye(bye))) => Said::Bye(bye.reason.name(), bye.retry_after_ms),
            other => panic!("{other:?}"),
        });
        bytes.drain(..end);
    }
    said
}

fn frame(message: ToRelay<'_>) -> Vec<u8> {
    let mut bytes = alloc::vec![0; message.encoded_len()];
    message.encode(&mut bytes).expect("it fits");
    bytes
}

fn reply_frame(notification: NotificationId, payload: &[u8]) -> Vec<u8> {
    frame(ToRelay::Reply(Reply {
        notification,
        payload,
    }))
}

fn count(rig: &Rig<Relay>, of: impl Fn(&super::Stats) -> u64) -> u64 {
    of(&rig.endpoint.stats())
}
