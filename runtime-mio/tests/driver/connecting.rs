//! Outgoing connections: to itself, in clear and under TLS, and to nowhere.

use std::sync::{Arc, Mutex};

use tautline_core::{Close, CloseReason, ConnectError, Input};
use tautline_mio::driver::Config;

use crate::openings::Certificate;
use crate::support::{Act, Desk, pattern, stage, stage_with};

/// What became of one connect: the bytes that came back, or why there are none.
#[derive(Default)]
struct Outcome {
    received: Vec<u8>,
    ended: Option<Result<CloseReason, ConnectError>>,
}

/// Sends a pattern on the connection that it opens, and echoes on those that
/// it accepts.
fn call_itself(config: Config, host: &str, port: Option<u16>, tls: bool) -> Outcome {
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let notes = Arc::clone(&outcome);
    let mut own = None;
    let mut stage = stage_with(config, move |desk: &mut Desk, _, input| {
        let mut notes = notes.lock().unwrap();
        match input {
            Input::Connected { conn, .. } => {
                own = Some(conn);
                desk.act(Act::Write(conn, pattern(50_000)));
            }
            Input::ConnectFailed { why, .. } => notes.ended = Some(Err(why)),
            Input::Received { conn, bytes } if Some(conn) == own => {
                notes.received.extend_from_slice(bytes);
                if notes.received.len() == 50_000 {
                    desk.act(Act::Close(conn, Close::Finish));
                }
                return bytes.len();
            }
            Input::Closed { conn, why } if Some(conn) == own => notes.ended = Some(Ok(why)),
            input => return crate::support::echo(desk, input),
        }
        0
    });
    let port = port.unwrap_or_else(|| stage.address.port());
    stage.driver.command(|toy, _| {
        let conn = toy.desk.open();
        toy.desk.act(Act::Connect(conn, host.to_owned(), port, tls));
    });
    stage.until(|_| outcome.lock().unwrap().ended.is_some());
    let mut outcome = outcome.lock().unwrap();
    std::mem::take(&mut *outcome)
}

#[test]
fn an_address_and_a_name_are_reached() {
    for host in ["127.0.0.1", "localhost"] {
        let outcome = call_itself(Config::default(), host, None, false);
        assert!(outcome.received == pattern(50_000), "{host}");
        assert_eq!(outcome.ended, Some(Ok(CloseReason::Done)));
    }
}

#[test]
fn tls_is_verified_against_the_host() {
    let certificate = Certificate::new();
    let config = || Config {
        accept_tls: Some(certificate.server()),
        connect_tls: Some(certificate.client()),
        ..Config::default()
    };
    let outcome = call_itself(config(), "localhost", None, true);
    assert!(outcome.received == pattern(50_000));
    assert_eq!(outcome.ended, Some(Ok(CloseReason::Done)));

    let other = Config {
        connect_tls: Some(Certificate::new().client()),
        ..config()
    };
    let outcome = call_itself(other, "localhost", None, true);
    assert_eq!(outcome.ended, Some(Err(ConnectError::Tls)));
}

#[test]
fn a_closed_port_refuses() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let outcome = call_itself(Config::default(), "127.0.0.1", Some(port), false);
    assert_eq!(outcome.ended, Some(Err(ConnectError::Refused)));
}

#[test]
fn a_name_without_an_address_is_unresolved() {
    let outcome = call_itself(Config::default(), "nowhere.invalid", None, false);
    assert_eq!(outcome.ended, Some(Err(ConnectError::Unresolved)));
}

#[test]
fn an_attempt_that_is_aborted_is_closed_and_not_failed() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&ends);
    let mut stage = stage(move |_, _, input| {
        match input {
            Input::Closed { why, .. } => notes.lock().unwrap().push(format!("{why:?}")),
            Input::ConnectFailed { why, .. } => notes.lock().unwrap().push(format!("{why:?}")),
            _ => {}
        }
        0
    });
    stage.driver.command(|toy, _| {
        let conn = toy.desk.open();
        toy.desk
            .act(Act::Connect(conn, "nowhere.invalid".into(), 1, false));
        toy.desk.act(Act::Close(conn, Close::Abort));
    });
    stage.until(|stage| stage.driver.statistics().closed == 1);
    assert_eq!(*ends.lock().unwrap(), ["Local"]);
}
