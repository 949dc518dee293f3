//! Datagrams that come in: which are believed, and what follows.

use super::*;
use crate::wire::datagram::{Content, DATAGRAM_BYTES_MAX, Fanout, Hint, Test};
use crate::wire::proof::{ClientSecret, Session as Terms, SessionKey};
use crate::{Endpoint as _, Instant};
use crate::{OUTPUT_BUF_MIN, Output};

/// The key of the registration with this number, answered as `answer` does.
fn key(registration: u64) -> SessionKey {
    ClientSecret([6; 32]).session_key(&Terms {
        client: ID,
        registration,
        incarnation: Incarnation(3),
        nonce: [1; 16],
    })
}

fn sealed(content: &Content<'_>, counter: u64, key: &SessionKey) -> Vec<u8> {
    let mut buf = alloc::vec![0; DATAGRAM_BYTES_MAX];
    let fanout = Fanout::new(content);
    let len = fanout.encode(content, ID, counter, key, &mut buf).unwrap();
    buf.truncate(len);
    buf
}

fn message(sequence: u32) -> Content<'static> {
    Content::Notification(Notification {
        id: nth(sequence),
        lifetime_s: 3_600,
        reply_window_ms: 0,
        payload: b"ping",
    })
}

fn receive(rig: &mut Rig<Client>, bytes: &[u8]) {
    let from = "10.0.0.1:52311".parse().unwrap();
    rig.tell(Input::Datagram { from, bytes });
}

fn ids(rig: &mut Rig<Client>) -> Vec<NotificationId> {
    notified(rig).into_iter().map(|(_, id)| id).collect()
}

/// A client that takes datagrams and has asked its inbox.
fn reachable() -> Rig<Client> {
    let mut rig = registered(client(), false);
    let conn = connected(&mut rig);
    respond(&mut rig, conn, 200, &inbox(&[], false));
    rig.told();
    rig
}

/// The request that the client makes next, at once, and its connection.
fn asked(rig: &mut Rig<Client>) -> (ConnId, String) {
    assert_eq!(until_connect(rig), Duration::ZERO);
    let conn = connected(rig);
    let asked = request(rig, conn);
    (conn, asked)
}

/// Registers anew, with the verdict.
fn register_again(rig: &mut Rig<Client>, granted: bool) {
    let now = rig.now;
    let address = alloc::format!("10.0.0.{}", 1 + now.as_micros() / 1_000_000 % 200);
    let address = address.parse().unwrap();
    let prefix = 24;
    rig.endpoint
        .handle_addresses(now, &[crate::registration::Interface { address, prefix }]);
    rig.poll();
    assert_eq!(until_connect(rig), Duration::ZERO);
    let conn = connected(rig);
    let asked = request(rig, conn);
    assert!(asked.starts_with("POST /v1/register "), "{asked}");
    respond(rig, conn, 200, &text(&answer(false, granted)));
    if !granted {
        let conn = connected(rig);
        respond(rig, conn, 200, &inbox(&[], false));
    }
    rig.told();
}

#[test]
fn a_notification_by_datagram_is_handed_out_once_and_replied_to_by_tcp() {
    let mut rig = reachable();
    receive(&mut rig, &sealed(&message(1), 1, &key(1)));
    let (handle, id) = notified(&mut rig)[0];
    assert_eq!(id, nth(1));
    // The same notification, sealed again.
    receive(&mut rig, &sealed(&message(1), 2, &key(1)));
    assert_eq!(ids(&mut rig), []);
    reply(&mut rig, handle, b"pong");
    let (_, asked) = asked(&mut rig);
    let target = alloc::format!("POST /v1/replies/{id} ");
    assert!(asked.starts_with(&target), "{asked}");
    assert!(rig.datagrams.is_empty());
    assert_eq!(rig.endpoint.stats().datagrams, 2);
}

