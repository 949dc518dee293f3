//! The bodies of the fuzz targets: each takes any bytes and panics if a
//! promise of [`wire`](super) does not hold for them.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::cursor::Reader;
use super::datagram::{Content, DATAGRAM_BYTES_MAX, DatagramError, Fanout, Hint, Sealed, Test};
use super::frame::{self, Deframer, Frame, FrameError, Header};
use super::message::{
    MessageError, Notification, Serve, ServeTarget, ServeWriter, ToClient, ToRelay,
};
use super::opening::{Opening, PROXY_V2_BYTES_MAX, detect};
use super::proof::{Authorization, BodyDigest, ClientSecret, Request, SessionKey};
use super::replay::{Replay, ReplayWindow, WINDOW_COUNTERS};
use crate::collections::Pool;
use crate::{ClientId, NotificationId};

const BODY_BYTES_MAX: u32 = 300;

/// Any stream gives the same frames and the same end however it is cut, and
/// frames that were encoded, whole or in parts, come out as they went in.
pub fn frames(data: &[u8]) {
    let (cuts, stream) = data.split_at(data.len().min(8));
    assert_eq!(deframe(stream, &[u8::MAX]), deframe(stream, cuts));

    let mut stream = Vec::new();
    let mut sent = Vec::new();
    for record in data.chunks(usize::from(*cuts.first().unwrap_or(&0)) + 3) {
        let [kind, flags, body @ ..] = record else {
            break;
        };
        let (kind, flags) = (*kind, *flags);
        sent.push((kind, flags, body.to_vec()));
        let whole = encode_whole(kind, flags, body);
        assert_eq!(whole, encode_parts(kind, flags, body, cuts));
        stream.extend_from_slice(&whole);
    }
    assert_eq!(deframe(&stream, cuts), (sent, None));
}

/// Any body is a message of at most one direction's set or an error, and what
/// is a message encodes to itself.
pub fn messages(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let to_client = ToClient::parse(*kind, body);
    let to_relay = ToRelay::parse(*kind, body);
    let of_relay = (0x40..=0x7f).contains(kind);
    let of_client = (0x80..=0xbf).contains(kind);
    assert_eq!(to_relay == Err(MessageError::Direction), of_relay);
    assert_eq!(to_client == Err(MessageError::Direction), of_client);
    let mut buf = vec![0; body.len() + frame::HEADER_BYTES];
    if let Ok(Some(message)) = to_client {
        let len = message.encode(&mut buf).expect("never longer than it came");
        assert_eq!(len, message.encoded_len());
        let (kind, body) = only_frame(&buf[..len]);
        assert_eq!(ToClient::parse(kind, &body), Ok(Some(message)));
        if let ToClient::Serve(serve) = message {
            read_serve(&serve);
        }
    }
    if let Ok(Some(message)) = to_relay {
        let len = message.encode(&mut buf).expect("never longer than it came");
        assert_eq!(len, message.encoded_len());
        let (kind, body) = only_frame(&buf[..len]);
        assert_eq!(ToRelay::parse(kind, &body), Ok(Some(message)));
    }
}

/// Any bytes are a datagram or an error; what was sealed opens once, for its
/// target and key alone, and not after any change.
pub fn datagrams(data: &[u8]) {
    let (client, key) = (ClientId([0x11; 16]), SessionKey([0x22; 32]));
    if let Ok(sealed) = Sealed::parse(data) {
        let opened = sealed.open(client, &key, &mut ReplayWindow::default());
        assert!(opened.is_err(), "nobody guesses a MAC");
    }

    let mut reader = Reader::new(data);
    let (Ok(choice), Ok(place), Ok(bit), Ok(counter), Ok(number)) = (
        reader.u8(),
        reader.u16(),
        reader.u8(),
        reader.u64(),
        reader.u64(),
    ) else {
        return;
    };
    let content = content(choice, number, reader.rest());
    let mut buf = vec![0; content.encoded_len()];
    let len = Fanout::new(&content).encode(&content, client, counter, &key, &mut buf);
    assert_eq!(len, Ok(buf.len()));
    let Ok(sealed) = Sealed::parse(&buf) else {
        return assert!(!content.fits());
    };
    assert!(content.fits());
    let port = place % 50 + 1;
    let served = serve(&content, client, counter, &key, port);
    assert_eq!(served, vec![buf.clone(); usize::from(port)]);

    let mut window = ReplayWindow::default();
    let other = SessionKey([0x23; 32]);
    let forged = sealed.open(client, &other, &mut window);
    assert_eq!(forged, Err(DatagramError::Forged));
    let foreign = sealed.open(ClientId([0x10; 16]), &key, &mut window);
    assert_eq!(foreign, Err(DatagramError::Foreign));
    assert_eq!(sealed.open(client, &key, &mut window), Ok(content));
    let again = sealed.open(client, &key, &mut window);
    assert_eq!(again, Err(DatagramError::Replayed));

    let place = usize::from(place) % buf.len();
    buf[place] ^= 1 << (bit % 8);
    let changed = Sealed::parse(&buf)
        .and_then(|sealed| sealed.open(client, &key, &mut ReplayWindow::default()));
    assert!(changed.is_err(), "byte {place} is not covered");
}

