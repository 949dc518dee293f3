//! A server between an application and a driver.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::{Behaviour, FILE, Seen, settings};
use crate::collections::Pool;
use crate::http::{Effect, ResponseHead, Server};
use crate::{Close, Instant};

/// A driver and an application around a server.
struct ServerWorld {
    server: Server,
    pool: Pool,
    now: Instant,
    behaviour: Behaviour,
    seen: Seen,
    body: Vec<u8>,
    in_hand: bool,
    refused: bool,
    upgraded: bool,
    /// What the driver may offer: false until a `Resume` if it was refused.
    open: bool,
    take_left: u64,
    pulls: u32,
}

/// Feeds the stream in pieces of the sizes that `size` says.
pub(in crate::http) fn run_server(
    behaviour: Behaviour,
    size: &mut dyn FnMut(usize) -> usize,
    stream: &[u8],
) -> Seen {
    let now = Instant::ORIGIN;
    let mut world = ServerWorld {
        server: Server::new(now, &settings()),
        pool: Pool::new(4, 4_096),
        now,
        behaviour,
        seen: Seen::default(),
        body: Vec::new(),
        in_hand: false,
        refused: false,
        upgraded: false,
        open: true,
        take_left: 0,
        pulls: 0,
    };
    let mut at = 0;
    // The end of what the driver has read, and holds from `at` on.
    let mut read = 0;
    while at < stream.len() && world.seen.closed.is_none() {
        if !world.open || at == read {
            let more = size(read).min(stream.len() - read);
            if more == 0 {
                break;
            }
            read += more;
        }
        at += world.offer(&stream[at..read]);
    }
    world.finish(&stream[at..])
}

impl ServerWorld {
    /// Offers what the driver holds; returns how much of it is gone.
    fn offer(&mut self, held: &[u8]) -> usize {
        let mut gone = 0;
        self.open = true;
        while self.open && gone < held.len() && self.seen.closed.is_none() {
            if self.take_left > 0 {
                gone += self.take(&held[gone..]);
                continue;
            }
            let rest = &held[gone..];
            let taken = self.server.handle_received(self.now, rest, &mut self.pool);
            assert!(taken <= rest.len());
            gone += taken;
            self.open = taken == rest.len();
            self.drain();
            self.open |= self.take_left > 0;
        }
        gone
    }

    fn take(&mut self, held: &[u8]) -> usize {
        let len = held.len().min(self.take_left as usize);
        self.body.extend_from_slice(&held[..len]);
        self.take_left -= len as u64;
        self.server
            .handle_moved(self.now, len as u64, &mut self.pool);
        self.drain();
        len
    }

    fn drain(&mut self) {
        let mut steps = 0;
        loop {
            while let Some(effect) = self.server.poll() {
                self.effect(effect);
                steps += 1;
                assert!(steps < 1_000, "polling does not end");
            }
            let mut buf = [0; 64];
            let len = self.server.poll_write(self.now, &mut buf, &mut self.pool);
            if len == 0 {
                break;
            }
            self.seen.written.extend_from_slice(&buf[..len]);
        }
        assert!(self.server.body().len() <= 2_000);
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Refused(why) => {
                self.refused = true;
                self.take_left = 0;
                self.seen.events.push(String::from(why.as_str()));
            }
            Effect::Finished { status, aborted } => {
                assert!(self.in_hand, "finished once for each request");
                self.in_hand = false;
                let event = format!("finished {status} {aborted}");
                self.seen.events.push(event);
            }
            Effect::Request => self.request(),
            Effect::Take { sink, len, .. } => {
                assert_eq!(sink, FILE);
                assert!(len > 0 && self.take_left == 0);
                self.take_left = len;
            }
            Effect::Body => {
                self.body.extend_from_slice(self.server.body());
                self.server.consume_body(self.now);
            }
            Effect::BodyEnd => {
                self.body.extend_from_slice(self.server.body());
                self.seen.bodies.push(core::mem::take(&mut self.body));
                self.respond();
            }
            Effect::SendFile { range, .. } => {
                for byte in range {
                    self.seen.written.push(byte as u8);
                    self.server.handle_moved(self.now, 1, &mut self.pool);
                }
            }
            Effect::Pull => {
                self.pulls += 1;
                if self.pulls.is_multiple_of(2) {
                    let ended = self.server.stream_end(self.now, &mut self.pool);
                    assert_eq!(ended, Ok(()));
                } else {
                    let taken = self.server.stream(self.now, b"streamed", &mut self.pool);
                    assert_eq!(taken, 8);
                }
            }
            Effect::Upgraded => {
                self.upgraded = true;
                self.seen.events.push(String::from("upgraded"));
                self.seen.closed = Some(true);
            }
            Effect::Resume => self.open = true,
            Effect::Close(how) => self.seen.closed = Some(how == Close::Finish),
        }
    }

    fn request(&mut self) {
        assert!(!self.in_hand && !self.refused);
        self.in_hand = true;
        self.body.clear();
        self.pulls = 0;
        let request = self.server.request().expect("a request waits");
        let (method, path, query) = (request.method(), request.path(), request.query());
        let mut event = format!("{method} {path} {query:?}");
        for (name, value) in request.headers() {
            write!(event, " {name}: {}", value.escape_ascii()).expect("a string");
        }
        self.seen.events.push(event);
        if self.behaviour.upgrades() {
            let headers = [("Upgrade", "tautline")];
            if self
                .server
                .upgrade(self.now, &headers, &mut self.pool)
                .is_ok()
            {
                return;
            }
        }
        match self.behaviour.reading() {
            Some(reading) => {
                let read = self.server.read_body(self.now, reading, &mut self.pool);
                assert_eq!(read, Ok(()));
            }
            None => self.respond(),
        }
    }

    fn respond(&mut self) {
        let head = ResponseHead {
            status: 200,
            headers: &[("Content-Type", "text/plain")],
            close: self.behaviour.ends(),
        };
        let body = self.behaviour.response();
        let responded = self.server.respond(self.now, &head, body, &mut self.pool);
        assert_eq!(responded, Ok(()));
    }

    /// The peer ends, or has sent `rest` behind the end of the connection.
    fn finish(mut self, rest: &[u8]) -> Seen {
        match self.seen.closed {
            None => {
                self.server.handle_eof(self.now, &mut self.pool);
                self.drain();
            }
            Some(true) if !self.upgraded => {
                let taken = self.server.handle_received(self.now, rest, &mut self.pool);
                assert_eq!(taken, rest.len(), "what follows the end is dropped");
                assert_eq!(self.server.poll(), None, "and is no request");
            }
            Some(_) => {}
        }
        self.end()
    }

    /// Lets every deadline pass; the connection is over then and holds
    /// nothing.
    fn end(mut self) -> Seen {
        for _ in 0..8 {
            let Some(deadline) = self.server.poll_timeout() else {
                break;
            };
            self.now = self.now.max(deadline);
            self.server.handle_timeout(self.now, &mut self.pool);
            let next = self.server.poll_timeout();
            self.drain();
            assert!(next.is_none_or(|next| next > self.now), "time moves");
        }
        assert_eq!(self.server.poll_timeout(), None, "deadlines end");
        self.server.handle_closed(&mut self.pool);
        self.drain();
        assert!(!self.in_hand, "every request is finished");
        assert!(self.seen.written.len() < 32_768);
        self.seen
    }
}