#[test]
fn p7_what_is_not_genuine_is_dropped_and_counted_and_never_answered() {
    let mut rig = reachable();
    let good = sealed(&message(1), 5, &key(1));
    receive(&mut rig, &good);
    assert_eq!(ids(&mut rig), [nth(1)]);
    let changed = |place: usize| {
        let mut bytes = sealed(&message(2), 6, &key(1));
        bytes[place] ^= 1;
        bytes
    };
    let other = SessionKey([9; 32]);
    let mut long = sealed(&message(2), 6, &key(1));
    long.resize(DATAGRAM_BYTES_MAX + 1, 0);
    for (bytes, reason) in [
        (good.clone(), "replayed"),
        (sealed(&message(2), 6, &other), "forged"),
        (changed(50), "forged"),
        (changed(20), "forged"),
        (changed(15), "forged"),
        (changed(4), "foreign"),
        (changed(0), "version"),
        (changed(1), "kind"),
        (long, "too_long"),
        (good[..30].into(), "truncated"),
        (Vec::new(), "truncated"),
    ] {
        let before = rig.endpoint.stats().datagrams_dropped.get(reason);
        let bytes = if reason == "kind" {
            let mut bytes = bytes;
            bytes[1] = 200;
            bytes
        } else {
            bytes
        };
        receive(&mut rig, &bytes);
        let dropped = &rig.endpoint.stats().datagrams_dropped;
        assert_eq!(dropped.get(reason), before + 1, "{reason}: {dropped:?}");
    }
    rig.wait(10 * SECOND);
    assert_eq!(rig.told(), []);
    assert!(rig.connects.iter().all(|(_, host, ..)| host == "relay"));
    assert!(rig.datagrams.is_empty(), "0 bytes back");
    // The window did not move: the genuine one is taken.
    receive(&mut rig, &sealed(&message(2), 6, &key(1)));
    assert_eq!(ids(&mut rig), [nth(2)]);
}

#[test]
fn p7_without_a_registration_nothing_is_believed() {
    let mut rig = client();
    disk(&mut rig);
    receive(&mut rig, &sealed(&message(1), 1, &key(1)));
    let now = rig.now;
    let mut rig_of_one_that_stops = reachable();
    rig_of_one_that_stops.endpoint.stop(now);
    rig_of_one_that_stops.poll();
    receive(&mut rig_of_one_that_stops, &sealed(&message(1), 1, &key(1)));
    for rig in [&mut rig, &mut rig_of_one_that_stops] {
        let stats = rig.endpoint.stats();
        assert_eq!(stats.datagrams_dropped.get("unregistered"), 1);
        assert_eq!(ids(rig), []);
    }
}

#[test]
fn p7_the_old_key_ends_at_the_first_use_of_the_new() {
    let mut rig = reachable();
    receive(&mut rig, &sealed(&message(1), 1, &key(1)));
    register_again(&mut rig, false);
    receive(&mut rig, &sealed(&message(2), 2, &key(1)));
    assert_eq!(ids(&mut rig), [nth(2)], "the relay may not know better");
    receive(&mut rig, &sealed(&message(3), 1, &key(1)));
    assert_eq!(ids(&mut rig), [], "its window goes on");
    receive(&mut rig, &sealed(&message(4), 1, &key(2)));
    assert_eq!(ids(&mut rig), [nth(4)]);
    receive(&mut rig, &sealed(&message(5), 3, &key(1)));
    assert_eq!(ids(&mut rig), []);
    let dropped = &rig.endpoint.stats().datagrams_dropped;
    assert_eq!((dropped.get("replayed"), dropped.get("forged")), (1, 1));
}

#[test]
fn p7_a_key_two_registrations_old_is_none() {
    let mut rig = reachable();
    register_again(&mut rig, false);
    rig.wait(SECOND);
    register_again(&mut rig, false);
    receive(&mut rig, &sealed(&message(1), 1, &key(1)));
    assert_eq!(ids(&mut rig), []);
    receive(&mut rig, &sealed(&message(2), 1, &key(2)));
    assert_eq!(ids(&mut rig), [nth(2)]);
}

#[test]
fn a_lost_datagram_is_found_in_the_inbox_and_a_late_one_is_not_sought() {
    let mut rig = reachable();
    for counter in [1, 3] {
        receive(
            &mut rig,
            &sealed(&message(counter), counter.into(), &key(1)),
        );
    }
    assert_eq!(ids(&mut rig), [nth(1), nth(3)]);
    rig.wait(1_999 * SECOND / 1_000);
    assert!(rig.connects.is_empty(), "it may only be late");
    rig.wait(SECOND / 1_000);
    let (conn, asked) = asked(&mut rig);
    // What came by datagram says nothing of those before it.
    assert!(
        asked.starts_with("GET /v1/inbox?after=0000000300000000 "),
        "{asked}"
    );
    respond(&mut rig, conn, 200, &inbox(&[1, 2, 3], false));
    assert_eq!(ids(&mut rig), [nth(2)]);
    assert_eq!(rig.endpoint.stats().gaps, 1);

    for counter in [5, 4] {
        receive(
            &mut rig,
            &sealed(&message(counter), counter.into(), &key(1)),
        );
        rig.wait(SECOND);
    }
    assert_eq!(ids(&mut rig), [nth(5), nth(4)]);
    rig.wait(10 * SECOND);
    assert!(rig.connects.is_empty());
}

