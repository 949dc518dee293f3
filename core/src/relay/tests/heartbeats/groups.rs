//! Periods of clients, subnets and sites.

use super::*;
use crate::registration::Site;

/// Members at a site, in a subnet of it, one of those, and elsewhere.
pub(super) const PLACES: [(&str, &str); 4] = [
    ("192.0.2.1", "10.0.0.1/24"),
    ("192.0.2.1", "10.0.1.1/24"),
    ("192.0.2.1", "10.0.1.2/24"),
    ("198.51.100.1", "10.0.0.1/24"),
];

pub(super) fn with_site(heartbeat: HeartbeatSettings) -> Rig<Relay> {
    let mut settings = open_settings();
    settings.heartbeat = heartbeat;
    settings.registry.sites = [Site {
        name: "site".into(),
        networks: ["192.0.2.0/28".parse().unwrap()].into(),
    }]
    .into();
    patient(settings)
}

/// The settings of those in [`PLACES`]: a site, a subnet and a client have
/// periods of their own. The ids are those of the same relay without them.
pub(super) fn grouped() -> HeartbeatSettings {
    let mut rig = with_site(asking(seconds(50)));
    let members = PLACES.map(|(nat, inner)| Member::connected(&mut rig, nat, inner).0);
    let record = rig.endpoint.client(members[1].peer.id).unwrap();
    let subnet = rig.endpoint.subnet_of(record).unwrap().name;
    HeartbeatSettings {
        periods: [
            (Group::Client(members[2].peer.id), seconds(20)),
            (Group::Subnet(subnet), seconds(7)),
            (Group::Subnet(subnet), seconds(30)),
            (Group::Site(0), seconds(40)),
        ]
        .into(),
        ..asking(seconds(50))
    }
}

#[test]
fn a_clients_period_goes_before_its_subnets_and_that_before_its_sites() {
    let heartbeat = grouped();
    let mut rig = with_site(heartbeat.clone());
    let members = PLACES.map(|(nat, inner)| Member::connected(&mut rig, nat, inner));
    let conns = members.each_ref().map(|(_, conn)| *conn);
    let asked = answer_all(&mut rig, &conns, seconds(1_000));
    for (asked, period) in asked.iter().zip([40, 30, 20, 50]) {
        let spans = spans(asked);
        assert!(spans.len() >= 1_000 / period - 2);
        let period = seconds(period as u64);
        assert!(spans.iter().all(|it| *it == period), "{period:?}");
    }
    let mut told: Vec<_> = rig.endpoint.heartbeat_periods().collect();
    told.sort();
    let mut expected = heartbeat.periods;
    expected.remove(1);
    expected.sort();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(group, period)| (group, period, Some(period + TIMEOUT)))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn who_moves_has_the_period_of_its_new_place() {
    let mut rig = with_site(grouped());
    let mut members = PLACES.map(|(nat, inner)| Member::connected(&mut rig, nat, inner));
    let conns = members.each_ref().map(|(_, conn)| *conn);
    answer_all(&mut rig, &conns, seconds(100));
    members[3].0.moves(&mut rig, NAT, "10.0.0.9/24", true);
    members[0]
        .0
        .moves(&mut rig, "198.51.100.9", "10.0.0.1/24", true);
    let asked = answer_all(&mut rig, &conns, seconds(500));
    for (at, period) in [(3, 40), (0, 50)] {
        let spans = spans(&asked[at]);
        // The first one may be sooner.
        assert!(spans[0] <= seconds(period));
        assert!(spans[1..].iter().all(|it| *it == seconds(period)));
        assert!(spans.len() >= 8);
    }
}

#[test]
fn h1_who_moves_while_it_is_asked_has_to_answer() {
    let mut rig = with_site(grouped());
    let (nat, inner) = PLACES[0];
    let (mut member, conn) = Member::connected(&mut rig, nat, inner);
    let nonce = until_asked(&mut rig, conn);
    rig.feed(conn, &pong(nonce));
    let heard = rig.now;
    until_asked(&mut rig, conn);
    for at in 0..4 {
        rig.wait(SECOND);
        let nat = ["198.51.100.9", NAT][at % 2];
        member.moves(&mut rig, nat, inner, true);
    }
    rig.told();
    assert_eq!(until_ended(&mut rig, conn), SECOND);
    let silent_for = rig.now.saturating_since(heard);
    let told = ended(&mut rig, member.peer.id, conn);
    assert_eq!(told, (silent_for, Rule::ResponseTimeout));

    // Who is dead and moves before it is asked is found as soon.
    let conn = member.connect(&mut rig);
    rig.told();
    let nonce = until_asked(&mut rig, conn);
    rig.feed(conn, &pong(nonce));
    let heard = rig.now;
    for at in 0..50 {
        rig.wait(SECOND);
        if rig.wire(conn).closed.is_some() {
            break;
        }
        let nat = ["198.51.100.9", NAT][at % 2];
        member.moves(&mut rig, nat, inner, true);
    }
    assert!(rig.wire(conn).closed.is_some());
    assert!(rig.now.saturating_since(heard) <= seconds(55));
}
