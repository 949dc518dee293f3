//! The story as a whole, as `--nocapture` tells it.

use tautline_tests::Program;
use tautline_tests::lab::{Host, Lab, Operator};

use super::{
    hostname_of, is_connected, once_at, start, start_denied, start_granted, start_relay,
    wait_for_lines,
};

#[test]
fn p1_p3_p4_the_story_of_two_sites_and_a_client_in_the_open() {
    let Some(lab) = Lab::build() else { return };
    let _relay = start_relay(&lab, 2);
    let operator = lab.operator();
    let [c1, c2, c3] = &lab.north.clients;
    let [e1, e2] = &lab.south.clients;
    lab.tell("the relay serves; it grants two connections in each subnet");

    let mut of_d1 = start(&lab, &lab.d1);
    of_d1.wait_for_log("datagrams reach this machine");
    lab.tell("d1 got a test notification: it needs no connection");
    let mut agents = start_granted(&lab, [c1, c2, e1, e2]);
    let mut of_c3 = start_denied(&lab, c3, "subnet_cap");
    lab.tell("c1, c2, e1 and e2 are granted one, c3 is not");
    wait_for_lines(&mut agents);
    lab.tell("their tests were dropped by the routers: all four have opened it");
    assert!(!of_d1.log().contains("the line"), "its grant was the first");
    who_connects(&lab, &operator);
    operator.show(&["clients"]);
    operator.show(&["subnets"]);

    let peer = a_peer_brings_it(&lab, &operator, c3);
    of_c3.wait_for_log("by=\"datagram\"");
    lab.tell(format_args!(
        "{peer} brought c3 a notification; c3 replied to the relay itself"
    ));
    let seen = lab.watch(|| assert_eq!(hostname_of(&operator, &lab.d1), "d1"));
    assert_eq!(seen["relay"].udp_out, once_at(&lab.d1));
    assert_eq!(seen["d1"].tcp_opened, once_at(&lab.relay));
    lab.tell("the relay sent d1 one by datagram");
    let shown = operator.show(&["query", "--all", "hostname"]);
    assert!(shown.ends_with(": 6 of 6 replied\n"), "{shown}");

    let [of_c1, of_c2, ..] = agents;
    let (killed, left): (Program, &Host) = if peer == "c1" {
        (of_c1, c2)
    } else {
        (of_c2, c1)
    };
    killed.kill();
    let other = a_peer_brings_it(&lab, &operator, c3);
    assert_eq!(other, left.name);
    lab.tell(format_args!(
        "{peer} was killed; {other} brought c3 the next one"
    ));
    operator.show(&["clients", "--subnet", "192.168.1.0/24@198.51.100.2"]);
    assert_eq!(lab.strays(), 0);
}

/// Two of a subnet, and not the one that UDP reaches, although that one had its
/// grant first.
fn who_connects(lab: &Lab, operator: &Operator<'_>) {
    let clients = operator.clients();
    let connected = clients.iter().filter(|(_, client)| is_connected(client));
    let connected: Vec<_> = connected.map(|(name, _)| name.as_str()).collect();
    assert_eq!(connected, ["c1", "c2", "e1", "e2"]);
    assert_eq!(clients["d1"]["udp_proven"], true);
    let denied = |name: &str| clients[name]["denied"].as_str();
    assert_eq!((denied("c3"), denied("c1")), (Some("subnet_cap"), None));
    for host in lab.hosts().filter(|host| host.name != "d1") {
        let counts = host.counts();
        let udp = [&counts.udp_in, &counts.udp_out];
        assert!(
            udp.iter().all(|packets| packets.is_empty()),
            "{}: {counts:?}",
            host.name
        );
    }
    assert!(lab.north.router.udp_dropped() > 0 && lab.south.router.udp_dropped() > 0);
    let subnets = operator.subnets();
    assert_eq!(subnets["192.168.1.0/24@198.51.100.2"], [3, 2, 0]);
    assert_eq!(subnets["192.168.1.0/24@198.51.100.130"], [2, 2, 0]);
    assert_eq!(subnets["203.0.113.0/25"], [1, 0, 0]);
}

/// The host gets a notification by one datagram of one peer, and replies to the
/// relay by TCP. Returns who the peer was.
fn a_peer_brings_it(lab: &Lab, operator: &Operator<'_>, host: &Host) -> &'static str {
    let seen = lab.watch(|| assert_eq!(hostname_of(operator, host), host.name));
    let senders: Vec<_> = seen
        .iter()
        .filter(|(_, counts)| !counts.udp_out.is_empty())
        .collect();
    let [(peer, sent)] = senders[..] else {
        panic!("not one sender: {seen:?}");
    };
    assert_eq!(sent.udp_out, once_at(host));
    let peer = lab.hosts().find(|host| host.name == *peer);
    let peer = peer.expect("not the relay");
    assert_eq!(seen[host.name].udp_in, once_at(peer));
    assert_eq!(seen[host.name].tcp_opened, once_at(&lab.relay));
    peer.name
}
