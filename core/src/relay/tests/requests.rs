//! Requests that the application answers.

use super::*;
use crate::http::{Misuse, Reading, ResponseBody, ResponseHead};
use crate::machine::rig::Bulk;
use crate::{Close, CloseReason, FileId, Input, Key, RequestId};

const OK: ResponseHead<'static> = ResponseHead {
    status: 200,
    headers: &[],
    close: false,
};
const FILE: FileId = FileId::from_key(Key::new(1, 0));

fn asked(rig: &mut Rig<Relay>) -> RequestId {
    let told = rig.told();
    match told[..] {
        [Event::Request { request }] => request,
        _ => panic!("{told:?}"),
    }
}

fn respond(rig: &mut Rig<Relay>, request: RequestId, body: ResponseBody<'_>) {
    let now = rig.now;
    rig.endpoint.respond(now, request, &OK, body).unwrap();
    rig.poll();
}

#[test]
fn one_is_told_answered_and_over() {
    let mut rig = relay();
    let conn = rig.accept(ABROAD);
    rig.feed(conn, &head("GET", "/metrics?x=1", "Bearer t", b"", ""));
    let request = asked(&mut rig);
    let view = rig.endpoint.request(request).unwrap();
    assert_eq!((view.method(), view.path()), ("GET", "/metrics"));
    assert_eq!(view.header("authorization"), Some(&b"Bearer t"[..]));
    let peer = rig.endpoint.request_peer(request).unwrap();
    assert_eq!((peer.0.to_string().as_str(), peer.1), (ABROAD, false));
    respond(&mut rig, request, ResponseBody::Bytes(b"fine"));
    assert_eq!(response(&mut rig.written(conn)).body, b"fine");
    let (status, aborted) = (200, false);
    assert_eq!(
        rig.told(),
        [Event::RequestOver {
            request,
            status,
            aborted
        }]
    );

    let now = rig.now;
    let misuse = Err(Misuse::NoRequest);
    assert!(rig.endpoint.request(request).is_none());
    assert!(rig.endpoint.body(request).is_none());
    assert_eq!(
        rig.endpoint.respond(now, request, &OK, ResponseBody::Empty),
        misuse
    );
    assert_eq!(
        rig.endpoint.read_body(now, request, Reading::Chunks),
        misuse
    );
    assert_eq!(rig.endpoint.abort_request(now, request), misuse);
    assert_eq!(
        rig.endpoint.stream(now, request, b"x"),
        Err(Misuse::NoRequest)
    );
    assert_eq!(count(&rig, |stats| stats.requests_open), 0);
}

#[test]
fn a_body_comes_whole_by_chunks_or_to_a_file() {
    let bytes = head("POST", "/upload", "", b"0123456789", "");
    let now = Instant::ORIGIN;

    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    rig.feed(conn, &bytes);
    let request = asked(&mut rig);
    rig.endpoint
        .read_body(now, request, Reading::Whole { bytes_max: 10 })
        .unwrap();
    rig.poll();
    assert_eq!(rig.told(), [Event::RequestBodyEnd { request }]);
    assert_eq!(rig.endpoint.body(request), Some(&b"0123456789"[..]));

    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    let (front, back) = bytes.split_at(bytes.len() - 5);
    rig.feed(conn, front);
    let request = asked(&mut rig);
    rig.endpoint
        .read_body(now, request, Reading::Chunks)
        .unwrap();
    rig.poll();
    assert_eq!(rig.told(), [Event::RequestBody { request }]);
    rig.endpoint.consume_body(now, request).unwrap();
    rig.feed(conn, back);
    assert_eq!(rig.endpoint.body(request), Some(&b"56789"[..]));
    rig.endpoint.consume_body(now, request).unwrap();
    rig.poll();
    assert_eq!(rig.told().last(), Some(&Event::RequestBodyEnd { request }));

    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    rig.feed(conn, front);
    let request = asked(&mut rig);
    let (sink, offset) = (FILE, 100);
    rig.endpoint
        .read_body(now, request, Reading::Take { sink, offset })
        .unwrap();
    rig.poll();
    assert_eq!(rig.wire(conn).bulk, [Bulk::Take(FILE, 100, 10)]);
    rig.tell(Input::Moved { conn, bytes: 4 });
    assert_eq!(rig.told(), []);
    rig.tell(Input::Moved { conn, bytes: 6 });
    assert_eq!(rig.told(), [Event::RequestBodyEnd { request }]);
}

#[test]
fn a_body_that_is_too_long_is_refused_and_told() {
    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    rig.feed(conn, &head("POST", "/upload", "", b"0123456789", ""));
    let request = asked(&mut rig);
    let now = rig.now;
    rig.endpoint
        .read_body(now, request, Reading::Whole { bytes_max: 9 })
        .unwrap();
    rig.poll();
    assert_eq!(response(&mut rig.written(conn)).status, 413);
    let (status, aborted) = (413, true);
    assert_eq!(
        rig.told(),
        [Event::RequestOver {
            request,
            status,
            aborted
        }]
    );
    assert_eq!(
        count(&rig, |stats| stats.http_refused.get("body_too_large")),
        1
    );
}

