//! A request and its response, for benchmarks of HTTP.

use std::hint::black_box;

use tautline_core::Instant;
use tautline_core::collections::Pool;
use tautline_core::http::{Effect, ResponseBody, ResponseHead, Server};

/// Eight header fields, as a browser behind a proxy sends them.
pub(crate) const HEAD: &[u8] = b"GET /v1/clients?after=0000000700000009 HTTP/1.1\r\n\
    Host: relay.example.org:52311\r\n\
    User-Agent: tautline/0.1.0 (linux; x86_64)\r\n\
    Accept: application/json, */*;q=0.8\r\n\
    Accept-Encoding: identity\r\n\
    Authorization: Tautline client=000102030405060708090a0b0c0d0e0f\r\n\
    Cache-Control: no-cache\r\n\
    X-Forwarded-For: 192.0.2.7\r\n\
    Connection: keep-alive\r\n\r\n";

/// The head of the response.
pub(crate) const RESPONSE: ResponseHead<'_> = ResponseHead {
    status: 200,
    headers: &[("Content-Type", "application/json")],
    close: false,
};

/// The body of the response.
pub(crate) const BODY: ResponseBody<'_> = ResponseBody::Bytes(&[b'x'; 64]);

/// Head, view, response and its bytes on a connection that is kept; false if
/// the connection takes no more requests.
pub(crate) fn serve(server: &mut Server, buf: &mut [u8], pool: &mut Pool) -> bool {
    let now = Instant::ORIGIN;
    server.handle_received(now, black_box(HEAD), pool);
    if server.poll() != Some(Effect::Request) {
        return false;
    }
    assert!(
        server
            .request()
            .is_some_and(|request| request.path() == "/v1/clients")
    );
    server.respond(now, &RESPONSE, BODY, pool).expect("fits");
    while server.poll_write(now, buf, pool) > 0 {}
    while let Some(effect) = server.poll() {
        black_box(effect);
    }
    true
}
