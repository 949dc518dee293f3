//! The client: the endpoint that keeps a line to its relay.
//!
//! A [`Client`] loads its identity, registers, opens its persistent connection
//! when the relay grants one, hands notifications to the application and
//! brings the replies back. Requests travel over one HTTP connection that is
//! closed when nothing is left to ask; notifications come over the persistent
//! connection, or out of the inbox.
//!
//! Where to look: the door in and the door out in `drive.rs`, how connections
//! come and go in `conns.rs`, what is asked of the relay in `asking.rs` and
//! what follows from the answers in `answers.rs`, the registration in
//! `registering.rs`, the persistent connection in `line.rs` (what goes out) and
//! `frames.rs` (what comes in), datagrams in `datagrams.rs`, those that are
//! passed on to the subnet in `serving.rs`, heartbeats in `watch.rs`, the file that holds the identity in
//! `identity.rs`.

mod answers;
mod asking;
mod conns;
mod datagrams;
mod drive;
mod event;
mod frames;
#[cfg(any(test, feature = "_test"))]
pub mod fuzz;
mod identity;
mod line;
mod registering;
mod serving;
mod settings;
mod stats;
mod watch;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::IpAddr;
use core::time::Duration;

pub use event::{Arrival, Event, Failure};
pub use settings::{HeartbeatSettings, Limits, RelayAddress, Settings};
pub use stats::Stats;
pub use watch::Heartbeats;

use crate::collections::{Pool, Slab};
use crate::notify::{Handle, Mailbox, ReplyMisuse};
use crate::pcc::Pcc;
use crate::rate::Bucket;
use crate::registration::body::Hex;
use crate::registration::{Registrar, Selector};
use crate::wire::message::ByeReason;
use crate::wire::proof::SessionKey;
use crate::{ClientId, Close, Incarnation, Instant, Key, NotificationId, Random, http};
use asking::Asking;
use datagrams::Inbound;
use identity::Keeper;
use line::Line;
use registering::Admitted;
use watch::Watch;

/// Connections at a time: one to ask on, the persistent one, and those of
/// both that are on their way out.
const CONNECTIONS_MAX: u32 = 8;

/// How far the moments at which the inbox is asked are moved at random, to both
/// sides, in percent of their interval.
const POLL_SPREAD_PERCENT: u32 = 10;

/// Datagrams are passed on in bursts of a second's, divided by this.
const SERVE_BURSTS: u32 = 10;

/// The sans-IO client. [The crate's front page](crate) shows how to drive it.
pub struct Client {
    settings: Settings,
    limits: Limits,
    http: Arc<http::Settings>,
    keeper: Keeper,
    registrar: Registrar,
    selector: Selector,
    pcc: Pcc,
    mailbox: Mailbox,
    /// Which start of the client this is.
    instance: Hex<8>,
    session: Option<Session>,
    /// What the session's registration said holds no more, or its persistent
    /// connection was lost.
    stale: bool,
    asking: Asking,
    /// The number of a registration is on its way to the disk.
    numbering: bool,
    admitted: Option<Admitted>,
    conns: Slab<Conn>,
    control: Option<Key>,
    /// The persistent connection, or the attempt to open the first.
    line: Option<Key>,
    /// The attempt to open another one beside it, to take its place.
    renewal: Option<Key>,
    /// When a client returns that lost its relay, as the relay said.
    return_window: Option<Duration>,
    inbound: Inbound,
    serve_rate: Bucket,
    /// When the next datagram may be passed on, if one waits.
    serve_at: Option<Instant>,
    /// Whether the relay is there.
    watch: Watch,
    stats: Stats,
    /// This client's own: a fleet that heard the same at once does not ask its
    /// inbox at once.
    poll_interval: Duration,
    /// When something was last heard from the relay that could be a
    /// notification.
    heard_at: Instant,
    events: VecDeque<Event>,
    pool: Pool,
    now: Instant,
    time_went_back: u64,
    stale_inputs: u64,
    /// Something was done since the machines were last asked.
    stirred: bool,
    stopping: bool,
    /// `Stopped` was told.
    stopped: bool,
}

/// What a registration left behind.
#[derive(Debug)]
struct Session {
    client: ClientId,
    /// Whom it was agreed with, by its place in the list.
    relay: usize,
    key: SessionKey,
    incarnation: Incarnation,
    counter: u64,
}

/// A connection of the client.
struct Conn {
    stage: Stage,
    /// Whom it leads to, by its place in the list.
    relay: usize,
    /// The address of this end, once it is open.
    local: Option<IpAddr>,
    blocked: bool,
    resume: bool,
    deadline: Option<Instant>,
}

enum Stage {
    /// The driver is to be told to open it.
    Wanted,
    /// It is being opened.
    Opening,
    /// It speaks HTTP.
    Http(Box<http::Client>),
    /// It carries frames.
    Line(Line),
    /// The driver is to be told to end it.
    Ending(Close),
    /// Ended in order; aborted at the deadline.
    Lingering,
    /// Only `Closed` is waited for.
    Ended,
}

