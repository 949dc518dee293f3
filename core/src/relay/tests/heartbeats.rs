//! Heartbeats on persistent connections: who is asked when, and who is ended.

use super::members::{Member, confirm, notify, open_settings, serves};
use super::*;
use crate::heartbeat::{InFlight, Rule};
use crate::relay::{Group, HeartbeatSettings, To};
use crate::wire::message::{Ping, Pong};
use crate::{Close, CloseReason, Endpoint};

mod advice;
mod driver;
mod groups;
mod learning;

const NAT: &str = "192.0.2.1";
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);
const TIMEOUT: Duration = Duration::from_secs(5);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A relay whose clients need not register again.
fn relay_watching(heartbeat: HeartbeatSettings) -> Rig<Relay> {
    let mut settings = open_settings();
    settings.heartbeat = heartbeat;
    patient(settings)
}

fn patient(mut settings: Settings) -> Rig<Relay> {
    settings.registry.period = 10_000 * HOUR;
    settings.registry.newcomer_life = 10_000 * HOUR;
    relay_with(settings, Limits::default())
}

/// It asks as often, and has no monitor.
fn asking(period: Duration) -> HeartbeatSettings {
    let mut heartbeat = HeartbeatSettings::default();
    heartbeat.prober.period = period;
    heartbeat
}

/// It asks nobody, and ends who is silent.
fn listening(heartbeat: u64, frequency: u64) -> HeartbeatSettings {
    HeartbeatSettings {
        heartbeat: seconds(heartbeat),
        frequency: seconds(frequency),
        ..asking(Duration::ZERO)
    }
}

/// A client that has just opened its connection.
fn join(rig: &mut Rig<Relay>) -> (ClientId, ConnId) {
    let mut peer = register(rig);
    let conn = peer.connect(rig);
    assert_eq!(said(rig, conn), [Said::Hello]);
    rig.told();
    (peer.id, conn)
}

fn ping() -> Vec<u8> {
    frame(ToRelay::Ping(Ping { nonce: 7 }))
}

fn pong(nonce: u64) -> Vec<u8> {
    frame(ToRelay::Pong(Pong { nonce }))
}

/// Lets time pass until the relay's next deadline.
fn step(rig: &mut Rig<Relay>) {
    let at = rig.deadline.expect("a deadline");
    rig.wait(at.saturating_since(rig.now));
}

/// Lets time pass until a client is asked; returns the nonce.
fn until_asked(rig: &mut Rig<Relay>, conn: ConnId) -> u64 {
    loop {
        match said(rig, conn)[..] {
            [] => step(rig),
            [Said::Ping(nonce)] => return nonce,
            ref other => panic!("{other:?}"),
        }
    }
}

/// Lets time pass until a connection is ended; returns how long that took.
fn until_ended(rig: &mut Rig<Relay>, conn: ConnId) -> Duration {
    let start = rig.now;
    while rig.wire(conn).closed.is_none() {
        step(rig);
    }
    rig.now.saturating_since(start)
}

/// Answers at once whatever is asked, and notes when that was.
fn answer_all(rig: &mut Rig<Relay>, conns: &[ConnId], span: Duration) -> Vec<Vec<Instant>> {
    let end = rig.now + span;
    let mut asked = alloc::vec![Vec::new(); conns.len()];
    loop {
        for (conn, asked) in conns.iter().zip(&mut asked) {
            for it in said(rig, *conn) {
                if let Said::Ping(nonce) = it {
                    asked.push(rig.now);
                    rig.feed(*conn, &pong(nonce));
                }
            }
        }
        let next = rig.deadline.filter(|at| *at <= end);
        let Some(at) = next else {
            rig.wait(end.saturating_since(rig.now));
            return asked;
        };
        rig.wait(at.saturating_since(rig.now));
    }
}

