//! Where a client is.

use super::*;
use alloc::vec;

fn name(qualifier: Qualifier, network: &str) -> SubnetName {
    SubnetName {
        qualifier,
        network: network.parse().unwrap(),
    }
}

#[track_caller]
fn check(world: &mut World, mut client: Client, expected: SubnetName, servable: bool) {
    world.register(&mut client);
    assert_eq!(world.subnet(&client).name, expected);
    let local = client
        .interfaces
        .first()
        .map(|own| own.address.to_canonical());
    let local = local.map(|local| SocketAddr::new(local, client.udp_port));
    let told = world.record(&client).local_address();
    assert_eq!(told, local.filter(|_| servable));
}

#[test]
fn nat_sites_with_equal_private_addresses_never_share_a_subnet() {
    let mut world = world();
    let outer = ["192.0.2.1", "198.51.100.1"];
    let clients = outer.map(|outer| {
        ["192.168.1.5", "192.168.1.6"].map(|inner| {
            let mut client = behind(outer, inner);
            world.register(&mut client);
            client
        })
    });
    assert_eq!(world.registry.subnets_len(), 2);
    for (outer, clients) in outer.iter().zip(&clients) {
        let subnet = world.subnet(&clients[0]);
        assert_eq!(
            subnet.name,
            name(Qualifier::Behind(ip(outer)), "192.168.1.0/24")
        );
        assert_eq!(subnet.clients, 2);
        let members = world.walk(subnet.key);
        assert_eq!(members, [clients[1].key(), clients[0].key()]);
    }
}

#[test]
fn a_client_seen_with_its_own_address_needs_no_qualifier() {
    let mut world = world();
    let subnet = name(Qualifier::Direct, "10.0.0.0/24");
    check(&mut world, direct("10.0.0.5"), subnet, true);
    // Whatever it says about its end: what the relay saw is beyond doubt.
    let mut odd = direct("10.0.0.6");
    odd.local = Some(ip("10.9.9.9"));
    check(&mut world, odd, subnet, true);
    let mut old = direct("10.0.0.7");
    old.local = None;
    check(&mut world, old, subnet, true);
    let mut mapped = direct("10.0.0.8");
    mapped.observed = ip("::ffff:10.0.0.8");
    mapped.interfaces[0] = Interface {
        address: ip("::ffff:10.0.0.8"),
        prefix: 120,
    };
    check(&mut world, mapped, subnet, true);
    assert_eq!(world.registry.subnets_len(), 1);
    let six = name(Qualifier::Direct, "2001:db8::/64");
    check(&mut world, direct("2001:db8::5"), six, true);
}

#[test]
fn the_end_of_the_connection_picks_the_interface() {
    let mut world = world();
    let mut client = behind("192.0.2.1", "192.168.1.5");
    client.interfaces.push(Interface {
        address: ip("10.8.0.5"),
        prefix: 16,
    });
    client.local = Some(ip("10.8.0.5"));
    world.register(&mut client);
    let expected = name(Qualifier::Behind(ip("192.0.2.1")), "10.8.0.0/16");
    assert_eq!(world.subnet(&client).name, expected);
    let local = world.record(&client).local_address();
    assert_eq!(local, Some("10.8.0.5:52311".parse().unwrap()));
    client.udp_port = 0;
    world.register(&mut client);
    assert_eq!(world.record(&client).local_address(), None, "it takes none");
    assert_eq!(world.record(&client).udp_address(), None);
}

#[test]
fn without_a_fitting_interface_a_client_is_alone_and_not_served() {
    let mut world = world();
    let alone = name(Qualifier::Behind(ip("192.0.2.1")), "192.0.2.1/32");
    let mut silent = behind("192.0.2.1", "192.168.1.5");
    silent.local = None;
    check(&mut world, silent.clone(), alone, false);
    silent.local = Some(ip("192.168.1.6"));
    check(&mut world, silent.clone(), alone, false);
    silent.interfaces.clear();
    check(&mut world, silent, alone, false);
}

#[test]
fn some_addresses_never_make_a_subnet() {
    let mut world = world();
    let alone = name(Qualifier::Behind(ip("192.0.2.1")), "192.0.2.1/32");
    for unfit in [
        "169.254.7.7",
        "fe80::7",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "127.0.0.1",
        "::1",
        "::ffff:169.254.7.7",
    ] {
        check(&mut world, behind("192.0.2.1", unfit), alone, false);
    }
    let link = name(Qualifier::Behind(ip("fe80::7")), "fe80::7/128");
    check(&mut world, direct("fe80::7"), link, false);
}

#[test]
fn loopback_is_a_subnet_for_who_is_there() {
    let mut world = world();
    let mut client = direct("127.0.0.1");
    client.interfaces[0].prefix = 8;
    check(
        &mut world,
        client,
        name(Qualifier::Direct, "127.0.0.0/8"),
        true,
    );
    let mut other = direct("::1");
    other.interfaces[0].prefix = 128;
    check(&mut world, other, name(Qualifier::Direct, "::1/128"), true);
}

#[test]
fn a_site_takes_the_place_of_the_qualifier() {
    let site = |name: &str, networks: &[&str]| Site {
        name: name.into(),
        networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
    };
    let mut world = world_of(|settings, _| {
        settings.sites = vec![
            site("north", &["192.0.2.0/25", "10.0.0.0/8"]),
            site("south", &["192.0.2.128/25"]),
        ];
    });
    let mut clients = [
        behind("192.0.2.1", "192.168.1.5"),
        behind("192.0.2.2", "192.168.1.6"),
        behind("192.0.2.3", "192.168.2.6"),
        direct("10.1.1.1"),
        behind("192.0.2.200", "192.168.1.5"),
        behind("203.0.113.1", "192.168.1.5"),
    ];
    for client in &mut clients {
        world.register(client);
    }
    let [one, two, other, seen, south, nowhere] = &clients;
    let north = name(Qualifier::Site(0), "192.168.1.0/24");
    assert_eq!(world.subnet(one).name, north);
    assert_eq!(world.subnet(one).key, world.subnet(two).key);
    assert_eq!(
        world.registry.find_subnet(north),
        Some(world.subnet(one).key)
    );
    assert_eq!(
        world.subnet(seen).name,
        name(Qualifier::Site(0), "10.1.1.0/24")
    );
    assert_eq!(
        world.subnet(south).name,
        name(Qualifier::Site(1), "192.168.1.0/24")
    );
    assert_eq!(world.record(nowhere).site(), None);
    let members = |world: &mut World, site| {
        let at_site = |subnet: &Subnet| subnet.name.qualifier == Qualifier::Site(site);
        let subnets: Vec<_> = world.subnets().filter(at_site).collect();
        let members = subnets.iter().flat_map(|subnet| world.walk(subnet.key));
        let mut members: Vec<_> = members.collect();
        members.sort();
        assert_eq!(members.len(), world.registry.clients_at_site(site));
        members
    };
    let north = [one, two, other, seen].map(Client::key);
    assert_eq!(members(&mut world, 0), north);
    assert_eq!(members(&mut world, 1), [south.key()]);
    assert_eq!(members(&mut world, 2), []);
    // A client that moves is where it is now, and nowhere else.
    let mut moved = one.clone();
    moved.observed = ip("192.0.2.201");
    world.register(&mut moved);
    assert_eq!(members(&mut world, 0), north[1..]);
    assert_eq!(members(&mut world, 1).len(), 2);
    assert_eq!(world.record(&moved).site(), Some(1));
    assert_eq!(world.subnets().count(), world.registry.subnets_len());
}
