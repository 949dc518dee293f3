//! What waits for its way holds up nothing else.

use core::time::Duration;

use super::members::{
    Heard, Member, assert_idle, confirm, notify, open_settings, sent, serves, subnet_of,
};
use super::*;
use crate::relay::To;
use crate::relay::routing::Routed;
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

/// How many steps it takes until nothing can be done, outputs left aside.
fn steps(rig: &mut Rig<Relay>) -> (usize, usize) {
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
        let served = frame(ToRelay::Served(crate::wire::message::Served {
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