#[test]
fn a_hint_is_fetched_unless_it_is_known() {
    let mut rig = reachable();
    let hint = |sequence| {
        Content::Hint(Hint {
            id: nth(sequence),
            lifetime_s: 60,
            reply_window_ms: 0,
            payload_bytes: 4,
        })
    };
    receive(&mut rig, &sealed(&hint(1), 1, &key(1)));
    let (conn, asked) = asked(&mut rig);
    assert!(asked.starts_with("GET /v1/inbox?after="), "{asked}");
    respond(&mut rig, conn, 200, &inbox(&[1], false));
    assert_eq!(ids(&mut rig), [nth(1)]);
    receive(&mut rig, &sealed(&hint(1), 2, &key(1)));
    assert!(rig.connects.is_empty());
}

#[test]
fn one_that_finds_no_room_is_left_to_the_inbox() {
    let mut limits = Limits::default();
    limits.mailbox.notifications_max = 1;
    let mut rig = registered(client_with(settings(), limits), false);
    let conn = connected(&mut rig);
    respond(&mut rig, conn, 200, &inbox(&[], false));
    for counter in [1, 2] {
        receive(
            &mut rig,
            &sealed(&message(counter), counter.into(), &key(1)),
        );
    }
    let told = notified(&mut rig);
    assert_eq!(told.len(), 1);
    assert_eq!(rig.endpoint.stats().datagrams_dropped.get("no_room"), 1);
    let now = rig.now;
    rig.endpoint.dismiss(now, told[0].0);
    rig.poll();
    let (conn, asked) = asked(&mut rig);
    assert!(asked.starts_with("GET /v1/inbox"), "{asked}");
    respond(&mut rig, conn, 200, &inbox(&[1, 2], false));
    assert_eq!(ids(&mut rig), [nth(2)]);
}

#[test]
fn events_that_wait_leave_no_room_either() {
    let limits = Limits {
        events_max: 1,
        ..Limits::default()
    };
    let mut endpoint = Client::new(settings(), limits, [2; 32]);
    // Nothing is registered; it is the bound that counts here.
    let mut buf = alloc::vec![0; OUTPUT_BUF_MIN];
    while !matches!(endpoint.poll_output(&mut buf), Output::Wait(_)) {}
    let from = "10.0.0.1:1".parse().unwrap();
    for counter in 1..1_000 {
        let bytes = &sealed(&message(1), counter, &key(1));
        endpoint.handle_input(Instant::ORIGIN, Input::Datagram { from, bytes });
    }
    assert_eq!(endpoint.stats().datagrams_dropped.total(), 999);
}

/// A client that waits before it opens its persistent connection.
fn waiting() -> Rig<Client> {
    let mut rig = client();
    disk(&mut rig);
    let conn = connected(&mut rig);
    rig.written(conn);
    let mut granted = answer(true, true);
    if let Some(verdict) = &mut granted.persistent_connection {
        verdict.wait_ms = 60_000;
    }
    respond(&mut rig, conn, 200, &text(&granted));
    disk(&mut rig);
    // The first use of its key: until then it is sent nothing.
    let (conn, asked) = asked(&mut rig);
    assert!(asked.starts_with("GET /v1/inbox?after="), "{asked}");
    respond(&mut rig, conn, 200, &inbox(&[], false));
    rig.told();
    rig
}

fn test(nonce: u64) -> Content<'static> {
    Content::Test(Test { nonce })
}

#[test]
fn p1_a_client_that_hears_nothing_for_60_s_opens_its_connection() {
    let mut rig = waiting();
    assert_eq!(until_connect(&mut rig), 60 * SECOND);
    let conn = connected(&mut rig);
    assert!(request(&mut rig, conn).starts_with("GET /v1/connect"));
}

