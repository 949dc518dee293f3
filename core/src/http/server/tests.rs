mod malformed;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use super::super::{Limits, Misuse, Reading, ResponseBody, ResponseHead, Settings, Timeouts};
use super::*;
use crate::Key;
use crate::collections::Pool;

const FILE: FileId = FileId::from_key(Key::new(3, 0));
const OK: ResponseHead<'_> = ResponseHead {
    status: 200,
    headers: &[],
    close: false,
};

/// A server, its driver and the time.
struct World {
    server: Server,
    pool: Pool,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let now = Instant::from_micros(1_000_000);
        let settings = Arc::new(Settings::new(limits, Timeouts::default()));
        Self {
            server: Server::new(now, &settings),
            pool: Pool::new(8, 65_536),
            now,
        }
    }

    fn receive(&mut self, bytes: impl AsRef<[u8]>) -> usize {
        let bytes = bytes.as_ref();
        self.server.handle_received(self.now, bytes, &mut self.pool)
    }

    fn effects(&mut self) -> Vec<Effect> {
        core::iter::from_fn(|| self.server.poll()).collect()
    }

    fn written(&mut self) -> String {
        let mut written = Vec::new();
        let mut buf = [0; 50];
        loop {
            let len = self.server.poll_write(self.now, &mut buf, &mut self.pool);
            if len == 0 {
                break;
            }
            written.extend_from_slice(&buf[..len]);
        }
        String::from_utf8(written).expect("text")
    }

    fn respond(&mut self, body: ResponseBody<'_>) -> Result<(), Misuse> {
        self.server.respond(self.now, &OK, body, &mut self.pool)
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.server.handle_timeout(self.now, &mut self.pool);
    }

    fn deadline(&self) -> Option<Duration> {
        self.server
            .poll_timeout()
            .map(|deadline| deadline.saturating_since(self.now))
    }
}

#[test]
fn a_request_is_read_and_answered() {
    let mut world = World::new();
    let stream =
        "POST /a/b?c=d HTTP/1.1\r\nHost: h:1\r\nX-Y: \t z \r\nContent-Length: 5\r\n\r\nhelloGET";
    let taken = world.receive(stream);
    assert_eq!(&stream[taken..], "helloGET");
    assert_eq!(world.effects(), [Effect::Request]);
    let request = world.server.request().expect("a request");
    assert_eq!(request.method(), "POST");
    assert_eq!((request.path(), request.query()), ("/a/b", Some("c=d")));
    assert_eq!(request.host(), Some("h:1"));
    assert_eq!(request.header_str("x-y"), Some("z"));
    assert_eq!(request.headers().len(), 3);
    assert_eq!(request.body(), super::super::BodyLength::Known(5));
    assert_eq!(world.deadline(), None);

    let reading = Reading::Whole { bytes_max: 5 };
    assert_eq!(
        world.server.read_body(world.now, reading, &mut world.pool),
        Ok(())
    );
    assert_eq!(
        world.server.read_body(world.now, reading, &mut world.pool),
        Err(Misuse::ReadingChosen)
    );
    assert_eq!(world.effects(), [Effect::Resume]);
    assert_eq!(world.receive("helloGET"), 5);
    assert_eq!(world.effects(), [Effect::BodyEnd]);
    assert_eq!(world.server.body(), b"hello");
    let head = ResponseHead {
        status: 201,
        headers: &[("Location", "/x")],
        close: false,
    };
    let responded = world.server.respond(
        world.now,
        &head,
        ResponseBody::Bytes(b"made"),
        &mut world.pool,
    );
    assert_eq!(responded, Ok(()));
    assert_eq!(
        world.written(),
        "HTTP/1.1 201 Created\r\nLocation: /x\r\nContent-Length: 4\r\n\r\nmade"
    );
    let finished = Effect::Finished {
        status: 201,
        aborted: false,
    };
    assert_eq!(world.effects(), [finished, Effect::Resume]);
    assert_eq!(world.deadline(), Some(Duration::from_secs(60)));
    assert_eq!(world.server.head.body().len() + world.server.out.len(), 0);
}

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
fn a_hundred_comes_when_the_body_is_read() {
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut world = World::new();
    world.receive(head);
    assert_eq!(world.effects(), [Effect::Request]);
    assert!(
        world
            .server
            .request()
            .is_some_and(|request| request.expects_continue())
    );
    assert_eq!(world.written(), "");
    let (now, reading) = (world.now, Reading::Chunks);
    assert_eq!(
        world.server.read_body(now, reading, &mut world.pool),
        Ok(())
    );
    assert_eq!(world.written(), "HTTP/1.1 100 Continue\r\n\r\n");
    world.receive("ab");
    assert_eq!(world.effects(), [Effect::Body]);
    world.server.consume_body(now);
    assert_eq!(world.effects(), [Effect::BodyEnd]);

    // Refused unread, the connection ends: the body may come or not.
    let mut world = World::new();
    world.receive(head);
    world.effects();
    assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
    assert!(world.written().contains("Connection: close"));
    assert!(world.effects().contains(&Effect::Close(Close::Finish)));
}