/// The spans between.
fn spans(asked: &[Instant]) -> Vec<Duration> {
    let pairs = asked.windows(2);
    pairs
        .map(|pair| pair[1].saturating_since(pair[0]))
        .collect()
}

/// The end by a heartbeat, which is told once, and that all is as after any
/// lost connection.
#[track_caller]
fn ended(rig: &mut Rig<Relay>, client: ClientId, conn: ConnId) -> (Duration, Rule) {
    let told = rig.told();
    let [
        Event::HeartbeatEnded {
            client: of,
            conn: on,
            silent_for,
            rule,
        },
        gone,
    ] = told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!((of, on), (client, conn));
    let why = rule.name();
    assert_eq!(gone, Event::Disconnected { client, conn, why });
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
    assert!(!rig.endpoint.client(client).unwrap().is_connected());
    (silent_for, rule)
}

#[test]
fn h1_who_answers_is_asked_once_a_period_and_never_ended() {
    let mut rig = relay_watching(asking(seconds(60)));
    let (_, conn) = join(&mut rig);
    let start = rig.now;
    let mut asked = Vec::new();
    for _ in 0..100 {
        let nonce = until_asked(&mut rig, conn);
        asked.push(rig.now);
        // Just before the limit.
        rig.wait(TIMEOUT - MILLISECOND);
        rig.feed(conn, &pong(nonce));
    }
    assert!(asked[0].saturating_since(start) <= seconds(60));
    assert!(spans(&asked).iter().all(|span| *span == seconds(60)));
    assert_eq!(rig.told(), []);
    let stats = rig.endpoint.stats().heartbeats;
    assert_eq!((stats.prober.sent, stats.prober.answered), (100, 100));
    assert_eq!((stats.prober.late, stats.prober.ended), (0, 0));
    assert_eq!(stats.monitor, Default::default());
}

#[test]
fn h1_who_is_silent_is_ended_within_a_period_and_a_response_timeout() {
    let mut rig = relay_watching(asking(seconds(60)));
    let (client, conn) = join(&mut rig);
    let nonce = until_asked(&mut rig, conn);
    rig.wait(SECOND);
    rig.feed(conn, &pong(nonce));
    let heard = rig.now;
    assert_eq!(rig.endpoint.heartbeats().in_flight, 0);
    until_asked(&mut rig, conn);
    assert_eq!(rig.now, heard + seconds(59), "from start to start");
    assert_eq!(rig.endpoint.heartbeats().in_flight, 1);
    assert_eq!(until_ended(&mut rig, conn), TIMEOUT);
    let told = ended(&mut rig, client, conn);
    assert_eq!(told, (seconds(64), Rule::ResponseTimeout));
    assert_eq!(count(&rig, |stats| stats.lines), 0);
    assert_eq!(count(&rig, |stats| stats.heartbeats.prober.ended), 1);
    // Just after the limit: nobody is there to hear it, and nothing follows.
    rig.feed(conn, &pong(nonce));
    rig.wait(HOUR);
    assert_eq!(rig.told(), []);
    assert_eq!(rig.endpoint.heartbeats().connections, 0);
}

#[test]
fn h1_any_bytes_of_a_client_count_as_life() {
    let mut rig = relay_watching(asking(seconds(60)));
    let (_, conn) = join(&mut rig);
    let half = ping().len() / 2;
    for round in 0..20 {
        until_asked(&mut rig, conn);
        rig.wait(TIMEOUT - MILLISECOND);
        // Half of a frame, and its end the next time.
        let bytes = ping();
        let (front, back) = bytes.split_at(half);
        rig.feed(conn, front);
        rig.wait(seconds(20));
        rig.feed(conn, back);
        assert_eq!(said(&mut rig, conn), [Said::Pong(7)], "{round}");
    }
    assert_eq!(rig.told(), []);
    let stats = rig.endpoint.stats().heartbeats.prober;
    assert_eq!((stats.answered, stats.ended), (0, 0));
    assert!(stats.sent >= 20, "{stats:?}");
}

