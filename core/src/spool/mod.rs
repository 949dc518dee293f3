//! The spool: messages for hosts, kept on disk until they are done.

pub mod format;
pub mod scan;
