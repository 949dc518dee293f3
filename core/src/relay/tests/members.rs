//! Clients in subnets: by the address that they state, and the one that the
//! relay sees them with.

use core::time::Duration;

use super::*;
use crate::notify::NotifyOptions;
use crate::relay::To;
use crate::relay::routing::Routed;
use crate::wire::datagram::{Content, Sealed};
use crate::wire::message::Served;
use crate::wire::replay::ReplayWindow;

/// The port that every member takes datagrams on.
pub(super) const PORT: u16 = 7_000;

/// A client, and where it is.
pub(super) struct Member {
    pub(super) peer: Peer,
    /// What it states: an address with its prefix.
    local: String,
    observed: String,
    window: ReplayWindow,
}

/// What a datagram said to whom it was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Notification(NotificationId, Vec<u8>),
    Hint(NotificationId, u32),
    Test(u64),
}

/// A relay that clients from anywhere may enrol with.
pub(super) fn open_settings() -> Settings {
    let mut settings = settings();
    settings.registry.secrets_over_plaintext = true;
    settings
}

pub(super) fn open_relay() -> Rig<Relay> {
    relay_with(open_settings(), Limits::default())
}

/// What a member says of itself: `wants` a connection.
fn stated(local: &str, wants: bool, port: u16) -> String {
    let (address, prefix) = local.split_once('/').expect("a prefix");
    alloc::format!(
        r#","persistent_connection":{wants},"udp_port":{port},"local":"{address}",
            "interfaces":[{{"address":"{address}","prefix":{prefix}}}]"#
    )
}

