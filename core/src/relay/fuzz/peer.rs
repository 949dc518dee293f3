//! The other end of a connection: what it offers, and what it may get.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::ways::Leg;
use super::{INCARNATION, Known, World};
use crate::collections::Pool;
use crate::notify::body::{Inbox, decode_payload};
use crate::registration::body::Answer;
use crate::relay::Event;
use crate::wire::frame::Deframer;
use crate::wire::message::{Notification, ToClient};
use crate::wire::proof::Session;
use crate::{ClientId, Close, ConnId, Endpoint, Input, Instant, Key, NotificationId};

/// Bytes of answers that are looked through.
const ANSWERS_BYTES_MAX: usize = 40_000;

/// A connection as its driver and its peer know it.
pub(super) struct Peer {
    pub(super) conn: ConnId,
    pub(super) observed: IpAddr,
    /// Bytes that came and were not taken.
    pub(super) kept: Vec<u8>,
    /// Bytes were refused: they are offered again when the relay asks.
    pub(super) paused: bool,
    pub(super) blocked: bool,
    /// The peer has ended its side.
    pub(super) ended: bool,
    pub(super) send_left: u64,
    take_left: u64,
    pub(super) closing: Option<Close>,
    /// The number of a registration whose answer has not come.
    pub(super) registering: Option<u64>,
    /// Who asked for the inbox, and behind what.
    pub(super) asking: Option<(ClientId, NotificationId)>,
    /// Who asked for a persistent connection, and behind what.
    pub(super) proved: Vec<(ClientId, NotificationId)>,
    /// What was replied to by frames.
    pub(super) replied: BTreeSet<NotificationId>,
    /// It sends nothing more.
    pub(super) silent: bool,
    answers: Vec<u8>,
    pub(super) line: Option<Line>,
}

/// A persistent connection as the client sees it.
pub(super) struct Line {
    pub(super) client: ClientId,
    deframer: Deframer,
    pool: Pool,
    greeted: bool,
    /// The goodbye came.
    pub(super) over: bool,
    /// The application was told that it is gone.
    left: bool,
    newest: NotificationId,
    /// The number of the last frame with datagrams for others.
    pub(super) served: u32,
    /// What it was sent to pass on and did not confirm.
    pub(super) legs: Vec<Leg>,
    /// When it last confirmed one.
    pub(super) confirmed_at: Option<Instant>,
    /// The subnet that it passes on to.
    pub(super) serves: Option<Key>,
    /// When the relay last heard of it, or could not.
    pub(super) heard_at: Instant,
    /// When it was last in another place.
    pub(super) moved_at: Instant,
    /// What it was asked, and when, since it was heard.
    pub(super) asked: Option<(u64, Instant)>,
}

impl Line {
    pub(super) const fn is_gone(&self) -> bool {
        self.over || self.left
    }

    pub(super) const fn is_open(&self) -> bool {
        self.greeted && !self.is_gone()
    }
}

impl Peer {
    pub(super) fn new(conn: ConnId, observed: IpAddr) -> Self {
        Self {
            conn,
            observed,
            kept: Vec::new(),
            paused: false,
            blocked: false,
            ended: false,
            send_left: 0,
            take_left: 0,
            closing: None,
            registering: None,
            asking: None,
            proved: Vec::new(),
            replied: BTreeSet::new(),
            silent: false,
            answers: Vec::new(),
            line: None,
        }
    }

    /// Whether the driver may say that the peer has ended.
    pub(super) fn may_end(&self) -> bool {
        self.kept.is_empty() && !self.ended && self.closing.is_none()
    }

    pub(super) fn told_to_close(&mut self, how: Close) {
        match (self.closing, how) {
            (None, _) | (Some(Close::Finish), Close::Abort) => self.closing = Some(how),
            (Some(before), again) => panic!("{again:?} behind {before:?}"),
        }
    }

    pub(super) fn told_to_take(&mut self, len: u64) {
        assert!(len > 0 && self.take_left == 0 && self.closing.is_none());
        self.take_left = len;
    }

    pub(super) fn told_to_send(&mut self, len: u64) {
        assert!(len > 0 && self.send_left == 0 && self.closing.is_none());
        assert!(!self.blocked, "a file for a blocked connection");
        self.send_left = len;
    }

    /// Whether bytes were refused and nothing will ask for them again.
    pub(super) fn waits_in_vain(&self) -> bool {
        self.closing.is_none() && self.take_left == 0 && !self.kept.is_empty()
    }
}

