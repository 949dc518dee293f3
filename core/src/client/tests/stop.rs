//! Stopping, in every state.

use super::*;
use crate::Close;

/// Stops the client and lets everything come to its end; returns the events.
fn stop(rig: &mut Rig<Client>) -> Vec<Event> {
    rig.told();
    let now = rig.now;
    rig.endpoint.stop(now);
    rig.poll();
    rig.endpoint.stop(now);
    disk(rig);
    let opening = core::mem::take(&mut rig.connects);
    for (conn, ..) in &opening {
        assert!(rig.wire(*conn).closed.is_some(), "{conn:?}");
    }
    // Facts about what is gone change nothing.
    for place in 0..4 {
        let conn = ConnId::from_key(Key::new(place, 0));
        let why = CloseReason::Done;
        rig.tell(Input::Closed { conn, why });
    }
    rig.wait(86_400 * SECOND);
    assert!(rig.connects.is_empty(), "nothing is opened any more");
    let told = rig.told();
    let stopped = told.iter().filter(|event| **event == Event::Stopped);
    assert_eq!(stopped.count(), 1, "{told:?}");
    assert!(!rig.endpoint.is_connected());
    assert!(
        !told
            .iter()
            .any(|event| matches!(event, Event::Registered { .. }))
    );
    told
}

#[test]
fn before_anything() {
    let mut rig = Rig::new(Client::new(settings(), Limits::default(), [2; 32]));
    stop(&mut rig);
}

#[test]
fn while_the_file_is_read_or_written() {
    stop(&mut client());
    let mut rig = client();
    let (ticket, _) = rig.stores.remove(0);
    let why = StoreError::NotFound;
    rig.tell(Input::StoreFailed { ticket, why });
    assert!(!rig.stores.is_empty());
    stop(&mut rig);
}

#[test]
fn while_it_connects() {
    let mut rig = client();
    disk(&mut rig);
    assert_eq!(rig.connects.len(), 1);
    stop(&mut rig);
}

#[test]
fn while_it_registers() {
    let mut rig = client();
    disk(&mut rig);
    let conn = connected(&mut rig);
    stop(&mut rig);
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
}

#[test]
fn while_its_identity_is_written() {
    let mut rig = client();
    disk(&mut rig);
    let conn = connected(&mut rig);
    respond(&mut rig, conn, 200, &text(&answer(true, true)));
    assert!(!rig.stores.is_empty());
    stop(&mut rig);
}

#[test]
fn while_it_waits_to_register_again() {
    let mut rig = client();
    disk(&mut rig);
    let conn = connected(&mut rig);
    respond(&mut rig, conn, 503, b"");
    stop(&mut rig);
}

/// One poll; the disk answers at once. False at the end.
fn step(rig: &mut Rig<Client>) -> bool {
    use crate::{Endpoint, Output, StoreOp};
    let mut buf = alloc::vec![0; rig.buf_bytes];
    let (ticket, found) = match rig.endpoint.poll_output(&mut buf) {
        Output::Wait(_) => return false,
        Output::Connect { conn, .. } => {
            rig.connects.push((conn, String::new(), 0, false));
            return true;
        }
        Output::Store { ticket, op } => (ticket, !matches!(op, StoreOp::Load { .. })),
        _ => return true,
    };
    let why = StoreError::NotFound;
    let now = rig.now;
    rig.endpoint.handle_input(
        now,
        match found {
            true => Input::Stored { ticket },
            false => Input::StoreFailed { ticket, why },
        },
    );
    true
}

#[test]
fn between_any_two_polls() {
    for polls in 0.. {
        let mut rig = Rig::new(Client::new(settings(), Limits::default(), [2; 32]));
        let more = (0..polls).all(|_| step(&mut rig));
        stop(&mut rig);
        if !more {
            assert!(polls > 5, "{polls} polls lead to a connection");
            break;
        }
    }
}

/// The persistent connection is wanted and not yet asked for.
#[test]
fn between_any_two_polls_behind_a_registration() {
    for polls in 0.. {
        let mut rig = client();
        disk(&mut rig);
        let conn = connected(&mut rig);
        respond(&mut rig, conn, 200, &text(&answer(true, true)));
        assert!(rig.wire(conn).closed.is_some() && !rig.stores.is_empty());
        for (ticket, _) in core::mem::take(&mut rig.stores) {
            let now = rig.now;
            crate::Endpoint::handle_input(&mut rig.endpoint, now, Input::Stored { ticket });
        }
        let more = (0..polls).all(|_| step(&mut rig));
        stop(&mut rig);
        if !more {
            assert!(polls > 2, "{polls} polls lead to a connection");
            break;
        }
    }
}

#[test]
fn while_the_persistent_connection_opens() {
    let mut rig = registered(client(), true);
    assert_eq!(rig.connects.len(), 1);
    stop(&mut rig);
    let mut rig = registered(client(), true);
    connected(&mut rig);
    stop(&mut rig);
}

#[test]
fn while_the_persistent_connection_is_open() {
    let (mut rig, conn) = with_line(Limits::default());
    let told = stop(&mut rig);
    let why = Failure::Left;
    assert_eq!(told, [Event::Disconnected { why }, Event::Stopped]);
    assert_eq!(said(&mut rig, conn), [Said::Bye("shutting down")]);
    assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
}

#[test]
fn while_the_relay_takes_nothing() {
    let (mut rig, conn) = with_line(Limits::default());
    rig.wire(conn).blocks = true;
    let ping = crate::wire::message::Ping { nonce: 1 };
    rig.feed(conn, &frame(ToClient::Ping(ping)));
    let now = rig.now;
    rig.endpoint.stop(now);
    rig.poll();
    rig.wait(30 * SECOND);
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
    assert_eq!(rig.told().last(), Some(&Event::Stopped));
}

#[test]
fn facts_about_connections_that_are_gone_are_counted() {
    let mut rig = client();
    let conn = ConnId::from_key(Key::new(3, 9));
    let bytes = &b"abc"[..];
    let why = CloseReason::Done;
    let peer = "10.0.0.1:1".parse().unwrap();
    for (number, input) in (1..).zip([
        Input::Received { conn, bytes },
        Input::Closed { conn, why },
        Input::Eof { conn },
        Input::Blocked { conn },
        Input::Connected {
            conn,
            local: peer,
            peer,
        },
    ]) {
        rig.tell(input);
        assert_eq!(rig.endpoint.stale_inputs(), number);
    }
    let now = rig.now;
    let taken =
        crate::Endpoint::handle_input(&mut rig.endpoint, now, Input::Received { conn, bytes });
    assert_eq!(taken, 3);
}

#[test]
fn figures_at_their_ends_do_no_harm() {
    for figure in [Duration::ZERO, Duration::MAX] {
        let mut settings = settings();
        settings.poll_interval = figure;
        settings.connect_timeout = figure.max(SECOND);
        settings.line_stall = figure;
        settings.registrar.retry_min = figure;
        settings.registrar.retry_max = figure;
        settings.registrar.return_window = figure;
        settings.registrar.spread_percent = u32::MAX;
        settings.pcc.retry_delay = figure;
        settings.pcc.attempts_max = 0;
        settings.http.head = figure;
        settings.http.response = figure;
        let limits = Limits {
            events_max: if figure.is_zero() { 0 } else { usize::MAX },
            ..Limits::default()
        };
        let mut rig = registered(client_with(settings, limits), true);
        let conn = connected(&mut rig);
        rig.wire(conn).blocks = true;
        respond(&mut rig, conn, 503, b"");
        stop(&mut rig);
    }
}
