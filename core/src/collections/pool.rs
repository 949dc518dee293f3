//! Buffers that are lent and taken back.

use alloc::vec::Vec;

/// A pool of buffers, at most 64 of at most 64 KiB each.
#[derive(Debug, Default)]
pub struct Pool {
    free: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer with room for at least `len_min` bytes.
    pub fn take(&mut self, len_min: usize) -> Vec<u8> {
        let mut buf = self.free.pop().unwrap_or_default();
        buf.reserve(len_min);
        buf
    }

    /// Takes a buffer back.
    pub fn give(&mut self, mut buf: Vec<u8>) {
        if self.free.len() < 64 && buf.capacity() <= 65_536 {
            buf.clear();
            self.free.push(buf);
        }
    }
}
