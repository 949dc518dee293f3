//! The notifier and the mailbox against naive ones.
//!
//! [`notifier`] and [`mailbox`] decode bytes into operations, do them on the
//! machine and on its model, and panic where the two disagree.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

mod mailbox;
mod notifier;

pub use mailbox::mailbox;
pub use notifier::notifier;

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
    }
}
