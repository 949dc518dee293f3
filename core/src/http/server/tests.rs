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

/// Feeds a head, and with it a byte that may not become a request. Returns the
/// status of the answer, 0 if it is a request.
fn verdict(limits: &Limits, stream: &[u8]) -> (u16, Option<Refusal>) {
    let mut world = World::with(limits.clone());
    let taken = world.receive(stream);
    let mut effects = world.effects();
    if effects.contains(&Effect::Request) {
        assert!(world.server.request().is_some());
        let reading = Reading::Whole { bytes_max: 1 << 20 };
        let read = world.server.read_body(world.now, reading, &mut world.pool);
        assert_eq!(read, Ok(()));
        world.receive(&stream[taken..]);
        effects = world.effects();
    } else {
        assert_eq!(taken, stream.len());
    }
    let Some(Effect::Refused(why)) = effects.first() else {
        return (0, None);
    };
    let answer = world.written();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("\r\nConnection: close"), "{answer}");
    assert!(head.contains("\r\nContent-Type: application/problem+json\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    assert_eq!(world.effects(), [Effect::Close(Close::Finish)]);
    let next = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(world.receive(next), next.len());
    assert_eq!(world.effects(), []);
    world.pass(2);
    assert_eq!(world.effects(), [Effect::Close(Close::Abort)]);
    let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let status: u16 = head[9..12].parse().expect("a status");
    assert_eq!(problem["status"], status);
    (status, Some(*why))
}

fn status(stream: impl AsRef<[u8]>) -> u16 {
    verdict(&Limits::default(), stream.as_ref()).0
}

#[test]
fn w2_request_lines_are_checked() {
    for (line, expected) in [
        ("GET / HTTP/1.1", 0),
        ("get / HTTP/1.1", 0),
        ("GET / HTTP/1.0", 0),
        ("GET / HTTP/1.9", 0),
        ("M-SEARCH /?a=%20 HTTP/1.1", 0),
        ("OPTIONS * HTTP/1.1", 0),
        ("GET http://h/a?b HTTP/1.1", 0),
        (" / HTTP/1.1", 400),
        ("/ HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        (" GET / HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / HTTP/11", 400),
        ("GET /", 400),
        ("GET", 400),
        ("", 400),
        ("G@T / HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET h:80 HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("GET /#f HTTP/1.1", 400),
        ("GET /% HTTP/1.1", 400),
        ("GET /\u{e9} HTTP/1.1", 400),
        ("GET ftp://h/ HTTP/1.1", 400),
        ("GET http:/// HTTP/1.1", 400),
        ("GET http://u@h/ HTTP/1.1", 400),
        ("CONNECT h:80 HTTP/1.1", 501),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1", 501),
        ("GET / HTTP/0.9", 505),
        ("GET / HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 505),
    ] {
        assert_eq!(
            status(format!("{line}\r\nHost: h\r\n\r\n")),
            expected,
            "{line:?}"
        );
    }
}

#[test]
fn w3_line_ends_and_bytes_are_checked() {
    for (head, expected) in [
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\tc d\u{e9}\r\n\r\n", 0),
        ("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 0),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
        ("GET / HTTP/1.1\rHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\0\r\n\r\n", 400),
        ("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: \x07\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: \x7f\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA\0: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA\t: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA b: c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA(: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n\u{e9}: b\r\n\r\n", 400),
    ] {
        assert_eq!(status(head), expected, "{head:?}");
    }
}

#[test]
fn w2_there_is_one_host() {
    for (version, fields, expected) in [
        ("1.1", "Host: h\r\n", 0),
        ("1.1", "hOST:[::1]:80\r\n", 0),
        ("1.1", "Host:\r\n", 0),
        ("1.0", "", 0),
        ("1.0", "Host: h\r\n", 0),
        ("1.1", "", 400),
        ("1.1", "Host: h\r\nHost: h\r\n", 400),
        ("1.1", "Host: h\r\nHost: i\r\n", 400),
        ("1.0", "Host: h\r\nHost: h\r\n", 400),
        ("1.1", "Host: h, i\r\n", 400),
        ("1.1", "Host: h i\r\n", 400),
        ("1.1", "Host: h/\r\n", 400),
        ("1.1", "Host: u@h\r\n", 400),
        ("1.1", "Host: h:99999\r\n", 400),
        ("1.1", "Host: \u{e9}\r\n", 400),
    ] {
        let head = format!("GET / HTTP/{version}\r\n{fields}\r\n");
        assert_eq!(status(&head), expected, "{head:?}");
    }
}

#[test]
fn w3_the_length_of_a_body_is_beyond_doubt() {
    for (fields, body, expected) in [
        ("Content-Length: 2", "ab", 0),
        ("Content-Length: 02", "ab", 0),
        ("Content-Length:2\t", "ab", 0),
        ("Content-Length: 0", "", 0),
        ("Transfer-Encoding: chunked", "0\r\n\r\n", 0),
        ("transfer-encoding: CHUNKED", "0\r\n\r\n", 0),
        ("Content-Length: +2", "ab", 400),
        ("Content-Length: -2", "ab", 400),
        ("Content-Length: 0x2", "ab", 400),
        ("Content-Length: 2 2", "ab", 400),
        ("Content-Length: 2, 2", "ab", 400),
        ("Content-Length: 2,", "ab", 400),
        ("Content-Length: 2;", "ab", 400),
        ("Content-Length: \"2\"", "ab", 400),
        ("Content-Length: 2.0", "ab", 400),
        ("Content-Length: two", "ab", 400),
        ("Content-Length:", "", 400),
        ("Content-Length: 18446744073709551616", "", 400),
        ("Content-Length: 99999999999999999999999", "", 400),
        ("Content-Length: 18446744073709551615", "", 413),
        ("Content-Length: 9223372036854775808", "", 413),
        ("Content-Length: 2\r\nContent-Length: 2", "ab", 400),
        ("Content-Length: 2\r\nContent-Length: 3", "ab", 400),
        (
            "Content-Length: 2\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n",
            400,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "0\r\n\r\n",
            400,
        ),
        ("Content-Length: 2\r\nTransfer-Encoding: x", "ab", 400),
        ("Transfer-Encoding: xchunked", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunkedx", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked, chunked", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked, gzip", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked;q=1", "0\r\n\r\n", 400),
        ("Transfer-Encoding: \"chunked\"", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked,", "0\r\n\r\n", 400),
        ("Transfer-Encoding: \x0bchunked", "0\r\n\r\n", 400),
        ("Transfer-Encoding:", "0\r\n\r\n", 400),
        ("Transfer-Encoding: identity", "", 400),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n", 501),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n",
            400,
        ),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n",
            400,
        ),
        ("Transfer-Encoding : chunked", "0\r\n\r\n", 400),
        ("Transfer-Encoding\r\n : chunked", "0\r\n\r\n", 400),
        ("Connection: a b", "", 400),
        ("Connection: \"close\"", "", 400),
        ("Expect: 100-Continue\r\nContent-Length: 0", "", 0),
        ("Expect: 200-ok", "", 417),
        ("Expect: 100-continue, x", "", 417),
    ] {
        let stream = format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n{body}");
        assert_eq!(status(&stream), expected, "{stream:?}");
    }
    let te = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(status(te), 400);
}

#[test]
fn w3_chunks_are_checked() {
    for (body, expected) in [
        ("2\r\nab\r\n0\r\n\r\n", 0),
        ("+2\r\nab\r\n0\r\n\r\n", 400),
        ("0x2\r\nab\r\n0\r\n\r\n", 400),
        ("2\nab\r\n0\r\n\r\n", 400),
        ("2;a\nab\r\n0\r\n\r\n", 400),
        ("2\r\nabc\r\n0\r\n\r\n", 400),
        ("\r\n2\r\nab\r\n0\r\n\r\n", 400),
        ("fffffffffffffffff\r\n", 400),
        ("ffffffffffffffff\r\n", 413),
        ("100001\r\n", 413),
    ] {
        let stream =
            format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(status(&stream), expected, "{body:?}");
    }
}

#[test]
fn w5_limits_hold_to_the_byte() {
    let limits = Limits {
        head_bytes_max: 200,
        headers_max: 30,
        target_bytes_max: 50,
        body_bytes_max: 10,
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
    let chunks = |len: usize| {
        let body = "1\r\nc\r\n".repeat(len);
        format!("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n")
    };
    use Refusal::{BodyTooLarge, HeadTooLarge, TargetTooLong};
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
