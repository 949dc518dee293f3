//! The story of the lab, told with the real programs: a relay, two sites behind
//! routers that translate addresses and let no UDP in, and a client that UDP
//! reaches. Told in docs/lab.md, where the lab is drawn.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use serde_json::Value;
use tautline_tests::lab::{Host, Lab, Operator, PORT};
use tautline_tests::{Program, wait_for};

/// What comes, comes by the way that a chapter is about: nobody asks his inbox.
const QUIET: &str = "client.udp_port = 52311\nclient.poll_interval_s = 0";

/// An agent on every machine, all of them with a line to the relay.
fn start_agents(lab: &Lab, settings: &str) -> Vec<Program> {
    let start = |host| lab.start_agent(host, settings);
    let mut agents: Vec<_> = lab.hosts().map(start).collect();
    for agent in &mut agents {
        agent.wait_for_log("the line is open");
    }
    agents
}

fn is_connected(client: &Value) -> bool {
    client["connected"] == true
}

fn hostname_of(operator: &Operator<'_>, host: &Host) -> String {
    let notification = operator.notify(host, "hostname");
    let replies = operator.wait_for_replies(&notification, &[host]);
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies[host.name].clone()
}

#[test]
fn all_come_by_tcp_and_two_sites_with_the_same_addresses_are_told_apart() {
    let Some(lab) = Lab::build() else { return };
    let _relay = lab.start_relay("");
    let _agents = start_agents(&lab, QUIET);
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
fn udp_reaches_the_client_in_the_open_and_no_other() {
    let Some(lab) = Lab::build() else { return };
    for router in [&lab.north.router, &lab.south.router] {
        lab.relay.send_datagram(router.address, b"test");
        wait_for("a datagram that is dropped", || {
            (router.udp_dropped() == 1).then_some(())
        });
    }
    lab.relay.send_datagram(lab.d1.address, b"test");
    let from_relay = (lab.relay.address, PORT);
    wait_for("a datagram that arrives", || {
        (lab.d1.counts().udp_in == [(from_relay, 1)].into()).then_some(())
    });
    // Within a site there is no router between.
    let [c1, c2, c3] = &lab.north.clients;
    c1.send_datagram(c2.address, b"test");
    wait_for("a datagram of a neighbour", || {
        (c2.counts().udp_in == [((c1.address, PORT), 1)].into()).then_some(())
    });
    for host in [c1, c3].into_iter().chain(&lab.south.clients) {
        assert!(host.counts().udp_in.is_empty(), "{}", host.name);
    }
}

#[test]
fn a_router_refuses_aloud_and_forgets_silently() {
    let Some(lab) = Lab::build() else { return };
    let router = &lab.north.router;
    let [c1, c2, _] = &lab.north.clients;
    let relay = lab.relay.listen();
    let connect = |host: &Host| {
        let near = host.connect(lab.relay.address).unwrap();
        (near, relay.accept().unwrap().0)
    };

    router.refuse(c1);
    let error = c1.connect(lab.relay.address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let (mut of_c2, _far_of_c2) = connect(c2);
    router.admit(c1);
    let (mut near, mut far) = connect(c1);
    assert_eq!(far.peer_addr().unwrap().ip(), router.address);
    near.write_all(b"up").unwrap();
    far.read_exact(&mut [0; 2]).unwrap();

    // Neither end can make it known again.
    router.forget_now();
    for end in [&mut near, &mut far] {
        let before = router.unknown_dropped();
        end.write_all(b"lost").unwrap();
        wait_for("a packet that is dropped", || {
            (router.unknown_dropped() > before).then_some(())
        });
        assert_eq!(router.connections(), 0);
    }
    for end in [&mut near, &mut far, &mut of_c2] {
        end.set_nonblocking(true).unwrap();
        let error = end.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
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
        let mut agent = lab.start_agent(host, QUIET);
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
fn p4_a_line_that_is_cut_silently_holds_nobody_up() {
    let Some(lab) = Lab::build() else { return };
    let _relay = lab.start_relay("");
    let _agents = start_agents(&lab, QUIET);
    let operator = lab.operator();
    let [c1, ..] = &lab.north.clients;

    lab.north.router.cut(c1);
    let notification = operator.notify_all("hostname");
    let others: Vec<_> = lab.hosts().filter(|host| host.name != c1.name).collect();
    let replies = operator.wait_for_replies(&notification, &others);
    assert!(!replies.contains_key(c1.name), "{replies:?}");

    // Nobody has noticed: TCP tries again by itself.
    lab.north.router.mend(c1);
    operator.wait_for_replies(&notification, &[c1]);
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
        let mut agent = lab.start_agent(host, QUIET);
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