#[test]
fn a_file_and_a_stream_are_answers() {
    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    rig.feed(conn, &head("GET", "/file", "", b"", ""));
    let request = asked(&mut rig);
    respond(
        &mut rig,
        request,
        ResponseBody::File {
            file: FILE,
            range: 5..25,
        },
    );
    assert_eq!(rig.wire(conn).bulk, [Bulk::SendFile(FILE, 5..25)]);
    rig.tell(Input::Moved { conn, bytes: 20 });
    let (status, aborted) = (200, false);
    assert_eq!(
        rig.told(),
        [Event::RequestOver {
            request,
            status,
            aborted
        }]
    );
    rig.written(conn);

    rig.feed(conn, &head("GET", "/stream", "", b"", ""));
    let request = asked(&mut rig);
    respond(&mut rig, request, ResponseBody::Stream { len: Some(6) });
    assert_eq!(rig.told().last(), Some(&Event::ResponsePull { request }));
    let now = rig.now;
    assert_eq!(rig.endpoint.stream(now, request, b"abc"), Ok(3));
    rig.poll();
    assert_eq!(
        rig.endpoint.stream_end(now, request),
        Err(Misuse::StreamShort)
    );
    assert_eq!(
        rig.endpoint.stream(now, request, b"defghi"),
        Ok(3),
        "no more than announced"
    );
    rig.endpoint.stream_end(now, request).unwrap();
    rig.poll();
    assert_eq!(response(&mut rig.written(conn)).body, b"abcdef");
    assert_eq!(
        rig.told().last(),
        Some(&Event::RequestOver {
            request,
            status,
            aborted
        })
    );
}

#[test]
fn pipelined_requests_come_one_after_another() {
    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    let mut bytes = Vec::new();
    for path in ["/a", "/v1/nothing", "/b"] {
        bytes.extend(head("GET", path, "", b"", ""));
    }
    bytes.extend(head("GET", "/v1/inbox", "", b"", ""));
    rig.feed(conn, &bytes);
    for path in ["/a", "/v1/nothing", "/b"] {
        let request = rig.told().into_iter().find_map(|event| match event {
            Event::Request { request } => Some(request),
            _ => None,
        });
        let request = request.unwrap();
        assert_eq!(rig.endpoint.request(request).unwrap().path(), path);
        respond(&mut rig, request, ResponseBody::Bytes(path.as_bytes()));
    }
    let mut written = rig.written(conn);
    for path in ["/a", "/v1/nothing", "/b"] {
        assert_eq!(response(&mut written).body, path.as_bytes());
    }
    assert_eq!(response(&mut written).status, 401);
}

#[test]
fn too_many_that_wait_are_answered_with_503() {
    let limits = Limits {
        requests_max: 2,
        ..Limits::default()
    };
    let mut rig = relay_with(settings(), limits);
    let conns: Vec<_> = (0..3).map(|_| rig.accept(LOOPBACK)).collect();
    for conn in &conns {
        rig.feed(*conn, &head("GET", "/a", "", b"", ""));
    }
    assert_eq!(rig.told().len(), 2);
    let answer = response(&mut rig.written(conns[2]));
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (503, &503.into())
    );
    // The protocol's own paths need no place.
    rig.feed(
        conns[2],
        &head("POST", "/v1/register", "", &body(None, 1, ""), ""),
    );
    assert_eq!(response(&mut rig.written(conns[2])).status, 200);
}

#[test]
fn one_whose_peer_goes_is_over_with_the_status_that_was_begun() {
    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    rig.feed(conn, &head("GET", "/a", "", b"", ""));
    let request = asked(&mut rig);
    rig.closed(conn, CloseReason::Reset);
    let (status, aborted) = (0, true);
    assert_eq!(
        rig.told(),
        [Event::RequestOver {
            request,
            status,
            aborted
        }]
    );

    let conn = rig.accept(LOOPBACK);
    rig.feed(conn, &head("GET", "/a", "", b"", ""));
    let request = asked(&mut rig);
    respond(&mut rig, request, ResponseBody::Stream { len: None });
    rig.told();
    rig.closed(conn, CloseReason::Reset);
    let (status, aborted) = (200, true);
    assert_eq!(
        rig.told(),
        [Event::RequestOver {
            request,
            status,
            aborted
        }]
    );
}

#[test]
fn one_that_is_aborted_ends_its_connection() {
    let mut rig = relay();
    let conn = rig.accept(LOOPBACK);
    rig.feed(conn, &head("GET", "/a", "", b"", ""));
    let request = asked(&mut rig);
    let now = rig.now;
    rig.endpoint.abort_request(now, request).unwrap();
    rig.poll();
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
    let (status, aborted) = (0, true);
    assert_eq!(
        rig.told(),
        [Event::RequestOver {
            request,
            status,
            aborted
        }]
    );
}

#[test]
fn a_wrong_method_is_405_with_the_right_one() {
    let mut rig = relay();
    for (method, path, allow) in [
        ("GET", "/v1/register", "POST"),
        ("POST", "/v1/connect", "GET"),
        ("POST", "/v1/inbox", "GET"),
        ("DELETE", "/v1/inbox", "GET"),
        ("GET", "/v1/replies/0000000300000001", "POST"),
    ] {
        let answer = ask(&mut rig, &head(method, path, "", b"", ""));
        assert_eq!((answer.status, answer.header("Allow")), (405, Some(allow)));
        assert_eq!(answer.json()["type"], "urn:tautline:problem:method");
    }
}

#[test]
fn problems_are_rfc_9457() {
    let mut rig = relay();
    let answer = get(&mut rig, "/v1/inbox");
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/problem+json")
    );
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:tautline:problem:unproven");
    assert_eq!(problem["status"], 401);
    assert_eq!(problem["title"], "Unauthorized");
    assert!(problem["detail"].as_str().unwrap().len() > 10);
}
