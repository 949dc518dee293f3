//! Every table against a naive one, operation by operation.
//!
//! Each `check_model` decodes any bytes into operations, does them on the
//! table and on its model, and panics where the two disagree. Property tests
//! and fuzz targets call the same functions.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

pub mod groups;
pub mod index;
pub mod lru;
pub mod pool;
pub mod ready;
pub mod slab;
pub mod wheel;

use crate::Instant;

/// The operations that bytes stand for.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// A number of any magnitude below `2^bits`, small ones as likely as
    /// large ones.
    pub(crate) fn number(&mut self, bits: u32) -> Option<u64> {
        let kept = u32::from(self.byte()?) % (bits + 1);
        if kept == 0 {
            return Some(0);
        }
        let mut bytes = [0; 8];
        for byte in bytes.iter_mut().take(kept.div_ceil(8) as usize) {
            *byte = self.byte()?;
        }
        Some(u64::from_le_bytes(bytes) & (u64::MAX >> (64 - kept)))
    }

    /// One of `items`, `None` at the end of the script or if there is none.
    pub(crate) fn choose<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let draw = self.short()? as usize;
        items.get(draw % items.len().max(1)).copied()
    }

    /// So many bytes, fewer at the end of the script.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// True about once in `times`, never at the end of the script.
    pub(crate) fn one_in(&mut self, times: u8) -> bool {
        self.byte().is_some_and(|byte| byte % times == times - 1)
    }
}

/// When a timer for the moment fires: timers have whole milliseconds, and are
/// never early.
pub(crate) fn fires_at(at: Instant) -> Instant {
    Instant::from_micros(at.as_micros().next_multiple_of(1_000))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn groups_are_lists(data in vec(any::<u8>(), 0..1_000)) {
            super::groups::check_model(&data);
        }

        #[test]
        fn index_is_a_map(data in vec(any::<u8>(), 0..3_000)) {
            super::index::check_model(&data);
        }

        #[test]
        fn lru_is_an_ordered_list(data in vec(any::<u8>(), 0..1_000)) {
            super::lru::check_model(&data);
        }

        #[test]
        fn pool_keeps_what_it_may(data in vec(any::<u8>(), 0..1_000)) {
            super::pool::check_model(&data);
        }

        #[test]
        fn ready_list_is_a_queue(data in vec(any::<u8>(), 0..1_000)) {
            super::ready::check_model(&data);
        }

        #[test]
        fn slab_is_a_map(data in vec(any::<u8>(), 0..3_000)) {
            super::slab::check_model(&data);
        }

        #[test]
        fn wheel_is_a_sorted_map(data in vec(any::<u8>(), 0..3_000)) {
            super::wheel::check_model(&data);
        }
    }
}
