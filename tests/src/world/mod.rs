//! The simulated world: endpoints on a seeded network and seeded storage, in
//! virtual time.
//!
//! A [`World`] runs any number of nodes. A node is an [`App`]: an endpoint and
//! the application on top of it. The world is the driver: it keeps the
//! contract to the letter (one `Closed` for each connection, `Blocked` before
//! the next poll, storage in order, …), and demands it of the endpoint: a write
//! to a blocked connection, a skipped ticket, a drain that does not end or a
//! deadline that does not move is a panic that begins with `contract:`.
//! All else that can go wrong in a world does, as the seed decides.
//!
//! One seed is one run: [`World::trace_hash`] is the same each time.
//!
//! ```
//! use core::time::Duration;
//! use tautline_tests::world::toys::{EchoClient, EchoServer};
//! use tautline_tests::world::{Climate, World};
//!
//! let mut world = World::new(7, &Climate::stormy());
//! let _server = world.node("server", |boot| EchoServer::boot(&boot)).listening(7).id();
//! let client = world.node("client", |boot| EchoClient::boot(&boot, "server", 7)).id();
//! world.run_for(Duration::from_secs(60));
//! world.calm();
//! world.run_for(Duration::from_secs(60));
//! assert!(world.app::<EchoClient>(client).expect("it runs").echoes() > 0);
//! ```
//!
//! # Scenarios
//! A scenario runs many seeds by [`Scenario`], and stands in a file of its own
//! in `tests/tests/`. A seed that fails prints the command that replays it and
//! shows its trace: `WORLD_SEED=7 cargo test -p tautline-tests --test …`.
//! `WORLD_SEEDS=1000` runs more seeds than the scenario's default.
//!
//! A relay and its clients are ready in [`cast`]. A node is behind a router
//! that translates addresses by [`NodeSetup::behind`]: see [`World::site`].
//!
//! # What to add, and where
//! - **A machine**: implement [`App`] (an endpoint accessor and what happens on
//!   an event), give it to [`World::node`]. A node that is restarted is booted
//!   anew from its closure; what the test has to remember over restarts lives
//!   outside, in an `Rc<RefCell<..>>` that the closure holds.
//! - **A fault**: a line in the table of [`fault`], and a
//!   [`Faults::strike`](fault::Faults::strike) where it happens: `net` for
//!   connections and datagrams, `disk` for storage, `weather` for what comes
//!   over whole nodes and paths. Name it in a scenario's "sometimes" assertion.
//! - **An effect**: the compiler asks for it in `effects`.
//! - **A fact**: `turn` tells it.

pub mod app;
pub mod cast;
pub mod disk;
mod effects;
pub mod fault;
mod link;
mod net;
mod node;
mod paths;
mod queue;
mod replay;
mod site;
pub mod toys;
mod trace;
mod turn;
mod weather;

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use tautline_core::{Instant, UnixTime};

pub use app::{App, Boot};
pub use fault::{Climate, Counts, Fault};
pub use node::NodeId;
pub use replay::Scenario;
pub use site::{NatKind, SiteId};

use crate::Dice;
use app::Running;
use disk::Disk;
use fault::Faults;
use net::{LinkId, Links, Side};
use node::Node;
use paths::{Paths, Way};
use queue::Queue;
use site::Sites;
use trace::Trace;

/// Happenings at one moment of virtual time after which it is called stuck, and
/// how many more for each node.
const HAPPENINGS_PER_MOMENT_MAX: usize = 100_000;
const HAPPENINGS_PER_NODE_MAX: usize = 100;

/// A network, its nodes, and the weather over them.
pub struct World {
    now: Instant,
    dice: Dice,
    faults: Faults,
    trace: Trace,
    queue: Queue<Happening>,
    nodes: Vec<Node>,
    links: Links,
    paths: Paths,
    sites: Sites,
    names: BTreeMap<String, NodeId>,
    buf: Vec<u8>,
    calm: bool,
    happenings_now: usize,
}