/// Whatever a frame lists, it gives as many datagrams as it says, none longer
/// than allowed.
fn read_serve(serve: &Serve<'_>) {
    let mut buf = [0; DATAGRAM_BYTES_MAX];
    let mut targets = 0;
    for target in serve.targets() {
        assert_eq!(target.address.ip(), target.address.ip().to_canonical());
        let len = serve.datagram(&target, &mut buf);
        assert_eq!(len, Ok(serve.datagram_bytes()));
        targets += 1;
    }
    assert_eq!((targets, serve.is_empty()), (serve.len(), targets == 0));
}

/// The datagrams that a client passes on for so many targets, each the same
/// client at another port.
fn serve(
    content: &Content<'_>,
    client: ClientId,
    counter: u64,
    key: &SessionKey,
    targets: u16,
) -> Vec<Vec<u8>> {
    let mac = Fanout::new(content).mac(client, counter, key);
    let mut buf = vec![0; 4_096];
    let mut writer = ServeWriter::new(&mut buf, content);
    for port in 0..targets {
        assert!(writer.push(([10, 0, 0, 7], port).into(), client, counter, mac));
    }
    let len = writer.finish(1).expect("it has a target");
    let (kind, body) = only_frame(&buf[..len]);
    let Ok(Some(ToClient::Serve(serve))) = ToClient::parse(kind, &body) else {
        panic!("it was encoded right");
    };
    let datagram = |(port, target): (u16, ServeTarget)| {
        assert_eq!(target.address, ([10, 0, 0, 7], port).into());
        let mut buf = vec![0; serve.datagram_bytes()];
        assert_eq!(serve.datagram(&target, &mut buf), Ok(buf.len()));
        buf
    };
    (0..).zip(serve.targets()).map(datagram).collect()
}

/// Once it is told what a connection speaks, more bytes do not change it, and
/// it is told within the bound.
pub fn opening(data: &[u8]) {
    let mut told = Opening::NeedMore;
    for len in 0..=data.len().min(PROXY_V2_BYTES_MAX + 2) {
        let now = detect(&data[..len]);
        if told != Opening::NeedMore {
            assert_eq!(now, told, "after {len} bytes");
        }
        told = now;
        match told {
            Opening::NeedMore => assert!(len < PROXY_V2_BYTES_MAX),
            Opening::Proxy(header) => assert!(header.header_bytes <= len),
            _ => {}
        }
    }
}

/// Any field value is a proof or an error; a proof is written as one text, and
/// proves what it was made for alone.
pub fn authorization(data: &[u8]) {
    if let Ok(parsed) = Authorization::parse(data) {
        let text = parsed.to_string();
        assert_eq!(Authorization::parse(text.as_bytes()), Ok(parsed));
        assert!(text.len() <= data.len());
    }

    let text: alloc::string::String = data.iter().map(|byte| char::from(*byte)).collect();
    let cut = text.char_indices().nth(text.chars().count() / 2);
    let (method, target) = text.split_at(cut.map_or(0, |(at, _)| at));
    let body = BodyDigest::of(data);
    let request = Request {
        method,
        target,
        body,
    };
    let (client, counter) = (ClientId([0x31; 16]), data.len() as u64);
    let key = SessionKey([0x32; 32]);
    let proof = request.prove(&key, client, counter);
    assert_eq!(
        Authorization::parse(proof.to_string().as_bytes()),
        Ok(proof)
    );
    assert!(proof.proves(&key, &request));
    let secret = ClientSecret(key.0);
    assert!(!proof.proves_registration(&secret, &request));
    let later = Authorization {
        counter: counter + 1,
        ..proof
    };
    assert!(!later.proves(&key, &request));
    let shifted = Request {
        method: target,
        target: method,
        body,
    };
    assert_eq!(proof.proves(&key, &shifted), method == target);
}

