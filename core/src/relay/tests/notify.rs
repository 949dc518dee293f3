//! Notifications on their way to persistent connections.

use super::*;
use crate::notify::{NotifyError, NotifyOptions};
use crate::relay::To;
use crate::{CloseReason, OUTPUT_BUF_MIN};
use core::time::Duration;

fn options(seconds: u64) -> NotifyOptions {
    NotifyOptions {
        lifetime: Duration::from_secs(seconds),
        ..NotifyOptions::default()
    }
}

fn notify(rig: &mut Rig<Relay>, to: To, payload: &[u8]) -> NotificationId {
    let now = rig.now;
    let id = rig.endpoint.notify(now, to, payload, options(60)).unwrap();
    rig.poll();
    id
}

fn connected(count: usize) -> (Rig<Relay>, Vec<(Peer, ConnId)>) {
    let mut rig = relay();
    let peers = (0..count)
        .map(|_| {
            let mut peer = register(&mut rig);
            let conn = peer.connect(&mut rig);
            assert_eq!(said(&mut rig, conn), [Said::Hello]);
            (peer, conn)
        })
        .collect();
    (rig, peers)
}

#[test]
fn one_client_is_told_and_nobody_else() {
    let (mut rig, peers) = connected(2);
    let (peer, conn) = &peers[0];
    let id = notify(&mut rig, To::Client(peer.id), b"ping");
    assert_eq!(
        said(&mut rig, *conn),
        [Said::Notification(id, b"ping".into())]
    );
    assert_eq!(said(&mut rig, peers[1].1), []);
    let status = rig.endpoint.notification(id).unwrap();
    assert_eq!((status.targets, status.sent, status.replied), (1, 1, 0));
    assert_eq!(count(&rig, |stats| stats.sent.get("connection")), 1);
}

#[test]
fn all_are_told_also_while_reads_are_served() {
    let (mut rig, peers) = connected(50);
    register(&mut rig);
    let now = rig.now;
    let id = rig
        .endpoint
        .notify(now, To::All, b"all", options(60))
        .unwrap();
    // A read between two polls does not disturb the walk.
    let mut buf = [0; OUTPUT_BUF_MIN];
    for _ in 0..10 {
        match crate::Endpoint::poll_output(&mut rig.endpoint, &mut buf) {
            crate::Output::Write { conn, bytes } => rig.wire(conn).written.extend_from_slice(bytes),
            other => panic!("{other:?}"),
        }
    }
    rig.feed(
        peers[49].1,
        &frame(ToRelay::Ping(crate::wire::message::Ping { nonce: 1 })),
    );
    for (_, conn) in &peers {
        let mut told = said(&mut rig, *conn);
        told.retain(|said| *said != Said::Pong(1));
        assert_eq!(told, [Said::Notification(id, b"all".into())]);
    }
    let status = rig.endpoint.notification(id).unwrap();
    assert_eq!((status.targets, status.sent), (51, 50));
}

#[test]
fn one_that_is_made_during_a_walk_reaches_all_as_well() {
    let (mut rig, peers) = connected(20);
    let mut ids = Vec::new();
    let mut buf = [0; OUTPUT_BUF_MIN];
    for polls in [7, 11, 3] {
        let now = rig.now;
        ids.push(
            rig.endpoint
                .notify(now, To::All, b"x", options(60))
                .unwrap(),
        );
        for _ in 0..polls {
            if let crate::Output::Write { conn, bytes } =
                crate::Endpoint::poll_output(&mut rig.endpoint, &mut buf)
            {
                rig.wire(conn).written.extend_from_slice(bytes);
            }
        }
    }
    rig.poll();
    let expected: Vec<_> = ids
        .iter()
        .map(|id| Said::Notification(*id, b"x".into()))
        .collect();
    for (_, conn) in &peers {
        assert_eq!(said(&mut rig, *conn), expected);
    }
}

#[test]
fn a_blocked_connection_gets_what_it_missed_in_order() {
    let (mut rig, peers) = connected(2);
    let (peer, conn) = (&peers[0].0, peers[0].1);
    rig.wire(conn).blocks = true;
    let mut ids = Vec::new();
    for number in 0..6_u8 {
        let to = if number % 2 == 0 {
            To::All
        } else {
            To::Client(peer.id)
        };
        ids.push(notify(&mut rig, to, &[number]));
    }
    let first = said(&mut rig, conn);
    assert_eq!(first, [Said::Notification(ids[0], [0].into())]);
    rig.writable(conn);
    let rest: Vec<_> = (1..6_u8)
        .map(|number| Said::Notification(ids[usize::from(number)], [number].into()))
        .collect();
    assert_eq!(said(&mut rig, conn), rest);
    assert_eq!(
        rig.wire(conn).writes.len(),
        4,
        "101, hello, first, rest in one"
    );
    assert_eq!(said(&mut rig, peers[1].1).len(), 3);
}

