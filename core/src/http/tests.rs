//! However a stream is cut, it means the same: promise W2, over a corpus,
//! over random bytes, and over bytes that look like HTTP.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::fuzz::{self, Behaviour, run_client, run_server};

const REQUESTS: [&str; 16] = [
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "\r\nGET /a?b HTTP/1.1\r\nhost:h:80\r\nX-Empty:\r\nX-Y: z \t \r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nT: u\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: x, close\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: tautline\r\n\r\nframes",
    "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\nGET http://o/p HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n+1\r\n!\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\n X: folded\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.1\nHost: h\n\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\ntoo short",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n",
];

const RESPONSES: [&str; 15] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: u\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tautline\r\n\r\nframes",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n",
];

#[test]
fn w2_requests_mean_the_same_however_they_are_cut() {
    for stream in REQUESTS {
        for behaviour in (0..=127).map(Behaviour) {
            let whole = run_server(behaviour, &mut |_| usize::MAX, stream.as_bytes());
            let bytes = run_server(behaviour, &mut |_| 1, stream.as_bytes());
            assert_eq!(bytes, whole, "{stream:?} {behaviour:?}");
        }
        for behaviour in [0, 1, 2, 3, 5, 14, 65].map(Behaviour) {
            let whole = run_server(behaviour, &mut |_| usize::MAX, stream.as_bytes());
            for cut in 1..stream.len() {
                let mut size = |at| if at == 0 { cut } else { usize::MAX };
                let parts = run_server(behaviour, &mut size, stream.as_bytes());
                assert_eq!(parts, whole, "{stream:?} cut at {cut}, {behaviour:?}");
            }
        }
    }
}

#[test]
fn w2_responses_mean_the_same_however_they_are_cut() {
    for stream in RESPONSES {
        for behaviour in [1, 2, 3, 34, 65, 66, 67].map(Behaviour) {
            let whole = run_client(behaviour, &mut |_| usize::MAX, stream.as_bytes());
            let bytes = run_client(behaviour, &mut |_| 1, stream.as_bytes());
            assert_eq!(bytes, whole, "{stream:?} {behaviour:?}");
            for cut in 1..stream.len() {
                let mut size = |at| if at == 0 { cut } else { usize::MAX };
                let parts = run_client(behaviour, &mut size, stream.as_bytes());
                assert_eq!(parts, whole, "{stream:?} cut at {cut}, {behaviour:?}");
            }
        }
    }
}

#[test]
fn the_corpus_reaches_what_it_is_for() {
    let seen = run_server(Behaviour(1), &mut |_| usize::MAX, REQUESTS[4].as_bytes());
    assert_eq!(seen.bodies, [&b"hello!"[..], b""]);
    assert_eq!(seen.events.len(), 4);
    let seen = run_server(Behaviour(3), &mut |_| 2, REQUESTS[4].as_bytes());
    assert_eq!(seen.bodies, [&b"hello!"[..], b""]);
    let seen = run_server(Behaviour(64), &mut |_| 3, REQUESTS[8].as_bytes());
    assert_eq!(seen.events.last().map(String::as_str), Some("upgraded"));
    for behaviour in [1, 2, 3] {
        let seen = run_client(Behaviour(behaviour), &mut |_| 3, RESPONSES[1].as_bytes());
        assert_eq!(seen.bodies, [b"hello"]);
        let seen = run_client(Behaviour(behaviour), &mut |_| 3, RESPONSES[2].as_bytes());
        assert_eq!(seen.bodies, [b"until the end"]);
    }
}

/// Bytes that look like HTTP more often than random ones do.
fn shaped() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "GET ", "POST ", "HEAD ", "/", "/a?b", "*", "http://h", " HTTP/1.1\r\n", " HTTP/1.0\r\n",
            " HTTP/2.0\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 101 S\r\n", "HTTP/1.0 200\r\n",
            "HTTP/1.1 100 C\r\n\r\n", "Host: h\r\n", "Host:\r\n", "Content-Length: 3\r\n",
            "Content-Length: 0\r\n", "Content-Length: +3\r\n", "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n", "Connection: close\r\n",
            "Connection: Upgrade\r\n", "Upgrade: tautline\r\n", "Expect: 100-continue\r\n",
            "Expect: x\r\n", "\r\n", "\r\n\r\n", "\n", "\r", " ", "\t", ":", "a: b\r\n", "0\r\n",
            "3\r\nabc\r\n", "3;x\r\nabc\r\n", "0\r\n\r\n", "ffffffffffffffff\r\n", "abc", "abcdefghij",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    let start = prop::sample::select(vec![
        "",
        "GET / HTTP/1.1\r\nHost: h\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\n",
    ]);
    let pieces = proptest::collection::vec(piece, 0..24);
    (any::<[u8; 5]>(), start, pieces).prop_map(|(choices, start, pieces)| {
        [&choices[..], start.as_bytes(), &pieces.concat()].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn w2_shaped_bytes_mean_the_same_however_they_are_cut(data in shaped()) {
        fuzz::server_split(&data);
        fuzz::client_split(&data);
        fuzz::head(&data[5..]);
    }

    #[test]
    fn x5_random_bytes_harm_nothing(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz::server_split(&data);
        fuzz::client_split(&data);
        fuzz::head(&data);
        fuzz::server_operations(&data);
        fuzz::client_operations(&data);
    }
}
