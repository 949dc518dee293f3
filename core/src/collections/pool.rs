//! Buffers that are used again.

use alloc::vec::Vec;
use core::fmt;

/// The smallest buffer worth keeping, in bytes.
const BYTES_MIN: usize = 64;

/// One for each power of two from `BYTES_MIN` that a `usize` can hold.
const SHELVES_MAX: usize = (usize::BITS - BYTES_MIN.ilog2()) as usize;

/// A pool of byte buffers, sorted by size.
///
/// It keeps at most `buffers_max` buffers of every power of two from 64 bytes
/// to `buffer_bytes_max`, so that many small ones never crowd out the large
/// ones: less than `4 * buffers_max * buffer_bytes_max` bytes in all. Once as
/// many buffers have been in use as ever are, it allocates nothing.
///
/// ```
/// use tautline_core::collections::Pool;
///
/// let mut pool = Pool::new(8, 16_384);
/// let mut buffer = pool.take(1_000);
/// buffer.extend_from_slice(b"part of a frame");
/// pool.give(buffer);
/// assert!(pool.take(500).is_empty());
/// ```
pub struct Pool {
    /// Shelf `i` holds buffers of at least `BYTES_MIN << i` bytes.
    shelves: Vec<Vec<Vec<u8>>>,
    /// One bit for each shelf that is not empty.
    stocked: u64,
    buffers_max: u32,
    retained: usize,
    retained_bytes: usize,
}

impl Pool {
    /// An empty pool that keeps at most `buffers_max` buffers of each size,
    /// the largest of `buffer_bytes_max` bytes, rounded up to a power of two.
    pub fn new(buffers_max: u32, buffer_bytes_max: usize) -> Self {
        let shelves = match buffer_bytes_max {
            0 => 0,
            bytes => (shelf_for(bytes) + 1).min(SHELVES_MAX),
        };
        Self {
            shelves: core::iter::repeat_with(Vec::new).take(shelves).collect(),
            stocked: 0,
            buffers_max,
            retained: 0,
            retained_bytes: 0,
        }
    }

    /// An empty buffer with room for `bytes_min` bytes at least: the smallest
    /// kept one that is large enough, or a new one.
    ///
    /// A buffer above the pool's largest size is made to measure and not kept
    /// when it is given back. `bytes_min` is the caller's own figure, never a
    /// length that a peer sent.
    pub fn take(&mut self, bytes_min: usize) -> Vec<u8> {
        let wanted = shelf_for(bytes_min);
        if wanted >= self.shelves.len() {
            return Vec::with_capacity(bytes_min);
        }
        let nearest = wanted + (self.stocked >> wanted).trailing_zeros() as usize;
        let Some(buffer) = self.shelves.get_mut(nearest).and_then(Vec::pop) else {
            return Vec::with_capacity(BYTES_MIN << wanted);
        };
        if self.shelves.get(nearest).is_some_and(Vec::is_empty) {
            self.stocked &= !(1 << nearest);
        }
        self.retained -= 1;
        self.retained_bytes -= buffer.capacity();
        buffer
    }

    /// Keeps the buffer for later, or drops it: when there are enough of its
    /// size, or when it is smaller than 64 bytes or has twice the largest size
    /// or more. Its content is cleared.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity < BYTES_MIN {
            return;
        }
        let own = (capacity.ilog2() - BYTES_MIN.ilog2()) as usize;
        let Some(shelf) = self.shelves.get_mut(own) else {
            return;
        };
        if shelf.len() >= self.buffers_max as usize {
            return;
        }
        buffer.clear();
        shelf.push(buffer);
        self.stocked |= 1 << own;
        self.retained += 1;
        self.retained_bytes += capacity;
    }

    /// How many buffers it keeps.
    pub const fn retained(&self) -> usize {
        self.retained
    }

    /// How many bytes the buffers have that it keeps.
    pub const fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }
}

/// The first shelf whose buffers have room for `bytes` bytes. Above the
/// largest power of two it is one that no pool has.
fn shelf_for(bytes: usize) -> usize {
    bytes
        .max(BYTES_MIN)
        .checked_next_power_of_two()
        .map_or(usize::BITS as usize, |size| {
            (size.ilog2() - BYTES_MIN.ilog2()) as usize
        })
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("retained", &self.retained)
            .field("retained_bytes", &self.retained_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_grew_is_used_again() {
        let mut pool = Pool::new(1, 65_536);
        let mut buffer = pool.take(100);
        buffer.resize(5_000, 1);
        let capacity = buffer.capacity();
        pool.give(buffer);
        let again = pool.take(100);
        assert_eq!((again.capacity(), again.len()), (capacity, 0));
        assert_eq!((pool.retained(), pool.retained_bytes()), (0, 0));
    }

    #[test]
    fn each_size_has_room_of_its_own() {
        let mut pool = Pool::new(2, 1_024);
        for _ in 0..10 {
            pool.give(Vec::with_capacity(64));
        }
        pool.give(Vec::with_capacity(1_024));
        assert_eq!(pool.retained(), 3);
        assert_eq!(pool.take(1_000).capacity(), 1_024);
        assert_eq!(pool.retained_bytes(), 128);
    }

    #[test]
    fn extremes_are_not_kept() {
        let mut pool = Pool::new(2, 1_024);
        for bytes in [0, 63, 2_048, 100_000] {
            pool.give(Vec::with_capacity(bytes));
        }
        assert_eq!(pool.retained(), 0);
        assert!(pool.take(0).capacity() >= BYTES_MIN);
        assert!(pool.take(5_000).capacity() >= 5_000);
        for mut none in [Pool::new(0, 1_024), Pool::new(8, 0)] {
            none.give(Vec::with_capacity(1_024));
            assert_eq!(none.retained(), 0);
        }
        assert_eq!(Pool::new(1, usize::MAX).shelves.len(), SHELVES_MAX);
    }
}
