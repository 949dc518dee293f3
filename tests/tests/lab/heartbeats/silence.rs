//! Agents that are stopped, machines that lose their power or their cable, and
//! a relay that does.

use rustix::process::Signal;
use tautline_tests::Program;
use tautline_tests::lab::{Lab, PORT};

use super::{
    SHORT, assert_all_by_line, ends, start, start_all, start_relay, wait_for_ends,
    wait_for_ends_by, wait_for_lines, wait_for_silence,
};

fn times_gone(agent: &Program) -> usize {
    agent.log().matches("the line is gone").count()
}

#[test]
fn h3_an_agent_that_is_stopped_delays_nobody_and_comes_back() {
    let Some(lab) = Lab::build() else { return };
    // The others are asked often while the answer of one is waited for.
    let relay = start_relay(
        &lab,
        "heartbeat.period_s = 1\nheartbeat.response_timeout_ms = 5000\n",
    );
    let operator = lab.operator();
    let [c1, c2, _] = &lab.north.clients;
    let [e1, _] = &lab.south.clients;
    let others = [c2, e1, &lab.d1];
    let [mut of_c1] = start_all(&lab, [c1], "");
    let of_others = start_all(&lab, others, "");

    of_c1.signal(Signal::STOP);
    let seen = lab.watch(|| wait_for_ends(&relay, &operator, &[c1]));
    for other in others {
        let answers = seen[other.name].tcp_out[&(lab.relay.address, PORT)];
        assert!(answers >= 3, "{}: {seen:?}", other.name);
    }
    let missed = operator.notify_all("hostname");
    let replies = operator.wait_for_replies(&missed, &others);
    assert!(!replies.contains_key("c1"), "{replies:?}");

    of_c1.signal(Signal::CONT);
    of_c1.wait_for_log("the line is open");
    operator.wait_for_replies(&missed, &[c1]);
    // It was told, as soon as it could hear.
    assert_eq!((times_gone(&of_c1), ends(&of_c1).len()), (1, 0));
    let [of_c2, of_e1, of_d1] = &of_others;
    let agents = [&of_c1, of_c2, of_e1, of_d1];
    assert_all_by_line(&operator, &[c1, c2, e1, &lab.d1], &agents);
    wait_for_ends(&relay, &operator, &[c1]);
    for agent in &of_others {
        assert_eq!(times_gone(agent), 0);
    }
}

#[test]
fn machines_that_lose_their_power_or_their_cable_are_missed_and_come_back() {
    let Some(lab) = Lab::build() else { return };
    let relay = start_relay(&lab, SHORT);
    let operator = lab.operator();
    let [c1, c2, _] = &lab.north.clients;
    let [e1, _] = &lab.south.clients;
    let others = [e1, &lab.d1];
    let [mut of_c1, of_c2] = start_all(&lab, [c1, c2], "");
    let of_others = start_all(&lab, others, "");
    let before = operator.clients();

    lab.unplug(c1);
    lab.unplug(c2);
    of_c2.kill();
    wait_for_ends(&relay, &operator, &[c1, c2]);
    let missed = operator.notify_all("hostname");
    operator.wait_for_replies(&missed, &others);
    wait_for_silence(&mut of_c1, "heartbeat");

    lab.plug_in(c1);
    lab.plug_in(c2);
    of_c1.wait_for_log("the line is open");
    let mut of_c2 = start(&lab, c2, "");
    of_c2.wait_for_log("the line is open");
    let hosts = [c1, c2, e1, &lab.d1];
    let replies = operator.wait_for_replies(&missed, &hosts);
    assert_eq!(replies.len(), hosts.len(), "{replies:?}");
    let [of_e1, of_d1] = &of_others;
    assert_all_by_line(&operator, &hosts, &[&of_c1, &of_c2, of_e1, of_d1]);
    wait_for_ends(&relay, &operator, &[c1, c2]);
    assert_eq!((times_gone(&of_c1), ends(&of_c1).len()), (0, 1));
    for agent in &of_others {
        assert_eq!(times_gone(agent), 0);
    }
    let after = operator.clients();
    for host in hosts {
        assert_eq!(after[host.name]["client"], before[host.name]["client"]);
    }
}

/// The relay only listens, and its agents ask.
const LISTENS: &str = "\
heartbeat.period_s = 0
heartbeat.heartbeat_s = 4
heartbeat.frequency_s = 1
";
const ASK: &str = "\
heartbeat.period_s = 1
heartbeat.response_timeout_ms = 3000
heartbeat.heartbeat_s = 0
";

#[test]
fn agents_report_a_relay_that_vanishes_and_return_to_it() {
    let Some(lab) = Lab::build() else { return };
    let relay = start_relay(&lab, LISTENS);
    let operator = lab.operator();
    let [c1, c2, _] = &lab.north.clients;
    let [e1, _] = &lab.south.clients;
    let hosts = [c1, c2, e1, &lab.d1];
    let mut agents = start_all(&lab, hosts, ASK);

    lab.unplug(&lab.relay);
    for agent in &mut agents {
        wait_for_silence(agent, "response_timeout");
    }
    wait_for_ends_by(&relay, &operator, "heartbeat", &hosts);
    let missed = operator.notify_all("hostname");
    lab.plug_in(&lab.relay);
    wait_for_lines(&mut agents);
    operator.wait_for_replies(&missed, &hosts);
    assert_all_by_line(&operator, &hosts, &agents.each_ref());
    wait_for_ends_by(&relay, &operator, "heartbeat", &hosts);

    // Of a process that is killed its machine tells.
    relay.kill();
    for agent in &mut agents {
        agent.wait_for_log("the line is gone");
    }
    let _relay = start_relay(&lab, LISTENS);
    wait_for_lines(&mut agents);
    assert_all_by_line(&operator, &hosts, &agents.each_ref());
    for agent in &agents {
        assert_eq!((times_gone(agent), ends(agent).len()), (1, 1));
    }
}