/// Something that happens at its time.
enum Happening {
    Start(NodeId),
    Turn(NodeId),
    Deadline(NodeId, u32, Instant),
    StorageDone(NodeId, u32),
    OpenArrives(LinkId),
    OpenAnswered(LinkId, bool),
    OpenTimedOut(LinkId),
    SegmentArrives(LinkId, Side),
    RoomArrives(LinkId, Side),
    ResetArrives(LinkId, Side),
    DatagramArrives(Box<net::Datagram>),
    Weather,
    Clog(Way, Duration),
    Script(Box<dyn FnOnce(&mut World)>),
}

impl World {
    /// The world of a seed. Its trace is printed if `WORLD_SEED` is set.
    pub fn new(seed: u64, climate: &Climate) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = Self {
            // Not the origin, so that a lifetime may lie behind.
            now: Instant::from_micros(1_000_000_000),
            faults: Faults::draw(climate, &mut dice),
            paths: Paths::draw(&mut dice),
            dice,
            trace: Trace::new(replay::replayed_seed().is_some()),
            queue: Queue::default(),
            nodes: Vec::new(),
            links: Links::default(),
            sites: Sites::default(),
            names: BTreeMap::new(),
            buf: vec![0; 16 * 1024],
            calm: false,
            happenings_now: 0,
        };
        world.schedule(Duration::from_secs(1), Happening::Weather);
        world
    }

    /// Adds a node with an address of its own, which starts at once. Its name
    /// resolves to it.
    pub fn node<A: App>(
        &mut self,
        name: &str,
        mut boot: impl FnMut(Boot) -> A + 'static,
    ) -> NodeSetup<'_> {
        let id = NodeId(self.nodes.len());
        let ip = self.sites.settle_outside(id);
        let boot: node::BootFn = Box::new(move |at| Box::new(boot(at)) as Box<dyn Running>);
        self.nodes.push(Node::new(name, ip, boot));
        self.names.insert(name.to_owned(), id);
        self.schedule(Duration::ZERO, Happening::Start(id));
        NodeSetup { world: self, id }
    }

    /// The moment that the world has come to.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets time go on.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some((at, happening)) = self.queue.pop_until(end) {
            self.happenings_now = if at > self.now {
                0
            } else {
                self.happenings_now + 1
            };
            let most = HAPPENINGS_PER_MOMENT_MAX + HAPPENINGS_PER_NODE_MAX * self.nodes.len();
            assert!(
                self.happenings_now < most,
                "contract: time stands still at {at:?}"
            );
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    /// Lets time go on until the condition holds, and tells whether it did
    /// within the span. It is looked at every 100 ms of virtual time.
    pub fn run_until(&mut self, span: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + span;
        while !holds(self) {
            if self.now >= end {
                return false;
            }
            self.run_for(Duration::from_millis(100));
        }
        true
    }

    /// Does something after a delay: a scenario's own weather. As all weather
    /// it ends with [`calm`](Self::calm): what was to come later does not.
    pub fn after(&mut self, delay: Duration, script: impl FnOnce(&mut Self) + 'static) {
        self.schedule(delay, Happening::Script(Box::new(script)));
    }

    /// The application on a node, to look at; `None` while the node is down.
    pub fn app<A: App>(&self, node: NodeId) -> Option<&A> {
        let running: &dyn Running = self.nodes[node.0].running.as_deref()?;
        (running as &dyn core::any::Any).downcast_ref()
    }

    /// Lets the application on a node give commands; `None` while it is down.
    pub fn command<A: App, R>(
        &mut self,
        node: NodeId,
        command: impl FnOnce(&mut A, Instant) -> R,
    ) -> Option<R> {
        let now = self.now;
        let running: &mut dyn Running = self.nodes[node.0].running.as_deref_mut()?;
        let app = (running as &mut dyn core::any::Any).downcast_mut()?;
        let result = command(app, now);
        self.want_turn(node);
        Some(result)
    }

    /// The storage of a node, to look at.
    pub fn disk(&self, node: NodeId) -> &Disk {
        &self.nodes[node.0].disk
    }

    /// The node's own address, with its port for datagrams; behind a site the
    /// private one.
    pub fn address(&self, node: NodeId) -> SocketAddr {
        self.nodes[node.0].udp_address()
    }

    /// Which life of the node runs or ran last, from 1.
    pub fn life(&self, node: NodeId) -> u32 {
        self.nodes[node.0].life
    }

    /// The age of the oldest connection that the node's driver knows.
    pub fn oldest_connection(&self, node: NodeId) -> Option<Duration> {
        let since = self.nodes[node.0].conns.values().map(|conn| conn.since);
        since.min().map(|since| self.now.saturating_since(since))
    }

    /// The longest time that no bytes of a connection reached the node, up to
    /// now and since this was asked last.
    pub fn longest_silence(&mut self, node: NodeId) -> Duration {
        let state = &mut self.nodes[node.0];
        state.note_reached(self.now);
        core::mem::take(&mut state.longest_silence)
    }

    /// The world's dice, for what a scenario decides.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// What struck so far.
    pub fn faults(&self) -> &Counts {
        self.faults.counts()
    }

    /// A hash of all that happened.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Start(node) => self.start(node),
            Happening::Turn(node) => self.turn(node),
            Happening::Deadline(node, life, at) => self.deadline(node, life, at),
            Happening::StorageDone(node, life) => self.storage_done(node, life),
            Happening::OpenArrives(link) => self.open_arrives(link),
            Happening::OpenAnswered(link, open) => self.open_answered(link, open),
            Happening::OpenTimedOut(link) => self.open_timed_out(link),
            Happening::SegmentArrives(link, from) => self.segment_arrives(link, from),
            Happening::RoomArrives(link, at) => self.room_arrives(link, at),
            Happening::ResetArrives(link, at) => self.reset_arrives(link, at),
            Happening::DatagramArrives(datagram) => self.datagram_arrives(*datagram),
            Happening::Weather => self.weather(),
            Happening::Clog(..) | Happening::Script(_) if self.calm => {}
            Happening::Clog(way, span) => self.paths.clog(way, self.now + span),
            Happening::Script(script) => script(self),
        }
    }

    fn schedule(&mut self, delay: Duration, happening: Happening) {
        self.queue.push(self.now + delay, happening);
    }

    fn wall(&self, node: NodeId) -> UnixTime {
        const START_MS: i64 = 1_700_000_000_000;
        let millis = (self.now.as_micros() / 1_000) as i64;
        let shown = START_MS + millis + self.nodes[node.0].wall_offset_ms;
        UnixTime::from_millis(shown.max(0) as u64)
    }
}

/// A node that was just added.
pub struct NodeSetup<'w> {
    world: &'w mut World,
    id: NodeId,
}

impl NodeSetup<'_> {
    /// It listens for connections on this port.
    #[must_use]
    pub fn listening(self, port: u16) -> Self {
        self.world.nodes[self.id.0].tcp_port = Some(port);
        self
    }

    /// Datagrams leave and reach it at this port; without it, at 52311.
    #[must_use]
    pub fn udp(self, port: u16) -> Self {
        self.world.nodes[self.id.0].udp_port = port;
        self
    }

    /// It is behind this site, with a private address.
    ///
    /// # Panics
    /// If it is behind a site already.
    #[must_use]
    pub fn behind(self, site: SiteId) -> Self {
        self.world.settle(self.id, site);
        self
    }

    /// It starts this long after it was added, not at once.
    #[must_use]
    pub fn starting_in(self, delay: Duration) -> Self {
        self.world.nodes[self.id.0].starts_at = self.world.now + delay;
        self
    }

    /// The weather does not crash it.
    #[must_use]
    pub fn sheltered(self) -> Self {
        self.world.nodes[self.id.0].sheltered = true;
        self
    }

    /// Its handle.
    pub fn id(self) -> NodeId {
        self.id
    }
}
