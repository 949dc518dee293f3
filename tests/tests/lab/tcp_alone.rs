//! Clients that take no datagrams: each has a connection of its own, at once.

use tautline_tests::lab::{Host, Lab, PORT};
use tautline_tests::{Program, wait_for};

use super::{hostname_of, is_connected};
use std::time::Duration;

const TCP_ALONE: &str = "client.udp_port = \"off\"\nclient.poll_interval_s = 0";

/// An agent on every machine, all of them with a line to the relay.
fn start_agents(lab: &Lab) -> Vec<Program> {
    let start = |host| lab.start_agent(host, TCP_ALONE);
    let mut agents: Vec<_> = lab.hosts().map(start).collect();
    super::wait_for_lines(&mut agents);
    agents
}

#[test]
fn all_come_by_tcp_and_two_sites_with_the_same_addresses_are_told_apart() {
    let Some(lab) = Lab::build() else { return };
    let _relay = lab.start_relay("");
    let _agents = start_agents(&lab);
    let operator = lab.operator();

    let clients = operator.clients();
    let address = |host: &Host| clients[host.name]["address"].as_str().unwrap().to_owned();
    for host in &lab.north.clients {
        assert_eq!(address(host), lab.north.router.address.to_string());
    }
    for host in &lab.south.clients {
        assert_eq!(address(host), lab.south.router.address.to_string());
    }
    assert_eq!(address(&lab.d1), lab.d1.address.to_string());
    assert_eq!(clients.len(), 6);
    assert!(clients.values().all(is_connected), "{clients:?}");

    // c1 and e1 have one address: each hears what is for it, and nothing else.
    let ([c1, ..], [e1, ..]) = (&lab.north.clients, &lab.south.clients);
    assert_eq!(c1.address, e1.address);
    assert_eq!(hostname_of(&operator, c1), "c1");
    assert_eq!(hostname_of(&operator, e1), "e1");

    let hosts: Vec<_> = lab.hosts().collect();
    let replies = operator.wait_for_replies(&operator.notify_all("hostname"), &hosts);
    assert!(
        replies.iter().all(|(host, reply)| host == reply),
        "{replies:?}"
    );

    let relay = (lab.relay.address, PORT);
    for host in hosts {
        let counts = host.counts();
        assert!(
            counts.tcp_opened.keys().eq([&relay]),
            "{}: {counts:?}",
            host.name
        );
        assert!(counts.udp_out.is_empty(), "{}: {counts:?}", host.name);
    }
    assert_eq!(lab.strays(), 0);
}

#[test]
fn a_client_that_is_killed_is_missed_and_comes_back_as_itself() {
    let Some(lab) = Lab::build() else { return };
    let _relay = lab.start_relay("");
    let operator = lab.operator();
    let [c1, c2, _] = &lab.north.clients;
    let start = |host| {
        let mut agent = lab.start_agent(host, TCP_ALONE);
        agent.wait_for_log("the line is open");
        agent
    };
    let agent = start(c1);
    let _other = start(c2);
    let before = operator.clients();

    agent.kill();
    operator.wait_for_client(c1, |client| !is_connected(client));
    let missed = operator.notify(c1, "hostname");
    assert_eq!(hostname_of(&operator, c2), "c2");
    assert!(operator.replies(&missed).is_empty());

    let _agent = start(c1);
    let replies = operator.wait_for_replies(&missed, &[c1]);
    assert_eq!(replies["c1"], "c1");
    let after = operator.clients();
    assert_eq!(after["c1"]["client"], before["c1"]["client"]);
    assert_eq!(after.len(), 2);
}

#[test]
fn behind_a_firewall_that_forgets_a_new_line_replaces_the_deaf_one() {
    let Some(lab) = Lab::build() else { return };
    let (north, south) = (&lab.north.router, &lab.south.router);
    north.forget_idle(Duration::from_secs(1));
    let _relay = lab.start_relay("");
    let operator = lab.operator();
    let [c1, ..] = &lab.north.clients;
    let [e1, ..] = &lab.south.clients;
    let start = |host| {
        let mut agent = lab.start_agent(host, TCP_ALONE);
        agent.wait_for_log("the line is open");
        agent
    };
    let agents = [c1, e1, &lab.d1].map(start);
    // One forgets what is idle, the other one is started anew.
    wait_for("a router that has forgotten", || {
        (north.connections() == 0).then_some(())
    });
    assert!(south.connections() > 0);
    south.forget_now();

    let notification = operator.notify_all("hostname");
    let replies = operator.wait_for_replies(&notification, &[&lab.d1]);
    assert_eq!(replies.len(), 1, "{replies:?}");
    let clients = operator.clients();
    assert!(clients.values().all(is_connected), "{clients:?}");
    for agent in &agents {
        assert!(!agent.log().contains("the line is gone"));
    }

    north.forget_idle(Duration::from_secs(60));
    // The goodbye of the old process does not pass either.
    drop(agents);
    let _agents = [c1, e1].map(start);
    for host in [c1, e1] {
        assert_eq!(hostname_of(&operator, host), host.name);
    }
    assert_eq!(lab.strays(), 0);
}
