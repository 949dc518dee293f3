//! Outgoing connections: names resolved on a helper thread, addresses tried in
//! their order, nothing that blocks the loop.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::vec;

use mio::net::TcpStream;
use mio::{Interest, Waker};
use tautline_core::{CloseReason, ConnId, ConnectError, Endpoint, Input, Instant};
use tautline_std::transport;

use super::Driver;
use super::session::{Fault, Session};
use super::table::{Connection, Flags, Phase, token_of};
use crate::storage::mailbox::{Owner, Worker, mailbox};

/// Names that may wait to be resolved.
const QUERIES_MAX: usize = 1_024;

/// What is left to try for one connection.
pub(super) struct Attempt {
    host: Box<str>,
    tls: bool,
    addresses: vec::IntoIter<SocketAddr>,
    last: ConnectError,
}

/// A name to resolve for a connection.
pub(super) struct Query {
    conn: ConnId,
    host: Box<str>,
    port: u16,
}

/// What a name resolved to; nothing if it has no address.
pub(super) struct Answer {
    pub(super) conn: ConnId,
    pub(super) addresses: Vec<SocketAddr>,
}

/// The helper thread's mailbox, once there was a name.
pub(super) type Resolver = Owner<Query, Answer, Arc<Waker>>;

impl<E: Endpoint> Driver<E> {
    /// Opens a connection; the outcome comes as `Connected` or `ConnectFailed`.
    pub(super) fn connect(&mut self, now: Instant, conn: ConnId, host: &str, port: u16, tls: bool) {
        let mut connection = Connection::new(conn, None, Phase::Connecting);
        connection.set(Flags::OUTGOING);
        if !self.table.insert(connection) {
            return;
        }
        let address = host.parse::<IpAddr>().ok();
        let known: Vec<_> = address
            .map(|ip| SocketAddr::new(ip, port))
            .into_iter()
            .collect();
        if let Some((_, busy)) = self.table.busy_mut(conn) {
            busy.attempt = Some(Box::new(Attempt {
                host: host.into(),
                tls,
                addresses: known.into_iter(),
                last: ConnectError::Unresolved,
            }));
        }
        if address.is_some() {
            self.try_next(now, conn);
        } else if !self.resolve(conn, host, port) {
            self.connect_failed(now, conn, ConnectError::Exhausted);
        }
    }

    /// The helper thread has resolved a name.
    pub(super) fn resolved(&mut self, now: Instant, answer: Answer) {
        if let Some((_, busy)) = self.table.busy_mut(answer.conn)
            && let Some(attempt) = busy.attempt.as_mut()
        {
            attempt.addresses = answer.addresses.into_iter();
            self.try_next(now, answer.conn);
        }
    }

