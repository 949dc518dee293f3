//! Random inputs through the fuzz bodies; and inputs that come close to right,
//! which random bytes do not.

use alloc::format;
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::fuzz;

fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..len_max)
}

/// Bytes with a few of them changed, cut or put in.
fn damaged(right: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let places = vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 0..4);
    (Just(right), places).prop_map(|(mut bytes, places)| {
        for (place, byte, how) in places {
            let place = place.index(bytes.len() + 1);
            match how {
                0 if place < bytes.len() => bytes[place] = byte,
                1 => bytes.truncate(place),
                _ => bytes.insert(place, byte),
            }
        }
        bytes
    })
}

fn frame_stream() -> impl Strategy<Value = Vec<u8>> {
    let frames = vec((any::<u8>(), any::<u8>(), bytes(320)), 0..6);
    (bytes(8), frames).prop_flat_map(|(cuts, frames)| {
        let mut stream = [cuts, [1; 8].to_vec()].concat();
        stream.truncate(8);
        for (kind, flags, body) in frames {
            let start = stream.len();
            stream.resize(start + 12 + body.len(), 0);
            let len = super::frame::encode(kind, flags, &body, &mut stream[start..]);
            assert!(len.is_ok());
        }
        damaged(stream)
    })
}

fn proxy_header() -> impl Strategy<Value = Vec<u8>> {
    const ADDRESSES: [&str; 4] = [
        "TCP4 192.0.2.1 192.0.2.2 5000 443",
        "TCP6 2001:db8::1 ::1 65535 0",
        "UNKNOWN",
        "UNKNOWN anything at all",
    ];
    let v1 = prop::sample::select(&ADDRESSES[..])
        .prop_map(|addresses| format!("PROXY {addresses}\r\nGET /").into_bytes());
    let family = prop::sample::select(&[0x00, 0x11, 0x21, 0x12][..]);
    let v2 = (0x20_u8..0x22, family, bytes(80)).prop_map(|(command, family, rest)| {
        let len = [0, rest.len() as u8];
        let signature = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        [signature, [command, family].to_vec(), len.to_vec(), rest].concat()
    });
    prop_oneof![v1, v2].prop_flat_map(damaged)
}

fn authorization_value() -> impl Strategy<Value = Vec<u8>> {
    (any::<[u8; 16]>(), any::<u64>(), any::<[u8; 32]>()).prop_flat_map(|(client, counter, mac)| {
        let client = crate::ClientId(client);
        let proof = super::proof::Authorization {
            client,
            counter,
            mac,
        };
        damaged(format!("{proof}").into_bytes())
    })
}

proptest! {
    #[test]
    fn any_bytes_as_frames(data in bytes(600)) {
        fuzz::frames(&data);
    }

    #[test]
    fn nearly_right_bytes_as_frames(data in frame_stream()) {
        fuzz::frames(&data);
    }

    #[test]
    fn any_bytes_as_messages(data in bytes(40)) {
        fuzz::messages(&data);
    }

    #[test]
    fn known_kinds_as_messages(
        kind in prop::sample::select(&[1, 2, 3, 0x40, 0x41, 0x42, 0x80, 0x81_u8][..]),
        body in bytes(40),
    ) {
        fuzz::messages(&[&[kind][..], &body].concat());
    }

    #[test]
    fn serve_frames_as_messages(targets in 0_u8..4, reserved in any::<u8>(), rest in bytes(1_300)) {
        let head = [0x43, 0, 0, 0, 1, 1, reserved, 0, targets, 0, 0, 0, 9, 0, 0, 0, 1];
        fuzz::messages(&[&head[..], &rest].concat());
    }

    #[test]
    fn any_bytes_as_datagrams(data in bytes(1_200)) {
        fuzz::datagrams(&data);
    }

    #[test]
    fn any_bytes_as_opening(data in bytes(120)) {
        fuzz::opening(&data);
    }

    #[test]
    fn nearly_right_bytes_as_opening(data in proxy_header()) {
        fuzz::opening(&data);
    }

    #[test]
    fn any_bytes_as_authorization(data in bytes(200)) {
        fuzz::authorization(&data);
    }

    #[test]
    fn nearly_right_bytes_as_authorization(data in authorization_value()) {
        fuzz::authorization(&data);
    }

    #[test]
    fn any_bytes_as_replay(data in bytes(400)) {
        fuzz::replay(&data);
    }
}
