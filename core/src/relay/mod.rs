//! The relay: the endpoint that clients and operators connect to.
//!
//! A [`Relay`] owns the machines of floor 3 and one table of connections. It
//! answers the protocol's own paths (`/v1/register`, `/v1/connect`,
//! `/v1/inbox`, `/v1/replies/…`, `/v1/tests/…`); every other request reaches
//! the application as [`Event::Request`] and is answered by
//! [`Relay::respond`].
//!
//! Where to look: [`settings`](Settings) and [`limits`](Limits) in
//! `settings.rs`, the door in and the door out in `drive.rs`, a connection's
//! state in `connection.rs`, the protocol's paths in `protocol.rs` and their
//! answers in `answers.rs`, persistent connections in `line.rs` (what goes out)
//! and `frames.rs` (what comes in), the ways to clients without one in
//! `fanout.rs` (what is still to be brought) and `routing.rs` (how), heartbeats
//! in `watch.rs`, the application's requests in `requests.rs`.

mod answers;
mod connection;
mod drive;
mod event;
mod fanout;
mod frames;
#[cfg(any(test, feature = "_test"))]
pub mod fuzz;
mod line;
mod protocol;
mod requests;
mod routing;
mod settings;
mod stats;
mod watch;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

pub use event::Event;
pub use settings::{Limits, Settings};
pub use stats::{HeartbeatStats, Stats};
pub use watch::{Group, HeartbeatSettings, Heartbeats, SubnetPeriod};

use crate::collections::{Pool, ReadyList, Slab, Wheel};
use crate::notify::{self, Audience, Notifier, NotifyError, NotifyOptions, Router};
use crate::rate::Bucket;
use crate::registration::{ClientRecord, Registry, Subnet, SubnetName};
use crate::wire::datagram::Fanout as Digest;
use crate::{ClientId, ConnId, Incarnation, Instant, Key, Machine, NotificationId, Random, http};
use connection::Conn;
use fanout::Fanout;
use routing::membership_of;
use watch::Watch;

/// The sans-IO relay. [The crate's front page](crate) shows how to drive it.
pub struct Relay {
    settings: Settings,
    limits: Limits,
    http: Arc<http::Settings>,
    registry: Registry,
    notifier: Notifier,
    router: Router,
    fanout: Fanout,
    /// The rate at which datagrams leave.
    datagram_rate: Bucket,
    /// When datagrams that wait for the rate may go on.
    paced_until: Option<Instant>,
    /// What the last frame for a peer shared, digested in its second: the next
    /// one mostly shares it too.
    served_digest: Option<(Key, u32, Digest)>,
    /// When fan-outs go on, after the driver had its turn.
    routes_at: Option<Instant>,
    watch: Watch,
    /// Heartbeats may ask for something, or have another deadline.
    heartbeats_due: bool,
    conns: Slab<Conn>,
    requests: Slab<ConnId>,
    /// Connections that have something to do, each once.
    ready: ReadyList,
    /// A walk over all connections that is under way.
    sweep: Option<Sweep>,
    timers: Wheel<Key>,
    events: VecDeque<Event>,
    pool: Pool,
    /// Bytes that unfinished frames hold.
    unfinished_bytes: usize,
    stats: Stats,
    now: Instant,
    draining: bool,
    /// `Drained` was told.
    drained: bool,
}

/// A lazy walk over the table of connections: a few are visited in each poll.
#[derive(Clone, Copy)]
struct Sweep {
    next: usize,
    /// Where the round ends, once it has passed the table's end.
    until: usize,
    wrapped: bool,
}

