//! Firewalls that forget what is idle.

use std::time::Duration;

use tautline_tests::lab::{Lab, PORT};

use super::super::is_connected;
use super::{
    PATIENT, SHORT, assert_all_by_line, assert_came, ends, start_all, start_asking, start_relay,
    wait_for_ends, wait_for_limits, wait_for_lines, wait_for_silence,
};

/// Stands for a minute.
const LIMIT: Duration = Duration::from_secs(4);
/// Stand for ten minutes.
const LIMITS: u32 = 10;
/// Agents follow the relay, so those of south have none either.
const NONE_IN_SOUTH: &str = "\
heartbeat.period_s = 1
heartbeat.periods = [{ subnet = \"192.168.1.0/24@198.51.100.130\", period_s = 0 }]
";

#[test]
fn h2_lines_live_behind_a_firewall_that_forgets_where_there_are_heartbeats() {
    let Some(lab) = Lab::build() else { return };
    for router in [&lab.north.router, &lab.south.router] {
        router.forget_idle(LIMIT);
    }
    let relay = start_relay(&lab, NONE_IN_SOUTH);
    let operator = lab.operator();
    let [c1, c2, c3] = &lab.north.clients;
    let [e1, e2] = &lab.south.clients;
    let kept = [c1, c2, c3, &lab.d1];
    let of_kept = start_all(&lab, kept, "");
    let mut of_south = [e1, e2].map(|host| start_asking(&lab, host, "client.poll_interval_s = 5"));
    wait_for_lines(&mut of_south);

    let seen = lab.watch(|| wait_for_limits(&operator, LIMIT, LIMITS));
    for host in kept {
        let counts = &seen[host.name];
        assert!(counts.tcp_opened.is_empty(), "{}: {counts:?}", host.name);
        // A probe and its answer, about as often as the limit has seconds.
        for packets in [&counts.tcp_in, &counts.tcp_out] {
            let packets = packets[&(lab.relay.address, PORT)];
            assert!(
                packets >= 2 * u64::from(LIMITS),
                "{}: {counts:?}",
                host.name
            );
        }
    }

    let dropped = lab.south.router.unknown_dropped();
    let notification = operator.notify_all("hostname");
    let hosts: Vec<_> = lab.hosts().collect();
    let replies = operator.wait_for_replies(&notification, &hosts);
    assert_eq!(replies.len(), 6, "{replies:?}");
    for (agents, way) in [(&of_kept[..], "connection"), (&of_south, "inbox")] {
        for agent in agents {
            assert_came(agent, &notification, way);
            let log = agent.log();
            assert!(!log.contains("the line is gone"), "{log}");
            assert_eq!(log.matches("the line is open").count(), 1, "{log}");
        }
    }
    // On a line without heartbeats neither end has noticed anything.
    assert!(lab.south.router.unknown_dropped() > dropped);
    assert_eq!(relay.log().matches("persistent connection open").count(), 6);
    wait_for_ends(&relay, &operator, &[]);
    let clients = operator.clients();
    assert!(clients.values().all(is_connected), "{clients:?}");
}

#[test]
fn h2_what_a_router_forgot_both_ends_notice_each_by_its_rule() {
    let Some(lab) = Lab::build() else { return };
    let relay = start_relay(&lab, SHORT);
    let operator = lab.operator();
    let [c1, c2, c3] = &lab.north.clients;
    let [e1, e2] = &lab.south.clients;
    let (north, others) = ([c1, c2, c3], [e1, e2, &lab.d1]);
    let mut of_north = start_all(&lab, north, PATIENT);
    let of_others = start_all(&lab, others, "");

    lab.north.router.forget_now();
    wait_for_ends(&relay, &operator, &north);
    let missed = operator.notify_all("hostname");
    operator.wait_for_replies(&missed, &others);
    for agent in &mut of_north {
        wait_for_silence(agent, "heartbeat");
        agent.wait_for_log("the line is open");
    }

    let hosts: Vec<_> = lab.hosts().collect();
    let replies = operator.wait_for_replies(&missed, &hosts);
    assert_eq!(replies.len(), 6, "{replies:?}");
    let agents: Vec<_> = of_north.iter().chain(&of_others).collect();
    assert_all_by_line(&operator, &hosts, &agents);
    wait_for_ends(&relay, &operator, &north);
    for agent in of_north {
        assert_eq!(ends(&agent).len(), 1);
        assert!(!agent.log().contains("the line is gone"), "it is told once");
    }
    for agent in of_others {
        assert!(!agent.log().contains("the line is gone"));
    }
}
