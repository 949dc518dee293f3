//! The persistent connection, seen from the client.

use super::*;
use crate::wire::message::{Bye, ByeReason, Ping};
use crate::{Close, wire};

/// A client whose upgrade was asked for, and the connection.
fn upgrading() -> (Rig<Client>, ConnId) {
    let mut rig = registered(client(), true);
    let conn = connected(&mut rig);
    rig.written(conn);
    (rig, conn)
}

fn bye(reason: ByeReason, retry_after_ms: u32) -> Vec<u8> {
    frame(ToClient::Bye(Bye {
        reason,
        retry_after_ms,
    }))
}

/// A failed attempt of four.
fn attempt_failed(attempt: u32, why: Failure) -> Event {
    Event::AttemptFailed {
        attempt,
        attempts_max: 4,
        is_last: attempt == 4,
        why,
    }
}

#[test]
fn p2_a_refused_one_is_tried_every_three_minutes_four_in_all() {
    for status in [403, 409, 503, 200] {
        let (mut rig, mut conn) = upgrading();
        for attempt in 1..=4 {
            respond(&mut rig, conn, status, b"no");
            let why = Failure::Status(status);
            assert_eq!(rig.told(), [attempt_failed(attempt, why)]);
            if attempt < 4 {
                assert_eq!(until_connect(&mut rig), 180 * SECOND);
                conn = connected(&mut rig);
                assert!(request(&mut rig, conn).starts_with("GET /v1/connect"));
            }
        }
        // Now it is the inbox that brings what was said.
        assert_eq!(until_connect(&mut rig), Duration::ZERO);
        let conn = connected(&mut rig);
        assert!(request(&mut rig, conn).starts_with("GET /v1/inbox"));
        respond(&mut rig, conn, 200, &inbox(&[], false));
        // Once, and then at its pace.
        let waited = 540 * SECOND + until_connect(&mut rig);
        assert!((810 * SECOND..=990 * SECOND).contains(&waited));
    }
}

#[test]
fn one_refused_with_401_leads_to_a_registration() {
    let (mut rig, conn) = upgrading();
    respond(&mut rig, conn, 401, b"");
    assert!(until_connect(&mut rig) <= 30 * SECOND);
    let conn = connected(&mut rig);
    assert!(request(&mut rig, conn).starts_with("POST /v1/register "));
}

#[test]
fn a_first_frame_that_is_missing_or_another_ends_it() {
    let (mut rig, conn) = upgrading();
    rig.feed(conn, SWITCHING);
    rig.wait(10 * SECOND);
    assert_eq!(rig.told(), [attempt_failed(1, Failure::TimedOut)]);
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));

    let newer = frame(ToClient::Hello(Hello {
        version: VERSION + 1,
        incarnation: Incarnation(3),
        body_bytes_max: 1,
    }));
    for (bytes, why) in [
        (notification(1), "the first frame is no hello"),
        (newer, "another version"),
        (b"garbage that is long enough".into(), "frame_reserved"),
    ] {
        let (mut rig, conn) = upgrading();
        rig.feed(conn, SWITCHING);
        rig.feed_split(conn, &bytes);
        assert_eq!(rig.told(), [attempt_failed(1, Failure::Protocol(why))]);
        assert_eq!(said(&mut rig, conn), [Said::Bye("protocol error")]);
        assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
        assert!(!rig.endpoint.is_connected());
    }
}

#[test]
fn the_first_frame_may_come_with_the_101() {
    let (mut rig, conn) = upgrading();
    let mut bytes: Vec<u8> = SWITCHING.into();
    bytes.extend(hello(3, 65_600));
    bytes.extend(notification(1));
    rig.feed(conn, &bytes);
    let told = rig.told();
    assert!(
        matches!(told[..], [Event::Connected, Event::Notification { .. }]),
        "{told:?}"
    );
}

#[test]
fn p9_a_relay_that_breaks_the_rules_is_left_and_nothing_more_is_taken() {
    let reply = ToRelay::Reply(wire::message::Reply {
        notification: nth(1),
        payload: b"x",
    });
    let mut wrong = alloc::vec![0; reply.encoded_len()];
    reply.encode(&mut wrong).unwrap();
    let (mut rig, conn) = with_line(Limits::default());
    rig.closes = false;
    rig.wire(conn).blocks = true;
    rig.feed(conn, &frame(ToClient::Ping(Ping { nonce: 1 })));
    rig.feed(conn, &wrong);
    rig.feed(conn, &notification(1));
    let why = Failure::Protocol("message_direction");
    assert_eq!(rig.told(), [Event::Disconnected { why }]);
    rig.writable(conn);
    assert_eq!(
        said(&mut rig, conn),
        [Said::Pong(1), Said::Bye("protocol error")]
    );
    assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
}

