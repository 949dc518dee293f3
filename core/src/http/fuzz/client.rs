//! A client between an application and a driver.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::{Behaviour, FILE, Seen, settings};
use crate::collections::Pool;
use crate::http::{Client, ClientEffect, Reading, RequestHead};
use crate::{Close, Instant};

/// A driver and an application around a client.
struct ClientWorld {
    client: Client,
    pool: Pool,
    now: Instant,
    behaviour: Behaviour,
    seen: Seen,
    body: Vec<u8>,
    open: bool,
    take_left: u64,
}

pub(in crate::http) fn run_client(
    behaviour: Behaviour,
    size: &mut dyn FnMut(usize) -> usize,
    stream: &[u8],
) -> Seen {
    let mut world = ClientWorld {
        client: Client::new(&settings()),
        pool: Pool::new(4, 4_096),
        now: Instant::ORIGIN,
        behaviour,
        seen: Seen::default(),
        body: Vec::new(),
        open: true,
        take_left: 0,
    };
    world.request();
    let (mut at, mut read) = (0, 0);
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
    world.finish()
}

impl ClientWorld {
    fn request(&mut self) {
        let head = RequestHead {
            method: if self.behaviour.is_head() {
                "HEAD"
            } else {
                "GET"
            },
            target: "/v1/inbox?after=0",
            host: "relay",
            headers: &[],
            upgrade: self.behaviour.upgrades().then_some("tautline"),
            close: false,
        };
        let sent = self.client.request(self.now, &head, b"", &mut self.pool);
        assert_eq!(sent, Ok(()));
        self.drain();
    }

    fn offer(&mut self, held: &[u8]) -> usize {
        let mut gone = 0;
        self.open = true;
        while self.open && gone < held.len() && self.seen.closed.is_none() {
            let rest = &held[gone..];
            if self.take_left > 0 {
                let len = rest.len().min(self.take_left as usize);
                self.body.extend_from_slice(&rest[..len]);
                self.take_left -= len as u64;
                self.client
                    .handle_moved(self.now, len as u64, &mut self.pool);
                gone += len;
                self.drain();
                continue;
            }
            let taken = self.client.handle_received(self.now, rest, &mut self.pool);
            assert!(taken <= rest.len());
            gone += taken;
            self.open = taken == rest.len();
            self.drain();
            self.open |= self.take_left > 0;
        }
        gone
    }

    fn drain(&mut self) {
        loop {
            let mut steps = 0;
            while let Some(effect) = self.client.poll() {
                self.effect(effect);
                steps += 1;
                assert!(steps < 1_000, "polling does not end");
            }
            let mut buf = [0; 64];
            let len = self.client.poll_write(self.now, &mut buf, &mut self.pool);
            if len == 0 {
                break;
            }
            self.seen.written.extend_from_slice(&buf[..len]);
        }
    }

    fn effect(&mut self, effect: ClientEffect) {
        match effect {
            ClientEffect::Failed(why) => {
                self.take_left = 0;
                self.seen.events.push(format!("{why:?}"));
            }
            ClientEffect::Response => {
                let response = self.client.response().expect("a response waits");
                let mut event = format!("{}", response.status());
                for (name, value) in response.headers() {
                    write!(event, " {name}: {}", value.escape_ascii()).expect("a string");
                }
                self.seen.events.push(event);
                self.body.clear();
                let reading = self.behaviour.reading().unwrap_or(Reading::Chunks);
                let read = self.client.read_body(self.now, reading, &mut self.pool);
                assert_eq!(read, Ok(()));
            }
            ClientEffect::Take { sink, len, .. } => {
                assert_eq!(sink, FILE);
                assert!(len > 0);
                self.take_left = len;
            }
            ClientEffect::Body => {
                self.body.extend_from_slice(self.client.body());
                self.client.consume_body(self.now);
            }
            ClientEffect::BodyEnd => {
                self.take_left = 0;
                self.body.extend_from_slice(self.client.body());
                self.seen.bodies.push(core::mem::take(&mut self.body));
                self.client.finish(&mut self.pool);
            }
            ClientEffect::Upgraded => {
                let status = self.client.response().map(|response| response.status());
                assert_eq!(status, Some(101));
                self.seen.events.push(String::from("upgraded"));
                self.seen.closed = Some(true);
            }
            ClientEffect::Resume => self.open = true,
            ClientEffect::Close(how) => self.seen.closed = Some(how == Close::Finish),
        }
    }

    /// The peer ends, and every deadline passes.
    fn finish(mut self) -> Seen {
        if self.seen.closed.is_none() {
            self.client.handle_eof(self.now, &mut self.pool);
            self.drain();
        }
        for _ in 0..8 {
            let Some(deadline) = self.client.poll_timeout() else {
                break;
            };
            self.now = self.now.max(deadline);
            self.client.handle_timeout(self.now, &mut self.pool);
            let next = self.client.poll_timeout();
            self.drain();
            assert!(next.is_none_or(|next| next > self.now), "time moves");
        }
        assert_eq!(self.client.poll_timeout(), None, "deadlines end");
        self.client.handle_closed(&mut self.pool);
        self.drain();
        self.seen
    }
}
