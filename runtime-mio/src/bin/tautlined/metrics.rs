//! `/metrics` in the OpenMetrics text format.

mod process;

pub(crate) use process::note_start;

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use tautline_core::heartbeat::Rule;
use tautline_core::relay::{Heartbeats, Relay, Stats};
use tautline_mio::driver::Statistics;

/// All figures of the relay, its driver and its process.
pub(crate) fn encode(relay: &Relay, driver: &Statistics) -> Result<String, fmt::Error> {
    encode_all(&relay.stats(), &relay.heartbeats(), driver)
}

fn encode_all(
    relay: &Stats,
    heartbeats: &Heartbeats,
    driver: &Statistics,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tautline");
    add_relay(&mut registry, relay);
    add_heartbeats(&mut registry, relay, heartbeats);
    add_driver(&mut registry, driver);
    let mut text = String::new();
    let mut whole = Registry::default();
    process::add(&mut whole);
    text::encode_registry(&mut text, &whole)?;
    text::encode_registry(&mut text, &registry)?;
    text::encode_eof(&mut text)?;
    Ok(text)
}

fn add_relay(registry: &mut Registry, relay: &Stats) {
    for (name, help, value) in [
        ("clients", "Registered clients", relay.clients),
        (
            "newcomers",
            "Registered clients that never proved themselves",
            relay.registry.newcomers as u64,
        ),
        (
            "subnets",
            "Subnets of registered clients",
            relay.registry.subnets as u64,
        ),
        (
            "notifications_alive",
            "Notifications that have not expired",
            relay.notifications_alive,
        ),
        (
            "notification_bytes",
            "Bytes of payloads and replies that are kept",
            relay.notification_bytes,
        ),
        ("replies_kept", "Replies that are kept", relay.replies_kept),
        (
            "requests_open",
            "Requests that wait for an answer",
            relay.requests_open,
        ),
    ] {
        gauge(registry, name, help, value);
    }
    labelled_gauge(
        registry,
        "persistent_connections",
        "Persistent connections of clients, and grants for one",
        "state",
        [
            ("open", relay.registry.connected as u64),
            ("granted", relay.registry.granted as u64),
        ],
    );
    for (name, help, value) in [
        (
            "registrations",
            "Registrations that were admitted",
            relay.registrations,
        ),
        (
            "notifications",
            "Notifications that were made",
            relay.notifications,
        ),
        ("replies", "Replies that were taken", relay.replies),
        (
            "rerouted",
            "Notifications whose peer did not pass them on",
            relay.rerouted,
        ),
        (
            "peers_refused",
            "Datagrams that peers refused to pass on",
            relay.refused_by_peers,
        ),
        (
            "tests_sent",
            "Tests of whether datagrams reach a client",
            relay.tests_sent,
        ),
        (
            "tests_left_out",
            "Tests that were left out, as the rate of datagrams was used up",
            relay.tests_left_out,
        ),
        (
            "pings",
            "Pings of clients on their persistent connections",
            relay.pings,
        ),
        (
            "tests_proven",
            "Tests whose receipt was proven",
            relay.tests_proven,
        ),
        (
            "clients_separated",
            "Copies of clients that became clients of their own",
            relay.registry.separated,
        ),
        (
            "stale_inputs",
            "Facts about connections that were gone",
            relay.stale_inputs,
        ),
        (
            "time_went_back",
            "Times that the clock went backwards",
            relay.time_went_back,
        ),
    ] {
        counter(registry, name, help, value);
    }
    for (name, help, label, tally) in [
        (
            "accepts_refused",
            "Connections that the relay did not take",
            "reason",
            &relay.accepts_refused,
        ),
        (
            "http_refused",
            "HTTP connections that were ended for their peer's doing",
            "reason",
            &relay.http_refused,
        ),
        (
            "lines_refused",
            "Persistent connections that were ended for their peer's doing",
            "reason",
            &relay.lines_refused,
        ),
        (
            "requests",
            "Requests of the protocol",
            "path",
            &relay.requests,
        ),
        (
            "registrations_refused",
            "Registrations and proofs that were refused",
            "reason",
            &relay.registrations_refused,
        ),
        (
            "verdicts",
            "Registrations by whether a persistent connection was granted",
            "verdict",
            &relay.registry.verdicts,
        ),
        (
            "sent",
            "Notifications that were sent to a client",
            "way",
            &relay.sent,
        ),
        (
            "left_to_inbox",
            "Notifications that no way led to their client for",
            "reason",
            &relay.left_to_inbox,
        ),
        (
            "replies_refused",
            "Replies that were not taken",
            "reason",
            &relay.replies_refused,
        ),
        (
            "protocol_datagrams_dropped",
            "Datagrams that the relay dropped",
            "reason",
            &relay.datagrams_dropped,
        ),
    ] {
        labelled(registry, name, help, label, tally.iter());
    }
}

