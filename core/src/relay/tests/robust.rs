//! Drivers and peers that do what they should not.

use super::*;
use crate::{AcceptError, CloseReason, Endpoint, Input, OUTPUT_BUF_MIN, Output, UnixTime};
use core::time::Duration;

#[test]
fn facts_about_connections_that_are_gone_are_counted() {
    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    rig.closed(conn, CloseReason::Done);
    let peer = LOOPBACK.parse().unwrap();
    let bytes = &b"GET "[..];
    let stale = [
        Input::Received { conn, bytes },
        Input::Eof { conn },
        Input::Blocked { conn },
        Input::Writable { conn },
        Input::Moved { conn, bytes: 1 },
        Input::Introduced {
            conn,
            peer,
            secure: true,
        },
        Input::Closed {
            conn,
            why: CloseReason::Done,
        },
    ];
    for (number, input) in (1..).zip(stale) {
        rig.tell(input);
        assert_eq!(count(&rig, |stats| stats.stale_inputs), number, "{input:?}");
    }
    assert_eq!(
        rig.endpoint.handle_input(rig.now, stale[0]),
        4,
        "nothing is held back"
    );
    assert_eq!(rig.told(), []);
    // The place is another's now.
    let next = rig.accept(LOOPBACK);
    assert_eq!(next.index(), conn.index());
    rig.tell(Input::Closed {
        conn,
        why: CloseReason::Done,
    });
    assert_eq!(count(&rig, |stats| stats.connections), 1);
}

#[test]
fn time_that_goes_backwards_is_counted_and_ignored() {
    let mut rig = relay();
    rig.wait(Duration::from_secs(100));
    let now = rig.endpoint.now();
    rig.endpoint.handle_input(Instant::ORIGIN, Input::Timeout);
    rig.endpoint
        .handle_input(Instant::ORIGIN, Input::WallClock(UnixTime::from_millis(1)));
    assert_eq!(rig.endpoint.now(), now);
    assert_eq!(count(&rig, |stats| stats.time_went_back), 2);
}

#[test]
fn a_buffer_that_is_too_small_changes_nothing() {
    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    let bytes = head("POST", "/v1/register", "", &body(None, 1, ""), "");
    let bytes = &bytes[..];
    let taken = rig
        .endpoint
        .handle_input(rig.now, Input::Received { conn, bytes });
    let before = rig.endpoint.stats();
    let mut buf = [0; OUTPUT_BUF_MIN - 1];
    for len in [0, 1, OUTPUT_BUF_MIN - 1] {
        let output = rig.endpoint.poll_output(&mut buf[..len]);
        let needed = OUTPUT_BUF_MIN;
        assert_eq!(output, Output::BufferTooSmall { needed });
    }
    assert_eq!(rig.endpoint.stats(), before);
    rig.feed(conn, &bytes[taken..]);
    assert_eq!(response(&mut rig.written(conn)).status, 200);
}

#[test]
fn a_full_table_takes_no_connection_until_one_goes() {
    let limits = Limits {
        connections_max: 2,
        ..Limits::default()
    };
    let mut rig = relay_with(settings(), limits);
    let first = rig.accept(LOOPBACK);
    assert!(rig.endpoint.has_room());
    rig.accept(LOOPBACK);
    assert!(!rig.endpoint.has_room());
    let peer = LOOPBACK.parse().unwrap();
    assert_eq!(
        rig.endpoint.accept(rig.now, peer, peer),
        Err(AcceptError::Full)
    );
    assert_eq!(count(&rig, |stats| stats.accepts_refused.get("full")), 1);
    rig.closed(first, CloseReason::Done);
    assert!(rig.endpoint.has_room());
    rig.accept(LOOPBACK);
}

#[test]
fn silent_connections_end_by_their_deadline() {
    let mut rig = relay();
    for _ in 0..500 {
        rig.accept(LOOPBACK);
    }
    rig.wait(Duration::from_secs(9));
    assert_eq!(count(&rig, |stats| stats.connections), 500);
    rig.wait(Duration::from_secs(1));
    assert_eq!(count(&rig, |stats| stats.connections), 0);
    assert_eq!(count(&rig, |stats| stats.http_refused.get("silent")), 500);
}

#[test]
fn figures_at_their_ends_do_no_harm() {
    for (figure, missed) in [(Duration::ZERO, 0), (Duration::MAX, u32::MAX)] {
        let mut settings = settings();
        settings.registry.period = figure;
        settings.registry.missed_periods_max = missed;
        settings.line_stall = figure;
        settings.return_window = figure;
        for timeout in [
            &mut settings.http.head,
            &mut settings.http.idle,
            &mut settings.http.body_grace,
            &mut settings.http.response,
            &mut settings.http.linger,
        ] {
            *timeout = figure;
        }
        let mut rig = relay_with(settings, Limits::default());
        let mut peer = register(&mut rig);
        let conn = peer.connect(&mut rig);
        rig.wire(conn).blocks = true;
        let slow = rig.accept(LOOPBACK);
        rig.wire(slow).blocks = true;
        rig.feed(slow, &head("GET", "/v1/inbox", "", b"", ""));
        let now = rig.now;
        rig.endpoint.drain(now);
        rig.wait(Duration::from_secs(5));
        rig.closed(conn, CloseReason::Reset);
        rig.wait(Duration::from_secs(5));
    }
    let endless = Limits {
        events_max: usize::MAX,
        ..Limits::default()
    };
    register(&mut relay_with(settings(), endless));
    let none = Limits {
        connections_max: 0,
        requests_max: 0,
        events_max: 0,
        buffers_max: 0,
        buffer_bytes_max: 0,
        ..Limits::default()
    };
    let mut rig = relay_with(settings(), none);
    let peer = LOOPBACK.parse().unwrap();
    assert_eq!(
        rig.endpoint.accept(rig.now, peer, peer),
        Err(AcceptError::Full)
    );
    rig.poll();
}

#[test]
fn without_room_for_events_frames_are_taken_one_by_one() {
    let limits = Limits {
        events_max: 0,
        ..Limits::default()
    };
    let mut rig = relay_with(settings(), limits);
    let mut peer = register(&mut rig);
    let conn = peer.connect(&mut rig);
    let now = rig.now;
    let options = crate::notify::NotifyOptions::default();
    let ids: Vec<_> = (0..5)
        .map(|_| {
            rig.endpoint
                .notify(now, crate::relay::To::All, b"x", options)
        })
        .map(Result::unwrap)
        .collect();
    rig.poll();
    let bytes: Vec<u8> = ids.iter().flat_map(|id| reply_frame(*id, b"y")).collect();
    rig.feed(conn, &bytes);
    assert!(rig.wire(conn).held.is_empty());
    assert_eq!(count(&rig, |stats| stats.replies), 5);
}
