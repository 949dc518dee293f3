//! Caps, grants and what becomes of them.

use super::*;
use alloc::format;

/// So many machines of one subnet.
fn neighbours(count: usize) -> Vec<Client> {
    let address = |host| format!("10.0.{}.{}", host / 200, host % 200 + 1);
    let mut clients: Vec<_> = (0..count).map(|host| direct(&address(host))).collect();
    for client in &mut clients {
        client.interfaces[0].prefix = 16;
    }
    clients
}

fn releases(told: &[(u64, RegistryEffect)]) -> Vec<(ConnId, ReleaseReason)> {
    told.iter()
        .filter_map(|(_, effect)| match effect {
            RegistryEffect::Release { conn, why, .. } => Some((*conn, *why)),
            _ => None,
        })
        .collect()
}

fn tests_of(told: &[(u64, RegistryEffect)], client: &Client) -> Vec<(u64, u64)> {
    told.iter()
        .filter_map(|(at, effect)| match effect {
            RegistryEffect::Test { client: key, nonce } if *key == client.key() => {
                Some((*at, *nonce))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn p5_cap_3_with_500_clients_of_one_subnet_is_exactly_3() {
    let mut world = world_of(|settings, _| settings.connections_max = 1_000);
    let mut clients = neighbours(500);
    for client in &mut clients {
        world.register(client);
    }
    assert_eq!(world.held(), (0, 3), "grants count");
    for (client, number) in clients.iter().zip(0..) {
        let opened = world.connect(client, number);
        assert_eq!(
            opened,
            if number < 3 {
                Ok(None)
            } else {
                Err(ConnectRefusal::NotGranted)
            }
        );
    }
    assert_eq!(world.held(), (3, 0));
    for client in clients.iter_mut().rev() {
        world.register(client);
    }
    let subnet = world.subnet(&clients[0]);
    assert_eq!(
        (subnet.clients, subnet.connected, subnet.granted),
        (500, 3, 0)
    );
    let verdicts = world.registry.counts().verdicts;
    assert_eq!(
        (verdicts.get("granted"), verdicts.get("subnet_cap")),
        (6, 994)
    );
}

#[test]
fn p5_the_total_cap_counts_connections_and_grants_together() {
    let mut world = world_of(|settings, _| settings.connections_max = 2);
    let mut clients = ["10.0.1.1", "10.0.2.1", "10.0.3.1"].map(direct);
    let [one, two, three] = &mut clients;
    assert_eq!(world.verdict(one), "granted");
    assert_eq!(world.connect(one, 1), Ok(None));
    assert_eq!(world.verdict(two), "granted");
    assert_eq!(world.verdict(three), "total_cap");
    // The client's own does not count.
    assert_eq!(world.verdict(one), "granted");
    assert_eq!(world.verdict(two), "granted");
    assert!(world.registry.handle_disconnected(one.key(), conn(1)));
    assert_eq!(
        world.verdict(three),
        "total_cap",
        "the first has a grant yet"
    );
    one.wish = false;
    assert_eq!(world.verdict(one), "not_asked");
    assert_eq!(world.verdict(three), "granted");
}

#[test]
fn p5_the_cap_of_an_address_holds_over_its_subnets() {
    let mut world = world_of(|settings, _| settings.connections_per_address_max = 2);
    let mut clients =
        ["192.168.1.5", "192.168.2.5", "192.168.3.5"].map(|own| behind("192.0.2.1", own));
    let verdicts = clients.each_mut().map(|client| world.verdict(client));
    assert_eq!(verdicts, ["granted", "granted", "address_cap"]);
    assert_eq!(
        world.verdict(&mut behind("192.0.2.2", "192.168.1.5")),
        "granted"
    );
}

#[test]
fn p5_one_machine_with_a_whole_network_of_ipv6_has_one_address() {
    let mut world = world_of(|settings, _| settings.connections_per_address_max = 2);
    let of = |host: u16| direct(&format!("2001:db8:0:1::{host:x}"));
    let verdicts = [1, 2, 3].map(|host| world.verdict(&mut of(host)));
    assert_eq!(verdicts, ["granted", "granted", "address_cap"]);
    let mut beside = direct("2001:db8:0:2::1");
    assert_eq!(world.verdict(&mut beside), "granted");
}

#[test]
fn caps_of_zero_are_none_but_the_total() {
    let mut world = world_of(|settings, _| {
        settings.connections_max = 50;
        settings.connections_per_subnet_max = 0;
        settings.connections_per_address_max = 0;
    });
    for (client, number) in neighbours(60).iter_mut().zip(0..) {
        client.observed = ip("192.0.2.1");
        let verdict = world.verdict(client);
        assert_eq!(verdict, if number < 50 { "granted" } else { "total_cap" });
    }
    let mut none = world_of(|settings, _| settings.connections_max = 0);
    assert_eq!(none.verdict(&mut direct("10.0.0.1")), "total_cap");
}

#[test]
fn p5_caps_hold_under_racing_registrations() {
    let mut world = world_of(|settings, _| {
        settings.connections_max = 4;
        settings.connections_per_subnet_max = 2;
        settings.connections_per_address_max = 3;
    });
    let mut random = Random::from_seed([6; 32]);
    let outer = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let inner = ["192.168.1.5", "192.168.2.5"];
    let mut clients: Vec<_> = (0..16).map(|_| behind(outer[0], inner[0])).collect();
    let (mut open, mut most) = (Vec::new(), (0, 0));
    for step in 0..4_000 {
        let place = random.below(16) as usize;
        let client = &mut clients[place];
        match random.below(12) {
            0..4 => {
                let address = ip(inner[random.below(2) as usize]);
                client.observed = ip(outer[random.below(3) as usize]);
                client.interfaces[0].address = address;
                client.local = Some(address);
                client.wish = random.below(5) > 0;
                world.register(client);
            }
            4..10 if client.key.is_some() => {
                if let Ok(before) = world.connect(client, step) {
                    open.retain(|(_, conn)| Some(*conn) != before);
                    open.push((client.key(), conn(step)));
                }
            }
            10 if !open.is_empty() => {
                let (key, conn) = open.swap_remove(random.below(open.len() as u64) as usize);
                assert!(world.registry.handle_disconnected(key, conn));
            }
            _ => {
                let later = world.now.as_micros() / 1_000_000 + random.below(60);
                world.wait_until(later);
            }
        }
        let (connected, granted) = world.held();
        assert_eq!(connected, open.len());
        assert!(connected + granted <= 4);
        for subnet in world.subnets() {
            assert!(subnet.connected + subnet.granted <= 2, "{subnet:?}");
        }
        most = (most.0.max(connected), most.1.max(connected + granted));
    }
    assert_eq!(most, (4, 4), "the caps were reached");
}

#[test]
fn a_relay_that_grants_none_says_why() {
    let mut client = direct("10.0.0.1");
    let mut root = world_of(|settings, _| settings.role = Role::Root);
    assert_eq!(root.verdict(&mut client), "root");
    assert_eq!(root.connect(&client, 1), Err(ConnectRefusal::Root));
    let mut client = direct("10.0.0.1");
    let mut disabled = world_of(|settings, _| settings.persistent_connections = false);
    assert_eq!(disabled.verdict(&mut client), "disabled");
    assert_eq!(disabled.connect(&client, 1), Err(ConnectRefusal::Disabled));
    let mut client = direct("10.0.0.1");
    client.wish = false;
    let mut world = world();
    assert_eq!(world.verdict(&mut client), "not_asked");
    assert_eq!(world.connect(&client, 1), Err(ConnectRefusal::NotGranted));
    let gone = world.registry.may_connect(Key::new(7, 7));
    assert_eq!(gone, Err(ConnectRefusal::Unknown));
}

#[test]
fn p1_test_notifications_go_out_after_1_10_and_20_seconds() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    world.register(&mut client);
    world.prove(&mut client);
    let told = world.wait_until(100);
    let tests = tests_of(&told, &client);
    let times: Vec<_> = tests.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [1, 10, 20]);
    assert!(
        tests
            .iter()
            .all(|(_, nonce)| *nonce == tests[0].1 && *nonce != 0)
    );
    assert_eq!(told.len(), 3);
    assert_eq!(world.connect(&client, 1), Ok(None), "none was heard of");
}

#[test]
fn p1_who_takes_no_datagrams_is_not_tested() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    client.udp_port = 0;
    assert!(world.register(&mut client).granted);
    world.prove(&mut client);
    assert_eq!(world.wait_until(100), []);
    assert_eq!(world.connect(&client, 1), Ok(None));
}

#[test]
fn tests_that_were_missed_are_one() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    world.register(&mut client);
    world.now = Instant::ORIGIN + Duration::from_secs(15);
    world.registry.handle_timeout(world.now);
    let times: Vec<_> = tests_of(&world.wait_until(50), &client)
        .iter()
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(times, [15, 20]);
}