impl World {
    /// The peer sends more bytes.
    pub(super) fn send(&mut self, at: usize, bytes: &[u8]) {
        let peer = &mut self.peers[at];
        if peer.ended || peer.silent || peer.closing.is_some() {
            return;
        }
        peer.kept.extend_from_slice(bytes);
        self.offer(at);
    }

    /// Offers what the driver holds; returns whether it did.
    pub(super) fn offer(&mut self, at: usize) -> bool {
        let peer = &mut self.peers[at];
        let conn = peer.conn;
        if peer.closing.is_some() || peer.kept.is_empty() {
            return false;
        }
        let to_file = peer.take_left.min(peer.kept.len() as u64);
        if to_file > 0 {
            peer.take_left -= to_file;
            peer.kept.drain(..to_file as usize);
            // What stands behind is offered as usual.
            peer.paused = false;
            self.input(Input::Moved {
                conn,
                bytes: to_file,
            });
            self.offer(at);
            return true;
        }
        if peer.paused {
            return false;
        }
        let kept = core::mem::take(&mut peer.kept);
        let bytes = kept.as_slice();
        self.hear(at);
        let taken = self
            .relay
            .handle_input(self.now, Input::Received { conn, bytes });
        assert!(taken <= kept.len());
        let peer = &mut self.peers[at];
        peer.kept.extend_from_slice(&kept[taken..]);
        peer.paused = taken < kept.len();
        true
    }

    /// Bytes went to the peer.
    pub(super) fn written(&mut self, at: usize, bytes: &[u8]) {
        let peer = &mut self.peers[at];
        assert!(!bytes.is_empty());
        assert!(!peer.blocked, "bytes for a blocked connection");
        assert!(peer.closing.is_none(), "bytes behind a close");
        assert_eq!(peer.send_left, 0, "bytes before the file went");
        if peer.line.is_some() {
            self.read_frames(at, bytes);
        } else {
            peer.answers.extend_from_slice(bytes);
            self.read_answers(at);
        }
    }

