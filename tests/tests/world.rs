//! A relay and its clients under every fault: what a client was given it
//! keeps, nothing is handed over twice, and after the faults everyone is
//! registered, connected and answers.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tautline_core::client::{self, Client, RelayAddress};
use tautline_core::notify::NotifyOptions;
use tautline_core::relay::{self, Relay, To};
use tautline_core::wire::proof::MasterKey;
use tautline_core::{ClientId, Incarnation, Instant, NotificationId};
use tautline_tests::world::{App, Boot, Climate, Fault, NodeId, Scenario, World};

const PORT: u16 = 52_311;
const CLIENTS: usize = 4;
/// Nothing of what is simulated here asks an idle peer for a sign of life; the
/// systems below do.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const STORM: Duration = Duration::from_secs(1_800);
/// A lost connection shows at the next registration at the latest; a failed
/// one is tried again after five minutes at most.
const PERIOD: Duration = Duration::from_secs(600);
const RECOVERY: Duration = Duration::from_secs(3_600);
const ANSWER: Duration = Duration::from_secs(1_800);

struct RelayApp {
    relay: Relay,
    replied: BTreeSet<(NotificationId, ClientId)>,
}

impl RelayApp {
    fn boot(boot: &Boot) -> Self {
        // The key is in the relay's folder, and survives it.
        let key = MasterKey([7; 32]);
        let mut settings = relay::Settings::new(key, Incarnation(boot.life));
        settings.registry.period = PERIOD;
        let relay = Relay::new(settings, relay::Limits::default(), boot.seed);
        let replied = BTreeSet::new();
        Self { relay, replied }
    }

    fn notify(&mut self, now: Instant, to: To) -> Option<NotificationId> {
        self.relay
            .notify(now, to, b"ping", NotifyOptions::default())
            .ok()
    }

    /// The clients that are connected, by hostname.
    fn connected(&self) -> BTreeMap<String, ClientId> {
        let mut connected = BTreeMap::new();
        let mut place = 0;
        while let Some((at, record)) = self.relay.client_from(place) {
            place = at + 1;
            if record.is_connected() {
                connected.insert(record.hostname().to_string(), record.id);
            }
        }
        connected
    }
}

impl App for RelayApp {
    type Endpoint = Relay;

    fn endpoint(&mut self) -> &mut Relay {
        &mut self.relay
    }

    fn on_event(&mut self, _now: Instant, event: relay::Event) {
        if let relay::Event::Replied {
            notification,
            client,
        } = event
        {
            let first = self.replied.insert((notification, client));
            assert!(first, "{client} replied to {notification} twice");
        }
    }
}

/// What a client's machine was given, over all its lives.
type Memory = Rc<RefCell<Option<ClientId>>>;

struct ClientApp {
    client: Client,
    memory: Memory,
    heard: BTreeSet<NotificationId>,
    /// Its identity could not be read: the agent ends and is started again.
    over: bool,
}

impl ClientApp {
    fn boot(boot: &Boot, name: &str, memory: &Memory) -> Self {
        let relay = RelayAddress {
            host: "relay".into(),
            port: PORT,
            tls: true,
        };
        let settings = client::Settings::new(relay, name);
        Self {
            client: Client::new(settings, client::Limits::default(), boot.seed),
            memory: Rc::clone(memory),
            heard: BTreeSet::new(),
            over: false,
        }
    }
}

impl App for ClientApp {
    type Endpoint = Client;

    fn endpoint(&mut self) -> &mut Client {
        &mut self.client
    }

    fn on_event(&mut self, now: Instant, event: client::Event) {
        match event {
            client::Event::Registered { client, .. } => {
                let before = self.memory.borrow_mut().replace(client);
                let same = before.is_none_or(|before| before == client);
                assert!(same, "{before:?} became {client}");
            }
            client::Event::Notification { notification, id } => {
                assert!(self.heard.insert(id), "{id} was handed over twice");
                let payload = self
                    .client
                    .notification(notification)
                    .map(|(_, payload)| payload);
                assert_eq!(payload, Some(b"ping".as_slice()));
                let replied = self.client.reply(now, notification, b"pong");
                assert!(replied.is_ok(), "{replied:?}");
            }
            client::Event::StorageFailed { .. } => self.over = self.client.id().is_none(),
            client::Event::IdentityUnavailable { .. } => self.over = true,
            client::Event::IdentityUnreadable => panic!("a crash spoilt the identity"),
            _ => {}
        }
    }

    fn exits(&self) -> bool {
        self.over
    }
}

