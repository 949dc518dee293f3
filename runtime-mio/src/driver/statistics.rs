//! What a driver counts.

use std::time::Duration;

/// Totals since the driver was made, and a few present figures.
///
/// ```
/// let statistics = tautline_mio::driver::Statistics::default();
/// assert_eq!(statistics.refused.total(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Turns of the event loop.
    pub turns: u64,
    /// How long the loop slept: its idle time.
    pub idle: Duration,
    /// Connections now, incoming and outgoing.
    pub connections: u64,
    /// Connections that were accepted and handed to the endpoint.
    pub accepted: u64,
    /// Connections that were accepted and ended at once, by reason.
    pub refused: Refused,
    /// How often accepting paused because descriptors or memory ran out.
    pub accept_pauses_exhausted: u64,
    /// How often accepting paused because the endpoint was full.
    pub accept_pauses_full: u64,
    /// How often accepting paused because a listener failed.
    pub accept_pauses_failed: u64,
    /// Outgoing connections that were opened.
    pub connected: u64,
    /// Outgoing connections that could not be opened.
    pub connect_failed: u64,
    /// Connections that ended.
    pub closed: u64,
    /// Plaintext bytes read from connections.
    pub bytes_received: u64,
    /// Plaintext bytes written to connections, files included.
    pub bytes_sent: u64,
    /// Bytes moved from connections to files.
    pub bytes_taken: u64,
    /// Bytes moved from files to connections.
    pub file_bytes_sent: u64,
    /// Writes that the network cut short.
    pub blocked: u64,
    /// Reads that the endpoint did not take whole.
    pub paused: u64,
    /// TLS handshakes that were completed.
    pub tls_established: u64,
    /// TLS handshakes and sessions that failed.
    pub tls_failed: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams that were lost here before they were sent, by reason.
    pub datagrams_dropped: DatagramsDropped,
    /// Storage effects that were handed to the storage thread.
    pub storage_effects: u64,
}

/// Connections that were ended before the endpoint saw a byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The endpoint's table was full.
    pub full: u64,
    /// The endpoint was shutting down, or does not listen.
    pub draining: u64,
    /// A PROXY header from an address that is not believed.
    pub proxy_not_believed: u64,
    /// A PROXY header that is malformed.
    pub proxy_malformed: u64,
    /// TLS, and no certificate is configured.
    pub tls_not_configured: u64,
    /// The socket could not be set up.
    pub socket: u64,
}

impl Refused {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }

    /// Each reason's name, with its count.
    pub fn by_reason(&self) -> [(&'static str, u64); 6] {
        [
            ("full", self.full),
            ("draining", self.draining),
            ("proxy_not_believed", self.proxy_not_believed),
            ("proxy_malformed", self.proxy_malformed),
            ("tls_not_configured", self.tls_not_configured),
            ("socket", self.socket),
        ]
    }
}

/// Datagrams that did not leave this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramsDropped {
    /// There is no socket of the target's family.
    pub no_socket: u64,
    /// As many wait for the socket as may.
    pub queue_full: u64,
    /// The system refused to send it.
    pub send_failed: u64,
}

impl DatagramsDropped {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }

    /// Each reason's name, with its count.
    pub fn by_reason(&self) -> [(&'static str, u64); 3] {
        [
            ("no_socket", self.no_socket),
            ("queue_full", self.queue_full),
            ("send_failed", self.send_failed),
        ]
    }
}
