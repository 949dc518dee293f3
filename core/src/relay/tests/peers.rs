//! Notifications by peers: clients with a connection pass datagrams on to the
//! others of their subnet.

use core::time::Duration;

use super::members::{
    Heard, Member, assert_idle, confirm, notify, notify_for, open_relay, open_settings, queue,
    sent, serves, subnet_of,
};
use super::*;
use crate::relay::To;
use crate::{CloseReason, Input};

const NAT: &str = "192.0.2.1";
const SECOND: Duration = Duration::from_secs(1);

fn inner(number: usize) -> String {
    alloc::format!("10.0.0.{number}/24")
}

/// So many peers of one subnet behind a NAT, and so many others.
fn subnet(
    rig: &mut Rig<Relay>,
    peers: usize,
    others: usize,
) -> (Vec<(Member, ConnId)>, Vec<Member>) {
    let peers = (1..=peers).map(|number| Member::connected(rig, NAT, &inner(number)));
    let peers = peers.collect();
    let others = (100..100 + others).map(|number| Member::quiet(rig, NAT, &inner(number)));
    (peers, others.collect())
}

fn small(legs_per_line: u32, legs: u32) -> Rig<Relay> {
    let mut limits = Limits::default();
    limits.router.legs_per_line_max = legs_per_line;
    limits.router.legs_max = legs;
    relay_with(open_settings(), limits)
}

#[test]
fn p3_one_of_two_peers_passes_it_on_and_the_reply_goes_to_the_relay() {
    let mut rig = open_relay();
    let (peers, mut others) = subnet(&mut rig, 2, 3);
    let id = notify(&mut rig, To::Client(others[0].peer.id), b"ping");
    let frames: Vec<_> = peers
        .iter()
        .map(|(_, conn)| serves(&mut rig, *conn))
        .collect();
    assert_eq!(
        frames.iter().map(Vec::len).sum::<usize>(),
        1,
        "exactly one is used"
    );
    let used = usize::from(frames[0].is_empty());
    let (sequence, datagrams) = &frames[used][0];
    let [(to, bytes)] = &datagrams[..] else {
        panic!("{datagrams:?}");
    };
    assert_eq!((*sequence, *to), (1, others[0].inner()));
    assert_eq!(others[1].hear(bytes), None, "sealed for its target");
    let heard = others[0].hear(bytes);
    assert_eq!(heard, Some(Heard::Notification(id, b"ping".into())));
    assert_eq!(sent(&mut rig), [], "no datagram of the relay's own");

    let status = rig.endpoint.notification(id).unwrap();
    assert_eq!((status.targets, status.sent, status.replied), (1, 0, 0));
    confirm(&mut rig, peers[used].1, 1);
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 1);
    assert_eq!(count(&rig, |stats| stats.sent.get("peer")), 1);
    others[0].replies(&mut rig, id);
    assert_eq!(rig.endpoint.notification(id).unwrap().replied, 1);
    assert_idle(&rig);
}

#[test]
fn p3_one_to_all_reaches_each_once() {
    let mut rig = open_relay();
    let (peers, mut others) = subnet(&mut rig, 2, 100);
    let id = notify(&mut rig, To::All, b"all");
    let mut heard = alloc::vec![0; others.len()];
    for (_, conn) in &peers {
        let frames = said(&mut rig, *conn);
        let own = Said::Notification(id, b"all".into());
        assert_eq!(frames.iter().filter(|frame| **frame == own).count(), 1);
        let mut last = 0;
        for frame in frames {
            let Said::Serve(sequence, datagrams) = frame else {
                continue;
            };
            assert_eq!(sequence, last + 1, "each by one");
            last = sequence;
            for (to, bytes) in datagrams {
                let place = others.iter().position(|other| other.inner() == to).unwrap();
                heard[place] += 1;
                let opened = others[place].hear(&bytes);
                assert_eq!(opened, Some(Heard::Notification(id, b"all".into())));
            }
        }
        confirm(&mut rig, *conn, last);
    }
    assert!(heard.iter().all(|times| *times == 1), "{heard:?}");
    let status = rig.endpoint.notification(id).unwrap();
    assert_eq!((status.targets, status.sent), (102, 102));
    assert_idle(&rig);
}

