//! Accepting when there is no room: the endpoint is full, or descriptors are.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::support::{Nothing, connect, echo, exchange, stage};

#[test]
fn what_a_full_endpoint_has_no_room_for_waits_until_a_connection_closes() {
    let mut stage = stage(|desk, _, input| echo(desk, input));
    stage
        .driver
        .command(|toy, _| toy.desk.connections_max = Some(2));
    let first = connect(stage.address);
    let second = connect(stage.address);
    stage.until(|stage| stage.driver.statistics().accepted == 2);
    let third = connect(stage.address);
    let fourth = connect(stage.address);
    stage.until(|stage| stage.driver.statistics().accept_pauses_full > 0);
    assert_eq!(stage.driver.statistics().connections, 2);
    drop((first, second));
    for waiting in [third, fourth] {
        let answer = stage.with_peer(move |_| exchange(waiting, b"in the end"));
        assert_eq!(answer, b"in the end");
    }
    let statistics = stage.driver.statistics();
    assert_eq!((statistics.accepted, statistics.refused.total()), (4, 0));
}

#[test]
fn a_driver_that_stops_listening_serves_what_is_open() {
    let mut stage = stage(|desk, _, input| echo(desk, input));
    let open = connect(stage.address);
    stage.until(|stage| stage.driver.statistics().accepted == 1);
    stage.driver.stop_listening();
    // The port may be another program's by now.
    let late = std::net::TcpStream::connect(stage.address);
    let answer = stage.with_peer(move |_| exchange(open, b"still"));
    assert_eq!(answer, b"still");
    assert_eq!(stage.driver.statistics().accepted, 1);
    drop(late);
}

/// Descriptors of the child process that is to run out of them.
const DESCRIPTORS: u64 = 40;

/// Run by the test below in a process of its own: the limit is the process's.
#[test]
#[ignore = "the child process of another test"]
fn child_with_few_descriptors() {
    let mut stage = stage(|desk, _, input| echo(desk, input));
    let limit = Some(DESCRIPTORS);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )
    .unwrap();
    println!("address {}", stage.address);
    let parent = std::thread::spawn(|| std::io::stdin().read(&mut [0; 1]));
    while !parent.is_finished() {
        let nap = Some(std::time::Duration::from_millis(5));
        stage.driver.turn(&mut Nothing, nap).unwrap();
    }
    let statistics = stage.driver.statistics();
    println!("pauses {}", statistics.accept_pauses_exhausted);
    println!("turns {}", statistics.turns);
}

#[test]
fn running_out_of_descriptors_delays_connections_and_loses_none() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "accepting::child_with_few_descriptors"])
        .args(["--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The test harness writes its own text before, without a line's end.
    let mut after = |word: &str| {
        lines
            .find_map(|line| Some(line.unwrap().split_once(word)?.1.to_owned()))
            .unwrap()
    };
    let address = after("address ").parse().unwrap();
    let early: Vec<_> = (0..100).map(|_| connect(address)).collect();
    let mut served = 0;
    for mut peer in early {
        // In the order of the backlog: each that ends makes room for another.
        peer.write_all(b"ping").unwrap();
        let mut answer = [0; 4];
        peer.read_exact(&mut answer).unwrap();
        served += usize::from(&answer == b"ping");
    }
    assert_eq!(served, 100);
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    assert_ne!(after("pauses ").parse::<u64>().unwrap(), 0);
    assert!(
        after("turns ").parse::<u64>().unwrap() < 100_000,
        "a hot loop"
    );
    assert!(child.wait().unwrap().success());
}
