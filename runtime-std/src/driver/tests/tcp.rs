//! Connections in clear.

use super::*;
use socket2::SockRef;

#[test]
fn what_is_sent_is_echoed_and_ends_in_order() {
    let sent = pattern(5_000_000);
    let expected = sent.clone();
    let peer = Peer::start(move |mut stream| {
        let mut writing = stream.try_clone().unwrap();
        let writer = thread::spawn(move || {
            writing.write_all(&sent).unwrap();
            writing.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut echoed = Vec::new();
        stream.read_to_end(&mut echoed).unwrap();
        assert!(echoed == expected);
        writer.join().unwrap();
    });
    let mut bench = Bench::connecting(&peer);
    bench.run(|toy, fact| {
        match fact {
            Fact::Received(bytes) => toy.want(Want::Write(bytes.clone())),
            // While it cannot write, it takes no more.
            Fact::Blocked => toy.allowance = 0,
            Fact::Writable => {
                toy.allowance = usize::MAX;
                toy.want(Want::Resume);
            }
            Fact::Eof => toy.want(Want::Close(Close::Finish)),
            _ => {}
        }
        break_if(matches!(fact, Fact::Closed(_)))
    });
    peer.join();
    assert_eq!(bench.facts.first(), Some(&Fact::Connected));
    assert_eq!(bench.facts.last(), Some(&Fact::Closed(CloseReason::Done)));
    let ends = bench.facts.iter().filter(|fact| **fact == Fact::Eof);
    assert_eq!(ends.count(), 1);
    assert_eq!(bench.received().len(), 5_000_000);
}

#[test]
fn a_peer_that_does_not_read_blocks_and_loses_nothing() {
    let (read_now, may_read) = channel::<()>();
    let (tell, told) = channel();
    let peer = Peer::start(move |mut stream| {
        may_read.recv().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        tell.send(all).unwrap();
    });
    let mut bench = Bench::connecting(&peer);
    let block = pattern(10_007);
    let mut written = 0;
    bench.run(|toy, fact| {
        // It goes on until it is blocked, with a fact to wake it each time.
        if matches!(fact, Fact::Connected | Fact::StoreFailed(..)) {
            toy.want(Want::Write(block.clone()));
            toy.want(Want::Load("nothing"));
            written += block.len();
        }
        break_if(*fact == Fact::Blocked)
    });
    read_now.send(()).unwrap();
    bench.run_until(&Fact::Writable);
    bench.want(Want::Write(b"the end".to_vec()));
    bench.want(Want::Close(Close::Finish));
    bench.run_until(&Fact::Closed(CloseReason::Done));
    peer.join();

    let mut expected = block.repeat(written / block.len());
    expected.extend(b"the end");
    assert!(told.recv().unwrap() == expected);
    let blocked = bench.facts.iter().filter(|fact| **fact == Fact::Blocked);
    assert_eq!(blocked.count(), 1);
}

#[test]
fn what_is_not_taken_is_offered_again() {
    let peer = Peer::start(|mut stream| {
        stream.write_all(&pattern(1_000)).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
    });
    let mut bench = Bench::connecting(&peer);
    bench.driver.endpoint().allowance = 0;
    let mut offers = 0;
    let mut total = 0;
    bench.run(|toy, fact| {
        match fact {
            Fact::Received(bytes) => {
                offers += 1;
                total += bytes.len();
                // One byte more with each offer.
                toy.allowance = 1;
                toy.want(Want::Resume);
                if total == 1_000 {
                    toy.want(Want::Close(Close::Finish));
                }
            }
            Fact::Connected => toy.allowance = 1,
            _ => {}
        }
        break_if(matches!(fact, Fact::Closed(_)))
    });
    peer.join();
    assert_eq!(bench.received(), pattern(1_000));
    assert!(offers >= 1_000, "{offers}");
}

#[test]
fn without_resume_nothing_is_offered() {
    let (tell, told) = channel();
    let peer = Peer::start(move |mut stream| {
        stream.write_all(b"one").unwrap();
        told.recv().unwrap();
        stream.write_all(b"two").unwrap();
        drop(stream);
    });
    let mut bench = Bench::connecting(&peer);
    bench.driver.endpoint().allowance = 2;
    bench.run(|_, fact| break_if(matches!(fact, Fact::Received(_))));
    tell.send(()).unwrap();
    peer.join();
    // The peer is long gone, but its bytes are not taken.
    bench.want(Want::Load("nothing"));
    bench.run_until(&Fact::StoreFailed(1, StoreError::NotFound));
    assert!(!bench.facts.contains(&Fact::Eof));
    assert_eq!(bench.received(), b"on");

    bench.driver.endpoint().allowance = 10;
    bench.want(Want::Resume);
    bench.run_until(&Fact::Eof);
    assert_eq!(bench.received(), b"onetwo");
}

#[test]
fn connections_that_fail_say_why() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let cases = [
        ("127.0.0.1", false, ConnectError::Refused),
        ("not a name", false, ConnectError::Unresolved),
        ("localhost", true, ConnectError::Tls),
    ];
    for (host, tls, why) in cases {
        let mut bench = Bench::new();
        bench.want(Want::Connect { port, tls, host });
        bench.run(|_, _| ControlFlow::Break(()));
        assert_eq!(bench.facts, [Fact::ConnectFailed(why)], "{host}");
        assert!(bench.driver.lines.is_empty());
    }
}

#[test]
fn connections_are_bounded() {
    let mut bench = Bench::new();
    bench.driver.limits.connections_max = 0;
    bench.want(Want::Connect {
        port: 1,
        tls: false,
        host: "127.0.0.1",
    });
    bench.run_until(&Fact::ConnectFailed(ConnectError::Exhausted));
}

#[test]
fn an_abort_ends_at_once_and_once() {
    let peer = Peer::start(|mut stream| {
        // A reset, or an end without the bytes that were not sent.
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert!(all.len() < 100_000_000);
    });
    let mut bench = Bench::connecting(&peer);
    bench.run_until(&Fact::Connected);
    bench.want(Want::Write(pattern(1_000_000)));
    bench.want(Want::Close(Close::Abort));
    bench.want(Want::Close(Close::Abort));
    bench.want(Want::Load("nothing"));
    bench.run_until(&Fact::StoreFailed(1, StoreError::NotFound));
    peer.join();
    let closed = bench
        .facts
        .iter()
        .filter(|fact| matches!(fact, Fact::Closed(_)));
    assert_eq!(
        closed.collect::<Vec<_>>(),
        [&Fact::Closed(CloseReason::Local)]
    );
}

#[test]
fn a_connection_that_is_being_opened_can_be_closed() {
    for how in [Close::Abort, Close::Finish] {
        let peer = Peer::start(|mut stream| {
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
        });
        let mut bench = Bench::connecting(&peer);
        bench.want(Want::Close(how));
        bench.want(Want::Load("nothing"));
        bench.run_until(&Fact::StoreFailed(1, StoreError::NotFound));
        assert_eq!(bench.facts[0], Fact::Closed(CloseReason::Local));
        assert_eq!(bench.facts.len(), 2, "{:?}", bench.facts);
        // What the connector opens all the same is dropped.
        drop(bench);
        peer.join();
    }
}

#[test]
fn a_reset_is_told_once() {
    let peer = Peer::start(|mut stream| {
        stream.read_exact(&mut [0; 1]).unwrap();
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let mut bench = Bench::connecting(&peer);
    bench.run_until(&Fact::Connected);
    bench.want(Want::Write(b"x".to_vec()));
    bench.run(|_, fact| break_if(matches!(fact, Fact::Closed(_))));
    peer.join();
    assert_eq!(
        bench.facts,
        [Fact::Connected, Fact::Closed(CloseReason::Reset)]
    );
    assert!(bench.driver.lines.is_empty());
}