/// The window says what a set of all counters says, within 64 of the highest.
pub fn replay(data: &[u8]) {
    let mut window = ReplayWindow::default();
    let mut seen = BTreeSet::new();
    let mut counter = u64::from(*data.first().unwrap_or(&0));
    for step in data.chunks_exact(2) {
        counter = match step[0] {
            0..=99 => counter.wrapping_add(u64::from(step[1]) % 8),
            100..=199 => counter.wrapping_sub(u64::from(step[1]) % 80),
            200..=253 => counter.wrapping_add(u64::from(step[1])),
            _ => u64::MAX - u64::from(step[1]),
        };
        let too_old = seen
            .last()
            .is_some_and(|highest: &u64| highest.saturating_sub(counter) >= WINDOW_COUNTERS);
        let expected = match (too_old, seen.contains(&counter)) {
            (true, _) => Err(Replay::TooOld),
            (false, true) => Err(Replay::Repeated),
            (false, false) => Ok(()),
        };
        assert_eq!(window.check(counter), expected, "check {counter}");
        assert_eq!(window.accept(counter), expected, "accept {counter}");
        if expected.is_ok() {
            seen.insert(counter);
        }
        assert_eq!(window.highest(), seen.last().copied());
    }
}

type Found = (Vec<(u8, u8, Vec<u8>)>, Option<FrameError>);

/// The frames of a stream that comes in pieces of the lengths in `cuts`, over
/// and over, and how it ended.
fn deframe(stream: &[u8], cuts: &[u8]) -> Found {
    let (mut deframer, mut pool) = (Deframer::default(), Pool::new(8, 4_096));
    let mut frames = Vec::new();
    let mut cuts = cuts.iter().cycle();
    let mut rest = stream;
    while !rest.is_empty() {
        let cut = cuts.next().map_or(1, |cut| match cut {
            &u8::MAX => usize::MAX,
            cut => usize::from(*cut) + 1,
        });
        let (mut piece, behind) = rest.split_at(cut.min(rest.len()));
        rest = behind;
        loop {
            match deframer.next(&mut piece, BODY_BYTES_MAX, &mut pool) {
                Ok(Some(Frame { kind, flags, body })) => frames.push((kind, flags, body.to_vec())),
                Ok(None) => break,
                Err(error) => {
                    let again = deframer.next(&mut rest, BODY_BYTES_MAX, &mut pool);
                    assert_eq!(again, Err(error), "an error is the end");
                    return (frames, Some(error));
                }
            }
        }
        assert!(piece.is_empty(), "all bytes are taken");
    }
    (frames, None)
}

fn encode_whole(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; body.len() + frame::HEADER_BYTES];
    assert_eq!(frame::encode(kind, flags, body, &mut buf), Ok(buf.len()));
    buf
}

fn encode_parts(kind: u8, flags: u8, body: &[u8], cuts: &[u8]) -> Vec<u8> {
    let (first, second) = body.split_at(body.len() / 3);
    let parts = [first, &[], second];
    let header = Header::for_body(kind, flags, &parts).expect("short enough");
    let mut frame = Vec::new();
    for cut in cuts.iter().cycle() {
        let mut buf = vec![0; usize::from(*cut) + 1];
        let len = frame::encode_part(&header, &parts, frame.len() as u64, &mut buf);
        if len == 0 {
            break;
        }
        frame.extend_from_slice(&buf[..len]);
    }
    assert_eq!(frame.len() as u64, header.frame_bytes());
    frame
}

fn only_frame(bytes: &[u8]) -> (u8, Vec<u8>) {
    let (mut input, mut deframer) = (bytes, Deframer::default());
    let found = deframer.next(&mut input, u32::MAX, &mut Pool::new(8, 4_096));
    let frame = found.expect("encoded right").expect("encoded whole");
    assert!(input.is_empty());
    (frame.kind, frame.body.to_vec())
}

fn content(choice: u8, number: u64, payload: &[u8]) -> Content<'_> {
    let id = NotificationId(number);
    let (lifetime_s, reply_window_ms) = (u32::from(choice) * 7, u32::from(choice) * 11);
    match choice % 3 {
        0 => Content::Notification(Notification {
            id,
            lifetime_s,
            reply_window_ms,
            payload,
        }),
        1 => Content::Hint(Hint {
            id,
            lifetime_s,
            reply_window_ms,
            payload_bytes: payload.len() as u32,
        }),
        _ => Content::Test(Test { nonce: number }),
    }
}