#[test]
fn a_goodbye_with_a_window_is_answered_by_a_registration_within_it() {
    for (window, longest) in [
        (5_000, 5 * SECOND),
        (0, 30 * SECOND),
        (u32::MAX, 7 * 3_600 * SECOND),
    ] {
        let (mut rig, conn) = with_line(Limits::default());
        rig.feed(conn, &bye(ByeReason::ShuttingDown, window));
        let why = Failure::Bye("shutting down");
        assert_eq!(rig.told(), [Event::Disconnected { why }]);
        assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
        let mut waited = until_connect(&mut rig);
        let mut conn = connected(&mut rig);
        while !request(&mut rig, conn).starts_with("POST /v1/register ") {
            respond(&mut rig, conn, 200, &inbox(&[], false));
            waited += until_connect(&mut rig);
            conn = connected(&mut rig);
        }
        assert!(waited <= longest, "{waited:?} of {longest:?}");
    }
}

#[test]
fn another_run_of_the_relay_is_registered_with() {
    let (mut rig, conn) = with_line(Limits::default());
    rig.feed(conn, &hello(4, 65_600));
    let waited = until_connect(&mut rig);
    assert!(waited <= 30 * SECOND, "{waited:?}");
    let control = connected(&mut rig);
    assert!(request(&mut rig, control).starts_with("POST /v1/register "));
    let mut later = answer(false, true);
    later.incarnation = 4;
    later.notified = Some(NotificationId::new(Incarnation(4), 7));
    respond(&mut rig, control, 200, &text(&later));
    rig.closed(conn, CloseReason::Reset);
    // What was said to others before it registered is not asked for.
    let mut asked = String::new();
    while !asked.starts_with("GET /v1/connect?after=0000000400000007 ") {
        until_connect(&mut rig);
        let conn = connected(&mut rig);
        asked = request(&mut rig, conn);
        if asked.starts_with("POST /v1/register ") {
            respond(&mut rig, conn, 200, &text(&later));
        }
    }
}

#[test]
fn a_relay_that_takes_nothing_is_left() {
    let (mut rig, conn) = with_line(Limits::default());
    rig.wire(conn).blocks = true;
    rig.feed(conn, &frame(ToClient::Ping(Ping { nonce: 1 })));
    rig.wait(30 * SECOND);
    let why = Failure::TimedOut;
    assert_eq!(rig.told().first(), Some(&Event::Disconnected { why }));
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
}

#[test]
fn a_verdict_of_no_ends_it_with_a_goodbye() {
    let (mut rig, conn) = with_line(Limits::default());
    rig.feed(conn, &notification(1));
    let (handle, id) = notified(&mut rig)[0];
    reply(&mut rig, handle, b"pong");
    assert_eq!(said(&mut rig, conn), [Said::Reply(id, 4)]);
    rig.feed(conn, &taken(1));
    rig.wait(7 * 3_600 * SECOND);
    disk(&mut rig);
    let control = connected(&mut rig);
    rig.written(control);
    respond(&mut rig, control, 200, &text(&answer(false, false)));
    let why = Failure::Left;
    assert!(rig.told().contains(&Event::Disconnected { why }));
    assert_eq!(said(&mut rig, conn), [Said::Bye("refused")]);
    assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
}

#[test]
fn a_relay_whose_frame_does_not_come_whole_in_time_is_left() {
    let (mut rig, conn) = with_line(Limits::default());
    let ping = frame(ToClient::Ping(Ping { nonce: 1 }));
    for byte in &ping[..10] {
        rig.feed(conn, &[*byte]);
        rig.wait(2 * SECOND);
    }
    rig.told();
    rig.wait(10 * SECOND);
    let why = Failure::TimedOut;
    assert_eq!(rig.told(), [Event::Disconnected { why }]);
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
}

