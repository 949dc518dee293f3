//! Bulk between connections and files, in clear and under TLS, and storage
//! effects through the storage thread.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tautline_core::{Close, CloseReason, Input, StoreError, Ticket};
use tautline_mio::driver::Config;
use tautline_std::files::Op;

use crate::openings::{Certificate, TlsPeer};
use crate::support::{Act, Desk, connect, file_id, pattern, stage, stage_with};

const LEN: usize = 10 << 20;

fn create(desk: &mut Desk, ticket: u64, name: &str) {
    let op = Op::Create {
        file: file_id(7),
        name: name.into(),
        reserve: 0,
    };
    desk.act(Act::Store(Ticket(ticket), op));
}

/// What an endpoint was told, in order.
type Notes = Arc<Mutex<Vec<String>>>;

/// Takes a body between a head and a foot, and hashes what was taken.
fn upload() -> (Notes, impl FnMut(&mut Desk, Input<'_>) -> usize) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let (mut foot, mut moved) = (Vec::new(), 0);
    let behaviour = move |desk: &mut Desk, input: Input<'_>| match input {
        Input::Received { conn, bytes } if bytes.starts_with(b"head") && moved == 0 => {
            create(desk, 1, "upload");
            desk.act(Act::Take(conn, file_id(7), 0, LEN as u64));
            4
        }
        Input::Received { conn, bytes } => {
            if moved < LEN as u64 {
                return 0;
            }
            foot.extend_from_slice(bytes);
            if foot == b"foot" {
                notes.lock().unwrap().push("foot".into());
                desk.act(Act::Hash(Ticket(2), file_id(7), 0, LEN as u64));
                desk.act(Act::Write(conn, b"thanks".to_vec()));
                desk.act(Act::Close(conn, Close::Finish));
            }
            bytes.len()
        }
        Input::Moved { bytes, .. } => {
            moved += bytes;
            if moved == LEN as u64 {
                notes.lock().unwrap().push("moved".into());
            }
            0
        }
        Input::Hashed { ticket, digest } => {
            notes
                .lock()
                .unwrap()
                .push(format!("{} {digest:02x?}", ticket.0));
            0
        }
        _ => 0,
    };
    (seen, behaviour)
}

fn expected_upload() -> Vec<String> {
    let digest: [u8; 32] = Sha256::digest(pattern(LEN)).into();
    vec!["moved".into(), "foot".into(), format!("2 {digest:02x?}")]
}

#[test]
fn a_body_goes_to_its_file_and_what_stands_behind_it_to_the_endpoint() {
    let (seen, mut behaviour) = upload();
    let mut stage = stage(move |desk, _, input| behaviour(desk, input));
    let answer = stage.with_peer(|address| {
        let mut peer = connect(address);
        peer.write_all(b"head").unwrap();
        peer.write_all(&pattern(LEN)).unwrap();
        peer.write_all(b"foot").unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        answer
    });
    assert_eq!(answer, b"thanks");
    stage.until(|_| seen.lock().unwrap().len() == 3);
    assert_eq!(*seen.lock().unwrap(), expected_upload());
    assert_eq!(stage.driver.statistics().bytes_taken, LEN as u64);
}

#[test]
fn a_body_goes_to_its_file_under_tls() {
    let certificate = Certificate::new();
    let (seen, mut behaviour) = upload();
    let config = Config {
        accept_tls: Some(certificate.server()),
        ..Config::default()
    };
    let mut stage = stage_with(config, move |desk, _, input| behaviour(desk, input));
    let client = certificate.client();
    let answer = stage.with_peer(move |address| {
        let mut peer = TlsPeer::connect(connect(address), &client);
        peer.write_all(b"head");
        peer.write_all(&pattern(LEN));
        peer.write_all(b"foot");
        peer.read_to_end()
    });
    assert_eq!(answer, b"thanks");
    stage.until(|_| seen.lock().unwrap().len() == 3);
    assert_eq!(*seen.lock().unwrap(), expected_upload());
}

