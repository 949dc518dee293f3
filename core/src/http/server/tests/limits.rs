//! Limits hold to the byte: promise W5. One under, or at, and one over.

use super::super::super::encode::{CHUNK_OVERHEAD, LAST_CHUNK, head_bytes};
use super::malformed::verdict;
use super::*;

/// Bytes that may wait to be written, in the tests of that limit.
const QUEUED_BYTES_MAX: usize = 2_000;

fn asked(head: &str) -> World {
    let mut world = World::with(Limits {
        response_bytes_max: QUEUED_BYTES_MAX,
        ..Limits::default()
    });
    world.receive(head);
    assert_eq!(world.effects(), [Effect::Request]);
    world
}

#[test]
fn w5_heads_and_bodies_have_limits() {
    let limits = Limits {
        head_bytes_max: 200,
        headers_max: 30,
        target_bytes_max: 50,
        body_bytes_max: 10,
        chunk_extension_bytes_max: 4,
        ..Limits::default()
    };
    let long = |target: usize, value: usize| {
        let (target, value) = ("a".repeat(target - 1), "b".repeat(value));
        format!("GET /{target} HTTP/1.1\r\nHost: h\r\nA: {value}\r\n\r\n")
    };
    let at_limit = long(1, 200 - long(1, 0).len());
    assert_eq!(at_limit.len(), 200);
    let fields = |count: usize| {
        let fields = "a:\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost:\r\n{fields}\r\n")
    };
    let body = |len: usize| {
        let body = "c".repeat(len);
        format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n{body}")
    };
    let chunked = |body: &str| {
        format!("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n")
    };
    let chunks = |len: usize| chunked(&"1\r\nc\r\n".repeat(len));
    use Refusal::{BodyTooLarge, HeadTooLarge, Malformed, TargetTooLong};
    for (stream, expected, why) in [
        (at_limit.clone(), 0, None),
        (at_limit.replace("A: ", "A: b"), 431, Some(HeadTooLarge)),
        (long(50, 0), 0, None),
        (long(51, 0), 414, Some(TargetTooLong)),
        (
            format!("GET /{}", "a".repeat(195)),
            414,
            Some(TargetTooLong),
        ),
        ("A".repeat(200), 431, Some(HeadTooLarge)),
        (fields(30), 0, None),
        (fields(31), 431, Some(HeadTooLarge)),
        (body(10), 0, None),
        (body(11), 413, Some(BodyTooLarge)),
        (chunks(10), 0, None),
        (chunks(11), 413, Some(BodyTooLarge)),
        (chunked("1;a\r\nc\r\n1;b\r\nc\r\n"), 0, None),
        (chunked("1;a\r\nc\r\n1;bc\r\nc\r\n"), 400, Some(Malformed)),
    ] {
        let verdict = verdict(&limits, stream.as_bytes());
        assert_eq!(verdict, (expected, why), "{stream:?}");
    }
    let few = Limits {
        headers_max: 2,
        ..Limits::default()
    };
    assert_eq!(verdict(&few, fields(2).as_bytes()).0, 0);
    assert_eq!(verdict(&few, fields(3).as_bytes()).0, 431);
}

#[test]
fn w5_a_response_is_queued_up_to_the_limit() {
    let room = QUEUED_BYTES_MAX - head_bytes(&[("A", "")]);
    // Fields and body share the room.
    for (value, body) in [
        (0, room - 1),
        (0, room),
        (0, room + 1),
        (room, 0),
        (room + 1, 0),
        (700, room - 700),
        (701, room - 700),
    ] {
        let mut world = asked("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let (value, body) = ("v".repeat(value), "b".repeat(body));
        let headers = [("A", value.as_str())];
        let head = ResponseHead {
            headers: &headers,
            ..OK
        };
        let before = format!("{:?}", world.server);
        let bytes = ResponseBody::Bytes(body.as_bytes());
        let responded = world
            .server
            .respond(world.now, &head, bytes, &mut world.pool);
        let asked_for = value.len() + body.len();
        if asked_for <= room {
            assert_eq!(responded, Ok(()), "{asked_for} of {room}");
            assert!((asked_for..=QUEUED_BYTES_MAX).contains(&world.server.out.len()));
        } else {
            assert_eq!(responded, Err(Misuse::TooLarge), "{asked_for} of {room}");
            assert_eq!(format!("{:?}", world.server), before);
        }
    }
}

#[test]
fn w5_the_head_of_an_upgrade_is_queued_up_to_the_limit() {
    let room = QUEUED_BYTES_MAX - head_bytes(&[("Upgrade", "tautline"), ("A", "")]);
    for (value, expected) in [
        (room - 1, Ok(())),
        (room, Ok(())),
        (room + 1, Err(Misuse::TooLarge)),
    ] {
        let mut world =
            asked("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: tautline\r\n\r\n");
        let value = "v".repeat(value);
        let headers = [("Upgrade", "tautline"), ("A", value.as_str())];
        let upgraded = world.server.upgrade(world.now, &headers, &mut world.pool);
        assert_eq!(upgraded, expected);
        assert!(world.server.out.len() <= QUEUED_BYTES_MAX);
    }
}

#[test]
fn w5_a_stream_is_queued_up_to_the_limit() {
    let chunked = (
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        ResponseBody::Stream { len: None },
    );
    let known = (
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        ResponseBody::Stream { len: Some(5_000) },
    );
    let raw = ("GET / HTTP/1.0\r\n\r\n", ResponseBody::Stream { len: None });
    for (request, body) in [chunked, known, raw] {
        for offered_over in [-1, 0, 1] {
            let mut world = asked(request);
            assert_eq!(world.respond(body.clone()), Ok(()));
            let (now, queued) = (world.now, world.server.out.len());
            let room = QUEUED_BYTES_MAX - queued - CHUNK_OVERHEAD - LAST_CHUNK.len();
            let offered = vec![b'x'; room.saturating_add_signed(offered_over)];
            let taken = world.server.stream(now, &offered, &mut world.pool);
            assert_eq!(taken, offered.len().min(room), "{body:?}");
            // Full, it takes nothing, and its end still fits.
            if taken == room {
                assert_eq!(world.server.stream(now, b"y", &mut world.pool), 0);
            }
            assert!(world.server.out.len() + LAST_CHUNK.len() <= QUEUED_BYTES_MAX);
            // What leaves makes room.
            world.written();
            assert_eq!(world.server.stream(now, b"y", &mut world.pool), 1);
        }
    }
}
