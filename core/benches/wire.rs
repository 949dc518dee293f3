//! What a message costs on its way through the wire's formats.
//!
//! `cargo bench -p tautline-core --bench wire`

#[path = "inputs/messages.rs"]
mod messages;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use messages::{CLIENT, KEY, content, frame_there_and_back, notification};
use tautline_core::collections::Pool;
use tautline_core::wire::datagram::{DATAGRAM_BYTES_MAX, Fanout, Sealed};
use tautline_core::wire::frame::{self, Deframer, Header};
use tautline_core::wire::message::ToClient;
use tautline_core::wire::proof::{Authorization, BodyDigest, Request};
use tautline_core::wire::replay::ReplayWindow;

fn main() {
    divan::main();
}

#[divan::bench(args = [64, 1_024, 65_536])]
fn frame_encode_and_decode(bencher: Bencher<'_, '_>, body_bytes: usize) {
    let body = vec![0x5a; body_bytes];
    let mut buf = vec![0; body_bytes + frame::HEADER_BYTES];
    let (mut deframer, mut pool) = (Deframer::default(), Pool::new(8, 4_096));
    bencher
        .counter(BytesCount::new(body_bytes))
        .bench_local(|| frame_there_and_back(&body, &mut buf, &mut deframer, &mut pool));
}

#[divan::bench]
fn frame_decode_64_in_two_pieces(bencher: Bencher<'_, '_>) {
    let mut buf = [0; 64 + frame::HEADER_BYTES];
    frame::encode(0x41, 0, &[0x5a; 64], &mut buf).expect("it fits");
    let (mut deframer, mut pool) = (Deframer::default(), Pool::new(8, 4_096));
    bencher.bench_local(|| {
        let (mut first, mut second) = black_box(&buf[..]).split_at(40);
        let found = deframer.next(&mut first, 64, &mut pool);
        assert_eq!(found, Ok(None));
        let found = deframer.next(&mut second, 64, &mut pool);
        found.expect("it is right").expect("it is whole").body.len()
    });
}

#[divan::bench(args = [8, 64, 1_024])]
fn frame_checksum(bencher: Bencher<'_, '_>, body_bytes: usize) {
    let body = vec![0x5a; body_bytes];
    bencher
        .counter(BytesCount::new(body_bytes))
        .bench_local(|| Header::for_body(0x41, 0, &[black_box(&body)]));
}

#[divan::bench]
fn message_encode_and_parse_64(bencher: Bencher<'_, '_>) {
    let payload = [0x5a; 64];
    let mut buf = [0; 128];
    bencher.bench_local(|| {
        let message = ToClient::Notification(notification(black_box(&payload)));
        let len = message.encode(&mut buf).expect("it fits");
        ToClient::parse(0x41, black_box(&buf[frame::HEADER_BYTES..len])).is_ok()
    });
}

#[divan::bench(args = [64, 1_024])]
fn datagram_digest_once_a_fanout(bencher: Bencher<'_, '_>, payload_bytes: usize) {
    let payload = vec![0x5a; payload_bytes];
    bencher.bench_local(|| Fanout::new(black_box(&content(&payload))));
}

#[divan::bench]
fn datagram_mac_per_target(bencher: Bencher<'_, '_>) {
    let fanout = Fanout::new(&content(&[0x5a; 64]));
    bencher.bench_local(|| fanout.mac(black_box(CLIENT), black_box(9), black_box(&KEY)));
}

#[divan::bench]
fn datagram_encode_per_target_64(bencher: Bencher<'_, '_>) {
    let content = content(&[0x5a; 64]);
    let fanout = Fanout::new(&content);
    let mut buf = [0; DATAGRAM_BYTES_MAX];
    bencher.bench_local(|| fanout.encode(&content, black_box(CLIENT), 9, &KEY, &mut buf));
}

#[divan::bench]
fn datagram_open_64(bencher: Bencher<'_, '_>) {
    let content = content(&[0x5a; 64]);
    let mut buf = [0; DATAGRAM_BYTES_MAX];
    let len = Fanout::new(&content).encode(&content, CLIENT, 9, &KEY, &mut buf);
    let bytes = &buf[..len.expect("it fits")];
    bencher.bench_local(|| {
        let sealed = Sealed::parse(black_box(bytes)).expect("it is right");
        let opened = sealed.open(CLIENT, &KEY, &mut ReplayWindow::default());
        assert!(opened.is_ok());
    });
}

#[divan::bench]
fn authorization_parse_and_verify(bencher: Bencher<'_, '_>) {
    let request = Request {
        method: "GET",
        target: "/v1/inbox?after=0000000100000002",
        body: BodyDigest::of(b""),
    };
    let value = request.prove(&KEY, CLIENT, 9).to_string();
    bencher.bench_local(|| {
        let proof = Authorization::parse(black_box(value.as_bytes())).expect("it is right");
        assert!(proof.proves(&KEY, &request));
    });
}
