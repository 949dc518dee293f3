//! The agent as a process, against a relay that the tests play.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod addresses;
mod datagrams;
mod handler;
mod heartbeats;
mod identity;
mod process;
mod relay;
mod relays;
