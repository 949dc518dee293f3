//! The server side of an HTTP connection.

use tautline_core::Instant;
use tautline_core::http::{Effect, Reading, ResponseBody, ResponseHead, Server};
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};
use tautline_tests::{Dice, counting};

use super::http::{Borrowing, CHUNKS, FILE, Inlet, Out, disturb, limits};
use super::{assert_lawful, census};

const PLAIN: ResponseHead<'_> = ResponseHead {
    status: 200,
    headers: &[("Content-Type", "text/plain")],
    close: false,
};

type Served = Borrowing<Server>;

/// The driver and the application.
struct ServerCase {
    /// Decides what the application does.
    dice: Dice,
    /// Whether the driver makes the machine wait.
    contrary: bool,
    /// The peer sends nothing that ends the connection.
    steady: bool,
    inlet: Inlet,
    ended: bool,
    send_left: u64,
    /// Bytes of the streamed response to come, if one is streamed.
    streams: Option<u64>,
    /// Streamed bytes that were not written.
    queued: usize,
}

impl ServerCase {
    fn requested(&mut self, served: &mut Served, log: &mut Log) {
        self.streams = None;
        counting::paused(|| {
            let request = served.http.request().expect("it was told of");
            let headers: Vec<_> = request.headers().collect();
            log.event(&(request.method(), request.target(), request.body(), headers));
        });
        let reading = match self.dice.below(5) {
            0 => return self.respond(served),
            1 => Reading::Whole { bytes_max: 900 },
            2 if !self.steady => Reading::Whole { bytes_max: 20 },
            3 => Reading::Take {
                sink: FILE,
                offset: 0,
            },
            _ => Reading::Chunks,
        };
        let (now, pool) = (served.now, &mut served.pool);
        assert_eq!(served.http.read_body(now, reading, pool), Ok(()));
    }

    fn respond(&mut self, served: &mut Served) {
        let body = match self.dice.below(6) {
            0 => ResponseBody::Empty,
            1 => ResponseBody::File {
                file: FILE,
                range: 3..700,
            },
            2 => ResponseBody::Stream { len: Some(100) },
            3 => ResponseBody::Stream { len: None },
            _ => ResponseBody::Bytes(&[b'.'; 700]),
        };
        self.streams = match &body {
            ResponseBody::Stream { len } => Some(len.unwrap_or(300)),
            _ => None,
        };
        let close = !self.steady && self.dice.one_in(20);
        let head = ResponseHead { close, ..PLAIN };
        let (now, pool) = (served.now, &mut served.pool);
        let responded = served.http.respond(now, &head, body, pool);
        assert_eq!(responded, Ok(()));
    }

    /// The application has more of its response, up to `len` bytes of it.
    fn stream(&mut self, served: &mut Served, len: u64) {
        let Some(left) = self.streams else {
            return;
        };
        let (now, pool) = (served.now, &mut served.pool);
        let bytes = &[b'-'; 4_000][..left.min(len) as usize];
        let taken = served.http.stream(now, bytes, pool);
        self.queued += taken;
        let left = left - taken as u64;
        self.streams = Some(left);
        if left == 0 {
            self.streams = None;
            assert_eq!(served.http.stream_end(now, pool), Ok(()));
        }
    }

    fn wrote(&mut self, served: &mut Served, bytes: usize, log: &mut Log) {
        log.bytes(0, &served.buf[..bytes]);
        if !served.http.wants_write() {
            self.queued = 0;
        }
        if self.contrary && self.dice.one_in(6) {
            served.http.handle_blocked(served.now);
        }
    }

    fn move_file(&mut self, served: &mut Served, bytes: u64) {
        self.send_left -= bytes;
        let (now, pool) = (served.now, &mut served.pool);
        served.http.handle_moved(now, bytes, pool);
    }

    /// The connection is gone; the next one comes.
    fn accept(&mut self, served: &mut Served) {
        served.reopen();
        self.inlet.clear();
        (self.ended, self.send_left) = (false, 0);
        (self.streams, self.queued) = (None, 0);
    }
}

