//! What is kept of a client and of a connection: the bytes that the allocator
//! counts.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use tautline_core::heartbeat::{Monitor, MonitorSettings, Prober, ProberLimits, ProberSettings};
use tautline_core::registration::{
    Interface, Registry, RegistryLimits, RegistrySettings, Request, body,
};
use tautline_core::relay::HeartbeatSettings;
use tautline_core::spool::format::{RecordHeader, RecordKind};
use tautline_core::spool::index::{IndexLimits, SpoolIndex};
use tautline_core::wire::proof::{self, BodyDigest, ClientSecret, MasterKey, Session};
use tautline_core::{ClientId, Incarnation, Instant, Key, Random};
use tautline_tests::counting::{self, Counting, Counts};
use tautline_tests::idle::Idle;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const INCARNATION: Incarnation = Incarnation(1);
const ASKED: proof::Request<'_> = proof::Request {
    method: "GET",
    target: "/v1/inbox",
    body: BodyDigest([0; 32]),
};

/// Registers a client with two addresses and a name of 20 bytes, which uses
/// its key once.
fn register(registry: &mut Registry, number: u32) {
    let address = Ipv4Addr::from_bits(0x0a00_0000 + number);
    let interfaces = [address, Ipv4Addr::from_bits(0xc0a8_0105)];
    let request = Request {
        protocol: body::PROTOCOL,
        client: None,
        registration: 1,
        hostname: format!("web-{number:016}").into(),
        interfaces: interfaces
            .map(|address| Interface {
                address: address.into(),
                prefix: 24,
            })
            .into(),
        udp_port: 52_311,
        persistent_connection: true,
        local: Some(address.into()),
        instance: Some(body::Hex([7; 8])),
        heartbeat: None,
    };
    assert_eq!(request.hostname.len(), 20);
    let body = serde_json::to_vec(&request).expect("it is text");
    let observed = SocketAddr::new(IpAddr::V4(address), 4_000);
    let told =
        registry.handle_registration(Instant::ORIGIN, observed, true, "/v1/register", None, &body);
    let answer = told.expect("there is room").answer;
    let session = Session {
        client: answer.client,
        registration: 1,
        incarnation: INCARNATION,
        nonce: answer.nonce.0,
    };
    let secret = ClientSecret(answer.secret.expect("it is the first one").0);
    let proof = ASKED.prove(&secret.session_key(&session), answer.client, 1);
    let proven = registry.handle_proof(Instant::ORIGIN, &proof, &ASKED);
    assert!(proven.is_ok());
}

/// Bytes for each of so many clients, tables and timers included.
fn bytes_per_client(clients: u32) -> f64 {
    let (registry, counts) = counting::count(|| {
        let settings = RegistrySettings::new(MasterKey([7; 32]), INCARNATION);
        let limits = RegistryLimits::default();
        let mut registry = Registry::new(settings, limits, Random::from_seed([4; 32]));
        (0..clients).for_each(|number| register(&mut registry, number));
        registry
    });
    assert_eq!(registry.len(), clients as usize);
    counts.bytes as f64 / f64::from(clients)
}

#[test]
fn a_client_takes_less_than_256_bytes() {
    let bytes = bytes_per_client(20_000);
    println!("{bytes:.1} bytes of each of 20,000 clients");
    assert!((100.0..256.0).contains(&bytes), "{bytes}");
}

#[test]
fn heartbeats_take_48_bytes_of_a_connection() {
    const CONNECTIONS: u32 = 262_144;
    let (_machines, counts) = counting::count(|| {
        let limits = ProberLimits {
            connections_max: CONNECTIONS,
            groups_max: 1,
        };
        let settings = MonitorSettings {
            connections_max: CONNECTIONS,
            ..MonitorSettings::default()
        };
        let mut prober = Prober::new(ProberSettings::default(), limits).expect("in range");
        let mut monitor = Monitor::new(settings).expect("in range");
        for place in 0..CONNECTIONS {
            let conn = Key::new(place, 0);
            prober.insert(Instant::ORIGIN, conn, 0).expect("room");
            monitor.insert(Instant::ORIGIN, conn).expect("room");
        }
        (prober, monitor)
    });
    let bytes = counts.bytes as f64 / f64::from(CONNECTIONS);
    println!("{bytes:.2} bytes of each of {CONNECTIONS} connections");
    // The lists of the chunks and the slots of the wheels are not a connection's.
    assert!((48.0..48.5).contains(&bytes), "{bytes}");
}