fn body_of(peer: Option<&Peer>, number: u64, more: &str) -> Vec<u8> {
    let client = peer.map_or(String::new(), |peer| {
        alloc::format!(r#""client":"{}","#, peer.id)
    });
    alloc::format!(r#"{{"protocol":1,{client}"registration":{number},"hostname":"m"{more}}}"#)
        .into_bytes()
}

fn admitted(answer: Response) -> Answer {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_slice(&answer.body).expect("an answer")
}

impl Member {
    /// Enrols at an inner address, seen with an outer one.
    pub(super) fn new(rig: &mut Rig<Relay>, observed: &str, local: &str, wants: bool) -> Self {
        Self::with_port(rig, observed, local, wants, PORT)
    }

    pub(super) fn with_port(
        rig: &mut Rig<Relay>,
        observed: &str,
        local: &str,
        wants: bool,
        port: u16,
    ) -> Self {
        let observed = alloc::format!("{observed}:40000");
        let body = body_of(None, 1, &stated(local, wants, port));
        let answer = ask_from(rig, &observed, &head("POST", "/v1/register", "", &body, ""));
        let answer = admitted(answer);
        let secret = ClientSecret(answer.secret.expect("a secret").0);
        let mut peer = peer(&answer, secret, 1);
        // Nothing is sent to who never used its key.
        assert_eq!(peer.inbox(rig, None).status, 200);
        Self {
            peer,
            local: local.into(),
            observed,
            window: ReplayWindow::default(),
        }
    }

    /// A member that takes datagrams and wants no connection.
    pub(super) fn quiet(rig: &mut Rig<Relay>, observed: &str, local: &str) -> Self {
        Self::new(rig, observed, local, false)
    }

    /// A member that has proved that datagrams reach it.
    pub(super) fn reached(rig: &mut Rig<Relay>, observed: &str, local: &str) -> Self {
        let mut member = Self::new(rig, observed, local, true);
        rig.wait(Duration::from_secs(1));
        let tests = sent(rig)
            .into_iter()
            .filter(|(to, _)| *to == member.outer());
        let tests: Vec<_> = tests.collect();
        let Some(Heard::Test(nonce)) = member.hear(&tests[0].1) else {
            panic!("{tests:?}");
        };
        assert_eq!(member.proves(rig, nonce).status, 204);
        member
    }

    /// A member with a connection.
    pub(super) fn connected(rig: &mut Rig<Relay>, observed: &str, local: &str) -> (Self, ConnId) {
        let mut member = Self::new(rig, observed, local, true);
        let conn = member.connect(rig);
        (member, conn)
    }

    pub(super) fn connect(&mut self, rig: &mut Rig<Relay>) -> ConnId {
        let conn = self.peer.connect(rig);
        assert_eq!(said(rig, conn)[0], Said::Hello);
        conn
    }

    /// Registers anew, perhaps from elsewhere, and uses its new key.
    pub(super) fn moves(
        &mut self,
        rig: &mut Rig<Relay>,
        observed: &str,
        local: &str,
        wants: bool,
    ) -> Answer {
        let answer = self.registers(rig, observed, local, wants);
        let newest = NotificationId(u64::MAX);
        assert_eq!(self.peer.inbox(rig, Some(newest)).status, 200);
        answer
    }

    /// Registers anew, and does not use the new key.
    pub(super) fn registers(
        &mut self,
        rig: &mut Rig<Relay>,
        observed: &str,
        local: &str,
        wants: bool,
    ) -> Answer {
        self.local = local.into();
        self.observed = alloc::format!("{observed}:40000");
        let number = self.peer.registration + 1;
        let body = body_of(Some(&self.peer), number, &stated(local, wants, PORT));
        let bytes = self.peer.registration_of(number, &body);
        let answer = admitted(ask_from(rig, &self.observed, &bytes));
        self.peer = peer(&answer, self.peer.secret.clone(), number);
        self.window = ReplayWindow::default();
        answer
    }

    /// Where peers of its subnet send to.
    pub(super) fn inner(&self) -> SocketAddr {
        let (address, _) = self.local.split_once('/').expect("a prefix");
        SocketAddr::new(address.parse().expect("an address"), PORT)
    }

    /// Where the relay sends to.
    pub(super) fn outer(&self) -> SocketAddr {
        let seen: SocketAddr = self.observed.parse().expect("an address");
        SocketAddr::new(seen.ip(), PORT)
    }

    /// Opens a datagram; `None` if it is not for this client.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Option<Heard> {
        let sealed = Sealed::parse(bytes).expect("a sound datagram");
        let opened = sealed.open(self.peer.id, &self.peer.key, &mut self.window);
        Some(match opened.ok()? {
            Content::Notification(it) => Heard::Notification(it.id, it.payload.into()),
            Content::Hint(hint) => Heard::Hint(hint.id, hint.payload_bytes),
            Content::Test(test) => Heard::Test(test.nonce),
        })
    }

    /// Replies by a request of its own.
    pub(super) fn replies(&mut self, rig: &mut Rig<Relay>, id: NotificationId) {
        let answer = self.peer.reply(rig, id, b"pong");
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// The receipt of a test.
    pub(super) fn proves(&mut self, rig: &mut Rig<Relay>, nonce: u64) -> Response {
        let target = alloc::format!("/v1/tests/{nonce:016x}");
        let bytes = self.peer.request("POST", &target, b"", "");
        ask(rig, &bytes)
    }
}

pub(super) fn notify(rig: &mut Rig<Relay>, to: To, payload: &[u8]) -> NotificationId {
    notify_for(rig, to, payload, 600)
}

pub(super) fn notify_for(
    rig: &mut Rig<Relay>,
    to: To,
    payload: &[u8],
    seconds: u64,
) -> NotificationId {
    let options = NotifyOptions {
        lifetime: Duration::from_secs(seconds),
        ..NotifyOptions::default()
    };
    let now = rig.now;
    let told = rig.endpoint.notify(now, to, payload, options);
    let id = told.expect("there is room");
    rig.poll();
    id
}

/// Routes what can be routed, and leaves it there; how many steps it took, and
/// how many of them were datagrams.
pub(super) fn steps(rig: &mut Rig<Relay>) -> (usize, usize) {
    let mut buf = [0; crate::OUTPUT_BUF_MIN];
    let (mut steps, mut datagrams) = (0, 0);
    loop {
        match rig.endpoint.next_route(&mut buf) {
            Routed::Again => {}
            Routed::Datagram { .. } => datagrams += 1,
            Routed::Idle => return (steps, datagrams),
        }
        steps += 1;
        assert!(steps < 10_000, "without an end");
    }
}

/// Tells, and routes what can be routed, as [`steps`] does.
pub(super) fn queue(rig: &mut Rig<Relay>, to: To) -> (NotificationId, usize, usize) {
    let now = rig.now;
    let options = NotifyOptions::default();
    let told = rig.endpoint.notify(now, to, b"x", options);
    let (steps, datagrams) = steps(rig);
    (told.expect("there is room"), steps, datagrams)
}

/// The name of the subnet that a member is in.
pub(super) fn subnet_of(rig: &Rig<Relay>, member: &Member) -> To {
    let record = rig.endpoint.client(member.peer.id).expect("registered");
    To::Subnet(rig.endpoint.subnet_of(record).expect("a subnet").name)
}

/// The frames with datagrams for others since the last time.
pub(super) type Frames = Vec<(u32, Vec<(SocketAddr, Vec<u8>)>)>;

pub(super) fn serves(rig: &mut Rig<Relay>, conn: ConnId) -> Frames {
    let frames = said(rig, conn).into_iter().filter_map(|frame| match frame {
        Said::Serve(sequence, datagrams) => Some((sequence, datagrams)),
        _ => None,
    });
    frames.collect()
}

/// The peer says that everything up to this frame is passed on.
pub(super) fn confirm(rig: &mut Rig<Relay>, conn: ConnId, sequence: u32) {
    let served = ToRelay::Served(Served {
        sequence,
        refused: 0,
    });
    rig.feed(conn, &frame(served));
}

/// The datagrams of the relay's own since the last time.
pub(super) fn sent(rig: &mut Rig<Relay>) -> Vec<(SocketAddr, Vec<u8>)> {
    core::mem::take(&mut rig.datagrams)
}

/// Nothing is left on its way.
pub(super) fn assert_idle(rig: &Rig<Relay>) {
    assert!(rig.endpoint.router.is_empty(), "legs are left");
    assert!(rig.endpoint.fanout.is_empty(), "queues are left");
}
