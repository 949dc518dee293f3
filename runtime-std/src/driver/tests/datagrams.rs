//! Datagrams over both kinds of sockets.

use super::*;
use std::net::{IpAddr, Ipv6Addr};

fn bind(ip: impl Into<IpAddr>) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((ip.into(), 0)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn datagrams_come_and_go() {
    let (socket, own) = bind(Ipv4Addr::LOCALHOST);
    let (other, other_address) = bind(Ipv4Addr::LOCALHOST);
    let mut bench = Bench::with(None, vec![socket], DriverLimits::default());
    bench.want(Want::Datagram(other_address, b"to you".to_vec()));
    // What is of no use to the endpoint is handed in as well: it counts it.
    let sizes = [1_024, 0, 65_507, 1];
    for size in sizes {
        other.send_to(&pattern(size), own).unwrap();
    }
    let arrived = |size| Fact::Datagram(other_address, pattern(size));
    bench.run_until(&arrived(1));
    assert_eq!(bench.facts, sizes.map(arrived));
    let mut buf = [0; 10];
    assert_eq!(other.recv(&mut buf).unwrap(), 6);

    drop(bench);
    // The thread has let go of the socket.
    let mut rebound = UdpSocket::bind(own);
    while rebound.is_err() {
        thread::yield_now();
        rebound = UdpSocket::bind(own);
    }
}

#[test]
fn a_datagram_leaves_by_the_socket_of_its_family() {
    let (socket, own) = bind(Ipv4Addr::LOCALHOST);
    let (other, other_address) = bind(Ipv4Addr::LOCALHOST);
    let Ok(socket6) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else {
        println!("skipped: no IPv6 here");
        return;
    };
    let own6 = socket6.local_addr().unwrap();
    let (other6, other6_address) = bind(Ipv6Addr::LOCALHOST);
    let IpAddr::V4(ip) = other_address.ip() else {
        panic!("{other_address}");
    };
    let mapped = SocketAddr::from((ip.to_ipv6_mapped(), other_address.port()));

    let mut bench = Bench::with(None, vec![socket, socket6], DriverLimits::default());
    for to in [other6_address, other_address, mapped] {
        bench.want(Want::Datagram(to, b"hello".to_vec()));
    }
    other6.send_to(b"six", own6).unwrap();
    bench.run_until(&Fact::Datagram(other6_address, b"six".to_vec()));
    let mut buf = [0; 10];
    assert_eq!(other6.recv_from(&mut buf).unwrap(), (5, own6));
    for _ in 0..2 {
        assert_eq!(other.recv_from(&mut buf).unwrap(), (5, own));
    }
}

#[test]
fn a_datagram_without_a_socket_for_it_is_lost() {
    let mut bench = Bench::new();
    let (_other, address) = bind(Ipv4Addr::LOCALHOST);
    bench.want(Want::Datagram(address, b"lost".to_vec()));
    bench.want(Want::Load("nothing"));
    bench.run_until(&Fact::StoreFailed(1, StoreError::NotFound));
    assert_eq!(bench.facts.len(), 1);
}
