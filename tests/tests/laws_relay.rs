//! The relay keeps the laws of the contract, among clients that are sound and
//! peers that are not.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use tautline_core::client::{self, Client, RelayAddress};
use tautline_core::heartbeat::LearnerSettings;
use tautline_core::http::{Reading, ResponseBody, ResponseHead};
use tautline_core::notify::NotifyOptions;
use tautline_core::registration::{Interface, Site};
use tautline_core::relay::{self, Event, Group, HeartbeatSettings, Relay, To};
use tautline_core::wire::proof::MasterKey;
use tautline_core::{
    ClientId, ConnId, Endpoint, Incarnation, Input, Instant, Network, Output, RequestId, Ticket,
};
use tautline_tests::Dice;
use tautline_tests::counting::{self, Counting};
use tautline_tests::laws::{
    self, Census, Driver, EndpointCase, EndpointSubject, Log, Misuse, Peer, Wish,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PEERS: usize = 5;
/// The port of the first client; each has its own.
const PORT: u16 = 7_000;

struct RelayCase {
    limits: relay::Limits,
    peers: Vec<Peer<Client>>,
    /// Datagrams that are on their way to the client of this place.
    datagrams: VecDeque<(usize, Vec<u8>)>,
    steadied: u64,
}

/// The most that one relay sent by peers and by datagrams, how many tests were
/// proven to it, and what its heartbeats did: answered probes, those that ended
/// a connection, and ends by silence.
static REACHED: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];

/// All that there is; of every fourth one the monitor alone.
fn heartbeat(seed: u64) -> HeartbeatSettings {
    let mut heartbeat = HeartbeatSettings::default();
    heartbeat.prober.period = Duration::from_secs(4);
    heartbeat.prober.response_timeout = Duration::from_secs(2);
    heartbeat.periods = vec![(Group::Site(0), Duration::from_secs(3))];
    heartbeat.heartbeat = Duration::from_secs(5);
    heartbeat.frequency = Duration::from_secs(1);
    if seed.is_multiple_of(4) {
        heartbeat.prober.period = Duration::ZERO;
        heartbeat.periods.clear();
        heartbeat.heartbeat = Duration::from_secs(1);
    }
    heartbeat.learning = Some(LearnerSettings {
        deaths_needed: 1,
        period_min: Duration::from_secs(1),
        relax_after: Duration::from_secs(20),
        groups_max: 2,
        ..LearnerSettings::default()
    });
    heartbeat
}

fn limits() -> relay::Limits {
    let mut limits = relay::Limits {
        connections_max: 12,
        requests_max: 3,
        ..relay::Limits::default()
    };
    limits.registry.clients_max = 8;
    limits.registry.newcomers_max = Some(8);
    limits.notifier.notifications_max = 8;
    limits.notifier.notifications_per_client_max = 4;
    limits.notifier.replies_max = 10;
    limits.notifier.payloads_bytes_max = 1_000;
    limits.notifier.replies_bytes_max = 1_000;
    limits
}

fn peer(seed: u64, number: usize) -> Peer<Client> {
    let address = RelayAddress {
        host: "relay".into(),
        port: 52_311,
        tls: false,
    };
    let mut settings = client::Settings::new(address, &format!("client{number}"));
    // Whatever end the driver gives a connection: they are at one site, and in
    // one subnet there.
    settings.interfaces = vec![Interface {
        address: Ipv4Addr::new(10, 0, 0, 2).into(),
        prefix: 24,
    }];
    settings.udp_port = PORT + number as u16;
    settings.registrar.retry_min = Duration::from_secs(1);
    settings.registrar.retry_max = Duration::from_secs(2);
    settings.registrar.return_window = Duration::from_secs(1);
    let seed = Dice::of_step(seed, number as u64).seed();
    Peer::new(Client::new(settings, client::Limits::default(), seed))
}

impl RelayCase {
    /// A sound client does what it wants.
    fn run_peer(&mut self, driver: &mut Driver<Relay>, now: Instant, place: usize) {
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 52_311));
        while let Some(at) = self.datagrams.iter().position(|(to, _)| *to == place) {
            let (_, bytes) = self.datagrams.remove(at).expect("it is there");
            let client = &mut self.peers[place].endpoint;
            client.handle_input(
                now,
                Input::Datagram {
                    from,
                    bytes: &bytes,
                },
            );
        }
        let driver = std::cell::RefCell::new(driver);
        let knows = |conn| driver.borrow().knows(conn);
        self.peers[place].run(now, knows, |client, wish| match wish {
            Wish::Open => driver.borrow_mut().accept(now),
            Wish::Ended(conn) => {
                let why = tautline_core::CloseReason::Done;
                driver.borrow_mut().lose(now, conn, why);
                None
            }
            Wish::Event(&client::Event::Notification { notification, .. }) => {
                let replied = client.reply(now, notification, b"pong");
                replied.map(|()| None).expect("a reply that fits")
            }
            Wish::Event(_) => None,
        });
    }

    fn client(&self, place: usize) -> Option<ClientId> {
        self.peers[place].endpoint.id()
    }
}

