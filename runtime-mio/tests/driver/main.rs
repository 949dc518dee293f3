//! The driver over real loopback sockets, with toy endpoints.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod accepting;
mod closing;
mod connecting;
mod datagrams;
mod flow;
mod openings;
mod support;
mod transfers;
