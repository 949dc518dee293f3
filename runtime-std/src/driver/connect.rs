//! Opens connections, each on a thread of its own: names and connects block.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tautline_core::{ConnId, ConnectError};

use super::{News, Post};
use crate::transport;

/// Threads at a time. A resolver can be slow to give up, also when the
/// connection is not wanted any more.
const CONNECTORS_MAX: usize = 64;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// A connection that was opened.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

pub(super) struct Connectors {
    timeout: Duration,
    post: Post,
    /// Each running thread holds one.
    running: Arc<()>,
}

impl Connectors {
    pub(super) fn new(timeout: Duration, post: Post) -> Self {
        Self {
            timeout,
            post,
            running: Arc::new(()),
        }
    }

    /// Begins to open a connection; the outcome is reported.
    pub(super) fn start(&self, conn: ConnId, host: &str, port: u16) -> Result<(), ConnectError> {
        if Arc::strong_count(&self.running) > CONNECTORS_MAX {
            return Err(ConnectError::Exhausted);
        }
        let running = Arc::clone(&self.running);
        let (host, timeout, post) = (host.to_owned(), self.timeout, self.post.clone());
        let connect = move || {
            let result = open(&host, port, timeout);
            if let Err(why) = &result {
                tracing::debug!(host, port, %why, "no connection");
            }
            drop(running);
            // Without a driver, nobody waits for it.
            let _ = post.send(News::Connect(conn, result));
        };
        let spawned = thread::Builder::new()
            .name("connect".to_owned())
            .spawn(connect);
        spawned.map(drop).map_err(|_| ConnectError::Exhausted)
    }
}

/// Opens a connection: all addresses of the name share `timeout`.
pub(crate) fn open(host: &str, port: u16, timeout: Duration) -> Result<Connection, ConnectError> {
    let deadline = Instant::now() + timeout;
    let addresses = (host, port).to_socket_addrs().map_err(|error| {
        tracing::debug!(host, %error, "the name does not resolve");
        ConnectError::Unresolved
    })?;
    let addresses: Vec<_> = addresses.take(ADDRESSES_MAX).collect();
    let mut why = ConnectError::Unresolved;
    for (tried, address) in addresses.iter().enumerate() {
        // What is left is shared by the addresses that are left, so that one
        // that is dead does not use up the time of all.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err(ConnectError::TimedOut);
        }
        match connect(address, share) {
            Ok(connection) => return Ok(connection),
            Err(error) => why = kind_of(&error),
        }
    }
    Err(why)
}

fn connect(address: &SocketAddr, timeout: Duration) -> io::Result<Connection> {
    let stream = TcpStream::connect_timeout(address, timeout)?;
    // It can be reset by now; the reader finds that out.
    transport::tune(&stream);
    Ok(Connection {
        local: stream.local_addr()?,
        peer: *address,
        stream,
    })
}

fn kind_of(error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ConnectError::TimedOut,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => ConnectError::Unreachable,
        io::ErrorKind::OutOfMemory => ConnectError::Exhausted,
        _ if is_out_of_descriptors(error) => ConnectError::Exhausted,
        _ => ConnectError::Other,
    }
}

#[cfg(unix)]
fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS))
}

#[cfg(not(unix))]
fn is_out_of_descriptors(_: &io::Error) -> bool {
    false
}
