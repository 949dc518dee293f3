//! TLS on one connection: a session without IO, joined to its socket.

use std::io::{self, ErrorKind, Read};

use mio::net::TcpStream;
use tautline_std::tls::{self, ClientConfig, ServerConfig};

/// Bytes of one read from the socket.
const CIPHERTEXT_BYTES: usize = 8 * 1_024;

/// A TLS session, at either end of a line.
pub(super) struct Session {
    tls: tls::Session,
    /// Read from the socket, and not taken while plaintext waits.
    unfed: Vec<u8>,
}

/// What ended a session.
#[derive(Debug)]
pub(super) enum Fault {
    /// The peer broke the protocol, or could not be verified.
    Tls,
    /// The socket failed.
    Socket(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl Session {
    pub(super) fn server(config: &ServerConfig) -> Result<Self, Fault> {
        tls::Session::server(config)
            .map(Self::new)
            .map_err(|_| Fault::Tls)
    }

    pub(super) fn client(config: &ClientConfig, host: &str) -> Result<Self, Fault> {
        tls::Session::client(config, host)
            .map(Self::new)
            .map_err(|_| Fault::Tls)
    }

    fn new(tls: tls::Session) -> Self {
        Self {
            tls,
            unfed: Vec::new(),
        }
    }

    /// Bytes that were read before it was known that they are TLS.
    pub(super) fn begin(&mut self, bytes: &[u8]) {
        self.unfed.extend_from_slice(bytes);
    }

    /// Goes on with the handshake; `true` when it is done, `false` when the
    /// socket has to become ready first.
    pub(super) fn handshake(&mut self, socket: &mut TcpStream) -> Result<bool, Fault> {
        loop {
            self.flush(socket)?;
            if !self.tls.is_handshaking() {
                return Ok(true);
            }
            match self.receive(socket) {
                Ok(()) => {}
                Err(Fault::Socket(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(false);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Reads plaintext. 0 is the end in order; the end without TLS's own
    /// farewell is `UnexpectedEof`, as it may be an attacker's cut.
    pub(super) fn read(&mut self, socket: &mut TcpStream, into: &mut [u8]) -> Result<usize, Fault> {
        loop {
            let count = self.tls.read_plaintext(into);
            if count > 0 || self.tls.has_peer_closed() {
                return Ok(count);
            }
            self.receive(socket)?;
            self.flush(socket)?;
        }
    }

    /// Encrypts and writes; returns how many bytes were taken. Less than all,
    /// or something that is left to [`flush`](Self::flush), means that the
    /// socket has to become writable first.
    pub(super) fn write(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> Result<usize, Fault> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            taken += self.tls.write_plaintext(rest);
            if !self.flush(socket)? {
                break;
            }
        }
        Ok(taken)
    }

    /// Writes what is encrypted; `true` when all of it is gone.
    pub(super) fn flush(&mut self, socket: &mut TcpStream) -> Result<bool, Fault> {
        loop {
            match self.tls.drain_ciphertext(socket) {
                Ok(_) => return Ok(!self.tls.wants_write()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether nothing is encrypted and not written.
    pub(super) fn is_drained(&self) -> bool {
        !self.tls.wants_write()
    }

    /// Says farewell; [`flush`](Self::flush) carries it.
    pub(super) fn finish(&mut self) {
        self.tls.close_notify();
    }

    /// Feeds what is there, or else what one read brings.
    fn receive(&mut self, socket: &mut TcpStream) -> Result<(), Fault> {
        if !self.unfed.is_empty() {
            let unfed = std::mem::take(&mut self.unfed);
            return self.feed(socket, &unfed);
        }
        let mut buffer = [0; CIPHERTEXT_BYTES];
        let count = match socket.read(&mut buffer) {
            Ok(0) => return Err(Fault::Socket(ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.feed(socket, buffer.get(..count).unwrap_or_default())
    }

    fn feed(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> Result<(), Fault> {
        match self.tls.feed(bytes) {
            Ok(count) => {
                self.unfed
                    .extend_from_slice(bytes.get(count..).unwrap_or_default());
                Ok(())
            }
            Err(_) => {
                // The alert that tells the peer why, if it gets through.
                let _ = self.flush(socket);
                Err(Fault::Tls)
            }
        }
    }
}
