//! Datagrams of the relay's own: tests of whether they arrive, and
//! notifications to clients that no peer reaches.

use core::time::Duration;

use super::members::{
    Heard, Member, assert_idle, confirm, notify, notify_for, open_relay, open_settings, sent,
    serves, subnet_of,
};
use super::*;
use crate::relay::To;
use crate::{CloseReason, Input};

const NAT: &str = "192.0.2.1";
const SECOND: Duration = Duration::from_secs(1);

/// The nonces of the tests that were sent, with the seconds they were sent at.
fn tests_until(rig: &mut Rig<Relay>, member: &mut Member, seconds: u64) -> Vec<(u64, u64)> {
    let mut tests = Vec::new();
    for second in 0..=seconds {
        if second > 0 {
            rig.wait(SECOND);
        }
        for (to, bytes) in sent(rig) {
            assert_eq!(to, member.outer(), "nothing else is sent anywhere");
            match member.hear(&bytes) {
                Some(Heard::Test(nonce)) => tests.push((second, nonce)),
                other => panic!("{other:?}"),
            }
        }
    }
    tests
}

#[test]
fn p1_tests_go_to_where_it_was_seen_after_1_10_and_20_seconds() {
    let mut rig = open_relay();
    // What it states of its address plays no part.
    let mut member = Member::new(&mut rig, NAT, "203.0.113.9/24", true);
    assert_eq!(member.outer().to_string(), "192.0.2.1:7000");
    let tests = tests_until(&mut rig, &mut member, 120);
    let seconds: Vec<_> = tests.iter().map(|(second, _)| *second).collect();
    assert_eq!(seconds, [1, 10, 20]);
    assert!(tests.iter().all(|(_, nonce)| *nonce == tests[0].1));
    assert_eq!(count(&rig, |stats| stats.tests_sent), 3);
    // None of them was answered: the grant holds, and it connects.
    member.connect(&mut rig);
    assert_eq!(count(&rig, |stats| stats.lines), 1);
}

#[test]
fn p1_who_proves_a_test_needs_no_connection_and_gets_none() {
    let mut rig = open_relay();
    let mut member = Member::new(&mut rig, NAT, "10.0.0.5/24", true);
    let tests = tests_until(&mut rig, &mut member, 1);
    let answer = member.proves(&mut rig, tests[0].1);
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
    assert_eq!(count(&rig, |stats| stats.tests_proven), 1);
    let record = rig.endpoint.client(member.peer.id).unwrap();
    assert!(record.is_udp_proven());
    assert_eq!(
        tests_until(&mut rig, &mut member, 100),
        [],
        "no more of them"
    );

    let bytes = member.peer.upgrade("/v1/connect");
    let answer = ask(&mut rig, &bytes);
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["detail"], "Datagrams reach this client.");
    let granted = count(&rig, |stats| stats.registry.granted as u64);
    assert_eq!(granted, 0, "the grant is given back");
}

#[test]
fn p1_who_proves_a_test_while_it_is_connected_is_let_go() {
    let mut rig = open_relay();
    let (mut member, conn) = Member::connected(&mut rig, NAT, "10.0.0.5/24");
    member.moves(&mut rig, NAT, "10.0.0.5/24", true);
    let tests = tests_until(&mut rig, &mut member, 1);
    assert_eq!(said(&mut rig, conn), [], "it serves meanwhile");
    assert_eq!(member.proves(&mut rig, tests[0].1).status, 204);
    assert_eq!(said(&mut rig, conn), [Said::Bye("refused", 0)]);
    assert_eq!(count(&rig, |stats| stats.lines), 0);
}