impl Relay {
    /// A relay that runs on `seed`, 32 random bytes.
    pub fn new(settings: Settings, limits: Limits, seed: [u8; 32]) -> Self {
        let settings = settings.sound();
        let limits = limits.sound();
        let mut random = Random::from_seed(seed);
        let incarnation = settings.registry.incarnation;
        let clients_max = limits.registry.clients_max;
        Self {
            http: Arc::new(http::Settings::new(
                limits.http.clone(),
                settings.http.clone(),
            )),
            registry: Registry::new(
                settings.registry.clone(),
                limits.registry.clone(),
                Random::from_seed(random.bytes()),
            ),
            notifier: Notifier::new(
                incarnation,
                limits.notifier.clone(),
                clients_max,
                Random::from_seed(random.bytes()),
            ),
            router: Router::new(
                limits.router.clone(),
                limits.connections_max,
                clients_max,
                Random::from_seed(random.bytes()),
            ),
            fanout: Fanout::new(clients_max),
            datagram_rate: Bucket::new(
                settings.datagrams_per_second_max,
                settings.datagrams_per_second_max / 10,
            ),
            paced_until: None,
            served_digest: None,
            routes_at: None,
            watch: Watch::new(&settings.heartbeat, limits.connections_max),
            heartbeats_due: false,
            conns: Slab::new(limits.connections_max),
            requests: Slab::new(limits.requests_max),
            ready: ReadyList::new(limits.connections_max),
            sweep: None,
            timers: Wheel::new(limits.connections_max),
            events: VecDeque::with_capacity(limits.events_max),
            pool: Pool::new(limits.buffers_max, limits.buffer_bytes_max),
            unfinished_bytes: 0,
            stats: Stats::default(),
            now: Instant::ORIGIN,
            draining: false,
            drained: false,
            settings,
            limits,
        }
    }

    /// Tells something to one client, or to those of a subnet, of a site or of
    /// all that are registered now.
    ///
    /// # Errors
    /// [`NotifyError`]; nothing is changed then.
    pub fn notify(
        &mut self,
        now: Instant,
        target: To,
        payload: &[u8],
        options: NotifyOptions,
    ) -> Result<NotificationId, NotifyError> {
        self.advance(now);
        let (audience, targets) = self.audience(target)?;
        let id = self
            .notifier
            .notify(self.now, audience, payload, options, targets)?;
        self.stats.notifications += 1;
        if let Some(notification) = self.notifier.find(id) {
            self.distribute(audience, notification, id);
        }
        Ok(id)
    }

    /// Who is meant, and how many they are.
    fn audience(&self, target: To) -> Result<(Audience, u32), NotifyError> {
        let (audience, targets) = match target {
            To::All => (Audience::All, self.registry.len()),
            To::Client(id) => {
                let client = self.registry.find(id).ok_or(NotifyError::UnknownClient)?;
                (Audience::Client(client), 1)
            }
            To::Subnet(name) => {
                let subnet = self.registry.find_subnet(name);
                let subnet = subnet.and_then(|key| self.registry.subnet(key));
                let subnet = subnet.ok_or(NotifyError::UnknownSubnet)?;
                (Audience::Subnet(subnet.key), subnet.clients)
            }
            To::Site(site) => {
                if usize::from(site) >= self.settings.registry.sites.len() {
                    return Err(NotifyError::UnknownSite);
                }
                (Audience::Site(site), self.registry.clients_at_site(site))
            }
        };
        Ok((audience, u32::try_from(targets).unwrap_or(u32::MAX)))
    }

    /// How far a notification came; `None` when it is unknown or has expired.
    pub fn notification(&self, id: NotificationId) -> Option<notify::Status> {
        self.notifier.status(id)
    }