#[test]
fn a_frame_larger_than_the_buffer_leaves_in_parts() {
    for len in [2_000, 2_019, 2_020, 2_021, 4_068, 65_536] {
        let (mut rig, peers) = connected(1);
        let (peer, conn) = (&peers[0].0, peers[0].1);
        let payload: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
        let id = notify(&mut rig, To::Client(peer.id), &payload);
        let next = notify(&mut rig, To::Client(peer.id), b"next");
        let expected = [
            Said::Notification(id, payload),
            Said::Notification(next, b"next".into()),
        ];
        assert_eq!(said(&mut rig, conn), expected, "{len}");
        assert!(
            rig.wire(conn)
                .writes
                .iter()
                .all(|len| *len <= OUTPUT_BUF_MIN)
        );
    }
}

#[test]
fn one_that_expires_in_the_middle_of_its_frame_is_written_to_its_end() {
    let (mut rig, peers) = connected(1);
    let (peer, conn) = (&peers[0].0, peers[0].1);
    rig.wire(conn).blocks = true;
    let now = rig.now;
    let to = To::Client(peer.id);
    let id = rig
        .endpoint
        .notify(now, to, &[7; 10_000], options(10))
        .unwrap();
    rig.poll();
    rig.wait(Duration::from_secs(11));
    assert!(rig.endpoint.notification(id).is_none());
    assert!(
        rig.told()
            .iter()
            .any(|event| matches!(event, Event::Expired(status) if status.id == id))
    );
    assert_eq!(
        count(&rig, |stats| stats.notifications_alive),
        1,
        "it is written still"
    );
    rig.writable(conn);
    assert_eq!(
        said(&mut rig, conn),
        [Said::Notification(id, [7; 10_000].into())]
    );
    assert_eq!(count(&rig, |stats| stats.notifications_alive), 0);
    assert_eq!(count(&rig, |stats| stats.notification_bytes), 0);
}

#[test]
fn one_whose_connection_goes_in_the_middle_of_its_frame_is_freed() {
    let (mut rig, peers) = connected(1);
    let (peer, conn) = (&peers[0].0, peers[0].1);
    rig.wire(conn).blocks = true;
    let now = rig.now;
    let to = To::Client(peer.id);
    rig.endpoint
        .notify(now, to, &[7; 10_000], options(10))
        .unwrap();
    rig.poll();
    rig.wait(Duration::from_secs(11));
    rig.closed(conn, CloseReason::Reset);
    assert_eq!(count(&rig, |stats| stats.notifications_alive), 0);
}

#[test]
fn one_that_expired_unsent_is_not_sent() {
    let (mut rig, peers) = connected(1);
    let (peer, conn) = (&peers[0].0, peers[0].1);
    rig.wire(conn).blocks = true;
    notify(&mut rig, To::Client(peer.id), b"first");
    let now = rig.now;
    rig.endpoint
        .notify(now, To::All, b"short", options(5))
        .unwrap();
    let last = notify(&mut rig, To::All, b"last");
    assert_eq!(said(&mut rig, conn).len(), 1);
    rig.wait(Duration::from_secs(6));
    rig.writable(conn);
    assert_eq!(
        said(&mut rig, conn),
        [Said::Notification(last, b"last".into())]
    );
}

#[test]
fn a_client_that_returns_gets_exactly_what_it_has_not() {
    let (mut rig, mut peers) = connected(1);
    let (peer, conn) = &mut peers[0];
    let ids: Vec<_> = (0..4_u8)
        .map(|number| notify(&mut rig, To::All, &[number]))
        .collect();
    said(&mut rig, *conn);
    rig.closed(*conn, CloseReason::Reset);
    let more = notify(&mut rig, To::Client(peer.id), b"more");
    peer.register_again(&mut rig);
    let conn = peer.connect_to(&mut rig, &alloc::format!("/v1/connect?after={}", ids[1]));
    let expected = [
        Said::Hello,
        Said::Notification(ids[2], [2].into()),
        Said::Notification(ids[3], [3].into()),
        Said::Notification(more, b"more".into()),
    ];
    assert_eq!(said(&mut rig, conn), expected);
    let status = rig.endpoint.notification(ids[3]).unwrap();
    assert_eq!(status.sent, 1, "counted once");
}