#[test]
fn traffic_both_ways_saves_probes() {
    let mut rig = relay_watching(asking(seconds(60)));
    let (_, conn) = join(&mut rig);
    for _ in 0..600 {
        rig.wait(seconds(10));
        rig.feed(conn, &ping());
        assert_eq!(said(&mut rig, conn), [Said::Pong(7)]);
    }
    let stats = rig.endpoint.stats().heartbeats.prober;
    assert_eq!(stats.sent, 0);
    assert!(stats.saved >= 100, "{stats:?}");
}

#[test]
fn h1_with_the_figures_of_the_seed_a_silent_client_is_ended_between_1201_and_1261_s() {
    // The monitor looks from the moment that the first connection is there.
    for offset in [0, 1, 29, 30, 59, 60, 61] {
        let mut rig = relay_watching(listening(1_201, 60));
        let (client, conn) = join(&mut rig);
        rig.wait(seconds(offset));
        rig.feed(conn, &ping());
        assert_eq!(said(&mut rig, conn), [Said::Pong(7)]);
        let waited = until_ended(&mut rig, conn);
        // The first look behind 1201 s; a look at 1201 s is one too early.
        let looks = (offset + 1_201) / 60 + 1;
        assert_eq!(waited, seconds(looks * 60 - offset));
        assert!(waited > seconds(1_201) && waited <= seconds(1_261));
        assert_eq!(ended(&mut rig, client, conn), (waited, Rule::Heartbeat));
        let stats = rig.endpoint.stats().heartbeats;
        assert_eq!((stats.monitor.ended, stats.prober.ended), (1, 0));
    }
}

#[test]
fn h1_the_figures_of_the_seed_never_end_a_client_that_lives() {
    let mut heartbeat = listening(1_201, 60);
    heartbeat.prober.period = seconds(600);
    let mut rig = relay_watching(heartbeat);
    let conns: Vec<_> = (0..20).map(|_| join(&mut rig).1).collect();
    let asked = answer_all(&mut rig, &conns, 200 * HOUR);
    assert!(asked.iter().all(|asked| asked.len() >= 1_199));
    assert_eq!(rig.told(), []);
    assert!(rig.endpoint.stats().heartbeats.monitor.checks >= 11_999);
}

#[test]
fn what_is_off_says_and_ends_nothing() {
    for heartbeat in [
        asking(Duration::ZERO),
        listening(0, 60),
        listening(1_201, 0),
    ] {
        let mut rig = relay_watching(heartbeat);
        let (_, conn) = join(&mut rig);
        rig.wait(1_000 * HOUR);
        assert_eq!((said(&mut rig, conn), rig.told()), ([].into(), [].into()));
        assert_eq!(rig.endpoint.stats().heartbeats.prober.sent, 0);
        let heartbeats = rig.endpoint.heartbeats();
        assert_eq!(heartbeats.worst_case_detection, None);
        assert_eq!(heartbeats.monitor_detection, None);
    }
}

