//! Which transitions of the tables were taken: for tests that demand each.

use core::sync::atomic::{AtomicBool, Ordering};

/// The transitions of a table that any machine of this process took, by the
/// places of state and event in their enums.
#[derive(Debug)]
pub struct Visits<const STATES: usize, const EVENTS: usize>([[AtomicBool; EVENTS]; STATES]);

impl<const STATES: usize, const EVENTS: usize> Visits<STATES, EVENTS> {
    pub(crate) const fn new() -> Self {
        Self([const { [const { AtomicBool::new(false) }; EVENTS] }; STATES])
    }

    pub(crate) fn note(&self, state: usize, event: usize) {
        if let Some(visited) = self.0.get(state).and_then(|row| row.get(event)) {
            visited.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the transition was taken.
    pub fn has(&self, state: usize, event: usize) -> bool {
        let visited = self.0.get(state).and_then(|row| row.get(event));
        visited.is_some_and(|visited| visited.load(Ordering::Relaxed))
    }
}
