//! Requests that a strict server refuses, and how: promises W2 and W3.

use alloc::format;

use super::*;

/// Feeds a head, and with it a byte that may not become a request. Returns the
/// status of the answer, 0 if it is a request.
pub(super) fn verdict(limits: &Limits, stream: &[u8]) -> (u16, Option<Refusal>) {
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
    let kind = format!("urn:tautline:problem:{}", why.problem());
    assert_eq!(problem["type"], kind);
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
