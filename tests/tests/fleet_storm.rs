//! A small fleet under every fault: three relays, sites whose routers change
//! their minds, machines that move, sleep and stop. Caps hold at every moment,
//! nothing is handed over twice, every transition of the clients' tables is
//! taken, and after the faults every subnet has its connection and everyone
//! answers.

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr};

use tautline_core::client;
use tautline_core::notify::NotifyOptions;
use tautline_core::pcc;
use tautline_core::registration::{
    Interface, REGISTRAR_VISITS, RegistrarEvent, RegistrarStage, SELECTOR_VISITS, SelectorEvent,
    SelectorStage,
};
use tautline_core::relay::{self, To};
use tautline_tests::tables;
use tautline_tests::world::cast::{
    ClientApp, Memory, PORT, RelayApp, relay_address, relay_settings,
};
use tautline_tests::world::{Boot, Fault, NatKind, NodeId, Scenario, SiteId, World};

const RELAYS: [&str; 3] = ["first", "second", "third"];
const SITES: usize = 9;
const CLIENTS_PER_SUBNET: usize = 20;
const LINES_PER_SUBNET_MAX: u32 = 3;
const UDP_PORT: u16 = 40_000;
const STORM: Duration = Duration::from_secs(1_200);
/// Test notifications come before and after it.
const GRANT_WAIT: Duration = Duration::from_secs(12);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_secs(300);
const RECOVERY: Duration = Duration::from_secs(3_600);
const ANSWER: Duration = Duration::from_secs(900);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

struct Fleet {
    relays: [NodeId; 3],
    sites: Vec<SiteId>,
    clients: Vec<(NodeId, Memory)>,
}

fn boot_relay(boot: &Boot) -> RelayApp {
    let mut settings = relay_settings(boot);
    settings.registry.period = PERIOD;
    settings.registry.connections_per_subnet_max = LINES_PER_SUBNET_MAX;
    if boot.node.number() > 0 {
        // Less than its subnets may have.
        settings.registry.connections_max = 12;
    }
    let grant = &mut settings.registry.grant;
    grant.wait = GRANT_WAIT;
    grant.retry_delay = seconds(30);
    grant.attempt_timeout = ATTEMPT_TIMEOUT;
    // Some lives of a relay begin when an attempt is under way already.
    grant.tests = match boot.seed[0] % 2 {
        0 => [seconds(1), seconds(10), seconds(25)],
        _ => [seconds(13), seconds(16), seconds(25)],
    };
    RelayApp::boot(boot, settings, relay::Limits::default())
}

fn interface(address: IpAddr) -> Interface {
    Interface {
        address,
        prefix: 24,
    }
}

fn boot_client(boot: &Boot, memory: &Memory) -> ClientApp {
    let mut settings = client::Settings::new(relay_address(RELAYS[0]), "client");
    settings.relays = RELAYS.map(relay_address).to_vec();
    settings.interfaces = vec![interface(boot.address.ip())];
    settings.udp_port = boot.address.port();
    settings.registrar.retry_min = seconds(5);
    settings.registrar.retry_max = seconds(30);
    settings.selector.failover_after = seconds(90);
    settings.selector.reselect_interval = seconds(300);
    settings.pcc.retry_delay = seconds(30);
    settings.poll_interval = seconds(120);
    ClientApp::boot(boot, settings, client::Limits::default(), memory)
}

impl Fleet {
    fn found(world: &mut World) -> Self {
        let relays = RELAYS.map(|name| {
            let relay = world.node(name, |boot| boot_relay(&boot));
            relay.listening(PORT).id()
        });
        let sites: Vec<SiteId> = (0..SITES).map(|_| world.site(NatKind::Closed)).collect();
        let mut clients = Vec::new();
        // One subnet is behind no router.
        for site in sites.iter().copied().map(Some).chain([None]) {
            for number in 0..CLIENTS_PER_SUBNET {
                let memory = Memory::default();
                let kept = memory.clone();
                let name = format!("client{}", clients.len());
                let node = world.node(&name, move |boot| boot_client(&boot, &kept));
                // Ports of their own: a router that forwards forwards to all.
                let node = node.udp(UDP_PORT + number as u16);
                let node = match site {
                    Some(site) => node.behind(site).id(),
                    None => node.id(),
                };
                clients.push((node, memory));
            }
        }
        Self {
            relays,
            sites,
            clients,
        }
    }

