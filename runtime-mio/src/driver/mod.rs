//! The event loop: an endpoint of `tautline-core` over real sockets.

mod accept;
mod config;
mod connect;
mod datagrams;
mod effects;

mod read;
mod serve;
mod session;
mod statistics;
mod table;
mod transfer;
mod write;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Registry, Token, Waker};
use tautline_core::collections::Pool;
use tautline_core::{CloseReason, ConnId, Endpoint, Input, Instant, Network};
use tautline_std::clock::Clock;
use tautline_std::files::Files;
use tautline_std::tls::{ClientConfig, ServerConfig};

use crate::storage::{Completion, Storage};
use accept::Listeners;
use connect::{Resolver, why_not};
use datagrams::Datagrams;
use table::{Flags, Phase, Table, id_of};

pub use config::{Config, Limits, StartError};
pub use statistics::{DatagramsDropped, Refused, Statistics};

/// Special tokens are counted down from here; a connection's token never
/// reaches them, as no index does.
const TOKENS: usize = usize::MAX;
const WAKER: Token = Token(TOKENS);
const LISTENERS: usize = TOKENS - 1_000;
const DATAGRAMS: usize = TOKENS - 2_000;
const APPLICATION: usize = TOKENS - 3_000;
const SPECIAL: usize = TOKENS - 4_000;

/// Events of one sleep.
const EVENTS: usize = 1_024;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a token holds a whole handle of 64 bits");

/// The application's side of a driver.
pub trait Application<E: Endpoint> {
    /// The endpoint has an event. Commands may be given at once.
    fn event(&mut self, now: Instant, endpoint: &mut E, event: E::Event);

    /// A source that the application registered became ready; see
    /// [`Driver::register`].
    fn ready(&mut self, source: usize) {
        let _ = source;
    }
}

/// Runs an endpoint over real sockets, in one thread.
///
/// All work of a [`turn`](Self::turn) is bounded, so that no connection, no
/// fan-out and no flood of new connections keeps the others waiting.
pub struct Driver<E: Endpoint> {
    endpoint: E,
    clock: Clock,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    limits: Limits,
    accept_tls: Option<ServerConfig>,
    connect_tls: Option<ClientConfig>,
    proxies: Vec<Network>,
    listeners: Listeners,
    datagrams: Datagrams,
    table: Table,
    /// Connections that can go on without another event.
    ready: VecDeque<ConnId>,
    pool: Pool,
    storage: Storage,
    resolver: Option<Resolver>,
    buffer: Vec<u8>,
    output_buffer: Vec<u8>,
    deadline: Option<Instant>,
    /// The endpoint has said that it waits, and was told nothing since.
    settled: bool,
    wall_told_at: Option<Instant>,
    statistics: Statistics,
}

