//! The spool: messages for hosts, kept on disk until they are done.
//!
//! [`mod@format`] has the bytes of its files (`docs/spool.md`), [`scan`] finds
//! the records of a segment again, whatever happened to it, and [`index`] holds
//! what is known of them.

pub mod format;
#[cfg(any(test, feature = "_test"))]
pub mod fuzz;
pub mod index;
pub mod scan;
