//! What a driver serves, its bounds, and why it does not start.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tautline_std::tls::{ClientConfig, ServerConfig};

use crate::storage::StorageLimits;
use tautline_core::Network;

/// What a driver is to serve.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// TCP addresses to listen on; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// UDP addresses, at most one of each family is sent from.
    pub datagrams: Vec<SocketAddr>,
    /// What TLS connections are served with; none are without it.
    pub accept_tls: Option<ServerConfig>,
    /// Whom outgoing TLS connections trust; without it they fail.
    pub connect_tls: Option<ClientConfig>,
    /// Whose PROXY protocol headers are believed.
    pub proxies: Vec<Network>,
    /// The bounds.
    pub limits: Limits,
    /// The bounds of the storage thread.
    pub storage: StorageLimits,
}

/// The bounds of a driver. What is bounded per turn goes on in the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes that one connection brings per turn.
    pub read_bytes_max: usize,
    /// Bytes that one transfer sends from its file per turn.
    pub transfer_bytes_per_turn: usize,
    /// Connections that are served per turn.
    pub connections_per_turn: usize,
    /// Connections that each listener accepts per turn.
    pub accepts_per_turn: usize,
    /// Effects that are carried out per turn.
    pub outputs_per_turn: usize,
    /// Datagrams that each socket receives per turn.
    pub datagrams_per_turn: usize,
    /// Datagrams that wait for a socket to take them.
    pub datagrams_waiting_max: usize,
    /// The length of the buffer that the endpoint writes its output to.
    pub output_bytes: usize,
    /// Buffers of each size that are kept for tails and held bytes.
    pub buffers_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            read_bytes_max: 16 * 1_024,
            transfer_bytes_per_turn: 256 * 1_024,
            connections_per_turn: 256,
            accepts_per_turn: 64,
            outputs_per_turn: 1_024,
            datagrams_per_turn: 64,
            datagrams_waiting_max: 1_024,
            output_bytes: 64 * 1_024,
            buffers_max: 64,
        }
    }
}

/// An address that could not be bound, or a resource that the system does not
/// have.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The address cannot be bound for datagrams.
    Datagrams(SocketAddr, io::Error),
    /// Something else that the system should have given.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(f, "cannot listen on {address} (TCP): {error}"),
            Self::Datagrams(address, error) => write!(f, "cannot bind {address} (UDP): {error}"),
            Self::System(error) => write!(f, "cannot set up the event loop: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
