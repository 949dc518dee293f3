//! How connections end: in order, at once, and by the peer.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use tautline_core::{Close, CloseReason, Input};

use crate::support::{Act, connect, echo, pattern, stage};

#[test]
fn an_ordered_close_drops_what_still_comes_until_the_peer_ends() {
    let mut reasons = Vec::new();
    let mut offered = 0;
    let mut stage = stage(|desk, _, input| match input {
        Input::Received { conn, bytes } => {
            offered += bytes.len();
            desk.act(Act::Write(conn, b"bye".to_vec()));
            desk.act(Act::Close(conn, Close::Finish));
            bytes.len()
        }
        Input::Closed { why, .. } => {
            reasons.push(why);
            0
        }
        _ => 0,
    });
    let mut peer = connect(stage.address);
    peer.write_all(b"first").unwrap();
    let mut peer = stage.with_peer(move |_| {
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"bye");
        peer
    });
    peer.write_all(&pattern(100_000)).unwrap();
    stage.until(|stage| stage.driver.statistics().bytes_received == 100_005);
    assert_eq!(stage.driver.statistics().connections, 1);
    peer.shutdown(Shutdown::Write).unwrap();
    stage.until(|stage| stage.driver.statistics().closed == 1);
    drop(stage);
    assert_eq!((offered, reasons), (5, vec![CloseReason::Done]));
}

#[test]
fn an_ordered_close_waits_for_a_kept_tail() {
    let body = pattern(6 << 20);
    let expected = body.clone();
    let mut stage = stage(move |desk, _, input| match input {
        Input::Received { conn, bytes } => {
            desk.act(Act::Write(conn, body.clone()));
            desk.act(Act::Close(conn, Close::Finish));
            bytes.len()
        }
        _ => 0,
    });
    let mut peer = connect(stage.address);
    peer.write_all(b"go").unwrap();
    stage.until(|stage| stage.driver.statistics().blocked > 0);
    let received = stage.with_peer(move |_| {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        received
    });
    assert!(received == expected);
    stage.until(|stage| stage.driver.statistics().closed == 1);
}

#[test]
fn an_abort_resets_and_is_told_once() {
    let mut reasons = Vec::new();
    let mut stage = stage(|desk, _, input| match input {
        Input::Received { conn, bytes } => {
            desk.act(Act::Close(conn, Close::Abort));
            desk.act(Act::Close(conn, Close::Abort));
            desk.act(Act::Write(conn, b"into the void".to_vec()));
            bytes.len()
        }
        Input::Closed { why, .. } => {
            reasons.push(why);
            0
        }
        _ => 0,
    });
    let mut peer = connect(stage.address);
    peer.write_all(b"go").unwrap();
    stage.until(|stage| stage.driver.statistics().closed == 1);
    let error = peer.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    drop(stage);
    assert_eq!(reasons, [CloseReason::Local]);
}

#[test]
fn an_abort_ends_an_ordered_close_that_does_not_come_to_its_end() {
    let mut stage = stage(|desk, _, input| match input {
        Input::Received { conn, bytes } => {
            desk.act(Act::Close(conn, Close::Finish));
            bytes.len()
        }
        _ => 0,
    });
    let mut peer = connect(stage.address);
    peer.write_all(b"go").unwrap();
    stage.until(|stage| stage.driver.statistics().bytes_received == 2);
    let conn = tautline_core::ConnId::from_key(tautline_core::Key::new(0, 0));
    stage
        .driver
        .command(|toy, _| toy.desk.act(Act::Close(conn, Close::Abort)));
    stage.until(|stage| stage.driver.statistics().closed == 1);
}

#[test]
fn a_reset_by_the_peer_is_told_as_one() {
    let mut reasons = Vec::new();
    let mut stage = stage(|desk, _, input| {
        if let Input::Closed { why, .. } = input {
            reasons.push(why);
        }
        echo(desk, input)
    });
    let peer = connect(stage.address);
    stage.until(|stage| stage.driver.statistics().accepted == 1);
    socket2::SockRef::from(&peer)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(peer);
    stage.until(|stage| stage.driver.statistics().closed == 1);
    drop(stage);
    assert_eq!(reasons, [CloseReason::Reset]);
}

#[test]
fn a_peer_may_end_its_direction_and_still_read() {
    let mut stage = stage(|desk, _, input| match input {
        Input::Eof { conn } => {
            desk.act(Act::Write(conn, pattern(1 << 20)));
            desk.act(Act::Close(conn, Close::Finish));
            0
        }
        Input::Received { bytes, .. } => bytes.len(),
        _ => 0,
    });
    let answer = stage.with_peer(|address| crate::support::exchange(connect(address), b"?"));
    assert!(answer == pattern(1 << 20));
    stage.until(|stage| stage.driver.statistics().closed == 1);
}
