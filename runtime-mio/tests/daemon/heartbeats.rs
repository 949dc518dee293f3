//! Heartbeats of the daemon: settings, log, status and metrics.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Daemon, run};
use crate::round_trip::{Shouter, client, client_set, until};

const SUBNET: &str = "127.0.0.0/8@site:home";
const SITE: &str = "[[sites]]\nname = \"home\"\nnetworks = [\"127.0.0.1\"]\n";
const SILENT: &str = "the client was silent for too long";

fn heartbeat(daemon: &Daemon) -> Value {
    daemon.get("/v1/status").json()["heartbeat"].clone()
}

/// The lines of `/metrics` that begin so, in order.
fn metric(daemon: &Daemon, name: &str) -> Vec<String> {
    let text = daemon.get("/metrics").body;
    let lines = text.lines().filter(|line| line.starts_with(name));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_wrong_figure_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tautlined.toml");
    let file = file.to_str().unwrap();
    for (line, told) in [
        ("period_s = 86401", " is 86401, but must be 0 to 86400"),
        (
            "in_flight = \"most\"",
            ": invalid value: string \"most\", expected \"auto\" or a number of 1 to 4000000",
        ),
        (
            "periods = [{ site = \"rome\", period_s = 5 }]",
            "[0].site is \"rome\", but there is no site \"rome\"; known are [\"home\"]",
        ),
        (
            "periods = [{ period_s = 5 }]",
            "[0] needs a subnet, a site or a client",
        ),
    ] {
        fs::write(file, format!("[heartbeat]\n{line}\n{SITE}")).unwrap();
        let (code, out, error) = run(&["--check-config", "--config", file]);
        assert_eq!((code, out.as_str()), (78, ""), "{error}");
        let (place, what) = error.split_once(' ').unwrap();
        assert!(place.starts_with(&format!("{file}:2:")), "{error}");
        let key = line.split(' ').next().unwrap();
        let expected = format!("heartbeat.{key}{told}");
        assert!(what.starts_with(&expected), "{error}");
    }
}

#[test]
fn the_start_tells_what_the_figures_come_to_and_what_does_not_fit() {
    for (settings, parts, advice) in [
        (
            "",
            [
                "period_s=60 ",
                "found_within=\"65s\"",
                "monitor_finds_within=\"off\"",
            ],
            None,
        ),
        (
            "[heartbeat]\nperiod_s = 600\nin_flight = 1\nheartbeat_s = 900\nfrequency_s = 60\n\
             [persistent_connections]\nconnections_max = 40\n",
            [
                "in_flight=1 ",
                "found_within=\"800s with 40 connections, the most there can be\"",
                "monitor_finds_within=\"960s\"",
            ],
            Some("heartbeat of 900s is shorter than twice the prober's period of 600s"),
        ),
        (
            "[heartbeat]\nperiod_s = 0\n",
            ["in_flight=auto ", "found_within=\"off\"", "frequency_s=60 "],
            None,
        ),
        (
            "[heartbeat]\nperiod_s = 0\nperiods = [{ subnet = \"10.0.0.0/24\", period_s = 30 }]\n",
            [
                "period_s=0 ",
                "found_within=\"off; 35s with the longest of 1 periods that are set\"",
                "monitor_finds_within=\"off\"",
            ],
            None,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon::configured(dir.path(), settings);
        daemon.signal(15);
        let (code, log) = daemon.wait();
        assert_eq!(code, Some(0));
        let told: Vec<_> = log
            .lines()
            .filter(|line| line.contains("heartbeats"))
            .collect();
        for part in parts {
            assert!(told[0].contains(part), "{part}: {log}");
        }
        assert_eq!(told.len(), 1 + usize::from(advice.is_some()), "{log}");
        if let Some(advice) = advice {
            assert!(
                told[1].contains(" WARN ") && told[1].contains(advice),
                "{log}"
            );
        }
    }
}

#[test]
fn status_subnets_and_metrics_show_what_the_heartbeats_do() {
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        "[heartbeat]\nperiod_s = 600\nheartbeat_s = 1201\nlearning = true\n\
         periods = [{{ site = \"home\", period_s = 1 }}, {{ subnet = \"10.0.0.0/24\", period_s = 0 }}]\n{SITE}"
    );
    let daemon = Daemon::configured(dir.path(), &settings);
    assert_eq!(heartbeat(&daemon)["connections"], 0);
    let folder = tempfile::tempdir().unwrap();
    let mut driver = client(&daemon, folder.path(), None);
    let mut shouter = Shouter::default();
    until(&mut driver, &mut shouter, |_| {
        heartbeat(&daemon)["probes"]["answered"].as_u64() >= Some(2)
    });

    let shown = heartbeat(&daemon);
    let expected = json!({
        "period_s": 600, "response_timeout_ms": 5_000, "in_flight": "auto", "heartbeat_s": 1_201,
        "frequency_s": 60, "learning": true, "connections": 1, "worst_case_ms": 605_000,
        "monitor_worst_case_ms": 1_261_000, "ended": { "response_timeout": 0, "heartbeat": 0 },
        "lessons": 0, "periods_left_out": 0,
        "periods": [
            { "subnet": "10.0.0.0/24", "period_s": 0, "worst_case_ms": null },
            { "site": "home", "period_s": 1, "worst_case_ms": 6_000 },
        ],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}: {shown}");
    }
    assert!(shown["window"].as_u64() >= Some(1), "{shown}");
    assert!(shown["probes"]["sent"].as_u64() >= shown["probes"]["answered"].as_u64());

    let subnets = daemon.get("/v1/subnets").json();
    let subnet = &subnets["subnets"][0];
    assert_eq!(
        (&subnet["subnet"], &subnet["heartbeat"]),
        (&SUBNET.into(), &json!({ "period_ms": 1_000 }))
    );
    assert_eq!(
        metric(&daemon, "tautline_heartbeat_connections "),
        ["tautline_heartbeat_connections 1"]
    );
    assert_eq!(
        metric(&daemon, "tautline_heartbeat_ended_total"),
        [
            "tautline_heartbeat_ended_total{rule=\"heartbeat\"} 0",
            "tautline_heartbeat_ended_total{rule=\"response_timeout\"} 0",
        ]
    );
    for (name, seconds) in [("worst_case", "605.0"), ("monitor_worst_case", "1261.0")] {
        let name = format!("tautline_heartbeat_{name}_seconds ");
        assert_eq!(metric(&daemon, &name), [format!("{name}{seconds}")]);
    }
    for name in [
        "probes_in_flight",
        "window",
        "probes_sent_total",
        "probes_answered_total",
        "probes_late_total",
        "probes_saved_total",
        "lessons_total",
    ] {
        let figure = metric(&daemon, &format!("tautline_heartbeat_{name} "));
        assert_eq!(figure.len(), 1, "{name}: {figure:?}");
    }
}

