//! Heartbeats: connections that nothing is said on are kept open, and those
//! whose other end is gone are found.
//!
//! Firewalls forget connections that are idle, and an end that crashed says
//! nothing (`seeds/heartbeats`). Two machines find out, one at each end:
//!
//! * [`Prober`]: asks every connection once in a `period` whether the other
//!   end is there, and ends one that does not answer in time. It keeps
//!   firewalls from forgetting.
//! * [`Monitor`]: says nothing, and ends what was silent for longer than
//!   `heartbeat`, looking every `frequency`.
//!
//! [`advise`] says whether the figures of the two ends fit. [`Learner`] shortens
//! the period where a firewall forgets sooner, and [`Pool`] holds connections
//! to a server ready.
//!
//! **Time that nobody was there for does not count.** A call that comes more
//! than [`LATE_MAX`] after the deadline that a machine asked for shows that
//! the clock jumped: a laptop slept, a program was stopped. The machine's time
//! then goes on at that deadline, a probe that was sent before is sent again,
//! and the monitor looks one `frequency` later; so bytes that wait are read
//! first, and a fleet is not probed all at once.
//!
//! Prober and monitor together keep 48 bytes for each connection.

mod advice;
mod clock;
#[cfg(any(test, feature = "_test"))]
pub mod fuzz;
mod learner;
mod monitor;
mod pool;
mod prober;
mod terms;

pub use advice::{Advice, Figures, advise};
pub use clock::LATE_MAX;
pub use learner::{Evidence, Learner, LearnerEffect, LearnerSettings, Lesson, Why};
pub use monitor::{Monitor, MonitorSettings, MonitorStats};
pub use pool::{Dropped, Pool, PoolEffect, PoolError, PoolSettingError, PoolSettings};
pub use prober::{Prober, ProberEffect, ProberLimits, ProberSettings, ProberStats};
pub use terms::{Ended, InFlight, PERIOD_MAX, PERIOD_MIN, Rule, SettingError, WatchError};

const _: () = assert!(prober::BYTES + monitor::BYTES <= 48);
