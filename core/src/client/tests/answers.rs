//! What the relay answers, and what not.

use super::*;
use crate::ConnectError;
use crate::http::ClientError;
use crate::registration::Interface;

/// A client whose registration was asked, and the connection.
fn asking() -> (Rig<Client>, ConnId) {
    let mut rig = client();
    disk(&mut rig);
    let conn = connected(&mut rig);
    rig.written(conn);
    (rig, conn)
}

fn retried(rig: &mut Rig<Client>, why: Failure) {
    assert_eq!(rig.told(), [failed("registration", why)]);
    let waited = until_connect(rig);
    assert!(waited >= MINUTE && waited <= 5 * MINUTE, "{waited:?}");
    let conn = connected(rig);
    let asked = request(rig, conn);
    assert!(asked.contains(r#""registration":2,"#), "{asked}");
}

#[test]
fn the_relay_is_named_as_configured() {
    for tls in [false, true] {
        let mut settings = settings();
        settings.relays[0].tls = tls;
        settings.relays[0].host = "2001:db8::1".into();
        let mut rig = client_with(settings, Limits::default());
        disk(&mut rig);
        let (_, host, port, is_tls) = &rig.connects[0];
        assert_eq!((host.as_str(), *port, *is_tls), ("2001:db8::1", 52311, tls));
        let conn = connected(&mut rig);
        assert!(request(&mut rig, conn).contains("\r\nHost: [2001:db8::1]:52311\r\n"));
    }
}

#[test]
fn what_can_not_be_connected_is_tried_in_one_to_five_minutes() {
    for why in [
        ConnectError::Refused,
        ConnectError::Tls,
        ConnectError::Unresolved,
    ] {
        let mut rig = client();
        disk(&mut rig);
        let (conn, ..) = rig.connects.remove(0);
        rig.tell(Input::ConnectFailed { conn, why });
        retried(&mut rig, Failure::Connect(why));
    }
}

#[test]
fn a_connect_without_an_end_is_given_up() {
    let mut rig = client();
    disk(&mut rig);
    let (conn, ..) = rig.connects.remove(0);
    rig.wait(10 * SECOND);
    assert_eq!(rig.wire(conn).closed, Some(crate::Close::Abort));
    retried(&mut rig, Failure::TimedOut);
}

#[test]
fn an_answer_that_is_none_is_a_failure() {
    let mut foreign = answer(true, true);
    foreign.secret = None;
    let large = alloc::vec![b' '; 524_289];
    let unknown = [b"{}".into(), b"".into(), b"\xff".into(), text(&foreign)];
    for body in unknown {
        let (mut rig, conn) = asking();
        respond(&mut rig, conn, 200, &body);
        retried(&mut rig, Failure::Answer);
    }
    for status in [400, 401, 403, 409, 500, 503, 204, 302] {
        let (mut rig, conn) = asking();
        respond(&mut rig, conn, status, b"");
        if status == 409 {
            // The file is older than what the relay knows: far ahead it goes on.
            assert_eq!(rig.told(), [failed("registration", Failure::Status(409))]);
            until_connect(&mut rig);
            let conn = connected(&mut rig);
            assert!(request(&mut rig, conn).contains(r#""registration":65539,"#));
        } else {
            retried(&mut rig, Failure::Status(status));
        }
    }
    let (mut rig, conn) = asking();
    respond(&mut rig, conn, 200, &large);
    retried(&mut rig, Failure::Http(ClientError::BodyTooLarge));
    let (mut rig, conn) = asking();
    rig.feed(conn, b"SSH-2.0-OpenSSH\r\n\r\n");
    retried(&mut rig, Failure::Http(ClientError::Malformed));
}

#[test]
fn an_answer_that_does_not_come_is_a_failure() {
    let (mut rig, _) = asking();
    rig.wait(10 * SECOND);
    retried(&mut rig, Failure::Http(ClientError::SlowHead));
    let (mut rig, conn) = asking();
    rig.feed(conn, b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n{");
    rig.wait(11 * SECOND);
    retried(&mut rig, Failure::Http(ClientError::SlowBody));
    let (mut rig, conn) = asking();
    rig.closed(conn, CloseReason::Reset);
    retried(&mut rig, Failure::Closed(CloseReason::Reset));
    let (mut rig, conn) = asking();
    rig.tell(Input::Eof { conn });
    retried(&mut rig, Failure::Http(ClientError::Closed));
}

#[test]
fn another_clients_answer_is_not_taken() {
    let (mut rig, _) = with_line(Limits::default());
    rig.wait(7 * 3_600 * SECOND);
    disk(&mut rig);
    let control = connected(&mut rig);
    assert!(request(&mut rig, control).starts_with("POST /v1/register "));
    let mut other = answer(true, true);
    other.client = ClientId([9; 16]);
    respond(&mut rig, control, 200, &text(&other));
    assert_eq!(rig.told(), [failed("registration", Failure::Answer)]);
    assert_eq!(rig.endpoint.id(), Some(ID));
}

#[test]
fn without_a_verdict_there_is_no_connection() {
    let (mut rig, conn) = asking();
    let mut older = answer(true, true);
    older.persistent_connection = None;
    older.notified = None;
    respond(&mut rig, conn, 200, &text(&older));
    disk(&mut rig);
    assert!(matches!(
        rig.told()[..],
        [Event::Registered {
            granted: false,
            reason: None,
            ..
        }]
    ));
    let conn = connected(&mut rig);
    let asked = request(&mut rig, conn);
    assert!(asked.starts_with("GET /v1/inbox HTTP/1.1\r\n"), "{asked}");
}

#[test]
fn why_there_is_no_grant_is_told_if_the_word_is_known() {
    let known = Verdict::REASONS.into_iter().map(|word| (word, Some(word)));
    for (word, expected) in known.chain([("weather", None)]) {
        let (mut rig, conn) = asking();
        let mut denied = answer(true, false);
        if let Some(verdict) = &mut denied.persistent_connection {
            verdict.reason = Some(word.into());
        }
        respond(&mut rig, conn, 200, &text(&denied));
        disk(&mut rig);
        let told = rig.told();
        let is_right = |event: &Event| matches!(event, Event::Registered { granted: false, reason, .. } if *reason == expected);
        assert!(told.iter().any(is_right), "{word}: {told:?}");
    }
}

#[test]
fn changed_addresses_are_registered_at_once_and_the_same_ones_not() {
    let (mut rig, _) = with_line(Limits::default());
    let now = rig.now;
    let address = "10.0.0.5".parse().unwrap();
    rig.endpoint.handle_addresses(now, &[]);
    rig.wait(SECOND);
    assert!(rig.stores.is_empty());
    rig.endpoint.handle_addresses(
        now,
        &[Interface {
            address,
            prefix: 24,
        }],
    );
    rig.poll();
    assert_eq!(until_connect(&mut rig), Duration::ZERO);
    let conn = connected(&mut rig);
    let asked = request(&mut rig, conn);
    assert!(
        asked.contains(r#"[{"address":"10.0.0.5","prefix":24}]"#),
        "{asked}"
    );
    respond(&mut rig, conn, 200, &text(&answer(false, true)));
    assert!(rig.endpoint.is_connected(), "the connection stays");
    assert_eq!(rig.connects.len(), 1, "until another takes its place");
}

#[test]
fn addresses_that_change_during_a_registration_are_registered_behind_it() {
    let (mut rig, conn) = asking();
    let now = rig.now;
    let address = "10.0.0.5".parse().unwrap();
    let prefix = 24;
    rig.endpoint
        .handle_addresses(now, &[Interface { address, prefix }]);
    respond(&mut rig, conn, 200, &text(&answer(true, false)));
    disk(&mut rig);
    rig.wait(Duration::ZERO);
    disk(&mut rig);
    let mut asked = String::new();
    while !asked.contains("10.0.0.5") {
        if rig.connects.is_empty() {
            assert_eq!(until_connect(&mut rig), Duration::ZERO);
        }
        let conn = connected(&mut rig);
        asked = request(&mut rig, conn);
        respond(&mut rig, conn, 200, &inbox(&[], false));
    }
}

#[test]
fn the_inbox_is_asked_when_nothing_was_heard_and_to_its_end() {
    let mut rig = registered(client(), false);
    assert_eq!(until_connect(&mut rig), Duration::ZERO, "at the start");
    let conn = connected(&mut rig);
    assert!(request(&mut rig, conn).starts_with("GET /v1/inbox?after=0000000300000000 "));
    respond(&mut rig, conn, 200, &inbox(&[1, 2], true));
    assert!(request(&mut rig, conn).starts_with("GET /v1/inbox?after=0000000300000002 "));
    respond(&mut rig, conn, 200, &inbox(&[2, 3], false));
    assert_eq!(
        notified(&mut rig).iter().map(|it| it.1).collect::<Vec<_>>(),
        [nth(1), nth(2), nth(3)]
    );
    assert!(rig.wire(conn).closed.is_some());
    let polls_after = until_connect(&mut rig);
    assert!((810 * SECOND..=990 * SECOND).contains(&polls_after));
    let conn = connected(&mut rig);
    respond(&mut rig, conn, 404, b"");
    assert_eq!(rig.told(), [failed("inbox", Failure::Status(404))]);
    assert_eq!(until_connect(&mut rig), polls_after);
}

#[test]
fn an_inbox_that_could_not_be_read_is_asked_again_after_a_rest() {
    let mut rig = registered(client(), false);
    until_connect(&mut rig);
    let conn = connected(&mut rig);
    respond(&mut rig, conn, 503, b"");
    assert_eq!(rig.told(), [failed("inbox", Failure::Status(503))]);
    assert_eq!(until_connect(&mut rig), 60 * SECOND);
    let (conn, ..) = rig.connects.remove(0);
    let why = ConnectError::Refused;
    rig.tell(Input::ConnectFailed { conn, why });
    assert_eq!(rig.told(), [failed("inbox", Failure::Connect(why))]);
    assert_eq!(until_connect(&mut rig), 60 * SECOND);
}

#[test]
fn clients_that_heard_the_same_do_not_ask_their_inbox_at_once() {
    let polls_after = |seed| {
        let client = Client::new(settings(), Limits::default(), [seed; 32]);
        let mut rig = Rig::new(client);
        rig.poll();
        let mut rig = registered(rig, false);
        until_connect(&mut rig);
        let conn = connected(&mut rig);
        respond(&mut rig, conn, 200, &inbox(&[], false));
        until_connect(&mut rig)
    };
    let mut moments: Vec<Duration> = (0..20).map(polls_after).collect();
    moments.sort_unstable();
    moments.dedup();
    assert_eq!(moments.len(), 20);
    assert!(moments[19] - moments[0] > 90 * SECOND, "{moments:?}");
}

#[test]
fn a_relay_that_promises_more_without_end_is_not_asked_in_a_loop() {
    let mut rig = registered(client(), false);
    until_connect(&mut rig);
    let conn = connected(&mut rig);
    rig.written(conn);
    respond(&mut rig, conn, 200, &inbox(&[1], true));
    rig.written(conn);
    respond(&mut rig, conn, 200, &inbox(&[1], true));
    assert_eq!(request(&mut rig, conn), "");
}

#[test]
fn a_relay_that_knows_it_no_more_is_registered_with_in_the_window() {
    for (status, body) in [
        (401, Vec::new()),
        (
            200,
            text(&Inbox {
                incarnation: 4,
                ..Inbox::default()
            }),
        ),
    ] {
        let mut rig = registered(client(), false);
        until_connect(&mut rig);
        let conn = connected(&mut rig);
        rig.written(conn);
        respond(&mut rig, conn, status, &body);
        let waited = until_connect(&mut rig);
        assert!(waited <= 30 * SECOND, "{waited:?}");
        let conn = connected(&mut rig);
        assert!(request(&mut rig, conn).starts_with("POST /v1/register "));
    }
}
