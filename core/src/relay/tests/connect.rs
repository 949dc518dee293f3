//! `GET /v1/connect`.

use super::*;
use crate::{Close, CloseReason, Endpoint, Input};
use core::time::Duration;

#[test]
fn a_proof_opens_it() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let conn = peer.connect(&mut rig);
    assert_eq!(said(&mut rig, conn), [Said::Hello]);
    let client = peer.id;
    assert!(rig.told().contains(&Event::Connected { client, conn }));
    assert!(rig.endpoint.client(client).unwrap().is_connected());
    assert_eq!(count(&rig, |stats| stats.lines), 1);
    rig.closed(conn, CloseReason::Reset);
    let why = "reset by the peer";
    assert!(
        rig.told()
            .contains(&Event::Disconnected { client, conn, why })
    );
    assert!(!rig.endpoint.client(client).unwrap().is_connected());
    assert_eq!(count(&rig, |stats| stats.lines), 0);
}

#[test]
fn without_its_proof_it_stays_shut() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let other = register(&mut rig);
    let upgrade = "Connection: Upgrade\r\nUpgrade: tautline\r\n";
    assert_eq!(
        ask(&mut rig, &head("GET", "/v1/connect", "", b"", upgrade)).status,
        401
    );

    let mut forged = peer.clone();
    forged.key = other.key.clone();
    let bytes = forged.upgrade("/v1/connect");
    assert_eq!(ask(&mut rig, &bytes).status, 401);

    let mut stranger = peer.clone();
    stranger.id = other.id;
    let bytes = stranger.upgrade("/v1/connect");
    assert_eq!(ask(&mut rig, &bytes).status, 401);

    let bytes = peer.upgrade("/v1/connect");
    let moved = String::from_utf8(bytes.clone()).unwrap();
    let moved = moved.replace("/v1/connect", "/v1/connect?after=0000000000000000");
    assert_eq!(ask(&mut rig, moved.as_bytes()).status, 401);

    let conn = rig.accept(LOOPBACK);
    rig.feed(conn, &bytes);
    assert_eq!(response(&mut rig.written(conn)).status, 101);
    let answer = ask(&mut rig, &bytes);
    assert_eq!(answer.status, 409, "the counter was used: {answer:?}");
    assert_eq!(count(&rig, |stats| stats.registrations_refused.total()), 4);
}

#[test]
fn no_upgrade_is_426_with_the_protocol_to_ask_for() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    for more in ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
        let bytes = peer.request("GET", "/v1/connect", b"", more);
        let answer = ask(&mut rig, &bytes);
        assert_eq!(answer.status, 426, "{answer:?}");
        // RFC 9110 section 15.5.22
        assert_eq!(answer.header("Upgrade"), Some("tautline"));
    }
    assert_eq!(count(&rig, |stats| stats.lines), 0);
}

#[test]
fn a_client_without_a_grant_is_refused() {
    let mut rig = relay();
    let text = br#"{"protocol":1,"registration":1,"hostname":"a"}"#;
    let answer = ask(&mut rig, &head("POST", "/v1/register", "", text, ""));
    let answer: Answer = serde_json::from_slice(&answer.body).unwrap();
    let secret = ClientSecret(answer.secret.unwrap().0);
    let mut peer = peer(&answer, secret, 1);
    let bytes = peer.upgrade("/v1/connect");
    let answer = ask(&mut rig, &bytes);
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(answer.json()["type"], "urn:tautline:problem:not-granted");
}

#[test]
fn a_forgotten_client_has_to_register() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    rig.wait(Duration::from_secs(86_400));
    let bytes = peer.upgrade("/v1/connect");
    assert_eq!(ask(&mut rig, &bytes).status, 401);
}

#[test]
fn frames_right_behind_the_request_are_taken() {
    for split in [false, true] {
        let mut rig = relay();
        let mut peer = register(&mut rig);
        let conn = rig.accept(LOOPBACK);
        rig.wire(conn).written.clear();
        let mut bytes = peer.upgrade("/v1/connect");
        bytes.extend(frame(ToRelay::Ping(crate::wire::message::Ping {
            nonce: 5,
        })));
        if split {
            rig.feed_split(conn, &bytes);
        } else {
            rig.feed(conn, &bytes);
        }
        response(&mut rig.wire(conn).written);
        assert_eq!(
            said(&mut rig, conn),
            [Said::Hello, Said::Pong(5)],
            "{split}"
        );
        assert!(rig.wire(conn).held.is_empty());
    }
}

#[test]
fn a_newer_one_replaces_the_older() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let old = peer.connect(&mut rig);
    let new = peer.connect(&mut rig);
    assert_eq!(said(&mut rig, old), [Said::Hello, Said::Bye("replaced", 0)]);
    assert_eq!(rig.wire(old).closed, Some(Close::Finish));
    let connected = rig.endpoint.client(peer.id).unwrap().is_connected();
    assert!(connected, "the end of the old one leaves it");
    assert_eq!(count(&rig, |stats| stats.lines), 1);
    assert_eq!(said(&mut rig, new), [Said::Hello]);
}

#[test]
fn a_peer_that_ended_while_the_101_was_written_is_gone() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let conn = rig.accept(LOOPBACK);
    let bytes = peer.upgrade("/v1/connect");
    let bytes = &bytes[..];
    let taken = rig
        .endpoint
        .handle_input(rig.now, Input::Received { conn, bytes });
    assert_eq!(taken, bytes.len());
    rig.tell(Input::Eof { conn });
    assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
    assert_eq!(count(&rig, |stats| stats.lines), 0);
}

#[test]
fn a_peer_that_does_not_take_the_101_is_given_up() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let conn = rig.accept(LOOPBACK);
    rig.wire(conn).blocks = true;
    let bytes = peer.upgrade("/v1/connect");
    rig.feed(conn, &bytes);
    assert_eq!(count(&rig, |stats| stats.lines), 1);
    rig.wait(Duration::from_secs(31));
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
    assert_eq!(count(&rig, |stats| stats.connections), 0);
}