/// A request, sound for the most part.
fn request(dice: &mut Dice) -> Vec<u8> {
    let body = dice.bytes(90);
    let length = body.len();
    let (head, body): (String, &[u8]) = match dice.below(10) {
        0 => ("GET /a?b=c HTTP/1.1\r\nHost: r\r\n\r\n".into(), b""),
        1 => ("HEAD /a HTTP/1.1\r\nHost: r\r\n\r\n".into(), b""),
        2 if dice.one_in(4) => ("GET / HTTP/1.0\r\n\r\n".into(), b""),
        3 => {
            let head = "POST /chunks HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n";
            (head.into(), CHUNKS)
        }
        4 => {
            let head = "PUT /w HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: ";
            (format!("{head}{length}\r\n\r\n"), &body)
        }
        5 => {
            let head = "PUT /long HTTP/1.1\r\nHost: r\r\nContent-Length: 2500\r\n\r\n";
            (head.into(), &[b'x'; 2_500])
        }
        6 if dice.one_in(3) => {
            let head = "GET /broken HTTP/1.1\r\nHost: r\r\nContent-Length: 1, 2\r\n\r\n";
            (head.into(), b"")
        }
        _ => (
            format!("POST /b HTTP/1.1\r\nHost: r\r\nContent-Length: {length}\r\n\r\n"),
            &body,
        ),
    };
    [head.as_bytes(), body].concat()
}

impl MachineCase for ServerCase {
    type Machine = Served;
    const NAME: &'static str = "http server";
    const CLAMPS_TIME: bool = false;

    fn new(seed: u64) -> (Served, Self) {
        let case = Self {
            dice: Dice::new(seed),
            contrary: true,
            steady: false,
            inlet: Inlet::new(),
            ended: false,
            send_left: 0,
            streams: None,
            queued: 0,
        };
        (Served::new(), case)
    }

    fn act(&mut self, served: &mut Served, now: Instant, dice: &mut Dice, log: &mut Log) {
        served.now = served.now.max(now);
        if self.inlet.gone {
            self.accept(served);
        }
        match dice.below(40) {
            0 => served.http.handle_closed(&mut served.pool),
            1 => served.http.abort(&mut served.pool),
            2 => served.http.drain(now, &mut served.pool),
            3 if self.inlet.held.is_empty() && !self.ended => {
                self.ended = true;
                served.http.handle_eof(now, &mut served.pool);
            }
            4..12 => served.http.handle_writable(now),
            12..16 if self.send_left > 0 => {
                let moved = 1 + dice.below(self.send_left);
                self.move_file(served, moved);
            }
            16..20 => self.stream(served, 1 + dice.below(300)),
            _ if self.ended => {}
            _ => {
                if self.inlet.held.len() < 3_000 {
                    self.inlet.held.extend(request(dice));
                }
                let len = dice.index(2 * self.inlet.held.len());
                self.inlet.offer(served, len, log);
            }
        }
    }

    fn effect(&mut self, served: &mut Served, now: Instant, effect: Out<Effect>, log: &mut Log) {
        served.now = served.now.max(now);
        let effect = match effect {
            Out::Wrote(bytes) => return self.wrote(served, bytes, log),
            Out::Effect(effect) => effect,
        };
        match effect {
            Effect::Request => self.requested(served, log),
            Effect::Take { len, .. } => {
                self.inlet.take(len);
            }
            Effect::Body => {
                log.bytes(1, served.http.body());
                served.http.consume_body(now);
            }
            Effect::BodyEnd => {
                log.bytes(1, served.http.body());
                log.event(&effect);
                self.respond(served);
            }
            Effect::SendFile { ref range, .. } => {
                log.event(&effect);
                self.send_left = range.end - range.start;
                if !self.contrary {
                    self.move_file(served, self.send_left);
                }
            }
            Effect::Pull => self.stream(served, 200),
            Effect::Resume => {
                self.inlet.resume(log);
            }
            Effect::Close(_) => {
                log.event(&effect);
                self.inlet.gone = true;
                served.http.handle_closed(&mut served.pool);
            }
            Effect::Finished { .. } | Effect::Refused(_) | Effect::Upgraded => {
                self.inlet.take_left = 0;
                log.event(&effect);
            }
        }
    }

