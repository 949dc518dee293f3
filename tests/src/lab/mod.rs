//! The lab: a small internet out of network namespaces, in which the real
//! programs run.
//!
//! ```text
//!                    relay 192.0.2.10
//!                          │
//!     ┌────────────────────┼─────────────────────┐
//!     │   internet: routes, drops private ones   │
//!     └──┬───────────────────┬────────────────┬──┘
//!        │ 198.51.100.2      │ 198.51.100.130 │
//!   north's router      south's router        d1 203.0.113.21
//!        │ 192.168.1.1       │ 192.168.1.1
//!   north's switch      south's switch
//!    │     │     │         │      │
//!    c1    c2    c3        e1     e2
//!    .11   .12   .13       .11    .12       192.168.1.0/24, both
//! ```
//!
//! The routers translate addresses and let no UDP in. Everything is made inside
//! namespaces of this process, and gone with the [`Lab`]; the machine's own
//! network is not touched. It needs root, `ip` and `nft`. The story that is
//! told with it is in `docs/lab.md`.

mod counts;
mod operator;
mod permission;
mod router;
mod rules;
mod space;
mod town;

pub use counts::{Counts, Packets};
pub use operator::Operator;
pub use router::{Router, Way};
pub use town::{Host, Lab, Site};

/// TCP of the relay, UDP of the clients.
pub const PORT: u16 = 52_311;
