//! Datagrams in batches, and deadlines.

use std::net::UdpSocket;
use std::time::Duration;

use tautline_core::{Input, Instant};
use tautline_mio::driver::Config;

use crate::support::{Act, PATIENCE, loopback, stage, stage_with};

fn config() -> Config {
    Config {
        datagrams: vec![loopback()],
        ..Config::default()
    }
}

#[test]
fn each_datagram_is_answered_with_five() {
    let mut stage = stage_with(config(), |desk, _, input| {
        if let Input::Datagram { from, bytes } = input {
            for number in 0..5 {
                let mut answer = bytes.to_vec();
                answer.push(number);
                desk.act(Act::Datagram(from, answer));
            }
        }
        0
    });
    let address = stage.driver.datagram_addrs().next().unwrap();
    let answers = stage.with_peer(move |_| {
        let peer = UdpSocket::bind(loopback()).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        for number in 0..20_u8 {
            peer.send_to(&[number], address).unwrap();
        }
        let mut answers: Vec<_> = (0..100)
            .map(|_| {
                let mut answer = [0; 3];
                assert_eq!(peer.recv(&mut answer).unwrap(), 2);
                (answer[0], answer[1])
            })
            .collect();
        answers.sort_unstable();
        answers
    });
    let expected: Vec<_> = (0..20).flat_map(|a| (0..5).map(move |b| (a, b))).collect();
    assert_eq!(answers, expected);
    let statistics = stage.driver.statistics();
    assert_eq!(
        (statistics.datagrams_received, statistics.datagrams_sent),
        (20, 100)
    );
}

#[test]
fn what_cannot_be_sent_is_counted() {
    let mut stage = stage_with(config(), |_, _, _| 0);
    stage.driver.command(|toy, _| {
        let ipv6 = std::net::SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9));
        toy.desk
            .act(Act::Datagram(ipv6, b"no socket of its family".to_vec()));
        let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        toy.desk.act(Act::Datagram(nowhere, b"port 0".to_vec()));
    });
    stage.until(|stage| stage.driver.statistics().datagrams_dropped.total() == 2);
    let dropped = stage.driver.statistics().datagrams_dropped;
    assert_eq!((dropped.no_socket, dropped.send_failed), (1, 1));
}

#[test]
fn what_a_full_queue_does_not_take_is_counted_apart() {
    let mut config = config();
    config.limits.datagrams_waiting_max = 0;
    let mut stage = stage_with(config, |_, _, _| 0);
    stage.driver.command(|toy, _| {
        let to = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        toy.desk.act(Act::Datagram(to, b"no room".to_vec()));
    });
    stage.until(|stage| stage.driver.statistics().datagrams_dropped.total() == 1);
    let dropped = stage.driver.statistics().datagrams_dropped;
    assert_eq!(dropped.queue_full, 1);
}

#[test]
fn a_deadline_wakes_the_endpoint_and_not_before() {
    let mut woken = Vec::new();
    let mut stage = stage(|desk, now, input| {
        if input == Input::Timeout {
            woken.push((desk.deadline.take(), now));
        }
        0
    });
    let mut deadline = Instant::ORIGIN;
    stage.driver.command(|toy, now| {
        deadline = now + Duration::from_micros(20_500);
        toy.desk.deadline = Some(deadline);
    });
    stage.until(|stage| stage.driver.endpoint().desk.deadline.is_none());
    drop(stage);
    assert_eq!(woken.len(), 1);
    assert_eq!(woken[0].0, Some(deadline));
    assert!(woken[0].1 >= deadline);
}