#[test]
fn heartbeats_take_48_bytes_of_a_relays_connection() {
    const CONNECTIONS: usize = 16_384;
    let off = Duration::ZERO;
    let bytes = |period, heartbeat| {
        let mut settings = HeartbeatSettings::default();
        settings.prober.period = period;
        settings.heartbeat = heartbeat;
        let (idle, counts) = counting::count(|| Idle::new(CONNECTIONS, settings));
        let heartbeats = idle.relay.heartbeats();
        let asked = if period.is_zero() { 0 } else { CONNECTIONS };
        assert_eq!(heartbeats.connections, asked);
        counts.bytes as f64 / CONNECTIONS as f64
    };
    let without = bytes(off, off);
    let with = bytes(Duration::from_secs(600), Duration::from_secs(1_201));
    println!("{without:.1} bytes of a client and its connection, {with:.1} with heartbeats");
    assert!((48.0..48.5).contains(&(with - without)));
}

#[test]
fn each_of_a_million_clients_takes_less_than_256_bytes() {
    let bytes = bytes_per_client(1_000_000);
    println!("{bytes:.1} bytes of each of 1,000,000 clients");
    assert!((100.0..256.0).contains(&bytes), "{bytes}");
}

const MESSAGES: u32 = 262_144;
const HOSTS: u32 = 65_536;

/// Enters the next message of each of so many hosts, in turns.
fn fill_spool(index: &mut SpoolIndex, hosts: u32, messages: u32) {
    for number in 0..messages {
        let host = ClientId(u128::from(number % hosts).to_be_bytes());
        let next = index.host(host).map_or(1, |host| host.next_number);
        let record = RecordHeader {
            segment: 1,
            offset: 4_096 + 80 * number,
            body_bytes: 8,
            body_checksum: 0,
            kind: RecordKind::Message {
                priority: 0,
                expires_at: 0,
            },
            sequence: number.into(),
            host,
            number: next,
        };
        index.enter(0, &record).expect("there is room");
    }
}

/// The bytes of an index of so many messages for so many hosts.
fn bytes_of_spool(hosts: u32, messages: u32) -> f64 {
    let limits = IndexLimits {
        hosts_max: HOSTS,
        messages_max: MESSAGES,
        segments_max: 1,
    };
    let (mut index, counts) = counting::count(|| {
        let mut index = SpoolIndex::new(limits, [1; 16]);
        index.begin(0, 1).expect("a slot");
        fill_spool(&mut index, hosts, messages);
        index
    });
    let ((), again) = counting::count(|| {
        for host in 0..hosts {
            let host = ClientId(u128::from(host).to_be_bytes());
            index.remove(host, 1);
            index.delete(host);
            index.reap(2);
        }
        while index.reap(64) {}
        assert!(index.is_empty());
        fill_spool(&mut index, hosts, messages);
        index.settle();
    });
    assert_eq!(again, Counts::NONE, "at its high-water mark");
    assert_eq!(index.len(), messages as usize);
    counts.bytes as f64
}

#[test]
fn b7_a_queued_message_takes_at_most_64_bytes() {
    let of_hosts = bytes_of_spool(HOSTS, HOSTS);
    let of_all = bytes_of_spool(HOSTS, MESSAGES);
    let message = (of_all - of_hosts) / f64::from(MESSAGES - HOSTS);
    let host = of_hosts / f64::from(HOSTS) - message;
    println!("{message:.2} bytes of each message, {host:.2} of each host");
    assert!((40.0..=64.0).contains(&message), "{message}");
    assert!((80.0..=96.0).contains(&host), "{host}");
}
