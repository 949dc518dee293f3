use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::{BodyLength, Limits, Reading, Timeouts};
use super::*;
use crate::collections::Pool;

const GET: RequestHead<'_> = RequestHead {
    method: "GET",
    target: "/",
    host: "relay",
    headers: &[],
    upgrade: None,
    close: false,
};

/// A client, its driver and the time.
struct World {
    client: Client,
    pool: Pool,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            head_bytes_max: 300,
            headers_max: 30,
            body_bytes_max: 1_000,
            ..Limits::default()
        };
        let settings = Arc::new(Settings::new(limits, Timeouts::default()));
        Self {
            client: Client::new(&settings),
            pool: Pool::new(8, 65_536),
            now: Instant::from_micros(1_000_000),
        }
    }

    fn asked(head: &RequestHead<'_>) -> Self {
        let mut world = Self::new();
        assert_eq!(world.request(head, b""), Ok(()));
        world.written();
        world
    }

    fn request(&mut self, head: &RequestHead<'_>, body: &[u8]) -> Result<(), Misuse> {
        self.client.request(self.now, head, body, &mut self.pool)
    }

    fn receive(&mut self, bytes: impl AsRef<[u8]>) -> usize {
        let bytes = bytes.as_ref();
        self.client.handle_received(self.now, bytes, &mut self.pool)
    }

    fn read(&mut self, reading: Reading) {
        let read = self.client.read_body(self.now, reading, &mut self.pool);
        assert_eq!(read, Ok(()));
    }

    fn effects(&mut self) -> Vec<ClientEffect> {
        core::iter::from_fn(|| self.client.poll()).collect()
    }

    fn written(&mut self) -> String {
        let mut written = Vec::new();
        let mut buf = [0; 50];
        loop {
            let len = self.client.poll_write(self.now, &mut buf, &mut self.pool);
            if len == 0 {
                break;
            }
            written.extend_from_slice(&buf[..len]);
        }
        String::from_utf8(written).expect("text")
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.client.handle_timeout(self.now, &mut self.pool);
    }

    fn deadline(&self) -> Option<Duration> {
        self.client
            .poll_timeout()
            .map(|deadline| deadline.saturating_since(self.now))
    }
}

/// What becomes of a response: its body, or why there is none.
fn outcome(head: &RequestHead<'_>, stream: &str) -> Result<Vec<u8>, ClientError> {
    let mut world = World::asked(head);
    let taken = world.receive(stream);
    let mut effects = world.effects();
    if effects.contains(&ClientEffect::Response) {
        world.read(Reading::Whole { bytes_max: 1 << 20 });
        world.receive(&stream.as_bytes()[taken..]);
        world.client.handle_eof(world.now, &mut world.pool);
        effects.extend(world.effects());
    }
    let failure = effects.iter().find_map(|effect| match effect {
        ClientEffect::Failed(why) => Some(*why),
        _ => None,
    });
    assert_eq!(failure.is_none(), effects.contains(&ClientEffect::BodyEnd));
    match failure {
        Some(why) => {
            assert!(effects.contains(&ClientEffect::Close(Close::Abort)));
            assert_eq!(world.deadline(), None);
            Err(why)
        }
        None => Ok(world.client.body().to_vec()),
    }
}

