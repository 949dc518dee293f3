//! What waits for its way holds up nothing else.

use core::time::Duration;

use super::members::{
    Heard, Member, assert_idle, confirm, notify, notify_for, open_relay, open_settings, queue,
    sent, serves, steps, subnet_of,
};
use super::*;
use crate::notify::NotifyOptions;
use crate::relay::To;
use crate::wire::message::{ByeReason, Served};
use crate::{Endpoint, Input};

const NAT: &str = "192.0.2.1";
const SECOND: Duration = Duration::from_secs(1);

fn inner(number: usize) -> String {
    alloc::format!("10.0.0.{number}/24")
}

/// A client with a connection that passes nothing on, as it takes no datagrams.
fn deaf(rig: &mut Rig<Relay>, number: usize) -> ConnId {
    let mut member = Member::with_port(rig, NAT, &inner(number), true, 0);
    member.connect(rig)
}

/// A relay whose peers take one leg at a time.
fn narrow() -> Rig<Relay> {
    let mut limits = Limits::default();
    limits.router.legs_per_line_max = 1;
    relay_with(open_settings(), limits)
}

fn slow(datagrams_per_second_max: u32) -> Rig<Relay> {
    let mut settings = open_settings();
    settings.datagrams_per_second_max = datagrams_per_second_max;
    relay_with(settings, Limits::default())
}

#[test]
fn p3_who_is_connected_is_told_while_others_wait_for_a_peer() {
    let mut rig = narrow();
    // Walks come to the latest first.
    let told = deaf(&mut rig, 1);
    let (_, peer) = Member::connected(&mut rig, NAT, &inner(2));
    let others: Vec<_> = (10..14)
        .map(|number| Member::quiet(&mut rig, NAT, &inner(number)))
        .collect();
    let to = subnet_of(&rig, &others[0]);
    let first = notify(&mut rig, to, b"first");
    assert_eq!(
        said(&mut rig, told),
        [Said::Notification(first, b"first".into())]
    );
    let second = notify(&mut rig, to, b"second");
    let heard = said(&mut rig, told);
    assert_eq!(heard, [Said::Notification(second, b"second".into())]);
    assert_eq!(serves(&mut rig, peer).len(), 1, "the others wait");

    // Each of them gets each, once and in order.
    let mut legs = 1;
    for sequence in 1..=8 {
        confirm(&mut rig, peer, sequence);
        legs += serves(&mut rig, peer).len();
    }
    assert_eq!((legs, sent(&mut rig).len()), (8, 0));
    for id in [first, second] {
        assert_eq!(rig.endpoint.notification(id).unwrap().sent, 6);
    }
    assert_idle(&rig);
}

#[test]
fn p3_who_is_connected_is_told_though_its_subnet_has_no_room_for_more() {
    let mut limits = Limits::default();
    limits.router.legs_per_line_max = 1;
    limits.notifier.notifications_per_group_max = 10_000;
    limits.notifier.notifications_max = 10_000;
    let mut rig = relay_with(open_settings(), limits);
    let told = deaf(&mut rig, 1);
    let (_, peer) = Member::connected(&mut rig, NAT, &inner(2));
    let others: Vec<_> = (10..13)
        .map(|number| Member::quiet(&mut rig, NAT, &inner(number)))
        .collect();
    let to = subnet_of(&rig, &others[0]);
    // Somebody waits for each of them.
    let full = |rig: &Rig<Relay>| count(rig, |stats| stats.left_to_inbox.get("subnet_full"));
    let mut last = None;
    while full(&rig) == 0 {
        said(&mut rig, told);
        last = Some(notify(&mut rig, to, b"x"));
    }
    let expected = Said::Notification(last.expect("some"), b"x".into());
    assert_eq!(said(&mut rig, told), core::slice::from_ref(&expected));
    assert!(said(&mut rig, peer).contains(&expected));
    assert_eq!(full(&rig), 3, "those without a connection");
}

#[test]
fn p3_who_has_another_way_goes_while_others_wait_for_the_rate() {
    let mut rig = slow(1);
    let told = deaf(&mut rig, 1);
    let mut others: Vec<_> = (10..14)
        .map(|number| Member::quiet(&mut rig, NAT, &inner(number)))
        .collect();
    let to = subnet_of(&rig, &others[0]);
    let id = notify(&mut rig, to, b"x");
    assert_eq!(said(&mut rig, told), [Said::Notification(id, b"x".into())]);
    assert_eq!(sent(&mut rig).len(), 1, "one a second");

    // A peer comes: what is for one of them goes by it.
    let (_, peer) = Member::connected(&mut rig, NAT, &inner(2));
    let other = &mut others[0];
    let single = notify(&mut rig, To::Client(other.peer.id), b"single");
    let frames = serves(&mut rig, peer);
    assert_eq!(frames.len(), 1);
    assert_eq!(
        other.hear(&frames[0].1[0].1),
        Some(Heard::Notification(single, b"single".into()))
    );
    confirm(&mut rig, peer, 1);
    // Those who wait for the rate are asked again when it is their turn.
    rig.wait(4 * SECOND);
    let frames = serves(&mut rig, peer);
    let last = frames.last().expect("by the peer").0;
    confirm(&mut rig, peer, last);
    rig.wait(SECOND);
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 5);
    assert_idle(&rig);
}