#[test]
fn p1_a_proof_that_datagrams_arrive_releases_the_grant() {
    let mut world = world_of(|settings, _| settings.connections_per_subnet_max = 1);
    let (mut one, mut two) = (direct("10.0.0.1"), direct("10.0.0.2"));
    world.register(&mut one);
    assert_eq!(world.verdict(&mut two), "subnet_cap");
    let (_, nonce) = tests_of(&world.wait_until(1), &one)[0];
    let now = world.now;
    let wrong = [(&one, nonce ^ 1), (&one, 0), (&two, nonce)];
    for (client, nonce) in wrong {
        assert!(!world.registry.handle_test_proof(now, client.key(), nonce));
    }
    assert_eq!(world.held(), (0, 1));
    assert!(world.registry.handle_test_proof(now, one.key(), nonce));
    assert_eq!(world.held(), (0, 0));
    assert!(world.record(&one).is_udp_proven());
    assert_eq!(world.connect(&one, 1), Err(ConnectRefusal::UdpProven));
    assert_eq!(tests_of(&world.wait_until(50), &one), [], "no more of them");
    assert_eq!(world.verdict(&mut two), "granted");
    // The proof was for the address that it was sent to.
    one.observed = ip("192.0.2.1");
    world.register(&mut one);
    assert!(!world.record(&one).is_udp_proven());
}

