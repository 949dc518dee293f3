//! What tests the machines of tautline: no promise of an interface is kept.
//!
//! - [`laws`] puts any machine through the eight laws of the contract;
//! - [`world`] runs endpoints on a seeded network and seeded storage in
//!   virtual time;
//! - [`counting`] is an allocator that counts;
//! - [`tables`] compares a transition table with the one that is checked in;
//! - [`tidy`] lints the repository;
//! - [`binaries`] builds the programs and examples that tests and benchmarks start,
//!   `program` is one that runs, `session` a relay and its agents, `lab` a small
//!   internet for them;
//! - [`fleet`] is very many clients on a relay daemon, without an endpoint for each;
//!   [`idle`] is a relay whose clients say nothing until they are asked.
//!
//! The scenarios are in `tests/tests/`, one in a file.

#![deny(unsafe_code)]

pub mod binaries;
pub mod counting;
pub mod dice;
pub mod fleet;
pub mod idle;
#[cfg(target_os = "linux")]
pub mod lab;
pub mod laws;
#[cfg(unix)]
pub mod program;
#[cfg(unix)]
pub mod session;
pub mod tables;
pub mod tidy;
pub mod wait;
pub mod world;

pub use binaries::{binary, example};
pub use dice::Dice;
#[cfg(unix)]
pub use program::Program;
pub use wait::wait_for;