#[test]
fn a_client_that_takes_no_datagrams_is_nobodys_peer() {
    let mut rig = open_relay();
    let other = Member::quiet(&mut rig, NAT, &inner(9));
    let has_peer = |rig: &Rig<Relay>| {
        let record = rig.endpoint.client(other.peer.id).unwrap();
        rig.endpoint.has_peer(record)
    };
    let mut deaf = Member::with_port(&mut rig, NAT, &inner(1), true, 0);
    let deaf_conn = deaf.connect(&mut rig);
    assert!(!has_peer(&rig), "it has no socket to send from");
    notify(&mut rig, To::Client(other.peer.id), b"x");
    assert_eq!(serves(&mut rig, deaf_conn), []);
    assert_eq!(sent(&mut rig).len(), 1, "by datagram");

    let (_, conn) = Member::connected(&mut rig, NAT, &inner(2));
    assert!(has_peer(&rig));
    notify(&mut rig, To::Client(other.peer.id), b"y");
    assert_eq!(serves(&mut rig, conn).len(), 1);
    assert_eq!(sent(&mut rig), []);
    rig.closed(conn, CloseReason::Reset);
    assert!(!has_peer(&rig));
}

#[test]
fn p4_a_peer_that_closes_before_it_confirms_is_replaced_by_another() {
    let mut rig = open_relay();
    let (peers, mut others) = subnet(&mut rig, 2, 1);
    let id = notify(&mut rig, To::Client(others[0].peer.id), b"x");
    let used = usize::from(serves(&mut rig, peers[0].1).is_empty());
    rig.closed(peers[used].1, CloseReason::Reset);
    let frames = serves(&mut rig, peers[1 - used].1);
    let heard = others[0].hear(&frames[0].1[0].1);
    assert_eq!(heard, Some(Heard::Notification(id, b"x".into())));
    assert_eq!(count(&rig, |stats| stats.rerouted), 1);
    // That one goes as well: the relay's own datagram is left.
    rig.closed(peers[1 - used].1, CloseReason::Reset);
    let datagrams = sent(&mut rig);
    assert_eq!(datagrams[0].0, others[0].outer());
    let heard = others[0].hear(&datagrams[0].1);
    assert_eq!(heard, Some(Heard::Notification(id, b"x".into())));
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 1);
    assert_idle(&rig);
}

#[test]
fn p4_a_peer_that_stays_silent_is_left_for_a_while() {
    let mut rig = open_relay();
    let (peers, others) = subnet(&mut rig, 1, 1);
    let to = To::Client(others[0].peer.id);
    notify(&mut rig, to, b"first");
    assert_eq!(serves(&mut rig, peers[0].1).len(), 1);
    let timeout = Limits::default().router.served_timeout;
    rig.wait(timeout - Duration::from_millis(2));
    assert_eq!(sent(&mut rig), []);
    rig.wait(Duration::from_millis(4));
    assert_eq!(sent(&mut rig).len(), 1, "by datagram");
    // Nothing is stuck behind it, and it is not chosen while it sulks.
    notify(&mut rig, to, b"second");
    assert_eq!(sent(&mut rig).len(), 1);
    assert_eq!(serves(&mut rig, peers[0].1), []);
    // A late confirmation harms nobody.
    confirm(&mut rig, peers[0].1, 1);
    assert_idle(&rig);
    rig.wait(Limits::default().router.sulk + SECOND);
    notify(&mut rig, to, b"third");
    let frames = serves(&mut rig, peers[0].1);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].0, 2, "its frames are counted on");
}