fn answer(relay: &mut Relay, now: Instant, request: RequestId) {
    let head = ResponseHead {
        status: 200,
        headers: &[],
        close: false,
    };
    // One that is over meanwhile is answered by nobody.
    let _ = relay.respond(now, request, &head, ResponseBody::Bytes(b"fine"));
}

impl EndpointCase for RelayCase {
    type Endpoint = Relay;
    const NAME: &'static str = "relay";

    fn new(seed: u64) -> (Relay, Self) {
        let mut settings = relay::Settings::new(MasterKey([7; 32]), Incarnation(1));
        settings.registry.secrets_over_plaintext = true;
        settings.registry.grant.wait = Duration::ZERO;
        settings.registry.connections_per_subnet_max = 2;
        settings.registry.sites.push(Site {
            name: "all".into(),
            networks: vec![Network::of([10, 0, 0, 0].into(), 8).expect("a network")],
        });
        settings.datagrams_per_second_max = 50;
        settings.heartbeat = heartbeat(seed);
        let relay = Relay::new(settings, limits(), Dice::new(seed).seed());
        let peers = (0..PEERS).map(|number| peer(seed, number)).collect();
        (
            relay,
            Self {
                limits: limits(),
                peers,
                datagrams: VecDeque::new(),
                steadied: 0,
            },
        )
    }

    fn event(&mut self, relay: &mut Relay, now: Instant, event: Event, log: &mut Log) {
        match event {
            Event::Request { request } => {
                log.event(&event);
                let target = relay.request(request).map(|head| head.target().to_owned());
                if target.is_some_and(|target| target.starts_with("/chunks")) {
                    // Refused if there is no body.
                    let _ = relay.read_body(now, request, Reading::Chunks);
                } else {
                    answer(relay, now, request);
                }
            }
            Event::RequestBody { request } => {
                let body = relay.body(request).map(<[u8]>::to_vec).unwrap_or_default();
                log.bytes(u64::MAX, &body);
                let _ = relay.consume_body(now, request);
            }
            Event::RequestBodyEnd { request } => {
                log.event(&event);
                answer(relay, now, request);
            }
            _ => log.event(&event),
        }
    }

    fn command(&mut self, driver: &mut Driver<Relay>, now: Instant, dice: &mut Dice) {
        let place = dice.index(PEERS);
        self.run_peer(driver, now, place);
        let target = match self.client(place) {
            Some(client) if dice.one_in(2) => To::Client(client),
            Some(client) if dice.one_in(2) => {
                let relay = &driver.endpoint;
                let record = relay.client(client);
                let subnet = record.and_then(|record| relay.subnet_of(record));
                subnet.map_or(To::Site(0), |subnet| To::Subnet(subnet.name))
            }
            _ => To::All,
        };
        let options = NotifyOptions {
            lifetime: dice.span(Duration::from_secs(1)..Duration::from_secs(100)),
            reply_window: Duration::ZERO,
        };
        let payload = dice.bytes(300);
        // Full and unknown are answers as good as any.
        let _ = driver.endpoint.notify(now, target, &payload, options);
    }

    fn bytes(&mut self, conn: ConnId, dice: &mut Dice) -> Vec<u8> {
        let len = if dice.one_in(2) {
            1 + dice.index(100)
        } else {
            10_000
        };
        let said = self.peers.iter_mut().find_map(|peer| peer.said(conn, len));
        said.unwrap_or_else(|| {
            let mut bytes = request(dice);
            bytes.truncate(len);
            bytes
        })
    }

    fn sent(&mut self, conn: ConnId, bytes: &[u8]) {
        self.peers.iter_mut().any(|peer| peer.hear(conn, bytes));
    }

    /// Every second client gets its datagrams.
    fn promises(&mut self, output: &Output<'_, Event>) -> Option<Ticket> {
        if let Output::Datagram { to, bytes } = output {
            let place = usize::from(to.port().wrapping_sub(PORT));
            if place < PEERS && place % 2 == 1 && self.datagrams.len() < 64 {
                self.datagrams.push_back((place, bytes.to_vec()));
            }
        }
        None
    }

    fn misuse(
        &mut self,
        relay: &mut Relay,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let options = NotifyOptions::default();
        let refused = match dice.below(3) {
            0 => {
                let unknown = To::Client(ClientId([9; 16]));
                relay.notify(now, unknown, b"ping", options).is_err()
            }
            1 => {
                let payload = vec![0; self.limits.notifier.payload_bytes_max + 1];
                relay.notify(now, To::All, &payload, options).is_err()
            }
            _ => {
                let key = tautline_core::Key::new(2, 1_000_000);
                relay
                    .stream(now, RequestId::from_key(key), b"late")
                    .is_err()
            }
        };
        if refused {
            Ok(Misuse::Refused)
        } else {
            Err("a misuse was accepted".to_owned())
        }
    }