struct Cast {
    relay: NodeId,
    clients: Vec<NodeId>,
}

fn cast(world: &mut World) -> Cast {
    let relay = world
        .node("relay", |boot| RelayApp::boot(&boot))
        .listening(PORT);
    let relay = relay.keep_alive(KEEP_ALIVE).id();
    let clients = (0..CLIENTS).map(|number| {
        let name = format!("client{number}");
        let (host, memory) = (name.clone(), Memory::default());
        world
            .node(&name, move |boot| ClientApp::boot(&boot, &host, &memory))
            .keep_alive(KEEP_ALIVE)
            .id()
    });
    Cast {
        relay,
        clients: clients.collect(),
    }
}

/// Notifies someone now and then while the faults strike.
fn storm(world: &mut World, relay: NodeId) {
    let end = world.now() + STORM;
    while world.now() < end {
        let dice = world.dice();
        let pause = dice.span(Duration::from_secs(1)..Duration::from_secs(60));
        let (all, place) = (dice.one_in(3), dice.index(CLIENTS));
        world.run_for(pause);
        world.command(relay, |app: &mut RelayApp, now| {
            let client = app.relay.client_from(place).map(|(_, record)| record.id);
            match client {
                Some(client) if !all => app.notify(now, To::Client(client)),
                _ => app.notify(now, To::All),
            }
        });
    }
}

fn all_connected(world: &World, cast: &Cast) -> bool {
    let relay = world
        .app::<RelayApp>(cast.relay)
        .map_or(0, |app| app.connected().len());
    let up = |&node: &NodeId| world.app::<ClientApp>(node);
    let connected = |node| up(node).is_some_and(|app| app.client.is_connected());
    relay == CLIENTS && cast.clients.iter().all(connected)
}

fn play(world: &mut World) {
    let cast = cast(world);
    storm(world, cast.relay);
    world.calm();
    let connected = world.run_until(RECOVERY, |world| all_connected(world, &cast));
    assert!(connected, "not every client is connected after the faults");

    let asked = world.command(cast.relay, |app: &mut RelayApp, now| {
        let clients = app.connected().into_values();
        let asked = clients.map(|client| (app.notify(now, To::Client(client)), client));
        asked.collect::<Vec<_>>()
    });
    let asked = asked.expect("the relay runs");
    assert_eq!(asked.len(), CLIENTS);
    let answered = world.run_until(ANSWER, |world| {
        let app = world.app::<RelayApp>(cast.relay).expect("the relay runs");
        asked
            .iter()
            .all(|(id, client)| id.is_some_and(|id| app.replied.contains(&(id, *client))))
    });
    assert!(answered, "a notification is not answered after the faults");
}

#[test]
fn after_the_faults_everyone_is_connected_and_answers() {
    let name = "after_the_faults_everyone_is_connected_and_answers";
    let Some(counts) = Scenario::new("world", name).seeds(4_000).run(play) else {
        return;
    };
    counts.assert_struck(&[
        Fault::Unresolved,
        Fault::ConnectRefused,
        Fault::ConnectLost,
        Fault::Exhausted,
        Fault::ShortRead,
        Fault::PartialWrite,
        Fault::Straggler,
        Fault::InputBetweenPolls,
        Fault::EarlyTimeout,
        Fault::StoreFull,
        Fault::StoreShort,
        Fault::SyncFailed,
        Fault::ReadFailed,
        Fault::StoreSlow,
        Fault::CrashInStore,
        Fault::Reset,
        Fault::HalfClose,
        Fault::PartitionOneWay,
        Fault::PartitionTwoWay,
        Fault::Clog,
        Fault::Swizzle,
        Fault::Pause,
        Fault::CrashProcess,
        Fault::CrashPower,
        Fault::ClockJump,
    ]);
}

#[test]
fn without_faults_a_notification_is_answered_at_once() {
    let mut world = World::new(1, &Climate::calm());
    let cast = cast(&mut world);
    let connected = world.run_until(Duration::from_secs(10), |world| all_connected(world, &cast));
    assert!(connected);
    let id = world.command(cast.relay, |app: &mut RelayApp, now| {
        app.notify(now, To::All)
    });
    world.run_for(Duration::from_secs(2));
    let relay = world.app::<RelayApp>(cast.relay).expect("it runs");
    let status = id
        .flatten()
        .and_then(|id| relay.relay.notification(id))
        .expect("it lives");
    assert_eq!((status.targets, status.sent, status.replied), (4, 4, 4));
}
