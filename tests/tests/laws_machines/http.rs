//! What drives either side of an HTTP connection: the buffers that it borrows,
//! and the bytes that its driver has read and holds.

use std::fmt::Debug;
use std::sync::Arc;

use tautline_core::collections::Pool;
use tautline_core::http::{Client, ClientEffect, Effect, Limits, Server, Settings, Timeouts};
use tautline_core::{FileId, Instant, Key, Machine};
use tautline_tests::Dice;
use tautline_tests::laws::{Census, Log};

use super::census;

pub(super) const FILE: FileId = FileId::from_key(Key::new(1, 0));
/// A chunked body, with an extension and a trailer.
pub(super) const CHUNKS: &[u8] = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: u\r\n\r\n";
const BUFFERS_MAX: usize = 4;
const BUFFER_BYTES_MAX: usize = 8_192;

pub(super) fn limits() -> Limits {
    Limits {
        head_bytes_max: 600,
        body_bytes_max: 3_000,
        body_buffer_bytes_max: 1_024,
        response_bytes_max: 2_048,
        ..Limits::default()
    }
}

/// One side of a connection.
pub(super) trait Side {
    type Effect: Debug;

    fn open(now: Instant, settings: &Arc<Settings>) -> Self;
    fn poll_timeout(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant, pool: &mut Pool);
    fn poll(&mut self) -> Option<Self::Effect>;
    fn poll_write(&mut self, now: Instant, buf: &mut [u8], pool: &mut Pool) -> usize;
    fn handle_received(&mut self, now: Instant, bytes: &[u8], pool: &mut Pool) -> usize;
    fn handle_moved(&mut self, now: Instant, bytes: u64, pool: &mut Pool);
    fn body(&self) -> &[u8];
}

macro_rules! side {
    ($side:ident, $effect:ty, |$now:ident, $settings:ident| $open:expr) => {
        impl Side for $side {
            type Effect = $effect;

            fn open($now: Instant, $settings: &Arc<Settings>) -> Self {
                $open
            }

            fn poll_timeout(&self) -> Option<Instant> {
                self.poll_timeout()
            }

            fn handle_timeout(&mut self, now: Instant, pool: &mut Pool) {
                self.handle_timeout(now, pool);
            }

            fn poll(&mut self) -> Option<$effect> {
                self.poll()
            }

            fn poll_write(&mut self, now: Instant, buf: &mut [u8], pool: &mut Pool) -> usize {
                self.poll_write(now, buf, pool)
            }

            fn handle_received(&mut self, now: Instant, bytes: &[u8], pool: &mut Pool) -> usize {
                self.handle_received(now, bytes, pool)
            }

            fn handle_moved(&mut self, now: Instant, bytes: u64, pool: &mut Pool) {
                self.handle_moved(now, bytes, pool);
            }

            fn body(&self) -> &[u8] {
                self.body()
            }
        }
    };
}

side!(Server, Effect, |now, settings| Server::new(now, settings));
side!(Client, ClientEffect, |_now, settings| Client::new(settings));

/// A side and what it borrows.
pub(super) struct Borrowing<S> {
    pub(super) http: S,
    pub(super) pool: Pool,
    pub(super) now: Instant,
    pub(super) buf: [u8; 512],
    settings: Arc<Settings>,
}

#[derive(Debug)]
pub(super) enum Out<E> {
    Effect(E),
    /// So many bytes of `buf`.
    Wrote(usize),
}

impl<S: Side> Borrowing<S> {
    pub(super) fn new() -> Self {
        let settings = Arc::new(Settings::new(limits(), Timeouts::default()));
        Self {
            http: S::open(Instant::ORIGIN, &settings),
            settings,
            pool: Pool::new(BUFFERS_MAX as u32, BUFFER_BYTES_MAX),
            now: Instant::ORIGIN,
            buf: [0; 512],
        }
    }

    /// The connection is gone; the next one comes.
    pub(super) fn reopen(&mut self) {
        self.http = S::open(self.now, &self.settings);
    }

    /// How full the body's buffer and the pool are.
    pub(super) fn census(&self) -> Vec<Census> {
        let (body, limit) = (self.http.body().len(), limits().body_buffer_bytes_max);
        // Of each size; see `Pool`.
        let buffers_bytes_max = 4 * BUFFERS_MAX * BUFFER_BYTES_MAX;
        vec![
            census("body_buffer_bytes_max", body, limit),
            census(
                "buffer_bytes_max",
                self.pool.retained_bytes(),
                buffers_bytes_max,
            ),
        ]
    }
}

impl<S: Side> Machine for Borrowing<S> {
    type Effect = Out<S::Effect>;

    fn poll_timeout(&self) -> Option<Instant> {
        self.http.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.http.handle_timeout(now, &mut self.pool);
    }

    fn poll(&mut self) -> Option<Self::Effect> {
        if let Some(effect) = self.http.poll() {
            return Some(Out::Effect(effect));
        }
        let wrote = self
            .http
            .poll_write(self.now, &mut self.buf, &mut self.pool);
        (wrote > 0).then_some(Out::Wrote(wrote))
    }
}

/// What the driver has read of a connection and the machine did not take.
pub(super) struct Inlet {
    pub(super) held: Vec<u8>,
    /// The machine takes nothing before it resumes.
    pub(super) stalled: bool,
    /// The connection is over: what comes is dropped.
    pub(super) gone: bool,
    /// Bytes of a body that go to a file.
    pub(super) take_left: u64,
}

impl Inlet {
    pub(super) fn new() -> Self {
        Self {
            held: Vec::with_capacity(8_192),
            stalled: false,
            gone: false,
            take_left: 0,
        }
    }

    /// For the next connection.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        (self.stalled, self.gone, self.take_left) = (false, false, 0);
    }

    /// The next bytes of the body go to a file.
    pub(super) fn take(&mut self, len: u64) {
        self.take_left = len;
        self.stalled = false;
    }

    /// The machine takes bytes again.
    pub(super) fn resume(&mut self, log: &mut Log) {
        log.resume();
        self.stalled = false;
    }

    /// Offers some of what was read, as far as the machine wants it.
    pub(super) fn offer<S: Side>(
        &mut self,
        side: &mut Borrowing<S>,
        len: usize,
        log: &mut Log,
    ) -> usize {
        let bytes = &self.held[..len.min(self.held.len())];
        let taken = if self.gone {
            bytes.len()
        } else if self.take_left > 0 {
            let moved = bytes.len().min(self.take_left as usize);
            self.take_left -= moved as u64;
            log.bytes(1, &bytes[..moved]);
            side.http
                .handle_moved(side.now, moved as u64, &mut side.pool);
            moved
        } else if self.stalled || bytes.is_empty() {
            0
        } else {
            let taken = side.http.handle_received(side.now, bytes, &mut side.pool);
            self.stalled = taken < bytes.len();
            taken
        };
        self.held.drain(..taken);
        taken
    }
}

/// Flips a few bits.
pub(super) fn disturb(bytes: &mut [u8], dice: &mut Dice) {
    for _ in 0..dice.below(4) {
        let place = dice.index(bytes.len());
        bytes[place] ^= 1 << dice.below(8);
    }
}
