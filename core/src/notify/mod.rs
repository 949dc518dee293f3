//! Notifications: what a relay tells its clients, and what they reply.
//!
//! * [`Notifier`]: the relay's side. It holds each notification and its
//!   replies for as long as it lives, and knows what a client has not been
//!   sent. Nothing is queued for a client: what it still has to get follows
//!   from how far it came.
//! * [`Mailbox`]: the client's side. It hands each notification to the
//!   application once and keeps the reply until the relay took it.
//! * [`body`]: the JSON of the inbox.
//!
//! A notification is a hint. It is kept in memory; a relay that restarts
//! forgets it, and whatever it announced can also be found by asking.

pub mod body;
#[cfg(any(test, feature = "_test"))]
pub mod fuzz;
mod mailbox;
mod notifier;
mod replies;
mod seen;
mod terms;

pub use mailbox::{Handle, Mailbox, MailboxEffect, MailboxLimits, Order, Received, ReplyMisuse};
pub use notifier::{Notifier, NotifierEffect, Status, Target};
pub use replies::{Reply, ReplyRefusal};
pub use terms::{LIFETIME_MAX, LIFETIME_MIN, NotifierLimits, NotifyError, NotifyOptions};
