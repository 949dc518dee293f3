use alloc::vec::Vec;

use core::net::{Ipv6Addr, SocketAddr};

use super::super::cursor::Reader;
use super::super::datagram::{Content, DATAGRAM_BYTES_MAX, Fanout, PAYLOAD_BYTES_MAX, Sealed};
use super::super::proof::SessionKey;
use super::super::replay::ReplayWindow;
use super::*;
use crate::id::parse_hex;
use crate::{ClientId, Incarnation, NotificationId};

const ID: NotificationId = NotificationId::new(Incarnation(9), 1);

fn to_client() -> [(ToClient<'static>, &'static [u8]); 7] {
    let notification = Notification {
        id: ID,
        lifetime_s: 3_600,
        reply_window_ms: 1_000,
        payload: b"wake up",
    };
    let hello = Hello {
        version: VERSION,
        incarnation: Incarnation(9),
        body_bytes_max: 65_536,
    };
    let bye = Bye {
        reason: ByeReason::Replaced,
        retry_after_ms: 5_000,
    };
    [
        (ToClient::Ping(Ping { nonce: 7 }), b"\0\0\0\0\0\0\0\x07"),
        (ToClient::Pong(Pong { nonce: 7 }), b"\0\0\0\0\0\0\0\x07"),
        (ToClient::Bye(bye), b"\x02\0\0\x13\x88"),
        (ToClient::Hello(hello), b"\0\x01\0\0\0\x09\0\x01\0\0"),
        (
            ToClient::Notification(notification),
            b"\0\0\0\x09\0\0\0\x01\0\0\x0e\x10\0\0\x03\xe8wake up",
        ),
        (
            ToClient::Taken(Taken { notification: ID }),
            b"\0\0\0\x09\0\0\0\x01",
        ),
        (ToClient::Serve(serve()), SERVE),
    ]
}

/// A frame for no target, with a body behind it.
const SERVE: &[u8] = b"\0\0\0\x02\x01\0\0\0\0\0\0\x09\0\0\0\x01shared";

fn serve() -> Serve<'static> {
    Serve::read(Reader::new(SERVE)).expect("right")
}

fn to_relay() -> [(ToRelay<'static>, &'static [u8]); 5] {
    let reply = Reply {
        notification: ID,
        payload: b"awake",
    };
    let bye = Bye {
        reason: ByeReason::Other(200),
        retry_after_ms: 0,
    };
    [
        (ToRelay::Ping(Ping { nonce: 8 }), b"\0\0\0\0\0\0\0\x08"),
        (ToRelay::Pong(Pong { nonce: 8 }), b"\0\0\0\0\0\0\0\x08"),
        (ToRelay::Bye(bye), b"\xc8\0\0\0\0"),
        (ToRelay::Reply(reply), b"\0\0\0\x09\0\0\0\x01awake"),
        (
            ToRelay::Served(Served {
                sequence: 2,
                refused: 515,
            }),
            b"\0\0\0\x02\x02\x03",
        ),
    ]
}

fn encoded(encode: impl Fn(&mut [u8]) -> Result<usize, BufferTooSmall>, len: usize) -> Vec<u8> {
    let mut buf = alloc::vec![0; len];
    assert_eq!(
        encode(&mut buf[..len - 1]),
        Err(BufferTooSmall { needed: len })
    );
    assert_eq!(encode(&mut buf), Ok(len));
    buf
}

#[test]
fn the_layouts_are_the_documented_ones() {
    for (message, body) in to_client() {
        let frame = encoded(|buf| message.encode(buf), message.encoded_len());
        assert_eq!(
            (frame[4], &frame[12..]),
            (message.kind(), body),
            "{message:?}"
        );
        assert_eq!(ToClient::parse(message.kind(), body), Ok(Some(message)));
        assert_eq!(
            message.header().map(|header| *header.as_bytes()).ok(),
            frame.first_chunk().copied()
        );
    }
    for (message, body) in to_relay() {
        let frame = encoded(|buf| message.encode(buf), message.encoded_len());
        assert_eq!(
            (frame[4], &frame[12..]),
            (message.kind(), body),
            "{message:?}"
        );
        assert_eq!(ToRelay::parse(message.kind(), body), Ok(Some(message)));
        assert_eq!(
            message.header().map(|header| *header.as_bytes()).ok(),
            frame.first_chunk().copied()
        );
    }
}

