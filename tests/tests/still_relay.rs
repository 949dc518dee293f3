//! A fan-out by peers and by datagrams allocates nothing once it was as large
//! as it gets, nor do heartbeats.

use std::time::Duration;

use tautline_core::heartbeat::LearnerSettings;
use tautline_core::relay::{HeartbeatSettings, To};
use tautline_tests::counting::{self, Counting, Counts};
use tautline_tests::idle::Idle;

#[path = "../../core/benches/inputs/subnets.rs"]
mod subnets;

use subnets::{Sent, Town};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: usize = 2_000;

/// What an hour's notifications take: to all, and to a client of each of the
/// subnets.
fn an_hour(town: &mut Town, payload: &[u8]) -> usize {
    let mut passed = 0;
    let mut add = |sent: Sent| passed += sent.datagrams + sent.passed_on;
    add(town.notify(To::All, payload));
    for place in 0..100 {
        let client = town.clients[place];
        add(town.notify(To::Client(client), payload));
    }
    town.pass_an_hour();
    passed
}

#[test]
fn a_fan_out_by_peers_and_by_datagrams_allocates_nothing() {
    for peers in [true, false] {
        // A hint is all that a long one needs.
        for payload in [&[1; 64][..], &[1; 4_000]] {
            let mut town = Town::new(CLIENTS, peers);
            for _ in 0..3 {
                assert_eq!(an_hour(&mut town, payload), CLIENTS + 100);
            }
            let (passed, counts) = counting::count(|| an_hour(&mut town, payload));
            assert_eq!(passed, CLIENTS + 100);
            assert_eq!(counts, Counts::NONE, "peers: {peers}");
        }
    }
}

/// All are asked once, and answer at once.
fn a_period(idle: &mut Idle) -> (usize, usize) {
    let (mut asked, mut events) = (0, 0);
    for _ in 0..600 {
        events += idle.pass(Duration::from_millis(100));
        asked += idle.asked();
        idle.answer();
    }
    (asked, events)
}

#[test]
fn questions_and_answers_on_idle_connections_allocate_nothing() {
    let mut heartbeat = HeartbeatSettings::default();
    heartbeat.prober.period = Duration::from_secs(60);
    heartbeat.heartbeat = Duration::from_secs(121);
    heartbeat.frequency = Duration::from_secs(10);
    heartbeat.learning = Some(LearnerSettings::default());
    let mut idle = Idle::new(CLIENTS, heartbeat);
    for _ in 0..3 {
        a_period(&mut idle);
    }
    let (told, counts) = counting::count(|| a_period(&mut idle));
    assert_eq!(told, (CLIENTS, 0));
    assert_eq!(counts, Counts::NONE);
    let stats = idle.relay.stats().heartbeats;
    assert_eq!(stats.prober.answered, 4 * CLIENTS as u64);
    assert!(stats.monitor.checks >= 23, "{stats:?}");
    assert_eq!((stats.prober.ended, stats.monitor.ended), (0, 0));
}
