//! What a request costs: its head alone, and all of it.

use std::sync::Arc;

use divan::{Bencher, black_box};
use tautline_core::Instant;
use tautline_core::collections::Pool;
use tautline_core::http::{Effect, ResponseBody, ResponseHead, Server, Settings};

/// Eight header fields, as a browser behind a proxy sends them.
const HEAD: &[u8] = b"GET /v1/inbox?after=0000000700000009 HTTP/1.1\r\n\
    Host: relay.example.org:52311\r\n\
    User-Agent: tautline/0.1.0 (linux; x86_64)\r\n\
    Accept: application/json, */*;q=0.8\r\n\
    Accept-Encoding: identity\r\n\
    Authorization: Tautline client=000102030405060708090a0b0c0d0e0f\r\n\
    Cache-Control: no-cache\r\n\
    X-Forwarded-For: 192.0.2.7\r\n\
    Connection: keep-alive\r\n\r\n";

fn main() {
    divan::main();
}

/// From bytes to `Effect::Request`, and the way back without a response.
#[divan::bench]
fn head_of_8_fields(bencher: Bencher<'_, '_>) {
    let settings = Arc::new(Settings::default());
    let mut pool = Pool::new(8, 65_536);
    let now = Instant::ORIGIN;
    bencher.bench_local(|| {
        let mut server = Server::new(now, &settings);
        let taken = server.handle_received(now, black_box(HEAD), &mut pool);
        assert_eq!(taken, HEAD.len());
        assert!(server.request().is_some());
        server.handle_closed(&mut pool);
    });
}

/// A connection that is kept: head, view, response of 64 bytes, written.
#[divan::bench]
fn request_and_response(bencher: Bencher<'_, '_>) {
    let settings = Arc::new(Settings::default());
    let mut pool = Pool::new(8, 65_536);
    let now = Instant::ORIGIN;
    let mut server = Server::new(now, &settings);
    let mut buf = [0; 2_048];
    let head = ResponseHead {
        status: 200,
        headers: &[("Content-Type", "application/json")],
        close: false,
    };
    bencher.bench_local(|| {
        server.handle_received(now, black_box(HEAD), &mut pool);
        if server.poll() != Some(Effect::Request) {
            // The connection has had its last request.
            server = Server::new(now, &settings);
            server.handle_received(now, black_box(HEAD), &mut pool);
        }
        assert!(
            server
                .request()
                .is_some_and(|request| request.path() == "/v1/inbox")
        );
        let body = ResponseBody::Bytes(&[b'x'; 64]);
        server.respond(now, &head, body, &mut pool).expect("fits");
        while server.poll_write(now, &mut buf, &mut pool) > 0 {}
        while let Some(effect) = server.poll() {
            black_box(effect);
        }
    });
}
