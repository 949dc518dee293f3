//! The spool against slow and obvious readings of the same.
//!
//! Each body decodes bytes into operations and panics where the two disagree.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

mod index;
pub(super) mod scan;

pub use index::index;
pub use scan::scan;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn b5_the_index_holds_what_its_model_holds(data in vec(any::<u8>(), 0..1_500)) {
            super::index(&data);
        }

        #[test]
        fn a_scan_finds_what_a_slow_one_finds(data in vec(any::<u8>(), 0..400)) {
            super::scan(&data);
        }
    }
}