    /// What people and machines do while the faults strike.
    fn storm(&self, world: &mut World) {
        let end = world.now() + STORM;
        while world.now() < end {
            let pause = world.dice().span(Duration::ZERO..seconds(3));
            world.run_for(pause);
            let relay = *world.dice().pick(&self.relays);
            let client = world.dice().index(self.clients.len());
            self.do_something(world, relay, self.clients[client].0);
        }
    }

    fn do_something(&self, world: &mut World, relay: NodeId, client: NodeId) {
        let span = world.dice().span(Duration::ZERO..seconds(240));
        match world.dice().below(24) {
            0 => world.crash(relay, span < seconds(120), span),
            1 => _ = world.command(relay, |app: &mut RelayApp, now| app.relay.drain(now)),
            2 | 3 => {
                let kind = match world.dice().one_in(2) {
                    true => NatKind::Closed,
                    false => NatKind::Forwarding,
                };
                let site = *world.dice().pick(&self.sites);
                world.set_nat(site, kind);
            }
            4 => {
                let site = *world.dice().pick(&self.sites);
                world.cut_off(site, span / 4);
            }
            5 => {
                // One whose attempt has failed sleeps for longer than a grant
                // holds.
                let sleep = seconds(150) + span;
                let hang = ATTEMPT_TIMEOUT + seconds(1);
                self.delay_renewal(world, hang, move |world, client| world.pause(client, sleep));
            }
            6 => {
                // It moves, and sleeps as long.
                move_client(world, client);
                let sleep = seconds(150) + span;
                world.after(span / 8, move |world| world.pause(client, sleep));
            }
            7 => {
                // It is stopped while it starts.
                world.crash(client, false, Duration::ZERO);
                world.after(Duration::from_micros(30), move |world| stop(world, client));
            }
            8 => stop(world, client),
            9 | 10 => {
                select(world, client);
                let later = GRANT_WAIT + span / 12;
                world.after(later, move |world| select(world, client));
            }
            11 | 12 => self.delay_renewal(world, span / 60, move_client),
            13..16 => {
                move_client(world, client);
                // Again, while it connects anew.
                let later = GRANT_WAIT + span / 12;
                world.after(later, move |world| move_client(world, client));
            }
            _ => notify(world, relay, client.number()),
        }
    }

    /// One that has a connection moves, so that it opens another; that one hangs
    /// in the net for so long before something else happens to the client.
    fn delay_renewal(
        &self,
        world: &mut World,
        span: Duration,
        then: impl FnOnce(&mut World, NodeId) + 'static,
    ) {
        let from = world.dice().index(self.clients.len());
        let mut clients = self.clients[from..].iter().chain(&self.clients[..from]);
        let is_connected = |(node, _): &&(NodeId, Memory)| {
            let app: Option<&ClientApp> = world.app(*node);
            app.is_some_and(|app| app.client.is_connected())
        };
        let Some(&(client, _)) = clients.find(is_connected) else {
            return;
        };
        let relays = self.relays;
        move_client(world, client);
        world.after(GRANT_WAIT - seconds(1), move |world| {
            for relay in relays {
                world.partition(client, relay, seconds(2) + span);
            }
        });
        let later = GRANT_WAIT + seconds(1) + span + Duration::from_millis(1);
        world.after(later, move |world| then(world, client));
    }

    /// Whether all are with the first relay, and every subnet is served there.
    fn is_settled(&self, world: &World) -> bool {
        let at_home = |(node, _): &(NodeId, Memory)| {
            let app: Option<&ClientApp> = world.app(*node);
            app.is_some_and(|app| app.client.relay() == 0 && app.client.id().is_some())
        };
        let Some(relay) = world.app::<RelayApp>(self.relays[0]) else {
            return false;
        };
        let all = self.clients.iter();
        let known = |(_, memory): &(NodeId, Memory)| {
            let record = memory.get().and_then(|id| relay.relay.client(id));
            record.is_some_and(|record| record.is_proven())
        };
        let is_settled = all.clone().all(at_home) && all.clone().all(known);
        is_settled
            && relay.recount().values().all(|subnet| {
                let served = subnet.connected > 0 || subnet.reached == subnet.clients;
                served && subnet.connected <= LINES_PER_SUBNET_MAX as usize
            })
    }
}

