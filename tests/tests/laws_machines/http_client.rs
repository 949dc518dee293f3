//! The client side of an HTTP connection.

use tautline_core::http::{Client, ClientEffect, Reading, RequestHead};
use tautline_core::{Instant, Machine};
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};
use tautline_tests::{Dice, counting};

use super::assert_lawful;
use super::http::{Borrowing, CHUNKS, FILE, Inlet, Out, disturb};

const GET: RequestHead<'_> = RequestHead {
    method: "GET",
    target: "/v1/inbox?after=0",
    host: "relay:52311",
    headers: &[("Accept", "*/*")],
    upgrade: None,
    close: false,
};

type Asking = Borrowing<Client>;

/// The driver and the application.
struct ClientCase {
    /// Decides what the application does.
    dice: Dice,
    contrary: bool,
    steady: bool,
    /// A request was made on this connection.
    asked: bool,
    /// The end of the exchange was not told of.
    busy: bool,
    /// The request in hand is not answered by the peer.
    unanswered: bool,
    inlet: Inlet,
    closed: bool,
}

impl ClientCase {
    fn ask(&mut self, asking: &mut Asking) {
        let body = [b'q'; 1_500];
        let (head, body): (_, &[u8]) = match self.dice.below(8) {
            0 => (
                RequestHead {
                    method: "HEAD",
                    ..GET
                },
                b"",
            ),
            1 if !self.steady => (
                RequestHead {
                    upgrade: Some("tautline"),
                    ..GET
                },
                b"",
            ),
            2 if !self.steady => (RequestHead { close: true, ..GET }, b""),
            3 | 4 => (
                RequestHead {
                    method: "POST",
                    ..GET
                },
                &body,
            ),
            _ => (GET, b""),
        };
        // A peer does not answer `HEAD` with a body.
        let head = match (self.steady, head.method) {
            (true, "HEAD") => GET,
            _ => head,
        };
        let (now, pool) = (asking.now, &mut asking.pool);
        assert_eq!(asking.http.request(now, &head, body, pool), Ok(()));
        (self.asked, self.busy, self.unanswered) = (true, true, true);
    }

    fn responded(&mut self, asking: &mut Asking, log: &mut Log) {
        counting::paused(|| {
            let response = asking.http.response().expect("it was told of");
            let headers: Vec<_> = response.headers().collect();
            log.event(&(response.status(), response.body(), headers));
        });
        let reading = match self.dice.below(5) {
            0 | 1 => Reading::Whole { bytes_max: 900 },
            2 if !self.steady => Reading::Whole { bytes_max: 20 },
            3 => Reading::Take {
                sink: FILE,
                offset: 0,
            },
            _ => Reading::Chunks,
        };
        let (now, pool) = (asking.now, &mut asking.pool);
        assert_eq!(asking.http.read_body(now, reading, pool), Ok(()));
    }

    fn connect(&mut self, asking: &mut Asking) {
        asking.reopen();
        self.inlet.clear();
        (self.asked, self.busy, self.unanswered) = (false, false, false);
        self.closed = false;
    }
}

/// A response, sound for the most part.
fn response(dice: &mut Dice) -> Vec<u8> {
    let body = dice.bytes(90);
    let length = body.len();
    let (head, body): (String, &[u8]) = match dice.below(12) {
        0 => ("HTTP/1.1 204 None\r\n\r\n".into(), b""),
        1 => ("HTTP/1.1 200\r\n\r\n".into(), b"until the end"),
        2 => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            (head.into(), CHUNKS)
        }
        3 => {
            let head = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: tautline\r\n\r\n";
            (head.into(), b"")
        }
        4 => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 2500\r\n\r\n";
            (head.into(), &[b'x'; 2_500])
        }
        5 => {
            let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            (head.into(), b"")
        }
        6 if dice.one_in(3) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n";
            (head.into(), b"")
        }
        _ => (
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"),
            &body,
        ),
    };
    [head.as_bytes(), body].concat()
}

impl MachineCase for ClientCase {
    type Machine = Asking;
    const NAME: &'static str = "http client";
    const CLAMPS_TIME: bool = false;

    fn new(seed: u64) -> (Asking, Self) {
        let case = Self {
            dice: Dice::new(seed),
            contrary: true,
            steady: false,
            asked: false,
            busy: false,
            unanswered: false,
            inlet: Inlet::new(),
            closed: false,
        };
        (Asking::new(), case)
    }

    fn act(&mut self, asking: &mut Asking, now: Instant, dice: &mut Dice, log: &mut Log) {
        asking.now = asking.now.max(now);
        if self.inlet.gone {
            self.connect(asking);
        }
        match dice.below(40) {
            0 => asking.http.handle_closed(&mut asking.pool),
            1 => asking.http.abort(&mut asking.pool),
            2 if self.inlet.held.is_empty() => asking.http.handle_eof(now, &mut asking.pool),
            3..12 => asking.http.handle_writable(now),
            _ if !self.busy && asking.http.is_ready() => self.ask(asking),
            _ => {
                if core::mem::take(&mut self.unanswered) {
                    self.inlet.held.extend(response(dice));
                }
                let len = dice.index(2 * self.inlet.held.len() + 2);
                self.inlet.offer(asking, len, log);
            }
        }
    }

