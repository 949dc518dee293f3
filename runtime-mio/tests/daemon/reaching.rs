//! Subnets, sites, verdicts, and who did not answer.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tautline_core::{Endpoint as _, Input};

use crate::process::Daemon;
use crate::round_trip::{PATIENCE, Shouter, client, client_with, until};

const SUBNET: &str = "127.0.0.0/8@site:home";
const SITE: &str = "[[sites]]\nname = \"home\"\nnetworks = [\"127.0.0.1\"]\n";

fn rows(daemon: &Daemon, path: &str, list: &str) -> Vec<Value> {
    let answer = daemon.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    let page = answer.json();
    assert_eq!(page["next"], Value::Null, "{path}");
    page[list].as_array().unwrap().clone()
}

fn notify(daemon: &Daemon, target: &Value) -> String {
    let body = json!({ "target": target, "payload": "hello" }).to_string();
    let created = daemon.post("/v1/notifications", &body);
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.json()["notification"].as_str().unwrap().to_owned();
    format!("/v1/notifications/{id}")
}

#[test]
fn a_subnet_and_a_site_are_shown_filtered_by_and_notified() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::configured(dir.path(), SITE);
    let folder = tempfile::tempdir().unwrap();
    let mut driver = client(&daemon, folder.path(), None);
    let mut shouter = Shouter::default();
    until(&mut driver, &mut shouter, |shouter| shouter.connected);

    let shown = json!({
        "subnet": SUBNET, "clients": 1, "connected": 1, "granted": 0, "heartbeat": null
    });
    assert_eq!(rows(&daemon, "/v1/subnets", "subnets"), [shown]);
    for (query, count) in [
        ("", 1),
        ("?site=home", 1),
        ("?state=open&subnet=127.0.0.0%2F8%40site%3Ahome", 1),
        ("?subnet=127.0.0.0/8", 0),
        ("?subnet=127.0.0.0/8@192.0.2.1", 0),
        ("?state=none&site=home", 0),
    ] {
        let found = rows(&daemon, &format!("/v1/clients{query}"), "clients");
        assert_eq!(found.len(), count, "{query}: {found:?}");
    }
    let shown = &rows(&daemon, "/v1/clients", "clients")[0];
    assert_eq!(
        (&shown["subnet"], &shown["site"]),
        (&SUBNET.into(), &"home".into())
    );
    assert_eq!(
        (&shown["udp"], &shown["udp_proven"]),
        (&Value::Null, &false.into())
    );

    for target in [json!({ "subnet": SUBNET }), json!({ "site": "home" })] {
        let path = notify(&daemon, &target);
        until(&mut driver, &mut shouter, |_| {
            daemon.get(&path).json()["replied"] == 1
        });
        assert_eq!(daemon.get(&path).json()["targets"], 1);
        assert_eq!(
            rows(&daemon, &format!("{path}/missing"), "missing"),
            [Value::Null; 0]
        );
    }
    let elsewhere = json!({ "target": { "subnet": "127.0.0.0/8" }, "payload": "" });
    let refused = daemon.post("/v1/notifications", &elsewhere.to_string());
    assert_eq!(
        (refused.status, &refused.json()["type"]),
        (404, &"urn:tautline:problem:no-subnet".into())
    );

    let status = daemon.get("/v1/status").json();
    assert_eq!(
        (&status["subnets"], &status["role"]),
        (&1.into(), &"relay".into())
    );
    let lines = &status["persistent_connections"];
    assert_eq!((&lines["open"], &lines["granted"]), (&1.into(), &0.into()));
    assert_eq!(lines["verdicts"], json!({ "granted": 1 }));
    assert_eq!(status["notifications"]["sent"], json!({ "connection": 2 }));
    let metrics = daemon.get("/metrics").body;
    for line in [
        "tautline_persistent_connections{state=\"open\"} 1",
        "tautline_verdicts_total{verdict=\"granted\"} 1",
        "tautline_sent_total{way=\"connection\"} 2",
        "tautline_subnets 1",
    ] {
        assert!(
            metrics.lines().any(|each| each == line),
            "{line}\n{metrics}"
        );
    }
}

