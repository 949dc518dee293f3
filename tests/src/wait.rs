//! Waiting for a fact of the real world, with an end.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Far more than any fact takes that a test waits for; a busy machine included.
const LIMIT: Duration = Duration::from_secs(35);
/// Between the first two looks; then twice as long each time.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Looks until the fact is there.
///
/// # Panics
/// With `what`, when it is still not there after 35 s.
pub fn wait_for<T>(what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut pause = PAUSE;
    loop {
        if let Some(fact) = look() {
            return fact;
        }
        assert!(start.elapsed() < LIMIT, "waited in vain for {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
