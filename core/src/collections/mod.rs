//! The tables that the machines are made of.
//!
//! Every one of them is bounded by a limit that is given when it is made,
//! grows by chunks up to it without moving what it holds, and allocates
//! nothing once it has been as full as it gets. Full is a value: [`Full`]
//! gives back what found no room.
//!
//! A [`Slab`] gives an entry its [`Key`](crate::Key): a *place*, dense from 0,
//! and a generation. The other tables speak of places (`u32`), so that any of
//! them can stand beside a slab: [`Index`] finds a place by the entry's name,
//! [`Lru`] and [`ReadyList`] keep places in order, [`Groups`] keeps them by a
//! name that they share. [`Wheel`] keeps deadlines,
//! [`Pool`] keeps buffers.

mod bits;
mod chunk;
mod groups;
mod index;
mod list;
mod lru;
#[cfg(any(test, feature = "_test"))]
pub mod model;
mod pool;
mod ready;
mod slab;
mod slots;
mod wheel;

use core::fmt;

pub(crate) use chunk::Chunks;
pub use groups::Groups;
pub use index::{Index, KeyHash};
pub use lru::Lru;
pub use pool::Pool;
pub use ready::ReadyList;
pub use slab::{Iter, Slab};
pub(crate) use slots::{Slots, Spot, Spotted};
pub use wheel::{TimerKey, Wheel};

/// The table is full; gives back what found no room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<T = ()>(pub T);

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full")
    }
}

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the table is full")
    }
}

impl<T> core::error::Error for Full<T> {}

/// No place: the end of a list of places.
const NONE: u32 = u32::MAX;
/// The mark of a place that is in no list.
const OUTSIDE: u32 = u32::MAX - 1;

/// `places_max`, less the two values that are no places but marks.
const fn places_below(places_max: u32) -> u32 {
    if places_max > OUTSIDE {
        OUTSIDE
    } else {
        places_max
    }
}
