//! A whole fleet: 100,000 clients in 1,000 subnets behind their NATs register,
//! get connected within the caps, are all notified and all answer; the relay
//! restarts, and all return within their windows. Datagrams are lost, come twice
//! and out of order, and sites are cut off for a while, one for so long that its
//! peers are given up.

use core::time::Duration;
use std::collections::{HashMap, HashSet};

use tautline_core::client;
use tautline_core::notify::NotifyOptions;
use tautline_core::registration::{Interface, Qualifier};
use tautline_core::relay::{self, To};
use tautline_core::{ClientId, Instant, NotificationId};
use tautline_tests::world::cast::{
    ClientApp, Memory, PORT, Recount, RelayApp, relay_address, relay_settings,
};
use tautline_tests::world::{Boot, Climate, Fault, NatKind, NodeId, SiteId, World};

const SUBNETS: usize = 1_000;
const CLIENTS_PER_SUBNET: usize = 100;
const LINES_PER_SUBNET_MAX: u32 = 3;
/// All of them are switched on within it.
const MORNING: Duration = Duration::from_secs(60);
const REPLY_WINDOW: Duration = Duration::from_secs(120);
const RETURN_WINDOW: Duration = Duration::from_secs(300);
/// As long a site is cut off at most: not so long that a peer is given up.
const CUT: Duration = Duration::from_secs(5);
/// How long the relay is down.
const DOWN: Duration = Duration::from_secs(5);
/// What strikes, all the time.
const FAULTS: [Fault; 3] = [
    Fault::DatagramLost,
    Fault::DatagramRepeated,
    Fault::DatagramDelayed,
];
/// What connections, timers and turns may add to a window.
const SLACK: Duration = Duration::from_secs(15);

struct Fleet {
    relay: NodeId,
    sites: Vec<SiteId>,
    clients: Vec<(SiteId, NodeId)>,
}

fn boot_relay(boot: &Boot) -> RelayApp {
    let mut settings = relay_settings(boot);
    settings.registry.connections_max = 50_000;
    settings.registry.connections_per_subnet_max = LINES_PER_SUBNET_MAX;
    settings.return_window = RETURN_WINDOW;
    RelayApp::boot(boot, settings, relay::Limits::default())
}

fn boot_client(boot: &Boot, memory: &Memory) -> ClientApp {
    let mut settings = client::Settings::new(relay_address("relay"), "client");
    settings.interfaces = vec![Interface {
        address: boot.address.ip(),
        prefix: 24,
    }];
    settings.udp_port = boot.address.port();
    // A machine of its own may keep more.
    let mut limits = client::Limits {
        events_max: 8,
        buffers_max: 1,
        buffer_bytes_max: 2_048,
        ..client::Limits::default()
    };
    limits.mailbox.notifications_max = 4;
    limits.mailbox.ahead_max = 8;
    ClientApp::boot(boot, settings, limits, memory)
}

impl Fleet {
    fn found(world: &mut World) -> Self {
        let relay = world.node("relay", |boot| boot_relay(&boot));
        let relay = relay.listening(PORT).id();
        let sites: Vec<SiteId> = (0..SUBNETS).map(|_| world.site(NatKind::Closed)).collect();
        let mut clients = Vec::new();
        for &site in &sites {
            for _ in 0..CLIENTS_PER_SUBNET {
                let start = world.dice().span(Duration::ZERO..MORNING);
                let memory = Memory::default();
                let name = format!("client{}", clients.len());
                let client = world.node(&name, move |boot| boot_client(&boot, &memory));
                clients.push((site, client.behind(site).starting_in(start).id()));
            }
        }
        Self {
            relay,
            sites,
            clients,
        }
    }

