//! The notifier, the router and the mailbox against naive ones.
//!
//! [`notifier`], [`router`] and [`mailbox`] decode bytes into operations, do them on the
//! machine and on its model, and panic where the two disagree.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

mod mailbox;
mod notifier;
mod router;

pub use mailbox::mailbox;
pub use notifier::notifier;
pub use router::router;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_mailbox_keeps_what_its_model_keeps(data in vec(any::<u8>(), 0..1_000)) {
            super::mailbox(&data);
        }

        #[test]
        fn the_notifier_knows_what_its_model_knows(data in vec(any::<u8>(), 0..1_000)) {
            super::notifier(&data);
        }

        #[test]
        fn the_router_goes_the_ways_of_its_model(data in vec(any::<u8>(), 0..1_000)) {
            super::router(&data);
        }
    }
}
