//! Sites: which clients share one, and that nothing passes between two.

use std::net::Ipv4Addr;

use serde_json::json;
use tautline_tests::lab::{Host, Lab, PORT};

use super::{
    AGENT, NEVER_ASKS, RELAY, hostname_of, is_connected, once_at, start_denied, start_granted,
    start_relay, wait_for_lines,
};

#[test]
fn p3_two_sites_with_the_same_addresses_serve_their_own_clients_only() {
    let Some(lab) = Lab::build() else { return };
    let _relay = start_relay(&lab, 1);
    let operator = lab.operator();
    let [c1, c2, c3] = &lab.north.clients;
    let [e1, e2] = &lab.south.clients;
    let mut agents = start_granted(&lab, [c1, e1]);
    let _denied = [c2, c3, e2].map(|host| start_denied(&lab, host, "subnet_cap"));
    wait_for_lines(&mut agents);
    assert_eq!((c1.address, c2.address), (e1.address, e2.address));

    for (peer, client) in [(c1, c2), (e1, e2), (c1, c3)] {
        let seen = lab.watch(|| assert_eq!(hostname_of(&operator, client), client.name));
        for (name, counts) in &seen {
            let (sent, came) = (&counts.udp_out, &counts.udp_in);
            let is = |host: &Host| host.name == *name;
            assert_eq!(sent.is_empty(), !is(peer), "{name}: {counts:?}");
            assert_eq!(came.is_empty(), !is(client), "{name}: {counts:?}");
        }
        assert_eq!(seen[client.name].udp_in, once_at(peer));
    }

    let south = json!({ "subnet": "192.168.1.0/24@198.51.100.130" });
    let notification = operator.notify_target(south, "hostname");
    let replies = operator.wait_for_replies(&notification, &[e1, e2]);
    assert!(replies.keys().eq(["e1", "e2"]), "{replies:?}");
    assert_eq!(operator.progress(&notification)["targets"], 2);
    assert_eq!(lab.strays(), 0);
}

#[test]
fn p5_caps_hold_and_sites_of_the_settings_have_names() {
    let Some(lab) = Lab::build() else { return };
    let settings = format!(
        "{RELAY}persistent_connections.per_subnet_max = 2\n\
         persistent_connections.connections_max = 3\n\
         [[sites]]\nname = \"north\"\nnetworks = [\"{}\"]\n\
         [[sites]]\nname = \"south\"\nnetworks = [\"{}/29\"]\n",
        lab.north.router.address, lab.south.router.address
    );
    let _relay = lab.start_relay(&settings);
    let operator = lab.operator();
    let [c1, c2, c3] = &lab.north.clients;
    let [e1, e2] = &lab.south.clients;
    let mut of_north = start_granted(&lab, [c1, c2]);
    let _of_c3 = start_denied(&lab, c3, "subnet_cap");
    let mut of_south = start_granted(&lab, [e1]);
    let _others = [e2, &lab.d1].map(|host| start_denied(&lab, host, "total_cap"));
    wait_for_lines(&mut of_north);
    wait_for_lines(&mut of_south);
    let subnets = operator.subnets();
    assert_eq!(subnets["192.168.1.0/24@site:north"], [3, 2, 0]);
    assert_eq!(subnets["192.168.1.0/24@site:south"], [2, 1, 0]);
    assert_eq!(subnets["203.0.113.0/25"], [1, 0, 0]);

    let seen = lab.watch(|| {
        let notification = operator.notify_target(json!({ "site": "north" }), "hostname");
        let replies = operator.wait_for_replies(&notification, &[c1, c2, c3]);
        assert!(replies.keys().eq(["c1", "c2", "c3"]), "{replies:?}");
        assert_eq!(operator.progress(&notification)["targets"], 3);
        // What came later shows that nothing came before it.
        assert_eq!(hostname_of(&operator, e1), "e1");
    });
    for host in [e1, e2, &lab.d1] {
        assert!(seen[host.name].udp_in.is_empty(), "{seen:?}");
    }
    let told = of_south[0].log().matches(" notification ").count();
    assert_eq!(told, 1, "its own");
}