#[test]
fn a_test_is_proven_by_its_client_with_its_nonce_and_nothing_else() {
    let mut rig = open_relay();
    let mut member = Member::new(&mut rig, NAT, "10.0.0.5/24", true);
    let mut other = Member::new(&mut rig, "192.0.2.2", "10.0.0.5/24", true);
    rig.wait(SECOND);
    let nonces = sent(&mut rig).into_iter().map(|(to, bytes)| {
        let member = if to == member.outer() {
            &mut member
        } else {
            &mut other
        };
        match member.hear(&bytes) {
            Some(Heard::Test(nonce)) => nonce,
            heard => panic!("{heard:?}"),
        }
    });
    let nonces: Vec<_> = nonces.collect();
    assert_ne!(nonces[0], nonces[1]);
    let right = alloc::format!("/v1/tests/{:016x}", nonces[0]);
    let wrong = alloc::format!("/v1/tests/{:016x}", nonces[0] ^ 1);

    let unproven = head("POST", &right, "", b"", "");
    assert_eq!(ask(&mut rig, &unproven).status, 401);
    for target in [
        &wrong,
        &right[..right.len() - 1],
        "/v1/tests/",
        "/v1/tests/0000000000000000",
    ] {
        let bytes = member.peer.request("POST", target, b"", "");
        let answer = ask(&mut rig, &bytes);
        assert_eq!(answer.status, 404, "{target}");
        assert_eq!(answer.json()["type"], "urn:tautline:problem:no-test");
    }
    let bytes = member.peer.request("GET", &right, b"", "");
    let answer = ask(&mut rig, &bytes);
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("POST")));
    let bytes = member.peer.request("POST", &right, b"x", "");
    assert_eq!(ask(&mut rig, &bytes).status, 413, "there is no body");
    let answer = other.proves(&mut rig, nonces[0]);
    assert_eq!(answer.status, 404, "the nonce of another client");
    assert_eq!(count(&rig, |stats| stats.tests_proven), 0);
    assert_eq!(count(&rig, |stats| stats.registry.udp_proven), 0);
    assert_eq!(member.proves(&mut rig, nonces[0]).status, 204);
}

#[test]
fn p7_a_relay_answers_no_datagram() {
    let mut rig = open_relay();
    let mut member = Member::quiet(&mut rig, NAT, "10.0.0.5/24");
    notify(&mut rig, To::All, b"x");
    let datagrams = sent(&mut rig);
    let (from, bytes) = (member.outer(), &datagrams[0].1[..]);
    for bytes in [bytes, b"", b"noise", &[0; 2_000]] {
        rig.tell(Input::Datagram { from, bytes });
    }
    assert_eq!(sent(&mut rig), []);
    let dropped = count(&rig, |stats| stats.datagrams_dropped.get("unexpected"));
    assert_eq!(dropped, 4);
    assert!(member.hear(bytes).is_some());
}

#[test]
fn a_long_payload_travels_as_a_hint() {
    let mut rig = open_relay();
    let (_, conn) = Member::connected(&mut rig, NAT, "10.0.0.1/24");
    let mut near = Member::quiet(&mut rig, NAT, "10.0.0.5/24");
    let mut far = Member::quiet(&mut rig, "192.0.2.2", "10.0.0.5/24");
    for len in [0, 1_024, 1_025, 60_000] {
        let payload: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
        let id = notify(&mut rig, To::All, &payload);
        let expected = match len {
            0..=1_024 => Heard::Notification(id, payload.clone()),
            _ => Heard::Hint(id, len),
        };
        let frames = said(&mut rig, conn);
        let passed = frames.iter().find_map(|frame| match frame {
            Said::Serve(_, datagrams) => Some(&datagrams[0].1),
            _ => None,
        });
        let bytes = passed.expect("a frame for the other");
        assert_eq!(near.hear(bytes), Some(expected.clone()), "{len}");
        // A way that is left unanswered is avoided.
        near.replies(&mut rig, id);
        assert!(frames.contains(&Said::Notification(id, payload.clone())));
        let datagrams = sent(&mut rig);
        assert_eq!(far.hear(&datagrams[0].1), Some(expected), "{len}");
        assert!(datagrams[0].1.len() <= crate::wire::datagram::DATAGRAM_BYTES_MAX);
        // What a hint announces is found.
        let inbox = far.peer.inbox(&mut rig, Some(NotificationId(id.0 - 1)));
        let found = &inbox.json()["notifications"][0]["payload_base64"];
        let found = found.as_str().expect("text");
        let found = crate::notify::body::decode_payload(found).expect("base64");
        assert_eq!(found, payload);
    }
}

