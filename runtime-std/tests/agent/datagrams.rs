//! Datagrams reach the agent, on IPv4 and on IPv6.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use serde_json::Value;
use tautline_core::wire::datagram::{Content, DATAGRAM_BYTES_MAX, Fanout, Test};
use tautline_core::wire::message::Notification;
use tautline_core::wire::proof::{ClientSecret, Session, SessionKey};
use tautline_core::{ClientId, Incarnation, NotificationId};

use crate::process::{Agent, agent, log};
use crate::relay::{Relay, registered};

/// The first client that the relay of these tests enrols.
const CLIENT: ClientId = {
    let mut id = [0; 16];
    id[15] = 1;
    ClientId(id)
};

fn key(said: &Value) -> SessionKey {
    ClientSecret([1; 32]).session_key(&Session {
        client: CLIENT,
        registration: said["registration"].as_u64().unwrap(),
        incarnation: Incarnation(1),
        nonce: [2; 16],
    })
}

fn sealed(content: &Content<'_>, counter: u64, key: &SessionKey) -> Vec<u8> {
    let mut buf = vec![0; DATAGRAM_BYTES_MAX];
    let fanout = Fanout::new(content);
    let len = fanout.encode(content, CLIENT, counter, key, &mut buf);
    buf.truncate(len.unwrap());
    buf
}

fn notification(number: u64) -> Content<'static> {
    Content::Notification(Notification {
        id: NotificationId(1 << 32 | number),
        lifetime_s: 3_600,
        reply_window_ms: 0,
        payload: b"ping",
    })
}

/// A sender on loopback, and where the agent is for it.
fn sender(is_ipv6: bool, port: u16) -> Option<(UdpSocket, SocketAddr)> {
    let ip = if is_ipv6 {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    };
    let socket = UdpSocket::bind(SocketAddr::new(ip, 0)).ok()?;
    socket.set_nonblocking(true).unwrap();
    Some((socket, SocketAddr::new(ip, port)))
}

#[test]
fn p7_datagrams_are_taken_replied_to_by_tcp_and_counted_when_they_are_not_genuine() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let mut command = agent(&relay.address, data.path());
    let agent = Agent::start(command.args(["--udp-port", "0"]), data.path());
    let said = relay.admit(&[]);
    let key = key(&said);
    let port = u16::try_from(said["udp_port"].as_u64().unwrap()).unwrap();

    let (socket, to) = sender(false, port).unwrap();
    let mut too_long = sealed(&notification(1), 1, &key);
    too_long.resize(DATAGRAM_BYTES_MAX + 1, 0);
    let mut altered = sealed(&notification(1), 1, &key);
    *altered.last_mut().unwrap() ^= 1;
    for bytes in [&too_long, &altered, &vec![7; 65_507]] {
        socket.send_to(bytes, to).unwrap();
    }
    socket
        .send_to(&sealed(&notification(1), 1, &key), to)
        .unwrap();
    assert_eq!(relay.next_reply(), (1, "pong".to_owned()));

    let test = Content::Test(Test { nonce: 0xabcd });
    socket.send_to(&sealed(&test, 2, &key), to).unwrap();
    let proof = relay.expect("POST /v1/tests/000000000000abcd");
    proof.answer("204 No Content", "");

    let (socket6, to6) = match sender(true, port) {
        Some(pair) => pair,
        None => {
            println!("without IPv6 here");
            sender(false, port).unwrap()
        }
    };
    let genuine = sealed(&notification(2), 3, &key);
    socket6.send_to(&genuine, to6).unwrap();
    assert_eq!(relay.next_reply(), (2, "pong".to_owned()));

    // Nobody is ever answered by a datagram.
    for socket in [socket, socket6] {
        let answered = socket.recv(&mut [0; 10]).unwrap_err();
        assert_eq!(answered.kind(), ErrorKind::WouldBlock);
    }
    assert_eq!(agent.terminate().code(), Some(0));
    let log = log(data.path());
    let told = log.lines().find(|line| line.contains("datagrams since"));
    let told = told.unwrap();
    assert!(told.contains("taken=3"), "{told}");
    assert!(
        told.contains("dropped=\"too_long 1, forged 1, version 1\""),
        "{told}"
    );
}

#[test]
fn p7_what_became_of_datagrams_is_told_at_a_registration_if_it_is_news() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let mut command = agent(&relay.address, data.path());
    command.env("TAUTLINE_TIMERS_RETURN_WINDOW_MS", "0");
    let agent = Agent::start(command.args(["--udp-port", "0"]), data.path());
    let said = relay.admit(&[]);
    let port = u16::try_from(said["udp_port"].as_u64().unwrap()).unwrap();
    let (socket, to) = sender(false, port).unwrap();
    let genuine = sealed(&notification(1), 1, &key(&said));
    let mut altered = genuine.clone();
    *altered.last_mut().unwrap() ^= 1;
    socket.send_to(&altered, to).unwrap();
    socket.send_to(&genuine, to).unwrap();

    // The first registration has nothing to tell, the second has, the third has
    // nothing new.
    let mut registrations = 1;
    while registrations < 3 {
        let asked = relay.next();
        match asked.what.as_str() {
            "POST /v1/register" => {
                registrations += 1;
                asked.answer("200 OK", &registered(1, false));
            }
            _ => asked.answer("401 Unauthorized", ""),
        }
    }
    // It asks as one that is registered.
    relay.next();
    assert_eq!(agent.terminate().code(), Some(0));
    let log = log(data.path());
    let told = |line: &&str| line.contains(" registered ") || line.contains("datagrams since");
    let told: Vec<_> = log.lines().filter(told).collect();
    let news: Vec<_> = told.iter().map(|line| line.contains("forged 1")).collect();
    assert_eq!(news, [false, false, true, false, true], "{log}");
}