    fn relay<'w>(&self, world: &'w World) -> &'w RelayApp {
        world.app(self.relay).expect("the relay runs")
    }

    fn stats(&self, world: &World) -> relay::Stats {
        let relay: Option<&RelayApp> = world.app(self.relay);
        relay.map(|app| app.relay.stats()).unwrap_or_default()
    }

    /// Waits until so many are registered.
    fn await_registered(&self, world: &mut World, span: Duration) {
        let all = self.clients.len() as u64;
        let came = world.run_until(span, |world| self.stats(world).clients == all);
        assert!(
            came,
            "{} of {all}: {:?}",
            self.stats(world).clients,
            self.stats(world)
        );
    }

    /// Waits until the lines are open, and counts them at both ends.
    fn await_lines(&self, world: &mut World, span: Duration) {
        let most = LINES_PER_SUBNET_MAX as usize;
        let lines = self.clients.len() / CLIENTS_PER_SUBNET * most;
        world.run_until(span, |world| self.stats(world).lines as usize >= lines);
        let counts = self.relay(world).recount();
        assert_eq!(counts.len() * most, lines);
        let expected = Recount {
            clients: CLIENTS_PER_SUBNET,
            connected: most,
            reached: 0,
        };
        for (subnet, count) in counts {
            assert!(
                matches!(subnet.qualifier, Qualifier::Behind(_)),
                "{subnet:?}"
            );
            assert_eq!(count, expected, "p5: {subnet:?}");
        }
        let mut by_site: HashMap<SiteId, usize> = HashMap::new();
        for &(site, client) in &self.clients {
            let app: &ClientApp = world.app(client).expect("it runs");
            *by_site.entry(site).or_default() += usize::from(app.client.is_connected());
        }
        assert!(by_site.values().all(|&open| open == most), "{by_site:?}");
    }

    /// One site after another is cut off for a moment.
    fn cut_off_some(&self, world: &mut World) {
        for _ in 0..SUBNETS / 20 {
            let site = *world.dice().pick(&self.sites);
            let start = world.dice().span(Duration::ZERO..REPLY_WINDOW);
            world.after(start, move |world| world.cut_off(site, CUT));
        }
    }

    /// Tells all of them something.
    fn tell_all(&self, world: &mut World) -> NotificationId {
        let options = NotifyOptions {
            reply_window: REPLY_WINDOW,
            ..NotifyOptions::default()
        };
        let ask = |app: &mut RelayApp, now| app.notify(now, To::All, options);
        let asked = world.command(self.relay, ask).expect("the relay runs");
        asked.expect("there is room")
    }

    /// Waits until all have answered: who got nothing asks.
    fn await_answers(&self, world: &mut World, id: NotificationId) {
        let all = self.clients.len() as u32;
        let status = |world: &World| self.relay(world).relay.notification(id).expect("it lives");
        let answered = world.run_until(found_out(), |world| status(world).replied == all);
        assert!(answered, "{:?}", status(world));
        assert_eq!(status(world).targets, all);
        let heard = self.clients.iter().filter(|(_, client)| {
            let app: Option<&ClientApp> = world.app(*client);
            app.is_some_and(|app| app.has_heard(id))
        });
        assert_eq!(heard.count(), self.clients.len());
    }

    /// Tells all of them something; all of them answer.
    fn ask_all(&self, world: &mut World) {
        self.cut_off_some(world);
        let before = self.stats(world).sent;
        let id = self.tell_all(world);
        let lost = world.faults().of(Fault::DatagramLost);
        world.run_for(REPLY_WINDOW + SLACK);
        let lost = world.faults().of(Fault::DatagramLost) - lost;
        let all = self.clients.len() as u32;
        let status = self.relay(world).relay.notification(id).expect("it lives");
        let missing = all - status.replied;
        assert!(
            (1..=lost).contains(&u64::from(missing)),
            "{missing} of {lost}"
        );
        self.await_answers(world, id);
        // Each of them one way alone, and none by a way that leads nowhere. An
        // inbox has also what came by datagram: that says nothing of before.
        let after = self.stats(world).sent;
        let [connection, peer, inbox] =
            ["connection", "peer", "inbox"].map(|way| after.get(way) - before.get(way));
        let lines = u64::from(all) / CLIENTS_PER_SUBNET as u64 * u64::from(LINES_PER_SUBNET_MAX);
        assert_eq!(
            [connection, peer],
            [lines, u64::from(all) - lines],
            "p3: {after:?}"
        );
        assert_eq!(
            after.total() - before.total(),
            u64::from(all) + inbox,
            "p3: {after:?}"
        );
        assert!(inbox >= u64::from(missing), "{missing}: {after:?}");
    }

    /// Tells all of them something while a site is cut off for so long that its
    /// peers are given up: other ways are tried, and nothing is lost.
    fn ask_over_a_cut(&self, world: &mut World) {
        let long = 2 * relay::Limits::default().router.served_timeout;
        let site = *world.dice().pick(&self.sites);
        let before = self.stats(world);
        assert_eq!(before.rerouted, 0, "short cuts give up no peer");
        world.cut_off(site, long);
        let id = self.tell_all(world);
        world.run_for(long);
        let rerouted = self.stats(world).rerouted;
        println!("{rerouted} rerouted by a cut of {long:?}");
        let without = CLIENTS_PER_SUBNET as u64 - u64::from(LINES_PER_SUBNET_MAX);
        assert_eq!(rerouted, without, "p4: of one site, all without a line");
        self.await_answers(world, id);
    }

    /// Who has a persistent connection now.
    fn with_lines(&self, world: &World) -> HashSet<ClientId> {
        let apps = self.clients.iter().filter_map(|(_, node)| world.app(*node));
        let connected = apps.filter(|app: &&ClientApp| app.client.is_connected());
        connected.filter_map(|app| app.client.id()).collect()
    }

    /// The relay restarts, and all return. Who had a line notices at once, the
    /// others when they ask their inbox: each cohort has its own window.
    fn return_all(&self, world: &mut World) {
        let with_lines = self.with_lines(world);
        world.crash(self.relay, false, DOWN);
        let restart = world.now() + DOWN;
        self.await_registered(world, DOWN + found_out() + RETURN_WINDOW);
        let returns = self.relay(world).registrations();
        assert_eq!(returns.len(), self.clients.len(), "each of them once");
        let cohort = |had_line: bool| {
            let of_cohort = returns
                .iter()
                .filter(|(client, _)| with_lines.contains(client) == had_line);
            of_cohort.map(|&(_, at)| at).collect::<Vec<_>>()
        };
        let (with, without) = (cohort(true), cohort(false));
        let lines = self.clients.len() / CLIENTS_PER_SUBNET * LINES_PER_SUBNET_MAX as usize;
        assert_eq!(with.len(), lines);
        let with = Returns::of("with a line", &with, restart);
        let without = Returns::of("without a line", &without, restart);
        with.assert_by(RETURN_WINDOW + SLACK);
        without.assert_by(found_out() + RETURN_WINDOW);
        // Ten a second are few: an even draw has 21 in one of them at times, so
        // ten seconds are counted together.
        with.assert_most(10, 2.0 * with.mean_over(with.last - with.first));
        // These gather in the middle of their span, as two draws add up, of the
        // poll and of the return: one second has more than twice the mean of the
        // span. The bound is twice the mean of the return window alone.
        without.assert_most(1, 2.0 * without.mean_over(RETURN_WINDOW));
    }
}

