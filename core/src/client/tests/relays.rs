//! More relays than one: to which the client goes, and when.

use super::*;
use crate::ConnectError;
use crate::registration::{Interface, SelectorSettings};

const RELAYS: [&str; 3] = ["best", "good", "last"];

fn client_of(relays: usize) -> Rig<Client> {
    let mut settings = settings();
    let named = |name: &&str| RelayAddress {
        host: (*name).into(),
        port: 52_311,
        tls: false,
    };
    settings.relays = RELAYS[..relays].iter().map(named).collect();
    client_with(settings, Limits::default())
}

/// Whom the client wants to connect to; the connection is refused.
fn refused(rig: &mut Rig<Client>) -> String {
    let (conn, host, ..) = rig.connects.remove(0);
    let why = ConnectError::Refused;
    rig.tell(Input::ConnectFailed { conn, why });
    disk(rig);
    host
}

/// A client that registered with the second relay, since the first failed.
fn on_the_second(relays: usize, granted: bool) -> Rig<Client> {
    let mut rig = client_of(relays);
    disk(&mut rig);
    while rig.connects[0].1 == RELAYS[0] {
        refused(&mut rig);
        until_connect(&mut rig);
    }
    assert!(
        rig.told().contains(&Event::RelayChanged { relay: 1 }),
        "told once it is so"
    );
    assert_eq!(rig.connects[0].1, RELAYS[1]);
    let rig = registered(rig, granted);
    assert_eq!(rig.endpoint.relay(), 1);
    rig
}

/// The connection to this relay, that the client asked for.
fn connected_to(rig: &mut Rig<Client>, relay: usize) -> ConnId {
    assert_eq!(rig.connects[0].1, RELAYS[relay]);
    connected(rig)
}

#[test]
fn after_600_seconds_of_failures_the_next_is_asked_at_once_and_none_that_is_not_listed() {
    let mut rig = client_of(3);
    disk(&mut rig);
    let start = rig.now;
    let mut first_asked = Vec::new();
    while rig.now < start + 60 * MINUTE {
        let host = refused(&mut rig);
        assert!(RELAYS.contains(&host.as_str()), "{host}");
        if first_asked.last().is_none_or(|(last, _)| *last != host) {
            first_asked.push((host, rig.now.saturating_since(start)));
        }
        until_connect(&mut rig);
    }
    let hosts: Vec<&str> = first_asked.iter().map(|(host, _)| host.as_str()).collect();
    assert_eq!(hosts[..4], ["best", "good", "last", "best"]);
    let moments: Vec<Duration> = first_asked.iter().map(|(_, at)| *at).collect();
    assert_eq!(moments[..3], [Duration::ZERO, 600 * SECOND, 1_200 * SECOND]);
    // In the second round it is the next try of those that fail.
    assert!(moments[3] >= 1_800 * SECOND && moments[3] <= 2_100 * SECOND);
}

#[test]
fn a_single_relay_is_asked_for_ever() {
    let mut rig = client_of(1);
    disk(&mut rig);
    for _ in 0..50 {
        assert_eq!(refused(&mut rig), RELAYS[0]);
        until_connect(&mut rig);
    }
    assert!(
        !rig.told()
            .iter()
            .any(|event| matches!(event, Event::RelayChanged { .. }))
    );
}

#[test]
fn a_better_one_is_tried_every_six_hours_and_one_that_fails_costs_nothing() {
    let mut rig = on_the_second(2, false);
    let registered_at = rig.now;
    let inbox_is_asked_at = |rig: &mut Rig<Client>| {
        let conn = connected_to(rig, 1);
        assert!(request(rig, conn).starts_with("GET /v1/inbox"));
        respond(rig, conn, 200, &inbox(&[], false));
    };
    loop {
        until_connect(&mut rig);
        if rig.connects[0].1 == RELAYS[0] {
            break;
        }
        inbox_is_asked_at(&mut rig);
    }
    let waited = rig.now.saturating_since(registered_at);
    assert!(
        waited >= 19_000 * SECOND && waited <= 23_760 * SECOND,
        "{waited:?}"
    );
    rig.told();
    refused(&mut rig);
    let why = Failure::Connect(ConnectError::Refused);
    assert_eq!(rig.told(), [failed("registration", why)]);
    assert_eq!(rig.endpoint.relay(), 1);
    // What follows is asked of the old one, under the session that it gave.
    until_connect(&mut rig);
    inbox_is_asked_at(&mut rig);
}

