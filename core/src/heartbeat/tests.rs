//! Prober and monitor at the two ends of connections that lose packets.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;
use core::time::Duration;
use std::println;

use super::*;
use crate::{Instant, Key, Machine, Random};

const SECOND: Duration = Duration::from_secs(1);
const CONNECTIONS: u32 = 2_000;
const PERIOD: Duration = Duration::from_secs(60);
const RUN: Duration = Duration::from_secs(3_600);

/// What a packet of TCP takes: 200 ms, and after each loss a timeout that
/// doubles (RFC 6298).
fn delay(random: &mut Random, loss_percent: u64) -> Duration {
    let mut delay = Duration::from_millis(200);
    let mut timeout = Duration::from_millis(600);
    while random.below(100) < loss_percent && delay < RUN {
        delay += timeout;
        timeout *= 2;
    }
    delay
}

/// Probers at one end, monitors at the other, an hour long. Probes, live
/// connections that the prober ended, those that the monitor did.
fn hour(loss_percent: u64, response_timeout: Duration) -> (u64, u64, u64) {
    let settings = ProberSettings {
        period: PERIOD,
        response_timeout,
        ..ProberSettings::default()
    };
    let mut prober = Prober::new(settings, ProberLimits::default()).unwrap();
    let mut monitor = Monitor::new(MonitorSettings {
        heartbeat: 2 * PERIOD,
        frequency: 10 * SECOND,
        ..MonitorSettings::default()
    })
    .unwrap();
    let mut random = Random::from_seed([3; 32]);
    let mut now = Instant::ORIGIN;
    let mut generation = 0;
    for place in 0..CONNECTIONS {
        prober.insert(now, Key::new(place, 0), 0).unwrap();
        monitor.insert(now, Key::new(place, 0)).unwrap();
    }
    // When a probe (or else its answer) comes, on which connection.
    let mut packets = BinaryHeap::new();
    let end = now + RUN;
    while now < end {
        while let Some(effect) = prober.poll() {
            match effect {
                ProberEffect::Probe { conn, nonce } => {
                    let at = now + delay(&mut random, loss_percent);
                    packets.push(Reverse((at, true, conn, nonce)));
                }
                ProberEffect::End(Ended { conn, .. }) => {
                    // The peer is alive, and connects anew.
                    generation += 1;
                    monitor.remove(conn);
                    let conn = Key::new(conn.index() as u32, generation);
                    prober.insert(now, conn, 0).unwrap();
                    monitor.insert(now, conn).unwrap();
                }
            }
        }
        while monitor.poll().is_some() {}
        let packet = packets.peek().map(|Reverse((at, ..))| *at);
        let timeouts = [packet, prober.poll_timeout(), monitor.poll_timeout()];
        now = now.max(timeouts.into_iter().flatten().min().unwrap());
        if packet.is_some_and(|at| at <= now) {
            let Reverse((_, is_probe, conn, nonce)) = packets.pop().unwrap();
            if is_probe {
                monitor.handle_received(now, conn);
                let at = now + delay(&mut random, loss_percent);
                packets.push(Reverse((at, false, conn, nonce)));
            } else {
                prober.handle_answer(now, conn, nonce);
            }
        }
        prober.handle_timeout(now);
        monitor.handle_timeout(now);
    }
    (
        prober.stats().sent,
        prober.stats().ended,
        monitor.stats().ended,
    )
}

#[test]
fn h1_under_loss_the_monitor_ends_no_live_peer_and_what_the_prober_ends_is_stated() {
    // Of a million probes at 30 % loss, with timeouts of 2, 5, 10, 20 and 40 s.
    let mut before = u64::MAX;
    for (seconds, ppm_max) in [
        (2, 250_000),
        (5, 50_000),
        (10, 20_000),
        (20, 6_000),
        (40, 2_000),
    ] {
        let (sent, by_prober, by_monitor) = hour(30, seconds * SECOND);
        let ppm = by_prober * 1_000_000 / sent;
        println!("response timeout {seconds} s: {ppm} of a million probes end a live peer");
        assert_eq!(by_monitor, 0, "{seconds} s");
        assert!(
            sent >= 115_000 && ppm < ppm_max,
            "{seconds} s: {ppm} of {sent}"
        );
        assert!(ppm < before, "a longer timeout ends fewer");
        before = ppm;
    }
    let (_, by_prober, by_monitor) = hour(0, 5 * SECOND);
    assert_eq!((by_prober, by_monitor), (0, 0));
}