#[test]
fn who_does_not_answer_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let mut driver = client(&daemon, folder.path(), None);
    let mut shouter = Shouter {
        is_silent: true,
        ..Shouter::default()
    };
    until(&mut driver, &mut shouter, |shouter| shouter.connected);
    let path = notify(&daemon, &json!({ "all": true }));
    until(&mut driver, &mut shouter, |_| {
        daemon.get(&path).json()["sent"] == 1
    });
    let missing = rows(&daemon, &format!("{path}/missing"), "missing");
    let clients = rows(&daemon, "/v1/clients", "clients");
    let expected = json!({ "client": clients[0]["client"], "hostname": "shouter.example" });
    assert_eq!(missing, [expected]);
    let refused = daemon.get(&format!("{path}/missing?state=none"));
    assert_eq!(refused.status, 400, "{}", refused.body);
}

#[test]
fn p1_a_verdict_says_why_not() {
    for (settings, reason) in [
        ("role = \"root\"\n", "root"),
        ("[persistent_connections]\nenabled = false\n", "disabled"),
        (
            "[persistent_connections]\nconnections_max = 0\n",
            "total_cap",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon::configured(dir.path(), settings);
        let folder = tempfile::tempdir().unwrap();
        let mut driver = client(&daemon, folder.path(), None);
        let mut shouter = Shouter::default();
        until(&mut driver, &mut shouter, |shouter| shouter.registered);
        let clients = rows(&daemon, "/v1/clients", "clients");
        assert_eq!(
            (&clients[0]["connection"], &clients[0]["way"]),
            (&"none".into(), &"inbox".into())
        );
        assert_eq!(clients[0]["denied"], reason);
        let status = daemon.get("/v1/status").json();
        assert_eq!(
            status["persistent_connections"]["verdicts"],
            json!({ reason: 1 }),
            "{status}"
        );
    }
}

#[test]
fn p1_a_test_that_arrives_takes_the_place_of_a_connection() {
    let timers = "[persistent_connections]\nwait_ms = 600000\ntest_sends_ms = [";
    for (sends, proven) in [
        ("1, 400000, 400001", true),
        ("500000, 500001, 500002", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon::configured(dir.path(), &format!("{timers}{sends}]\n"));
        let folder = tempfile::tempdir().unwrap();
        // The test has the client's socket, so that nobody takes its port.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut driver = client_with(&daemon, folder.path(), None, port);
        let mut shouter = Shouter::default();
        until(&mut driver, &mut shouter, |shouter| shouter.registered);
        let shown = || rows(&daemon, "/v1/clients", "clients")[0].clone();
        let started = Instant::now();
        while shown()["udp_proven"] != proven {
            assert!(started.elapsed() < PATIENCE, "{}", shown());
            let mut bytes = [0; 2_048];
            if let Ok((len, from)) = socket.recv_from(&mut bytes) {
                let bytes = &bytes[..len];
                driver.command(|client, now| {
                    client.handle_input(now, Input::Datagram { from, bytes })
                });
            }
            let pause = Some(Duration::from_millis(10));
            driver.turn(&mut shouter, pause).unwrap();
        }
        // One that has not used its key yet is sent nothing.
        let (state, way) = match proven {
            true => ("none", "datagram"),
            false => ("granted", "inbox"),
        };
        assert_eq!(
            (&shown()["connection"], &shown()["way"]),
            (&state.into(), &way.into())
        );
        assert_eq!(shown()["denied"], Value::Null);
        let granted = rows(&daemon, "/v1/subnets", "subnets")[0]["granted"].clone();
        assert_eq!(granted, u64::from(!proven));
        let tests = daemon.get("/v1/status").json()["tests"].clone();
        assert_eq!(
            tests,
            json!({ "sent": u64::from(proven), "proven": u64::from(proven) })
        );
    }
}
