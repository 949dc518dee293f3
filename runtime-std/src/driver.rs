//! Runs an [`Endpoint`] over blocking sockets of std, with a few threads.
//!
//! The thread that calls [`Driver::run`] owns the endpoint and never blocks
//! but to wait for messages. Each connection has a thread that reads and one
//! that writes; names and connects, storage and datagrams have threads of
//! their own. Every queue between them is bounded:
//!
//! - a reader has one buffer, and reads on when the endpoint has taken what was
//!   in it; until then the peer is held back by TCP;
//! - a writer has a tail of bytes, past whose bound the endpoint is told
//!   `Blocked`;
//! - storage that lags stops the endpoint's output until it has caught up.
//!
//! TLS is done by the thread that owns the endpoint. It suits an agent, which
//! has few connections; many belong on an event loop.

pub(crate) mod connect;
mod datagrams;
mod inbound;
mod line;
mod outbound;
mod storage;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::UdpSocket;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tautline_core::{
    Close, CloseReason, ConnId, ConnectError, Endpoint, Input, Instant, Output, StoreError,
    StoreOp, Ticket,
};

use crate::clock::Clock;
use crate::files::{Done, Files, Op};
use crate::tls;

use connect::{Connection, Connectors};
use datagrams::{Arrival, Datagrams};
use line::{Line, LineNews, Verdict};
use storage::{Job, Storage};

/// Outputs that are carried out before messages are looked at again.
const OUTPUTS_PER_TURN: u32 = 64;
const OUTPUT_BUF_BYTES: usize = 16 * 1_024;
const WALL_CLOCK_PERIOD: Duration = Duration::from_secs(60);

/// The bounds of a [`Driver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverLimits {
    /// Connections at a time, those being opened included.
    pub connections_max: usize,
    /// How long it takes at most to resolve and connect, all of a name's
    /// addresses together, and then once more for TLS.
    pub connect_timeout: Duration,
    /// Bytes of one read.
    pub read_bytes: usize,
    /// Bytes that wait to be written before the endpoint is told `Blocked`.
    pub tail_bytes_max: usize,
    /// Bytes that wait to be stored before the endpoint's output stops.
    pub storage_bytes_waiting_max: usize,
    /// Messages of the threads that wait for the endpoint.
    pub messages_waiting_max: usize,
}

impl Default for DriverLimits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            connect_timeout: Duration::from_secs(10),
            read_bytes: 16 * 1_024,
            tail_bytes_max: 64 * 1_024,
            storage_bytes_waiting_max: 4 * 1_024 * 1_024,
            messages_waiting_max: 256,
        }
    }
}

/// What a [`Driver`] works with.
#[derive(Debug)]
pub struct Equipment {
    /// The clock whose instants the endpoint was made with.
    pub clock: Clock,
    /// The endpoint's folder.
    pub files: Files,
    /// Whom TLS connections trust; without it they fail.
    pub tls: Option<tls::ClientConfig>,
    /// Where datagrams come and go, usually a socket for each kind of address;
    /// those that go where none fits are lost.
    pub datagrams: Vec<UdpSocket>,
    /// The bounds.
    pub limits: DriverLimits,
}

/// Runs one endpoint that opens connections. It does not listen.
pub struct Driver<E: Endpoint> {
    endpoint: E,
    clock: Clock,
    /// The endpoint's deadline, as it was told last.
    deadline: Instant,
    limits: DriverLimits,
    tls: Option<tls::ClientConfig>,
    // Dropped before the threads' ends: whoever waits to send is freed.
    inbox: Receiver<Message<E>>,
    sender: SyncSender<Message<E>>,
    lines: HashMap<ConnId, Line>,
    post: Post,
    connectors: Connectors,
    storage: Storage,
    datagrams: Datagrams,
}

