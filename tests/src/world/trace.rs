//! What happened, as a hash; in words where a seed is replayed.

use core::fmt::{self, Write};

use tautline_core::Instant;

pub(super) struct Trace {
    hash: Mix,
    shown: bool,
}

impl Trace {
    pub(super) fn new(shown: bool) -> Self {
        Self {
            hash: Mix(0xcbf2_9ce4_8422_2325),
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
        let mut hash = Mix(0xcbf2_9ce4_8422_2325);
        hash.add(self.0);
        write!(f, "{} bytes #{:08x}", self.0.len(), hash.0 as u32)
    }
}

/// FNV-1a over words.
struct Mix(u64);

impl Mix {
    fn add(&mut self, bytes: &[u8]) {
        // Eight at a time: a large world writes gigabytes of trace.
        let (words, rest) = bytes.as_chunks::<8>();
        for &word in words {
            self.mix(u64::from_le_bytes(word));
        }
        for &byte in rest {
            self.mix(byte.into());
        }
    }

    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3);
        self.0 ^= self.0 >> 32;
    }
}

impl Write for Mix {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}