#[test]
fn p2_a_grant_ends_with_the_last_attempt() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    let verdict = world.register(&mut client);
    world.prove(&mut client);
    assert_eq!((verdict.wait_ms, verdict.valid_ms), (60_000, 680_000));
    world.wait_until(680);
    assert_eq!(world.registry.may_connect(client.key()), Ok(()));
    let told = world.wait_until(700);
    let ended = RegistryEffect::GrantEnded {
        client: client.key(),
    };
    assert_eq!(told, [(690, ended)]);
    assert_eq!(world.connect(&client, 1), Err(ConnectRefusal::GrantEnded));
    assert_eq!(world.held(), (0, 0));
    assert!(world.register(&mut client).granted);
    assert_eq!(world.connect(&client, 1), Ok(None));
}

#[test]
fn a_grant_is_used_up_by_its_connection() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    world.register(&mut client);
    assert_eq!(world.connect(&client, 1), Ok(None));
    assert_eq!(
        world.connect(&client, 2),
        Ok(Some(conn(1))),
        "in its own place"
    );
    assert!(!world.registry.handle_disconnected(client.key(), conn(1)));
    assert_eq!(world.registry.connection(client.key()), Some(conn(2)));
    assert!(world.registry.handle_disconnected(client.key(), conn(2)));
    assert_eq!(world.connect(&client, 3), Err(ConnectRefusal::NotGranted));
}

