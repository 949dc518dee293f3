//! Heartbeats; an operation is one probe or end, or bytes on one connection.

use std::time::Duration;

use super::scenario::{Scenario, counted};
use super::timers::shuffled;
use tautline_core::heartbeat::{
    Monitor, MonitorSettings, Prober, ProberEffect, ProberLimits, ProberSettings,
};
use tautline_core::{Instant, Key, Machine};

const SIZES: &[usize] = &[1_000, 1_000_000];
const PERIOD: Duration = Duration::from_secs(60);
/// What has no slots to move down needs no whole period to be counted.
const OPERATIONS: usize = 10_000;

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("heartbeat/probe-and-answer", probe_and_answer),
    scenario("heartbeat/prober-bytes", prober_bytes),
    scenario("heartbeat/prober-end", prober_end),
    scenario("heartbeat/monitor-bytes", monitor_bytes),
    scenario("heartbeat/monitor-end", monitor_end),
];

const fn scenario(name: &'static str, run: fn(usize) -> usize) -> Scenario {
    Scenario {
        name,
        unit: "connections",
        sizes: SIZES,
        run,
    }
}

fn keys(connections: usize) -> Vec<Key> {
    (0..connections as u32)
        .map(|place| Key::new(place, 0))
        .collect()
}

fn prober(connections: usize) -> (Prober, Instant) {
    let settings = ProberSettings {
        period: PERIOD,
        ..ProberSettings::default()
    };
    let limits = ProberLimits {
        connections_max: connections as u32,
        groups_max: 1,
    };
    let mut prober = Prober::new(settings, limits).expect("they are in range");
    let now = Instant::ORIGIN;
    for conn in keys(connections) {
        prober.insert(now, conn, 0).expect("there is room");
    }
    (prober, now)
}

/// Goes on until so many effects came; answers at once, or never.
///
/// It wakes up as often as 16 probes come due, whatever the size, so that
/// waking up is the same share of the cost.
fn drive(prober: &mut Prober, now: &mut Instant, effects: usize, answers: bool) {
    let step = PERIOD * 16 / prober.len() as u32;
    let mut left = effects;
    while left > 0 {
        *now = *now + step;
        prober.handle_timeout(*now);
        while let Some(effect) = prober.poll() {
            match effect {
                ProberEffect::Probe { conn, nonce } if answers => {
                    prober.handle_answer(*now, conn, nonce);
                    left = left.saturating_sub(1);
                }
                ProberEffect::Probe { .. } => {}
                ProberEffect::End(ended) => {
                    prober.remove(ended.conn);
                    left = left.saturating_sub(1);
                }
            }
        }
    }
    assert_eq!(prober.stats().jumps, 0);
}

fn probe_and_answer(connections: usize) -> usize {
    let (mut prober, mut now) = prober(connections);
    drive(&mut prober, &mut now, connections, true);
    counted(|| drive(&mut prober, &mut now, connections, true));
    connections
}

/// An end, and a probe of another one that does not answer either.
fn prober_end(connections: usize) -> usize {
    let (mut prober, mut now) = prober(connections);
    drive(&mut prober, &mut now, connections, true);
    drive(&mut prober, &mut now, 1, false);
    let ends = connections / 2;
    counted(|| drive(&mut prober, &mut now, ends, false));
    ends
}

fn prober_bytes(connections: usize) -> usize {
    let (mut prober, now) = prober(connections);
    let conns = shuffled(keys(connections));
    counted(|| {
        for conn in conns.iter().cycle().take(OPERATIONS) {
            prober.handle_sent(now, *conn);
            prober.handle_received(now, *conn);
        }
    });
    2 * OPERATIONS
}

fn monitor(connections: usize) -> Monitor {
    let settings = MonitorSettings {
        connections_max: connections as u32,
        ..MonitorSettings::default()
    };
    let mut monitor = Monitor::new(settings).expect("they are in range");
    for conn in keys(connections) {
        let told = monitor.insert(Instant::ORIGIN, conn);
        told.expect("there is room");
    }
    monitor
}

fn monitor_bytes(connections: usize) -> usize {
    let mut monitor = monitor(connections);
    let conns = shuffled(keys(connections));
    counted(|| {
        for conn in conns.iter().cycle().take(OPERATIONS) {
            monitor.handle_received(Instant::ORIGIN, *conn);
        }
    });
    OPERATIONS
}

fn monitor_end(connections: usize) -> usize {
    let mut monitor = monitor(connections);
    let mut now = Instant::ORIGIN;
    let ends = OPERATIONS.min(connections);
    counted(|| {
        let mut left = ends;
        while left > 0 {
            match monitor.poll() {
                Some(_) => left -= 1,
                None => {
                    now = monitor.poll_timeout().expect("somebody is there");
                    monitor.handle_timeout(now);
                }
            }
        }
    });
    ends
}
