//! A server whose driver and application do anything, in any order.

use alloc::format;
use core::time::Duration;

use super::{Behaviour, FILE, settings};
use crate::Instant;
use crate::collections::Pool;
use crate::http::{Effect, Misuse, Reading, ResponseBody, ResponseHead, Server};

/// What the peer sends, over and over.
const STREAM: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n\
    POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n01234567890123456789\
    PUT /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
    GET /c HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: tautline\r\n\r\n\
    POST /d HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";

/// Each pair of bytes is an operation and its argument. Whatever they are:
/// polling ends, time moves, early timeouts and misuse change nothing, what
/// waits is bounded, and every request is finished once.
pub fn server_operations(data: &[u8]) {
    let now = Instant::from_micros(1_000_000);
    let mut world = World {
        server: Server::new(now, &settings()),
        pool: Pool::new(4, 4_096),
        now,
        sent: 0,
        in_hand: false,
        closed: false,
    };
    for pair in data.chunks_exact(2) {
        world.operation(pair[0], pair[1]);
        world.drain();
    }
    world.server.handle_closed(&mut world.pool);
    world.drain();
    assert!(!world.in_hand, "every request is finished");
    assert_eq!(world.server.poll_timeout(), None);
}

struct World {
    server: Server,
    pool: Pool,
    now: Instant,
    sent: usize,
    in_hand: bool,
    closed: bool,
}

impl World {
    fn operation(&mut self, operation: u8, argument: u8) {
        let (now, many) = (self.now, u64::from(argument));
        match operation % 16 {
            0..=3 => self.receive(usize::from(argument) + 1),
            4 => self.pass(Duration::from_millis(many * many)),
            5 => self.early(),
            6 => {
                let reading = match argument % 3 {
                    0 => Reading::Whole { bytes_max: many },
                    1 => Reading::Chunks,
                    _ => Reading::Take {
                        sink: FILE,
                        offset: many,
                    },
                };
                self.command(|world| world.server.read_body(now, reading, &mut world.pool));
            }
            7 => self.server.consume_body(now),
            8 | 9 => self.respond(argument),
            10 => {
                let bytes = [b'x'; 255];
                let data = &bytes[..usize::from(argument)];
                let taken = self.server.stream(now, data, &mut self.pool);
                assert!(taken <= data.len());
            }
            11 => self.command(|world| world.server.stream_end(now, &mut world.pool)),
            12 => self.server.handle_moved(now, many, &mut self.pool),
            13 if argument.is_multiple_of(2) => self.server.handle_blocked(now),
            13 => self.server.handle_writable(now),
            14 => {
                let mut buf = [0; 255];
                let room = &mut buf[..usize::from(argument)];
                let len = self.server.poll_write(now, room, &mut self.pool);
                assert!(len <= usize::from(argument));
            }
            _ => self.end(argument),
        }
    }

    fn receive(&mut self, len: usize) {
        let start = self.sent % STREAM.len();
        let bytes = &STREAM[start..STREAM.len().min(start + len)];
        let taken = self.server.handle_received(self.now, bytes, &mut self.pool);
        assert!(taken <= bytes.len());
        self.sent += taken;
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.server.handle_timeout(self.now, &mut self.pool);
        let next = self.server.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "time moves");
    }

    fn early(&mut self) {
        let before = format!("{:?}", self.server);
        let earlier = self.now.saturating_since(Instant::ORIGIN) / 2;
        let early = Instant::ORIGIN + earlier;
        if self
            .server
            .poll_timeout()
            .is_none_or(|deadline| early < deadline)
        {
            self.server.handle_timeout(early, &mut self.pool);
            assert_eq!(format!("{:?}", self.server), before);
        }
    }

    /// A command that fails changes nothing.
    fn command(&mut self, command: impl FnOnce(&mut Self) -> Result<(), Misuse>) {
        let before = format!("{:?}", self.server);
        if command(self).is_err() {
            assert_eq!(format!("{:?}", self.server), before);
        }
    }

    fn respond(&mut self, argument: u8) {
        let now = self.now;
        let head = ResponseHead {
            status: if argument < 250 { 200 } else { 204 },
            headers: &[],
            close: argument % 8 == 7,
        };
        if argument.is_multiple_of(5) {
            let headers = [("Upgrade", "tautline")];
            self.command(|world| world.server.upgrade(now, &headers, &mut world.pool));
        }
        let body = match argument % 7 {
            0 => ResponseBody::Stream {
                len: Some(u64::from(argument)),
            },
            _ => Behaviour(argument).response(),
        };
        self.command(|world| world.server.respond(now, &head, body, &mut world.pool));
    }

    fn end(&mut self, argument: u8) {
        match argument {
            0..=59 => self.server.handle_eof(self.now, &mut self.pool),
            60..=89 => self.server.drain(self.now, &mut self.pool),
            90..=99 => self.server.abort(&mut self.pool),
            _ => {}
        }
    }

    fn drain(&mut self) {
        let mut steps = 0;
        while let Some(effect) = self.server.poll() {
            steps += 1;
            assert!(steps < 20, "polling does not end");
            match effect {
                Effect::Request => {
                    assert!(!self.in_hand && !self.closed);
                    assert!(self.server.request().is_some());
                    self.in_hand = true;
                }
                Effect::Finished { .. } => {
                    assert!(self.in_hand, "finished once for each request");
                    self.in_hand = false;
                }
                Effect::Take { len, .. } => assert!(len > 0),
                Effect::SendFile { range, .. } => assert!(!range.is_empty()),
                Effect::Close(_) => self.closed = true,
                Effect::Refused(_)
                | Effect::Body
                | Effect::BodyEnd
                | Effect::Pull
                | Effect::Upgraded
                | Effect::Resume => {}
            }
        }
        assert!(self.server.body().len() <= 1_024);
    }
}