fn stop(world: &mut World, client: NodeId) {
    world.command(client, |app: &mut ClientApp, now| app.client.stop(now));
}

fn select(world: &mut World, client: NodeId) {
    world.command(client, |app: &mut ClientApp, now| app.client.select(now));
}

/// The machine's addresses change, and it may stay where it is.
fn move_client(world: &mut World, client: NodeId) {
    let other = Ipv4Addr::new(172, 17, 0, world.dice().below(200) as u8 + 1);
    let (first, second) = (world.address(client).ip(), IpAddr::V4(other));
    world.command(client, |app: &mut ClientApp, now| {
        let interfaces = [interface(first), interface(second)];
        app.client.handle_addresses(now, &interfaces);
    });
}

fn notify(world: &mut World, relay: NodeId, number: usize) {
    let draw = world.dice().below(4);
    let window = world.dice().span(Duration::ZERO..seconds(60));
    world.command(relay, |app: &mut RelayApp, now| {
        let record = app.relay.client_from(number).map(|(_, record)| record);
        let subnet = record.and_then(|record| app.relay.subnet_of(record));
        let to = match (draw, record, subnet) {
            (0 | 1, Some(record), _) => To::Client(record.id),
            (2, _, Some(subnet)) => To::Subnet(subnet.name),
            _ => To::All,
        };
        let options = NotifyOptions {
            reply_window: window,
            ..NotifyOptions::default()
        };
        // A relay may be full.
        let _ = app.notify(now, to, options);
    });
}

fn play(world: &mut World) {
    let fleet = Fleet::found(world);
    fleet.storm(world);
    world.calm();
    let settled = world.run_until(RECOVERY, |world| fleet.is_settled(world));
    assert!(
        settled,
        "x3: a client or a subnet is not served after the faults"
    );

    let first = fleet.relays[0];
    let asked = world.command(first, |app: &mut RelayApp, now| {
        app.notify(now, To::All, NotifyOptions::default())
    });
    let id = asked.expect("the relay runs").expect("there is room");
    let answered = world.run_until(ANSWER, |world| {
        let relay = world.app::<RelayApp>(first).expect("it runs");
        let mut clients = fleet.clients.iter().filter_map(|(_, memory)| memory.get());
        clients.all(|client| relay.has_reply(id, client))
    });
    let relay: &RelayApp = world.app(first).expect("it runs");
    let silent = fleet.clients.iter().filter(|(_, memory)| {
        let client = memory.get();
        client.is_some_and(|client| !relay.has_reply(id, client))
    });
    let silent: Vec<NodeId> = silent.map(|(node, _)| *node).collect();
    assert!(
        answered,
        "x3: {silent:?} do not answer {id} after the faults"
    );
}

#[test]
fn p5_x3_a_fleet_in_a_storm_keeps_its_caps_and_comes_to_rest() {
    let name = "p5_x3_a_fleet_in_a_storm_keeps_its_caps_and_comes_to_rest";
    let Some(counts) = Scenario::new("fleet_storm", name).seeds(60).run(play) else {
        return;
    };
    counts.assert_struck(Fault::ALL);
    let untaken = tables::untaken(
        &pcc::State::ALL,
        &pcc::Event::ALL,
        pcc::transition,
        |state, event| pcc::VISITS.has(state, event),
    );
    assert_eq!(untaken, [], "x4: pcc");
    let untaken = tables::untaken(
        &RegistrarStage::ALL,
        &RegistrarEvent::ALL,
        RegistrarStage::after,
        |stage, event| REGISTRAR_VISITS.has(stage, event),
    );
    assert_eq!(untaken, [], "x4: registrar");
    let untaken = tables::untaken(
        &SelectorStage::ALL,
        &SelectorEvent::ALL,
        SelectorStage::after,
        |stage, event| SELECTOR_VISITS.has(stage, event),
    );
    assert_eq!(untaken, [], "x4: selector");
}