#[test]
fn p1_a_client_that_gets_the_test_proves_it_asks_its_inbox_once_and_opens_none() {
    let mut rig = waiting();
    rig.wait(10 * SECOND);
    receive(&mut rig, &sealed(&test(0xab), 1, &key(1)));
    let (conn, asked) = asked(&mut rig);
    assert!(
        asked.starts_with("POST /v1/tests/00000000000000ab HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(asked.contains("\r\nAuthorization: Tautline client="));
    assert!(asked.ends_with("\r\n\r\n"), "{asked}");
    respond(&mut rig, conn, 204, b"");
    // What was said before the proof waits there.
    let asked = request(&mut rig, conn);
    assert!(asked.starts_with("GET /v1/inbox?after="), "{asked}");
    respond(&mut rig, conn, 200, &inbox(&[], false));
    rig.wait(700 * SECOND);
    assert_eq!(request(&mut rig, conn), "");
    assert!(rig.connects.is_empty(), "{:?}", rig.connects);
    assert!(rig.datagrams.is_empty());
    assert_eq!(rig.told(), [Event::Reached]);
}

/// The client asks its inbox `after` a while, and then nothing until the time
/// of its next look.
fn asks_its_inbox_once(rig: &mut Rig<Client>, after: Duration) {
    assert_eq!(until_connect(rig), after);
    let conn = connected(rig);
    let asked = request(rig, conn);
    assert!(asked.starts_with("GET /v1/inbox?after="), "{asked}");
    respond(rig, conn, 200, &inbox(&[], false));
    assert_eq!(request(rig, conn), "");
    let waited = after + until_connect(rig);
    assert!(
        (810 * SECOND..=990 * SECOND).contains(&waited),
        "{waited:?}"
    );
}

#[test]
fn a_client_whose_grant_lapsed_asks_its_inbox_once() {
    let mut rig = client();
    disk(&mut rig);
    let conn = connected(&mut rig);
    rig.written(conn);
    let mut granted = answer(true, true);
    if let Some(verdict) = &mut granted.persistent_connection {
        (verdict.wait_ms, verdict.valid_ms) = (60_000, 30_000);
    }
    respond(&mut rig, conn, 200, &text(&granted));
    disk(&mut rig);
    let (conn, first) = asked(&mut rig);
    assert!(first.starts_with("GET /v1/inbox?after="), "{first}");
    respond(&mut rig, conn, 200, &inbox(&[], false));
    asks_its_inbox_once(&mut rig, 60 * SECOND);
}

#[test]
fn p1_a_test_that_can_not_be_proven_leaves_the_grant() {
    let mut rig = waiting();
    receive(&mut rig, &sealed(&test(1), 1, &key(1)));
    let (conn, _) = asked(&mut rig);
    respond(&mut rig, conn, 404, b"{}");
    assert_eq!(rig.told(), [failed("test", Failure::Status(404))]);
    assert_eq!(until_connect(&mut rig), 60 * SECOND);
    let conn = connected(&mut rig);
    assert!(request(&mut rig, conn).starts_with("GET /v1/connect"));
}

#[test]
fn a_test_that_arrives_ends_an_open_connection_without_a_registration() {
    let (mut rig, line) = with_line(Limits::default());
    receive(&mut rig, &sealed(&test(7), 1, &key(1)));
    let (conn, asked) = asked(&mut rig);
    assert!(asked.starts_with("POST /v1/tests/0000000000000007 "));
    assert!(rig.endpoint.is_connected(), "until the relay knows");
    respond(&mut rig, conn, 204, b"");
    let why = Failure::Left;
    assert_eq!(rig.told(), [Event::Reached, Event::Disconnected { why }]);
    assert_eq!(said(&mut rig, line), [Said::Bye("refused")]);
    // What was on its way on it is asked for, and nothing else.
    let asked = request(&mut rig, conn);
    assert!(asked.starts_with("GET /v1/inbox?after="), "{asked}");
    respond(&mut rig, conn, 200, &inbox(&[], false));
    rig.wait(600 * SECOND);
    assert!(rig.stores.is_empty() && rig.connects.is_empty());
}

#[test]
fn a_window_that_the_relay_stated_is_the_one_to_return_in() {
    let mut rig = client();
    disk(&mut rig);
    let conn = connected(&mut rig);
    rig.written(conn);
    let mut stated = answer(true, true);
    stated.return_window_ms = 3;
    respond(&mut rig, conn, 200, &text(&stated));
    disk(&mut rig);
    let line = connected(&mut rig);
    rig.feed(line, SWITCHING);
    rig.feed(line, &hello(3, 65_600));
    rig.closed(line, CloseReason::Reset);
    rig.told();
    let waited = until_connect(&mut rig);
    assert!(waited <= 3 * SECOND / 1_000, "{waited:?}");
    let conn = connected(&mut rig);
    assert!(request(&mut rig, conn).starts_with("POST /v1/register "));
}

#[test]
fn no_attempt_is_made_when_the_grant_is_over() {
    let mut rig = client();
    disk(&mut rig);
    let conn = connected(&mut rig);
    let mut granted = answer(true, true);
    if let Some(verdict) = &mut granted.persistent_connection {
        verdict.valid_ms = 100_000;
    }
    respond(&mut rig, conn, 200, &text(&granted));
    disk(&mut rig);
    let line = connected(&mut rig);
    respond(&mut rig, line, 503, b"");
    // 180 s later the grant is over: it is the inbox that is asked, now.
    asks_its_inbox_once(&mut rig, Duration::ZERO);
}