#[test]
fn w2_responses_are_framed_strictly() {
    use ClientError::{BodyTooLarge, HeadTooLarge, Malformed, Truncated, Unsupported};
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(277));
    let longer = long.replace("A: ", "A: a");
    assert_eq!(long.len(), 301);
    let fit = long.replace("A: a", "A: ");
    let many = |count| {
        let fields = "a:\r\n".repeat(count);
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
    };
    let (thirty, more) = (many(30), many(31));
    for (stream, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
            Ok(&b"ab"[..]),
        ),
        ("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nab", Ok(b"ab")),
        ("HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", Ok(b"")),
        ("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", Ok(b"")),
        ("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", Ok(b"")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            Ok(b"ab"),
        ),
        ("HTTP/1.0 200 OK\r\n\r\nab", Ok(b"ab")),
        ("HTTP/1.1 200 OK\r\n\r\n", Ok(b"")),
        ("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n\r\nab", Ok(b"ab")),
        (&fit, Ok(b"")),
        (&thirty, Ok(b"")),
        (&long, Err(HeadTooLarge)),
        (&longer, Err(HeadTooLarge)),
        (&more, Err(HeadTooLarge)),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na",
            Err(Truncated),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            Err(Truncated),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
            Err(BodyTooLarge),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
            Err(BodyTooLarge),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
            Err(Malformed),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
            Err(Malformed),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Err(Malformed),
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Err(Malformed),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            Err(Malformed),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            Err(Unsupported),
        ),
        ("HTTP/2.0 200 OK\r\n\r\n", Err(Unsupported)),
        ("HTTP/1.1 2000 OK\r\n\r\n", Err(Malformed)),
        ("HTTP/1.1 600 OK\r\n\r\n", Err(Malformed)),
        ("HTTP/1.1 +20 OK\r\n\r\n", Err(Malformed)),
        ("HTTP/1.1  200 OK\r\n\r\n", Err(Malformed)),
        ("ICY 200 OK\r\n\r\n", Err(Malformed)),
        ("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", Err(Malformed)),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Err(Malformed)),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Err(Malformed)),
        (
            "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            Err(Malformed),
        ),
    ] {
        let body = outcome(&GET, stream);
        assert_eq!(
            body.as_deref(),
            expected.as_ref().map(|body| *body),
            "{stream:?}"
        );
    }
    let head = RequestHead {
        method: "HEAD",
        ..GET
    };
    let stream = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(outcome(&head, stream), Ok(Vec::new()));
}

#[test]
fn a_body_over_the_limit_that_ends_with_the_connection_fails() {
    let fit = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(1_000));
    assert_eq!(outcome(&GET, &fit).map(|body| body.len()), Ok(1_000));
    let over = format!("{fit}a");
    assert_eq!(outcome(&GET, &over), Err(ClientError::BodyTooLarge));
}

