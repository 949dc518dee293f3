//! What may be asked of a notifier: its bounds, the options, the refusals.

use core::time::Duration;

/// The shortest lifetime of a notification.
pub const LIFETIME_MIN: Duration = Duration::from_secs(1);

/// The longest lifetime of a notification, unless
/// [`NotifierLimits::lifetime_max`] says another.
pub const LIFETIME_MAX: Duration = Duration::from_secs(86_400);

/// The bounds of a [`Notifier`](super::Notifier).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifierLimits {
    /// Notifications that live at a time.
    pub notifications_max: u32,
    /// Notifications for one client that live at a time, those to groups and all aside.
    pub notifications_per_client_max: u32,
    /// Notifications for one subnet or site that live at a time.
    pub notifications_per_group_max: u32,
    /// Bytes of a payload.
    pub payload_bytes_max: usize,
    /// Replies that are kept at a time.
    pub replies_max: u32,
    /// Bytes of a reply.
    pub reply_bytes_max: usize,
    /// Bytes of all payloads together.
    pub payloads_bytes_max: usize,
    /// Bytes of all replies together. Replies never take the room of
    /// notifications.
    pub replies_bytes_max: usize,
    /// How long a notification may live.
    pub lifetime_max: Duration,
}

impl Default for NotifierLimits {
    fn default() -> Self {
        Self {
            notifications_max: 4_096,
            notifications_per_client_max: 256,
            notifications_per_group_max: 256,
            payload_bytes_max: 65_536,
            replies_max: 1_000_000,
            reply_bytes_max: 65_536,
            payloads_bytes_max: 50_000_000,
            replies_bytes_max: 50_000_000,
            lifetime_max: LIFETIME_MAX,
        }
    }
}

/// How a notification is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifyOptions {
    /// How long it lives: so long it is sent to clients that come, and replies
    /// are kept. 60 minutes unless said otherwise, from [`LIFETIME_MIN`].
    pub lifetime: Duration,
    /// The span over which the clients spread their replies.
    pub reply_window: Duration,
}

impl Default for NotifyOptions {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(3_600),
            reply_window: Duration::ZERO,
        }
    }
}

/// Why there is no notification. The caller is to blame; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The client is not registered.
    #[error("the client is not registered")]
    UnknownClient,
    /// No client of the subnet is registered.
    #[error("no client of the subnet is registered")]
    UnknownSubnet,
    /// There is no such site.
    #[error("the relay has no such site")]
    UnknownSite,
    /// The payload is longer than allowed.
    #[error("the payload is longer than {bytes_max} bytes")]
    PayloadTooLong {
        /// How long it may be.
        bytes_max: usize,
    },
    /// The lifetime is shorter than [`LIFETIME_MIN`] or longer than allowed.
    #[error("the lifetime is not between {} s and {} s", LIFETIME_MIN.as_secs(), lifetime_max.as_secs())]
    Lifetime {
        /// How long it may be.
        lifetime_max: Duration,
    },
    /// The reply window is longer than the lifetime.
    #[error("the reply window is longer than the lifetime")]
    ReplyWindow,
    /// Too many notifications live.
    #[error("too many notifications are alive; try again when some have expired")]
    Full,
    /// The notifications that live hold too many bytes.
    #[error(
        "the notifications that are alive hold too many bytes; try again when some have expired"
    )]
    BytesFull,
    /// Too many notifications for this client live.
    #[error("too many notifications for this client are alive")]
    ClientFull,
    /// Too many notifications for this subnet or site live.
    #[error("too many notifications for this subnet or site are alive")]
    GroupFull,
}