#[test]
fn a_cut_head_is_truncated() {
    for (message, body) in to_client() {
        for len in 0..message.head().len() {
            let parsed = ToClient::parse(message.kind(), &body[..len]);
            assert_eq!(parsed, Err(MessageError::Truncated), "{message:?} {len}");
        }
    }
    for (message, body) in to_relay() {
        for len in 0..message.head().len() {
            let parsed = ToRelay::parse(message.kind(), &body[..len]);
            assert_eq!(parsed, Err(MessageError::Truncated), "{message:?} {len}");
        }
    }
}

#[test]
fn fields_of_later_versions_are_ignored() {
    let bodies = to_client()
        .into_iter()
        .filter(|(message, _)| message.payload().is_empty());
    for (message, body) in bodies {
        let longer = [body, b"later"].concat();
        assert_eq!(ToClient::parse(message.kind(), &longer), Ok(Some(message)));
    }
}

#[test]
fn a_message_in_the_wrong_direction_is_an_error() {
    for kind in [kind::HELLO, kind::NOTIFICATION, kind::SERVE, 0x7f] {
        assert_eq!(ToRelay::parse(kind, &[0; 99]), Err(MessageError::Direction));
    }
    for kind in [kind::REPLY, kind::SERVED, 0xbf] {
        assert_eq!(
            ToClient::parse(kind, &[0; 99]),
            Err(MessageError::Direction)
        );
    }
}

#[test]
fn an_unknown_kind_is_skipped() {
    for kind in [0x00, 0x3f, 0xc0, 0xff] {
        assert_eq!(ToClient::parse(kind, b"?"), Ok(None));
        assert_eq!(ToRelay::parse(kind, b"?"), Ok(None));
    }
    assert_eq!(ToClient::parse(0x7f, b"?"), Ok(None));
    assert_eq!(ToRelay::parse(0xbf, b"?"), Ok(None));
}

#[test]
fn every_reason_has_one_code() {
    for code in 0..=u8::MAX {
        assert_eq!(ByeReason::from_code(code).code(), code);
    }
}

const CLIENT: ClientId = ClientId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

fn key() -> SessionKey {
    let key = "4acbe7500a30ed02e94c9f9b347b0221e4d244386a86cac7a4c5836832feb3a3";
    SessionKey(parse_hex(key).expect("hexadecimal"))
}

const fn content(payload: &[u8]) -> Content<'_> {
    Content::Notification(Notification {
        id: ID,
        lifetime_s: 3_600,
        reply_window_ms: 1_000,
        payload,
    })
}

/// The frame for so many targets, all the same client at rising ports.
fn serve_frame(content: &Content<'_>, targets: u16) -> Vec<u8> {
    let fanout = Fanout::new(content);
    let mut buf = alloc::vec![0; 100_000];
    let mut writer = ServeWriter::new(&mut buf, content);
    for place in 0..targets {
        let counter = 6 + u64::from(place);
        let address = SocketAddr::from(([10, 0, 0, 7], 52_311 + place));
        assert!(writer.push(
            address,
            CLIENT,
            counter,
            fanout.mac(CLIENT, counter, &key())
        ));
    }
    let len = writer.finish(7).expect("it has a target");
    buf.truncate(len);
    buf
}

fn parse_serve(frame: &[u8]) -> Serve<'_> {
    match ToClient::parse(frame[4], &frame[12..]) {
        Ok(Some(ToClient::Serve(serve))) => serve,
        other => panic!("{other:?}"),
    }
}

const SERVE_VECTOR_BYTES: usize = 135;
const SERVE_VECTOR: &str = concat!(
    "0000007b43000000b93f8a030000000701000002000000090000000100000000000000000000ffff",
    "0a000007cc570001020300000000000000067e0ddb91060ccfe7ef764ab3cc9c73ce000000000000",
    "00000000ffff0a000007cc58000102030000000000000007635a2f2f6ac82f2627258e4e36dffdc5",
    "00000e10000003e877616b65207570",
);

/// The expected bytes were computed by another implementation of the page
/// `docs/wire.md`.
#[test]
fn a_serve_frame_is_the_documented_one() {
    let expected = parse_hex::<SERVE_VECTOR_BYTES>(SERVE_VECTOR).expect("hexadecimal");
    let frame = serve_frame(&content(b"wake up"), 2);
    assert_eq!(frame, expected);

    let example = concat!(
        "0000004d43000000b0f26030000000070100000100000009",
        "0000000100000000000000000000ffff0a000007cc570001",
        "020300000000000000067e0ddb91060ccfe7ef764ab3cc9c",
        "73ce00000e10000003e877616b65207570",
    );
    let expected = parse_hex::<89>(example).expect("hexadecimal");
    assert_eq!(serve_frame(&content(b"wake up"), 1), expected);
}

