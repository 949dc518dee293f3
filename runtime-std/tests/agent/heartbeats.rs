//! What the agent states of its heartbeats, and what it says of the relay's.

use serde_json::{Value, json};

use crate::process::{Agent, agent, log};
use crate::relay::{Relay, registered};

#[test]
fn figures_that_do_not_fit_are_a_warning_with_both() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let mut command = agent(&relay.address, data.path());
    command.env("TAUTLINE_HEARTBEAT_FREQUENCY_S", "30");
    let agent = Agent::start(command.args(["--heartbeat", "900"]), data.path());

    let asked = relay.expect("POST /v1/register");
    let stated = json!({"period_s": 0, "heartbeat_s": 900, "frequency_s": 30});
    assert_eq!(asked.json()["heartbeat"], stated);
    let mut answer: Value = serde_json::from_str(&registered(1, true)).unwrap();
    answer["heartbeat"] = json!({"period_s": 600, "heartbeat_s": 0, "frequency_s": 60});
    asked.answer("200 OK", &answer.to_string());

    // It has heard the answer when it goes on.
    relay.expect("GET /v1/inbox");
    assert_eq!(agent.terminate().code(), Some(0));
    let log = log(data.path());
    let told = log.lines().find(|line| line.contains("do not fit"));
    let told = told.expect("a warning");
    for part in ["WARN", "heartbeat of 900s", "period of 600s"] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn the_figures_are_told_once_until_they_are_others() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let agent = Agent::start(&mut agent(&relay.address, data.path()), data.path());
    let periods = [Some(600), Some(600), Some(48), None];
    for (number, period_s) in periods.into_iter().enumerate() {
        let asked = relay.expect("POST /v1/register");
        let is_last = number + 1 == periods.len();
        let mut answer: Value = serde_json::from_str(&registered(1, number == 0)).unwrap();
        answer["register_again_s"] = if is_last { 21_600 } else { 1 }.into();
        if let Some(period_s) = period_s {
            answer["heartbeat"] =
                json!({"period_s": period_s, "heartbeat_s": 0, "frequency_s": 60});
        }
        asked.answer("200 OK", &answer.to_string());
        // It has heard the answer when it goes on.
        let inbox = json!({"incarnation": 1, "notifications": []});
        relay
            .expect("GET /v1/inbox")
            .answer("200 OK", &inbox.to_string());
    }
    assert_eq!(agent.terminate().code(), Some(0));

    let log = log(data.path());
    assert_eq!(log.matches(": registered client=").count(), 4, "{log}");
    let told: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(": heartbeats "))
        .collect();
    let figures: Vec<_> = told.iter().map(|(_, figures)| *figures).collect();
    let own = "period_s=0 response_timeout_ms=5000";
    let expected = [
        format!(r#"relay_period_s=600 {own} heartbeat_s=1201 frequency_s=60 found_within="1261s""#),
        format!(r#"relay_period_s=48 {own} heartbeat_s=97 frequency_s=4.8 found_within="101.8s""#),
        format!(r#"{own} heartbeat_s=0 frequency_s=1 found_within="off""#),
    ];
    assert_eq!(figures, expected, "{log}");
    assert!(told.iter().all(|(begin, _)| begin.contains(" INFO ")));
}

#[test]
fn a_figure_out_of_its_range_is_named_with_its_flag() {
    let data = tempfile::tempdir().unwrap();
    let mut command = agent("127.0.0.1:1", data.path());
    command.args(["--check-config", "--heartbeat-period", "86401"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("--heartbeat-period: heartbeat.period_s is 86401, but must be 0 to 86400"),
        "{told}"
    );
}
