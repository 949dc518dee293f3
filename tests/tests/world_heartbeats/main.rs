//! Heartbeats of a relay and its clients in the simulated world: who lives is
//! kept, who is gone is found in time, at both ends, once.

mod fleet;
mod gone;
mod http;
mod learning;
mod loss;
mod sleep;

use core::time::Duration;

use tautline_core::client;
use tautline_core::heartbeat::Rule;
use tautline_core::registration::{Interface, Site};
use tautline_core::relay::{self, Relay};
use tautline_core::{ClientId, Instant};
use tautline_tests::world::cast::{
    ClientApp, Entry, Journal, Memory, PORT, RelayApp, Told, relay_address, relay_settings,
};
use tautline_tests::world::{Boot, Climate, NodeId, Scenario, SiteId, World};

/// The default period of a relay's prober, and its response timeout.
const PERIOD: Duration = Duration::from_secs(60);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// After which time a client of such a relay leaves it: twice the period and a
/// second, and a tenth of the period.
const HEARTBEAT: Duration = Duration::from_secs(121);
const FREQUENCY: Duration = Duration::from_secs(6);
/// What ways and timers may add: the calm world has at most 50 ms each way.
const SLACK: Duration = Duration::from_millis(200);
/// Within it a client that lost its connection has another one.
const RETURN: Duration = Duration::from_secs(150);

const HOUR: Duration = Duration::from_secs(3_600);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Runs a scenario of this file over its seeds, without faults but its own.
fn calmly(test: &'static str, seeds: u64, play: impl Fn(&mut World)) {
    let scenario = Scenario::new("world_heartbeats", test).seeds(seeds);
    scenario.climate(Climate::calm()).run(play);
}

/// The figures of both ends.
#[derive(Clone, Default)]
struct Figures {
    relay: relay::HeartbeatSettings,
    client: client::HeartbeatSettings,
    sites: Vec<Site>,
    /// When a client that heard nothing asks its inbox; zero is never.
    poll_interval: Duration,
}

/// A relay and clients that do nothing but hold their connections, and what
/// both ends tell of these.
struct Fleet {
    relay: NodeId,
    clients: Vec<(NodeId, Memory)>,
    figures: Figures,
    journal: Journal,
}

fn boot_relay(boot: &Boot, figures: &Figures, journal: &Journal) -> RelayApp {
    let mut settings = relay_settings(boot);
    settings.heartbeat = figures.relay.clone();
    settings.registry.sites = figures.sites.clone();
    // Nobody registers again by itself, which would renew a connection.
    settings.registry.period = 1_000 * HOUR;
    settings.registry.connections_max = 50_000;
    settings.registry.connections_per_subnet_max = 0;
    settings.registry.connections_per_address_max = 0;
    RelayApp::boot(boot, settings, relay::Limits::default()).noting(boot, journal)
}

fn boot_client(boot: &Boot, figures: &Figures, memory: &Memory, journal: &Journal) -> ClientApp {
    let mut settings = client::Settings::new(relay_address("relay"), "client");
    settings.heartbeat = figures.client;
    settings.interfaces = vec![Interface {
        address: boot.address.ip(),
        prefix: 24,
    }];
    settings.poll_interval = figures.poll_interval;
    settings.registrar.retry_min = seconds(5);
    settings.registrar.retry_max = seconds(30);
    settings.pcc.retry_delay = seconds(30);
    ClientApp::boot(boot, settings, client::Limits::default(), memory).noting(boot, journal)
}

impl Fleet {
    /// A relay.
    fn new(world: &mut World, figures: Figures) -> Self {
        let journal = Journal::default();
        let (of_relay, kept) = (figures.clone(), journal.clone());
        let relay = world.node("relay", move |boot| boot_relay(&boot, &of_relay, &kept));
        Self {
            relay: relay.listening(PORT).sheltered().id(),
            clients: Vec::new(),
            figures,
            journal,
        }
    }

    /// A relay and so many clients, whose connections are open.
    fn connected(world: &mut World, figures: Figures, clients: usize) -> Self {
        let mut fleet = Self::new(world, figures);
        for _ in 0..clients {
            fleet.add(world, None);
        }
        fleet.await_lines(world, RETURN);
        fleet
    }

    /// One more client.
    fn add(&mut self, world: &mut World, site: Option<SiteId>) -> NodeId {
        let (figures, journal) = (self.figures.clone(), self.journal.clone());
        let memory = Memory::default();
        let kept = memory.clone();
        let name = format!("client{}", self.clients.len());
        let node = world.node(&name, move |boot| {
            boot_client(&boot, &figures, &kept, &journal)
        });
        let node = match site {
            Some(site) => node.behind(site).id(),
            None => node.id(),
        };
        self.clients.push((node, memory));
        node
    }

    /// Waits until both ends of each connection say that it is open.
    fn await_lines(&self, world: &mut World, span: Duration) {
        let came = world.run_until(span, |world| {
            let mut clients = self.clients.iter();
            clients.all(|(node, memory)| self.is_connected(world, *node, memory.get()))
        });
        assert!(came, "not every client is connected within {span:?}");
    }

    fn is_connected(&self, world: &World, node: NodeId, client: Option<ClientId>) -> bool {
        let relay: Option<&RelayApp> = world.app(self.relay);
        let record = relay.and_then(|app| app.relay.client(client?));
        let app: Option<&ClientApp> = world.app(node);
        record.is_some_and(|record| record.is_connected())
            && app.is_some_and(|app| app.client.is_connected())
    }

    fn id(&self, client: usize) -> ClientId {
        self.clients[client].1.get().expect("it has registered")
    }

    fn node(&self, client: usize) -> NodeId {
        self.clients[client].0
    }

    fn of_relay<R>(&self, world: &World, look: impl FnOnce(&Relay) -> R) -> R {
        let app: &RelayApp = world.app(self.relay).expect("the relay runs");
        look(&app.relay)
    }

    /// What an end told of a client's connection since then.
    fn told(&self, end: NodeId, client: usize, since: Instant) -> Vec<Entry> {
        let id = self.id(client);
        let journal = self.journal.borrow();
        let entries = journal
            .iter()
            .filter(|entry| entry.node == end && entry.client == id && entry.at >= since);
        entries.cloned().collect()
    }

    /// Nobody told of a connection's end since then.
    fn assert_kept(&self, since: Instant) {
        let journal = self.journal.borrow();
        let ends: Vec<&Entry> = journal
            .iter()
            .filter(|entry| entry.at >= since && entry.told != Told::Connected)
            .collect();
        assert!(ends.is_empty(), "{ends:?}");
    }

    /// That an end told once that a heartbeat ends the client's connection, then
    /// that it is gone; by which rule, when, after which silence.
    #[track_caller]
    fn ended(&self, end: NodeId, client: usize, since: Instant) -> (Rule, Instant, Duration) {
        let told = self.told(end, client, since);
        match told.iter().map(|entry| &entry.told).collect::<Vec<_>>()[..] {
            [Told::Silent(silent_for, rule), Told::Gone(_), ..] => {
                let more = told.iter().filter(|it| matches!(it.told, Told::Silent(..)));
                assert_eq!(more.count(), 1, "{told:?}");
                (*rule, told[0].at, *silent_for)
            }
            _ => panic!("{told:?}"),
        }
    }
}
