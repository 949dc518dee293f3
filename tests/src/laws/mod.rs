//! The laws of the contract, tested for every machine by one harness.
//!
//! A machine is enrolled as a [`Subject`]: it performs one random input or
//! command, one poll step, and names its deadline. Two adapters make that a few
//! lines:
//!
//! - [`EndpointSubject`] for anything that implements
//!   [`Endpoint`](tautline_core::Endpoint): it plays a driver that keeps the
//!   contract (back pressure, partial writes, storage, stale handles), and an
//!   [`EndpointCase`] adds what the endpoint speaks;
//! - [`MachineSubject`] for anything that implements
//!   [`Machine`](tautline_core::Machine): a [`MachineCase`] adds its inputs.
//!
//! [`check`] puts a subject through the laws with the random inputs of some
//! seeds, and reports the law, the seed and the step that broke it.
//! [`assert_lawful`] is the whole test of a machine:
//!
//! ```
//! use tautline_tests::counting::Counting;
//! use tautline_tests::laws::{self, toy};
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//!
//! fn main() {
//!     laws::assert_lawful::<toy::Toy>(0..4);
//! }
//! ```
//!
//! The optional hooks decide how much of a law is tested: without
//! [`stream`](Subject::stream) nothing is cut, without
//! [`steady`](Subject::steady) nothing is counted. A test of a machine that has
//! one of these sides asserts that the [`Tally`] of the report is not zero
//! there. Law 7 needs [`Counting`](crate::counting::Counting) as the test
//! binary's global allocator. The enrolled subjects stand in `tests/tests/`:
//! the endpoints in `laws_relay.rs` and `laws_client.rs`, the machines inside
//! them in `laws_machines/`, a file each.

mod broken;
mod driver;
mod endpoint;
mod log;
mod machine;
mod peer;
mod run;
pub mod toy;

pub use broken::Flawed;
pub use driver::Driver;
pub use endpoint::{EndpointCase, EndpointSubject};
pub use log::{Entry, Essence, Log, Stamped};
pub use machine::{MachineCase, MachineSubject};
pub use peer::{Peer, Wish};
pub use run::{assert_lawful, check};

use core::fmt;

use tautline_core::Instant;

use crate::Dice;

/// The eight laws of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Law {
    /// Without new input, polling reaches its end in a bounded number of steps.
    DrainEnds = 1,
    /// After `handle_timeout(deadline)` the next deadline is later, or there is
    /// output.
    TimeMoves = 2,
    /// A timeout before the deadline changes nothing; time that goes backwards
    /// is ignored.
    EarlyIsHarmless = 3,
    /// Same seed and inputs, same outputs; however a stream is cut, the same
    /// bytes, files and events.
    SameInSameOut = 4,
    /// No input panics or returns an error to the driver; misuse is refused and
    /// leaves the state unchanged.
    NoiseNeverSurfaces = 5,
    /// Nothing exceeds its limit.
    Bounded = 6,
    /// The steady kinds of work allocate nothing.
    Still = 7,
    /// Nothing that promises durability leaves before its storage effect came
    /// back as done.
    Durable = 8,
}

impl Law {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::DrainEnds,
        Self::TimeMoves,
        Self::EarlyIsHarmless,
        Self::SameInSameOut,
        Self::NoiseNeverSurfaces,
        Self::Bounded,
        Self::Still,
        Self::Durable,
    ];
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law {} ({self:?})", *self as u8)
    }
}

/// What one poll step brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An effect, which the step wrote into the log.
    Output,
    /// Nothing is left to do before the deadline or the next input.
    Idle,
}

/// How full a table, queue or buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Its name, that of its limit.
    pub name: &'static str,
    /// Entries or bytes in it.
    pub used: u64,
    /// The most that it may hold.
    pub limit: u64,
}

/// A machine as the harness sees it.
///
/// It is a function of `new`'s seed and of what is called after it: no clock,
/// no random draw but those of the dice that it is handed or made from its
/// seed.
pub trait Subject: Sized {
    /// What reports call it.
    const NAME: &'static str;

    /// Whether the machine itself ignores time that goes backwards. Only a
    /// machine that its parent shields says no.
    const CLAMPS_TIME: bool = true;