    /// The socket of a connection that is being opened became ready.
    pub(super) fn advance_connect(
        &mut self,
        now: Instant,
        conn: ConnId,
    ) -> Result<(), CloseReason> {
        let Some((connection, busy)) = self.table.busy_mut(conn) else {
            return Ok(());
        };
        let Some(socket) = connection.socket.as_ref() else {
            return Ok(());
        };
        let outcome = match socket.take_error() {
            Ok(None) => socket.peer_addr(),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match outcome {
            Ok(_) => {
                connection.clear(Flags::FAULTY);
                self.line_opened(now, conn)
            }
            Err(error) if is_pending(&error) => Ok(()),
            Err(error) => {
                if let Some(attempt) = busy.attempt.as_mut() {
                    attempt.last = connect_error(&error);
                }
                self.try_next(now, conn);
                Ok(())
            }
        }
    }

    /// Tells the endpoint that an outgoing connection is open, TLS included.
    pub(super) fn connected(&mut self, now: Instant, conn: ConnId) -> Result<(), CloseReason> {
        let Some((connection, busy)) = self.table.busy_mut(conn) else {
            return Ok(());
        };
        busy.attempt = None;
        connection.phase = Phase::Open;
        let Some(socket) = connection.socket.as_ref() else {
            return Ok(());
        };
        let ends = socket
            .local_addr()
            .and_then(|local| Ok((local, socket.peer_addr()?)));
        let (local, peer) = ends.map_err(|error| super::close_reason(&error))?;
        self.statistics.connected += 1;
        self.feed(now, Input::Connected { conn, local, peer });
        Ok(())
    }

    /// Ends an attempt; the handle ends with it.
    pub(super) fn connect_failed(&mut self, now: Instant, conn: ConnId, why: ConnectError) {
        if self.table.remove(conn, &mut self.pool).is_some() {
            self.statistics.connect_failed += 1;
            self.listeners.resume();
            self.feed(now, Input::ConnectFailed { conn, why });
        }
    }

    fn try_next(&mut self, now: Instant, conn: ConnId) {
        let Some((connection, busy)) = self.table.busy_mut(conn) else {
            return;
        };
        let Some(attempt) = busy.attempt.as_mut() else {
            return;
        };
        connection.socket = None;
        for address in attempt.addresses.by_ref() {
            let opened = TcpStream::connect(address).and_then(|mut socket| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll
                    .registry()
                    .register(&mut socket, token_of(conn), interest)?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => {
                    connection.socket = Some(socket);
                    return;
                }
                Err(error) => attempt.last = connect_error(&error),
            }
        }
        let why = attempt.last;
        self.connect_failed(now, conn, why);
    }

    fn line_opened(&mut self, now: Instant, conn: ConnId) -> Result<(), CloseReason> {
        let Some((connection, busy)) = self.table.busy_mut(conn) else {
            return Ok(());
        };
        if let Some(socket) = connection.socket.as_ref() {
            transport::tune(socket);
        }
        let Some(attempt) = busy.attempt.as_ref().filter(|attempt| attempt.tls) else {
            return self.connected(now, conn);
        };
        let session = match &self.connect_tls {
            Some(config) => Session::client(config, &attempt.host),
            None => Err(Fault::Tls),
        };
        match session {
            Ok(session) => {
                connection.tls = Some(Box::new(session));
                connection.phase = Phase::Handshake;
                self.advance_handshake(now, conn)
            }
            Err(_) => Err(CloseReason::Tls),
        }
    }

    fn resolve(&mut self, conn: ConnId, host: &str, port: u16) -> bool {
        if self.resolver.is_none() {
            self.resolver = start(Arc::clone(&self.waker)).ok();
        }
        let query = Query {
            conn,
            host: host.into(),
            port,
        };
        self.resolver
            .as_ref()
            .is_some_and(|resolver| resolver.submit(query).is_ok())
    }
}

/// What the endpoint learns of a connection that could not be opened.
pub(super) fn why_not(why: CloseReason) -> ConnectError {
    match why {
        CloseReason::Tls => ConnectError::Tls,
        _ => ConnectError::Other,
    }
}

fn start(waker: Arc<Waker>) -> io::Result<Resolver> {
    let (owner, worker) = mailbox(QUERIES_MAX, waker);
    thread::Builder::new()
        .name("resolver".into())
        .spawn(move || resolve_all(&worker))?;
    Ok(owner)
}

fn resolve_all(worker: &Worker<Query, Answer, Arc<Waker>>) {
    while let Some(Query { conn, host, port }) = worker.next() {
        let addresses = (&*host, port)
            .to_socket_addrs()
            .map(Iterator::collect)
            .unwrap_or_default();
        worker.complete(Answer { conn, addresses });
    }
}

fn is_pending(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotConnected | ErrorKind::WouldBlock
    ) || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

fn connect_error(error: &io::Error) -> ConnectError {
    if super::is_exhausted(error) {
        return ConnectError::Exhausted;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => ConnectError::Refused,
        ErrorKind::TimedOut => ConnectError::TimedOut,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => ConnectError::Unreachable,
        _ => ConnectError::Other,
    }
}
