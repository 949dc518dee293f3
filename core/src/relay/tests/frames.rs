//! What a client may send over its persistent connection, and what not.

use super::*;
use crate::wire::frame::encode;
use crate::wire::message::{Bye, ByeReason, Ping, Pong, kind};
use crate::{Close, CloseReason, Input};
use core::time::Duration;

fn connected() -> (Rig<Relay>, Peer, ConnId) {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let conn = peer.connect(&mut rig);
    assert_eq!(said(&mut rig, conn), [Said::Hello]);
    (rig, peer, conn)
}

fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![0; HEADER_BYTES + body.len()];
    encode(kind, 0, body, &mut bytes).unwrap();
    bytes
}

#[test]
fn p9_what_breaks_the_rules_ends_the_connection_with_a_counted_reason() {
    let mut altered = raw(kind::PING, &[0; 8]);
    altered[15] ^= 1;
    let mut reserved = raw(kind::PING, &[0; 8]);
    reserved[6] = 1;
    let mut long = raw(kind::REPLY, &[0; 8]);
    long[..4].copy_from_slice(&(65_536_u32 + 65).to_be_bytes());
    for (bytes, reason) in [
        (raw(kind::HELLO, &[0; 10]), "message_direction"),
        (raw(kind::NOTIFICATION, &[0; 16]), "message_direction"),
        (raw(kind::TAKEN, &[0; 8]), "message_direction"),
        (raw(0x7f, &[]), "message_direction"),
        (raw(kind::REPLY, &[0; 7]), "message_truncated"),
        (raw(kind::PING, &[]), "message_truncated"),
        (altered, "frame_checksum"),
        (reserved, "frame_reserved"),
        (long, "frame_too_long"),
        (b"GET / HTTP/1.1\r\n\r\n".into(), "frame_reserved"),
    ] {
        for split in [false, true] {
            let (mut rig, _, conn) = connected();
            if split {
                rig.feed_split(conn, &bytes);
            } else {
                rig.feed(conn, &bytes);
            }
            let bye = [Said::Bye("protocol error", 0)];
            assert_eq!(said(&mut rig, conn), bye, "{reason} {split}");
            assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
            let refused = rig.endpoint.stats().lines_refused;
            assert_eq!((refused.get(reason), refused.total()), (1, 1), "{reason}");
            let why = rig.told().into_iter().find_map(|event| match event {
                Event::Disconnected { why, .. } => Some(why),
                _ => None,
            });
            assert_eq!(why, Some("protocol error"));
        }
    }
}

#[test]
fn frames_of_later_versions_are_skipped() {
    let (mut rig, _, conn) = connected();
    for kind in [0x00, 0x3f, 0x82, 0xbf, 0xc0, 0xff] {
        rig.feed(conn, &raw(kind, b"later"));
    }
    rig.feed(conn, &frame(ToRelay::Pong(Pong { nonce: 1 })));
    rig.feed(conn, &frame(ToRelay::Ping(Ping { nonce: 7 })));
    assert_eq!(said(&mut rig, conn), [Said::Pong(7)]);
}

#[test]
fn pings_that_pile_up_get_one_answer() {
    let (mut rig, _, conn) = connected();
    let mut bytes = Vec::new();
    for nonce in 0..1_000 {
        bytes.extend(frame(ToRelay::Ping(Ping { nonce })));
    }
    rig.feed(conn, &bytes);
    assert_eq!(said(&mut rig, conn), [Said::Pong(999)]);
    assert_eq!(count(&rig, |stats| stats.pings), 1_000);
}

#[test]
fn a_client_that_says_bye_is_answered_by_the_end() {
    let (mut rig, peer, conn) = connected();
    let (reason, retry_after_ms) = (ByeReason::ShuttingDown, 0);
    let mut bytes = frame(ToRelay::Bye(Bye {
        reason,
        retry_after_ms,
    }));
    bytes.extend(frame(ToRelay::Ping(Ping { nonce: 7 })));
    rig.feed(conn, &bytes);
    assert_eq!(said(&mut rig, conn), []);
    assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
    let (client, why) = (peer.id, "closed by the client");
    assert!(
        rig.told()
            .contains(&Event::Disconnected { client, conn, why })
    );
    assert_eq!(count(&rig, |stats| stats.lines_refused.total()), 0);
}

