//! What a request costs: its head alone, and all of it.

#[path = "inputs/exchange.rs"]
mod exchange;

use std::sync::Arc;

use divan::{Bencher, black_box};
use exchange::HEAD;
use tautline_core::Instant;
use tautline_core::collections::Pool;
use tautline_core::http::{Server, Settings};

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
    bencher.bench_local(|| {
        if !exchange::serve(&mut server, &mut buf, &mut pool) {
            // The connection has had its last request.
            server = Server::new(now, &settings);
            assert!(exchange::serve(&mut server, &mut buf, &mut pool));
        }
    });
}
