//! What an application answers with: bytes, streams, files.

use super::*;

#[test]
fn responses_are_framed_by_version_method_and_status() {
    let stream = |len| ResponseBody::Stream { len };
    let file = || ResponseBody::File {
        file: FILE,
        range: 2..6,
    };
    let cases = [
        (
            "GET / HTTP/1.1",
            200,
            ResponseBody::Empty,
            "Content-Length: 0\r\n\r\n",
        ),
        (
            "GET / HTTP/1.0",
            200,
            ResponseBody::Bytes(b"x"),
            "Content-Length: 1\r\nConnection: close\r\n\r\nx",
        ),
        (
            "HEAD / HTTP/1.1",
            200,
            ResponseBody::Bytes(b"x"),
            "Content-Length: 1\r\n\r\n",
        ),
        ("HEAD / HTTP/1.1", 200, file(), "Content-Length: 4\r\n\r\n"),
        (
            "HEAD / HTTP/1.1",
            200,
            stream(None),
            "Transfer-Encoding: chunked\r\n\r\n",
        ),
        ("GET / HTTP/1.1", 204, ResponseBody::Empty, "\r\n"),
        ("GET / HTTP/1.1", 304, ResponseBody::Empty, "\r\n"),
        ("GET / HTTP/1.1", 200, file(), "Content-Length: 4\r\n\r\n"),
        (
            "GET / HTTP/1.1",
            200,
            stream(Some(3)),
            "Content-Length: 3\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1",
            200,
            stream(None),
            "Transfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "GET / HTTP/1.0",
            200,
            stream(None),
            "Connection: close\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nConnection: x , Close",
            200,
            ResponseBody::Empty,
            "Content-Length: 0\r\nConnection: close\r\n\r\n",
        ),
    ];
    for (line, status, body, expected) in cases {
        let mut world = World::new();
        world.receive(format!("{line}\r\nHost: h\r\n\r\n"));
        let head = ResponseHead { status, ..OK };
        let responded = world
            .server
            .respond(world.now, &head, body, &mut world.pool);
        assert_eq!(responded, Ok(()));
        let written = world.written();
        let (_, rest) = written.split_once("\r\n").expect("a status line");
        assert_eq!(rest, expected, "{line} {status}");
    }
}

#[test]
fn streams_are_pulled_and_bounded() {
    let limits = Limits {
        response_bytes_max: 1_024,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(world.respond(ResponseBody::Stream { len: None }), Ok(()));
    assert_eq!(world.effects(), [Effect::Pull]);
    let big = [b'x'; 2_000];
    let (now, mut taken) = (world.now, 0);
    loop {
        let more = world.server.stream(now, &big[taken..], &mut world.pool);
        if more == 0 {
            break;
        }
        taken += more;
    }
    assert!((900..1_024).contains(&taken));
    assert!(world.server.out.len() <= 1_024);
    assert!(world.written().ends_with("x\r\n"));
    assert_eq!(world.effects(), [Effect::Pull]);
    assert_eq!(world.deadline(), None);
    assert_eq!(world.server.stream_end(now, &mut world.pool), Ok(()));
    assert_eq!(world.written(), "0\r\n\r\n");
    let finished = Effect::Finished {
        status: 200,
        aborted: false,
    };
    assert_eq!(world.effects(), [finished]);
    assert_eq!(
        world.server.stream_end(now, &mut world.pool),
        Err(Misuse::NoStream)
    );
    assert_eq!(world.server.stream(now, b"x", &mut world.pool), 0);
}

#[test]
fn a_short_stream_is_misuse_and_can_be_aborted() {
    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(world.respond(ResponseBody::Stream { len: Some(3) }), Ok(()));
    world.effects();
    let now = world.now;
    assert_eq!(world.server.stream(now, b"ab", &mut world.pool), 2);
    assert_eq!(
        world.server.stream_end(now, &mut world.pool),
        Err(Misuse::StreamShort)
    );
    assert_eq!(world.server.stream(now, b"cd", &mut world.pool), 1);
    world.server.abort(&mut world.pool);
    let finished = Effect::Finished {
        status: 200,
        aborted: true,
    };
    assert_eq!(world.effects(), [finished, Effect::Close(Close::Abort)]);
    assert_eq!(world.deadline(), None);
}

#[test]
fn a_file_leaves_behind_what_was_written() {
    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    world.effects();
    let body = ResponseBody::File {
        file: FILE,
        range: 10..15,
    };
    assert_eq!(world.respond(body), Ok(()));
    assert_eq!(world.effects(), []);
    assert!(world.written().ends_with("\r\n\r\n"));
    world.server.handle_blocked(world.now);
    assert_eq!(world.effects(), []);
    world.server.handle_writable(world.now);
    let send = Effect::SendFile {
        file: FILE,
        range: 10..15,
    };
    assert_eq!(world.effects(), [send]);
    assert_eq!(world.deadline(), Some(Duration::from_secs(30)));
    world.server.handle_moved(world.now, 4, &mut world.pool);
    assert_eq!(world.effects(), []);
    world.server.handle_moved(world.now, 1, &mut world.pool);
    let finished = Effect::Finished {
        status: 200,
        aborted: false,
    };
    assert_eq!(world.effects(), [finished]);
    assert_eq!(world.deadline(), Some(Duration::from_secs(60)));
}

#[test]
fn misuse_changes_nothing() {
    let mut world = World::new();
    assert_eq!(world.respond(ResponseBody::Empty), Err(Misuse::NoRequest));
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    world.effects();
    let before = format!("{:?}", world.server);
    let now = world.now;
    let head = |status, headers| ResponseHead {
        status,
        headers,
        close: false,
    };
    let big = vec![0; 262_144];
    let reversed = ResponseBody::File {
        file: FILE,
        range: Range { start: 2, end: 1 },
    };
    for (head, body, misuse) in [
        (head(199, &[][..]), ResponseBody::Empty, Misuse::Status),
        (head(101, &[]), ResponseBody::Empty, Misuse::Status),
        (head(600, &[]), ResponseBody::Empty, Misuse::Status),
        (
            head(204, &[]),
            ResponseBody::Bytes(b"x"),
            Misuse::BodyNotAllowed,
        ),
        (
            head(200, &[("a b", "")]),
            ResponseBody::Empty,
            Misuse::HeaderName,
        ),
        (
            head(200, &[("Connection", "x")]),
            ResponseBody::Empty,
            Misuse::HeaderName,
        ),
        (
            head(200, &[("a", "b\r\nc: d")]),
            ResponseBody::Empty,
            Misuse::HeaderValue,
        ),
        (
            head(200, &[("a", "\0")]),
            ResponseBody::Empty,
            Misuse::HeaderValue,
        ),
        (head(200, &[]), ResponseBody::Bytes(&big), Misuse::TooLarge),
        (head(200, &[]), reversed, Misuse::Range),
    ] {
        let responded = world.server.respond(now, &head, body, &mut world.pool);
        assert_eq!(responded, Err(misuse));
    }
    assert_eq!(
        world.server.stream_end(now, &mut world.pool),
        Err(Misuse::NoStream)
    );
    assert_eq!(format!("{:?}", world.server), before);
}
