//! A blocking connection with deadlines, in clear or under TLS.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tautline_core::Instant;

use super::CallError;
use crate::clock::Clock;
use crate::tls::Session;

const CHUNK_BYTES: usize = 8 * 1_024;

pub(super) struct Wire {
    stream: TcpStream,
    session: Option<Session>,
    clock: Clock,
    /// From the line, not yet decrypted.
    ciphertext: Vec<u8>,
}

pub(super) enum Read {
    Bytes(usize),
    End,
    TimedOut,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, session: Option<Session>, clock: Clock) -> Self {
        Self {
            stream,
            session,
            clock,
            ciphertext: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Establishes TLS, if it is spoken. Writing must be done by `deadline`
    /// as well, here and later.
    pub(super) fn shake_hands(&mut self, deadline: Instant) -> Result<(), CallError> {
        let patience = self.patience(deadline);
        self.stream.set_write_timeout(Some(patience))?;
        self.decrypt()?;
        while self.session.as_ref().is_some_and(Session::is_handshaking) {
            match self.fill(deadline)? {
                Read::Bytes(_) => self.decrypt()?,
                Read::End => return Err(cut_off()),
                Read::TimedOut => return Err(CallError::TimedOut),
            }
        }
        Ok(())
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), CallError> {
        let Some(session) = &mut self.session else {
            return Ok(self.stream.write_all(bytes).map_err(timed_out)?);
        };
        while !bytes.is_empty() {
            let count = session.write_plaintext(bytes);
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            bytes = bytes.get(count..).unwrap_or_default();
            session
                .drain_ciphertext(&mut self.stream)
                .map_err(timed_out)?;
        }
        Ok(())
    }

    /// Reads what there is, after waiting for it until `due`.
    pub(super) fn read(&mut self, buf: &mut [u8], due: Instant) -> Result<Read, CallError> {
        loop {
            let Some(session) = &mut self.session else {
                return self.receive(buf, due);
            };
            match session.read_plaintext(buf) {
                0 if session.has_peer_closed() => return Ok(Read::End),
                0 => {}
                count => return Ok(Read::Bytes(count)),
            }
            if self.ciphertext.is_empty() {
                match self.fill(due)? {
                    Read::Bytes(_) => {}
                    Read::End => return Err(cut_off()),
                    Read::TimedOut => return Ok(Read::TimedOut),
                }
            }
            self.decrypt()?;
        }
    }

    /// Feeds the session, and sends what it has to say to that.
    fn decrypt(&mut self) -> Result<(), CallError> {
        if let Some(session) = &mut self.session {
            let taken = session.feed(&self.ciphertext);
            let drained = session.drain_ciphertext(&mut self.stream);
            self.ciphertext.drain(..taken?);
            drained.map_err(timed_out)?;
        }
        Ok(())
    }

    /// Receives ciphertext.
    fn fill(&mut self, due: Instant) -> Result<Read, CallError> {
        let mut chunk = [0; CHUNK_BYTES];
        let read = self.receive(&mut chunk, due)?;
        if let Read::Bytes(count) = read {
            let received = chunk.get(..count).unwrap_or(&chunk);
            self.ciphertext.extend_from_slice(received);
        }
        Ok(read)
    }

    fn receive(&mut self, buf: &mut [u8], due: Instant) -> Result<Read, CallError> {
        loop {
            if self.clock.now() >= due {
                return Ok(Read::TimedOut);
            }
            self.stream.set_read_timeout(Some(self.patience(due)))?;
            match self.stream.read(buf) {
                Ok(0) => return Ok(Read::End),
                Ok(count) => return Ok(Read::Bytes(count)),
                Err(error) if is_timeout(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How long a call of the system may wait; zero would be for ever.
    fn patience(&self, due: Instant) -> Duration {
        self.clock.until(due).max(Duration::from_millis(1))
    }
}

/// An end of TLS is announced.
fn cut_off() -> CallError {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was cut off").into()
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Writing for too long comes as an error of its own.
fn timed_out(error: io::Error) -> io::Error {
    if is_timeout(&error) {
        io::Error::new(io::ErrorKind::TimedOut, "the request was not taken in time")
    } else {
        error
    }
}