#[test]
fn what_comes_after_a_taken_body_is_offered_without_a_resume() {
    let mut moved = 0;
    let mut stage = stage(move |desk, _, input| match input {
        Input::Received { conn, bytes } if bytes.starts_with(b"head") => {
            create(desk, 1, "upload");
            desk.act(Act::Take(conn, file_id(7), 0, 4));
            4
        }
        Input::Received { conn, bytes } => {
            desk.act(Act::Write(conn, bytes.to_vec()));
            desk.act(Act::Close(conn, Close::Finish));
            bytes.len()
        }
        Input::Moved { conn, bytes } => {
            moved += bytes;
            if moved == 4 {
                desk.act(Act::Write(conn, b"taken".to_vec()));
            }
            0
        }
        _ => 0,
    });
    let answer = stage.with_peer(|address| {
        let mut peer = connect(address);
        peer.write_all(b"headbo").unwrap();
        peer.write_all(b"dy").unwrap();
        let mut taken = [0; 5];
        peer.read_exact(&mut taken).unwrap();
        peer.write_all(b"foot").unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        answer
    });
    assert_eq!(answer, b"foot");
}

#[test]
fn what_is_written_behind_a_file_follows_it() {
    let mut stage = stage(|desk, _, input| match input {
        Input::Received { conn, bytes } => {
            create(desk, 1, "download");
            let (file, body) = (file_id(7), pattern(30_000));
            desk.act(Act::Store(Ticket(2), Op::Append { file, bytes: body }));
            desk.act(Act::SendFile(conn, file, 0, 30_000));
            desk.act(Act::Write(conn, b"foot".to_vec()));
            desk.act(Act::Close(conn, Close::Finish));
            bytes.len()
        }
        _ => 0,
    });
    let received = stage.with_peer(|address| {
        let mut peer = connect(address);
        peer.write_all(b"go").unwrap();
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        received
    });
    assert!(received.strip_suffix(b"foot") == Some(&pattern(30_000)));
}

/// Sends a file between a head and a foot.
fn download() -> impl FnMut(&mut Desk, Input<'_>) -> usize {
    let (mut moved, mut synced) = (0, false);
    move |desk, input| match input {
        Input::Received { conn, bytes } => {
            create(desk, 1, "download");
            for (number, piece) in pattern(LEN).chunks(32 << 10).enumerate() {
                let op = Op::Append {
                    file: file_id(7),
                    bytes: piece.to_vec(),
                };
                desk.act(Act::Store(Ticket(2 + number as u64), op));
            }
            let op = Op::Sync { file: file_id(7) };
            desk.act(Act::Store(Ticket(1_000), op));
            desk.act(Act::Write(conn, b"head".to_vec()));
            desk.act(Act::SendFile(conn, file_id(7), 10, LEN as u64));
            bytes.len()
        }
        Input::Stored { ticket } => {
            synced |= ticket == Ticket(1_000);
            0
        }
        Input::Moved { conn, bytes } => {
            moved += bytes;
            if moved == LEN as u64 - 10 {
                assert!(synced, "the file was lent before it was written");
                desk.act(Act::Write(conn, b"foot".to_vec()));
                desk.act(Act::Close(conn, Close::Finish));
            }
            0
        }
        _ => 0,
    }
}

fn check_download(received: &[u8]) {
    let body = received.strip_prefix(b"head").unwrap();
    let body = body.strip_suffix(b"foot").unwrap();
    assert!(body == &pattern(LEN)[10..]);
}

#[test]
fn a_file_is_sent_between_what_stands_before_and_behind_it() {
    let mut behaviour = download();
    let mut stage = stage(move |desk, _, input| behaviour(desk, input));
    let received = stage.with_peer(|address| {
        let mut peer = connect(address);
        peer.write_all(b"go").unwrap();
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        received
    });
    check_download(&received);
    stage.until(|stage| stage.driver.statistics().closed == 1);
    assert_eq!(stage.driver.statistics().file_bytes_sent, LEN as u64 - 10);
}

#[test]
fn a_file_is_sent_under_tls() {
    let certificate = Certificate::new();
    let config = Config {
        accept_tls: Some(certificate.server()),
        ..Config::default()
    };
    let mut behaviour = download();
    let mut stage = stage_with(config, move |desk, _, input| behaviour(desk, input));
    let client = certificate.client();
    let received = stage.with_peer(move |address| {
        let mut peer = TlsPeer::connect(connect(address), &client);
        peer.write_all(b"go");
        peer.read_to_end()
    });
    check_download(&received);
}