#[test]
fn each_datagram_of_the_rate_costs_the_same_however_many_subnets_wait() {
    let mut rig = slow(1);
    let members: Vec<_> = (1..=50)
        .map(|number| alloc::format!("192.0.2.{number}"))
        .map(|nat| Member::quiet(&mut rig, &nat, &inner(5)))
        .collect();
    notify(&mut rig, To::All, b"x");
    assert_eq!(sent(&mut rig).len(), 1);
    for _ in 1..members.len() {
        rig.now = rig.now + SECOND;
        let now = rig.now;
        rig.endpoint.handle_input(now, Input::Timeout);
        let (steps, datagrams) = steps(&mut rig);
        assert!(steps <= 3 && datagrams == 1, "{steps} {datagrams}");
    }
    assert_idle(&rig);
}

#[test]
fn room_for_one_costs_the_same_however_many_wait_for_it() {
    let mut rig = narrow();
    let (_, peer) = Member::connected(&mut rig, NAT, &inner(1));
    let others: Vec<_> = (2..252)
        .map(|number| Member::quiet(&mut rig, NAT, &inner(number)))
        .collect();
    let id = notify(&mut rig, To::All, b"x");
    for sequence in 1..=250 {
        let served = frame(ToRelay::Served(Served {
            sequence,
            refused: 0,
        }));
        let (now, bytes) = (rig.now, &served[..]);
        let conn = peer;
        rig.endpoint
            .handle_input(now, Input::Received { conn, bytes });
        let (steps, datagrams) = steps(&mut rig);
        assert!(steps <= 4 && datagrams == 0, "{steps} {datagrams}");
        rig.poll();
    }
    assert_eq!(others.len(), 250);
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 251);
    assert_idle(&rig);
}

#[test]
fn p4_a_line_that_is_told_goodbye_takes_nothing_more() {
    let mut rig = open_relay();
    let (_, first) = Member::connected(&mut rig, NAT, &inner(1));
    let (_, second) = Member::connected(&mut rig, NAT, &inner(2));
    let others: Vec<_> = (10..18)
        .map(|number| Member::quiet(&mut rig, NAT, &inner(number)))
        .collect();
    let id = notify(&mut rig, To::Client(others[0].peer.id), b"before");
    let (leaves, stays) = match serves(&mut rig, first).len() {
        0 => (second, first),
        _ => (first, second),
    };
    // It is blocked, so that the goodbye stays with the relay.
    rig.tell(Input::Blocked { conn: leaves });
    rig.endpoint.say_bye(leaves, ByeReason::Refused);
    for other in &others[1..] {
        notify(&mut rig, To::Client(other.peer.id), b"after");
    }
    assert_eq!(serves(&mut rig, stays).len(), 7, "all by the other one");
    // What it was sent before is its own still.
    assert_eq!(rig.endpoint.router.line_len(leaves.key()), 1);
    confirm(&mut rig, stays, 7);
    // It is gone with its goodbye, and what it did not confirm goes by the other.
    rig.writable(leaves);
    assert_eq!(said(&mut rig, leaves), [Said::Bye("refused", 0)]);
    assert_eq!(serves(&mut rig, stays).len(), 1);
    confirm(&mut rig, stays, 8);
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 1);
    assert_idle(&rig);
}

#[test]
fn p4_the_goodbye_gives_back_what_was_not_written() {
    let mut rig = open_relay();
    let (_, peer) = Member::connected(&mut rig, NAT, &inner(1));
    let other = Member::quiet(&mut rig, NAT, &inner(2));
    queue(&mut rig, To::Client(other.peer.id));
    assert_eq!(rig.endpoint.router.len(), 1);
    let now = rig.now;
    rig.endpoint
        .handle_input(now, Input::Blocked { conn: peer });
    rig.endpoint.say_bye(peer, ByeReason::Refused);
    rig.poll();
    assert_eq!(sent(&mut rig)[0].0, other.outer());
    assert_eq!(rig.endpoint.router.len(), 0);
}