    fn census(&self, relay: &Relay) -> Vec<Census> {
        let (stats, limits) = (relay.stats(), &self.limits);
        let reached = [
            stats.sent.get("peer"),
            stats.sent.get("datagram"),
            stats.tests_proven,
            stats.heartbeats.prober.answered,
            stats.heartbeats.prober.ended,
            stats.heartbeats.monitor.ended,
        ];
        for (most, now) in REACHED.iter().zip(reached) {
            most.fetch_max(now, Ordering::Relaxed);
        }
        let notifier = &limits.notifier;
        let census = |name, used, limit: u64| Census { name, used, limit };
        vec![
            census(
                "connections_max",
                stats.connections,
                limits.connections_max.into(),
            ),
            census(
                "connections_max of the heartbeats",
                relay.heartbeats().connections as u64,
                limits.connections_max.into(),
            ),
            census(
                "requests_max",
                stats.requests_open,
                limits.requests_max.into(),
            ),
            census(
                "clients_max",
                stats.clients,
                limits.registry.clients_max.into(),
            ),
            census(
                "notifications_max",
                stats.notifications_alive,
                notifier.notifications_max.into(),
            ),
            census(
                "replies_max",
                stats.replies_kept,
                notifier.replies_max.into(),
            ),
            census(
                "bytes_max",
                stats.notification_bytes,
                (notifier.payloads_bytes_max + notifier.replies_bytes_max) as u64,
            ),
        ]
    }

    /// A notification to one client, and its reply.
    fn steady(&mut self, driver: &mut Driver<Relay>, now: Instant, dice: &mut Dice) -> bool {
        // While it warms up, as often as it ever will.
        self.steadied += 1;
        let warms_up = self.steadied < Self::STEADY_OPERATIONS / 2;
        let place = dice.index(PEERS);
        // Requests may allocate: who has no connection asks nothing now.
        if !warms_up && !self.peers[place].endpoint.is_connected() {
            return true;
        }
        counting::paused(|| self.run_peer(driver, now, place));
        let mut talking = [None; 4];
        for (talks, conn) in talking.iter_mut().zip(self.peers[place].talking()) {
            *talks = Some(conn);
        }
        for conn in talking.into_iter().flatten() {
            let said = counting::paused(|| self.peers[place].said(conn, 10_000));
            driver.receive(now, conn, said.as_deref().unwrap_or_default());
            counting::paused(|| drop(said));
        }
        let notifies = warms_up || dice.one_in(4);
        let connected = self.peers[place].endpoint.is_connected();
        if let Some(client) = self.client(place).filter(|_| connected && notifies) {
            let options = NotifyOptions {
                lifetime: Duration::from_secs(2),
                reply_window: Duration::ZERO,
            };
            let _ = driver
                .endpoint
                .notify(now, To::Client(client), &[1; 64], options);
        }
        true
    }

    fn stream(dice: &mut Dice) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for _ in 0..1 + dice.below(6) {
            bytes.extend(request(dice));
        }
        if dice.one_in(3) {
            bytes.extend(dice.bytes(100));
        }
        Some(bytes)
    }
}

/// A request, sound for the most part.
fn request(dice: &mut Dice) -> Vec<u8> {
    let body = dice.bytes(60);
    let length = body.len();
    let (head, body): (String, &[u8]) = match dice.below(8) {
        0 => ("GET /healthz HTTP/1.1\r\nHost: r\r\n\r\n".into(), b""),
        1 => ("GET /v1/connect HTTP/1.1\r\nHost: r\r\n\r\n".into(), b""),
        2 => ("GET / HTTP/1.0\r\n\r\n".into(), b""),
        3 => {
            let json = br#"{"protocol":1,"registration":1,"hostname":"h"}"#;
            let head = "POST /v1/register HTTP/1.1\r\nHost: r\r\nContent-Length: 46\r\n\r\n";
            (head.into(), json)
        }
        4 => (
            format!("POST /chunks HTTP/1.1\r\nHost: r\r\nContent-Length: {length}\r\n\r\n"),
            &body,
        ),
        5 => {
            let head = "POST /chunks HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n";
            (head.into(), b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        }
        6 => (
            format!("PUT /x HTTP/1.1\r\nHost: r\r\nContent-Length: {length}\r\n\r\n"),
            &body,
        ),
        _ => (
            "GET /broken HTTP/1.1\r\nHost: r\r\nContent-Length: 1, 2\r\n\r\n".into(),
            b"",
        ),
    };
    [head.as_bytes(), body].concat()
}

#[test]
fn the_relay_keeps_all_laws() {
    let tally = laws::assert_lawful::<EndpointSubject<RelayCase>>(0..100);
    assert!(
        tally.streams > 0 && tally.pokes > 100 && tally.dips > 100,
        "{tally:?}"
    );
    let reached = REACHED.each_ref().map(|most| most.load(Ordering::Relaxed));
    assert!(reached.iter().all(|most| *most > 0), "{reached:?}");
    assert!(
        tally.misuses > 100 && tally.tables == 7 && tally.steady > 1_000,
        "{tally:?}"
    );
}
