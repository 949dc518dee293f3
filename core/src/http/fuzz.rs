//! Bodies of the fuzz targets: any bytes, and what must hold for them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::head::{Gathered, Head};
use super::{
    Client, ClientEffect, Effect, Limits, Reading, RequestHead, ResponseBody, ResponseHead, Server,
    Settings, Timeouts, request,
};
use crate::collections::Pool;
use crate::{Close, FileId, Instant, Key};

const FILE: FileId = FileId::from_key(Key::new(1, 0));

/// A head by itself: it is refused or every part of it can be read, and a
/// second parse of the same text says the same.
pub fn head(data: &[u8]) {
    let limits = Limits::default();
    let mut pool = Pool::new(4, 65_536);
    let mut head = Head::default();
    let Ok(Gathered::Complete(taken)) = head.gather(data, &limits, &mut pool) else {
        return;
    };
    assert!(taken <= data.len());
    assert!(data[..taken].ends_with(b"\r\n\r\n"));
    let first = request::check(&mut head, &limits);
    if first.is_err() {
        return;
    }
    let view = request::Request::view(&head).expect("a checked head has a view");
    assert!(!view.method().is_empty());
    assert!(view.path().starts_with(['/', '*']));
    for (name, value) in view.headers() {
        assert!(!name.is_empty() && name.is_ascii());
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    assert_eq!(view.body(), first.expect("checked").body);
    assert_eq!(
        view.expects_continue(),
        first.expect("checked").expects_continue
    );
}

/// A server that gets `data` in one piece, byte by byte, and cut at random:
/// what the application and the peer see is the same, bounded, and after a
/// refusal there is no further request.
pub fn server_split(data: &[u8]) {
    let (behaviour, cuts, stream) = split_input(data);
    let whole = run_server(behaviour, &mut |_| usize::MAX, stream);
    let bytes = run_server(behaviour, &mut |_| 1, stream);
    let mut next = 0;
    let mut cut = |_: usize| {
        next += 1;
        usize::from(cuts[next % cuts.len()]) + 1
    };
    let parts = run_server(behaviour, &mut cut, stream);
    assert_eq!(whole, bytes, "byte by byte");
    assert_eq!(whole, parts, "in parts");
}

/// The same for a client whose peer sends `data`.
pub fn client_split(data: &[u8]) {
    let (behaviour, cuts, stream) = split_input(data);
    let whole = run_client(behaviour, &mut |_| usize::MAX, stream);
    let bytes = run_client(behaviour, &mut |_| 1, stream);
    let mut next = 0;
    let mut cut = |_: usize| {
        next += 1;
        usize::from(cuts[next % cuts.len()]) + 1
    };
    let parts = run_client(behaviour, &mut cut, stream);
    assert_eq!(whole, bytes, "byte by byte");
    assert_eq!(whole, parts, "in parts");
}

/// What is seen of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Heads and events, in their order.
    pub(super) events: Vec<Vec<u8>>,
    /// The bodies of the messages that were complete.
    pub(super) bodies: Vec<Vec<u8>>,
    /// What was written.
    pub(super) written: Vec<u8>,
    /// How it was closed.
    pub(super) closed: Option<bool>,
}

/// What the application does, out of one byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behaviour(pub(super) u8);

impl Behaviour {
    fn reading(self) -> Option<Reading> {
        match self.0 & 3 {
            0 => None,
            1 => Some(Reading::Whole { bytes_max: 300 }),
            2 => Some(Reading::Chunks),
            _ => Some(Reading::Take {
                sink: FILE,
                offset: 7,
            }),
        }
    }

    fn response(self) -> ResponseBody<'static> {
        match self.0 >> 2 & 3 {
            0 => ResponseBody::Empty,
            1 => ResponseBody::Bytes(b"some bytes"),
            2 => ResponseBody::File {
                file: FILE,
                range: 3..9,
            },
            _ => ResponseBody::Stream { len: None },
        }
    }

    fn ends(self) -> bool {
        self.0 & 16 != 0
    }

    fn is_head(self) -> bool {
        self.0 & 32 != 0
    }

    fn upgrades(self) -> bool {
        self.0 & 64 != 0
    }
}

pub(super) fn settings() -> Arc<Settings> {
    Arc::new(Settings::new(
        Limits {
            head_bytes_max: 512,
            headers_max: 40,
            target_bytes_max: 128,
            body_bytes_max: 2_000,
            body_buffer_bytes_max: 1_024,
            body_bytes_discard_max: 64,
            chunks_max: 20,
            chunk_extension_bytes_max: 16,
            trailer_bytes_max: 32,
            response_bytes_max: 1_024,
            requests_per_connection_max: 8,
        },
        Timeouts::default(),
    ))
}

fn split_input(data: &[u8]) -> (Behaviour, [u8; 4], &[u8]) {
    match data {
        [behaviour, a, b, c, d, stream @ ..] => (Behaviour(*behaviour), [*a, *b, *c, *d], stream),
        _ => (Behaviour(0), [0; 4], data),
    }
}

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
pub(super) fn run_server(
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
    match world.seen.closed {
        None => {
            world.server.handle_eof(world.now, &mut world.pool);
            world.drain();
        }
        Some(true) if !world.upgraded => {
            let rest = &stream[at..];
            let taken = world
                .server
                .handle_received(world.now, rest, &mut world.pool);
            assert_eq!(taken, rest.len(), "what follows the end is dropped");
            assert_eq!(world.server.poll(), None, "and is no request");
        }
        Some(_) => {}
    }
    world.end()
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
                self.seen.events.push(why.as_str().as_bytes().to_vec());
            }
            Effect::Finished { status, aborted } => {
                assert!(self.in_hand, "finished once for each request");
                self.in_hand = false;
                let event = alloc::format!("finished {status} {aborted}");
                self.seen.events.push(event.into_bytes());
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
                self.seen.events.push(b"upgraded".to_vec());
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
        let mut event = Vec::new();
        for part in [
            request.method(),
            request.path(),
            request.query().unwrap_or("-"),
        ] {
            event.extend_from_slice(part.as_bytes());
            event.push(b' ');
        }
        for (name, value) in request.headers() {
            event.extend_from_slice(name.as_bytes());
            event.push(b':');
            event.extend_from_slice(value);
            event.push(b'\n');
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

pub(super) fn run_client(
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
    if world.seen.closed.is_none() {
        world.client.handle_eof(world.now, &mut world.pool);
        world.drain();
    }
    for _ in 0..8 {
        let Some(deadline) = world.client.poll_timeout() else {
            break;
        };
        world.now = world.now.max(deadline);
        world.client.handle_timeout(world.now, &mut world.pool);
        let next = world.client.poll_timeout();
        world.drain();
        assert!(next.is_none_or(|next| next > world.now), "time moves");
    }
    assert_eq!(world.client.poll_timeout(), None, "deadlines end");
    world.client.handle_closed(&mut world.pool);
    world.drain();
    world.seen
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
                self.seen
                    .events
                    .push(alloc::format!("{why:?}").into_bytes());
            }
            ClientEffect::Response => {
                let response = self.client.response().expect("a response waits");
                let mut event = alloc::format!("{}", response.status()).into_bytes();
                for (name, value) in response.headers() {
                    event.extend_from_slice(name.as_bytes());
                    event.push(b':');
                    event.extend_from_slice(value);
                    event.push(b'\n');
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
                self.seen.events.push(b"upgraded".to_vec());
                self.seen.closed = Some(true);
            }
            ClientEffect::Resume => self.open = true,
            ClientEffect::Close(how) => self.seen.closed = Some(how == Close::Finish),
        }
    }
}