#[test]
fn p4_a_line_that_is_blocked_takes_nothing_more() {
    let mut rig = open_relay();
    let (_, blocked) = Member::connected(&mut rig, NAT, &inner(1));
    let other = Member::quiet(&mut rig, NAT, &inner(9));
    rig.tell(Input::Blocked { conn: blocked });
    notify(&mut rig, To::Client(other.peer.id), b"waits");
    assert!(rig.endpoint.router.is_empty(), "nothing is with it");
    assert_eq!(sent(&mut rig), [], "it may take something soon");
    // Another one comes: it takes what waits, and what follows.
    let mut member = Member::new(&mut rig, NAT, &inner(2), true);
    let open = member.peer.connect(&mut rig);
    assert_eq!(serves(&mut rig, open).len(), 1);
    notify(&mut rig, To::Client(other.peer.id), b"next");
    assert_eq!(serves(&mut rig, open).len(), 1, "no other takes it");
    rig.writable(blocked);
    notify(&mut rig, To::Client(other.peer.id), b"last");
    assert_eq!(serves(&mut rig, blocked).len(), 1);
    confirm(&mut rig, open, 2);
    confirm(&mut rig, blocked, 1);
    assert_idle(&rig);
}

#[test]
fn p4_what_waits_in_the_queue_of_a_blocked_line_goes_another_way_in_time() {
    let mut rig = open_relay();
    let (_, peer) = Member::connected(&mut rig, NAT, &inner(1));
    let other = Member::quiet(&mut rig, NAT, &inner(2));
    let (id, ..) = queue(&mut rig, To::Client(other.peer.id));
    assert_eq!(rig.endpoint.router.line_len(peer.key()), 1);
    rig.tell(Input::Blocked { conn: peer });
    assert_eq!(serves(&mut rig, peer), []);
    let timeout = Limits::default().router.served_timeout;
    rig.wait(timeout - Duration::from_millis(2));
    assert_eq!(sent(&mut rig), []);
    rig.wait(Duration::from_millis(4));
    assert_eq!(sent(&mut rig)[0].0, other.outer());
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 1);
    rig.writable(peer);
    assert_eq!(serves(&mut rig, peer), []);
    assert_idle(&rig);
}

/// Law 2: what waited for the rate may be of no use when its time comes, and
/// be more than one poll gives up.
#[test]
fn no_deadline_has_passed_while_more_expired_than_one_poll_takes() {
    let mut rig = slow(1);
    for number in 0..300 {
        let (high, low) = (number / 200, 1 + number % 200);
        Member::quiet(&mut rig, NAT, &alloc::format!("10.0.{high}.{low}/16"));
    }
    notify_for(&mut rig, To::All, b"short", 5);
    rig.wait(SECOND);
    assert!(rig.endpoint.fanout.next_paced().is_some(), "they wait");
    rig.now = rig.now + 10 * SECOND;
    for _ in 0..10 {
        rig.tell(Input::Timeout);
        let Some(deadline) = rig.deadline else { break };
        assert!(deadline > rig.now, "{deadline:?} is not ahead");
        rig.now = deadline;
    }
    assert_eq!(sent(&mut rig).len(), 2, "before it expired");
    assert_idle(&rig);
}

#[test]
fn a_site_costs_what_its_own_subnets_cost() {
    let mut settings = open_settings();
    settings.registry.sites = [crate::registration::Site {
        name: "site".into(),
        networks: ["198.51.100.0/24".parse().unwrap()].into(),
    }]
    .into();
    let mut rig = relay_with(settings, Limits::default());
    for number in 1..=200 {
        let nat = alloc::format!("192.0.2.{number}");
        Member::quiet(&mut rig, &nat, &inner(5));
    }
    let mut inside: Vec<_> = ["10.0.0.5/24", "10.0.1.5/24"]
        .map(|local| Member::quiet(&mut rig, "198.51.100.1", local))
        .into();
    for _ in 0..3 {
        let (id, steps, datagrams) = queue(&mut rig, To::Site(0));
        assert!(steps <= 8 && datagrams == 2, "{steps} {datagrams}");
        assert_eq!(rig.endpoint.notification(id).unwrap().sent, 2);
    }
    inside.remove(0).moves(&mut rig, NAT, "10.0.0.5/24", false);
    assert_eq!(queue(&mut rig, To::Site(0)).2, 1);
    assert_idle(&rig);
}

#[test]
fn the_driver_gets_its_turn_while_a_fan_out_has_nothing_to_write() {
    let mut rig = open_relay();
    // None of them has a way, and there is much to say.
    let (clients, notifications) = (100, 300);
    for _ in 0..clients {
        register(&mut rig);
    }
    let (now, options) = (rig.now, NotifyOptions::default());
    for _ in 0..notifications {
        let told = rig.endpoint.notify(now, To::All, b"x", options);
        told.expect("there is room");
    }
    rig.poll();
    let left = |rig: &Rig<Relay>| count(rig, |stats| stats.left_to_inbox.get("unproven"));
    let first = left(&rig);
    assert!(first > 1_000 && first < clients * notifications, "{first}");
    // Somebody who asks is answered before that goes on.
    assert_eq!(get(&mut rig, "/v1/inbox").status, 401);
    assert_eq!(left(&rig), first, "not before its time");
    assert!(rig.deadline > Some(rig.now));
    rig.wait(Duration::from_millis(10));
    assert_eq!(left(&rig), clients * notifications);
    assert_idle(&rig);
}
