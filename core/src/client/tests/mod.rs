//! A client alone, driven in memory; one theme a file.

mod answers;
mod datagrams;
mod heartbeats;
mod identity;
mod line;
mod mailbox;
mod relays;
mod separation;
mod serving;
mod stop;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Client, Event, Failure, Limits, RelayAddress, Settings};
use crate::machine::rig::{Op, Rig};
use crate::notify::Handle;
use crate::notify::body::{Inbox, Item, encode_payload};
use crate::registration::body::{Answer, Hex, PROTOCOL, Verdict};
use crate::wire::frame::{Deframer, HEADER_BYTES};
use crate::wire::message::{Hello, Notification, Taken, ToClient, ToRelay, VERSION};
use crate::{
    ClientId, CloseReason, ConnId, Incarnation, Input, Key, NotificationId, StoreError, Ticket,
};

const ID: ClientId = ClientId([5; 16]);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    let host = "relay".into();
    let (port, tls) = (52311, false);
    Settings::new(RelayAddress { host, port, tls }, "web-1")
}

fn client() -> Rig<Client> {
    client_with(settings(), Limits::default())
}

fn client_with(settings: Settings, limits: Limits) -> Rig<Client> {
    let mut rig = Rig::new(Client::new(settings, limits, [2; 32]));
    rig.poll();
    rig
}

/// Answers the storage effects that wait: there is no file yet, and all else
/// goes well. Returns them.
fn disk(rig: &mut Rig<Client>) -> Vec<Op> {
    let mut done = Vec::new();
    while !rig.stores.is_empty() {
        for (ticket, op) in core::mem::take(&mut rig.stores) {
            let why = StoreError::NotFound;
            rig.tell(match op {
                Op::Load(_) => Input::StoreFailed { ticket, why },
                _ => Input::Stored { ticket },
            });
            done.push(op);
        }
    }
    done
}

/// The connection that the client asked for; it is open then.
fn connected(rig: &mut Rig<Client>) -> ConnId {
    assert_eq!(rig.connects.len(), 1, "{:?}", rig.events);
    let (conn, ..) = rig.connects.remove(0);
    let local = "10.0.0.9:4000".parse().unwrap();
    let peer = "10.0.0.1:52311".parse().unwrap();
    rig.tell(Input::Connected { conn, local, peer });
    conn
}

/// The request that was written to the connection.
fn request(rig: &mut Rig<Client>, conn: ConnId) -> String {
    String::from_utf8_lossy(&rig.written(conn)).into_owned()
}

fn respond(rig: &mut Rig<Client>, conn: ConnId, status: u16, body: &[u8]) {
    let mut bytes = alloc::format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    if status == 204 {
        bytes = b"HTTP/1.1 204 X\r\n\r\n".into();
    }
    bytes.extend_from_slice(body);
    rig.feed(conn, &bytes);
}

/// The relay's answer to a registration.
fn answer(first: bool, granted: bool) -> Answer {
    Answer {
        protocol: PROTOCOL,
        client: ID,
        secret: first.then_some(Hex([6; 32])),
        incarnation: 3,
        nonce: Hex([1; 16]),
        register_again_s: 21_600,
        notified: Some(NotificationId::new(Incarnation(3), 0)),
        return_window_ms: 0,
        separated: None,
        heartbeat: None,
        persistent_connection: Some(Verdict {
            granted,
            wait_ms: 0,
            valid_ms: 0,
            reason: None,
        }),
    }
}

fn text(answer: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).unwrap()
}

/// A client that has just registered; what it was told is dropped.
fn registered(rig: Rig<Client>, granted: bool) -> Rig<Client> {
    let mut rig = registered_by(rig, &answer(true, granted));
    let (client, incarnation) = (ID, Incarnation(3));
    let event = Event::Registered {
        client,
        incarnation,
        granted,
        reason: None,
    };
    assert_eq!(rig.told(), [event]);
    rig
}

/// A client that has just registered, and was answered so.
fn registered_by(mut rig: Rig<Client>, answer: &Answer) -> Rig<Client> {
    disk(&mut rig);
    let conn = connected(&mut rig);
    let asked = request(&mut rig, conn);
    assert!(
        asked.starts_with("POST /v1/register HTTP/1.1\r\n"),
        "{asked}"
    );
    respond(&mut rig, conn, 200, &text(answer));
    disk(&mut rig);
    rig
}

/// The upgrade's answer.
const SWITCHING: &[u8] = b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: tautline\r\n\r\n";

/// A client with its persistent connection, and that. It does not ask its inbox
/// by itself.
fn with_line(limits: Limits) -> (Rig<Client>, ConnId) {
    let mut settings = settings();
    settings.poll_interval = Duration::ZERO;
    opened(client_with(settings, limits))
}

