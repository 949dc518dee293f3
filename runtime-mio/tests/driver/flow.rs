//! Backpressure in both directions, and many connections at once.

use std::collections::HashMap;
use std::io::{Read, Write};

use tautline_core::{Close, CloseReason, Input};

use crate::support::{Act, connect, echo, exchange, pattern, stage, stage_with};

#[test]
fn what_is_not_taken_is_offered_again() {
    let mut offered_again = 0;
    let mut stage = stage(|desk, _, input| match input {
        Input::Received { conn, bytes } => {
            let count = bytes.len().min(701);
            desk.act(Act::Write(conn, bytes[..count].to_vec()));
            if count < bytes.len() {
                offered_again += 1;
                desk.act(Act::Resume(conn));
            }
            count
        }
        input => echo(desk, input),
    });
    let sent = pattern(300_000);
    let expected = sent.clone();
    let answer = stage.with_peer(move |address| exchange(connect(address), &sent));
    assert!(answer == expected);
    assert!(stage.driver.statistics().paused > 300);
    drop(stage);
    assert!(offered_again > 300);
}

#[test]
fn nothing_is_read_before_the_endpoint_resumes() {
    let mut held = 0;
    let mut stage = stage(|_, _, input| {
        if let Input::Received { bytes, .. } = input {
            held += bytes.len();
        }
        0
    });
    let mut peer = connect(stage.address);
    peer.write_all(&[7; 100]).unwrap();
    stage.until(|stage| stage.driver.statistics().paused == 1);
    peer.write_all(&[8; 100]).unwrap();
    for _ in 0..20 {
        let nap = Some(std::time::Duration::from_millis(1));
        stage
            .driver
            .turn(&mut crate::support::Nothing, nap)
            .unwrap();
    }
    assert_eq!(stage.driver.statistics().bytes_received, 100);
    drop(stage);
    assert_eq!(held, 100);
}

#[test]
fn a_peer_that_does_not_read_blocks_only_itself() {
    let body = pattern(8 << 20);
    let expected = body.clone();
    let mut stage = stage(move |desk, _, input| match input {
        Input::Received {
            conn,
            bytes: b"all",
        } => {
            desk.act(Act::Write(conn, body.clone()));
            desk.act(Act::Close(conn, Close::Finish));
            3
        }
        input => echo(desk, input),
    });
    let mut slow = connect(stage.address);
    slow.write_all(b"all").unwrap();
    stage.until(|stage| stage.driver.statistics().blocked > 0);
    let answer = stage.with_peer(|address| exchange(connect(address), b"meanwhile"));
    assert_eq!(answer, b"meanwhile");
    let received = stage.with_peer(move |_| {
        let mut received = Vec::new();
        slow.read_to_end(&mut received).unwrap();
        received
    });
    assert!(received == expected);
    stage.until(|stage| stage.driver.statistics().connections == 0);
}

#[test]
fn many_connections_keep_their_streams_apart() {
    let mut stage = stage(|desk, _, input| echo(desk, input));
    let answers = stage.with_peer(|address| {
        let mut streams: Vec<_> = (0..300).map(|_| connect(address)).collect();
        for round in 0..3 {
            for (number, stream) in streams.iter_mut().enumerate() {
                write!(stream, "{number:04}.{round}").unwrap();
            }
        }
        let read = |mut stream: std::net::TcpStream| {
            let mut text = [0; 18];
            stream.read_exact(&mut text).unwrap();
            String::from_utf8(text.to_vec()).unwrap()
        };
        streams.into_iter().map(read).collect::<Vec<_>>()
    });
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, format!("{number:04}.0{number:04}.1{number:04}.2"));
    }
    stage.until(|stage| stage.driver.statistics().closed == 300);
}

#[test]
fn a_thousand_silent_connections_disturb_nobody() {
    let mut stage = stage(|desk, _, input| echo(desk, input));
    let silent =
        stage.with_peer(|address| (0..1_000).map(|_| connect(address)).collect::<Vec<_>>());
    stage.until(|stage| stage.driver.statistics().connections == 1_000);
    let answer = stage.with_peer(|address| exchange(connect(address), b"still there"));
    assert_eq!(answer, b"still there");
    drop(silent);
    stage.until(|stage| stage.driver.statistics().connections == 0);
}

#[test]
fn reads_are_served_during_a_fan_out() {
    let mut config = tautline_mio::driver::Config::default();
    config.limits.outputs_per_turn = 8;
    let mut order = Vec::new();
    let mut stage = stage_with(config, |desk, _, input| {
        match input {
            Input::Received {
                conn,
                bytes: b"fan",
            } => {
                order.push("fan");
                for _ in 0..1_000 {
                    desk.act(Act::Write(conn, vec![0; 10]));
                }
            }
            Input::Received { bytes: b"read", .. } => {
                order.push(if desk.acts.is_empty() {
                    "late"
                } else {
                    "between"
                });
            }
            _ => {}
        }
        match input {
            Input::Received { bytes, .. } => bytes.len(),
            _ => 0,
        }
    });
    let (mut first, mut second) = (connect(stage.address), connect(stage.address));
    stage.until(|stage| stage.driver.statistics().connections == 2);
    first.write_all(b"fan").unwrap();
    stage.until(|stage| stage.driver.statistics().bytes_received == 3);
    second.write_all(b"read").unwrap();
    stage.until(|stage| stage.driver.statistics().bytes_received == 7);
    drop(stage);
    assert_eq!(order, ["fan", "between"]);
}

#[test]
fn the_end_is_told_after_the_last_byte_was_taken() {
    let mut told = Vec::new();
    let mut taken: HashMap<_, usize> = HashMap::new();
    let mut stage = stage(|desk, _, input| match input {
        Input::Received { conn, .. } => {
            *taken.entry(conn).or_default() += 1;
            desk.act(Act::Resume(conn));
            1
        }
        Input::Eof { conn } => {
            told.push(taken[&conn]);
            desk.act(Act::Close(conn, Close::Finish));
            0
        }
        Input::Closed { why, .. } => {
            assert_eq!(why, CloseReason::Done);
            0
        }
        _ => 0,
    });
    stage.with_peer(|address| exchange(connect(address), &[1; 50]));
    stage.until(|stage| stage.driver.statistics().closed == 1);
    drop(stage);
    assert_eq!(told, [50]);
}
