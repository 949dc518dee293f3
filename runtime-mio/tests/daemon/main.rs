//! The daemon as a process: what it prints, answers, refuses, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod configuration;
mod heartbeats;
mod operator;
mod process;
mod reaching;
mod round_trip;
mod signals;