#[test]
fn p6_only_who_is_inside_is_passed_on_to() {
    let mut rig = open_relay();
    let (peers, mut others) = subnet(&mut rig, 1, 2);
    // The same NAT, another network; no interface that is in use; no port.
    let mut apart = Member::quiet(&mut rig, NAT, "10.0.1.9/24");
    let mut foreign = Member::quiet(&mut rig, "198.51.100.7", &inner(9));
    Member::with_port(&mut rig, NAT, &inner(10), false, 0);
    let id = notify(&mut rig, To::All, b"all");
    let frames = serves(&mut rig, peers[0].1);
    let listed = frames.iter().flat_map(|(_, datagrams)| datagrams);
    let mut listed: Vec<_> = listed.map(|(to, _)| *to).collect();
    listed.sort();
    assert_eq!(listed, [others[0].inner(), others[1].inner()]);
    let datagrams = sent(&mut rig);
    for (to, bytes) in &datagrams {
        let member = match *to {
            to if to == apart.outer() => &mut apart,
            to if to == foreign.outer() => &mut foreign,
            to => panic!("a datagram to {to}"),
        };
        let heard = member.hear(bytes);
        assert_eq!(heard, Some(Heard::Notification(id, b"all".into())));
    }
    assert_eq!(datagrams.len(), 2);
    let left = count(&rig, |stats| stats.left_to_inbox.get("no_way"));
    assert_eq!(left, 1, "who has no port asks");
    let heard = others[0].hear(&frames[0].1[0].1);
    let other = others[1].hear(&frames[0].1[0].1);
    assert!(heard.is_some() ^ other.is_some());
}

#[test]
fn p8_a_registration_that_names_anothers_address_redirects_nothing() {
    let mut rig = open_relay();
    // The victim is seen with its own address, and so is the peer.
    let (mut peer, conn) = Member::connected(&mut rig, "10.0.0.1", &inner(1));
    let mut victim = Member::quiet(&mut rig, "10.0.0.5", &inner(5));
    let mut liar = Member::quiet(&mut rig, "192.0.2.66", &inner(5));
    assert_ne!(subnet_of(&rig, &liar), subnet_of(&rig, &victim));
    let id = notify(&mut rig, To::Client(liar.peer.id), b"for the liar");
    assert_eq!(serves(&mut rig, conn), []);
    let datagrams = sent(&mut rig);
    let [(to, bytes)] = &datagrams[..] else {
        panic!("{datagrams:?}");
    };
    assert_eq!(to.to_string(), "192.0.2.66:7000", "where it was seen");
    assert!(liar.hear(bytes).is_some());
    assert_eq!(victim.hear(bytes), None);

    let next = notify(&mut rig, To::Client(victim.peer.id), b"for the victim");
    assert!(id < next);
    let frames = serves(&mut rig, conn);
    assert_eq!(frames[0].1[0].0, victim.inner());
    assert!(victim.hear(&frames[0].1[0].1).is_some());
    assert_eq!(peer.hear(&frames[0].1[0].1), None);
    assert_eq!(sent(&mut rig), []);
}

#[test]
fn p6_equal_inner_addresses_behind_two_nats_never_share_a_peer() {
    let mut rig = open_relay();
    let (_, here) = Member::connected(&mut rig, "192.0.2.1", &inner(1));
    let (_, there) = Member::connected(&mut rig, "192.0.2.2", &inner(1));
    let mut near = Member::quiet(&mut rig, "192.0.2.1", &inner(5));
    let mut far = Member::quiet(&mut rig, "192.0.2.2", &inner(5));
    for _ in 0..8 {
        for member in [&mut near, &mut far] {
            let id = notify(&mut rig, To::Client(member.peer.id), b"x");
            member.replies(&mut rig, id);
        }
    }
    for (conn, member) in [(here, &mut near), (there, &mut far)] {
        let frames = serves(&mut rig, conn);
        assert_eq!(frames.len(), 8);
        for (_, datagrams) in frames {
            let [(_, bytes)] = &datagrams[..] else {
                panic!("{datagrams:?}");
            };
            assert!(member.hear(bytes).is_some(), "for the other subnet");
        }
    }
    assert_eq!(sent(&mut rig), []);
}

#[test]
fn p6_a_client_that_moves_while_it_waits_for_a_peer_takes_another_way() {
    let mut rig = open_relay();
    let (peers, mut others) = subnet(&mut rig, 1, 2);
    let conn = peers[0].1;
    queue(&mut rig, To::All);
    assert_eq!(rig.endpoint.router.line_len(conn.key()), 2);
    rig.tell(Input::Blocked { conn });
    // The same inner address, behind another NAT.
    others[0].moves(&mut rig, "198.51.100.9", &inner(100), false);
    rig.writable(conn);
    let frames = serves(&mut rig, conn);
    assert_eq!(frames.len(), 1);
    let listed: Vec<_> = frames[0].1.iter().map(|(to, _)| *to).collect();
    assert_eq!(listed, [others[1].inner()]);
    let datagrams = sent(&mut rig);
    assert_eq!(datagrams.len(), 1);
    assert_eq!(datagrams[0].0.to_string(), "198.51.100.9:7000");
    assert!(others[0].hear(&datagrams[0].1).is_some());
    confirm(&mut rig, conn, 1);
    assert_idle(&rig);
}

