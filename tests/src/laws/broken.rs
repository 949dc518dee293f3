//! Machines that break one law each: the sound toy but for one line.

use super::toy::KeeperSubject;

/// Which line of the toy is wrong.
pub(super) mod flaw {
    pub(crate) const NONE: u8 = 0;
    /// Law 1: polling never ends.
    pub(crate) const ENDLESS: u8 = 1;
    /// Law 2: a deadline that came stays.
    pub(crate) const STUCK: u8 = 2;
    /// Law 3: an early timeout is taken for the deadline.
    pub(crate) const EARLY: u8 = 3;
    /// Law 3: time goes backwards.
    pub(crate) const BACKWARDS: u8 = 4;
    /// Law 4: a number that no seed decides.
    pub(crate) const UNSEEDED: u8 = 5;
    /// Law 4: the end of a chunk is taken for the end of a line.
    pub(crate) const CUT_SHOWS: u8 = 6;
    /// Law 5: a byte of the peer's panics.
    pub(crate) const PANICS: u8 = 7;
    /// Law 5: a refused command leaves a trace.
    pub(crate) const MISUSE_SHOWS: u8 = 8;
    /// Law 6: a table without a limit.
    pub(crate) const UNBOUNDED: u8 = 9;
    /// Law 7: a box at each ping.
    pub(crate) const ALLOCATES: u8 = 10;
    /// Law 8: acknowledged before it is stored.
    pub(crate) const EAGER: u8 = 11;
}

/// The broken machines, by what is wrong with them.
pub struct Flawed;

macro_rules! flawed {
    ($($flaw:ident breaks $law:ident)*) => {
        impl Flawed {
            /// Hands each broken machine to `visit`: its flaw, the law that it
            /// breaks, and what the harness found in those seeds.
            pub fn each(
                seeds: core::ops::Range<u64>,
                mut visit: impl FnMut(&'static str, super::Law, super::Report),
            ) {
                $(visit(
                    stringify!($flaw),
                    super::Law::$law,
                    super::check::<KeeperSubject<{ flaw::$flaw }>>(seeds.clone()),
                );)*
            }
        }
    };
}

flawed! {
    ENDLESS breaks DrainEnds
    STUCK breaks TimeMoves
    EARLY breaks EarlyIsHarmless
    BACKWARDS breaks EarlyIsHarmless
    UNSEEDED breaks SameInSameOut
    CUT_SHOWS breaks SameInSameOut
    PANICS breaks NoiseNeverSurfaces
    MISUSE_SHOWS breaks NoiseNeverSurfaces
    UNBOUNDED breaks Bounded
    ALLOCATES breaks Still
    EAGER breaks Durable
}
