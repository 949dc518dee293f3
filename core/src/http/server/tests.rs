mod bodies;
mod endings;
mod limits;
mod malformed;
mod pace;
mod replies;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use super::super::{Limits, Misuse, Reading, ResponseBody, ResponseHead, Settings, Timeouts};
use super::*;
use crate::Key;
use crate::collections::Pool;

const FILE: FileId = FileId::from_key(Key::new(3, 0));
const OK: ResponseHead<'_> = ResponseHead {
    status: 200,
    headers: &[],
    close: false,
};

/// A server, its driver and the time.
struct World {
    server: Server,
    pool: Pool,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let now = Instant::from_micros(1_000_000);
        let settings = Arc::new(Settings::new(limits, Timeouts::default()));
        Self {
            server: Server::new(now, &settings),
            pool: Pool::new(8, 65_536),
            now,
        }
    }

    fn receive(&mut self, bytes: impl AsRef<[u8]>) -> usize {
        let bytes = bytes.as_ref();
        self.server.handle_received(self.now, bytes, &mut self.pool)
    }

    fn effects(&mut self) -> Vec<Effect> {
        core::iter::from_fn(|| self.server.poll()).collect()
    }

    fn written(&mut self) -> String {
        let mut written = Vec::new();
        let mut buf = [0; 50];
        loop {
            let len = self.server.poll_write(self.now, &mut buf, &mut self.pool);
            if len == 0 {
                break;
            }
            written.extend_from_slice(&buf[..len]);
        }
        String::from_utf8(written).expect("text")
    }

    fn respond(&mut self, body: ResponseBody<'_>) -> Result<(), Misuse> {
        self.server.respond(self.now, &OK, body, &mut self.pool)
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.server.handle_timeout(self.now, &mut self.pool);
    }

    fn deadline(&self) -> Option<Duration> {
        self.server
            .poll_timeout()
            .map(|deadline| deadline.saturating_since(self.now))
    }
}

#[test]
fn a_request_is_read_and_answered() {
    let mut world = World::new();
    let stream =
        "POST /a/b?c=d HTTP/1.1\r\nHost: h:1\r\nX-Y: \t z \r\nContent-Length: 5\r\n\r\nhelloGET";
    let taken = world.receive(stream);
    assert_eq!(&stream[taken..], "helloGET");
    assert_eq!(world.effects(), [Effect::Request]);
    let request = world.server.request().expect("a request");
    assert_eq!(request.method(), "POST");
    assert_eq!((request.path(), request.query()), ("/a/b", Some("c=d")));
    assert_eq!(request.host(), Some("h:1"));
    assert_eq!(request.header_str("x-y"), Some("z"));
    assert_eq!(request.headers().len(), 3);
    assert_eq!(request.body(), super::super::BodyLength::Known(5));
    assert_eq!(world.deadline(), None);

    let reading = Reading::Whole { bytes_max: 5 };
    assert_eq!(
        world.server.read_body(world.now, reading, &mut world.pool),
        Ok(())
    );
    assert_eq!(
        world.server.read_body(world.now, reading, &mut world.pool),
        Err(Misuse::ReadingChosen)
    );
    assert_eq!(world.effects(), [Effect::Resume]);
    assert_eq!(world.receive("helloGET"), 5);
    assert_eq!(world.effects(), [Effect::BodyEnd]);
    assert_eq!(world.server.body(), b"hello");
    let head = ResponseHead {
        status: 201,
        headers: &[("Location", "/x")],
        close: false,
    };
    let responded = world.server.respond(
        world.now,
        &head,
        ResponseBody::Bytes(b"made"),
        &mut world.pool,
    );
    assert_eq!(responded, Ok(()));
    assert_eq!(
        world.written(),
        "HTTP/1.1 201 Created\r\nLocation: /x\r\nContent-Length: 4\r\n\r\nmade"
    );
    let finished = Effect::Finished {
        status: 201,
        aborted: false,
    };
    assert_eq!(world.effects(), [finished, Effect::Resume]);
    assert_eq!(world.deadline(), Some(Duration::from_secs(60)));
    assert_eq!(world.server.head.body().len() + world.server.out.len(), 0);
}

#[test]
fn an_upgrade_hands_the_connection_over() {
    let offer = "GET /v1/connect HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket, Tautline\r\n\r\n";
    let stream = format!("{offer}frames");
    let mut world = World::new();
    let taken = world.receive(&stream);
    assert_eq!(&stream[taken..], "frames");
    world.effects();
    let now = world.now;
    for headers in [&[][..], &[("Upgrade", "other")]] {
        let upgraded = world.server.upgrade(now, headers, &mut world.pool);
        assert_eq!(upgraded, Err(Misuse::NoUpgrade));
    }
    let headers = [("Upgrade", "tautline")];
    assert_eq!(world.server.upgrade(now, &headers, &mut world.pool), Ok(()));
    assert_eq!(world.receive("frames"), 0);
    assert_eq!(world.effects(), []);
    assert_eq!(
        world.written(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: tautline\r\nConnection: Upgrade\r\n\r\n"
    );
    let finished = Effect::Finished {
        status: 101,
        aborted: false,
    };
    assert_eq!(
        world.effects(),
        [finished, Effect::Upgraded, Effect::Resume]
    );
    assert_eq!(world.deadline(), None);
    assert_eq!(world.receive("frames"), 0);
    assert_eq!(world.server.head.body().len() + world.server.out.len(), 0);

    // Who does not offer it can not be upgraded, but is served.
    for head in [
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: tautline\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: tautline\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: tautline\r\nContent-Length: 1\r\n\r\n",
    ] {
        let mut world = World::new();
        world.receive(head);
        let upgraded = world.server.upgrade(now, &headers, &mut world.pool);
        assert_eq!(upgraded, Err(Misuse::NoUpgrade));
        assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
    }
}

#[test]
fn buffers_go_back_to_the_pool() {
    let mut world = World::new();
    for round in 0..4 {
        world.receive("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
        let (now, reading) = (world.now, Reading::Whole { bytes_max: 9 });
        assert_eq!(
            world.server.read_body(now, reading, &mut world.pool),
            Ok(())
        );
        world.receive("x");
        assert_eq!(world.respond(ResponseBody::Bytes(b"y")), Ok(()));
        world.written();
        world.effects();
        assert_eq!(world.pool.retained(), 2, "round {round}");
    }
    world.receive("GET");
    assert_eq!(world.pool.retained(), 1);
    world.server.handle_closed(&mut world.pool);
    assert_eq!(world.pool.retained(), 2);
    assert_eq!(world.effects(), []);
}