#[test]
fn p4_who_is_ended_leaves_its_ways_to_others_at_once() {
    let mut heartbeat = asking(seconds(4));
    heartbeat.prober.response_timeout = SECOND;
    let mut rig = relay_watching(heartbeat);
    let inner = ["10.0.0.1/24", "10.0.0.2/24"];
    let peers = inner.map(|inner| Member::connected(&mut rig, NAT, inner));
    let other = Member::quiet(&mut rig, NAT, "10.0.0.100/24");
    let conns = [peers[0].1, peers[1].1];
    answer_all(&mut rig, &conns, seconds(4));
    rig.told();
    let id = notify(&mut rig, To::Client(other.peer.id), b"x");
    let served = conns.map(|conn| serves(&mut rig, conn).len());
    assert_eq!(served[0] + served[1], 1);
    // The one that has it is dead, the other one is not.
    let (dead, alive) = (served[1], served[0]);
    let mut passed_on = Vec::new();
    while rig.wire(conns[dead]).closed.is_none() {
        assert_eq!(passed_on, [], "it has its time");
        step(&mut rig);
        for it in said(&mut rig, conns[alive]) {
            match it {
                Said::Ping(nonce) => rig.feed(conns[alive], &pong(nonce)),
                Said::Serve(_, datagrams) => passed_on = datagrams,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(passed_on.len(), 1, "at the same moment");
    assert_eq!(passed_on[0].0, other.inner());
    let told = ended(&mut rig, peers[dead].0.peer.id, conns[dead]);
    assert_eq!(told.1, Rule::ResponseTimeout);
    assert!(told.0 <= seconds(5), "{told:?}");
    confirm(&mut rig, conns[alive], 1);
    assert_eq!(rig.endpoint.notification(id).unwrap().sent, 1);
    // The dead one itself is told by the one that is left.
    notify(&mut rig, To::Client(peers[dead].0.peer.id), b"y");
    let frames = serves(&mut rig, conns[alive]);
    assert_eq!(frames[0].1[0].0, peers[dead].0.inner());
}

#[test]
fn a_connection_that_is_blocked_is_left_to_its_own_deadline() {
    let mut heartbeat = listening(5, 1);
    heartbeat.prober.period = seconds(2);
    heartbeat.prober.response_timeout = SECOND;
    let mut rig = relay_watching(heartbeat);
    let (client, conn) = join(&mut rig);
    rig.wire(conn).blocks = true;
    rig.feed(conn, &ping());
    rig.wait(seconds(29));
    assert_eq!(rig.told(), []);
    assert_eq!(said(&mut rig, conn), [Said::Pong(7)], "and no probe");
    assert_eq!(rig.endpoint.heartbeats().connections, 0);
    // It takes something, and is asked again.
    rig.writable(conn);
    let waited = until_ended(&mut rig, conn);
    assert!(waited <= seconds(3), "{waited:?}");
    assert_eq!(ended(&mut rig, client, conn).1, Rule::ResponseTimeout);

    let (client, conn) = join(&mut rig);
    rig.wire(conn).blocks = true;
    rig.feed(conn, &ping());
    rig.wait(seconds(30));
    let why = "slow reader";
    assert_eq!(rig.told(), [Event::Disconnected { client, conn, why }]);
}

#[test]
fn blocked_while_it_is_asked_it_is_asked_anew() {
    let mut rig = relay_watching(asking(seconds(60)));
    let (client, conn) = join(&mut rig);
    rig.wire(conn).blocks = true;
    let first = until_asked(&mut rig, conn);
    rig.wait(seconds(20));
    assert_eq!(rig.told(), [], "the question may be with the driver");
    rig.writable(conn);
    // The answer to the first one is late and harmless.
    rig.feed(conn, &pong(first));
    let second = until_asked(&mut rig, conn);
    assert!(second != first);
    assert_eq!(until_ended(&mut rig, conn), TIMEOUT);
    ended(&mut rig, client, conn);
}

#[test]
fn a_frame_that_is_half_received_is_left_to_its_own_deadline() {
    let mut rig = relay_watching(listening(5, 1));
    let (client, conn) = join(&mut rig);
    rig.feed(conn, &ping()[..10]);
    rig.wait(seconds(29));
    assert_eq!(rig.told(), []);
    rig.feed(conn, &ping()[10..]);
    assert_eq!(said(&mut rig, conn), [Said::Pong(7)]);
    let waited = until_ended(&mut rig, conn);
    assert!(
        waited > seconds(5) && waited <= seconds(6),
        "it is over: {waited:?}"
    );
    assert_eq!(ended(&mut rig, client, conn), (waited, Rule::Heartbeat));

    let (client, conn) = join(&mut rig);
    rig.feed(conn, &ping()[..10]);
    rig.wait(seconds(30));
    let why = "protocol error";
    assert_eq!(rig.told(), [Event::Disconnected { client, conn, why }]);
    let refused = rig.endpoint.stats().lines_refused;
    assert_eq!((refused.get("slow_frame"), refused.total()), (1, 1));
}

#[test]
fn what_is_written_in_parts_is_no_life_of_the_client() {
    let mut rig = relay_watching(listening(100, 10));
    let (client, conn) = join(&mut rig);
    for _ in 0..3 {
        rig.wait(seconds(30));
        notify(&mut rig, To::All, &[b'x'; 10_000]);
        assert!(rig.wire(conn).writes.len() > 3, "in parts");
        assert!(matches!(said(&mut rig, conn)[..], [Said::Notification(..)]));
    }
    assert_eq!(rig.told(), []);
    let waited = seconds(90) + until_ended(&mut rig, conn);
    assert_eq!(waited, seconds(110));
    assert_eq!(ended(&mut rig, client, conn), (waited, Rule::Heartbeat));
}

#[test]
fn who_is_closed_or_told_goodbye_while_it_is_asked_is_asked_no_more() {
    let mut rig = relay_watching(asking(seconds(60)));
    for closes in [true, false] {
        let mut peer = register(&mut rig);
        let conn = peer.connect(&mut rig);
        said(&mut rig, conn);
        until_asked(&mut rig, conn);
        if closes {
            rig.closed(conn, CloseReason::Done);
        } else {
            // A renewal takes its place.
            peer.register_again(&mut rig);
            let renewed = peer.connect(&mut rig);
            assert_eq!(said(&mut rig, conn), [Said::Bye("replaced", 0)]);
            assert_eq!(said(&mut rig, renewed), [Said::Hello]);
            answer_all(&mut rig, &[renewed], seconds(600));
        }
        let told = rig.told();
        let ends = |event: &&Event| matches!(event, Event::HeartbeatEnded { .. });
        assert_eq!(told.iter().filter(ends).count(), 0, "{told:?}");
        let heartbeats = rig.endpoint.heartbeats();
        let left = usize::from(!closes);
        assert_eq!((heartbeats.connections, heartbeats.in_flight), (left, 0));
    }
}

/// Ends so many clients that die at one moment; after which time the last one
/// was, and what was said of that before.
fn until_all_ended(in_flight: InFlight, clients: usize) -> (Duration, Duration) {
    let mut heartbeat = asking(seconds(60));
    heartbeat.prober.in_flight = in_flight;
    let mut rig = relay_watching(heartbeat);
    let conns: Vec<_> = (0..clients).map(|_| join(&mut rig).1).collect();
    answer_all(&mut rig, &conns, seconds(200));
    for conn in &conns {
        rig.feed(*conn, &ping());
        said(&mut rig, *conn);
    }
    let heartbeats = rig.endpoint.heartbeats();
    assert_eq!(heartbeats.connections, clients);
    let stated = heartbeats.worst_case_detection.expect("it is on");
    let start = rig.now;
    while rig.endpoint.heartbeats().connections > 0 {
        step(&mut rig);
        let heartbeats = rig.endpoint.heartbeats();
        assert!(heartbeats.in_flight <= heartbeats.window);
    }
    assert_eq!(rig.told().len(), 2 * clients);
    (rig.now.saturating_since(start), stated)
}

#[test]
fn the_worst_case_of_finding_the_dead_is_kept_and_stated() {
    let (took, stated) = until_all_ended(InFlight::Window(1), 20);
    assert_eq!(stated, seconds(60 + 20 * 5));
    assert!(took <= stated, "{took:?}");
    assert!(took >= seconds(20 * 5), "one after another: {took:?}");
    let (took, stated) = until_all_ended(InFlight::Auto, 20);
    assert_eq!(stated, seconds(65));
    assert!(took <= stated, "{took:?}");
}
