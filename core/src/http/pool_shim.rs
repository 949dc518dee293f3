use alloc::vec::Vec;

/// Buffers for reuse.
#[derive(Debug, Default)]
pub struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer of at least that capacity.
    pub fn take(&mut self, len_min: usize) -> Vec<u8> {
        let mut buf = self.0.pop().unwrap_or_default();
        buf.reserve(len_min);
        buf
    }

    /// Gives one back.
    pub fn give(&mut self, mut buf: Vec<u8>) {
        if buf.capacity() > 0 && self.0.len() < 64 {
            buf.clear();
            self.0.push(buf);
        }
    }
}
