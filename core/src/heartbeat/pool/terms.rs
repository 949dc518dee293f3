//! What a pool is told, and what it tells.

use core::time::Duration;

use crate::Key;
use crate::heartbeat::{Ended, SettingError};

/// The figures of a [`Pool`](super::Pool).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Connections that are always kept. At least 1.
    pub connections_min: u32,
    /// Connections at most, at least `connections_min + free_min`.
    pub connections_max: u32,
    /// With fewer free ones some are added; 0 is no such check.
    pub free_min: u32,
    /// With more free ones some are dropped. More than `free_min`.
    pub free_max: u32,
    /// How often it looks; 0 is never, but for the first time.
    pub frequency: Duration,
    /// A free connection that was silent for longer is dropped; 0 is never.
    pub heartbeat: Duration,
    /// How often a request looks for a free connection before it fails. At
    /// least 1.
    pub searches: u32,
    /// How long it waits in between.
    pub search_pause: Duration,
    /// Requests that wait at a time.
    pub waiting_max: u32,
    /// The places of connections are below it.
    pub places_max: u32,
}

impl Default for PoolSettings {
    /// A small pool, with the figures of `seeds/heartbeats` and three searches,
    /// a second apart (`facts.md`, section 3.1).
    fn default() -> Self {
        Self {
            connections_min: 2,
            connections_max: 16,
            free_min: 1,
            free_max: 4,
            frequency: Duration::from_secs(60),
            heartbeat: Duration::from_secs(1_201),
            searches: 3,
            search_pause: Duration::from_secs(1),
            waiting_max: 1_024,
            places_max: 65_536,
        }
    }
}

/// Figures that do not fit each other (`facts.md`, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolSettingError {
    /// A span is out of its range.
    #[error(transparent)]
    Span(#[from] SettingError),
    /// Nothing would be kept.
    #[error("connections_min is 0; it is at least 1")]
    Minimum,
    /// There is no room for the free ones that are asked for.
    #[error(
        "connections_max is {connections_max}; it is at least connections_min + free_min, \
         {connections_min} + {free_min}"
    )]
    Maximum {
        /// As it was set.
        connections_max: u32,
        /// As it was set.
        connections_min: u32,
        /// As it was set.
        free_min: u32,
    },
    /// Connections would be added and dropped in turn.
    #[error("free_max is {free_max}; it is more than free_min, {free_min}")]
    Free {
        /// As it was set.
        free_max: u32,
        /// As it was set.
        free_min: u32,
    },
    /// No request would ever look.
    #[error("searches is 0; it is at least 1")]
    Searches,
}

impl PoolSettings {
    /// Whether the figures fit each other.
    pub(super) fn check(&self) -> Result<(), PoolSettingError> {
        let Self {
            connections_min,
            connections_max,
            free_min,
            free_max,
            ..
        } = *self;
        if connections_min == 0 {
            return Err(PoolSettingError::Minimum);
        }
        if connections_max < connections_min.saturating_add(free_min) {
            return Err(PoolSettingError::Maximum {
                connections_max,
                connections_min,
                free_min,
            });
        }
        if free_max <= free_min {
            return Err(PoolSettingError::Free { free_max, free_min });
        }
        if self.searches == 0 {
            return Err(PoolSettingError::Searches);
        }
        Ok(())
    }
}

/// What a [`Pool`](super::Pool) wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolEffect {
    /// Open a connection to the server.
    Open,
    /// Close a connection; the pool has forgotten it.
    Close {
        /// Which one.
        conn: Key,
        /// Why.
        why: Dropped,
    },
    /// The request has the connection, until it is
    /// [released](super::Pool::release).
    Granted {
        /// The request, which is over.
        request: Key,
        /// Its connection.
        conn: Key,
    },
    /// There was no free connection, however often it looked.
    Refused {
        /// The request, which is over.
        request: Key,
    },
}

/// Why a connection was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// More than `free_max` were free.
    Surplus,
    /// It was silent for too long.
    Silent(Ended),
}

/// Why a pool did not do something. The caller is to blame; nothing was
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// As many requests wait as may.
    #[error("as many requests wait as may")]
    Full,
    /// The pool did not ask for a connection.
    #[error("the pool did not ask for a connection")]
    NotAsked,
    /// The connection is in the pool, or its place is beyond `places_max`.
    #[error("the connection is in the pool, or its place is beyond places_max")]
    Place,
    /// No request has the connection.
    #[error("no request has the connection")]
    NotGranted,
}
