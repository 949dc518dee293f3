//! Datagrams that are passed on to the subnet.

use core::net::SocketAddr;

use super::*;
use crate::Close;
use crate::registration::Interface;
use crate::wire::datagram::{Content, Fanout};
use crate::wire::message::{Ping, ServeWriter};
use crate::wire::proof::SessionKey;

const KEY: SessionKey = SessionKey([8; 32]);
const OTHER: ClientId = ClientId([7; 16]);

const CONTENT: Content<'static> = Content::Notification(Notification {
    id: nth(1),
    lifetime_s: 60,
    reply_window_ms: 0,
    payload: b"for others",
});

fn serve(sequence: u32, targets: impl IntoIterator<Item = SocketAddr>) -> Vec<u8> {
    let mut buf = alloc::vec![0; 65_536];
    let mut writer = ServeWriter::new(&mut buf, &CONTENT);
    let fanout = Fanout::new(&CONTENT);
    for target in targets {
        assert!(writer.push(target, OTHER, 1, fanout.mac(OTHER, 1, &KEY)));
    }
    let len = writer.finish(sequence).unwrap();
    buf.truncate(len);
    buf
}

fn host(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 52_311))
}

/// A client in 10.0.0.0/24, as `connected` has it, with its connection.
fn peer(prefix: u8, datagrams_per_second_max: u32) -> (Rig<Client>, ConnId) {
    let mut settings = settings();
    let address = "10.0.0.9".parse().unwrap();
    settings.interfaces = alloc::vec![Interface { address, prefix }];
    settings.udp_port = 52_311;
    settings.datagrams_per_second_max = datagrams_per_second_max;
    let mut rig = registered(client_with(settings, Limits::default()), true);
    let conn = connected(&mut rig);
    rig.written(conn);
    rig.feed(conn, SWITCHING);
    rig.feed(conn, &hello(3, 65_600));
    rig.told();
    (rig, conn)
}

#[test]
fn p3_each_datagram_is_sent_once_as_the_relay_sealed_it_and_confirmed() {
    let (mut rig, conn) = peer(24, 1_000);
    rig.feed_split(conn, &serve(1, [host(1), host(2), host(1)]));
    let mut sealed = [0; 100];
    let fanout = Fanout::new(&CONTENT);
    let len = fanout.encode(&CONTENT, OTHER, 1, &KEY, &mut sealed);
    let sealed = &sealed[..len.unwrap()];
    let expected = [host(1), host(2), host(1)].map(|to| (to, sealed.to_vec()));
    assert_eq!(rig.datagrams, expected);
    assert_eq!(said(&mut rig, conn), [Said::Served(1, 0)]);
    assert_eq!(rig.endpoint.stats().served, 3);
}

#[test]
fn p6_only_hosts_of_the_own_subnet_are_sent_to_and_what_is_refused_is_counted() {
    let (mut rig, conn) = peer(24, 1_000);
    let wrong = [
        ("10.0.1.1:52311", "outside"),
        ("8.8.8.8:53", "outside"),
        ("[fd00::1]:52311", "outside"),
        ("10.0.0.255:52311", "broadcast"),
        ("255.255.255.255:52311", "outside"),
        ("224.0.0.251:5353", "multicast"),
        ("10.0.0.1:0", "port"),
        ("0.0.0.0:52311", "unspecified"),
        ("127.0.0.1:52311", "loopback"),
        ("10.0.0.9:52311", "itself"),
    ];
    let targets = wrong.map(|(target, _)| target.parse().unwrap());
    rig.feed(conn, &serve(1, targets.into_iter().chain([host(4)])));
    let sent: Vec<SocketAddr> = rig.datagrams.iter().map(|(to, _)| *to).collect();
    assert_eq!(sent, [host(4)]);
    assert_eq!(said(&mut rig, conn), [Said::Served(1, 10)]);
    let refused = &rig.endpoint.stats().serves_refused;
    assert_eq!(refused.total(), 10);
    assert!(wrong.iter().all(|(_, reason)| refused.get(reason) > 0));
}

#[test]
fn p6_an_end_that_is_none_of_the_stated_interfaces_sends_nothing() {
    let (mut rig, conn) = with_line(Limits::default());
    rig.feed(conn, &serve(5, [host(1), host(2)]));
    assert!(rig.datagrams.is_empty());
    assert_eq!(said(&mut rig, conn), [Said::Served(5, 2)]);
    assert_eq!(rig.endpoint.stats().serves_refused.get("no_network"), 2);
}