    /// What an event tells, against what is known.
    pub(super) fn learn(&mut self, event: Event) {
        match event {
            Event::Request { .. }
            | Event::RequestBody { .. }
            | Event::RequestBodyEnd { .. }
            | Event::ResponsePull { .. }
            | Event::RequestOver { .. } => self.learn_of_request(event),
            Event::Registered { client, new, .. } => {
                assert_eq!(self.registered.insert(client), new);
                self.learn_of_place(client);
            }
            Event::RegistrationRefused { conn, .. } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.conn == conn) {
                    peer.registering = None;
                }
            }
            Event::Forgotten { client } => {
                assert!(self.registered.remove(&client));
                for said in self.said.values_mut() {
                    said.present.remove(&client);
                }
            }
            Event::Connected { client, conn } => self.connected(client, conn),
            Event::Disconnected { client, conn, .. } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.conn == conn) {
                    let line = peer.line.as_mut().expect("it was connected");
                    assert_eq!(line.client, client);
                    assert!(!core::mem::replace(&mut line.left, true));
                    line.legs.clear();
                }
            }
            Event::Replied {
                notification,
                client,
            } => {
                let said = self.said.get_mut(&notification).expect("a known one");
                assert!(!said.expired && said.includes(client, &self.places));
                assert!(said.replied.insert(client), "a second reply");
            }
            Event::HeartbeatEnded { .. }
            | Event::HeartbeatAdvice { .. }
            | Event::HeartbeatLearned { .. } => self.learn_of_heartbeats(event),
            Event::ReplyRefused { .. } => {}
            Event::Expired(status) => {
                let said = self.said.get_mut(&status.id).expect("a known one");
                assert!(!core::mem::replace(&mut said.expired, true));
                assert_eq!(status.replied as usize, said.replied.len());
                assert!(status.expires_at <= self.now);
            }
            Event::Drained => {
                assert!(self.relay.is_draining() && self.peers.is_empty());
                assert!(
                    !core::mem::replace(&mut self.drained, true),
                    "drained twice"
                );
            }
        }
    }

    fn connected(&mut self, client: ClientId, conn: ConnId) {
        // The connection may have gone before the event was asked for.
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.conn == conn) else {
            return;
        };
        // It may have asked more than once, and only one was heard.
        let proofs = peer.proved.iter().filter(|(proved, _)| *proved == client);
        let after = proofs.map(|(_, after)| *after).min();
        let after = after.expect("only who proved itself");
        assert!(peer.line.is_none());
        let serves = self.relay.client(client).map(|record| record.subnet);
        peer.line = Some(Line {
            client,
            deframer: Deframer::default(),
            pool: Pool::new(4, 8_192),
            greeted: false,
            over: false,
            left: false,
            newest: after,
            served: 0,
            legs: Vec::new(),
            confirmed_at: None,
            serves,
            heard_at: self.now,
            moved_at: self.now,
            asked: None,
        });
    }

    fn read_frames(&mut self, at: usize, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((kind, body)) = self.next_frame(at, &mut rest) {
            let message = ToClient::parse(kind, &body).expect("a sound message");
            let message = message.expect("a known kind");
            let peer = &mut self.peers[at];
            let Some(line) = &mut peer.line else {
                return;
            };
            assert!(!line.over, "a frame behind the goodbye");
            assert_eq!(line.greeted, !matches!(message, ToClient::Hello(_)));
            match message {
                ToClient::Hello(hello) => {
                    line.greeted = true;
                    assert_eq!(hello.incarnation, INCARNATION);
                }
                ToClient::Notification(notification) => {
                    assert!(notification.id > line.newest, "out of order or twice");
                    line.newest = notification.id;
                    let client = line.client;
                    self.check(client, &notification);
                }
                ToClient::Taken(taken) => assert!(peer.replied.contains(&taken.notification)),
                ToClient::Bye(_) => line.over = true,
                ToClient::Ping(ping) => self.asked(at, ping.nonce),
                ToClient::Pong(_) => {}
                ToClient::Serve(serve) => self.read_serve(at, &serve),
            }
        }
    }

    fn next_frame(&mut self, at: usize, rest: &mut &[u8]) -> Option<(u8, Vec<u8>)> {
        let line = self.peers[at].line.as_mut()?;
        assert!(!line.left, "bytes behind the end");
        let frame = line.deframer.next(rest, u32::MAX, &mut line.pool);
        let frame = frame.expect("sound frames")?;
        Some((frame.kind, frame.body.to_vec()))
    }

    /// Picks out of the answers what the peer has to know.
    fn read_answers(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        if let Some(answer) = find::<Answer>(&peer.answers, b"{\"protocol\":") {
            peer.answers.clear();
            if let Some(registration) = peer.registering.take() {
                self.admitted(&answer, registration);
            }
        } else if let Some(inbox) = find::<Inbox>(&peer.answers, b"{\"incarnation\":") {
            peer.answers.clear();
            let (client, mut newest) = peer.asking.take().expect("it was asked for");
            assert!(inbox.notifications.len() <= self.limits.inbox_notifications_max);
            for item in &inbox.notifications {
                assert!(item.notification > newest, "out of order or twice");
                newest = item.notification;
                let payload = decode_payload(&item.payload_base64).expect("base64");
                let notification = Notification {
                    id: item.notification,
                    lifetime_s: item.lifetime_s,
                    reply_window_ms: item.reply_window_ms,
                    payload: &payload,
                };
                self.check(client, &notification);
            }
        } else if peer.answers.len() > ANSWERS_BYTES_MAX {
            peer.answers.clear();
        }
    }

    fn admitted(&mut self, answer: &Answer, registration: u64) {
        let id = answer.client;
        let secret = super::MASTER.client_secret(id);
        if let Some(stated) = answer.secret {
            assert_eq!(stated.0, secret.0);
        }
        let key = secret.session_key(&Session {
            client: id,
            registration,
            incarnation: INCARNATION,
            nonce: answer.nonce.0,
        });
        let known = self.known.iter_mut().find(|known| known.id == id);
        match known {
            Some(known) => (known.key, known.counter) = (Some(key), 0),
            None => self.known.push(Known {
                id,
                secret,
                key: Some(key),
                counter: 0,
            }),
        }
    }
}

/// The first JSON value of a kind that begins so.
fn find<T: serde::de::DeserializeOwned>(answers: &[u8], start: &[u8]) -> Option<T> {
    let at = answers
        .windows(start.len())
        .position(|part| part == start)?;
    let values = serde_json::Deserializer::from_slice(&answers[at..]);
    values.into_iter().next()?.ok()
}