impl<E: Endpoint + 'static> Driver<E> {
    /// Equips an endpoint. The threads for storage and datagrams start here.
    ///
    /// # Errors
    /// What the system says if a thread cannot be started.
    pub fn new(endpoint: E, equipment: Equipment) -> io::Result<Self> {
        let limits = equipment.limits;
        let (sender, inbox) = sync_channel(limits.messages_waiting_max);
        let post = Post::new(sender.clone());
        let storage = Storage::start(
            equipment.files,
            limits.storage_bytes_waiting_max,
            post.clone(),
        )?;
        let datagrams = Datagrams::start(equipment.datagrams, &post)?;
        Ok(Self {
            endpoint,
            clock: equipment.clock,
            deadline: Instant::MAX,
            limits,
            tls: equipment.tls,
            inbox,
            sender,
            lines: HashMap::new(),
            connectors: Connectors::new(limits.connect_timeout, post.clone()),
            post,
            storage,
            datagrams,
        })
    }

    /// A way to give the endpoint commands from other threads.
    pub fn commander(&self) -> Commander<E> {
        Commander {
            sender: self.sender.clone(),
        }
    }

    /// The endpoint, before it runs or after.
    pub fn endpoint(&mut self) -> &mut E {
        &mut self.endpoint
    }

    /// Runs the endpoint until `application` breaks.
    ///
    /// It is called with every event, and may give the endpoint commands. It
    /// should not block: nothing else happens meanwhile.
    pub fn run(
        &mut self,
        mut application: impl FnMut(&mut E, Instant, E::Event) -> ControlFlow<()>,
    ) {
        let mut buf = vec![0; OUTPUT_BUF_BYTES];
        let mut wall_clock_due = self.clock.now();
        loop {
            let now = self.clock.now();
            if now >= wall_clock_due {
                self.input(Input::WallClock(self.clock.wall()));
                wall_clock_due = now + WALL_CLOCK_PERIOD;
            }
            let ControlFlow::Continue(wait_until) = self.carry_out_all(&mut buf, &mut application)
            else {
                return;
            };
            let handshakes_due = self.handshakes_due().unwrap_or(Instant::MAX);
            let wait_until = wait_until.min(wall_clock_due).min(handshakes_due);
            if let Ok(message) = self.inbox.recv_timeout(self.clock.until(wait_until)) {
                self.handle_message(message);
            }
            for _ in 0..self.limits.messages_waiting_max {
                match self.inbox.try_recv() {
                    Ok(message) => self.handle_message(message),
                    Err(_) => break,
                }
            }
            // Also when messages never end.
            self.handle_deadlines();
        }
    }

    /// Carries out what the endpoint wants, for one turn; continues with the
    /// moment to wait for, breaks if the application does.
    fn carry_out_all(
        &mut self,
        buf: &mut Vec<u8>,
        application: &mut impl FnMut(&mut E, Instant, E::Event) -> ControlFlow<()>,
    ) -> ControlFlow<(), Instant> {
        for _ in 0..OUTPUTS_PER_TURN {
            if self.storage.is_full() {
                return ControlFlow::Continue(self.deadline);
            }
            match self.endpoint.poll_output(buf) {
                Output::Wait(deadline) => {
                    self.deadline = deadline.map_or(Instant::MAX, |deadline| deadline.at);
                    return ControlFlow::Continue(self.deadline);
                }
                Output::Event(event) => {
                    let now = self.clock.now();
                    application(&mut self.endpoint, now, event)?;
                }
                Output::BufferTooSmall { needed } => buf.resize(needed, 0),
                Output::Connect {
                    conn,
                    host,
                    port,
                    tls,
                } => self.connect(conn, host, port, tls),
                Output::Datagram { to, bytes } => self.datagrams.send(to, bytes),
                Output::Hash {
                    ticket,
                    file,
                    range,
                } => self.storage.push(Job::Op(ticket, Op::Hash { file, range })),
                Output::Store { ticket, op } => self.store(ticket, &op),
                Output::Write { conn, bytes } => self.write(conn, bytes),
                Output::Resume { conn } => self.with_line(conn, Line::resume),
                Output::Close { conn, how } => self.close(conn, how),
                Output::Take {
                    conn,
                    sink,
                    offset,
                    len,
                } => self.with_line(conn, |line, turn| line.take(turn, sink, offset, len)),
                Output::SendFile { conn, file, range } => {
                    self.with_line(conn, |line, turn| line.send_file(turn, file, range));
                }
            }
        }
        ControlFlow::Continue(Instant::ORIGIN)
    }

    fn handle_message(&mut self, message: Message<E>) {
        match message {
            Message::Command(command) => command(&mut self.endpoint, self.clock.now()),
            Message::News(News::Connect(conn, Ok(connection))) => {
                let post = self.post.clone();
                self.with_line(conn, |line, turn| line.connected(turn, connection, &post));
            }
            Message::News(News::Connect(conn, Err(why))) => {
                self.settle(conn, Verdict::NotConnected(why));
            }
            Message::News(News::Line(conn, news)) => {
                self.with_line(conn, |line, turn| line.handle(turn, news));
            }
            Message::News(News::Stored {
                ticket,
                result,
                buffer,
            }) => {
                self.storage.give_back(buffer);
                self.tell_stored(ticket, result);
            }
            Message::News(News::Datagram(arrival)) => {
                self.input(Input::Datagram {
                    from: arrival.from,
                    bytes: arrival.bytes(),
                });
                self.datagrams.give_back(arrival);
            }
        }
    }

    /// Does something with a line that is still there, and ends it if that is
    /// the verdict.
    fn with_line(
        &mut self,
        conn: ConnId,
        act: impl FnOnce(&mut Line, &mut Turn<'_, E>) -> Verdict,
    ) {
        let mut turn = Turn {
            now: self.clock.now(),
            endpoint: &mut self.endpoint,
            storage: &mut self.storage,
        };
        if let Some(line) = self.lines.get_mut(&conn) {
            let verdict = act(line, &mut turn);
            self.settle(conn, verdict);
        }
    }

    fn settle(&mut self, conn: ConnId, verdict: Verdict) {
        let input = match verdict {
            Verdict::GoOn => return,
            Verdict::NotConnected(why) => Input::ConnectFailed { conn, why },
            Verdict::Closed(why) => Input::Closed { conn, why },
        };
        if self.lines.remove(&conn).is_some() {
            self.input(input);
        }
    }

    fn connect(&mut self, conn: ConnId, host: &str, port: u16, tls: bool) {
        match self.open_line(conn, host, port, tls) {
            Ok(line) => {
                self.lines.insert(conn, line);
            }
            Err(why) => self.input(Input::ConnectFailed { conn, why }),
        }
    }

    fn open_line(
        &self,
        conn: ConnId,
        host: &str,
        port: u16,
        tls: bool,
    ) -> Result<Line, ConnectError> {
        if self.lines.len() >= self.limits.connections_max {
            return Err(ConnectError::Exhausted);
        }
        let session = if tls {
            let config = self.tls.as_ref().ok_or(ConnectError::Tls)?;
            let session = tls::Session::client(config, host);
            Some(session.map_err(|_| ConnectError::Tls)?)
        } else {
            None
        };
        self.connectors.start(conn, host, port)?;
        Ok(Line::new(conn, session, self.limits))
    }

    fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(line) = self.lines.get_mut(&conn)
            && line.write(bytes)
        {
            self.input(Input::Blocked { conn });
        }
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        self.with_line(conn, |line, turn| match how {
            Close::Finish => line.finish(turn),
            Close::Abort => {
                line.abort();
                Verdict::Closed(CloseReason::Local)
            }
        });
    }

    fn store(&mut self, ticket: Ticket, op: &StoreOp<'_>) {
        let buffer = self.storage.spare_buffer();
        self.storage.push(Job::Op(ticket, Op::new(op, buffer)));
    }

    fn tell_stored(&mut self, ticket: Ticket, result: Result<Done, StoreError>) {
        match result {
            Ok(Done::Nothing) => self.input(Input::Stored { ticket }),
            Ok(Done::Loaded(bytes)) => {
                self.input(Input::Loaded {
                    ticket,
                    bytes: &bytes,
                });
                self.storage.give_back(bytes);
            }
            Ok(Done::Hashed(digest)) => self.input(Input::Hashed { ticket, digest }),
            Err(why) => self.input(Input::StoreFailed { ticket, why }),
        }
    }

    /// Sees whether the endpoint's deadline has come, or that of a handshake.
    fn handle_deadlines(&mut self) {
        let now = self.clock.now();
        let is_late = |line: &Line| line.handshake_due().is_some_and(|due| due <= now);
        while let Some((conn, _)) = self.lines.iter().find(|(_, line)| is_late(line)) {
            self.settle(*conn, Verdict::NotConnected(ConnectError::TimedOut));
        }
        if self.deadline <= now {
            // The endpoint names the next one when it is polled.
            self.deadline = Instant::MAX;
            self.input(Input::Timeout);
        }
    }

    fn handshakes_due(&self) -> Option<Instant> {
        self.lines.values().filter_map(Line::handshake_due).min()
    }

    fn input(&mut self, input: Input<'_>) {
        self.endpoint.handle_input(self.clock.now(), input);
    }
}

