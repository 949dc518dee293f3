//! What is counted.

use std::hint::black_box;

/// Work whose instructions are counted.
pub(crate) struct Scenario {
    /// Its room and what it does there.
    pub(crate) name: &'static str,
    /// What a size is a number of.
    pub(crate) unit: &'static str,
    /// The sizes it is counted at, the smallest first.
    pub(crate) sizes: &'static [usize],
    /// Sets up for a size, hands the work to [`counted`], once, and returns
    /// how many operations that was.
    pub(crate) run: fn(size: usize) -> usize,
}

impl Scenario {
    /// Whether a word is its name, or that of its room.
    pub(crate) fn is(&self, word: &str) -> bool {
        let room = self.name.split('/').next();
        self.name == word || room == Some(word)
    }
}

/// Valgrind counts from here to the return; it knows the function by its name
/// ([`super::callgrind`]).
#[inline(never)]
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> T {
    // What stands behind the call keeps it from becoming a jump.
    black_box(work())
}
