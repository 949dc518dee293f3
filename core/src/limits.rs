//! Every bound of the endpoints, with its unit in its name.

/// The bounds of an endpoint. Full is a value: what exceeds a bound is
/// refused with a reason, never grown into.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Transport connections at a time.
    pub connections_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 50_000,
        }
    }
}