#[test]
fn p5_behind_one_address_no_more_than_its_cap_are_granted() {
    let Some(lab) = Lab::build() else { return };
    let settings = format!("{RELAY}persistent_connections.per_address_max = 2\n");
    let _relay = lab.start_relay(&settings);
    let operator = lab.operator();
    let [c1, c2, c3] = &lab.north.clients;
    let [e1, e2] = &lab.south.clients;
    // Of one subnet three may; and c2 is in none that the others are in.
    let elsewhere = "client.interfaces = [\"10.9.9.9/24\"]";
    let mut of_north = [c1, c2, c3].map(|host| {
        let own = if host.name == "c2" { elsewhere } else { "" };
        lab.start_agent(host, &format!("{AGENT}{NEVER_ASKS}{own}"))
    });
    // All at once: who comes first is open.
    let verdicts = of_north
        .each_mut()
        .map(|agent| agent.wait_for_log("granted="));
    let is_granted = |verdict: &&String| verdict.contains("granted=true");
    let granted = verdicts.iter().filter(is_granted).count();
    let capped = verdicts.iter().find(|verdict| !is_granted(verdict));
    assert_eq!(granted, 2, "{verdicts:?}");
    assert!(
        capped.unwrap().contains("reason=\"address_cap\""),
        "{verdicts:?}"
    );

    // Other addresses have a cap of their own.
    let mut of_south = start_granted(&lab, [e1, e2]);
    let mut of_d1 = start_granted(&lab, [&lab.d1]);
    of_d1[0].wait_for_log("datagrams reach this machine");
    wait_for_lines(&mut of_south);
    for (agent, verdict) in of_north.iter_mut().zip(&verdicts) {
        if is_granted(&verdict) {
            agent.wait_for_log("the line is open");
        }
    }
    let behind = |address: Ipv4Addr| {
        let clients = operator.clients().into_values();
        let connected = clients.filter(is_connected);
        connected
            .filter(|client| client["address"] == address.to_string())
            .count()
    };
    assert_eq!(behind(lab.north.router.address), 2);
    assert_eq!(behind(lab.south.router.address), 2);
    let subnets = operator.subnets();
    assert!(
        subnets.contains_key("198.51.100.2/32@198.51.100.2"),
        "c2: {subnets:?}"
    );
    assert_eq!(subnets["192.168.1.0/24@198.51.100.2"][0], 2, "{subnets:?}");
}

#[test]
fn p8_whoever_names_anothers_address_redirects_nothing() {
    let Some(lab) = Lab::build() else { return };
    let _relay = start_relay(&lab, 1);
    let operator = lab.operator();
    let [c1, c2, c3] = &lab.north.clients;
    let [e1, _] = &lab.south.clients;
    let mut peer = start_granted(&lab, [c1]);
    let _of_c2 = start_denied(&lab, c2, "subnet_cap");
    wait_for_lines(&mut peer);

    // c3 says that it is c2, and e1 that it is d1.
    let lies = [(c3, c2, 24), (e1, &lab.d1, 25)];
    let seen = lab.watch(|| {
        let liars = lies.map(|(liar, other, prefix)| {
            let address = other.address;
            let settings =
                format!("{AGENT}{NEVER_ASKS}client.interfaces = [\"{address}/{prefix}\"]");
            let mut agent = lab.start_agent(liar, &settings);
            agent.wait_for_log("granted=true");
            (agent, liar, operator.notify(liar, "hostname"))
        });
        // Their tests and these notifications went by datagram, and were lost
        // at their routers. Their own connections bring them.
        for (mut agent, liar, notification) in liars {
            agent.wait_for_log("the line is open");
            let replies = operator.wait_for_replies(&notification, &[liar]);
            assert_eq!(replies[liar.name], liar.name);
        }
    });
    let routers = [&lab.north.router, &lab.south.router].map(|router| (router.address, PORT));
    assert!(seen["relay"].udp_out.keys().eq(&routers), "{seen:?}");
    for host in lab.hosts() {
        let counts = &seen[host.name];
        assert!(
            counts.udp_in.is_empty() && counts.udp_out.is_empty(),
            "{seen:?}"
        );
    }
}
