//! A blocking HTTP call: one request, one answer, one deadline.

mod wire;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tautline_core::collections::Pool;
use tautline_core::http::{
    Client, ClientEffect, ClientError, Misuse, Reading, RequestHead, Settings, Timeouts,
};
use tautline_core::{ConnectError, Instant};

use crate::clock::Clock;
use crate::driver::connect;
use crate::origin::Origin;
use crate::private::Secret;
use crate::tls;

use wire::{Read, Wire};

/// Bytes of an answer's body.
const BODY_BYTES_MAX: u64 = 16 * 1_024 * 1_024;
const BUFFERS_MAX: u32 = 4;
const BUFFER_BYTES_MAX: usize = 256 * 1_024;
const READ_BYTES: usize = 16 * 1_024;

/// Whom to call, and how.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The server.
    pub origin: Origin,
    /// Whom to trust; needed where `origin` speaks TLS.
    pub tls: Option<tls::ClientConfig>,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// Lets the token travel in clear to another machine. Whoever listens on
    /// the way can take it.
    pub sends_token_in_clear: bool,
    /// How long a call may take, from the name's resolution to the answer's
    /// last byte.
    pub timeout: Duration,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, 200 to 599.
    pub status: u16,
    /// The `Content-Type`, as far as it is text.
    pub content_type: Option<String>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Caller {
    /// Sends a request with this body (JSON, unless it is empty), and waits for
    /// the answer. The connection ends with it.
    ///
    /// # Errors
    /// [`CallError`] if there is none. An answer with the status of an error is
    /// an answer.
    pub fn call(&self, method: &str, target: &str, body: &[u8]) -> Result<Answer, CallError> {
        let clock = Clock::start();
        let deadline = clock.now() + self.timeout;
        let connection = connect::open(&self.origin.host, self.origin.port, self.timeout)?;
        let is_secret = self.origin.tls || connection.peer.ip().is_loopback();
        if self.token.is_some() && !is_secret && !self.sends_token_in_clear {
            return Err(CallError::TokenInClear);
        }
        let session = match (&self.tls, self.origin.tls) {
            (_, false) => None,
            (Some(config), true) => Some(tls::Session::client(config, &self.origin.host)?),
            (None, true) => return Err(CallError::Connect(ConnectError::Tls)),
        };
        let mut wire = Wire::new(connection.stream, session, clock);
        wire.shake_hands(deadline)?;
        self.exchange(&mut wire, deadline, method, target, body)
    }

    fn exchange(
        &self,
        wire: &mut Wire,
        deadline: Instant,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<Answer, CallError> {
        let mut exchange = Exchange::new(wire, self.timeout);
        exchange.request(self, method, target, body)?;
        loop {
            exchange.write()?;
            if let Some(answer) = exchange.answer()? {
                return Ok(answer);
            }
            if !exchange.offer() {
                exchange.read(deadline)?;
            }
        }
    }
}

/// A request under way: the HTTP machine between the buffers and the wire.
struct Exchange<'a> {
    wire: &'a mut Wire,
    http: Client,
    pool: Pool,
    received: Vec<u8>,
    /// The machine wants to be offered again what it did not take.
    wants_offer: bool,
}

impl<'a> Exchange<'a> {
    fn new(wire: &'a mut Wire, timeout: Duration) -> Self {
        let timeouts = Timeouts {
            head: timeout,
            ..Timeouts::default()
        };
        let settings = Settings::new(tautline_core::http::Limits::default(), timeouts);
        Self {
            wire,
            http: Client::new(&Arc::new(settings)),
            pool: Pool::new(BUFFERS_MAX, BUFFER_BYTES_MAX),
            received: Vec::new(),
            wants_offer: false,
        }
    }

