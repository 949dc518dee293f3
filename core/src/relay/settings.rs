//! What a relay can be told, and how much it holds.

use core::time::Duration;

use super::watch::HeartbeatSettings;
use crate::Incarnation;
use crate::http;
use crate::notify::{NotifierLimits, RouterLimits};
use crate::registration::{RegistryLimits, RegistrySettings};
use crate::wire::proof::MasterKey;

/// Events that may wait at all; [`Limits::events_max`] is cut down to it.
const EVENTS_CAP: usize = 65_536;

/// The figures of a relay.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may register, and for how long.
    pub registry: RegistrySettings,
    /// The deadlines of HTTP.
    pub http: http::Timeouts,
    /// How long a persistent connection may not take what is written to it.
    pub line_stall: Duration,
    /// How long a frame of a client may take to come whole.
    pub line_frame: Duration,
    /// The window in which clients return when the relay shuts down, or is
    /// gone.
    pub return_window: Duration,
    /// Whether clients are still there.
    pub heartbeat: HeartbeatSettings,
    /// Datagrams with notifications that leave in a second; 0 is no limit.
    pub datagrams_per_second_max: u32,
}

impl Settings {
    /// The defaults, for a relay with this key in its run `incarnation`.
    pub fn new(key: MasterKey, incarnation: Incarnation) -> Self {
        Self {
            registry: RegistrySettings::new(key, incarnation),
            http: http::Timeouts::default(),
            line_stall: Duration::from_secs(30),
            line_frame: Duration::from_secs(30),
            return_window: Duration::from_secs(30),
            heartbeat: HeartbeatSettings::default(),
            datagrams_per_second_max: 20_000,
        }
    }

    /// With figures that could not work moved to the nearest that do.
    pub(super) fn sound(mut self) -> Self {
        self.registry.period = self.registry.period.max(Duration::from_secs(1));
        self.line_stall = self.line_stall.max(Duration::from_millis(1));
        self.line_frame = self.line_frame.max(Duration::from_millis(1));
        self.heartbeat = self.heartbeat.sound();
        self
    }
}

/// Every bound of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections_max: u32,
    /// Requests that wait for the application at a time; beyond it 503.
    pub requests_max: u32,
    /// Bytes of a registration's body.
    pub registration_body_bytes_max: u64,
    /// Bytes that unfinished frames of all clients may hold together.
    pub unfinished_frames_bytes_max: usize,
    /// Bytes of the body of a frame from a client.
    pub frame_body_bytes_max: u32,
    /// Notifications in one answer of the inbox.
    pub inbox_notifications_max: usize,
    /// Events that may wait for the driver before inputs are no longer taken.
    pub events_max: usize,
    /// Buffers that are kept for reuse.
    pub buffers_max: u32,
    /// Bytes of a buffer that is kept for reuse.
    pub buffer_bytes_max: usize,
    /// Of each HTTP connection.
    pub http: http::Limits,
    /// Of the registry.
    pub registry: RegistryLimits,
    /// Of the notifications.
    pub notifier: NotifierLimits,
    /// Of the ways to clients without a connection of their own.
    pub router: RouterLimits,
}

impl Limits {
    /// With bounds that could not work together moved to the nearest that do.
    pub(super) fn sound(mut self) -> Self {
        // An inbox of one notification, in base64, and its fields.
        let payload = self.notifier.payload_bytes_max.saturating_mul(3);
        let inbox = payload.saturating_add(2_048);
        self.http.response_bytes_max = self.http.response_bytes_max.max(inbox);
        self.events_max = self.events_max.clamp(1, EVENTS_CAP);
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 50_000,
            requests_max: 1_024,
            registration_body_bytes_max: 4_096,
            unfinished_frames_bytes_max: 16_777_216,
            frame_body_bytes_max: 65_536 + 64,
            inbox_notifications_max: 32,
            events_max: 64,
            buffers_max: 256,
            buffer_bytes_max: 65_536,
            http: http::Limits::default(),
            registry: RegistryLimits::default(),
            notifier: NotifierLimits::default(),
            router: RouterLimits::default(),
        }
    }
}
