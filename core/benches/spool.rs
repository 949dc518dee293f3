//! How fast a segment is read after a start.
//!
//! `cargo bench -p tautline-core --bench spool`

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use tautline_core::ClientId;
use tautline_core::spool::format::{
    RECORD_BYTES_MAX, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES,
};
use tautline_core::spool::scan::{Found, Scan, Synced};

const SEGMENT: u64 = 9;
const SEGMENT_BYTES: usize = 64 << 20;
const BODY: [u8; 512] = [0x5a; 512];

fn main() {
    divan::main();
}

/// A segment that is full of the records of one use.
fn full(segment: u64) -> Vec<u8> {
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES as usize];
    let mut sequence = 0;
    while bytes.len() < SEGMENT_BYTES {
        let header = RecordHeader {
            segment,
            offset: bytes.len() as u32,
            body_bytes: BODY.len() as u32,
            body_checksum: crc32fast::hash(&BODY),
            kind: RecordKind::Message {
                priority: 0,
                expires_at: 0,
            },
            sequence,
            host: ClientId([7; 16]),
            number: sequence,
        };
        bytes.extend(header.encode());
        bytes.extend(BODY);
        sequence += 1;
    }
    bytes
}

/// Reads in pieces of a mebibyte, as they come from a disk; gives what was
/// found.
fn scan(bytes: &[u8]) -> (usize, usize) {
    let mut scan = Scan::new(SEGMENT, SEGMENT_HEADER_BYTES, Synced::Through(0));
    let (mut records, mut others) = (0, 0);
    loop {
        let rest = &bytes[scan.at() as usize..];
        let piece_bytes = rest.len().min(RECORD_BYTES_MAX as usize);
        let (mut piece, is_last) = (&rest[..piece_bytes], piece_bytes == rest.len());
        while let Some(found) = scan.next(&mut piece, is_last) {
            match found {
                Found::Record { .. } => records += 1,
                _ => others += 1,
            }
        }
        if is_last {
            return (records, others);
        }
    }
}

fn bench(bencher: Bencher<'_, '_>, bytes: &[u8], records: usize) {
    assert_eq!(scan(bytes), (records, 0));
    bencher
        .counter(BytesCount::of_slice(bytes))
        .bench_local(|| scan(black_box(bytes)));
}

#[divan::bench]
fn checksum_alone(bencher: Bencher<'_, '_>) {
    let bytes = full(SEGMENT);
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .bench_local(|| crc32fast::hash(black_box(&bytes)));
}

#[divan::bench]
fn copy_alone(bencher: Bencher<'_, '_>) {
    let bytes = full(SEGMENT);
    let mut piece = vec![0; RECORD_BYTES_MAX as usize];
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .bench_local(|| {
            for source in black_box(&bytes).chunks(piece.len()) {
                piece[..source.len()].copy_from_slice(source);
                black_box(&mut piece);
            }
        });
}

#[divan::bench]
fn records_of_512_bytes(bencher: Bencher<'_, '_>) {
    let bytes = full(SEGMENT);
    bench(bencher, &bytes, (SEGMENT_BYTES - 4_096).div_ceil(584));
}

#[divan::bench]
fn zeros(bencher: Bencher<'_, '_>) {
    let mut bytes = full(SEGMENT);
    // Written, so that they are read from memory.
    bytes.fill(0);
    bench(bencher, &bytes, 0);
}

#[divan::bench]
fn records_of_an_earlier_use(bencher: Bencher<'_, '_>) {
    bench(bencher, &full(SEGMENT - 1), 0);
}