#[test]
fn a_peer_that_ends_its_side_is_ended() {
    let (mut rig, _, conn) = connected();
    rig.closes = false;
    rig.tell(Input::Eof { conn });
    assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
    // What comes behind the end is dropped, and the end is not waited for.
    rig.feed(conn, &frame(ToRelay::Ping(Ping { nonce: 7 })));
    assert_eq!(said(&mut rig, conn), []);
    rig.wait(Duration::from_secs(3));
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
}

#[test]
fn a_slow_reader_is_aborted() {
    let (mut rig, _, conn) = connected();
    rig.wire(conn).blocks = true;
    rig.feed(conn, &frame(ToRelay::Ping(Ping { nonce: 1 })));
    rig.wait(Duration::from_secs(29));
    assert_eq!(rig.wire(conn).closed, None);
    // To be blocked again is no progress.
    rig.tell(Input::Blocked { conn });
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
    assert_eq!(
        count(&rig, |stats| stats.lines_refused.get("slow_reader")),
        1
    );
    assert_eq!(count(&rig, |stats| stats.lines), 0);
}

#[test]
fn a_frame_that_does_not_come_whole_in_time_ends_the_connection() {
    let (mut rig, _, conn) = connected();
    let frame = raw(kind::REPLY, &[0; 100]);
    // However little comes, now and then: the deadline is for the whole.
    for at in 0..29 {
        rig.feed(conn, &frame[at..=at]);
        rig.wait(Duration::from_secs(1));
    }
    assert_eq!(said(&mut rig, conn), []);
    rig.wait(Duration::from_secs(1));
    assert_eq!(said(&mut rig, conn), [Said::Bye("protocol error", 0)]);
    let refused = rig.endpoint.stats().lines_refused;
    assert_eq!((refused.get("slow_frame"), refused.total()), (1, 1));
}

#[test]
fn each_frame_has_its_own_time() {
    let (mut rig, _, conn) = connected();
    let frame = raw(kind::PING, &7_u64.to_be_bytes());
    let (front, back) = frame.split_at(5);
    rig.feed(conn, front);
    for _ in 0..4 {
        rig.wait(Duration::from_secs(20));
        rig.feed(conn, &[back, front].concat());
    }
    assert_eq!(said(&mut rig, conn), [const { Said::Pong(7) }; 4]);
    rig.feed(conn, back);
    rig.wait(Duration::from_secs(3_600));
    assert_eq!(said(&mut rig, conn), [Said::Pong(7)]);
}

#[test]
fn unfinished_frames_have_a_budget_in_common() {
    let limits = Limits {
        unfinished_frames_bytes_max: 5_000,
        ..Limits::default()
    };
    let mut rig = relay_with(settings(), limits);
    let frame = raw(kind::REPLY, &[0; 4_000]);
    let open = |rig: &mut Rig<Relay>| {
        let mut peer = register(rig);
        let conn = peer.connect(rig);
        said(rig, conn);
        conn
    };
    let (first, second) = (open(&mut rig), open(&mut rig));
    rig.feed(first, &frame[..3_000]);
    rig.feed(second, &frame[..3_000]);
    assert_eq!(said(&mut rig, first), []);
    assert_eq!(said(&mut rig, second), [Said::Bye("overloaded", 0)]);
    let refused = rig.endpoint.stats().lines_refused;
    assert_eq!(refused.get("unfinished_frames_full"), 1);
    // What a connection held is free again when it is gone.
    rig.closed(first, CloseReason::Reset);
    rig.closed(second, CloseReason::Reset);
    let third = open(&mut rig);
    rig.feed(third, &frame[..3_000]);
    assert_eq!(said(&mut rig, third), []);
}
