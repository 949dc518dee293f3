//! A relay that finds out how soon a firewall forgets.

use std::time::Duration;

use serde_json::Value;
use tautline_tests::Program;
use tautline_tests::lab::{Lab, Operator};

use super::{assert_all_by_line, ends, start_all, start_relay, wait_for_limits, wait_for_silence};

const NORTH: &str = "192.168.1.0/24@198.51.100.2";
const SOUTH: &str = "192.168.1.0/24@198.51.100.130";

/// Four fifths of the period, as far apart as ages may be that teach
/// something. What is learned is a half of the period at most.
const LIMIT: Duration = Duration::from_secs(4);
const LEARNING: &str = "\
heartbeat.period_s = 5
heartbeat.response_timeout_ms = 3000
heartbeat.learning = true
heartbeat.learning_period_min_s = 1
";

/// What the relay tells of the heartbeats in a subnet.
fn learned(operator: &Operator<'_>, subnet: &str) -> Value {
    let page = operator.get("/v1/subnets");
    let mut subnets = page["subnets"].as_array().unwrap().iter();
    let subnet = subnets.find(|row| row["subnet"] == subnet);
    subnet.unwrap()["heartbeat"].clone()
}

#[test]
fn a_period_that_is_too_long_for_a_firewall_is_shortened_until_lines_live() {
    let Some(lab) = Lab::build() else { return };
    lab.north.router.forget_idle(LIMIT);
    let mut relay = start_relay(&lab, LEARNING);
    let operator = lab.operator();
    let [c1, c2, c3] = &lab.north.clients;
    let [e1, e2] = &lab.south.clients;
    let (north, south) = ([c1, c2, c3], [e1, e2]);
    let mut of_north = start_all(&lab, north, "");
    let of_south = start_all(&lab, south, "");

    // What dies once may have died of an outage.
    for agent in &mut of_north {
        wait_for_silence(agent, "heartbeat");
        agent.wait_for_log("the line is open");
    }
    let told = relay.wait_for_log("the period of a subnet's heartbeats has changed");
    for part in [" connections died", NORTH, "before=5s", "set=5s"] {
        assert!(told.contains(part), "{told}");
    }
    let of_both = [NORTH, SOUTH].map(|subnet| learned(&operator, subnet));
    let shown = operator.show(&["subnets"]);
    let mut rows = shown.lines().filter(|row| row.starts_with(NORTH));
    let row = rows.next().unwrap();
    assert!(row.contains(" deaths, idle for "), "{row}");
    let [of_north_now, of_south_now] = &of_both;
    assert_eq!(of_north_now["why"], "shortened");
    assert_eq!(of_north_now["set_ms"], 5_000);
    let figure = |key: &str| of_north_now[key].as_u64().unwrap();
    // Each line died once, and one that came in its place.
    assert!(figure("deaths") > 3, "{of_both:?}");
    assert!(figure("youngest_ms") > 3_000, "{of_both:?}");
    assert_eq!(figure("period_ms"), figure("youngest_ms") / 2);
    // Where nothing dies nothing is learned.
    assert_eq!(of_south_now["period_ms"], 5_000);
    assert_eq!(of_south_now["why"], Value::Null);

    // Lines that were forgotten before are found, and replaced.
    wait_for_limits(&operator, LIMIT, 8);
    let counts = |agents: &[Program]| -> Vec<usize> {
        let of_agents = agents.iter().map(ends);
        of_agents
            .chain([ends(&relay)])
            .map(|ends| ends.len())
            .collect()
    };
    let before = counts(&of_north);
    assert!(before.iter().all(|ends| *ends > 0), "{before:?}");
    wait_for_limits(&operator, LIMIT, 3);
    // They live now.
    assert_eq!(counts(&of_north), before);
    for host in south {
        let name = format!("hostname=\"{}\"", host.name);
        assert!(!ends(&relay).iter().any(|line| line.contains(&name)));
    }
    for agent in &of_south {
        assert!(!agent.log().contains("the line is gone"));
    }
    let hosts: Vec<_> = north.into_iter().chain(south).collect();
    let agents: Vec<_> = of_north.iter().chain(&of_south).collect();
    assert_all_by_line(&operator, &hosts, &agents);
    assert_eq!(operator.metric("tautline_heartbeat_lessons_total"), 1);
}
