//! Storage effects, and files that connections move.

use super::*;
use sha2::{Digest, Sha256};

#[test]
fn storage_effects_are_answered_in_order() {
    let mut bench = Bench::new();
    bench.want(Want::Create(file(1), "state"));
    bench.want(Want::Append(file(1), b"con".to_vec()));
    bench.want(Want::Append(file(2), b"nowhere".to_vec()));
    bench.want(Want::Append(file(1), b"tent".to_vec()));
    bench.want(Want::Sync(file(1)));
    bench.want(Want::Hash(file(1), 0..7));
    bench.want(Want::Load("state"));
    let last = Fact::Loaded(7, b"content".to_vec());
    bench.run_until(&last);
    let digest = Sha256::digest(b"content").into();
    let expected = [
        Fact::Stored(1),
        Fact::Stored(2),
        Fact::StoreFailed(3, StoreError::NotFound),
        Fact::Stored(4),
        Fact::Stored(5),
        Fact::Hashed(6, digest),
        last,
    ];
    assert_eq!(bench.facts, expected);
}

#[test]
fn files_of_an_earlier_run_are_found_opened_and_written_over() {
    let mut bench = Bench::new();
    std::fs::write(bench.dir.path().join("log.1"), b"before").unwrap();
    let file = file(1);
    let (offset, bytes_max) = (2, 100);
    let ops = [
        StoreOp::List { prefix: "log" },
        StoreOp::Open {
            file,
            name: "log.1",
        },
        StoreOp::Write {
            file,
            offset,
            bytes: b"tter!",
        },
        StoreOp::Append { file, bytes: b"?" },
        StoreOp::Copy {
            from: "log.1",
            to: "log.1.BAD",
            bytes_max,
        },
        StoreOp::Copy {
            from: "log.1",
            to: "log.1.BAD",
            bytes_max,
        },
        StoreOp::Sync { file },
        StoreOp::Read { file, range: 0..99 },
        StoreOp::List { prefix: "" },
    ];
    for op in ops {
        bench.want(Want::Store(op));
    }
    let last = Fact::Loaded(9, b"8 log.1\n8 log.1.BAD\n".to_vec());
    bench.run_until(&last);
    let expected = [
        Fact::Loaded(1, b"6 log.1\n".to_vec()),
        Fact::Stored(2),
        Fact::Stored(3),
        Fact::Stored(4),
        Fact::Stored(5),
        Fact::StoreFailed(6, StoreError::Exists),
        Fact::Stored(7),
        Fact::Loaded(8, b"better!?".to_vec()),
        last,
    ];
    assert_eq!(bench.facts, expected);
}

#[test]
fn what_was_asked_for_is_stored_before_the_end() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.want(Want::Append(file(1), b"x".to_vec()));
    }
    bench
        .driver
        .endpoint()
        .wants
        .push_front(Want::Create(file(1), "log"));
    bench.run(|toy, _| break_if(toy.wants.is_empty()));
    let Bench { driver, dir, .. } = bench;
    drop(driver);
    assert_eq!(std::fs::read(dir.path().join("log")).unwrap(), [b'x'; 100]);
}

#[test]
fn slow_storage_stops_the_output() {
    let limits = DriverLimits {
        storage_bytes_waiting_max: 1,
        messages_waiting_max: 1,
        ..DriverLimits::default()
    };
    let mut bench = Bench::with(None, Vec::new(), limits);
    bench.want(Want::Create(file(1), "log"));
    for number in 0..1_000 {
        bench.want(Want::Append(file(1), vec![7; 10_000]));
        bench.want(Want::Store(StoreOp::Write {
            file: file(1),
            offset: number * 10_000,
            bytes: &[8; 10_000],
        }));
    }
    // Many times what may wait goes through.
    bench.run_until(&Fact::Stored(2_001));
    assert_eq!(
        std::fs::metadata(bench.dir.path().join("log"))
            .unwrap()
            .len(),
        10_000_000
    );
}

#[test]
fn a_body_goes_to_a_file_and_back() {
    let body = pattern(300_000);
    let sent = body.clone();
    let peer = Peer::start(move |mut stream| {
        stream.write_all(b"head:").unwrap();
        stream.write_all(&sent).unwrap();
        stream.write_all(b":tail").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut echoed = Vec::new();
        stream.read_to_end(&mut echoed).unwrap();
        let (start, rest) = echoed.split_at(6);
        assert_eq!(start, b"begin:");
        let (range, end) = rest.split_at(200_000);
        assert!(range == &sent[50_000..250_000]);
        assert_eq!(end, b":end");
    });
    let mut bench = Bench::connecting(&peer);
    move_body(&mut bench);
    peer.join();
    let stored = std::fs::read(bench.dir.path().join("body")).unwrap();
    assert!(stored[3..] == body && stored[..3] == [0; 3]);
}

/// Takes 5 bytes, 300,000 into a file (3 bytes behind its begin), the rest; and
/// sends 200,000 of the file back, between two writes.
pub(super) fn move_body(bench: &mut Bench) {
    bench.driver.endpoint().allowance = 5;
    bench.want(Want::Create(file(1), "body"));
    let mut moved = 0;
    bench.run(|toy, fact| {
        match fact {
            Fact::Received(_) if moved == 0 && toy.allowance == 0 => {
                toy.allowance = usize::MAX;
                toy.want(Want::Take {
                    sink: file(1),
                    offset: 3,
                    len: 300_000,
                });
            }
            Fact::Moved(bytes) => moved += bytes,
            _ => {}
        }
        break_if(*fact == Fact::Eof)
    });
    assert_eq!(moved, 300_000);
    assert_eq!(bench.received(), b"head::tail");

    bench.want(Want::Write(b"begin:".to_vec()));
    bench.want(Want::SendFile {
        file: file(1),
        range: 50_003..250_003,
    });
    bench.want(Want::Write(b":end".to_vec()));
    bench.want(Want::Close(Close::Finish));
    bench.run(|_, fact| {
        if let Fact::Moved(bytes) = fact {
            moved += bytes;
        }
        break_if(matches!(fact, Fact::Closed(_)))
    });
    assert_eq!(moved, 500_000);
    assert_eq!(bench.facts.last(), Some(&Fact::Closed(CloseReason::Done)));
}

#[test]
fn the_end_is_told_behind_what_was_moved() {
    for _ in 0..20 {
        let peer = Peer::start(|mut stream| {
            stream.write_all(&pattern(50_000)).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let mut bench = Bench::connecting(&peer);
        bench.driver.endpoint().allowance = 0;
        bench.want(Want::Create(file(1), "body"));
        bench.run_until(&Fact::Connected);
        bench.want(Want::Take {
            sink: file(1),
            offset: 0,
            len: 50_000,
        });
        let mut moved = 0;
        bench.run(|_, fact| {
            if let Fact::Moved(bytes) = fact {
                moved += bytes;
            }
            break_if(*fact == Fact::Eof)
        });
        assert_eq!(moved, 50_000);
        drop(bench);
        peer.join();
    }
}

#[test]
fn a_file_that_fails_ends_the_connection() {
    let broken = [
        Want::Take {
            sink: file(9),
            offset: 0,
            len: 1,
        },
        Want::SendFile {
            file: file(9),
            range: 0..1,
        },
    ];
    for want in broken {
        let peer = Peer::start(|mut stream| {
            stream.write_all(b"body").unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        });
        let mut bench = Bench::connecting(&peer);
        bench.driver.endpoint().allowance = 0;
        bench.run_until(&Fact::Connected);
        bench.want(want);
        bench.run_until(&Fact::Closed(CloseReason::Storage));
        peer.join();
    }
}
