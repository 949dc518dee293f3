//! How many descriptors the process may have, and what they are for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are kept for files, listeners and the system's libraries.
const RESERVED: u64 = 200;

/// Raises the limit as far as it may be raised, and returns how many
/// connections can be held: `connections_max` at most.
pub(crate) fn budget(connections_max: u32) -> u32 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        // Without it there is room for fewer connections.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let Some(limit) = limit() else {
        return connections_max;
    };
    // Of a small number half is kept.
    let held = limit.saturating_sub(RESERVED).max(limit / 2);
    u32::try_from(held).unwrap_or(u32::MAX).min(connections_max)
}

/// Descriptors that may be open; `None` if there is no limit.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
