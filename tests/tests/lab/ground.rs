//! The ground that the story stands on: what the lab's routers do, without any
//! program of ours.

use std::io::{ErrorKind, Read, Write};

use tautline_tests::lab::{Host, Lab, PORT};
use tautline_tests::wait_for;

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
