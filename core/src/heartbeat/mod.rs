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
//!
//! # The three figures
//!
//! For a firewall that forgets what was idle for so long, take a period of at
//! most four fifths of that, a heartbeat of twice the period and a second, and
//! a frequency that is small beside it. The seed's 600, 1201 and 60 s fit one
//! that forgets after 12.5 minutes or more; for five minutes, 240, 481 and 30 s
//! do.
//!
//! ```
//! use core::time::Duration;
//! use tautline_core::heartbeat::{
//!     Prober, ProberEffect, ProberLimits, ProberSettings, Rule,
//! };
//! use tautline_core::{Instant, Key, Machine};
//!
//! let mut now = Instant::ORIGIN;
//! let settings = ProberSettings {
//!     period: Duration::from_secs(240),
//!     ..ProberSettings::default()
//! };
//! let mut prober = Prober::new(settings, ProberLimits::default())?;
//! let conn = Key::new(0, 0);
//! prober.insert(now, conn, 0)?;
//! assert_eq!(prober.worst_case_detection(0), Some(Duration::from_secs(245)));
//!
//! // Nobody answers the first probe.
//! let mut ended = None;
//! while ended.is_none() {
//!     now = prober.poll_timeout().expect("a connection is there");
//!     prober.handle_timeout(now);
//!     match prober.poll() {
//!         Some(ProberEffect::Probe { conn, nonce }) => println!("ask {conn:?}: {nonce:x}"),
//!         Some(ProberEffect::End(end)) => ended = Some(end),
//!         None => {}
//!     }
//! }
//! assert_eq!(ended.map(|end| (end.conn, end.rule)), Some((conn, Rule::ResponseTimeout)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod advice;
mod clock;
#[cfg(any(test, feature = "_test"))]
pub mod fuzz;
mod learner;
mod monitor;
mod pool;
mod prober;
mod terms;

pub use advice::{Advice, Figures, advise, advise_ends};
pub use clock::LATE_MAX;
pub use learner::{Evidence, Learner, LearnerEffect, LearnerSettings, Lesson, Why};
pub use monitor::{Monitor, MonitorSettings, MonitorStats};
pub use pool::{Dropped, Pool, PoolEffect, PoolError, PoolSettingError, PoolSettings};
pub use prober::{Prober, ProberEffect, ProberLimits, ProberSettings, ProberStats};
pub use terms::{
    Ended, InFlight, PERIOD_MAX, PERIOD_MIN, RESPONSE_TIMEOUT_MAX, RESPONSE_TIMEOUT_MIN, Rule,
    SettingError, WatchError, sound_response_timeout, sound_span,
};

const _: () = assert!(prober::BYTES + monitor::BYTES <= 48);

#[cfg(test)]
mod tests;