#[test]
fn interim_responses_are_skipped_but_not_for_ever() {
    let interims = |count| "HTTP/1.1 102 P\r\n\r\n".repeat(count) + "HTTP/1.1 204 N\r\n\r\n";
    assert_eq!(outcome(&GET, &interims(16)), Ok(Vec::new()));
    assert_eq!(outcome(&GET, &interims(17)), Err(ClientError::Malformed));
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let mut world = World::new();
    let head = RequestHead {
        method: "POST",
        target: "/v1/register?a=b",
        host: "relay:52311",
        headers: &[("Content-Type", "application/json")],
        ..GET
    };
    for round in 0..3 {
        assert!(world.client.is_ready());
        assert_eq!(world.request(&head, b"{}"), Ok(()));
        assert_eq!(world.request(&head, b"{}"), Err(Misuse::Busy));
        assert_eq!(
            world.written(),
            "POST /v1/register?a=b HTTP/1.1\r\nHost: relay:52311\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
        assert_eq!(world.deadline(), Some(Duration::from_secs(10)));
        let stream = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello";
        let taken = world.receive(stream);
        assert_eq!(world.effects(), [ClientEffect::Response]);
        assert_eq!(world.deadline(), None);
        let response = world.client.response().expect("a response");
        assert_eq!(
            (response.status(), response.header_str("x")),
            (200, Some("y"))
        );
        assert_eq!(response.body(), BodyLength::Known(5));
        world.read(Reading::Chunks);
        assert_eq!(world.effects(), [ClientEffect::Resume]);
        world.receive(&stream[taken..]);
        assert_eq!(world.effects(), [ClientEffect::Body]);
        assert_eq!(world.client.body(), b"hello");
        assert!(!world.client.is_ready());
        world.client.consume_body(world.now);
        assert_eq!(world.effects(), [ClientEffect::BodyEnd]);
        assert_eq!(world.deadline(), Some(Duration::from_secs(60)));
        world.client.finish(&mut world.pool);
        assert_eq!(world.pool.retained(), 1, "round {round}");
    }
    world.pass(60);
    assert_eq!(world.effects(), [ClientEffect::Close(Close::Finish)]);
    assert!(!world.client.is_ready());
    world.pass(2);
    assert_eq!(world.effects(), [ClientEffect::Close(Close::Abort)]);
}

#[test]
fn w3_bytes_that_nobody_asked_for_end_the_connection() {
    let mut world = World::new();
    world.receive("HTTP/1.1 200 OK\r\n");
    assert_eq!(world.effects(), [ClientEffect::Close(Close::Abort)]);
    let mut world = World::asked(&GET);
    world.receive("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP");
    let expected = [
        ClientEffect::Response,
        ClientEffect::BodyEnd,
        ClientEffect::Close(Close::Abort),
    ];
    assert_eq!(world.effects(), expected);
    assert_eq!(
        world.client.response().map(|response| response.status()),
        Some(200)
    );
    assert!(!world.client.is_ready());
}

#[test]
fn an_upgrade_hands_the_connection_over() {
    let head = RequestHead {
        upgrade: Some("tautline"),
        ..GET
    };
    let mut world = World::new();
    assert_eq!(world.request(&head, b""), Ok(()));
    assert_eq!(
        world.written(),
        "GET / HTTP/1.1\r\nHost: relay\r\nUpgrade: tautline\r\nConnection: Upgrade\r\n\r\n"
    );
    let stream = "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: tautline\r\n\r\nframes";
    let taken = world.receive(stream);
    assert_eq!(&stream[taken..], "frames");
    assert_eq!(
        world.effects(),
        [ClientEffect::Upgraded, ClientEffect::Resume]
    );
    assert_eq!(
        world.client.response().map(|response| response.status()),
        Some(101)
    );
    assert_eq!(world.deadline(), None);
    assert_eq!(world.receive("frames"), 0);
    world.client.finish(&mut world.pool);
    assert_eq!(world.pool.retained(), 1);

    // Refused, it is a response as any other.
    let body = outcome(&head, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(body, Ok(b"no".to_vec()));
    let lonely = "HTTP/1.1 101 S\r\nUpgrade: tautline\r\n\r\n";
    assert_eq!(outcome(&head, lonely), Err(ClientError::Malformed));
}

#[test]
fn w4_a_response_has_its_deadlines() {
    let failed = ClientEffect::Failed;
    let abort = ClientEffect::Close(Close::Abort);
    let mut world = World::asked(&GET);
    for _ in 0..9 {
        world.pass(1);
        world.receive("HTTP/1.1 100 C\r\n\r\n");
        assert_eq!(world.effects(), []);
    }
    world.pass(1);
    assert_eq!(
        world.effects(),
        [failed(ClientError::SlowHead), abort.clone()]
    );

    let mut world = World::asked(&GET);
    world.receive("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n");
    world.effects();
    assert_eq!(world.deadline(), None);
    world.read(Reading::Whole { bytes_max: 900 });
    for _ in 0..10 {
        world.receive("x");
        world.pass(1);
    }
    assert_eq!(world.effects(), []);
    world.pass(1);
    assert_eq!(
        world.effects(),
        [failed(ClientError::SlowBody), abort.clone()]
    );

    let mut world = World::new();
    assert_eq!(world.request(&GET, &[b'x'; 1_000]), Ok(()));
    let mut buf = [0; 500];
    assert_eq!(
        world
            .client
            .poll_write(world.now, &mut buf, &mut world.pool),
        500
    );
    world.client.handle_blocked(world.now);
    assert!(!world.client.wants_write());
    world.receive("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(world.effects(), [ClientEffect::Response]);
    world.pass(31);
    assert_eq!(world.effects(), [failed(ClientError::SlowReader), abort]);
}

#[test]
fn a_line_that_is_lost_says_whether_anything_came() {
    for (stream, expected) in [
        ("", ClientError::Closed),
        ("HTTP/1.1", ClientError::Truncated),
        ("HTTP/1.1 100 C\r\n\r\n", ClientError::Truncated),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
            ClientError::Truncated,
        ),
    ] {
        for is_eof in [true, false] {
            let mut world = World::asked(&GET);
            world.receive(stream);
            world.effects();
            if is_eof {
                world.client.handle_eof(world.now, &mut world.pool);
            } else {
                world.client.handle_closed(&mut world.pool);
            }
            let effects = world.effects();
            assert_eq!(effects.first(), Some(&ClientEffect::Failed(expected)));
            assert_eq!(effects.len(), if is_eof { 2 } else { 1 });
        }
    }
}

#[test]
fn misuse_changes_nothing() {
    let mut world = World::new();
    let before = format!("{:?}", world.client);
    for (head, misuse) in [
        (RequestHead { method: "", ..GET }, Misuse::RequestLine),
        (
            RequestHead {
                method: "G T",
                ..GET
            },
            Misuse::RequestLine,
        ),
        (
            RequestHead {
                method: "CONNECT",
                ..GET
            },
            Misuse::RequestLine,
        ),
        (RequestHead { target: "", ..GET }, Misuse::RequestLine),
        (RequestHead { target: "a", ..GET }, Misuse::RequestLine),
        (
            RequestHead {
                target: "/a b",
                ..GET
            },
            Misuse::RequestLine,
        ),
        (
            RequestHead {
                target: "/\r\n",
                ..GET
            },
            Misuse::RequestLine,
        ),
        (RequestHead { host: "a b", ..GET }, Misuse::RequestLine),
        (
            RequestHead {
                host: "a\r\nb",
                ..GET
            },
            Misuse::RequestLine,
        ),
        (
            RequestHead {
                upgrade: Some("a b"),
                ..GET
            },
            Misuse::RequestLine,
        ),
        (
            RequestHead {
                headers: &[("Host", "a")],
                ..GET
            },
            Misuse::HeaderName,
        ),
        (
            RequestHead {
                headers: &[("content-length", "1")],
                ..GET
            },
            Misuse::HeaderName,
        ),
        (
            RequestHead {
                headers: &[("a", "b\n")],
                ..GET
            },
            Misuse::HeaderValue,
        ),
    ] {
        assert_eq!(world.request(&head, b""), Err(misuse), "{head:?}");
    }
    let big = alloc::vec![0; 262_144];
    assert_eq!(world.request(&GET, &big), Err(Misuse::TooLarge));
    let read = world
        .client
        .read_body(world.now, Reading::Chunks, &mut world.pool);
    assert_eq!(read, Err(Misuse::NoRequest));
    assert_eq!(format!("{:?}", world.client), before);
}

#[test]
fn w5_a_request_is_queued_up_to_the_limit() {
    let queued_bytes_max = Limits::default().response_bytes_max;
    let line = GET.method.len() + GET.target.len() + GET.host.len();
    let room = queued_bytes_max - line - encode::head_bytes(&[]);
    for (body, expected) in [
        (room - 1, Ok(())),
        (room, Ok(())),
        (room + 1, Err(Misuse::TooLarge)),
    ] {
        let mut world = World::new();
        assert_eq!(world.request(&GET, &alloc::vec![b'x'; body]), expected);
        assert!(world.client.out.len() <= queued_bytes_max);
    }
}

#[test]
fn a_request_that_waits_is_not_written_behind_the_end() {
    let mut world = World::new();
    let post = RequestHead {
        method: "POST",
        ..GET
    };
    assert_eq!(world.request(&post, &[b'q'; 500]), Ok(()));
    let mut buf = [0; 50];
    let wrote = world
        .client
        .poll_write(world.now, &mut buf, &mut world.pool);
    assert_eq!(wrote, 50);
    world.client.handle_blocked(world.now);
    world.receive("HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n");
    let end = ClientEffect::Close(Close::Finish);
    assert_eq!(
        world.effects(),
        [ClientEffect::Response, ClientEffect::BodyEnd, end]
    );
    world.client.handle_writable(world.now);
    assert!(!world.client.wants_write());
    assert_eq!(world.written(), "");
}
