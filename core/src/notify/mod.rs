//! Notifications: what a relay tells its clients, and what they reply.
//!
//! * [`Notifier`]: the relay's side. It holds each notification and its
//!   replies for as long as it lives, and knows what a client has not been
//!   sent. Nothing is queued for a client: what it still has to get follows
//!   from how far it came.
//! * [`Router`]: which way a notification goes to a client without a connection
//!   of its own: by a peer in its subnet, or by datagram.
//! * [`Mailbox`]: the client's side. It hands each notification to the
//!   application once and keeps the reply until the relay took it.
//! * [`body`]: the JSON of the inbox.
//!
//! A notification is a hint. It is kept in memory; a relay that restarts
//! forgets it, and whatever it announced can also be found by asking.

mod audience;
pub mod body;
#[cfg(any(test, feature = "_test"))]
pub mod fuzz;
mod mailbox;
mod notifier;
mod replies;
mod router;
mod seen;
mod terms;
mod told;

pub use audience::{Audience, Membership};
#[cfg(any(test, feature = "_test"))]
pub(crate) use mailbox::RESEND;
pub use mailbox::{Handle, Mailbox, MailboxEffect, MailboxLimits, Order, Received, ReplyMisuse};
pub use notifier::{Notifier, NotifierEffect, Status};
pub use replies::{Reply, ReplyRefusal};
#[cfg(feature = "_test")]
pub use router::LINE_VISITS;
pub use router::{
    Leg, LineEvent, LineState, RouteRefusal, Router, RouterEffect, RouterLimits, Way,
};
pub use terms::{LIFETIME_MAX, LIFETIME_MIN, NotifierLimits, NotifyError, NotifyOptions};