#[test]
fn the_ways_come_in_their_order() {
    let mut rig = open_relay();
    let mut member = Member::with_port(&mut rig, NAT, "10.0.0.5/24", true, 0);
    let to = To::Client(member.peer.id);
    let tally = |rig: &Rig<Relay>| {
        let stats = rig.endpoint.stats();
        ["connection", "peer", "datagram"].map(|way| stats.sent.get(way))
    };
    // It takes no datagrams, and nobody passes them on: it has to ask.
    notify(&mut rig, to, b"0");
    assert_eq!(tally(&rig), [0, 0, 0]);
    assert_eq!(count(&rig, |stats| stats.left_to_inbox.get("no_way")), 1);
    member.moves(&mut rig, NAT, "10.0.0.5/24", true);
    notify(&mut rig, to, b"1");
    assert_eq!(tally(&rig), [0, 0, 1]);
    let (_, peer) = Member::connected(&mut rig, NAT, "10.0.0.1/24");
    notify(&mut rig, to, b"2");
    let frames = serves(&mut rig, peer);
    confirm(&mut rig, peer, frames[0].0);
    assert_eq!(tally(&rig), [0, 1, 1]);
    let after = NotificationId::new(Incarnation(3), 3);
    let target = alloc::format!("/v1/connect?after={after}");
    member.peer.connect_to(&mut rig, &target);
    sent(&mut rig);
    notify(&mut rig, to, b"3");
    assert_eq!(tally(&rig), [1, 1, 1]);
    assert_eq!(serves(&mut rig, peer), []);
    assert_eq!(sent(&mut rig), []);
    assert_idle(&rig);
}

#[test]
fn datagrams_leave_at_their_rate() {
    let mut settings = open_settings();
    settings.datagrams_per_second_max = 20;
    let mut rig = relay_with(settings, Limits::default());
    let members: Vec<_> = (0..12)
        .map(|number| alloc::format!("192.0.2.{}", 1 + number))
        .map(|nat| Member::quiet(&mut rig, &nat, "10.0.0.5/24"))
        .collect();
    let start = rig.now;
    let id = notify(&mut rig, To::All, b"x");
    // Two at once, then one each 50 ms.
    let mut left = 12 - sent(&mut rig).len();
    assert_eq!(left, 10);
    while left > 0 {
        rig.wait(Duration::from_millis(49));
        assert_eq!(sent(&mut rig), []);
        rig.wait(Duration::from_millis(1));
        assert_eq!(sent(&mut rig).len(), 1);
        left -= 1;
    }
    assert_eq!(rig.now, start + Duration::from_millis(500));
    let status = rig.endpoint.notification(id).unwrap();
    assert_eq!((status.targets, status.sent), (12, 12));
    assert_eq!(rig.endpoint.fanout.next_paced(), None);
    rig.wait(10 * SECOND);
    assert_eq!(sent(&mut rig), [], "each got one");
    assert_eq!(members.len(), 12);
    assert_idle(&rig);
}

#[test]
fn p1_tests_that_the_rate_has_no_room_for_are_left_out() {
    let mut settings = open_settings();
    settings.datagrams_per_second_max = 1;
    let mut rig = relay_with(settings, Limits::default());
    for number in 1..=5 {
        let nat = alloc::format!("192.0.2.{number}");
        Member::new(&mut rig, &nat, "10.0.0.5/24", true);
    }
    // Of those that are due at once, one may go.
    for (seconds, after) in [(2, 1), (9, 2), (10, 3), (100, 3)] {
        rig.wait(seconds * SECOND);
        assert_eq!(count(&rig, |stats| stats.tests_sent), after);
    }
    assert_eq!(sent(&mut rig).len(), 3);
    assert_eq!(count(&rig, |stats| stats.tests_left_out), 12);
}

#[test]
fn tests_and_connections_do_not_wait_for_the_rate() {
    let mut settings = open_settings();
    settings.datagrams_per_second_max = 1;
    let mut rig = relay_with(settings, Limits::default());
    for number in 0..30 {
        let nat = alloc::format!("192.0.2.{}", 1 + number);
        Member::quiet(&mut rig, &nat, "10.0.0.5/24");
    }
    let (_, conn) = Member::connected(&mut rig, NAT, "10.0.0.1/24");
    Member::new(&mut rig, "198.51.100.1", "10.0.0.5/24", true);
    let id = notify(&mut rig, To::All, b"x");
    let told = said(&mut rig, conn);
    assert!(told.contains(&Said::Notification(id, b"x".into())));
    rig.wait(SECOND + Duration::from_millis(2));
    let decided = count(&rig, |stats| stats.tests_sent + stats.tests_left_out);
    assert_eq!(decided, 1, "sent at once or not at all");
    assert!(rig.endpoint.fanout.next_paced().is_some(), "others wait");
}

