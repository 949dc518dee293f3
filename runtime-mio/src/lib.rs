//! Drives an endpoint of `tautline-core` over real sockets: one mio event loop
//! for all connections and datagrams, and a storage thread beside it.
//!
//! No decision of the protocol is made here. The daemon `tautlined` is a
//! [`Driver`](driver::Driver) with a relay and an operator's side; an embedder
//! runs an endpoint the same way:
//!
//! ```no_run
//! use tautline_core::client::{Client, Event, Limits, RelayAddress, Settings};
//! use tautline_core::Instant;
//! use tautline_mio::driver::{Application, Config, Driver};
//! use tautline_std::clock::Clock;
//! use tautline_std::files::{Files, FilesLimits};
//!
//! struct Print;
//!
//! impl Application<Client> for Print {
//!     fn event(&mut self, _: Instant, _: &mut Client, event: Event) {
//!         println!("{event:?}");
//!     }
//! }
//!
//! let relay = RelayAddress { host: "127.0.0.1".into(), port: 52_311, tls: false };
//! let client = Client::new(Settings::new(relay, "example"), Limits::default(), [0; 32]);
//! let files = Files::open("client".as_ref(), FilesLimits::default())?;
//! let mut driver = Driver::new(client, Clock::start(), files, Config::default())?;
//! loop {
//!     driver.turn(&mut Print, None)?;
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod driver;
pub mod storage;
mod sync;
