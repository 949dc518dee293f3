//! Drives an endpoint of `tautline-core` over real sockets: one mio event loop
//! for all connections and datagrams, and a storage thread beside it.

#![forbid(unsafe_code)]

pub mod driver;
pub mod storage;
mod sync;
