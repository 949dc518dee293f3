//! Many of a fleet fall silent at once: the daemon ends them, and nobody else.
//! How long that takes and what it costs, the benchmark `heartbeats` says.

#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use tautline_tests::fleet::{Peers, Relay};

const CONNECTIONS: usize = 2_000;
const SILENT: usize = 900;
/// Far more than anything here takes, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn h1_h3_all_who_fall_silent_are_ended_and_none_else() {
    let mut relay = Relay::start_with(&[
        ("PERSISTENT_CONNECTIONS_CONNECTIONS_MAX", "2000"),
        ("PERSISTENT_CONNECTIONS_PER_SUBNET_MAX", "0"),
        ("PERSISTENT_CONNECTIONS_PER_ADDRESS_MAX", "0"),
        ("HEARTBEAT_PERIOD_S", "2"),
        // One who answers on a busy machine is not to be ended.
        ("HEARTBEAT_RESPONSE_TIMEOUT_MS", "6000"),
    ]);
    let mut peers = Peers::connected(&relay, CONNECTIONS);
    let is_silent =
        |place: usize| place * SILENT / CONNECTIONS != (place + 1) * SILENT / CONNECTIONS;
    let (silent, others): (Vec<usize>, Vec<usize>) =
        (0..CONNECTIONS).partition(|place| is_silent(*place));
    assert_eq!(silent.len(), SILENT);
    silent.iter().for_each(|place| peers.silence(*place));

    let end = Instant::now() + LIMIT;
    let timed_out = peers.serve_while(end, |peers| peers.ended().len() < SILENT);
    assert!(!timed_out, "{} of {SILENT} were ended", peers.ended().len());
    // The others are asked on, twice at least: whom the end of so many would
    // have harmed is ended by then.
    let before: Vec<u32> = others.iter().map(|place| peers.pings_at(*place)).collect();
    let timed_out = peers.serve_while(end, |peers| {
        let mut asked = others.iter().zip(&before);
        let is_ended = peers.ended().len() > SILENT;
        !is_ended && asked.any(|(place, before)| peers.pings_at(*place) < before + 2)
    });
    assert!(!timed_out, "not all are asked on");

    let mut ended: Vec<usize> = peers.ended().iter().map(|(place, _)| *place).collect();
    ended.sort();
    assert_eq!(ended, silent);
    let told = relay.heartbeat();
    assert_eq!(told["ended"]["response_timeout"], SILENT, "{told}");
    assert_eq!(told["ended"]["heartbeat"], 0, "{told}");
    assert_eq!(told["connections"], CONNECTIONS - SILENT, "{told}");
}
