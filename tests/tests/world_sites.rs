//! Sites of the simulated world: what their nodes see of each other and of
//! everyone else, and what they do not.

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tautline_core::ConnectError;
use tautline_tests::world::toys::{EchoClient, EchoServer, Probe, Sight};
use tautline_tests::world::{Climate, Fault, NatKind, NodeId, Scenario, World};

const PORT: u16 = 7;
const UDP_PORT: u16 = 52_311;

fn probe(world: &mut World, name: &str) -> NodeId {
    world.node(name, |_| Probe::default()).listening(PORT).id()
}

fn probe_behind(world: &mut World, name: &str, site: tautline_tests::world::SiteId) -> NodeId {
    let setup = world.node(name, |_| Probe::default()).behind(site);
    setup.listening(PORT).id()
}

fn private(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 168, 0, number).into()
}

/// Lets a node do something, and the world a minute.
fn let_do(world: &mut World, node: NodeId, what: impl FnOnce(&mut Probe)) {
    world
        .command(node, |probe: &mut Probe, _| what(probe))
        .expect("it runs");
    world.run_for(Duration::from_secs(60));
}

fn sights(world: &World, node: NodeId) -> Vec<Sight> {
    let probe = world.app::<Probe>(node).expect("it runs");
    probe.sights().to_vec()
}

#[test]
fn a_connection_out_of_a_site_is_seen_from_its_public_address() {
    let mut world = World::new(1, &Climate::calm());
    let relay = probe(&mut world, "relay");
    let sites = [NatKind::Closed, NatKind::Forwarding].map(|kind| world.site(kind));
    let clients = sites.map(|site| probe_behind(&mut world, &format!("{site:?}"), site));
    world.run_for(Duration::from_secs(1));
    for client in clients {
        let_do(&mut world, client, |probe| probe.connect("relay", PORT));
    }
    let seen = sights(&world, relay);
    let seen: Vec<IpAddr> = seen
        .iter()
        .map(|sight| match sight {
            Sight::Accepted(peer) => peer.ip(),
            sight => panic!("{sight:?}"),
        })
        .collect();
    assert_eq!(seen, sites.map(|site| world.public_address(site)));
    for client in clients {
        let [Sight::Connected(local, peer)] = sights(&world, client)[..] else {
            panic!("{:?}", sights(&world, client));
        };
        // Both sites use the same address.
        assert_eq!((local.ip(), peer.port()), (private(1), PORT));
    }
}

#[test]
fn inside_a_site_nodes_reach_each_other_at_their_private_addresses() {
    let mut world = World::new(2, &Climate::calm());
    let sites = [NatKind::Closed; 2].map(|kind| world.site(kind));
    let [here, there] = sites.map(|site| {
        [1, 2].map(|number| probe_behind(&mut world, &format!("{site:?}.{number}"), site))
    });
    world.run_for(Duration::from_secs(1));
    let neighbour = SocketAddr::new(private(2), UDP_PORT);
    let_do(&mut world, here[0], |probe| {
        probe.send(neighbour);
        probe.connect("192.168.0.2", PORT);
    });
    let seen = sights(&world, here[1]);
    assert_eq!(seen.len(), 2, "{seen:?}");
    for sight in seen {
        match sight {
            Sight::Datagram(from) => assert_eq!(from, SocketAddr::new(private(1), UDP_PORT)),
            Sight::Accepted(peer) => assert_eq!(peer.ip(), private(1)),
            sight => panic!("{sight:?}"),
        }
    }
    for node in there {
        assert_eq!(sights(&world, node), [], "another site has heard of it");
    }
    assert_eq!(sites.map(|site| world.kept_out(site)), [0, 0]);
}

#[test]
fn what_comes_to_a_closed_site_is_dropped_and_counted() {
    let mut world = World::new(3, &Climate::calm());
    let relay = probe(&mut world, "relay");
    let site = world.site(NatKind::Closed);
    let client = probe_behind(&mut world, "client", site);
    world.run_for(Duration::from_secs(1));
    // Not even an answer gets in.
    let relay_address = SocketAddr::new(Ipv4Addr::new(10, 0, 0, 1).into(), UDP_PORT);
    let_do(&mut world, client, |probe| probe.send(relay_address));
    let public = SocketAddr::new(world.public_address(site), UDP_PORT);
    assert_eq!(sights(&world, relay), [Sight::Datagram(public)]);
    let_do(&mut world, relay, |probe| {
        probe.send(public);
        probe.send(SocketAddr::new(private(1), UDP_PORT));
        probe.connect("client", PORT);
    });
    assert_eq!(sights(&world, client), []);
    assert_eq!((world.kept_out(site), world.sent_to_nobody()), (1, 1));
    let failed = Sight::ConnectFailed(ConnectError::TimedOut);
    assert_eq!(sights(&world, relay).last(), Some(&failed));
}