#[test]
fn a_hello_behind_a_fault_is_not_heard() {
    for in_one in [true, false] {
        let mut rig = registered(client(), true);
        let (conn, ..) = rig.connects[0];
        // The goodbye has to wait.
        rig.wire(conn).blocks = true;
        assert_eq!(connected(&mut rig), conn);
        rig.written(conn);
        rig.feed(conn, SWITCHING);
        let mut bytes = notification(1);
        if in_one {
            bytes.extend(hello(3, 65_600));
        }
        rig.feed(conn, &bytes);
        rig.feed(conn, &hello(3, 65_600));
        rig.feed(conn, &notification(2));
        let why = Failure::Protocol("the first frame is no hello");
        assert_eq!(rig.told(), [attempt_failed(1, why)]);
        assert!(!rig.endpoint.is_connected());
        rig.writable(conn);
        assert_eq!(said(&mut rig, conn), [Said::Bye("protocol error")]);
        assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
        assert_eq!(rig.told(), []);
    }
}

/// A client that was granted anew while it is open: its line, and the attempt
/// to renew it, which was asked for.
fn renewing() -> (Rig<Client>, ConnId, ConnId) {
    let (mut rig, old) = with_line(Limits::default());
    rig.wait(7 * 3_600 * SECOND);
    disk(&mut rig);
    let control = connected(&mut rig);
    rig.written(control);
    respond(&mut rig, control, 200, &text(&answer(false, true)));
    let new = connected(&mut rig);
    assert!(request(&mut rig, new).starts_with("GET /v1/connect"));
    rig.told();
    (rig, old, new)
}

#[test]
fn a_new_grant_opens_another_one_while_the_old_one_serves() {
    let (mut rig, old, new) = renewing();
    rig.feed(old, &notification(1));
    let (handle, id) = notified(&mut rig)[0];
    reply(&mut rig, handle, b"pong");
    assert_eq!(said(&mut rig, old), [Said::Reply(id, 4)]);
    rig.feed(new, SWITCHING);
    rig.feed(new, &hello(3, 65_600));
    assert!(rig.endpoint.is_connected());
    assert_eq!(rig.told(), [], "nothing was interrupted");
    assert_eq!(said(&mut rig, old), [Said::Bye("replaced")]);
    assert_eq!(rig.wire(old).closed, Some(Close::Finish));
    assert_eq!(
        said(&mut rig, new),
        [Said::Reply(id, 4)],
        "it was not taken on the old one"
    );
    rig.feed(new, &notification(2));
    assert_eq!(notified(&mut rig)[0].1, nth(2));
    rig.wait(600 * SECOND);
    assert!(rig.stores.is_empty(), "its end leads to no registration");
}

#[test]
fn the_relay_may_end_the_old_one_first() {
    let (mut rig, old, new) = renewing();
    rig.feed(new, SWITCHING);
    rig.feed(old, &bye(ByeReason::Replaced, 0));
    assert!(!rig.endpoint.is_connected());
    rig.feed(new, &hello(3, 65_600));
    let why = Failure::Bye("replaced");
    assert_eq!(rig.told(), [Event::Disconnected { why }, Event::Connected]);
    rig.wait(600 * SECOND);
    assert!(rig.stores.is_empty() && rig.endpoint.is_connected());
}

#[test]
fn p2_a_renewal_that_fails_four_times_leaves_the_old_one() {
    let (mut rig, old, mut new) = renewing();
    for attempt in 1..=4 {
        respond(&mut rig, new, 503, b"");
        assert_eq!(rig.told(), [attempt_failed(attempt, Failure::Status(503))]);
        assert!(rig.endpoint.is_connected());
        if attempt < 4 {
            assert_eq!(until_connect(&mut rig), 180 * SECOND);
            new = connected(&mut rig);
            rig.written(new);
        }
    }
    rig.wait(3_600 * SECOND);
    assert!(rig.connects.is_empty());
    rig.feed(old, &notification(1));
    assert_eq!(notified(&mut rig)[0].1, nth(1));
}

#[test]
fn both_are_lost_and_the_client_registers_anew() {
    let (mut rig, old, new) = renewing();
    rig.closed(old, CloseReason::Reset);
    assert!(rig.stores.is_empty(), "the new one may take its place");
    rig.closed(new, CloseReason::Reset);
    assert!(until_connect(&mut rig) <= 30 * SECOND);
    let conn = connected(&mut rig);
    assert!(request(&mut rig, conn).starts_with("POST /v1/register "));
}

#[test]
fn a_stop_ends_both() {
    let (mut rig, old, new) = renewing();
    let now = rig.now;
    rig.endpoint.stop(now);
    rig.poll();
    assert_eq!(said(&mut rig, old), [Said::Bye("shutting down")]);
    assert_eq!(rig.wire(new).closed, Some(Close::Abort));
    let told = rig.told();
    assert!(told.contains(&Event::Stopped), "{told:?}");
}