#[test]
fn p6_loopback_is_sent_to_from_loopback() {
    let mut settings = settings();
    let address = "127.0.0.1".parse().unwrap();
    let prefix = 8;
    settings.interfaces = alloc::vec![Interface { address, prefix }];
    let mut rig = registered(client_with(settings, Limits::default()), true);
    let (conn, ..) = rig.connects.remove(0);
    let local = "127.0.0.1:4000".parse().unwrap();
    let peer = "127.0.0.1:52311".parse().unwrap();
    rig.tell(Input::Connected { conn, local, peer });
    rig.feed(conn, SWITCHING);
    rig.feed(conn, &hello(3, 65_600));
    rig.written(conn);
    let near = "127.0.0.1:4001".parse().unwrap();
    rig.feed(conn, &serve(1, [near, host(1)]));
    assert_eq!(rig.datagrams.len(), 1);
    assert_eq!(rig.datagrams[0].0, near);
    assert_eq!(said(&mut rig, conn), [Said::Served(1, 1)]);
}

#[test]
fn datagrams_leave_at_a_rate_and_no_frame_is_taken_before_the_last_is_done() {
    let (mut rig, conn) = peer(24, 10);
    let start = rig.now;
    rig.feed(conn, &serve(1, (1..=5).map(host)));
    rig.feed(conn, &serve(2, (11..=15).map(host)));
    rig.feed(conn, &frame(ToClient::Ping(Ping { nonce: 3 })));
    assert_eq!(rig.datagrams.len(), 1, "a burst of a tenth of a second");
    assert_eq!(said(&mut rig, conn), []);
    rig.wait(400 * SECOND / 1_000);
    assert_eq!(rig.datagrams.len(), 5);
    assert_eq!(said(&mut rig, conn), [Said::Served(1, 0)]);
    assert_eq!(rig.wire(conn).held.len(), 20, "only the ping is left");
    rig.wait(500 * SECOND / 1_000);
    assert_eq!(rig.datagrams.len(), 10);
    assert_eq!(
        said(&mut rig, conn),
        [Said::Served(2, 0), Said::Pong(3)],
        "and then the rest"
    );
    assert_eq!(rig.now, start + 900 * SECOND / 1_000);
}

#[test]
fn a_confirmation_waits_until_the_relay_takes_bytes() {
    let (mut rig, conn) = peer(24, 0);
    rig.wire(conn).blocks = true;
    rig.feed(conn, &frame(ToClient::Ping(Ping { nonce: 3 })));
    rig.feed(conn, &serve(1, [host(1)]));
    rig.feed(conn, &serve(2, [host(2)]));
    assert_eq!(rig.datagrams.len(), 1, "one frame at a time");
    rig.writable(conn);
    assert_eq!(rig.datagrams.len(), 2);
    assert_eq!(
        said(&mut rig, conn),
        [Said::Pong(3), Said::Served(1, 0), Said::Served(2, 0)]
    );
}

#[test]
fn a_line_that_is_lost_takes_its_frame_with_it() {
    let (mut rig, conn) = peer(24, 10);
    rig.feed(conn, &serve(1, (1..=200).map(host)));
    rig.closed(conn, CloseReason::Reset);
    let sent = rig.datagrams.len();
    rig.wait(10 * SECOND);
    assert_eq!(rig.datagrams.len(), sent);

    let (mut rig, conn) = peer(24, 10);
    rig.feed(conn, &serve(1, (1..=200).map(host)));
    let now = rig.now;
    rig.endpoint.stop(now);
    rig.poll();
    assert_eq!(said(&mut rig, conn), [Said::Bye("shutting down")]);
    assert_eq!(rig.wire(conn).closed, Some(Close::Finish));
    assert_eq!(rig.datagrams.len(), 1);
}

#[test]
fn p9_a_frame_for_the_subnet_before_the_hello_is_a_fault() {
    let mut rig = registered(client(), true);
    let conn = connected(&mut rig);
    rig.written(conn);
    rig.feed(conn, SWITCHING);
    rig.feed(conn, &serve(1, [host(1)]));
    assert!(rig.datagrams.is_empty());
    assert_eq!(said(&mut rig, conn), [Said::Bye("protocol error")]);
}
