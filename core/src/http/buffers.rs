//! Pooled buffers that grow by what has come, and what waits to be written.

use alloc::vec::Vec;

use super::Pool;

/// The smallest buffer that is asked of a pool.
const BUFFER_BYTES_MIN: usize = 1_024;

/// Makes room for `more` bytes, by a larger buffer of the pool if need be.
pub(super) fn reserve(buf: &mut Vec<u8>, more: usize, pool: &mut Pool) {
    let needed = buf.len().saturating_add(more);
    if buf.capacity() >= needed {
        return;
    }
    let mut larger = pool.take(needed.max(2 * buf.capacity()).max(BUFFER_BYTES_MIN));
    larger.extend_from_slice(buf);
    pool.give(core::mem::replace(buf, larger));
}

/// Gives the buffer back; the one that stays holds no memory.
pub(super) fn release(buf: &mut Vec<u8>, pool: &mut Pool) {
    if buf.capacity() > 0 {
        pool.give(core::mem::take(buf));
    }
}

/// Bytes that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    buf: Vec<u8>,
    sent: u32,
    /// Bytes that the last write handed out.
    handed: u32,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Bytes that the last write handed out.
    pub(super) fn handed(&self) -> u64 {
        u64::from(self.handed)
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.buf.len().saturating_sub(self.sent as usize)
    }

    /// The buffer to append at most `more` bytes to.
    pub(super) fn append(&mut self, more: usize, pool: &mut Pool) -> &mut Vec<u8> {
        if self.sent > 0 {
            self.buf.drain(..self.sent as usize);
            self.sent = 0;
        }
        reserve(&mut self.buf, more, pool);
        &mut self.buf
    }

    /// Moves bytes to `target`; returns how many. The last one gives the
    /// buffer back.
    pub(super) fn write(&mut self, target: &mut [u8], pool: &mut Pool) -> usize {
        let waiting = self.buf.get(self.sent as usize..).unwrap_or_default();
        let len = waiting.len().min(target.len());
        target[..len].copy_from_slice(&waiting[..len]);
        self.handed = len as u32;
        if len == waiting.len() {
            self.release(pool);
        } else {
            self.sent += len as u32;
        }
        len
    }

    pub(super) fn release(&mut self, pool: &mut Pool) {
        self.sent = 0;
        release(&mut self.buf, pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_however_they_are_taken() {
        let mut pool = Pool::new(4, 4_096);
        let mut out = Outgoing::default();
        out.append(6, &mut pool).extend_from_slice(b"abcdef");
        let mut part = [0; 4];
        assert_eq!(out.write(&mut part, &mut pool), 4);
        out.append(3, &mut pool).extend_from_slice(b"ghi");
        assert_eq!(out.len(), 5);
        let mut rest = [0; 9];
        assert_eq!(out.write(&mut rest, &mut pool), 5);
        assert_eq!((&part, &rest[..5]), (b"abcd", &b"efghi"[..]));
        assert!(out.is_empty());
        assert_eq!(out.buf.capacity(), 0);
        assert_eq!(out.write(&mut rest, &mut pool), 0);
    }
}
