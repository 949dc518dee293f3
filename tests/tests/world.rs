//! A relay and its clients under every fault: what a client was given it
//! keeps, nothing is handed over twice, and after the faults everyone is
//! registered, connected and answers.

use core::time::Duration;

use tautline_core::client;
use tautline_core::notify::NotifyOptions;
use tautline_core::relay::{self, To};
use tautline_core::{ClientId, Instant, NotificationId};
use tautline_tests::world::cast::{
    ClientApp, Memory, PORT, RelayApp, relay_address, relay_settings,
};
use tautline_tests::world::{Boot, Climate, Fault, NodeId, Scenario, World};

const CLIENTS: usize = 4;
const STORM: Duration = Duration::from_secs(1_800);
/// A lost connection shows at the next registration at the latest; a failed
/// one is tried again after five minutes at most.
const PERIOD: Duration = Duration::from_secs(600);
const RECOVERY: Duration = Duration::from_secs(3_600);
const ANSWER: Duration = Duration::from_secs(1_800);

fn boot_relay(boot: &Boot) -> RelayApp {
    let mut settings = relay_settings(boot);
    settings.registry.period = PERIOD;
    RelayApp::boot(boot, settings, relay::Limits::default())
}

fn boot_client(boot: &Boot, name: &str, memory: &Memory) -> ClientApp {
    let settings = client::Settings::new(relay_address("relay"), name);
    ClientApp::boot(boot, settings, client::Limits::default(), memory)
}

fn notify(app: &mut RelayApp, now: Instant, to: To) -> Option<NotificationId> {
    app.notify(now, to, NotifyOptions::default()).ok()
}

/// The clients that are connected.
fn all_lines(app: &RelayApp) -> Vec<ClientId> {
    let mut connected = Vec::new();
    let mut place = 0;
    while let Some((at, record)) = app.relay.client_from(place) {
        place = at + 1;
        if record.is_connected() {
            connected.push(record.id);
        }
    }
    connected
}

struct Cast {
    relay: NodeId,
    clients: Vec<NodeId>,
}

fn cast(world: &mut World) -> Cast {
    let relay = world
        .node("relay", |boot| boot_relay(&boot))
        .listening(PORT)
        .id();
    let clients = (0..CLIENTS).map(|number| {
        let name = format!("client{number}");
        let (host, memory) = (name.clone(), Memory::default());
        world
            .node(&name, move |boot| boot_client(&boot, &host, &memory))
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
                Some(client) if !all => notify(app, now, To::Client(client)),
                _ => notify(app, now, To::All),
            }
        });
    }
}

fn all_connected(world: &World, cast: &Cast) -> bool {
    let relay = world
        .app::<RelayApp>(cast.relay)
        .map_or(0, |app| all_lines(app).len());
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
        let clients = all_lines(app).into_iter();
        let asked = clients.map(|client| (notify(app, now, To::Client(client)), client));
        asked.collect::<Vec<_>>()
    });
    let asked = asked.expect("the relay runs");
    assert_eq!(asked.len(), CLIENTS);
    let answered = world.run_until(ANSWER, |world| {
        let app = world.app::<RelayApp>(cast.relay).expect("the relay runs");
        asked
            .iter()
            .all(|(id, client)| id.is_some_and(|id| app.has_reply(id, *client)))
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
        notify(app, now, To::All)
    });
    world.run_for(Duration::from_secs(2));
    let relay = world.app::<RelayApp>(cast.relay).expect("it runs");
    let status = id
        .flatten()
        .and_then(|id| relay.relay.notification(id))
        .expect("it lives");
    assert_eq!((status.targets, status.sent, status.replied), (4, 4, 4));
}