#[test]
fn select_tries_the_better_ones_in_order_and_keeps_the_one_that_works() {
    let mut rig = on_the_second(2, true);
    let line = connected_to(&mut rig, 1);
    rig.written(line);
    rig.feed(line, SWITCHING);
    rig.feed(line, &hello(3, 65_600));
    rig.told();
    let now = rig.now;
    rig.endpoint.select(now);
    rig.poll();
    disk(&mut rig);
    let control = connected_to(&mut rig, 0);
    assert!(rig.endpoint.is_connected(), "it serves meanwhile");
    let asked = request(&mut rig, control);
    assert!(asked.starts_with("POST /v1/register "), "{asked}");
    assert!(asked.contains("\r\nHost: best:52311\r\n"), "{asked}");
    let mut better = answer(false, false);
    better.incarnation = 9;
    respond(&mut rig, control, 200, &text(&better));
    let told = rig.told();
    assert!(told.contains(&Event::RelayChanged { relay: 0 }), "{told:?}");
    let why = Failure::Left;
    assert!(told.contains(&Event::Disconnected { why }), "{told:?}");
    assert_eq!(said(&mut rig, line), [Said::Bye("replaced")]);
    assert_eq!(rig.wire(line).closed, Some(crate::Close::Finish));
    assert_eq!(rig.endpoint.relay(), 0);
    // Nothing is better than the first.
    let now = rig.now;
    rig.endpoint.select(now);
    rig.poll();
    assert!(rig.stores.is_empty());
}

#[test]
fn a_try_that_fails_goes_straight_back_and_a_line_stays() {
    let mut rig = on_the_second(2, true);
    let line = connected_to(&mut rig, 1);
    rig.written(line);
    rig.feed(line, SWITCHING);
    rig.feed(line, &hello(3, 65_600));
    let now = rig.now;
    rig.endpoint.select(now);
    rig.poll();
    disk(&mut rig);
    let control = connected_to(&mut rig, 0);
    rig.written(control);
    respond(&mut rig, control, 401, b"");
    // Before it asks its inbox.
    rig.wait(14 * MINUTE);
    assert!(rig.endpoint.is_connected());
    assert!(rig.connects.is_empty(), "{:?}", rig.connects);
    assert!(rig.stores.is_empty(), "no registration is under way");
}

#[test]
fn changed_addresses_are_registered_with_the_better_one_or_else_with_the_one_in_use() {
    for works in [true, false] {
        let mut rig = on_the_second(2, false);
        let now = rig.now;
        let address = "10.0.0.5".parse().unwrap();
        let changed = [Interface {
            address,
            prefix: 24,
        }];
        // What is open to the relay in use ends first.
        rig.endpoint.handle_addresses(now, &changed);
        assert_eq!(until_connect(&mut rig), Duration::ZERO);
        while rig.connects[0].1 == RELAYS[1] {
            let conn = connected_to(&mut rig, 1);
            respond(&mut rig, conn, 200, &inbox(&[], false));
            assert_eq!(until_connect(&mut rig), Duration::ZERO);
        }
        let mut relay = 0;
        if !works {
            refused(&mut rig);
            assert_eq!(until_connect(&mut rig), Duration::ZERO);
            relay = 1;
        }
        let conn = connected_to(&mut rig, relay);
        let asked = request(&mut rig, conn);
        assert!(asked.starts_with("POST /v1/register "), "{asked}");
        assert!(asked.contains(r#""address":"10.0.0.5""#), "{asked}");
        respond(&mut rig, conn, 200, &text(&answer(false, false)));
        assert_eq!(rig.endpoint.relay(), relay);
    }
}

#[test]
fn a_client_that_stops_tries_no_other() {
    let mut rig = on_the_second(2, false);
    let now = rig.now;
    rig.endpoint.stop(now);
    rig.poll();
    rig.connects.clear();
    rig.endpoint.select(now);
    rig.poll();
    rig.wait(48 * 3_600 * SECOND);
    assert!(rig.connects.is_empty());
}

#[test]
fn figures_of_the_choice_are_settings() {
    let mut settings = settings();
    settings.relays.push(RelayAddress {
        host: "other".into(),
        port: 1,
        tls: true,
    });
    settings.selector = SelectorSettings {
        failover_after: Duration::ZERO,
        ..SelectorSettings::default()
    };
    let mut rig = client_with(settings, Limits::default());
    disk(&mut rig);
    assert_eq!(refused(&mut rig), "relay");
    assert_eq!(until_connect(&mut rig), Duration::ZERO);
    let (_, host, port, tls) = &rig.connects[0];
    assert_eq!((host.as_str(), *port, *tls), ("other", 1, true));
}