#[test]
fn who_opens_a_connection_while_it_waits_for_a_peer_is_told_there() {
    let mut rig = open_relay();
    let (peers, mut others) = subnet(&mut rig, 1, 1);
    let conn = peers[0].1;
    rig.wire(conn).blocks = true;
    notify(&mut rig, To::Client(peers[0].0.peer.id), b"own");
    let id = notify(&mut rig, To::Client(others[0].peer.id), b"x");
    others[0].moves(&mut rig, NAT, &inner(100), true);
    let own = others[0].peer.connect(&mut rig);
    let told = said(&mut rig, own);
    assert_eq!(told, [Said::Hello, Said::Notification(id, b"x".into())]);
    said(&mut rig, conn);
    rig.writable(conn);
    assert_eq!(serves(&mut rig, conn), []);
    assert_eq!(said(&mut rig, own), [], "once");
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 1);
    assert_idle(&rig);
}

#[test]
fn when_all_peers_are_busy_the_rest_waits_for_room() {
    for (mut rig, at_a_time) in [(small(2, 65_536), 2), (small(8, 3), 3)] {
        let (peers, mut others) = subnet(&mut rig, 1, 7);
        let conn = peers[0].1;
        let id = notify(&mut rig, To::All, b"x");
        let mut heard = 0;
        for sequence in 1.. {
            let frames = serves(&mut rig, conn);
            let Some((number, datagrams)) = frames.first() else {
                break;
            };
            assert_eq!((frames.len(), *number), (1, sequence));
            assert!(datagrams.len() <= at_a_time);
            for (to, bytes) in datagrams {
                let target = others.iter_mut().find(|other| other.inner() == *to);
                assert!(target.unwrap().hear(bytes).is_some());
                heard += 1;
            }
            confirm(&mut rig, conn, sequence);
        }
        assert_eq!(heard, 7);
        assert_eq!(sent(&mut rig), [], "a busy peer is waited for");
        assert_eq!(rig.endpoint.notification(id).unwrap().sent, 8);
        assert_idle(&rig);
    }
}

#[test]
fn busy_peers_hold_up_no_other_subnet() {
    let mut rig = small(1, 65_536);
    let (peers, _) = subnet(&mut rig, 1, 3);
    let (_, elsewhere) = Member::connected(&mut rig, "192.0.2.2", &inner(1));
    let mut far = Member::quiet(&mut rig, "192.0.2.2", &inner(5));
    let id = notify(&mut rig, To::All, b"x");
    assert_eq!(serves(&mut rig, peers[0].1)[0].1.len(), 1);
    let frames = serves(&mut rig, elsewhere);
    assert_eq!(
        far.hear(&frames[0].1[0].1),
        Some(Heard::Notification(id, b"x".into()))
    );
}

#[test]
fn what_expires_in_a_queue_is_not_passed_on() {
    let mut rig = small(1, 65_536);
    let (peers, others) = subnet(&mut rig, 1, 3);
    let conn = peers[0].1;
    rig.wire(conn).blocks = true;
    notify(&mut rig, To::Client(peers[0].0.peer.id), b"own");
    notify_for(&mut rig, To::All, b"short", 5);
    said(&mut rig, conn);
    rig.wait(6 * SECOND);
    assert_eq!(count(&rig, |stats| stats.notifications_alive), 1, "its own");
    rig.writable(conn);
    assert_eq!(said(&mut rig, conn), []);
    assert_eq!(sent(&mut rig), []);
    let id = notify(&mut rig, To::Client(others[0].peer.id), b"next");
    assert_eq!(serves(&mut rig, conn).len(), 1);
    confirm(&mut rig, conn, 1);
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 1);
    assert_idle(&rig);
}