impl Client {
    /// A client that runs on `seed`, 32 random bytes. It begins to work with
    /// the first input.
    pub fn new(settings: Settings, limits: Limits, seed: [u8; 32]) -> Self {
        let limits = limits.sound();
        let mut random = Random::from_seed(seed);
        let instance = random.bytes();
        let mut fork = || Random::from_seed(random.bytes());
        let registrar = Registrar::new(settings.registrar.clone(), fork());
        let selector = Selector::new(settings.selector.clone(), settings.relays.len(), fork());
        let mailbox = Mailbox::new(limits.mailbox.clone(), fork());
        Self {
            http: Arc::new(http::Settings::new(
                limits.http.clone(),
                settings.http.clone(),
            )),
            keeper: Keeper::new(),
            registrar,
            selector,
            pcc: Pcc::new(settings.pcc.clone()),
            mailbox,
            instance: Hex(instance),
            session: None,
            stale: false,
            asking: Asking::default(),
            numbering: false,
            admitted: None,
            conns: Slab::new(CONNECTIONS_MAX),
            control: None,
            line: None,
            renewal: None,
            return_window: None,
            inbound: Inbound::default(),
            serve_rate: Bucket::new(
                settings.datagrams_per_second_max,
                settings.datagrams_per_second_max.div_ceil(SERVE_BURSTS),
            ),
            serve_at: None,
            watch: Watch::new(settings.heartbeat),
            stats: Stats::default(),
            poll_interval: random.around(settings.poll_interval, POLL_SPREAD_PERCENT),
            heard_at: Instant::ORIGIN,
            events: VecDeque::with_capacity(limits.events_max),
            pool: Pool::new(limits.buffers_max, limits.buffer_bytes_max),
            now: Instant::ORIGIN,
            time_went_back: 0,
            stale_inputs: 0,
            stirred: false,
            stopping: false,
            stopped: false,
            settings,
            limits,
        }
    }

    /// The client's identity, once a relay has given one.
    pub fn id(&self) -> Option<ClientId> {
        self.keeper.identity().map(|(id, _)| id)
    }

    /// Whether the persistent connection is open.
    pub fn is_connected(&self) -> bool {
        self.pcc.state().is_open()
    }

    /// A notification that the application has to handle: its number and
    /// payload.
    pub fn notification(&self, notification: Handle) -> Option<(NotificationId, &[u8])> {
        self.mailbox.get(notification)
    }

    /// Replies to a notification. The reply leaves within the window that the
    /// relay stated, and is sent until the relay took it or the notification's
    /// lifetime is over.
    ///
    /// # Errors
    /// [`ReplyMisuse`]; nothing is changed then.
    pub fn reply(
        &mut self,
        now: Instant,
        notification: Handle,
        payload: &[u8],
    ) -> Result<(), ReplyMisuse> {
        self.advance(now);
        self.mailbox.reply(self.now, notification, payload)
    }

    /// The application has no reply to a notification.
    pub fn dismiss(&mut self, now: Instant, notification: Handle) {
        self.advance(now);
        self.mailbox.dismiss(notification);
    }

    /// The relay in use, by its place in the list of the settings.
    pub const fn relay(&self) -> usize {
        self.selector.home()
    }

    /// Tries the relays that stand before the one in use, at once; nothing
    /// stands before the first. If none of them takes the client's
    /// registration, all is as it was.
    pub fn select(&mut self, now: Instant) {
        self.advance(now);
        if self.keeper.is_loaded() && !self.stopping {
            self.selector.handle_reselect(self.now);
        }
    }

    /// The machine's addresses changed: registers anew at once, with the best
    /// relay that takes it.
    pub fn handle_addresses(
        &mut self,
        now: Instant,
        interfaces: &[crate::registration::Interface],
    ) {
        self.advance(now);
        if self.settings.interfaces.as_slice() != interfaces {
            self.settings.interfaces = interfaces.to_vec();
            self.stale = true;
            if self.keeper.is_loaded() && !self.stopping {
                self.selector.handle_reselect(self.now);
                self.registrar.handle_start(self.now);
            }
        }
    }

    /// Says goodbye and ends the connections; [`Event::Stopped`] tells that
    /// the last one is gone.
    pub fn stop(&mut self, now: Instant) {
        self.advance(now);
        if core::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.registrar.handle_stop();
        self.pcc.handle_denied();
        self.asking.forget();
        // What waits for the disk leads nowhere any more.
        self.numbering = false;
        self.admitted = None;
        self.session = None;
        self.serve_at = None;
        self.inbound = Inbound::default();
        self.leave_line(ByeReason::ShuttingDown);
        if let Some(control) = self.control {
            self.end(control, Close::Abort);
        }
        self.stopped_if_last();
    }

    /// What the client counted since its start.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Inputs whose time lay before an earlier one's.
    pub const fn time_went_back(&self) -> u64 {
        self.time_went_back
    }

    /// Inputs about connections that were gone.
    pub const fn stale_inputs(&self) -> u64 {
        self.stale_inputs
    }

    fn advance(&mut self, now: Instant) {
        if now < self.now {
            self.time_went_back += 1;
        }
        self.now = self.now.max(now);
    }
}

#[cfg(test)]
mod tests;