    /// Poll steps after one input that are still an honest drain.
    const STEPS_MAX: u64 = 2_000;

    /// Operations of the steady kinds that warm it up, and as many that are
    /// counted.
    const STEADY_OPERATIONS: u64 = 5_000;

    /// The subject of a seed, in its first state.
    fn new(seed: u64) -> Self;

    /// Performs one random input or command.
    fn act(&mut self, now: Instant, dice: &mut Dice, log: &mut Log);

    /// Polls once and writes the effect into the log.
    fn step(&mut self, log: &mut Log) -> Step;

    /// When it wants [`timeout`](Self::timeout) called.
    fn deadline(&self) -> Option<Instant>;

    /// Tells that time has come to `now`.
    fn timeout(&mut self, now: Instant);

    /// What a hostile or broken peer may send: garbage, damage, floods.
    ///
    /// # Errors
    /// The error that surfaced: law 5 is broken.
    fn noise(&mut self, now: Instant, dice: &mut Dice, log: &mut Log) -> Result<(), String> {
        self.act(now, dice, log);
        Ok(())
    }

    /// Commits one misuse, if the machine can be misused: a command that has to
    /// be refused and to change nothing.
    ///
    /// # Errors
    /// What was accepted although it is a misuse: law 5 is broken.
    fn misuse(&mut self, _now: Instant, _dice: &mut Dice) -> Result<Misuse, String> {
        Ok(Misuse::None)
    }

    /// Asks for more than fits, in one of the ways that fill a table.
    fn flood(&mut self, now: Instant, dice: &mut Dice, log: &mut Log) {
        self.act(now, dice, log);
    }

    /// How full each table, queue and buffer is.
    fn census(&self) -> Vec<Census> {
        Vec::new()
    }

    /// One operation of the kinds that may not allocate once warm. It may call
    /// [`counting::paused`](crate::counting::paused) around the subject's own
    /// bookkeeping. False if the subject has no such kinds.
    fn steady(&mut self, _now: Instant, _dice: &mut Dice) -> bool {
        false
    }

    /// A conversation for the subject's stream, if it reads one: what a peer
    /// might send, sound or not.
    fn stream(_dice: &mut Dice) -> Option<Vec<u8>> {
        None
    }

    /// Offers bytes of the stream and returns how many were taken. The stream
    /// is the same one for the whole life of the subject.
    fn feed(&mut self, _now: Instant, bytes: &[u8], _log: &mut Log) -> usize {
        bytes.len()
    }

    /// Tells that the stream has ended, after its last byte was taken.
    fn feed_end(&mut self, _now: Instant, _log: &mut Log) {}
}

/// Whether a misuse was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// There was none to commit.
    None,
    /// It was refused, as it should be.
    Refused,
}

/// A law that a subject broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The law.
    pub law: Law,
    /// The subject's name.
    pub subject: &'static str,
    /// The seed of its inputs.
    pub seed: u64,
    /// The step of that seed.
    pub step: u64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} broke {} at step {} of seed {} (LAW_SEED={} replays it): {}",
            self.subject, self.law, self.step, self.seed, self.seed, self.what
        )
    }
}

/// How much of each law was put to the test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Effects that were drained.
    pub outputs: u64,
    /// Deadlines that came.
    pub timeouts: u64,
    /// Early timeouts that changed nothing.
    pub pokes: u64,
    /// Inputs whose time went backwards.
    pub dips: u64,
    /// Streams that were cut.
    pub streams: u64,
    /// Noise that was told.
    pub noises: u64,
    /// Misuses that were refused.
    pub misuses: u64,
    /// Tables whose limit was watched.
    pub tables: u64,
    /// Operations that were counted.
    pub steady: u64,
    /// Outputs that promised durability.
    pub promises: u64,
}

/// What [`check`] found: the first breach of each law, and how much it saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// At most one for each law, in their order.
    pub broken: Vec<Broken>,
    /// Over all seeds.
    pub tally: Tally,
}

impl Report {
    /// The laws that were broken, in their order.
    pub fn laws(&self) -> Vec<Law> {
        self.broken.iter().map(|broken| broken.law).collect()
    }
}