#[test]
fn what_expired_is_not_passed_on_while_a_connection_still_writes_it() {
    let mut rig = open_relay();
    let (peers, _) = subnet(&mut rig, 1, 1);
    let conn = peers[0].1;
    let (_, elsewhere) = Member::connected(&mut rig, "192.0.2.2", &inner(1));
    for conn in [conn, elsewhere] {
        rig.wire(conn).blocks = true;
    }
    notify_for(&mut rig, To::All, &[7; 10_000], 5);
    rig.wait(6 * SECOND);
    assert_eq!(count(&rig, |stats| stats.notifications_alive), 1);
    rig.writable(conn);
    assert_eq!(serves(&mut rig, conn), []);
    assert_eq!(count(&rig, |stats| stats.notifications_alive), 1);
    assert_eq!(sent(&mut rig), []);
    assert_idle(&rig);
}

#[test]
fn who_is_forgotten_in_a_queue_is_passed_over_and_a_subnet_that_ends_takes_its_queue_along() {
    let mut settings = open_settings();
    settings.registry.period = 20 * SECOND;
    let mut limits = Limits::default();
    limits.router.legs_per_line_max = 1;
    limits.router.served_timeout = Duration::from_secs(1_000);
    let mut rig = relay_with(settings, limits);
    let (mut peers, others) = subnet(&mut rig, 1, 4);
    notify_for(&mut rig, To::All, b"x", 3_000);
    let conn = peers[0].1;
    assert_eq!(serves(&mut rig, conn).len(), 1);
    assert!(!rig.endpoint.fanout.is_empty());
    // None of the others registers anew.
    rig.wait(100 * SECOND);
    assert!(rig.endpoint.client(others[0].peer.id).is_none());
    confirm(&mut rig, conn, 1);
    assert_eq!(serves(&mut rig, conn), []);
    assert_idle(&rig);

    let others: Vec<_> = (100..104)
        .map(|number| Member::quiet(&mut rig, NAT, &inner(number)))
        .collect();
    notify_for(&mut rig, To::All, b"y", 3_000);
    assert_eq!(serves(&mut rig, conn).len(), 1);
    peers[0].0.moves(&mut rig, "192.0.2.9", &inner(1), true);
    rig.wait(100 * SECOND);
    assert!(rig.endpoint.client(others[0].peer.id).is_none());
    assert_eq!(count(&rig, |stats| stats.clients), 1);
    assert_idle(&rig);
}

#[test]
fn a_peer_that_moves_serves_its_new_subnet_and_counts_on() {
    let mut rig = open_relay();
    let (mut peers, mut others) = subnet(&mut rig, 1, 2);
    let (peer, conn) = &mut peers[0];
    let conn = *conn;
    let mut far = Member::quiet(&mut rig, "192.0.2.2", &inner(100));
    for other in &others {
        notify(&mut rig, To::Client(other.peer.id), b"near");
    }
    assert_eq!(serves(&mut rig, conn).len(), 2);
    peer.moves(&mut rig, "192.0.2.2", &inner(1), true);
    // What it has not confirmed takes the way that is left.
    let datagrams = sent(&mut rig);
    assert_eq!(datagrams.len(), 2);
    for (other, (to, bytes)) in others.iter_mut().zip(&datagrams) {
        assert_eq!(*to, other.outer());
        assert!(other.hear(bytes).is_some());
    }
    // It may have passed the first two on, and says so late.
    confirm(&mut rig, conn, 2);
    let id = notify(&mut rig, To::Client(far.peer.id), b"far");
    let frames = serves(&mut rig, conn);
    let (sequence, datagrams) = &frames[0];
    assert_eq!(*sequence, 3);
    assert!(far.hear(&datagrams[0].1).is_some());
    confirm(&mut rig, conn, 2);
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 0, "not yet");
    confirm(&mut rig, conn, 3);
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 1);
    assert_eq!(count(&rig, |stats| stats.lines), 1, "nobody was ended");
    notify(&mut rig, To::Client(others[0].peer.id), b"near");
    assert_eq!(serves(&mut rig, conn), []);
    assert_eq!(sent(&mut rig).len(), 1);
    assert_idle(&rig);
}