#[test]
fn a_way_to_avoid_stays_one_while_the_other_waits_for_the_rate() {
    let mut settings = open_settings();
    settings.datagrams_per_second_max = 1;
    let mut rig = relay_with(settings, Limits::default());
    let member = Member::reached(&mut rig, NAT, "10.0.0.5/24");
    let (_, peer) = Member::connected(&mut rig, NAT, "10.0.0.1/24");
    let far = Member::quiet(&mut rig, "192.0.2.2", "10.0.0.5/24");
    let to = To::Client(member.peer.id);
    // The tests that are due are over.
    rig.wait(30 * SECOND);
    sent(&mut rig);
    notify(&mut rig, to, b"unanswered");
    let frames = serves(&mut rig, peer);
    confirm(&mut rig, peer, frames[0].0);
    // The rate is used up by another.
    notify(&mut rig, To::Client(far.peer.id), b"x");
    assert_eq!(sent(&mut rig).len(), 1);
    notify(&mut rig, to, b"by the other way");
    for _ in 0..3 {
        rig.wait(Duration::from_millis(300));
        // Looked at once more, with what comes for another.
        notify(&mut rig, To::Client(member.peer.id), b"more");
    }
    assert_eq!(serves(&mut rig, peer), [], "the peer is avoided");
    rig.wait(Duration::from_millis(100));
    assert_eq!(sent(&mut rig)[0].0, member.outer());
}

/// A port that was only stated may lie behind a firewall: what a peer of the
/// subnet can bring is not sent there, answered or not.
#[test]
fn p4_who_is_behind_a_firewall_is_not_sent_datagrams_while_a_peer_serves() {
    let mut rig = open_relay();
    let (_, peer) = Member::connected(&mut rig, NAT, "10.0.0.1/24");
    let member = Member::quiet(&mut rig, NAT, "10.0.0.5/24");
    for sequence in 1..4 {
        notify(&mut rig, To::Client(member.peer.id), b"unanswered");
        assert_eq!(serves(&mut rig, peer).len(), 1);
        confirm(&mut rig, peer, sequence);
        assert_eq!(sent(&mut rig), []);
    }
}

/// What waits on a connection that is lost goes by a peer.
#[test]
fn p4_what_a_lost_connection_had_not_taken_goes_by_a_peer() {
    let mut rig = open_relay();
    let (member, conn) = Member::connected(&mut rig, NAT, "10.0.0.5/24");
    let (_, peer) = Member::connected(&mut rig, NAT, "10.0.0.1/24");
    rig.tell(Input::Blocked { conn });
    notify(&mut rig, To::Client(member.peer.id), b"x");
    assert_eq!(serves(&mut rig, peer), []);
    rig.closed(conn, CloseReason::Reset);
    let frames = serves(&mut rig, peer);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].1[0].0, member.inner());
}

/// A first registration proves nothing of its sender.
#[test]
fn p8_who_never_used_its_key_is_sent_nothing() {
    let mut rig = open_relay();
    let more = r#","udp_port":7000"#;
    let bytes = head("POST", "/v1/register", "", &body(None, 1, more), "");
    assert_eq!(ask_from(&mut rig, "192.0.2.66:40000", &bytes).status, 200);
    notify(&mut rig, To::All, b"x");
    rig.wait(Duration::ZERO);
    assert_eq!(sent(&mut rig), []);
    let unproven = rig.endpoint.stats().left_to_inbox.get("unproven");
    assert_eq!(unproven, 1);
}