    /// The replies to a notification, in the order they came.
    pub fn replies(&self, id: NotificationId) -> impl Iterator<Item = notify::Reply<'_>> {
        self.notifier.replies(id)
    }

    /// The replies that came behind that of a client, found in O(1); all if
    /// that client did not reply.
    pub fn replies_behind(
        &self,
        id: NotificationId,
        after: Option<ClientId>,
    ) -> impl Iterator<Item = notify::Reply<'_>> {
        self.notifier.replies_behind(id, after)
    }

    /// A registered client.
    pub fn client(&self, id: ClientId) -> Option<&ClientRecord> {
        self.registry.get(self.registry.find(id)?)
    }

    /// The first client at or behind a place, with its place: to page through
    /// all of them, begin at 0 and go on behind the last one.
    pub fn client_from(&self, place: usize) -> Option<(usize, &ClientRecord)> {
        self.registry
            .next_from(place)
            .map(|(key, record)| (key.index(), record))
    }

    /// The first client at or behind a place, with its place, if a notification
    /// is for it and it has not replied: `None` in its stead if it is not
    /// missing, and the next one is behind it. So that no call looks at more than
    /// one client, to page through those that are missing is the caller's.
    ///
    /// `None` at the end, and when the notification is unknown or has expired.
    pub fn missing_from(
        &self,
        notification: NotificationId,
        place: usize,
    ) -> Option<(usize, Option<&ClientRecord>)> {
        let key = self.notifier.find(notification)?;
        let (client, record) = self.registry.next_from(place)?;
        let membership = membership_of(record);
        let missing = self.notifier.concerns(key, client, membership)
            && !self.notifier.has_replied(notification, record.id);
        Some((client.index(), missing.then_some(record)))
    }

    /// The first subnet at or behind a place, with its place: to page through
    /// all of them, begin at 0 and go on behind the last one.
    pub fn subnet_from(&self, place: usize) -> Option<(usize, Subnet)> {
        let subnet = self.registry.next_subnet_from(place)?;
        Some((subnet.key.index(), subnet))
    }

    /// The subnet that a client is in.
    pub fn subnet_of(&self, record: &ClientRecord) -> Option<Subnet> {
        self.registry.subnet(record.subnet)
    }

    /// Whether another client of its subnet can bring the client what the relay
    /// says: one with a connection that takes datagrams itself, and that was
    /// not silent lately.
    pub fn has_peer(&self, record: &ClientRecord) -> bool {
        record.is_servable() && self.router.has_line(record.subnet)
    }

    /// How much the relay holds at the moment, and what it counted.
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.conns.len() as u64,
            clients: self.registry.len() as u64,
            notifications_alive: self.notifier.len() as u64,
            notification_bytes: self.notifier.bytes() as u64,
            replies_kept: self.notifier.replies_len() as u64,
            requests_open: self.requests.len() as u64,
            registry: self.registry.counts(),
            heartbeats: self.watch.stats(),
            ..self.stats.clone()
        }
    }

    /// The number of this run.
    pub const fn incarnation(&self) -> Incarnation {
        self.settings.registry.incarnation
    }

    /// The latest time that the relay was told.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Shuts down: takes no more connections, tells the clients to return
    /// within the return window, and ends every connection in order.
    /// [`Event::Drained`] tells that the last one is gone.
    pub fn drain(&mut self, now: Instant) {
        self.advance(now);
        if !core::mem::replace(&mut self.draining, true) {
            self.walk();
        }
    }

    /// Whether the relay shuts down.
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    fn advance(&mut self, now: Instant) {
        if now < self.now {
            self.stats.time_went_back += 1;
        }
        self.now = self.now.max(now);
        // What is left of a lifetime goes over the wire: all go by one time.
        self.registry.handle_timeout(self.now);
        self.notifier.handle_timeout(self.now);
        self.router.handle_timeout(self.now);
        if self.watch.due_at().is_some_and(|at| at <= self.now) {
            self.watch.handle_timeout(self.now);
            self.heartbeats_due = true;
        }
    }

    /// Every connection is to be visited once from now on.
    fn walk(&mut self) {
        let next = self.sweep.map_or(0, |sweep| sweep.next);
        self.sweep = Some(Sweep {
            next,
            until: next,
            wrapped: false,
        });
    }

    fn wake(&mut self, conn: ConnId) {
        if self.conns.contains(conn.key()) {
            self.ready.push(conn.index() as u32);
        }
    }

    fn return_window_ms(&self) -> u32 {
        whole_millis(self.settings.return_window)
    }
}

/// Who a notification is for, by names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum To {
    /// One client.
    Client(ClientId),
    /// The clients of a subnet.
    Subnet(SubnetName),
    /// The clients of a site, by its place in the settings.
    Site(u16),
    /// Every client that is registered now.
    All,
}

fn whole_millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