#[test]
fn a_connected_client_that_is_granted_anew_counts_as_one() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    world.register(&mut client);
    assert_eq!(world.connect(&client, 1), Ok(None));
    assert_eq!(world.verdict(&mut client), "granted");
    assert_eq!(world.held(), (1, 0));
    assert_eq!(releases(&world.wait_until(30)), [], "the old one serves");
    assert_eq!(world.connect(&client, 2), Ok(Some(conn(1))));
    assert_eq!(world.verdict(&mut client), "granted");
    // A grant that is not used leaves the connection as it is.
    assert_eq!(releases(&world.wait_until(2_000)), []);
    assert_eq!(world.held(), (1, 0));
    // One that is lost meanwhile leaves the grant.
    assert_eq!(world.verdict(&mut client), "granted");
    assert!(world.registry.handle_disconnected(client.key(), conn(2)));
    assert_eq!(world.held(), (0, 1));
    assert_eq!(world.connect(&client, 3), Ok(None));
}

#[test]
fn a_verdict_of_no_ends_the_connection_which_counts_until_it_is_gone() {
    let mut world = world_of(|settings, _| settings.connections_per_subnet_max = 1);
    let (mut one, mut two) = (direct("10.0.0.1"), direct("10.0.0.2"));
    world.register(&mut one);
    assert_eq!(world.connect(&one, 1), Ok(None));
    one.wish = false;
    for _ in 0..2 {
        assert_eq!(world.verdict(&mut one), "not_asked");
    }
    let released = [(conn(1), ReleaseReason::Denied)];
    assert_eq!(releases(&world.wait_until(1)), released, "once");
    assert_eq!(world.connect(&one, 2), Err(ConnectRefusal::NotGranted));
    assert_eq!(world.verdict(&mut two), "subnet_cap");
    assert!(world.registry.handle_disconnected(one.key(), conn(1)));
    assert_eq!(world.verdict(&mut two), "granted");
}

#[test]
fn a_client_that_moves_counts_where_it_was_until_it_is_granted_anew() {
    let mut world = world_of(|settings, _| settings.connections_per_subnet_max = 1);
    let (mut one, mut two) = (direct("10.0.1.1"), direct("10.0.2.2"));
    for (client, number) in [(&mut one, 1), (&mut two, 2)] {
        world.register(client);
        assert_eq!(world.connect(client, number), Ok(None));
    }
    let home = one.clone();
    one.observed = ip("10.0.2.1");
    one.interfaces[0].address = one.observed;
    assert_eq!(world.verdict(&mut one), "subnet_cap");
    assert_eq!(
        releases(&world.wait_until(1)),
        [(conn(1), ReleaseReason::Denied)]
    );
    assert_eq!(world.subnet(&two).connected, 1);
    let mut third = direct("10.0.1.3");
    assert_eq!(
        world.verdict(&mut third),
        "subnet_cap",
        "it is not closed yet"
    );
    assert!(world.registry.handle_disconnected(home.key(), conn(1)));
    assert_eq!(world.verdict(&mut third), "granted");
}

#[test]
fn p4_datagrams_that_arrive_end_an_open_connection_without_a_loop() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    world.register(&mut client);
    assert_eq!(world.connect(&client, 1), Ok(None));
    assert_eq!(world.verdict(&mut client), "granted");
    let (_, nonce) = tests_of(&world.wait_until(1), &client)[0];
    assert!(
        world
            .registry
            .handle_test_proof(world.now, client.key(), nonce)
    );
    let released = [(conn(1), ReleaseReason::UdpProven)];
    assert_eq!(releases(&world.wait_until(2)), released);
    assert_eq!(world.connect(&client, 2), Err(ConnectRefusal::UdpProven));
    assert!(world.registry.handle_disconnected(client.key(), conn(1)));
    assert_eq!(world.held(), (0, 0));
    assert_eq!(world.connect(&client, 3), Err(ConnectRefusal::UdpProven));
}

#[test]
fn an_open_connection_keeps_its_client() {
    let mut world = world();
    let mut client = direct("10.0.0.1");
    world.register(&mut client);
    world.prove(&mut client);
    assert_eq!(world.connect(&client, 1), Ok(None));
    world.wait_until(300_000);
    assert_eq!(world.registry.len(), 1);
    assert!(world.registry.handle_disconnected(client.key(), conn(1)));
    world.wait_until(400_000);
    assert!(world.registry.is_empty());
}
