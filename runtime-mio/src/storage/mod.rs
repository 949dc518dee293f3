//! The storage thread.

pub mod mailbox;