    fn effect(
        &mut self,
        asking: &mut Asking,
        now: Instant,
        effect: Out<ClientEffect>,
        log: &mut Log,
    ) {
        asking.now = asking.now.max(now);
        let effect = match effect {
            Out::Wrote(bytes) => {
                assert!(!self.closed, "nothing is written behind the end");
                log.bytes(0, &asking.buf[..bytes]);
                if self.contrary && self.dice.one_in(4) {
                    asking.http.handle_blocked(now);
                }
                return;
            }
            Out::Effect(effect) => effect,
        };
        match effect {
            ClientEffect::Response => self.responded(asking, log),
            ClientEffect::Take { len, .. } => {
                self.inlet.take(len);
            }
            ClientEffect::Body => {
                log.bytes(1, asking.http.body());
                asking.http.consume_body(now);
            }
            ClientEffect::BodyEnd => {
                log.bytes(1, asking.http.body());
                log.event(&effect);
                (self.busy, self.inlet.take_left) = (false, 0);
                asking.http.finish(&mut asking.pool);
            }
            ClientEffect::Resume => {
                self.inlet.resume(log);
            }
            ClientEffect::Close(_) => {
                // How it ends shows whether bytes that nobody asked for came
                // with the response or behind it: that is in the cut.
                log.effect(&effect);
                self.closed = true;
                self.inlet.gone = !self.contrary || self.dice.one_in(2);
                if self.inlet.gone {
                    asking.http.handle_closed(&mut asking.pool);
                }
            }
            ClientEffect::Upgraded => {
                log.event(&effect);
                self.inlet.gone = true;
            }
            ClientEffect::Failed(_) => {
                self.inlet.take_left = 0;
                log.event(&effect);
            }
        }
    }

    fn noise(&mut self, asking: &mut Asking, now: Instant, dice: &mut Dice, log: &mut Log) {
        let mut bytes = response(dice);
        disturb(&mut bytes, dice);
        asking.now = asking.now.max(now);
        self.inlet.held.extend(bytes);
        self.inlet.offer(asking, usize::MAX, log);
    }

    fn misuse(
        &mut self,
        asking: &mut Asking,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let (client, pool) = (&mut asking.http, &mut asking.pool);
        let own = [("Host", "another")];
        let mut ask = |head: RequestHead<'_>, body| client.request(now, &head, body, pool);
        let told = match dice.below(6) {
            0 => ask(
                RequestHead {
                    method: "G E T",
                    ..GET
                },
                b"",
            ),
            1 => ask(
                RequestHead {
                    target: "no path",
                    ..GET
                },
                b"",
            ),
            2 => ask(
                RequestHead {
                    headers: &own,
                    ..GET
                },
                b"",
            ),
            3 => ask(GET, &[0; 3_000]),
            4 if !client.is_ready() => client.request(now, &GET, b"", pool),
            5 if client.response().is_none() => client.read_body(now, Reading::Chunks, pool),
            _ => return Ok(Misuse::None),
        };
        match told {
            Err(_) => Ok(Misuse::Refused),
            Ok(()) => Err("a misuse was accepted".to_owned()),
        }
    }

    fn flood(&mut self, asking: &mut Asking, now: Instant, dice: &mut Dice, log: &mut Log) {
        match dice.below(3) {
            0 if self.inlet.held.len() < 8_000 => self.noise(asking, now, dice, log),
            _ => self.act(asking, now, dice, log),
        }
    }

    fn census(&self, asking: &Asking) -> Vec<Census> {
        asking.census()
    }

    /// A request and its response on a connection that is kept alive.
    fn steady(&mut self, asking: &mut Asking, now: Instant, _: &mut Dice) -> bool {
        const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
        (self.steady, self.contrary) = (true, false);
        asking.now = asking.now.max(now);
        assert!(!self.inlet.gone, "it is kept alive");
        if asking.http.is_ready() {
            self.ask(asking);
        } else if core::mem::take(&mut self.unanswered) {
            self.inlet.held.extend_from_slice(RESPONSE);
        }
        let mut log = Log::counting();
        self.inlet.offer(asking, usize::MAX, &mut log);
        true
    }

    fn stream(dice: &mut Dice) -> Option<Vec<u8>> {
        let mut bytes = response(dice);
        if dice.one_in(4) {
            let place = dice.index(bytes.len());
            bytes[place] ^= 1 << dice.below(8);
        }
        if dice.one_in(3) {
            bytes.extend(dice.bytes(100));
        }
        Some(bytes)
    }

    fn feed(&mut self, asking: &mut Asking, now: Instant, bytes: &[u8], log: &mut Log) -> usize {
        self.contrary = false;
        asking.now = asking.now.max(now);
        if !self.asked {
            // What it asks is written before the answer comes.
            self.ask(asking);
            while let Some(effect) = asking.poll() {
                self.effect(asking, now, effect, log);
            }
        }
        self.inlet.held = bytes.to_vec();
        self.inlet.offer(asking, usize::MAX, log)
    }

    fn feed_end(&mut self, asking: &mut Asking, now: Instant, _: &mut Log) {
        if !self.inlet.gone {
            asking.http.handle_eof(now, &mut asking.pool);
        }
    }
}

#[test]
fn the_http_client_keeps_all_laws() {
    let tally = assert_lawful::<ClientCase>(120);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.noises > 100,
        "{tally:?}"
    );
    assert!(
        tally.streams > 0 && tally.tables == 2 && tally.steady > 0,
        "{tally:?}"
    );
}