fn add_heartbeats(registry: &mut Registry, relay: &Stats, heartbeats: &Heartbeats) {
    for (name, help, value) in [
        (
            "heartbeat_connections",
            "Persistent connections whose clients are asked whether they are there",
            heartbeats.connections as u64,
        ),
        (
            "heartbeat_probes_in_flight",
            "Heartbeats that are unanswered",
            heartbeats.in_flight.into(),
        ),
        (
            "heartbeat_window",
            "Heartbeats that may be unanswered at a time",
            heartbeats.window.into(),
        ),
    ] {
        gauge(registry, name, help, value);
    }
    for (name, help, span) in [
        (
            "heartbeat_worst_case_seconds",
            "After which time at most a heartbeat finds a dead client; 0 is never",
            heartbeats.worst_case_detection,
        ),
        (
            "heartbeat_monitor_worst_case_seconds",
            "After which time at most the monitor finds a silent client; 0 is never",
            heartbeats.monitor_detection,
        ),
    ] {
        let seconds = span.unwrap_or_default().as_secs_f64();
        registry.register(name, help, ConstGauge::new(seconds));
    }
    let (prober, monitor) = (&relay.heartbeats.prober, &relay.heartbeats.monitor);
    for (name, help, value) in [
        (
            "heartbeat_probes_sent",
            "Heartbeats that were sent to clients",
            prober.sent,
        ),
        (
            "heartbeat_probes_answered",
            "Heartbeats that were answered in time",
            prober.answered,
        ),
        (
            "heartbeat_probes_late",
            "Heartbeats that were answered too late",
            prober.late,
        ),
        (
            "heartbeat_probes_unasked",
            "Answers to no heartbeat that was sent, or to an earlier one",
            prober.unasked,
        ),
        (
            "heartbeat_probes_saved",
            "Heartbeats that were put off, because bytes went both ways",
            prober.saved,
        ),
        (
            "heartbeat_lessons",
            "Periods of subnets that were learned",
            relay.heartbeat_lessons,
        ),
    ] {
        counter(registry, name, help, value);
    }
    labelled(
        registry,
        "heartbeat_ended",
        "Persistent connections that were ended because the client was silent",
        "rule",
        [
            (Rule::ResponseTimeout.name(), prober.ended),
            (Rule::Heartbeat.name(), monitor.ended),
        ],
    );
    labelled(
        registry,
        "heartbeat_clock_jumps",
        "Times that the relay was not there when it was due, so that silence did not count",
        "by",
        [("prober", prober.jumps), ("monitor", monitor.jumps)],
    );
}

fn add_driver(registry: &mut Registry, driver: &Statistics) {
    gauge(
        registry,
        "connections",
        "TCP connections",
        driver.connections,
    );
    let refused = driver.refused.by_reason();
    labelled(
        registry,
        "driver_refused",
        "TCP connections that were ended before the relay saw a byte",
        "reason",
        refused,
    );
    let dropped = driver.datagrams_dropped.by_reason();
    labelled(
        registry,
        "datagrams_dropped",
        "Datagrams that could not be sent",
        "reason",
        dropped,
    );
    for (name, help, value) in [
        (
            "accepted",
            "TCP connections that were accepted",
            driver.accepted,
        ),
        ("closed", "TCP connections that ended", driver.closed),
        (
            "accept_pauses_exhausted",
            "Pauses of accepting for lack of descriptors or memory",
            driver.accept_pauses_exhausted,
        ),
        (
            "accept_pauses_full",
            "Pauses of accepting because the relay was full",
            driver.accept_pauses_full,
        ),
        (
            "accept_pauses_failed",
            "Pauses of accepting because a listener failed",
            driver.accept_pauses_failed,
        ),
        (
            "received_bytes",
            "Plaintext bytes read from connections",
            driver.bytes_received,
        ),
        (
            "written_bytes",
            "Plaintext bytes written to connections",
            driver.bytes_sent,
        ),
        (
            "writes_blocked",
            "Writes that the network cut short",
            driver.blocked,
        ),
        (
            "reads_paused",
            "Reads that were not taken whole",
            driver.paused,
        ),
        (
            "tls_established",
            "TLS handshakes that were completed",
            driver.tls_established,
        ),
        (
            "tls_failed",
            "TLS handshakes and sessions that failed",
            driver.tls_failed,
        ),
        (
            "datagrams_received",
            "Datagrams received",
            driver.datagrams_received,
        ),
        ("datagrams_sent", "Datagrams sent", driver.datagrams_sent),
        (
            "storage_effects",
            "Operations of the storage thread",
            driver.storage_effects,
        ),
        ("loop_turns", "Turns of the event loop", driver.turns),
    ] {
        counter(registry, name, help, value);
    }
    let idle = ConstCounter::new(driver.idle.as_secs_f64());
    registry.register("loop_idle_seconds", "Time that the event loop slept", idle);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    registry.register(name, help, ConstGauge::new(value));
}