#[test]
fn a_forwarding_site_has_a_port_for_each_of_its_nodes() {
    let mut world = World::new(4, &Climate::calm());
    let relay = probe(&mut world, "relay");
    let site = world.site(NatKind::Forwarding);
    let nodes = [1, 2].map(|number| probe_behind(&mut world, &format!("node{number}"), site));
    world.run_for(Duration::from_secs(1));
    let relay_address = SocketAddr::new(Ipv4Addr::new(10, 0, 0, 1).into(), UDP_PORT);
    for node in nodes {
        let_do(&mut world, node, |probe| probe.send(relay_address));
    }
    let [Sight::Datagram(first), Sight::Datagram(second)] = sights(&world, relay)[..] else {
        panic!("{:?}", sights(&world, relay));
    };
    let public = world.public_address(site);
    assert_eq!((first.ip(), second.ip()), (public, public));
    assert_eq!(first.port(), UDP_PORT, "who comes first keeps its port");
    assert_ne!(second.port(), UDP_PORT);
    for (node, seen) in nodes.into_iter().zip([first, second]) {
        let_do(&mut world, relay, |probe| probe.send(seen));
        assert_eq!(sights(&world, node), [Sight::Datagram(relay_address)]);
    }
    let_do(&mut world, relay, |probe| {
        probe.send(SocketAddr::new(public, 9));
    });
    assert_eq!(world.kept_out(site), 1);
}

/// Clients of two sites with the same addresses, under every fault: who is
/// behind a forwarding router hears answers, who is behind a closed one does
/// not, and after the faults everyone is served.
fn play(world: &mut World) {
    let server = world.node("server", |boot| EchoServer::boot(&boot));
    let _server = server.listening(PORT).id();
    let sites = [NatKind::Closed, NatKind::Forwarding].map(|kind| world.site(kind));
    let clients = sites.map(|site| {
        [1, 2].map(|number| {
            let name = format!("{site:?}.{number}");
            let node = world.node(&name, |boot| EchoClient::boot(&boot, "server", PORT));
            node.behind(site).id()
        })
    });
    world.run_for(Duration::from_secs(120));
    world.calm();
    world.run_for(Duration::from_secs(1));
    let echoes = |world: &World, node| world.app::<EchoClient>(node).map_or(0, EchoClient::echoes);
    let everyone = clients.concat();
    let before: Vec<usize> = everyone.iter().map(|&node| echoes(world, node)).collect();
    let served = world.run_until(Duration::from_secs(300), |world| {
        let mut clients = everyone.iter().zip(&before);
        clients.all(|(&node, &before)| echoes(world, node) >= before + 2)
    });
    assert!(served, "a client is not served after the faults");
    world.run_for(Duration::from_secs(30));
    let pongs = |nodes: [NodeId; 2]| {
        nodes.map(|node| world.app::<EchoClient>(node).expect("it runs").pongs())
    };
    let [closed, forwarding] = clients;
    assert_eq!(pongs(closed), [0, 0]);
    assert!(world.kept_out(sites[0]) > 0);
    assert!(!pongs(forwarding).contains(&0), "{:?}", pongs(forwarding));
}

#[test]
fn behind_their_sites_everyone_is_served_after_the_faults() {
    let name = "behind_their_sites_everyone_is_served_after_the_faults";
    let Some(counts) = Scenario::new("world_sites", name).seeds(300).run(play) else {
        return;
    };
    counts.assert_struck(&[
        Fault::DatagramLost,
        Fault::DatagramRepeated,
        Fault::DatagramDelayed,
        Fault::PartitionOneWay,
        Fault::PartitionTwoWay,
        Fault::Clog,
        Fault::Swizzle,
    ]);
}