#[test]
fn what_expires_while_it_waits_for_the_rate_is_not_sent() {
    let mut settings = open_settings();
    settings.datagrams_per_second_max = 1;
    let mut rig = relay_with(settings, Limits::default());
    for number in 0..20 {
        let nat = alloc::format!("192.0.2.{}", 1 + number);
        Member::quiet(&mut rig, &nat, "10.0.0.5/24");
    }
    notify_for(&mut rig, To::All, b"short", 5);
    rig.wait(60 * SECOND);
    assert_eq!(sent(&mut rig).len(), 5, "at 0, 1, 2, 3 and 4 s");
    assert_idle(&rig);
    assert_eq!(rig.deadline, rig.deadline.filter(|at| *at > rig.now));
}

#[test]
fn notifications_of_one_client_leave_in_their_order() {
    let mut rig = open_relay();
    let mut member = Member::quiet(&mut rig, NAT, "10.0.0.5/24");
    let mut ids = Vec::new();
    for number in 0..4_u8 {
        let to = To::Client(member.peer.id);
        let options = crate::notify::NotifyOptions::default();
        let now = rig.now;
        // All before the first is looked at.
        ids.push(
            rig.endpoint
                .notify(now, to, &[number], options)
                .expect("there is room"),
        );
    }
    rig.poll();
    let heard: Vec<_> = sent(&mut rig)
        .iter()
        .map(|(_, bytes)| member.hear(bytes).expect("its own"))
        .collect();
    let expected: Vec<_> = (0..4_u8)
        .map(|number| Heard::Notification(ids[usize::from(number)], [number].into()))
        .collect();
    assert_eq!(heard, expected);
    for id in ids {
        assert_eq!(rig.endpoint.notification(id).unwrap().sent, 1);
    }
}

#[test]
fn a_new_key_counts_from_one_and_the_old_one_is_not_used_again() {
    let mut rig = open_relay();
    let mut member = Member::quiet(&mut rig, NAT, "10.0.0.5/24");
    let old = member.peer.key.clone();
    notify(&mut rig, To::All, b"x");
    member.moves(&mut rig, "192.0.2.9", "10.0.0.5/24", false);
    sent(&mut rig);
    let id = notify(&mut rig, To::All, b"y");
    let datagrams = sent(&mut rig);
    assert_eq!(datagrams[0].0.to_string(), "192.0.2.9:7000");
    let sealed = crate::wire::datagram::Sealed::parse(&datagrams[0].1).unwrap();
    let mut window = crate::wire::replay::ReplayWindow::default();
    assert!(sealed.open(member.peer.id, &old, &mut window).is_err());
    let heard = member.hear(&datagrams[0].1);
    assert_eq!(heard, Some(Heard::Notification(id, b"y".into())));
}

/// Its connection is its own, whoever handed the registration in.
#[test]
fn p3_a_registration_from_elsewhere_leaves_the_connection_told_of_groups() {
    let mut rig = open_relay();
    let (mut member, conn) = Member::connected(&mut rig, NAT, "10.0.0.5/24");
    member.registers(&mut rig, "192.0.2.9", "10.0.0.5/24", true);
    assert_eq!(said(&mut rig, conn), [], "it stays");
    let to = subnet_of(&rig, &member);
    let id = notify(&mut rig, to, b"x");
    let told = said(&mut rig, conn);
    assert_eq!(told, [Said::Notification(id, b"x".into())]);
    assert_eq!(count(&rig, |stats| stats.left_to_inbox.total()), 0);
    assert_eq!(sent(&mut rig), []);
    assert_idle(&rig);
}

#[test]
fn p8_a_registration_from_elsewhere_redirects_nothing_before_its_key_is_used() {
    let mut rig = open_relay();
    let mut member = Member::quiet(&mut rig, NAT, "10.0.0.5/24");
    // It was caught on its way, and is handed in from another address.
    member.registers(&mut rig, "192.0.2.9", "10.0.0.5/24", false);
    let kept = notify(&mut rig, To::All, b"x");
    assert_eq!(sent(&mut rig), []);
    assert_eq!(rig.endpoint.stats().left_to_inbox.get("unproven"), 1);
    let inbox = member.peer.inbox(&mut rig, None).json();
    assert_eq!(inbox["notifications"][0]["notification"], kept.to_string());
    notify(&mut rig, To::All, b"y");
    let datagrams = sent(&mut rig);
    assert_eq!(datagrams.len(), 1);
    assert_eq!(datagrams[0].0.to_string(), "192.0.2.9:7000");
}
