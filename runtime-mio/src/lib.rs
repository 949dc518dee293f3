//! Drives an endpoint of `tautline-core` over real sockets: one mio event loop
//! for all connections and datagrams, and a storage thread beside it.

pub mod storage;
mod sync;
