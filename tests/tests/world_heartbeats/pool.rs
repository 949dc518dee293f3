//! Pools of connections: requests take and give back, while firewalls forget,
//! networks part, servers restart and clients sleep.

use core::cell::{Cell, RefCell};

use tautline_core::heartbeat::{MonitorSettings, PoolSettings};
use tautline_tests::world::toys::{Fate, MonitoredServer, PoolEvent, PooledClient};
use tautline_tests::world::{Fault, NatKind};

use super::*;

const SERVER_PORT: u16 = 7;
/// What was idle for longer, the firewall forgets.
const FIREWALL_LIMIT: Duration = Duration::from_secs(30);
/// A heartbeat below the limit, and what both ends bear of silence.
const POOL_PERIOD: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(21);
/// How often both ends look.
const LOOK: Duration = Duration::from_secs(1);
/// What the server needs for a request.
const WORK: Duration = Duration::from_millis(500);
/// Or this, which is more silence than a free connection may have.
const LONG_WORK: Duration = Duration::from_secs(25);
/// By how much an answer may take longer than the work.
const PATIENCE: Duration = Duration::from_secs(3);
/// Three searches, a second apart.
const SEARCHES: Duration = Duration::from_secs(2);
/// What a timer may be late.
const AT_ONCE: Duration = Duration::from_millis(10);
const CONNECTIONS_MAX: u32 = 6;
/// More connections, in their places, than the pool may have at a time: some
/// are closing.
const PLACES: u32 = 64;

/// A client with a pool behind a firewall, and its server.
struct Pooled {
    client: NodeId,
    server: NodeId,
    site: SiteId,
    settings: PoolSettings,
    made: usize,
}

impl Pooled {
    /// Without a period there are no heartbeats, and nobody looks for them.
    fn new(world: &mut World, period: Duration, work: Duration) -> Self {
        let heartbeat = match period {
            Duration::ZERO => Duration::ZERO,
            _ => SILENCE_MAX,
        };
        let settings = PoolSettings {
            connections_min: 2 + world.dice().below(2) as u32,
            connections_max: CONNECTIONS_MAX,
            free_min: 1 + world.dice().below(2) as u32,
            free_max: 3 + world.dice().below(2) as u32,
            frequency: LOOK,
            heartbeat,
            places_max: PLACES,
            ..PoolSettings::default()
        };
        let monitor = MonitorSettings {
            heartbeat,
            frequency: LOOK,
            connections_max: PLACES,
        };
        let server = world.node("server", move |boot| {
            MonitoredServer::boot(&boot, monitor, work)
        });
        let server = server.listening(SERVER_PORT).id();
        let site = world.site(NatKind::Closed);
        world.set_memory(site, Some(FIREWALL_LIMIT));
        let client = world.node("client", move |boot| {
            let server = ("server", SERVER_PORT);
            PooledClient::boot(&boot, settings, period, work + PATIENCE, server)
        });
        // What it knows of its requests is to last.
        let client = client.behind(site).sheltered().id();
        world.run_for(2 * LOOK);
        Self {
            client,
            server,
            site,
            settings,
            made: 0,
        }
    }

    fn request(&mut self, world: &mut World, count: u64) {
        for _ in 0..count {
            let made = world.command(self.client, |app: &mut PooledClient, now| app.request(now));
            assert_eq!(made, Some(Ok(())));
            self.made += 1;
        }
    }

    fn app<'w>(&self, world: &'w World) -> &'w PooledClient {
        world.app(self.client).expect("nothing crashes it")
    }

    fn told(&self, world: &World, since: Instant) -> Vec<PoolEvent> {
        let told = self.app(world).told().iter();
        let told = told.filter(|(at, _)| *at >= since);
        told.map(|(_, event)| *event).collect()
    }

    /// What became of the requests since then, and when after they were made.
    fn fates(&self, world: &World, since: Instant) -> Vec<(Fate, Duration)> {
        let told = self.told(world, since).into_iter();
        let fates = told.filter_map(|event| match event {
            PoolEvent::Over(fate, after) => Some((fate, after)),
            _ => None,
        });
        fates.collect()
    }

    fn failed(&self, world: &World, since: Instant) -> Vec<(Fate, Duration)> {
        let fates = self.fates(world, since).into_iter();
        fates.filter(|(fate, _)| *fate != Fate::Answered).collect()
    }

    /// Each request came to one end, and the pool has what its figures demand.
    fn assert_quiet(&self, world: &World) {
        let (app, settings) = (self.app(world), self.settings);
        let (len, free) = (app.pool().len(), app.pool().free());
        assert_eq!(self.fates(world, Instant::ORIGIN).len(), self.made);
        assert_eq!((app.pool().waiting(), app.pool().opening()), (0, 0));
        assert_eq!((app.connections(), free), (len, len), "nobody has one");
        let least = settings.connections_min.max(settings.free_min) as usize;
        let most = settings.connections_min.max(settings.free_max) as usize;
        assert!((least..=most).contains(&len), "{len} of {settings:?}");
    }

    /// One thing that goes wrong, or none; how long the client sleeps over it.
    fn go_wrong(&self, world: &mut World) -> Duration {
        let span = world.dice().span(Duration::ZERO..seconds(60));
        let (client, server) = (self.client, self.server);
        match world.dice().below(8) {
            0 => world.forget_connections(self.site),
            1 => world.partition(client, server, span),
            2 => world.partition(server, client, span),
            3 => world.cut_off(self.site, span),
            4 => {
                let power = world.dice().one_in(2);
                world.crash(server, power, span / 2);
            }
            5 => {
                world.suspend(client, span);
                return span;
            }
            _ => {}
        }
        Duration::ZERO
    }
}

