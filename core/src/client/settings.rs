//! What a client can be told, and how much it holds.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::heartbeat::{sound_response_timeout, sound_span};
use crate::http;
use crate::notify::MailboxLimits;
use crate::pcc::PccSettings;
use crate::registration::{Interface, RegistrarSettings, SelectorSettings};

/// Events that may wait at all; [`Limits::events_max`] is cut down to it.
const EVENTS_CAP: usize = 65_536;

/// Where a relay listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelayAddress {
    /// A name or an address, an IPv6 address without brackets.
    pub host: Box<str>,
    /// The TCP port.
    pub port: u16,
    /// Whether it speaks TLS there.
    pub tls: bool,
}

impl RelayAddress {
    /// As in a URL: an IPv6 address in brackets, and the port.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            alloc::format!("[{}]:{}", self.host, self.port)
        } else {
            alloc::format!("{}:{}", self.host, self.port)
        }
    }
}

/// The figures of a client.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The relays, the best one first; at least one. No other is ever asked.
    pub relays: Vec<RelayAddress>,
    /// The machine's name, for people; 1 to 255 bytes.
    pub hostname: Box<str>,
    /// The machine's addresses.
    pub interfaces: Vec<Interface>,
    /// The port that the client takes datagrams on; 0 is none.
    pub udp_port: u16,
    /// Whether the client wishes for a persistent connection.
    pub persistent_connection: bool,
    /// When it registers.
    pub registrar: RegistrarSettings,
    /// With which of the relays.
    pub selector: SelectorSettings,
    /// When it opens its persistent connection.
    pub pcc: PccSettings,
    /// When it asks its inbox although it heard nothing, moved at random by up
    /// to a tenth to both sides, once for each start; zero is never.
    pub poll_interval: Duration,
    /// Datagrams that the client passes on to others of its subnet in a second;
    /// 0 is no bound.
    pub datagrams_per_second_max: u32,
    /// How long the opening of a connection may take.
    pub connect_timeout: Duration,
    /// How long the relay may not take what is written to the persistent
    /// connection.
    pub line_stall: Duration,
    /// How long a frame of the relay may take to come whole.
    pub line_frame: Duration,
    /// Whether the relay is still there.
    pub heartbeat: HeartbeatSettings,
    /// The deadlines of HTTP.
    pub http: http::Timeouts,
}

/// The heartbeats of a client's persistent connection. A figure that is out of
/// its range counts as the nearest that is not; 0 is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatSettings {
    /// How often the client asks by itself whether the relay is there, from
    /// start to start. 0, or 1 s to 86,400 s.
    pub period: Duration,
    /// How long the answer may take, before the connection is ended. 100 ms to
    /// 3,600 s.
    pub response_timeout: Duration,
    /// The silence of the relay after which the connection is ended. 0, or 1 s
    /// to 86,400 s. `None` follows the relay: twice its period and a second;
    /// off if the relay does not probe, does not say, or probes so seldom that
    /// this is more than a day.
    pub heartbeat: Option<Duration>,
    /// How often the client looks for that. 0, or 1 s to 86,400 s. `None`
    /// follows the relay: a tenth of its period, else a twentieth of
    /// `heartbeat`; at least a second.
    pub frequency: Option<Duration>,
}

impl Default for HeartbeatSettings {
    fn default() -> Self {
        Self {
            period: Duration::ZERO,
            response_timeout: Duration::from_secs(5),
            heartbeat: None,
            frequency: None,
        }
    }
}

impl HeartbeatSettings {
    pub(super) fn sound(self) -> Self {
        Self {
            period: sound_span(self.period),
            response_timeout: sound_response_timeout(self.response_timeout),
            heartbeat: self.heartbeat.map(sound_span),
            frequency: self.frequency.map(sound_span),
        }
    }
}

impl Settings {
    /// The defaults, for a machine of this name and a single relay.
    pub fn new(relay: RelayAddress, hostname: &str) -> Self {
        Self {
            relays: vec![relay],
            hostname: hostname.into(),
            interfaces: Vec::new(),
            udp_port: 0,
            persistent_connection: true,
            registrar: RegistrarSettings::default(),
            selector: SelectorSettings::default(),
            pcc: PccSettings::default(),
            poll_interval: Duration::from_secs(900),
            datagrams_per_second_max: 1_000,
            connect_timeout: Duration::from_secs(10),
            line_stall: Duration::from_secs(30),
            line_frame: Duration::from_secs(30),
            heartbeat: HeartbeatSettings::default(),
            http: http::Timeouts::default(),
        }
    }
}

/// Every bound of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body of an answer.
    pub answer_body_bytes_max: u64,
    /// Bytes of the body of a frame from the relay.
    pub frame_body_bytes_max: u32,
    /// Events that may wait for the driver before inputs are no longer taken.
    pub events_max: usize,
    /// Buffers that are kept for reuse.
    pub buffers_max: u32,
    /// Bytes of a buffer that is kept for reuse.
    pub buffer_bytes_max: usize,
    /// Of each HTTP connection.
    pub http: http::Limits,
    /// Of the notifications.
    pub mailbox: MailboxLimits,
}

impl Limits {
    /// With bounds that could not work moved to the nearest that do.
    pub(super) fn sound(mut self) -> Self {
        self.events_max = self.events_max.clamp(1, EVENTS_CAP);
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer_body_bytes_max: 524_288,
            frame_body_bytes_max: 65_536 + 64,
            events_max: 64,
            buffers_max: 16,
            buffer_bytes_max: 262_144,
            http: http::Limits::default(),
            mailbox: MailboxLimits::default(),
        }
    }
}
