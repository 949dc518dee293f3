//! Frames and datagrams; an operation is that of one message.

use std::hint::black_box;

use super::messages::{CLIENT, KEY, content, frame_there_and_back};
use super::scenario::{Scenario, counted};
use tautline_core::collections::Pool;
use tautline_core::wire::datagram::Fanout;
use tautline_core::wire::frame::{Deframer, HEADER_BYTES};

const OPERATIONS: usize = 1_000;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "wire/frame",
        unit: "bytes",
        sizes: &[64],
        run: frame,
    },
    Scenario {
        name: "wire/datagram-mac",
        unit: "bytes",
        sizes: &[64],
        run: datagram_mac,
    },
];

/// Encoded and decoded.
fn frame(body_bytes: usize) -> usize {
    let body = vec![0x5a; body_bytes];
    let mut buf = vec![0; body_bytes + HEADER_BYTES];
    let (mut deframer, mut pool) = (Deframer::default(), Pool::new(8, 4_096));
    counted(|| {
        for _ in 0..OPERATIONS {
            let len = frame_there_and_back(&body, &mut buf, &mut deframer, &mut pool);
            assert_eq!(len, body_bytes);
        }
    });
    OPERATIONS
}

/// For each target of a notification; its payload was digested before.
fn datagram_mac(payload_bytes: usize) -> usize {
    let fanout = Fanout::new(&content(&vec![0x5a; payload_bytes]));
    counted(|| {
        for counter in 0..OPERATIONS as u64 {
            black_box(fanout.mac(black_box(CLIENT), counter, black_box(&KEY)));
        }
    });
    OPERATIONS
}