#[test]
fn a_target_gets_the_datagram_that_was_sealed_for_it() {
    let frame = serve_frame(&content(b"wake up"), 3);
    let serve = parse_serve(&frame);
    assert_eq!((serve.sequence, serve.len()), (7, 3));
    let mut window = ReplayWindow::default();
    for (place, target) in serve.targets().enumerate() {
        assert_eq!(target.address.port(), 52_311 + place as u16);
        let mut buf = [0; DATAGRAM_BYTES_MAX];
        let len = serve.datagram(&target, &mut buf).expect("it fits");
        assert_eq!(len, serve.datagram_bytes());
        let sealed = Sealed::parse(&buf[..len]).expect("right");
        let opened = sealed.open(CLIENT, &key(), &mut window);
        assert_eq!(opened, Ok(content(b"wake up")));
        let too_small = serve.datagram(&target, &mut buf[..len - 1]);
        assert_eq!(too_small, Err(BufferTooSmall { needed: len }));
    }
    assert_eq!(serve.targets().count(), 3);
}

#[test]
fn the_targets_are_counted_against_the_bytes() {
    let frame = serve_frame(&content(b""), 2);
    let body = &frame[12..];
    for len in 0..HEAD_BYTES_MAX + 2 * SERVE_TARGET_BYTES {
        let parsed = ToClient::parse(kind::SERVE, &body[..len]);
        assert_eq!(parsed, Err(MessageError::Truncated), "{len}");
    }
    let mut lying = body.to_vec();
    lying[6] = 0xff;
    let parsed = ToClient::parse(kind::SERVE, &lying);
    assert_eq!(parsed, Err(MessageError::Truncated));
}

#[test]
fn p6_a_served_datagram_is_never_longer_than_one_that_a_relay_sends() {
    let payload = [b'p'; PAYLOAD_BYTES_MAX + 1];
    let frame = serve_frame(&content(&payload[1..]), 1);
    assert_eq!(frame.len(), frame::HEADER_BYTES + SERVE_BODY_BYTES_MIN);
    assert_eq!(parse_serve(&frame).datagram_bytes(), DATAGRAM_BYTES_MAX);
    let longer = [&frame[12..], b"x"].concat();
    let parsed = ToClient::parse(kind::SERVE, &longer);
    assert_eq!(parsed, Err(MessageError::TooLong));

    let mut buf = [0; 4_096];
    let too_long = content(&payload);
    let mac = Fanout::new(&too_long).mac(CLIENT, 1, &key());
    let mut writer = ServeWriter::new(&mut buf, &too_long);
    assert!(!writer.push(SocketAddr::from(([10, 0, 0, 7], 1)), CLIENT, 1, mac));
    assert_eq!(writer.finish(1), None);
}

#[test]
fn a_serve_frame_takes_as_many_targets_as_fit() {
    let content = content(b"wake up");
    let mac = Fanout::new(&content).mac(CLIENT, 1, &key());
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
    let shared = frame::HEADER_BYTES + HEAD_BYTES_MAX + 15;
    for (room, fits) in [(0, 0), (61, 0), (88, 0), (89, 1), (134, 1), (135, 2)] {
        let mut buf = alloc::vec![0; room];
        let mut writer = ServeWriter::new(&mut buf, &content);
        let pushed = (0..3).filter(|_| writer.push(address, CLIENT, 1, mac));
        assert_eq!(pushed.count(), fits, "{room} bytes");
        let expected = (fits > 0).then_some(shared + fits * SERVE_TARGET_BYTES);
        assert_eq!(writer.finish(1), expected);
    }
}

#[test]
fn an_address_is_the_same_whichever_way_it_is_written() {
    let content = content(b"");
    let mac = Fanout::new(&content).mac(CLIENT, 1, &key());
    for (put, read) in [
        ("10.1.2.3:80", "10.1.2.3:80"),
        ("[::ffff:10.1.2.3]:80", "10.1.2.3:80"),
        ("[2001:db8::1]:65535", "[2001:db8::1]:65535"),
        ("[::1]:0", "[::1]:0"),
    ] {
        let mut buf = [0; 200];
        let mut writer = ServeWriter::new(&mut buf, &content);
        assert!(writer.push(put.parse().unwrap(), CLIENT, 1, mac));
        let len = writer.finish(1).unwrap();
        let target = parse_serve(&buf[..len]).targets().next().unwrap();
        assert_eq!(target.address, read.parse().unwrap());
    }
}