impl<E: Endpoint> fmt::Debug for Driver<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("limits", &self.limits)
            .field("connections", &self.lines.len())
            .finish_non_exhaustive()
    }
}

/// Gives a running endpoint commands, from any thread.
pub struct Commander<E> {
    sender: SyncSender<Message<E>>,
}

impl<E> Commander<E> {
    /// Has `command` called by the thread that runs the endpoint. It waits
    /// while many messages are ahead, so it must not be called by that thread;
    /// there the endpoint itself is at hand.
    ///
    /// # Errors
    /// [`Stopped`] if the driver is gone.
    pub fn command(
        &self,
        command: impl FnOnce(&mut E, Instant) + Send + 'static,
    ) -> Result<(), Stopped> {
        let message = Message::Command(Box::new(command));
        self.sender.send(message).map_err(|_| Stopped)
    }
}

impl<E> Clone for Commander<E> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

impl<E> fmt::Debug for Commander<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commander").finish_non_exhaustive()
    }
}

/// The driver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the driver is gone")
    }
}

impl std::error::Error for Stopped {}

/// What a line needs at hand while it does something.
struct Turn<'a, E> {
    now: Instant,
    endpoint: &'a mut E,
    storage: &'a mut Storage,
}

impl<E: Endpoint> Turn<'_, E> {
    fn input(&mut self, input: Input<'_>) -> usize {
        self.endpoint.handle_input(self.now, input)
    }
}

type Command<E> = Box<dyn FnOnce(&mut E, Instant) + Send>;

enum Message<E> {
    Command(Command<E>),
    News(News),
}

/// What the threads report.
enum News {
    Connect(ConnId, Result<Connection, ConnectError>),
    Line(ConnId, LineNews),
    Stored {
        ticket: Ticket,
        result: Result<Done, StoreError>,
        /// The operation's buffer, for another one.
        buffer: Vec<u8>,
    },
    Datagram(Arrival),
}

/// Where the threads report to.
#[derive(Clone)]
struct Post(Arc<dyn Fn(News) -> Result<(), Stopped> + Send + Sync>);

impl Post {
    fn new<E: 'static>(sender: SyncSender<Message<E>>) -> Self {
        let send = move |news| sender.send(Message::News(news)).map_err(|_| Stopped);
        Self(Arc::new(send))
    }

    /// Reports, after waiting for room; an error ends the thread.
    fn send(&self, news: News) -> Result<(), Stopped> {
        (self.0)(news)
    }
}

#[cfg(test)]
mod tests;