/// A client that opened its persistent connection, and that.
fn opened(rig: Rig<Client>) -> (Rig<Client>, ConnId) {
    upgraded(registered(rig, true))
}

/// The same of one that is registered.
fn upgraded(mut rig: Rig<Client>) -> (Rig<Client>, ConnId) {
    let conn = connected(&mut rig);
    let asked = request(&mut rig, conn);
    assert!(
        asked.starts_with("GET /v1/connect?after=0000000300000000 "),
        "{asked}"
    );
    rig.feed(conn, SWITCHING);
    rig.feed(conn, &hello(3, 65_600));
    assert_eq!(rig.told(), [Event::Connected]);
    assert!(rig.endpoint.is_connected());
    (rig, conn)
}

fn frame(message: ToClient<'_>) -> Vec<u8> {
    let mut bytes = alloc::vec![0; message.encoded_len()];
    message.encode(&mut bytes).unwrap();
    bytes
}

fn hello(incarnation: u32, body_bytes_max: u32) -> Vec<u8> {
    frame(ToClient::Hello(Hello {
        version: VERSION,
        incarnation: Incarnation(incarnation),
        body_bytes_max,
    }))
}

const fn nth(sequence: u32) -> NotificationId {
    NotificationId::new(Incarnation(3), sequence)
}

fn notification(sequence: u32) -> Vec<u8> {
    frame(ToClient::Notification(Notification {
        id: nth(sequence),
        lifetime_s: 3_600,
        reply_window_ms: 0,
        payload: b"ping",
    }))
}

fn taken(sequence: u32) -> Vec<u8> {
    let notification = nth(sequence);
    frame(ToClient::Taken(Taken { notification }))
}

fn inbox(sequences: &[u32], more: bool) -> Vec<u8> {
    let item = |sequence: &u32| Item {
        notification: nth(*sequence),
        lifetime_s: 3_600,
        reply_window_ms: 0,
        payload_base64: encode_payload(b"ping"),
    };
    text(&Inbox {
        incarnation: 3,
        notifications: sequences.iter().map(item).collect(),
        more,
    })
}

/// The notifications that the application was told of since the last time.
fn notified(rig: &mut Rig<Client>) -> Vec<(Handle, NotificationId)> {
    let told = rig.told().into_iter();
    told.filter_map(|event| match event {
        Event::Notification {
            notification, id, ..
        } => Some((notification, id)),
        _ => None,
    })
    .collect()
}

/// What a frame to a relay says, in short.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Reply(NotificationId, usize),
    Ping(u64),
    Pong(u64),
    /// The frame, and how many of its targets were refused.
    Served(u32, u16),
    Bye(&'static str),
}

/// The whole frames that were written to the connection since the last time.
fn said(rig: &mut Rig<Client>, conn: ConnId) -> Vec<Said> {
    let bytes = &mut rig.wire(conn).written;
    let mut said = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let len = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let end = HEADER_BYTES + len as usize;
        if bytes.len() < end {
            break;
        }
        let mut pool = crate::collections::Pool::new(1, 64);
        let mut deframer = Deframer::default();
        let mut input = &bytes[..end];
        let frame = deframer.next(&mut input, u32::MAX, &mut pool);
        let frame = frame.expect("right").expect("whole");
        said.push(match ToRelay::parse(frame.kind, frame.body) {
            Ok(Some(ToRelay::Reply(it))) => Said::Reply(it.notification, it.payload.len()),
            Ok(Some(ToRelay::Served(it))) => Said::Served(it.sequence, it.refused),
            Ok(Some(ToRelay::Ping(ping))) => Said::Ping(ping.nonce),
            Ok(Some(ToRelay::Pong(pong))) => Said::Pong(pong.nonce),
            Ok(Some(ToRelay::Bye(bye))) => Said::Bye(bye.reason.name()),
            other => panic!("{other:?}"),
        });
        bytes.drain(..end);
    }
    said
}

fn reply(rig: &mut Rig<Client>, handle: Handle, payload: &[u8]) {
    let now = rig.now;
    rig.endpoint.reply(now, handle, payload).unwrap();
    rig.poll();
}

/// Lets time pass until the client wants a connection; returns how long.
fn until_connect(rig: &mut Rig<Client>) -> Duration {
    let start = rig.now;
    for _ in 0..100 {
        disk(rig);
        if !rig.connects.is_empty() {
            return rig.now.saturating_since(start);
        }
        let at = rig.deadline.expect("a deadline");
        rig.wait(at.saturating_since(rig.now));
    }
    panic!("the client does not connect");
}

fn failed(what: &'static str, why: Failure) -> Event {
    Event::Failed { what, why }
}