#[test]
fn a_client_that_joins_is_not_told_what_was_said_before() {
    let (mut rig, _) = connected(1);
    notify(&mut rig, To::All, b"before");
    let mut late = register(&mut rig);
    let conn = late.connect(&mut rig);
    assert_eq!(said(&mut rig, conn), [Said::Hello]);
}

#[test]
fn a_registration_tells_behind_what_the_client_begins() {
    let (mut rig, _) = connected(1);
    let before = notify(&mut rig, To::All, b"before");
    let answer = ask(
        &mut rig,
        &head("POST", "/v1/register", "", &body(None, 1, ""), ""),
    );
    assert_eq!(answer.json()["notified"], before.to_string());
}

/// A relay with room for little, and what it says to a notification of so
/// many bytes, such a lifetime and reply window.
fn bounded() -> Rig<Relay> {
    let mut limits = Limits::default();
    limits.notifier.notifications_max = 5;
    limits.notifier.notifications_per_client_max = 2;
    limits.notifier.payload_bytes_max = 100;
    limits.notifier.payloads_bytes_max = 250;
    relay_with(settings(), limits)
}

fn attempt(
    rig: &mut Rig<Relay>,
    to: To,
    len: usize,
    lifetime: Duration,
    reply_window: Duration,
) -> Result<(), NotifyError> {
    let options = NotifyOptions {
        lifetime,
        reply_window,
    };
    let now = rig.now;
    let payload = alloc::vec![0; len];
    rig.endpoint.notify(now, to, &payload, options).map(|_| ())
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn what_can_not_be_said_is_the_callers_error() {
    let mut rig = bounded();
    let none = Duration::ZERO;
    let unknown = To::Client(ClientId([0; 16]));
    let answer = attempt(&mut rig, unknown, 1, SECOND, none);
    assert_eq!(answer, Err(NotifyError::UnknownClient));
    let answer = attempt(&mut rig, To::All, 101, SECOND, none);
    let bytes_max = 100;
    assert_eq!(answer, Err(NotifyError::PayloadTooLong { bytes_max }));
    let short = SECOND - Duration::from_micros(1);
    for lifetime in [none, short, DAY + SECOND, Duration::MAX] {
        let lifetime_max = DAY;
        let answer = attempt(&mut rig, To::All, 1, lifetime, none);
        let bounds = Err(NotifyError::Lifetime { lifetime_max });
        assert_eq!(answer, bounds, "{lifetime:?}");
    }
    let answer = attempt(&mut rig, To::All, 1, SECOND, 2 * SECOND);
    assert_eq!(answer, Err(NotifyError::ReplyWindow));
    assert_eq!(count(&rig, |stats| stats.notifications), 0);
}

#[test]
fn limits_are_values() {
    let mut rig = bounded();
    let one = To::Client(register(&mut rig).id);
    let two = To::Client(register(&mut rig).id);
    for (to, len, lifetime, answer) in [
        (one, 100, SECOND, Ok(())),
        (one, 1, DAY, Ok(())),
        (one, 1, SECOND, Err(NotifyError::ClientFull)),
        (two, 100, SECOND, Ok(())),
        // 251 bytes
        (To::All, 50, SECOND, Err(NotifyError::BytesFull)),
        (To::All, 49, SECOND, Ok(())),
        (To::All, 0, SECOND, Ok(())),
        // five live
        (To::All, 0, SECOND, Err(NotifyError::Full)),
    ] {
        let said = attempt(&mut rig, to, len, lifetime, Duration::ZERO);
        assert_eq!(said, answer, "{to:?} {len}");
    }
    rig.wait(SECOND);
    let stats = rig.endpoint.stats();
    let kept = (stats.notifications_alive, stats.notification_bytes);
    assert_eq!(kept, (1, 1));
}

#[test]
fn what_is_left_of_its_lifetime_is_that_of_the_moment() {
    let (mut rig, mut peers) = connected(1);
    let (peer, conn) = &mut peers[0];
    rig.closed(*conn, CloseReason::Reset);
    notify(&mut rig, To::Client(peer.id), b"x");
    peer.register_again(&mut rig);
    // No timeout tells the time, only what comes next.
    rig.now = rig.now + Duration::from_secs(20);
    let conn = peer.connect_to(&mut rig, "/v1/connect?after=0000000300000000");
    let bytes = rig.written(conn);
    let lifetime = &bytes[22 + HEADER_BYTES + 8..][..4];
    assert_eq!(lifetime, 40_u32.to_be_bytes());
}
