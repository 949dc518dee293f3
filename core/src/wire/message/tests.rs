use alloc::vec::Vec;

use super::*;
use crate::{Incarnation, NotificationId};

const ID: NotificationId = NotificationId::new(Incarnation(9), 1);

fn to_client() -> [(ToClient<'static>, &'static [u8]); 6] {
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
    ]
}

fn to_relay() -> [(ToRelay<'static>, &'static [u8]); 4] {
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
    for kind in [kind::HELLO, kind::NOTIFICATION, kind::TAKEN, 0x7f] {
        assert_eq!(ToRelay::parse(kind, &[0; 99]), Err(MessageError::Direction));
    }
    for kind in [kind::REPLY, 0xbf] {
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
