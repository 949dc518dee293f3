//! Shutting down.

use super::*;
use crate::http::{ResponseBody, ResponseHead};
use crate::notify::NotifyOptions;
use crate::relay::To;
use crate::{AcceptError, Close, CloseReason, Endpoint, Input};
use core::time::Duration;

fn drained(rig: &mut Rig<Relay>) -> usize {
    let told = rig.told();
    told.iter()
        .filter(|event| **event == Event::Drained)
        .count()
}

#[test]
fn lines_get_their_bye_with_the_window_and_idle_connections_end() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let line = peer.connect(&mut rig);
    let idle = rig.accept(LOOPBACK);
    said(&mut rig, line);
    let now = rig.now;
    rig.endpoint.drain(now);
    assert!(rig.endpoint.is_draining());
    rig.poll();
    assert_eq!(said(&mut rig, line), [Said::Bye("shutting down", 30_000)]);
    assert_eq!(rig.wire(line).closed, Some(Close::Finish));
    assert_eq!(rig.wire(idle).closed, Some(Close::Finish));
    assert!(!rig.endpoint.has_room());
    let peer = LOOPBACK.parse().unwrap();
    assert_eq!(
        rig.endpoint.accept(now, peer, peer),
        Err(AcceptError::Draining)
    );
    assert_eq!(drained(&mut rig), 1);
}

#[test]
fn a_request_under_way_is_answered_first() {
    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    rig.feed(conn, &head("GET", "/slow", "", b"", ""));
    let Event::Request { request } = rig.told()[0] else {
        panic!()
    };
    let now = rig.now;
    rig.endpoint.drain(now);
    rig.poll();
    assert_eq!(rig.wire(conn).closed, None);
    let head = ResponseHead {
        status: 200,
        headers: &[],
        close: false,
    };
    rig.endpoint
        .respond(now, request, &head, ResponseBody::Bytes(b"done"))
        .unwrap();
    rig.poll();
    let answer = response(&mut rig.written(conn));
    assert_eq!(answer.header("Connection"), Some("close"));
    assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
    assert_eq!(drained(&mut rig), 1);
}

#[test]
fn drained_is_told_once_whatever_follows() {
    let mut rig = relay();
    let now = rig.now;
    rig.endpoint.drain(now);
    rig.poll();
    rig.endpoint.drain(now);
    let options = NotifyOptions::default();
    rig.endpoint.notify(now, To::All, b"late", options).unwrap();
    rig.poll();
    assert_eq!(drained(&mut rig), 1);

    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    rig.endpoint.drain(now);
    let why = CloseReason::Done;
    rig.endpoint.handle_input(now, Input::Closed { conn, why });
    rig.poll();
    rig.tell(Input::Closed { conn, why });
    assert_eq!(drained(&mut rig), 1);
}

#[test]
fn a_peer_that_hangs_is_aborted() {
    let mut rig = relay();
    rig.closes = false;
    let mut peer = register(&mut rig);
    let blocked = peer.connect(&mut rig);
    let mut other = register(&mut rig);
    let silent = other.connect(&mut rig);
    rig.wire(blocked).blocks = true;
    let now = rig.now;
    rig.endpoint.drain(now);
    rig.poll();
    rig.wait(Duration::from_secs(40));
    for conn in [blocked, silent] {
        assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
        rig.closed(conn, CloseReason::Local);
    }
    assert_eq!(drained(&mut rig), 1);
}

#[test]
fn a_client_that_connects_meanwhile_is_sent_away() {
    let mut rig = relay();
    let mut peer = register(&mut rig);
    let conn = rig.accept(LOOPBACK);
    let bytes = peer.upgrade("/v1/connect");
    let (front, back) = bytes.split_at(20);
    rig.feed(conn, front);
    let now = rig.now;
    rig.endpoint.drain(now);
    rig.poll();
    rig.wire(conn).written.clear();
    rig.feed(conn, back);
    response(&mut rig.wire(conn).written);
    assert_eq!(
        said(&mut rig, conn),
        [Said::Hello, Said::Bye("shutting down", 30_000)]
    );
    assert_eq!(drained(&mut rig), 1);
}
