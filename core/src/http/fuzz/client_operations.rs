//! A client whose driver and application do anything, in any order.

use alloc::format;
use core::time::Duration;

use super::{FILE, settings};
use crate::Instant;
use crate::collections::Pool;
use crate::http::{Client, ClientEffect, Misuse, Reading, RequestHead};

/// What the peer sends, over and over.
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567890123456789\
    HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\
    HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
    HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: tautline\r\n\r\n\
    HTTP/1.0 200 OK\r\n\r\nuntil the end";

/// Each pair of bytes is an operation and its argument. Whatever they are:
/// polling ends, time moves, early timeouts and misuse change nothing, what
/// waits is bounded, and every request is answered, upgraded or failed once.
pub fn client_operations(data: &[u8]) {
    let mut world = World {
        client: Client::new(&settings()),
        pool: Pool::new(4, 4_096),
        now: Instant::from_micros(1_000_000),
        sent: 0,
        in_hand: false,
        aborted: false,
    };
    for pair in data.chunks_exact(2) {
        world.operation(pair[0], pair[1]);
        world.drain();
    }
    world.client.handle_closed(&mut world.pool);
    world.drain();
    assert!(!world.in_hand || world.aborted, "every request has its end");
    assert!(world.client.body().is_empty());
}

struct World {
    client: Client,
    pool: Pool,
    now: Instant,
    sent: usize,
    in_hand: bool,
    /// The application gave the request up by itself.
    aborted: bool,
}

impl World {
    fn operation(&mut self, operation: u8, argument: u8) {
        let (now, many) = (self.now, u64::from(argument));
        match operation % 16 {
            0..=3 => self.receive(usize::from(argument) + 1),
            4 => self.pass(Duration::from_millis(many * many)),
            5 => self.early(),
            6 | 7 => {
                let reading = match argument % 3 {
                    0 => Reading::Whole { bytes_max: many },
                    1 => Reading::Chunks,
                    _ => Reading::Take {
                        sink: FILE,
                        offset: many,
                    },
                };
                self.command(|world| world.client.read_body(now, reading, &mut world.pool));
            }
            8 => self.client.consume_body(now),
            9 | 10 => self.request(argument),
            11 => self.client.finish(&mut self.pool),
            12 => self.client.handle_moved(now, many, &mut self.pool),
            13 if argument.is_multiple_of(2) => self.client.handle_blocked(now),
            13 => self.client.handle_writable(now),
            14 => {
                let mut buf = [0; 255];
                let room = &mut buf[..usize::from(argument)];
                let len = self.client.poll_write(now, room, &mut self.pool);
                assert!(len <= usize::from(argument));
            }
            _ if argument < 30 => self.client.handle_eof(now, &mut self.pool),
            _ if argument < 40 => {
                self.aborted = true;
                self.client.abort(&mut self.pool);
            }
            _ => {}
        }
    }

    fn receive(&mut self, len: usize) {
        let start = self.sent % STREAM.len();
        let bytes = &STREAM[start..STREAM.len().min(start + len)];
        let taken = self.client.handle_received(self.now, bytes, &mut self.pool);
        assert!(taken <= bytes.len());
        self.sent += taken;
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.client.handle_timeout(self.now, &mut self.pool);
        let next = self.client.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "time moves");
    }

    fn early(&mut self) {
        let before = format!("{:?}", self.client);
        let early = Instant::ORIGIN + self.now.saturating_since(Instant::ORIGIN) / 2;
        let deadline = self.client.poll_timeout();
        if deadline.is_none_or(|deadline| early < deadline) {
            self.client.handle_timeout(early, &mut self.pool);
            assert_eq!(format!("{:?}", self.client), before);
        }
    }

    /// A command that fails changes nothing.
    fn command(&mut self, command: impl FnOnce(&mut Self) -> Result<(), Misuse>) -> bool {
        let before = format!("{:?}", self.client);
        let done = command(self).is_ok();
        assert!(done || format!("{:?}", self.client) == before);
        done
    }

    fn request(&mut self, argument: u8) {
        let head = RequestHead {
            method: ["GET", "HEAD", "POST", "BAD METHOD"][usize::from(argument % 4)],
            target: "/",
            host: "h",
            headers: &[],
            upgrade: (argument & 16 != 0).then_some("tautline"),
            close: argument & 32 != 0,
        };
        let body = &[b'x'; 255][..usize::from(argument)];
        let now = self.now;
        let sent = self.command(|world| world.client.request(now, &head, body, &mut world.pool));
        if sent {
            assert!(!self.in_hand, "one request at a time");
            self.in_hand = true;
        }
    }

    fn drain(&mut self) {
        let mut steps = 0;
        while let Some(effect) = self.client.poll() {
            steps += 1;
            assert!(steps < 20, "polling does not end");
            match effect {
                ClientEffect::Response => assert!(self.client.response().is_some()),
                ClientEffect::BodyEnd | ClientEffect::Upgraded | ClientEffect::Failed(_) => {
                    assert!(self.in_hand, "ended once");
                    self.in_hand = false;
                }
                ClientEffect::Take { len, .. } => assert!(len > 0),
                ClientEffect::Body | ClientEffect::Resume | ClientEffect::Close(_) => {}
            }
        }
        assert!(self.client.body().len() <= 1_024);
    }
}