impl<E: Endpoint> Driver<E> {
    /// Binds what the configuration names and starts the storage thread.
    ///
    /// # Errors
    /// [`StartError`] with the address and the system's reason.
    pub fn new(
        endpoint: E,
        clock: Clock,
        files: Files,
        config: Config,
    ) -> Result<Self, StartError> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let listeners = Listeners::bind(&config.listen, poll.registry(), |number| {
            Token(LISTENERS - number)
        })
        .map_err(|(address, error)| StartError::Listen(address, error))?;
        let datagrams = Datagrams::bind(&config.datagrams, poll.registry(), |number| {
            Token(DATAGRAMS - number)
        })
        .map_err(|(address, error)| StartError::Datagrams(address, error))?;
        let limits = config.limits;
        let buffer_bytes = limits.output_bytes.max(limits.read_bytes_max);
        Ok(Self {
            endpoint,
            clock,
            poll,
            events: Events::with_capacity(EVENTS),
            storage: Storage::start(files, config.storage, Arc::clone(&waker))?,
            waker,
            accept_tls: config.accept_tls,
            connect_tls: config.connect_tls,
            proxies: config.proxies,
            listeners,
            datagrams,
            table: Table::default(),
            ready: VecDeque::new(),
            pool: Pool::new(limits.buffers_max, buffer_bytes),
            resolver: None,
            buffer: vec![0; buffer_bytes.max(DATAGRAM_BYTES_MAX)],
            output_buffer: vec![0; limits.output_bytes.max(tautline_core::OUTPUT_BUF_MIN)],
            limits,
            deadline: None,
            settled: false,
            wall_told_at: None,
            statistics: Statistics::default(),
        })
    }

    /// Sleeps until there is something to do, at most `sleep_max`, and does a
    /// bounded piece of it.
    ///
    /// # Errors
    /// The system's poll failed, which leaves nothing to go on with.
    pub fn turn(
        &mut self,
        application: &mut impl Application<E>,
        sleep_max: Option<Duration>,
    ) -> io::Result<()> {
        self.sleep(sleep_max)?;
        self.statistics.turns += 1;
        let now = self.clock.now();
        self.note_events(application);
        self.tell_wall_clock(now);
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.feed(now, Input::Timeout);
        }
        self.take_completions(now);
        self.accept_some(now);
        let mut buffer = std::mem::take(&mut self.buffer);
        self.receive_datagrams(now, &mut buffer);
        self.serve_ready(now, &mut buffer);
        self.buffer = buffer;
        self.carry_out(application);
        Ok(())
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &E {
        &self.endpoint
    }

    /// Gives the endpoint a command; what follows from it is done in the next
    /// turns.
    pub fn command<R>(&mut self, command: impl FnOnce(&mut E, Instant) -> R) -> R {
        self.settled = false;
        command(&mut self.endpoint, self.clock.now())
    }

    /// What was counted.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            connections: self.table.len() as u64,
            ..self.statistics
        }
    }

    /// The TCP addresses that are listened on.
    pub fn listen_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.local_addrs()
    }

    /// The UDP addresses that are bound.
    pub fn datagram_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.datagrams.local_addrs()
    }

    /// Closes the listening sockets; open connections stay.
    pub fn stop_listening(&mut self) {
        self.listeners.close();
    }

    /// Whether every storage effect so far is done.
    pub fn is_storage_idle(&self) -> bool {
        self.storage.is_idle()
    }

    /// Whether the endpoint waits and has nothing more to put out.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// New TLS connections are served with this from now on.
    pub fn set_accept_tls(&mut self, config: Option<ServerConfig>) {
        self.accept_tls = config;
    }

    /// PROXY protocol headers are believed from these from now on.
    pub fn set_proxies(&mut self, proxies: Vec<Network>) {
        self.proxies = proxies;
    }

    /// Registers a source of the application's own, such as signals, by a
    /// number below 1,000. Its readiness comes by [`Application::ready`].
    ///
    /// # Errors
    /// The system does not take it.
    pub fn register(
        &self,
        register: impl FnOnce(&Registry, Token) -> io::Result<()>,
        source: usize,
    ) -> io::Result<()> {
        register(self.poll.registry(), Token(APPLICATION - source.min(999)))
    }

    /// At the start, and now and then: it may be set.
    fn tell_wall_clock(&mut self, now: Instant) {
        let due = |told: Instant| now.saturating_since(told) >= WALL_CLOCK_PERIOD;
        if self.wall_told_at.is_none_or(due) {
            self.wall_told_at = Some(now);
            self.feed(now, Input::WallClock(self.clock.wall()));
        }
    }

    fn sleep(&mut self, sleep_max: Option<Duration>) -> io::Result<()> {
        let before = self.clock.now();
        let timeout = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            let deadlines = [self.deadline, self.listeners.deadline()];
            let until = deadlines.into_iter().flatten().min();
            let until = until.map(|at| round_up(at.saturating_since(before)));
            [until, sleep_max].into_iter().flatten().min()
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => self.events.clear(),
            other => other?,
        }
        self.statistics.idle += self.clock.now().saturating_since(before);
        Ok(())
    }

    fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || (!self.settled && self.storage.has_room())
            || self.listeners.is_ready()
            || self.datagrams.is_readable()
    }

    fn note_events(&mut self, application: &mut impl Application<E>) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                WAKER => {}
                Token(token) if token <= SPECIAL => self.note_connection(event),
                Token(token) if token <= APPLICATION => application.ready(APPLICATION - token),
                Token(token) if token <= DATAGRAMS => self.datagrams.set_ready(
                    DATAGRAMS - token,
                    event.is_readable() || event.is_error(),
                    event.is_writable(),
                ),
                Token(token) => self.listeners.set_ready(LISTENERS - token),
            }
        }
        self.events = events;
    }

    fn note_connection(&mut self, event: &Event) {
        let conn = id_of(event.token());
        let Some(connection) = self.table.get_mut(conn) else {
            return;
        };
        if event.is_readable() || event.is_read_closed() {
            connection.set(Flags::READABLE);
        }
        if event.is_writable() || event.is_write_closed() {
            connection.set(Flags::WRITABLE);
        }
        if event.is_read_closed() {
            connection.set(Flags::READ_CLOSED);
        }
        if event.is_error() {
            connection.set(Flags::FAULTY);
        }
        self.enqueue(conn);
    }

    fn take_completions(&mut self, now: Instant) {
        self.storage.collect();
        let mut last = None;
        while let Some(completion) = self.storage.next() {
            match completion {
                Completion::Effect {
                    ticket, outcome, ..
                } => {
                    self.tell_outcome(now, ticket, outcome);
                    last = Some(ticket);
                }
                Completion::Lent { conn, id, file } => self.lent(now, conn, id, file),
            }
        }
        if let Some(ticket) = last {
            self.feed(now, Input::Stored { ticket });
        }
        let mut answers = VecDeque::new();
        if let Some(resolver) = &self.resolver {
            resolver.drain(&mut answers);
        }
        for answer in answers {
            self.resolved(now, answer);
        }
    }

    /// Puts the connection on the ready list, once.
    fn enqueue(&mut self, conn: ConnId) {
        if let Some(connection) = self.table.get_mut(conn)
            && connection.raise(Flags::QUEUED)
        {
            self.ready.push_back(conn);
        }
    }

    /// Tells the endpoint a fact; the next outputs are polled anew.
    fn feed(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.settled = false;
        self.endpoint.handle_input(now, input)
    }

    /// The connection is gone: frees what it had, and tells the endpoint.
    fn close(&mut self, now: Instant, conn: ConnId, why: CloseReason) {
        let Some(connection) = self.table.get(conn) else {
            return;
        };
        if why == CloseReason::Tls {
            self.statistics.tls_failed += 1;
        }
        let is_attempt = connection.has(Flags::OUTGOING) && connection.phase != Phase::Open;
        if is_attempt && why != CloseReason::Local {
            self.connect_failed(now, conn, why_not(why));
        } else if self.table.remove(conn, &mut self.pool).is_some() {
            self.statistics.closed += 1;
            self.listeners.resume();
            self.feed(now, Input::Closed { conn, why });
        }
    }
}

/// How often the endpoint is told the wall clock, if the loop turns at all.
const WALL_CLOCK_PERIOD: Duration = Duration::from_secs(60);

/// The longest payload that a datagram can have, in bytes.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// The span in whole milliseconds, as the system's poll counts, never less: or
/// the loop would spin through the last one.
fn round_up(span: Duration) -> Duration {
    let millis = span.as_micros().div_ceil(1_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// How a connection went that ended with this error.
fn close_reason(error: &io::Error) -> CloseReason {
    match error.kind() {
        ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::ConnectionAborted
        | ErrorKind::NotConnected
        | ErrorKind::TimedOut
        | ErrorKind::UnexpectedEof => CloseReason::Reset,
        _ => CloseReason::Failed,
    }
}

/// Whether the system is out of descriptors or memory.
fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