/// How a cohort returns; moments are counted from the restart.
struct Returns {
    cohort: &'static str,
    count: usize,
    first: Duration,
    last: Duration,
    moments: Vec<Instant>,
}

impl Returns {
    fn of(cohort: &'static str, moments: &[Instant], restart: Instant) -> Self {
        let first = *moments.iter().min().expect("some return");
        let last = *moments.iter().max().expect("some return");
        let returns = Self {
            cohort,
            count: moments.len(),
            first: first.saturating_since(restart),
            last: last.saturating_since(restart),
            moments: moments.to_vec(),
        };
        returns.print();
        returns
    }

    fn print(&self) {
        let mean = self.mean_over(self.last - self.first);
        let most = busiest(&self.moments, 1);
        let times = most as f64 / mean;
        println!(
            "{} {} return in {:?} to {:?}: {mean:.1} a second, {} at most, {times:.2} times the mean",
            self.count, self.cohort, self.first, self.last, most,
        );
    }

    fn mean_over(&self, span: Duration) -> f64 {
        self.count as f64 / span.as_secs_f64()
    }

    fn assert_by(&self, window: Duration) {
        let (cohort, last) = (self.cohort, self.last);
        assert!(last <= window, "{cohort}: {last:?}, window {window:?}");
    }

    /// That no `span` of so many seconds had more than `bound` a second.
    fn assert_most(&self, span: u64, bound: f64) {
        let (cohort, most) = (self.cohort, busiest(&self.moments, span));
        let rate = most as f64 / span as f64;
        assert!(
            rate <= bound,
            "{cohort}: {most} in {span} s, bound {bound:.1} a second"
        );
    }
}

/// Until a client that hears nothing has asked its inbox.
fn found_out() -> Duration {
    let settings = client::Settings::new(relay_address("relay"), "client");
    settings.poll_interval + settings.poll_interval / 10 + SLACK
}

/// The most that came within a span of so many seconds.
fn busiest(moments: &[Instant], span: u64) -> usize {
    let mut spans: HashMap<u64, usize> = HashMap::new();
    for moment in moments {
        *spans
            .entry(moment.as_micros() / 1_000_000 / span)
            .or_default() += 1;
    }
    spans.into_values().max().unwrap_or(0)
}

#[test]
fn p3_p5_a_fleet_of_100_000_is_connected_answers_and_returns() {
    let mut world = World::new(1, &Climate::of(&FAULTS));
    let fleet = Fleet::found(&mut world);
    fleet.await_registered(&mut world, MORNING + SLACK);
    fleet.await_lines(&mut world, MORNING + SLACK);
    fleet.ask_all(&mut world);

    fleet.return_all(&mut world);
    fleet.await_lines(&mut world, MORNING + SLACK);
    fleet.ask_all(&mut world);
    fleet.ask_over_a_cut(&mut world);
    let inside = |site: &SiteId| world.kept_out(*site) == 0;
    assert!(!fleet.sites.iter().any(inside), "p1: tests do not get in");
    world.faults().assert_struck(&FAULTS);
}