#[test]
fn a_file_that_is_not_there_or_too_short_ends_the_connection() {
    for len in [0, 100] {
        let mut reasons = Vec::new();
        let mut stage = stage(|desk, _, input| match input {
            Input::Received { conn, bytes } => {
                if len > 0 {
                    create(desk, 1, "short");
                    let bytes = vec![1; len];
                    let file = file_id(7);
                    desk.act(Act::Store(Ticket(2), Op::Append { file, bytes }));
                }
                desk.act(Act::SendFile(conn, file_id(7), 0, 1_000));
                bytes.len()
            }
            Input::Closed { why, .. } => {
                reasons.push(why);
                0
            }
            _ => 0,
        });
        let mut peer = connect(stage.address);
        peer.write_all(b"go").unwrap();
        stage.until(|stage| stage.driver.statistics().closed == 1);
        drop(stage);
        assert_eq!(reasons, [CloseReason::Storage]);
    }
}

#[test]
fn outcomes_come_in_order_and_failures_before_what_covers_them() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&notes);
    let mut stage = stage(move |_, _, input| {
        let note = match input {
            Input::Stored { ticket } => format!("stored {}", ticket.0),
            Input::Loaded { ticket, bytes } => format!("loaded {} {bytes:?}", ticket.0),
            Input::StoreFailed { ticket, why } => format!("failed {} {why:?}", ticket.0),
            _ => return 0,
        };
        seen.lock().unwrap().push(note);
        0
    });
    stage.driver.command(|toy, _| {
        let desk = &mut toy.desk;
        let load = |name: &str| Op::Load {
            name: name.into(),
            bytes_max: 100,
        };
        desk.act(Act::Store(Ticket(1), load("absent")));
        create(desk, 2, "state");
        let file = file_id(7);
        let bytes = b"abc".to_vec();
        desk.act(Act::Store(Ticket(3), Op::Append { file, bytes }));
        desk.act(Act::Store(Ticket(4), load("state")));
        desk.act(Act::Store(Ticket(5), Op::Sync { file }));
    });
    stage.until(|_| notes.lock().unwrap().iter().any(|note| note == "stored 5"));
    let notes = notes.lock().unwrap();
    let told: Vec<_> = notes
        .iter()
        .filter(|note| !note.starts_with("stored"))
        .collect();
    let missing = format!("failed 1 {:?}", StoreError::NotFound);
    assert_eq!(told, [&missing, "loaded 4 [97, 98, 99]"]);
    assert!(stage.driver.is_storage_idle());
    let early = |note: &&String| *note == "stored 1" || *note == &missing;
    assert_eq!(notes.iter().find(early), Some(&missing));
}

#[test]
fn files_are_opened_written_over_copied_and_listed() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&notes);
    let mut stage = stage(move |_, _, input| {
        let note = match input {
            Input::Loaded { ticket, bytes } => {
                format!("loaded {} {}", ticket.0, bytes.escape_ascii())
            }
            Input::StoreFailed { ticket, why } => format!("failed {} {why:?}", ticket.0),
            _ => return 0,
        };
        seen.lock().unwrap().push(note);
        0
    });
    stage.driver.command(|toy, _| {
        let file = file_id(7);
        create(&mut toy.desk, 1, "log");
        let copy = Op::Copy {
            from: "log".into(),
            to: "log.BAD".into(),
            bytes_max: 100,
        };
        let ops = [
            Op::Append {
                file,
                bytes: b"before".to_vec(),
            },
            Op::Close { file },
            Op::Open {
                file,
                name: "log".into(),
            },
            Op::Write {
                file,
                offset: 2,
                bytes: b"tter!".to_vec(),
            },
            copy.clone(),
            copy,
            Op::List { prefix: "l".into() },
            Op::Load {
                name: "log.BAD".into(),
                bytes_max: 7,
            },
        ];
        for (ticket, op) in (2..).zip(ops) {
            toy.desk.act(Act::Store(Ticket(ticket), op));
        }
    });
    stage.until(|_| notes.lock().unwrap().len() == 3);
    let expected = [
        "failed 7 Exists",
        "loaded 8 7 log\\n7 log.BAD\\n",
        "loaded 9 better!",
    ];
    assert_eq!(*notes.lock().unwrap(), expected);
    assert!(stage.driver.is_storage_idle());
}
