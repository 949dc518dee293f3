//! Listeners: accepting in bounded numbers, and pausing when there is no room.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};
use tautline_core::{AcceptError, CloseReason, ConnId, Endpoint, Input, Instant};
use tautline_std::transport;

use super::Driver;
use super::table::{Connection, Phase, token_of};

/// A pause ends when a connection closes, or after this time: descriptors may
/// also come back from elsewhere.
const PAUSE: Duration = Duration::from_secs(1);

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 4_096;

/// The listening sockets.
#[derive(Default)]
pub(super) struct Listeners {
    sockets: Vec<Listener>,
    paused_until: Option<Instant>,
}

struct Listener {
    socket: TcpListener,
    ready: bool,
}

impl Listeners {
    /// Binds the addresses; listener `n` gets the token `token(n)`.
    pub(super) fn bind(
        addresses: &[SocketAddr],
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let mut listeners = Self::default();
        for (number, &address) in addresses.iter().enumerate() {
            let socket = listen(address)
                .and_then(|mut socket| {
                    registry.register(&mut socket, token(number), Interest::READABLE)?;
                    Ok(socket)
                })
                .map_err(|error| (address, error))?;
            listeners.sockets.push(Listener {
                socket,
                ready: true,
            });
        }
        Ok(listeners)
    }

    pub(super) fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets
            .iter()
            .filter_map(|listener| listener.socket.local_addr().ok())
    }

    pub(super) fn set_ready(&mut self, number: usize) {
        if let Some(listener) = self.sockets.get_mut(number) {
            listener.ready = true;
        }
    }

    /// Ends a pause: a connection closed.
    pub(super) fn resume(&mut self) {
        self.paused_until = None;
    }

    /// Closes all of them.
    pub(super) fn close(&mut self) {
        self.sockets.clear();
    }

    /// Whether a connection may wait now.
    pub(super) fn is_ready(&self) -> bool {
        self.paused_until.is_none() && self.waits()
    }

    /// When a pause ends by itself, if a connection may wait for that.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.waits())
    }

    fn waits(&self) -> bool {
        self.sockets.iter().any(|listener| listener.ready)
    }
}

impl<E: Endpoint> Driver<E> {
    /// Accepts what waits, at most the turn's share.
    pub(super) fn accept_some(&mut self, now: Instant) {
        if self
            .listeners
            .paused_until
            .is_some_and(|until| now >= until)
        {
            self.listeners.resume();
        }
        for number in 0..self.listeners.sockets.len() {
            let mut share = self.limits.accepts_per_turn;
            while share > 0 && self.accept_one(now, number) {
                share -= 1;
            }
        }
    }

    /// Accepts one connection; `false` when the listener has none to give, or
    /// there is no room.
    fn accept_one(&mut self, now: Instant, number: usize) -> bool {
        let Some(listener) = self.listeners.sockets.get_mut(number) else {
            return false;
        };
        if !listener.ready || self.listeners.paused_until.is_some() {
            return false;
        }
        if !self.endpoint.has_room() {
            self.statistics.accept_pauses_full += 1;
            self.listeners.paused_until = Some(now + PAUSE);
            return false;
        }
        match listener.socket.accept() {
            Ok((socket, peer)) => self.admit(now, socket, peer),
            Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
            Err(error) if super::is_exhausted(&error) => {
                self.statistics.accept_pauses_exhausted += 1;
                self.listeners.paused_until = Some(now + PAUSE);
            }
            // The connection failed before it was accepted; the next may not.
            Err(error) if is_of_one_connection(&error) => {}
            // The listener itself, maybe for ever: it must not keep the loop busy.
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted");
                self.statistics.accept_pauses_failed += 1;
                self.listeners.paused_until = Some(now + PAUSE);
            }
        }
        true
    }

    fn admit(&mut self, now: Instant, socket: TcpStream, peer: SocketAddr) {
        let Ok(local) = socket.local_addr() else {
            self.statistics.refused.socket += 1;
            return;
        };
        match self.endpoint.accept(now, peer, local) {
            Ok(conn) => self.adopt(now, conn, socket),
            Err(AcceptError::Full) => {
                self.statistics.refused.full += 1;
                self.statistics.accept_pauses_full += 1;
                self.listeners.paused_until = Some(now + PAUSE);
            }
            Err(_) => self.statistics.refused.draining += 1,
        }
        self.settled = false;
    }

    fn adopt(&mut self, now: Instant, conn: ConnId, mut socket: TcpStream) {
        transport::tune(&socket);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(&mut socket, token_of(conn), interest);
        let connection = Connection::new(conn, Some(socket), Phase::Opening);
        if registered.is_ok() && self.table.insert(connection) {
            self.statistics.accepted += 1;
        } else {
            self.statistics.refused.socket += 1;
            let why = CloseReason::Failed;
            self.feed(now, Input::Closed { conn, why });
        }
    }
}

/// Whether the error is that of the connection that was to be accepted, see
/// accept(2).
fn is_of_one_connection(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
    ]
    .iter()
    .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // 0.0.0.0 and [::] may stand side by side in a configuration.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::Shutdown;

    use socket2::SockRef;
    use tautline_core::Output;
    use tautline_std::clock::Clock;
    use tautline_std::files::{Files, FilesLimits};

    use super::*;
    use crate::driver::Config;

    struct Idle;

    impl Endpoint for Idle {
        type Event = ();

        fn handle_input(&mut self, _: Instant, _: Input<'_>) -> usize {
            0
        }

        fn poll_output<'b>(&mut self, _: &'b mut [u8]) -> Output<'b, ()> {
            Output::Wait(None)
        }

        fn accept(
            &mut self,
            _: Instant,
            _: SocketAddr,
            _: SocketAddr,
        ) -> Result<ConnId, AcceptError> {
            Err(AcceptError::Full)
        }
    }

    #[test]
    fn a_listener_that_fails_pauses_and_does_not_keep_the_loop_busy() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path(), FilesLimits::default()).unwrap();
        let config = Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            ..Config::default()
        };
        let mut driver = Driver::new(Idle, Clock::start(), files, config).unwrap();
        // From then on accept(2) says EINVAL.
        let listener = &driver.listeners.sockets[0].socket;
        SockRef::from(listener).shutdown(Shutdown::Read).unwrap();
        let now = driver.clock.now();
        driver.accept_some(now);
        assert_eq!(driver.statistics().accept_pauses_failed, 1);
        assert!(!driver.listeners.is_ready());
        assert_eq!(driver.listeners.deadline(), Some(now + PAUSE));
        driver.accept_some(now);
        assert_eq!(driver.statistics().accept_pauses_failed, 1);
        driver.accept_some(now + PAUSE);
        assert_eq!(driver.statistics().accept_pauses_failed, 2);
    }

    #[test]
    fn a_connection_that_failed_in_the_backlog_is_no_fault_of_the_listener() {
        let error = |errno: rustix::io::Errno| io::Error::from(errno);
        assert!(is_of_one_connection(&error(rustix::io::Errno::CONNABORTED)));
        assert!(!is_of_one_connection(&error(rustix::io::Errno::INVAL)));
    }
}