fn labelled_gauge(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl IntoIterator<Item = (&'static str, u64)>,
) {
    let family = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    for (name, value) in values {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        family.get_or_create(&[(label, name)]).set(value);
    }
    registry.register(name, help, family);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}

fn labelled(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    counts: impl IntoIterator<Item = (&'static str, u64)>,
) {
    let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
    for (value, count) in counts {
        family.get_or_create(&[(label, value)]).inc_by(count);
    }
    registry.register(name, help, family);
}

#[cfg(test)]
mod tests {
    use tautline_core::Incarnation;
    use tautline_core::relay::{Limits, Settings};
    use tautline_core::wire::proof::MasterKey;

    use super::*;

    fn relay_of_nobody() -> Relay {
        let settings = Settings::new(MasterKey([0; 32]), Incarnation(1));
        Relay::new(settings, Limits::default(), [0; 32])
    }

    #[test]
    fn the_text_names_every_figure_once_and_ends_as_it_must() {
        let mut relay = Stats::default();
        relay.clients = 3;
        relay.sent.add("peer", 5);
        relay.sent.add("inbox", 2);
        relay.registry.connected = 7;
        relay.registry.verdicts.add("subnet_cap", 9);
        relay.datagrams_dropped.count("unexpected");
        let mut driver = Statistics::default();
        driver.idle = std::time::Duration::from_millis(1_500);
        driver.refused.proxy_malformed = 4;
        driver.datagrams_dropped.queue_full = 6;
        let mut heartbeats = relay_of_nobody().heartbeats();
        heartbeats.in_flight = 2;
        relay.heartbeats.prober.sent = 8;
        relay.heartbeats.monitor.ended = 1;
        let text = encode_all(&relay, &heartbeats, &driver).unwrap();
        for line in [
            "tautline_clients 3",
            "tautline_sent_total{way=\"peer\"} 5",
            "tautline_sent_total{way=\"inbox\"} 2",
            "tautline_persistent_connections{state=\"open\"} 7",
            "tautline_persistent_connections{state=\"granted\"} 0",
            "tautline_verdicts_total{verdict=\"subnet_cap\"} 9",
            "tautline_protocol_datagrams_dropped_total{reason=\"unexpected\"} 1",
            "tautline_loop_idle_seconds_total 1.5",
            "tautline_driver_refused_total{reason=\"proxy_malformed\"} 4",
            "tautline_driver_refused_total{reason=\"socket\"} 0",
            "tautline_datagrams_dropped_total{reason=\"queue_full\"} 6",
            "tautline_datagrams_dropped_total{reason=\"no_socket\"} 0",
            "tautline_heartbeat_probes_in_flight 2",
            "tautline_heartbeat_window 1",
            "tautline_heartbeat_worst_case_seconds 65.0",
            "tautline_heartbeat_monitor_worst_case_seconds 0.0",
            "tautline_heartbeat_probes_sent_total 8",
            "tautline_heartbeat_ended_total{rule=\"response_timeout\"} 0",
            "tautline_heartbeat_ended_total{rule=\"heartbeat\"} 1",
        ] {
            assert!(text.lines().any(|each| each == line), "{line}\n{text}");
        }
        let mut types: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("# TYPE"))
            .collect();
        let count = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), count);
        assert!(text.ends_with("# EOF\n"));
    }
}
