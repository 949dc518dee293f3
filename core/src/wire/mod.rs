//! What goes over the wire, as bytes: frames and their messages on a
//! persistent connection, datagrams, proofs, and what a connection speaks.
//!
//! The formats are laid out byte by byte in `docs/wire.md`. Integers are
//! big-endian. Everything here is a pure function of its arguments:
//!
//! - *Total.* Any bytes give a value or an error; nothing panics.
//! - *Length first.* A length that a peer states is compared with the caller's
//!   limit, then with the bytes that are there, before it is used. It never
//!   sizes anything.
//! - *No allocation.* Parsed values borrow their input. The one buffer there
//!   is, for a frame that came in part, is lent by a [`Pool`].
//! - *Open to what comes later.* A frame of an unknown kind is skipped, and so
//!   are bytes behind the fields of a fixed body.
//!
//! [`Pool`]: crate::collections::Pool

pub mod cursor;
pub mod datagram;
pub mod frame;
#[cfg(any(test, feature = "_test"))]
pub mod fuzz;
pub mod message;
pub mod opening;
pub mod proof;
pub mod replay;
#[cfg(test)]
mod tests;

/// The caller's buffer is too short for what it shall hold. Nothing was
/// written that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffer is too small: {needed} bytes are needed")]
pub struct BufferTooSmall {
    /// The length that is needed, in bytes.
    pub needed: usize,
}
