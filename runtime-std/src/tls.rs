//! TLS without IO: bytes of the line go in and come out, bytes of the
//! application likewise.
//!
//! All of rustls is behind this module. The cryptography is passed explicitly,
//! never taken from the process's default, which another crate could change.

mod config;

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};

pub use config::{ClientConfig, ConfigError, Roots, ServerConfig};

/// Application bytes that wait to be read before [`Session::feed`] takes no
/// more.
const PLAINTEXT_WAITING_MAX: usize = 16 * 1_024;
/// Bytes for the line that wait to be drained before [`Session::write_plaintext`]
/// takes no more.
const CIPHERTEXT_WAITING_MAX: usize = 64 * 1_024;

/// One TLS connection, of either side.
///
/// A driver feeds it what it reads from the socket, and drains it to the
/// socket after every call. Both directions are bounded: what is not taken is
/// offered again.
///
/// ```no_run
/// # fn example(config: &tautline_std::tls::ServerConfig, from_socket: &[u8])
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let mut session = tautline_std::tls::Session::server(config)?;
/// let taken = session.feed(from_socket)?;
/// let mut buf = [0; 4_096];
/// let count = session.read_plaintext(&mut buf);
/// session.write_plaintext(&buf[..count]);
/// let mut to_socket = Vec::new();
/// session.drain_ciphertext(&mut to_socket)?;
/// # Ok(())
/// # }
/// ```
pub struct Session {
    connection: Connection,
    /// Application bytes that wait to be read.
    plaintext_waiting: usize,
    has_peer_closed: bool,
}

impl Session {
    /// The side that was called.
    ///
    /// # Errors
    /// [`TlsError`] if the configuration does not fit.
    pub fn server(config: &ServerConfig) -> Result<Self, TlsError> {
        let connection = ServerConnection::new(Arc::clone(&config.0))?;
        Ok(Self::new(connection.into()))
    }

    /// The side that calls. `host`, a name or an address in text, is what the
    /// peer's certificate must be for.
    ///
    /// # Errors
    /// [`TlsError`] if `host` is neither a name nor an address.
    pub fn client(config: &ClientConfig, host: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError(Fault::Host(host.to_owned())))?;
        let connection = ClientConnection::new(Arc::clone(&config.0), name)?;
        Ok(Self::new(connection.into()))
    }

    fn new(mut connection: Connection) -> Self {
        connection.set_buffer_limit(Some(CIPHERTEXT_WAITING_MAX));
        Self {
            connection,
            plaintext_waiting: 0,
            has_peer_closed: false,
        }
    }

    /// Takes bytes from the line and returns how many; less than all while
    /// plaintext waits to be read. What comes after the peer's end is taken
    /// and dropped.
    ///
    /// # Errors
    /// The peer broke the protocol or is not trusted. The session is over:
    /// drain it once more, so that the peer learns why, then close.
    pub fn feed(&mut self, mut ciphertext: &[u8]) -> Result<usize, TlsError> {
        let offered = ciphertext.len();
        while !ciphertext.is_empty() && self.plaintext_waiting < PLAINTEXT_WAITING_MAX {
            if self.has_peer_closed {
                return Ok(offered);
            }
            let before = ciphertext.len();
            self.connection
                .read_tls(&mut ciphertext)
                .map_err(|error| TlsError(Fault::Line(error)))?;
            let state = self.connection.process_new_packets()?;
            self.plaintext_waiting = state.plaintext_bytes_to_read();
            self.has_peer_closed = state.peer_has_closed();
            if ciphertext.len() == before {
                break;
            }
        }
        Ok(offered - ciphertext.len())
    }

    /// Fills `buf` with application bytes and returns how many; 0 if none wait.
    pub fn read_plaintext(&mut self, buf: &mut [u8]) -> usize {
        // "Nothing now" comes as an error, and so does an end without notice,
        // which the driver sees by itself.
        let count = self.connection.reader().read(buf).unwrap_or(0);
        self.plaintext_waiting -= count.min(self.plaintext_waiting);
        count
    }

    /// Whether application bytes wait to be read.
    pub fn wants_read(&self) -> bool {
        self.plaintext_waiting > 0
    }

    /// Takes application bytes and returns how many; less than all when 64 KiB
    /// wait to be drained. During the handshake they are kept, within the same
    /// bound.
    pub fn write_plaintext(&mut self, bytes: &[u8]) -> usize {
        self.connection.writer().write(bytes).unwrap_or(0)
    }

    /// Hands the bytes for the line to `out`, until it takes no more or none
    /// are left, and returns how many.
    ///
    /// # Errors
    /// What `out` returns, also `WouldBlock`; what it has taken by then is
    /// gone from the session all the same.
    pub fn drain_ciphertext(&mut self, out: &mut dyn Write) -> io::Result<usize> {
        let mut drained = 0;
        while self.connection.wants_write() {
            match self.connection.write_tls(out)? {
                0 => break,
                count => drained += count,
            }
        }
        Ok(drained)
    }

    /// Whether bytes for the line wait to be drained.
    pub fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the peer said that it will send no more. An end of the line
    /// without it was cut off by somebody.
    pub fn has_peer_closed(&self) -> bool {
        self.has_peer_closed
    }

    /// Tells the peer that this side will send no more; drain afterwards.
    pub fn close_notify(&mut self) {
        self.connection.send_close_notify();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("is_handshaking", &self.is_handshaking())
            .field("plaintext_waiting", &self.plaintext_waiting)
            .field("has_peer_closed", &self.has_peer_closed)
            .finish_non_exhaustive()
    }
}

/// Why a session could not begin, or ended.
#[derive(Debug)]
pub struct TlsError(Fault);

#[derive(Debug)]
enum Fault {
    Host(String),
    Line(io::Error),
    Protocol(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Fault::Host(host) => write!(f, "{host:?} is neither a name nor an address"),
            Fault::Line(error) => write!(f, "{error}"),
            Fault::Protocol(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self(Fault::Protocol(error))
    }
}

#[cfg(test)]
mod tests;
