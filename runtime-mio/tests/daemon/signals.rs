//! Draining and reloading by signals.

use std::fs;
use std::io::{Read, Write};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::process::Daemon;

#[test]
fn both_signals_end_it_in_order() {
    for signal in [SIGTERM, SIGINT] {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(dir.path(), &[]);
        assert_eq!(daemon.get("/readyz").status, 200);
        daemon.signal(signal);
        let (code, log) = daemon.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("drained"), "{log}");
    }
}

#[test]
fn a_drain_ends_idle_connections() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let mut idle = daemon.connect();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    daemon.signal(SIGTERM);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    drop(idle);
    let (code, log) = daemon.wait();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_drain_that_takes_too_long_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tautlined.toml");
    fs::write(&file, "[shutdown]\ndrain_limit_ms = 1\n").unwrap();
    let data = dir.path().join("data");
    let daemon = Daemon::start(&data, &["--config", file.to_str().unwrap()]);
    let mut stuck = daemon.connect();
    // Half a request: its end is waited for.
    stuck
        .write_all(b"POST /v1/notifications HTTP/1.1\r\nHost: relay\r\nContent-Length: 10\r\n")
        .unwrap();
    assert_eq!(daemon.get("/healthz").status, 200);
    daemon.signal(SIGTERM);
    let (code, log) = daemon.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("shutting down"), "{log}");
}

#[test]
fn a_reload_keeps_the_running_configuration_when_the_new_one_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tautlined.toml");
    fs::write(&file, "").unwrap();
    let data = dir.path().join("data");
    let mut daemon = Daemon::start(&data, &["--config", file.to_str().unwrap()]);

    fs::write(&file, "[proxy]\nbelieved = [\"10.0.0.0/99\"]\n").unwrap();
    daemon.signal(SIGHUP);
    let line = daemon.wait_for_log("the new configuration is wrong");
    assert!(line.contains("proxy.believed"), "{line}");
    daemon.wait_for_log("the running configuration stays");

    // Nothing of it is applied: the proxy is not believed afterwards.
    fs::write(
        &file,
        "[proxy]\nbelieved = [\"127.0.0.1\"]\n[log]\nlevel = \"loud\"\n",
    )
    .unwrap();
    daemon.signal(SIGHUP);
    let line = daemon.wait_for_log("the new configuration is wrong");
    assert!(line.contains("log.level"), "{line}");
    daemon.wait_for_log("the running configuration stays");
    let mut not_believed = daemon.connect();
    not_believed
        .write_all(b"PROXY TCP4 192.0.2.9 192.0.2.1 1 2\r\nGET /healthz HTTP/1.0\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // It ends by a reset or by an end.
    let _ = not_believed.read_to_end(&mut answer);
    assert_eq!(answer, b"");

    fs::write(
        &file,
        "[proxy]\nbelieved = [\"127.0.0.1\"]\n[limits]\nclients_max = 5\n[log]\nlevel = \"debug\"\n",
    )
    .unwrap();
    daemon.signal(SIGHUP);
    let line = daemon.wait_for_log("a restart is needed");
    assert!(line.contains("limits"), "{line}");
    daemon.wait_for_log("configuration reloaded");

    let mut behind_proxy = daemon.connect();
    behind_proxy
        .write_all(b"PROXY TCP4 192.0.2.9 192.0.2.1 1 2\r\nGET /healthz HTTP/1.0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    behind_proxy.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
    daemon.wait_for_log("request over");
}

#[test]
fn the_token_does_not_travel_unencrypted_from_beyond_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tautlined.toml");
    fs::write(&file, "[proxy]\nbelieved = [\"127.0.0.1\"]\n").unwrap();
    let data = dir.path().join("data");
    let daemon = Daemon::start(&data, &["--config", file.to_str().unwrap()]);
    let mut far = daemon.connect();
    write!(
        far,
        "PROXY TCP4 192.0.2.9 192.0.2.1 1 2\r\nGET /v1/status HTTP/1.0\r\n\
         Authorization: Bearer {}\r\n\r\n",
        daemon.token
    )
    .unwrap();
    let mut answer = String::new();
    far.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 403 "), "{answer}");
}