#[test]
fn h1_a_client_that_falls_silent_is_one_line_in_the_log() {
    for (settings, rule) in [
        (
            "period_s = 1\nresponse_timeout_ms = 500",
            "response_timeout",
        ),
        (
            "period_s = 0\nheartbeat_s = 1\nfrequency_s = 1",
            "heartbeat",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::configured(dir.path(), &format!("[heartbeat]\n{settings}\n"));
        let folder = tempfile::tempdir().unwrap();
        let mut driver = client(&daemon, folder.path(), None);
        let mut shouter = Shouter::default();
        until(&mut driver, &mut shouter, |shouter| shouter.connected);
        // Nobody turns the client's loop: its connection is open, and it says
        // nothing.
        let line = daemon.wait_for_log(SILENT);
        let client = daemon.get("/v1/clients").json()["clients"][0]["client"].clone();
        for part in [
            " WARN ",
            &format!("client={}", client.as_str().unwrap()),
            "hostname=\"shouter.example\"",
            "address=127.0.0.1",
            " silent_s=",
            &format!("rule=\"{rule}\""),
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        let shown = heartbeat(&daemon);
        assert_eq!(shown["ended"][rule], 1, "{shown}");
        assert_eq!(shown["connections"], 0, "{shown}");
        let expected = format!("tautline_heartbeat_ended_total{{rule=\"{rule}\"}} 1");
        assert_eq!(
            metric(
                &daemon,
                &format!("tautline_heartbeat_ended_total{{rule=\"{rule}\"}}")
            ),
            [expected]
        );
        daemon.signal(15);
        let (code, log) = daemon.wait();
        assert_eq!(code, Some(0));
        for told in [SILENT, "persistent connection gone"] {
            assert!(!log.contains(told), "{log}");
        }
    }
}

#[test]
fn the_same_advice_for_many_clients_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::configured(dir.path(), "[heartbeat]\nperiod_s = 600\n");
    for number in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let mut driver = client_set(&daemon, folder.path(), None, |settings| {
            settings.heartbeat.heartbeat = Some(Duration::from_secs(900));
            settings.heartbeat.frequency = Some(Duration::from_secs(60));
        });
        let mut shouter = Shouter::default();
        until(&mut driver, &mut shouter, |shouter| shouter.registered);
        if number == 0 {
            let line = daemon.wait_for_log("do not fit");
            for part in [
                " WARN ",
                "client=",
                "hostname=\"shouter.example\"",
                "heartbeat of 900s",
                "period of 600s",
            ] {
                assert!(line.contains(part), "{part}: {line}");
            }
        }
    }
    daemon.signal(15);
    let (_, log) = daemon.wait();
    // The first one's was told before the advice.
    assert_eq!(log.matches("client registered").count(), 2, "{log}");
    assert!(!log.contains("do not fit"), "{log}");
}