#[test]
fn p9_a_confirmation_of_a_frame_that_was_never_sent_ends_the_connection() {
    let mut rig = open_relay();
    let (peers, others) = subnet(&mut rig, 1, 1);
    notify(&mut rig, To::Client(others[0].peer.id), b"x");
    confirm(&mut rig, peers[0].1, 2);
    assert_eq!(
        count(&rig, |stats| stats.lines_refused.get("served_unknown")),
        1
    );
    assert_eq!(count(&rig, |stats| stats.lines), 0);
    assert_eq!(sent(&mut rig).len(), 1, "its target is told another way");
    assert_idle(&rig);
}

#[test]
fn a_shutdown_leaves_nothing_with_its_peers() {
    let mut rig = open_relay();
    let (peers, mut others) = subnet(&mut rig, 2, 4);
    let id = notify(&mut rig, To::All, b"x");
    let passed: usize = peers
        .iter()
        .map(|(_, conn)| serves(&mut rig, *conn).len())
        .sum();
    assert!(passed >= 2);
    let now = rig.now;
    rig.endpoint.drain(now);
    rig.poll();
    assert!(rig.told().contains(&Event::Drained));
    // None of them was confirmed: the relay's own datagrams are left.
    let datagrams = sent(&mut rig);
    assert_eq!(datagrams.len(), 4);
    for other in &mut others {
        let own = datagrams
            .iter()
            .filter(|(to, bytes)| *to == other.outer() && other.hear(bytes).is_some());
        assert_eq!(own.count(), 1);
    }
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 6);
    assert_idle(&rig);
}

#[test]
fn p5_racing_registrations_never_exceed_a_cap() {
    let mut settings = open_settings();
    settings.registry.connections_max = 6;
    settings.registry.connections_per_subnet_max = 2;
    settings.registry.connections_per_address_max = 4;
    let mut rig = relay_with(settings, Limits::default());
    let mut members: Vec<(Member, Option<ConnId>)> = Vec::new();
    let place = |number: usize| {
        let nat = alloc::format!("192.0.2.{}", 1 + number % 3);
        let local = alloc::format!("10.0.{}.{}/24", number % 4, 1 + number % 200);
        (nat, local)
    };
    let (mut granted, mut refused, mut opened) = (0, 0, 0);
    for round in 0..200_usize {
        // All register, move, connect and go in turns that interleave.
        match round % 5 {
            0 | 1 => {
                let (nat, local) = place(round * 7 % 31);
                members.push((Member::new(&mut rig, &nat, &local, true), None));
            }
            2 => {
                let at = round * 13 % members.len();
                let (nat, local) = place(round * 5 % 29);
                let verdict = members[at].0.moves(&mut rig, &nat, &local, true);
                match verdict.persistent_connection.unwrap().granted {
                    true => granted += 1,
                    false => refused += 1,
                }
            }
            3 => {
                let at = round * 11 % members.len();
                let bytes = members[at].0.peer.upgrade("/v1/connect");
                let conn = rig.accept(LOOPBACK);
                *rig.wire(conn) = crate::machine::rig::Wire::default();
                rig.feed(conn, &bytes);
                if response(&mut rig.wire(conn).written).status == 101 {
                    members[at].1 = Some(conn);
                    opened += 1;
                } else {
                    rig.closed(conn, CloseReason::Done);
                }
            }
            _ => {
                let at = round * 3 % members.len();
                if let Some(conn) = members[at].1.take().filter(|_| round % 2 == 0) {
                    rig.closed(conn, CloseReason::Reset);
                }
            }
        }
        assert_caps(&rig);
    }
    assert!(
        granted > 5 && refused > 5 && opened > 5,
        "{granted} {refused} {opened}"
    );
}

/// Recounts who holds a connection or a grant.
fn assert_caps(rig: &Rig<Relay>) {
    let counts = count(rig, |stats| {
        (stats.registry.connected + stats.registry.granted) as u64
    });
    assert!(counts <= 6, "{counts}");
    let mut place = 0;
    let mut all = 0;
    while let Some((at, subnet)) = rig.endpoint.subnet_from(place) {
        place = at + 1;
        let held = subnet.connected + subnet.granted;
        all += held;
        assert!(held <= 2, "{subnet:?}");
    }
    assert_eq!(all as u64, counts, "each is in one subnet");
}