    fn noise(&mut self, served: &mut Served, now: Instant, dice: &mut Dice, log: &mut Log) {
        let mut bytes = request(dice);
        disturb(&mut bytes, dice);
        served.now = served.now.max(now);
        self.inlet.held.extend(bytes);
        self.inlet.offer(served, usize::MAX, log);
    }

    fn misuse(
        &mut self,
        served: &mut Served,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let (server, pool) = (&mut served.http, &mut served.pool);
        let large = vec![0; 3_000];
        let mut respond = |status, headers, body| {
            let head = ResponseHead {
                status,
                headers,
                close: true,
            };
            server.respond(now, &head, body, pool)
        };
        let told = match dice.below(7) {
            0 => respond(99, &[], ResponseBody::Empty),
            1 => respond(200, &[("a b", "c")], ResponseBody::Empty),
            2 => respond(200, &[], ResponseBody::Bytes(&large)),
            3 => respond(204, &[], ResponseBody::Bytes(b"no")),
            4 => server.upgrade(now, &[("Upgrade", "\0")], pool),
            5 if self.streams.is_none() => server.stream_end(now, pool),
            6 if server.request().is_none() => server.read_body(now, Reading::Chunks, pool),
            _ => return Ok(Misuse::None),
        };
        match told {
            Err(_) => Ok(Misuse::Refused),
            Ok(()) => Err("a misuse was accepted".to_owned()),
        }
    }

    fn flood(&mut self, served: &mut Served, now: Instant, dice: &mut Dice, log: &mut Log) {
        match dice.below(3) {
            0 => {
                // More than was announced is no more than is taken.
                self.streams = self
                    .streams
                    .map(|left| left.max(1) + u64::from(left > 100) * 4_000);
                self.stream(served, 4_000);
            }
            1 => self.noise(served, now, dice, log),
            _ => self.act(served, now, dice, log),
        }
    }

    fn census(&self, served: &Served) -> Vec<Census> {
        let queued_max = limits().response_bytes_max;
        let mut tables = served.census();
        tables.push(census("response_bytes_max", self.queued, queued_max));
        tables
    }

    /// A request and its response on a connection that is kept alive.
    fn steady(&mut self, served: &mut Served, now: Instant, _: &mut Dice) -> bool {
        const REQUESTS: [&[u8]; 2] = [
            b"GET /a HTTP/1.1\r\nHost: r\r\n\r\n",
            b"PUT /b HTTP/1.1\r\nHost: r\r\nContent-Length: 4\r\n\r\nbody",
        ];
        (self.steady, self.contrary) = (true, false);
        served.now = served.now.max(now);
        assert!(!self.inlet.gone, "it is kept alive");
        if served.http.is_idle() {
            let place = self.dice.index(2);
            self.inlet.held.extend_from_slice(REQUESTS[place]);
        }
        let mut log = Log::counting();
        self.inlet.offer(served, usize::MAX, &mut log);
        true
    }

    fn stream(dice: &mut Dice) -> Option<Vec<u8>> {
        let requests = 1 + dice.below(6);
        let mut bytes: Vec<u8> = (0..requests).flat_map(|_| request(dice)).collect();
        if dice.one_in(3) {
            bytes.extend(dice.bytes(100));
        }
        Some(bytes)
    }

    fn feed(&mut self, served: &mut Served, now: Instant, bytes: &[u8], log: &mut Log) -> usize {
        self.contrary = false;
        served.now = served.now.max(now);
        self.inlet.held = bytes.to_vec();
        self.inlet.offer(served, usize::MAX, log)
    }

    fn feed_end(&mut self, served: &mut Served, now: Instant, _: &mut Log) {
        if !self.inlet.gone {
            served.http.handle_eof(now, &mut served.pool);
        }
    }
}

#[test]
fn the_http_server_keeps_all_laws() {
    let tally = assert_lawful::<ServerCase>(120);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.noises > 100,
        "{tally:?}"
    );
    assert!(
        tally.streams > 0 && tally.tables == 3 && tally.steady > 0,
        "{tally:?}"
    );
}