/// Requests in bursts, each of them when the ones before are over, on a network
/// that is whole. What failed.
fn bursts(world: &mut World, period: Duration) -> Vec<(Fate, Duration)> {
    let mut pooled = Pooled::new(world, period, WORK);
    let since = world.now();
    for _ in 0..12 {
        let count = 1 + world.dice().below(5);
        pooled.request(world, count);
        // The searches, an answer that does not come, and a look are over.
        let idle = world.dice().span(seconds(8)..3 * FIREWALL_LIMIT);
        world.run_for(idle);
        pooled.assert_quiet(world);
    }
    let probes = pooled.app(world).probes();
    assert_eq!(probes > 0, !period.is_zero(), "{probes}");
    pooled.failed(world, since)
}

#[test]
fn a_pool_keeps_its_promises_in_any_weather() {
    let name = "pool::a_pool_keeps_its_promises_in_any_weather";
    let (seen, most) = (RefCell::new(Vec::new()), Cell::new(0));
    let scenario = Scenario::new("world_heartbeats", name).seeds(60);
    let struck = scenario.climate(Climate::stormy()).run(|world| {
        let work = *world.dice().pick(&[WORK, WORK, LONG_WORK]);
        let mut pooled = Pooled::new(world, POOL_PERIOD, work);
        for _ in 0..20 {
            let asleep = pooled.go_wrong(world);
            world.run_for(asleep);
            let count = world.dice().below(9);
            pooled.request(world, count);
            let span = world.dice().span(Duration::ZERO..seconds(20));
            world.run_for(span);
        }
        let told = pooled.told(world, Instant::ORIGIN);
        seen.borrow_mut().extend(told);
        let connections = pooled.app(world).connections_most();
        most.set(most.get().max(connections));
        // Now nothing goes wrong any more: first what did is found, at both ends.
        world.calm();
        world.run_for(seconds(90));
        pooled.assert_quiet(world);
        let since = world.now();
        pooled.request(world, 2);
        world.run_for(work + POOL_PERIOD);
        assert_eq!(pooled.failed(world, since), []);
        pooled.assert_quiet(world);
        let server: &MonitoredServer = world.app(pooled.server).expect("it runs");
        let connections = pooled.app(world).connections();
        assert_eq!(server.connections(), connections, "at both ends");
    });
    let Some(struck) = struck else {
        return;
    };
    struck.assert_struck(&[Fault::ConnectRefused, Fault::Reset, Fault::PartialWrite]);
    assert_eq!(
        most.get(),
        CONNECTIONS_MAX as usize,
        "the limit was reached"
    );
    let seen = seen.into_inner();
    let count = |is: fn(&PoolEvent) -> bool| seen.iter().filter(|event| is(event)).count();
    assert!(count(|it| matches!(it, PoolEvent::Over(Fate::Answered, _))) > 0);
    assert!(count(|it| matches!(it, PoolEvent::Over(Fate::TimedOut, _))) > 0);
    assert!(count(|it| matches!(it, PoolEvent::Over(Fate::Broken, _))) > 0);
    assert!(count(|it| matches!(it, PoolEvent::Over(Fate::Refused, _))) > 0);
    assert!(count(|it| matches!(it, PoolEvent::Granted(waited) if !waited.is_zero())) > 0);
    assert!(count(|it| matches!(it, PoolEvent::Dropped(_))) > 0);
    assert!(count(|it| matches!(it, PoolEvent::Lost(Some(_)))) > 0);
}

#[test]
fn h2_with_heartbeats_below_the_firewalls_limit_no_request_of_a_pool_fails() {
    let name = "pool::h2_with_heartbeats_below_the_firewalls_limit_no_request_of_a_pool_fails";
    calmly(name, 40, |world| {
        assert_eq!(bursts(world, POOL_PERIOD), []);
    });
}

#[test]
fn h2_without_heartbeats_the_firewall_costs_a_pool_requests() {
    let name = "pool::h2_without_heartbeats_the_firewall_costs_a_pool_requests";
    calmly(name, 20, |world| {
        let failed = bursts(world, Duration::ZERO);
        let timed_out = failed.iter().filter(|(fate, _)| *fate == Fate::TimedOut);
        assert!(timed_out.count() > 0, "{failed:?}");
    });
}

#[test]
fn an_empty_pool_looks_three_times_a_second_apart_before_a_request_fails() {
    let name = "pool::an_empty_pool_looks_three_times_a_second_apart_before_a_request_fails";
    calmly(name, 40, |world| {
        let mut pooled = Pooled::new(world, POOL_PERIOD, WORK);
        let back = world.dice().span(seconds(1)..seconds(8));
        world.crash(pooled.server, false, back);
        let back = world.now() + back;
        world.run_for(SLACK);
        assert_eq!(pooled.app(world).pool().len(), 0);
        let since = world.now();
        for _ in 0..8 {
            pooled.request(world, 1);
            world.run_for(LOOK);
        }
        world.run_for(4 * LOOK);
        for &(at, event) in pooled.app(world).told() {
            let PoolEvent::Over(fate, after) = event else {
                continue;
            };
            match fate {
                // That it looked no shorter, the client holds.
                Fate::Refused => {
                    assert!(after < SEARCHES + AT_ONCE, "{after:?}");
                    // The pool was to find the server at its next look.
                    let found = back + LOOK + SLACK;
                    assert!(at < found, "there was a connection");
                }
                Fate::Answered => assert!(at + SEARCHES >= back + after, "there was none"),
                Fate::TimedOut | Fate::Broken => panic!("{fate:?}"),
            }
        }
        assert_eq!(pooled.fates(world, since).len(), pooled.made);
        pooled.assert_quiet(world);
    });
}
