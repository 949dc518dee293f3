//! What happened, as a hash; in words where a seed is replayed.

use core::fmt::{self, Write};

use tautline_core::Instant;

pub(super) struct Trace {
    hash: Fnv,
    shown: bool,
}

impl Trace {
    pub(super) fn new(shown: bool) -> Self {
        Self {
            hash: Fnv(0xcbf2_9ce4_8422_2325),
            shown,
        }
    }

    pub(super) fn note(&mut self, now: Instant, node: &str, what: fmt::Arguments<'_>) {
        if self.shown {
            println!("{now:?} {node:<12} {what}");
        }
        let _ = write!(self.hash, "{} {node} {what}", now.as_micros());
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.0
    }
}

/// A short stand-in for bytes in a trace.
pub(super) struct Brief<'a>(pub(super) &'a [u8]);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        hash.add(self.0);
        write!(f, "{} bytes #{:08x}", self.0.len(), hash.0 as u32)
    }
}

struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}