    fn request(
        &mut self,
        caller: &Caller,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<(), CallError> {
        let authorization = caller
            .token
            .as_ref()
            .map(|token| format!("Bearer {}", token.reveal()));
        let mut headers = vec![("Accept", "application/json")];
        headers.extend(
            authorization
                .as_deref()
                .map(|value| ("Authorization", value)),
        );
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        let head = RequestHead {
            method,
            target,
            host: &caller.origin.authority(),
            headers: &headers,
            upgrade: None,
            close: true,
        };
        let now = self.wire.now();
        Ok(self.http.request(now, &head, body, &mut self.pool)?)
    }

    fn write(&mut self) -> Result<(), CallError> {
        let mut buf = [0; 4_096];
        loop {
            let now = self.wire.now();
            match self.http.poll_write(now, &mut buf, &mut self.pool) {
                0 => return Ok(()),
                count => self.wire.write_all(buf.get(..count).unwrap_or(&buf))?,
            }
        }
    }

    /// Does what the machine wants; the answer, when it is complete.
    fn answer(&mut self) -> Result<Option<Answer>, CallError> {
        while let Some(effect) = self.http.poll() {
            match effect {
                ClientEffect::Response => {
                    let reading = Reading::Whole {
                        bytes_max: BODY_BYTES_MAX,
                    };
                    let now = self.wire.now();
                    self.http.read_body(now, reading, &mut self.pool)?;
                }
                ClientEffect::BodyEnd => {
                    let response = self.http.response();
                    let content_type = response.as_ref().and_then(|r| r.header_str("Content-Type"));
                    return Ok(Some(Answer {
                        status: response.map_or(0, |response| response.status()),
                        content_type: content_type.map(str::to_owned),
                        body: self.http.body().to_vec(),
                    }));
                }
                ClientEffect::Resume => self.wants_offer = true,
                ClientEffect::Failed(error) => return Err(error.into()),
                ClientEffect::Close(_) => return Err(ClientError::Closed.into()),
                ClientEffect::Take { .. } | ClientEffect::Body | ClientEffect::Upgraded => {}
            }
        }
        Ok(None)
    }

    /// Offers what was not taken, if the machine wants that.
    fn offer(&mut self) -> bool {
        let offers = std::mem::take(&mut self.wants_offer) && !self.received.is_empty();
        if offers {
            self.hand_over();
        }
        offers
    }

    fn read(&mut self, deadline: Instant) -> Result<(), CallError> {
        let due = self.http.poll_timeout().unwrap_or(deadline).min(deadline);
        let mut buf = [0; READ_BYTES];
        match self.wire.read(&mut buf, due)? {
            Read::Bytes(count) => {
                self.received
                    .extend_from_slice(buf.get(..count).unwrap_or(&buf));
                self.hand_over();
            }
            Read::End => {
                let now = self.wire.now();
                self.http.handle_eof(now, &mut self.pool);
            }
            Read::TimedOut if self.wire.now() >= deadline => return Err(CallError::TimedOut),
            Read::TimedOut => {
                let now = self.wire.now();
                self.http.handle_timeout(now, &mut self.pool);
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) {
        let now = self.wire.now();
        let taken = self
            .http
            .handle_received(now, &self.received, &mut self.pool);
        self.received.drain(..taken.min(self.received.len()));
    }
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// No connection.
    Connect(ConnectError),
    /// TLS failed.
    Tls(tls::TlsError),
    /// The token would travel in clear to another machine.
    TokenInClear,
    /// Reading or writing failed.
    Line(io::Error),
    /// What came is no answer.
    Http(ClientError),
    /// The request cannot be made: a target or a token that HTTP does not
    /// allow, or a body that is too large.
    Request(Misuse),
    /// The answer was not complete in time.
    TimedOut,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "{error}"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::TokenInClear => f.write_str(
                "the token would travel in clear to another machine; use https, or a tunnel",
            ),
            Self::Line(error) => write!(f, "{error}"),
            Self::Http(error) => write!(f, "{error}"),
            Self::Request(error) => write!(f, "the request cannot be sent: {error}"),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for CallError {}

impl From<ConnectError> for CallError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<tls::TlsError> for CallError {
    fn from(error: tls::TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Line(error)
    }
}

impl From<ClientError> for CallError {
    fn from(error: ClientError) -> Self {
        Self::Http(error)
    }
}

impl From<Misuse> for CallError {
    fn from(error: Misuse) -> Self {
        Self::Request(error)
    }
}

#[cfg(test)]
mod tests;
