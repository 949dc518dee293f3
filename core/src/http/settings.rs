//! The bounds and deadlines of HTTP connections.

use core::time::Duration;

/// Header fields of a head that the parser can hold at all;
/// [`Limits::headers_max`] is cut down to it.
pub const HEADERS_CAP: u16 = 128;

/// Every bound of one connection. What exceeds one is refused with a status
/// and a counted reason, never grown into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, from its first byte to the empty line; beyond it the
    /// answer is 431.
    pub head_bytes_max: u16,
    /// Header fields of a head, at most [`HEADERS_CAP`]; beyond it 431.
    pub headers_max: u16,
    /// Bytes of a request's target; beyond it 414.
    pub target_bytes_max: u16,
    /// Bytes of a body, whoever reads it; beyond it 413.
    pub body_bytes_max: u64,
    /// Bytes of a body that wait in core for the application when it reads by
    /// chunks.
    pub body_buffer_bytes_max: usize,
    /// Bytes of an unread body that are read and dropped to keep the
    /// connection; beyond it the connection is closed after the response.
    pub body_bytes_discard_max: u64,
    /// Chunks of a body; beyond it 413.
    pub chunks_max: u32,
    /// Bytes of all chunk extensions of a body together; beyond it 400.
    pub chunk_extension_bytes_max: u16,
    /// Bytes of a chunked body's trailer section, which is dropped; beyond it
    /// 431.
    pub trailer_bytes_max: u16,
    /// Bytes of response heads, inline bodies and streamed bytes that wait in
    /// core to be written.
    pub response_bytes_max: usize,
    /// Requests of one connection; the last one is answered with
    /// `Connection: close`.
    pub requests_per_connection_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16_384,
            headers_max: 64,
            target_bytes_max: 8_000,
            body_bytes_max: 1 << 36,
            body_buffer_bytes_max: 16_384,
            body_bytes_discard_max: 65_536,
            chunks_max: 262_144,
            chunk_extension_bytes_max: 4_096,
            trailer_bytes_max: 4_096,
            response_bytes_max: 262_144,
            requests_per_connection_max: 100_000,
        }
    }
}

/// Every deadline of one connection. Deadlines are totals: a peer can not
/// move them by sending a byte now and then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a whole head: from the accept for the first one, from its first
    /// byte for those that follow. A client has its answer's head due so long
    /// after its request.
    pub head: Duration,
    /// How long a connection that is kept alive may stay silent.
    pub idle: Duration,
    /// The least rate of a body, in bytes a second.
    pub body_bytes_per_second_min: u32,
    /// How far a body may lag behind its least rate.
    pub body_grace: Duration,
    /// The least rate at which a peer takes what is written to it, in bytes a
    /// second.
    pub response_bytes_per_second_min: u32,
    /// How far a peer may lag behind that rate, in taking what is written.
    pub response: Duration,
    /// How long a peer has to end its side after this one ended.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body_bytes_per_second_min: 500,
            body_grace: Duration::from_secs(10),
            response_bytes_per_second_min: 500,
            response: Duration::from_secs(30),
            linger: Duration::from_secs(2),
        }
    }
}

/// Bounds and deadlines as connections share them, behind one `Arc`.
///
/// ```
/// use tautline_core::http::{Limits, Settings, Timeouts};
///
/// let limits = Limits { headers_max: 60_000, ..Limits::default() };
/// let settings = Settings::new(limits, Timeouts::default());
/// assert_eq!(settings.limits().headers_max, tautline_core::http::HEADERS_CAP);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    limits: Limits,
    timeouts: Timeouts,
}

impl Settings {
    /// Takes the figures and moves those that could not work to the nearest
    /// that do: durations to at least a millisecond, rates to at least a byte
    /// a second, buffers to between a kilobyte and a gigabyte.
    pub fn new(mut limits: Limits, mut timeouts: Timeouts) -> Self {
        limits.headers_max = limits.headers_max.min(HEADERS_CAP);
        for bytes_max in [
            &mut limits.body_buffer_bytes_max,
            &mut limits.response_bytes_max,
        ] {
            *bytes_max = (*bytes_max).clamp(1_024, 1 << 30);
        }
        for duration in [
            &mut timeouts.head,
            &mut timeouts.idle,
            &mut timeouts.body_grace,
            &mut timeouts.response,
            &mut timeouts.linger,
        ] {
            *duration = (*duration).max(Duration::from_millis(1));
        }
        timeouts.body_bytes_per_second_min = timeouts.body_bytes_per_second_min.max(1);
        timeouts.response_bytes_per_second_min = timeouts.response_bytes_per_second_min.max(1);
        Self { limits, timeouts }
    }

    /// The bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The deadlines.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }
}