#[test]
fn a_body_goes_to_a_file() {
    let mut world = World::new();
    world.receive("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    world.effects();
    let reading = Reading::Take {
        sink: FILE,
        offset: 100,
    };
    let now = world.now;
    assert_eq!(
        world.server.read_body(now, reading, &mut world.pool),
        Ok(())
    );
    assert_eq!(world.receive("5\r\nhello\r\n"), 3);
    let take = |offset, len| Effect::Take {
        sink: FILE,
        offset,
        len,
    };
    assert_eq!(world.effects(), [take(100, 5)]);
    assert_eq!(
        world.respond(ResponseBody::Empty),
        Err(Misuse::BodyOutstanding)
    );
    world.server.handle_moved(now, 5, &mut world.pool);
    assert_eq!(world.effects(), [Effect::Resume]);
    assert_eq!(world.receive("\r\n2\r\nab\r\n"), 5);
    assert_eq!(world.effects(), [take(105, 2)]);
    world.server.handle_moved(now, 2, &mut world.pool);
    assert_eq!(world.effects(), [Effect::Resume]);
    assert_eq!(world.receive("\r\n0\r\n\r\nGET"), 7);
    assert_eq!(world.effects(), [Effect::BodyEnd]);
    assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
}

#[test]
fn an_unread_body_is_dropped_up_to_a_limit() {
    let limits = Limits {
        body_bytes_discard_max: 10,
        ..Limits::default()
    };
    for (length, expected) in [(10, true), (11, false)] {
        let mut world = World::with(limits.clone());
        let head = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        let next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
        let stream = format!("{head}{}{next}", "x".repeat(length));
        let taken = world.receive(&stream);
        world.effects();
        assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
        assert_eq!(!world.written().contains("Connection: close"), expected);
        let effects = world.effects();
        assert_eq!(effects.contains(&Effect::Close(Close::Finish)), !expected);
        world.receive(&stream[taken..]);
        assert_eq!(world.effects().contains(&Effect::Request), expected);
        assert_eq!(world.server.request().is_some(), expected);
    }
}

#[test]
fn an_upgrade_hands_the_connection_over() {
    let offer = "GET /v1/connect HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket, Tautline\r\n\r\n";
    let stream = format!("{offer}frames");
    let mut world = World::new();
    let taken = world.receive(&stream);
    assert_eq!(&stream[taken..], "frames");
    world.effects();
    let now = world.now;
    for headers in [&[][..], &[("Upgrade", "other")]] {
        let upgraded = world.server.upgrade(now, headers, &mut world.pool);
        assert_eq!(upgraded, Err(Misuse::NoUpgrade));
    }
    let headers = [("Upgrade", "tautline")];
    assert_eq!(world.server.upgrade(now, &headers, &mut world.pool), Ok(()));
    assert_eq!(world.receive("frames"), 0);
    assert_eq!(world.effects(), []);
    assert_eq!(
        world.written(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: tautline\r\nConnection: Upgrade\r\n\r\n"
    );
    let finished = Effect::Finished {
        status: 101,
        aborted: false,
    };
    assert_eq!(
        world.effects(),
        [finished, Effect::Upgraded, Effect::Resume]
    );
    assert_eq!(world.deadline(), None);
    assert_eq!(world.receive("frames"), 0);
    assert_eq!(world.server.head.body().len() + world.server.out.len(), 0);

    // Who does not offer it can not be upgraded, but is served.
    for head in [
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: tautline\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: tautline\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: tautline\r\nContent-Length: 1\r\n\r\n",
    ] {
        let mut world = World::new();
        world.receive(head);
        let upgraded = world.server.upgrade(now, &headers, &mut world.pool);
        assert_eq!(upgraded, Err(Misuse::NoUpgrade));
        assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
    }
}

#[test]
fn w4_a_head_is_due_as_a_whole() {
    let mut world = World::new();
    assert_eq!(world.deadline(), Some(Duration::from_secs(10)));
    for byte in "GET / HTT".bytes() {
        world.receive([byte]);
        world.pass(1);
        assert_eq!(world.effects(), []);
    }
    world.pass(1);
    assert_eq!(world.effects(), [Effect::Refused(Refusal::SlowHead)]);
    assert!(world.written().starts_with("HTTP/1.1 408 "));
    assert_eq!(world.effects(), [Effect::Close(Close::Finish)]);

    // Kept alive, it is due from its first byte.
    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
    world.written();
    world.effects();
    world.pass(59);
    world.receive("G");
    assert_eq!(world.deadline(), Some(Duration::from_secs(10)));
}

#[test]
fn w4_who_never_speaks_gets_no_answer() {
    let mut world = World::new();
    world.pass(9);
    assert_eq!(world.effects(), []);
    world.pass(1);
    let silent = Effect::Refused(Refusal::Silent);
    assert_eq!(world.effects(), [silent, Effect::Close(Close::Finish)]);
    assert_eq!(world.written(), "");
    assert_eq!(world.pool.retained(), 0);
    world.pass(2);
    assert_eq!(world.effects(), [Effect::Close(Close::Abort)]);

    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
    world.written();
    world.effects();
    world.pass(60);
    assert_eq!(world.effects(), [Effect::Close(Close::Finish)]);
}

#[test]
fn w4_a_body_has_a_least_rate_while_it_is_waited_for() {
    let mut world = World::new();
    world.receive("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    world.effects();
    assert_eq!(world.deadline(), None);
    let (now, reading) = (world.now, Reading::Chunks);
    assert_eq!(
        world.server.read_body(now, reading, &mut world.pool),
        Ok(())
    );
    for _ in 0..60 {
        world.receive([b'x'; 500]);
        world.server.consume_body(world.now);
        world.pass(1);
        assert!(
            !world
                .effects()
                .contains(&Effect::Refused(Refusal::SlowBody))
        );
    }
    // The application makes the peer wait: that is not the peer's fault.
    assert_eq!(world.receive([b'x'; 20_000]), 16_384);
    assert_eq!(world.effects(), [Effect::Body]);
    assert_eq!(world.deadline(), None);
    world.server.consume_body(world.now);
    assert_eq!(world.effects(), [Effect::Resume]);
    let mut seconds = 0;
    while world.deadline().is_some() && seconds < 100 {
        world.receive("x");
        world.server.consume_body(world.now);
        world.pass(1);
        seconds += 1;
    }
    assert_eq!(seconds, 11);
    let aborted = Effect::Finished {
        status: 408,
        aborted: true,
    };
    assert_eq!(
        world.effects(),
        [Effect::Refused(Refusal::SlowBody), aborted]
    );
    assert_eq!(world.respond(ResponseBody::Empty), Err(Misuse::NoRequest));
    assert!(world.written().starts_with("HTTP/1.1 408 "));
}

#[test]
fn w4_who_does_not_take_the_response_is_cut_off() {
    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    world.effects();
    assert_eq!(world.respond(ResponseBody::Bytes(&[b'x'; 50_000])), Ok(()));
    let mut buf = [0; 5_000];
    let len = world
        .server
        .poll_write(world.now, &mut buf, &mut world.pool);
    assert_eq!(len, 5_000);
    world.server.handle_blocked(world.now);
    assert!(!world.server.wants_write());
    assert_eq!(world.deadline(), Some(Duration::from_secs(40)));
    world.pass(39);
    world.server.handle_writable(world.now);
    assert_eq!(world.deadline(), None);
    assert!(world.server.wants_write());
    world
        .server
        .poll_write(world.now, &mut buf, &mut world.pool);
    world.server.handle_blocked(world.now);
    world.pass(40);
    let aborted = Effect::Finished {
        status: 200,
        aborted: true,
    };
    assert_eq!(
        world.effects(),
        [
            Effect::Refused(Refusal::SlowReader),
            aborted,
            Effect::Close(Close::Abort)
        ]
    );
    assert_eq!(world.deadline(), None);
}

#[test]
fn early_timeouts_change_nothing() {
    let mut world = World::new();
    for stream in [
        "",
        "GET / HTTP/1.1\r\n",
        "Host: h\r\nContent-Length: 1\r\n\r\n",
    ] {
        if !stream.is_empty() {
            world.receive(stream);
        }
        let before = format!("{:?}", world.server);
        world
            .server
            .handle_timeout(Instant::ORIGIN, &mut world.pool);
        world.server.handle_timeout(world.now, &mut world.pool);
        assert_eq!(format!("{:?}", world.server), before);
    }
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

#[test]
fn a_peer_that_ends_gets_what_is_due() {
    // Behind a request: the response.
    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    world.effects();
    world.server.handle_eof(world.now, &mut world.pool);
    assert_eq!(world.effects(), []);
    assert_eq!(world.respond(ResponseBody::Bytes(b"x")), Ok(()));
    assert!(world.written().ends_with("Connection: close\r\n\r\nx"));
    assert!(world.effects().contains(&Effect::Close(Close::Finish)));
    // Within a head, and within a body: a refusal.
    for (stream, status) in [
        ("GET", 0),
        ("PUT / HTTP/1.0\r\nContent-Length: 1\r\n\r\n", 400),
    ] {
        let mut world = World::new();
        world.receive(stream);
        world.effects();
        world.server.handle_eof(world.now, &mut world.pool);
        let mut expected = vec![Effect::Refused(Refusal::Truncated)];
        if status > 0 {
            expected.push(Effect::Finished {
                status,
                aborted: true,
            });
        }
        assert_eq!(world.effects(), expected);
        assert!(world.written().starts_with("HTTP/1.1 400 "));
    }
    // Between requests: the end, without a word.
    for stream in ["", "\r\n"] {
        let mut world = World::new();
        if !stream.is_empty() {
            world.receive(stream);
        }
        world.server.handle_eof(world.now, &mut world.pool);
        assert_eq!(world.effects(), [Effect::Close(Close::Finish)]);
        assert_eq!(world.written(), "");
    }
}

#[test]
fn a_request_that_was_not_told_of_is_not_finished() {
    let mut world = World::new();
    world.receive("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
    world.server.handle_eof(world.now, &mut world.pool);
    assert_eq!(world.effects(), [Effect::Refused(Refusal::Truncated)]);
}

#[test]
fn a_connection_drains_behind_its_request() {
    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    world.effects();
    world.server.drain(world.now, &mut world.pool);
    assert_eq!(world.effects(), []);
    assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
    assert!(world.written().contains("Connection: close"));
    assert!(world.effects().contains(&Effect::Close(Close::Finish)));
    let mut world = World::new();
    world.server.drain(world.now, &mut world.pool);
    assert_eq!(world.effects(), [Effect::Close(Close::Finish)]);
}

#[test]
fn the_last_request_of_a_connection_says_so() {
    let limits = Limits {
        requests_per_connection_max: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    for closes in [false, true] {
        world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        world.effects();
        assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
        assert_eq!(world.written().contains("Connection: close"), closes);
    }
}

#[test]
fn buffers_go_back_to_the_pool() {
    let mut world = World::new();
    for round in 0..4 {
        world.receive("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
        let (now, reading) = (world.now, Reading::Whole { bytes_max: 9 });
        assert_eq!(
            world.server.read_body(now, reading, &mut world.pool),
            Ok(())
        );
        world.receive("x");
        assert_eq!(world.respond(ResponseBody::Bytes(b"y")), Ok(()));
        world.written();
        world.effects();
        assert_eq!(world.pool.retained(), 2, "round {round}");
    }
    world.receive("GET");
    assert_eq!(world.pool.retained(), 1);
    world.server.handle_closed(&mut world.pool);
    assert_eq!(world.pool.retained(), 2);
    assert_eq!(world.effects(), []);
}
