//! A vector that grows by chunks: what is in it never moves.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use super::Full;

/// A vector of at most `len_max` values in chunks of `N`, a power of two.
///
/// Growing allocates one chunk and moves nothing but the list of the chunks.
/// A table shorter than a chunk allocates what it can use and no more.
pub(crate) struct Chunks<T, const N: usize = 256> {
    chunks: Vec<Vec<T>>,
    len: u32,
    len_max: u32,
}

impl<T, const N: usize> Chunks<T, N> {
    const CHUNK_IS_A_POWER_OF_TWO: () = assert!(N.is_power_of_two());

    /// An empty vector for at most `len_max` values. It allocates nothing.
    pub(crate) const fn new(len_max: u32) -> Self {
        let () = Self::CHUNK_IS_A_POWER_OF_TWO;
        Self {
            chunks: Vec::new(),
            len: 0,
            len_max,
        }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) const fn len_max(&self) -> u32 {
        self.len_max
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.chunks.get(index / N)?.get(index % N)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.chunks.get_mut(index / N)?.get_mut(index % N)
    }

    /// Appends, and says where.
    pub(crate) fn push(&mut self, value: T) -> Result<u32, Full<T>> {
        if self.len == self.len_max {
            return Err(Full(value));
        }
        let index = self.len;
        if (index as usize).is_multiple_of(N) {
            let left = (self.len_max - index) as usize;
            self.chunks.push(Vec::with_capacity(left.min(N)));
        }
        match self.chunks.last_mut() {
            Some(chunk) => chunk.push(value),
            None => return Err(Full(value)),
        }
        self.len += 1;
        Ok(index)
    }
}

impl<T: Copy, const N: usize> Chunks<T, N> {
    /// The value at `index`, after filling up to it with `filler`; `None` at
    /// and above `len_max`.
    pub(crate) fn get_or_grow(&mut self, index: u32, filler: T) -> Option<&mut T> {
        if index >= self.len_max {
            return None;
        }
        while self.len <= index {
            self.push(filler).ok()?;
        }
        self.get_mut(index as usize)
    }
}

/// For places that the structure itself keeps; a wrong one is a defect.
impl<T, const N: usize> Index<u32> for Chunks<T, N> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.chunks[index as usize / N][index as usize % N]
    }
}

impl<T, const N: usize> IndexMut<u32> for Chunks<T, N> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.chunks[index as usize / N][index as usize % N]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_by_chunks_to_its_limit() {
        let mut chunks = Chunks::<u32, 4>::new(10);
        for value in 0..10 {
            assert_eq!(chunks.push(value * 7), Ok(value));
        }
        assert_eq!(chunks.push(1), Err(Full(1)));
        let capacities: Vec<usize> = chunks.chunks.iter().map(Vec::capacity).collect();
        assert_eq!(capacities, [4, 4, 2]);
        assert!((0..10).all(|index| chunks[index] == index * 7));
        assert_eq!(chunks.get(10), None);
    }

    #[test]
    fn values_never_move() {
        let mut chunks = Chunks::<u32, 4>::new(1_000);
        chunks.push(1).unwrap();
        let first: *const u32 = &chunks[0];
        for value in 1..1_000 {
            chunks.push(value).unwrap();
        }
        assert!(core::ptr::eq(first, &chunks[0]));
    }

    #[test]
    fn filling_stops_at_the_limit() {
        let mut chunks = Chunks::<u32, 4>::new(6);
        assert_eq!(chunks.get_or_grow(5, 9), Some(&mut 9));
        assert_eq!(chunks.len(), 6);
        assert_eq!(chunks.get_or_grow(6, 9), None);
        assert_eq!(chunks.get_or_grow(u32::MAX, 9), None);
    }
}
