//! What a driver of [`tautline_core`] needs from the operating system: clock,
//! files, TLS, settings and logs; and a driver over blocking sockets.
//!
//! The parts stand alone, and both runtimes use them. Nothing here decides
//! about the protocol.

#![forbid(unsafe_code)]

pub mod call;
pub mod clock;
pub mod data_dir;
pub mod driver;
pub mod files;
pub mod logs;
pub mod origin;
pub mod private;
pub mod settings;
pub mod tls;
pub mod transport;
