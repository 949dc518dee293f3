//! Bodies of the fuzz targets: any bytes, and what must hold for them.

mod client;
mod client_operations;
mod server;
mod server_operations;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub(super) use client::run_client;
pub use client_operations::client_operations;
pub(super) use server::run_server;
pub use server_operations::server_operations;

use super::head::{Gathered, Head};
use super::{Limits, Reading, ResponseBody, Settings, Timeouts, request};
use crate::collections::Pool;
use crate::{FileId, Key};

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
    pub(super) events: Vec<String>,
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
