//! Heartbeats on the persistent connection.

use super::*;
use crate::client::{HeartbeatSettings, Heartbeats};
use crate::heartbeat::{Advice, Rule};
use crate::registration::body::HeartbeatFigures;
use crate::wire::message::{Ping, Pong, ServeWriter};
use crate::wire::{datagram, proof::SessionKey};
use crate::{Close, Endpoint};

mod figures;

const HOUR: Duration = Duration::from_secs(3_600);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn figures(period_s: u32, heartbeat_s: u32, frequency_s: u32) -> HeartbeatFigures {
    HeartbeatFigures {
        period_s,
        heartbeat_s,
        frequency_s,
    }
}

/// A client that does not register again during the test, nor asks its inbox.
fn quiet(heartbeat: HeartbeatSettings) -> Rig<Client> {
    let mut settings = settings();
    settings.poll_interval = Duration::ZERO;
    settings.heartbeat = heartbeat;
    client_with(settings, Limits::default())
}

fn of_relay(figures: HeartbeatFigures) -> Answer {
    Answer {
        heartbeat: Some(figures),
        register_again_s: 864_000,
        ..answer(true, true)
    }
}

/// A client whose persistent connection is open, and that, with a relay of
/// these figures.
fn watching(heartbeat: HeartbeatSettings, relay: HeartbeatFigures) -> (Rig<Client>, ConnId) {
    let mut rig = registered_by(quiet(heartbeat), &of_relay(relay));
    let told = rig.told();
    assert!(matches!(told[..], [Event::Registered { .. }]), "{told:?}");
    upgraded(rig)
}

/// One that probes by itself every minute.
fn probing() -> (Rig<Client>, ConnId) {
    let heartbeat = HeartbeatSettings {
        period: MINUTE,
        ..HeartbeatSettings::default()
    };
    watching(heartbeat, figures(0, 0, 0))
}

/// One that only listens, as the seed has it.
fn listening() -> (Rig<Client>, ConnId) {
    watching(HeartbeatSettings::default(), figures(600, 0, 0))
}

fn ping() -> Vec<u8> {
    frame(ToClient::Ping(Ping { nonce: 7 }))
}

fn pong(nonce: u64) -> Vec<u8> {
    frame(ToClient::Pong(Pong { nonce }))
}

/// The end by a heartbeat that was told, and that all is as after any lost
/// connection.
#[track_caller]
fn ended(rig: &mut Rig<Client>, conn: ConnId) -> (Duration, Rule) {
    let told = rig.told();
    let why = Failure::TimedOut;
    let [
        Event::HeartbeatEnded { silent_for, rule },
        Event::Disconnected { why: told_why },
    ] = told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(told_why, why);
    assert_eq!(rig.wire(conn).closed, Some(Close::Abort));
    assert!(!rig.endpoint.is_connected());
    (silent_for, rule)
}

/// Lets time pass until the connection is ended; returns how long that took.
fn until_ended(rig: &mut Rig<Client>, conn: ConnId) -> Duration {
    let start = rig.now;
    while rig.wire(conn).closed.is_none() {
        let at = rig.deadline.expect("a deadline");
        rig.wait(at.saturating_since(rig.now));
    }
    rig.now.saturating_since(start)
}

/// The clock jumps, and the driver sees that its deadline is over.
fn sleep(rig: &mut Rig<Client>, span: Duration) {
    rig.now = rig.now + span;
    rig.tell(Input::Timeout);
}

#[test]
fn h1_with_the_figures_of_the_seed_a_silent_relay_is_left_between_1201_and_1261_s() {
    // The last bytes come at any moment of the monitor's minute.
    for offset in [0, 1, 29, 30, 59, 60, 61] {
        let (mut rig, conn) = listening();
        rig.wait(seconds(offset));
        rig.feed(conn, &ping());
        let waited = until_ended(&mut rig, conn);
        assert!(
            (seconds(1_201)..=seconds(1_261)).contains(&waited),
            "{waited:?} after {offset} s"
        );
        assert_eq!(ended(&mut rig, conn), (waited, Rule::Heartbeat));
        assert_eq!(rig.endpoint.stats().ended_by_monitor, 1);
        assert_eq!(rig.endpoint.stats().ended_by_prober, 0);
        assert!(until_connect(&mut rig) <= 30 * SECOND);
        let control = connected(&mut rig);
        let asked = request(&mut rig, control);
        assert!(asked.starts_with("POST /v1/register "), "{asked}");
    }
}

#[test]
fn h1_a_relay_that_lives_is_never_left() {
    let (mut rig, conn) = listening();
    for _ in 0..500 {
        rig.wait(seconds(600));
        rig.feed(conn, &ping());
        assert_eq!(said(&mut rig, conn), [Said::Pong(7)]);
    }
    // One heartbeat may be lost.
    rig.wait(seconds(1_200));
    rig.feed(conn, &ping());
    rig.wait(seconds(1_200));
    assert_eq!(rig.told(), []);
    assert!(rig.endpoint.is_connected());
}

#[test]
fn the_figures_follow_the_relay_unless_they_are_set() {
    let set = |heartbeat, frequency| HeartbeatSettings {
        heartbeat: Some(seconds(heartbeat)),
        frequency: Some(seconds(frequency)),
        ..HeartbeatSettings::default()
    };
    let follows = HeartbeatSettings::default();
    for (own, relay, heartbeat, frequency) in [
        (follows, figures(60, 0, 0), 121, 6),
        (follows, figures(1, 0, 0), 3, 1),
        (follows, figures(43_199, 0, 0), 86_399, 4_320),
        (set(300, 7), figures(60, 0, 0), 300, 7),
    ] {
        let (mut rig, conn) = watching(own, relay);
        let waited = until_ended(&mut rig, conn);
        let range = seconds(heartbeat)..=seconds(heartbeat + frequency);
        assert!(range.contains(&waited), "{waited:?}, {relay:?}");
        assert_eq!(ended(&mut rig, conn), (waited, Rule::Heartbeat));
    }
    for (own, relay) in [
        (follows, figures(0, 0, 0)),
        (follows, figures(43_200, 0, 0)),
        (follows, figures(u32::MAX, 0, 0)),
        (set(0, 60), figures(60, 0, 0)),
        (set(1_201, 0), figures(60, 0, 0)),
    ] {
        let (mut rig, _conn) = watching(own, relay);
        rig.wait(100 * HOUR);
        assert_eq!(rig.told(), [], "{own:?}, {relay:?}");
        assert!(rig.endpoint.is_connected());
    }
    // A relay that does not say.
    let (mut rig, _conn) = with_line(Limits::default());
    rig.wait(5 * HOUR);
    assert_eq!(rig.told(), []);
}

#[test]
fn the_client_says_which_figures_it_goes_by() {
    let follows = HeartbeatSettings::default();
    let asks = HeartbeatSettings {
        period: seconds(7),
        response_timeout: Duration::from_millis(1_500),
        ..follows
    };
    let set = HeartbeatSettings {
        heartbeat: Some(seconds(300)),
        frequency: Some(Duration::ZERO),
        ..follows
    };
    let off = Heartbeats {
        relay_period: None,
        period: Duration::ZERO,
        response_timeout: seconds(5),
        heartbeat: Duration::ZERO,
        frequency: SECOND,
        worst_case_detection: None,
    };
    assert_eq!(quiet(follows).endpoint.heartbeats(), off);
    // The settings, the relay's period; heartbeat, frequency, found within.
    let millis = Duration::from_millis;
    for (own, period, heartbeat, frequency, within) in [
        (follows, 600, 1_201, seconds(60), Some(seconds(1_261))),
        (follows, 48, 97, millis(4_800), Some(millis(101_800))),
        (follows, 43_200, 0, SECOND, None),
        (follows, 0, 0, SECOND, None),
        (asks, 0, 0, SECOND, Some(millis(8_500))),
        (asks, 600, 1_201, seconds(60), Some(millis(8_500))),
        (asks, 1, 3, SECOND, Some(seconds(4))),
        (set, 60, 300, Duration::ZERO, None),
    ] {
        let rig = registered_by(quiet(own), &of_relay(figures(period, 0, 0)));
        let expected = Heartbeats {
            relay_period: Some(seconds(period.into())),
            period: own.period,
            response_timeout: own.response_timeout,
            heartbeat: seconds(heartbeat),
            frequency,
            worst_case_detection: within,
        };
        assert_eq!(rig.endpoint.heartbeats(), expected, "{own:?}, {period}");
    }
}

#[test]
fn what_was_set_holds_with_a_relay_that_does_not_say() {
    let own = HeartbeatSettings {
        heartbeat: Some(seconds(200)),
        ..HeartbeatSettings::default()
    };
    let (mut rig, conn) = opened(quiet(own));
    let waited = until_ended(&mut rig, conn);
    assert!(
        (seconds(200)..=seconds(210)).contains(&waited),
        "{waited:?}"
    );
    assert_eq!(ended(&mut rig, conn), (waited, Rule::Heartbeat));
}

#[test]
fn h1_a_relay_that_does_not_answer_is_left_after_the_response_timeout() {
    let (mut rig, conn) = probing();
    let mut start = rig.now;
    for _ in 0..100 {
        let mut nonce = None;
        while nonce.is_none() {
            let at = rig.deadline.expect("a deadline");
            rig.wait(at.saturating_since(rig.now));
            nonce = said(&mut rig, conn).pop();
        }
        assert!(rig.now.saturating_since(start) <= MINUTE);
        start = rig.now;
        let Some(Said::Ping(nonce)) = nonce else {
            panic!("{nonce:?}");
        };
        rig.wait(seconds(5) - Duration::from_millis(1));
        rig.feed(conn, &pong(nonce));
    }
    assert_eq!(rig.told(), []);
    let stats = rig.endpoint.stats();
    assert_eq!((stats.probes_sent, stats.probes_answered), (100, 100));
    assert_eq!((stats.probes_late, stats.probes_saved), (0, 0));

    let heard = rig.now;
    let waited = until_ended(&mut rig, conn);
    let asked = heard + (waited - seconds(5));
    assert_eq!(asked, start + MINUTE, "from start to start");
    assert!(matches!(said(&mut rig, conn)[..], [Said::Ping(_)]));
    assert_eq!(ended(&mut rig, conn), (waited, Rule::ResponseTimeout));
    let stats = rig.endpoint.stats();
    assert_eq!((stats.ended_by_prober, stats.ended_by_monitor), (1, 0));
}

#[test]
fn h1_any_bytes_of_the_relay_settle_a_probe() {
    let (mut rig, conn) = probing();
    for _ in 0..10 {
        rig.wait(MINUTE);
        rig.feed(conn, &notification(1));
        assert_eq!(
            rig.told().len(),
            usize::from(rig.endpoint.stats().probes_sent == 1)
        );
    }
    assert!(rig.endpoint.is_connected());
    assert!(rig.endpoint.stats().probes_sent >= 10);
    assert_eq!(rig.endpoint.stats().probes_answered, 0);
}

#[test]
fn the_relays_own_heartbeats_save_the_clients() {
    let (mut rig, conn) = probing();
    for _ in 0..600 {
        rig.wait(seconds(10));
        rig.feed(conn, &ping());
    }
    let stats = rig.endpoint.stats();
    assert!(stats.probes_saved >= 100, "{stats:?}");
    assert_eq!(stats.probes_sent, 0);
    assert!(said(&mut rig, conn).iter().all(|it| *it == Said::Pong(7)));
}

#[test]
fn h4_five_hours_of_sleep_end_nothing_before_a_probe_was_tried() {
    // Before the probe is sent, and after it.
    for awake in [Duration::ZERO, MINUTE] {
        let (mut rig, conn) = probing();
        rig.wait(awake);
        said(&mut rig, conn);
        for _ in 0..3 {
            sleep(&mut rig, 5 * HOUR);
            assert_eq!(rig.told(), []);
            while !matches!(said(&mut rig, conn)[..], [Said::Ping(_)]) {
                let at = rig.deadline.expect("a deadline");
                rig.wait(at.saturating_since(rig.now));
                assert_eq!(rig.told(), []);
            }
            rig.wait(seconds(4));
            assert!(rig.endpoint.is_connected());
        }
        // The relay went away meanwhile.
        let waited = until_ended(&mut rig, conn);
        assert_eq!(waited, SECOND);
        let (silent_for, rule) = ended(&mut rig, conn);
        assert_eq!(rule, Rule::ResponseTimeout);
        assert!(silent_for < HOUR, "asleep is not silent: {silent_for:?}");
    }
}

#[test]
fn h4_five_hours_of_sleep_end_nothing_before_what_waits_was_read() {
    let (mut rig, conn) = listening();
    rig.wait(seconds(1_190));
    sleep(&mut rig, 5 * HOUR);
    assert_eq!(rig.told(), []);
    rig.feed(conn, &ping());
    rig.wait(seconds(1_200));
    assert_eq!(rig.told(), []);
    // What is not there after that is told as soon as ever.
    let waited = seconds(1_200) + until_ended(&mut rig, conn);
    assert!(waited <= seconds(1_261), "{waited:?}");
    assert_eq!(ended(&mut rig, conn), (waited, Rule::Heartbeat));

    let (mut rig, conn) = listening();
    rig.wait(seconds(1_190));
    sleep(&mut rig, 5 * HOUR);
    let waited = until_ended(&mut rig, conn);
    assert!(waited <= seconds(61), "nothing waited: {waited:?}");
    assert_eq!(ended(&mut rig, conn).1, Rule::Heartbeat);
}

#[test]
fn h4_a_frame_that_was_amid_has_its_time_after_the_sleep() {
    let (mut rig, conn) = listening();
    rig.feed(conn, &ping()[..10]);
    sleep(&mut rig, 5 * HOUR);
    rig.wait(seconds(29));
    rig.feed(conn, &ping()[10..]);
    assert_eq!(said(&mut rig, conn), [Said::Pong(7)]);
    rig.wire(conn).blocks = true;
    rig.feed(conn, &ping());
    sleep(&mut rig, 5 * HOUR);
    rig.wait(seconds(29));
    assert_eq!(rig.told(), []);
    rig.wait(SECOND);
    let why = Failure::TimedOut;
    assert_eq!(rig.told()[0], Event::Disconnected { why });
}

#[test]
fn a_frame_that_is_amid_is_no_silence() {
    // A relay that takes nothing is judged by the deadline of that.
    let own = HeartbeatSettings {
        period: seconds(2),
        response_timeout: SECOND,
        heartbeat: Some(seconds(5)),
        frequency: Some(SECOND),
    };
    let (mut rig, conn) = watching(own, figures(1, 0, 0));
    rig.wire(conn).blocks = true;
    rig.feed(conn, &ping());
    rig.wait(seconds(29));
    assert_eq!(rig.told(), []);
    assert_eq!(said(&mut rig, conn), [Said::Pong(7)], "and no probe");
    rig.writable(conn);
    // Half of a frame is silent, but not for longer than it may take.
    rig.feed(conn, &pong(1));
    let waited = until_ended(&mut rig, conn);
    assert!(waited <= seconds(3), "{waited:?}");
    assert_eq!(ended(&mut rig, conn).1, Rule::ResponseTimeout);

    let own = HeartbeatSettings {
        period: Duration::ZERO,
        ..own
    };
    let (mut rig, conn) = watching(own, figures(1, 0, 0));
    rig.feed(conn, &ping()[..10]);
    rig.wait(seconds(29));
    assert_eq!(rig.told(), []);
    rig.feed(conn, &ping()[10..]);
    let waited = until_ended(&mut rig, conn);
    assert!((seconds(5)..=seconds(6)).contains(&waited), "{waited:?}");
}

/// A client whose probe was to be written, and is so late.
fn probed_late(late: Duration) -> (Rig<Client>, ConnId) {
    let (mut rig, conn) = probing();
    let Some(at) = rig.deadline else { panic!() };
    let mut buf = alloc::vec![0; rig.buf_bytes];
    // The driver takes one thing only, and comes back late.
    let bytes = notification(1);
    rig.now = at;
    let now = rig.now;
    rig.endpoint.handle_input(
        now,
        Input::Received {
            conn,
            bytes: &bytes,
        },
    );
    rig.endpoint.handle_input(now, Input::Timeout);
    let output = rig.endpoint.poll_output(&mut buf);
    assert!(matches!(output, crate::Output::Event(_)), "{output:?}");
    rig.now = now + late;
    rig.tell(Input::Timeout);
    assert_eq!(rig.endpoint.stats().probes_sent, 1);
    (rig, conn)
}

#[test]
fn an_answer_in_time_to_a_probe_that_was_written_late_counts_as_answered() {
    for late in [100, 4_900, 5_000, 5_900] {
        let (mut rig, conn) = probed_late(Duration::from_millis(late));
        let [Said::Ping(nonce)] = said(&mut rig, conn)[..] else {
            panic!("nothing was asked");
        };
        rig.wait(seconds(5) - Duration::from_millis(1));
        rig.feed(conn, &pong(nonce));
        let stats = rig.endpoint.stats();
        assert_eq!((stats.probes_answered, stats.probes_late), (1, 0), "{late}");
        assert_eq!(rig.told(), [], "{late}");
    }
}

#[test]
fn a_probe_that_was_not_written_needs_no_answer() {
    let (mut rig, conn) = probed_late(seconds(5) + Duration::from_millis(900));
    assert!(matches!(said(&mut rig, conn)[..], [Said::Ping(_)]));
    assert_eq!(rig.told(), []);
    // The next one is written, and needs one.
    let waited = until_ended(&mut rig, conn);
    assert!(waited <= MINUTE + seconds(5), "{waited:?}");
    assert_eq!(ended(&mut rig, conn).1, Rule::ResponseTimeout);
}

#[test]
fn a_relay_is_not_asked_while_this_end_does_not_read() {
    let mut settings = settings();
    settings.poll_interval = Duration::ZERO;
    settings.datagrams_per_second_max = 1;
    settings.heartbeat = HeartbeatSettings {
        period: seconds(2),
        response_timeout: SECOND,
        heartbeat: Some(seconds(4)),
        frequency: Some(SECOND),
    };
    let address = "10.0.0.9".parse().unwrap();
    settings.interfaces = [crate::registration::Interface {
        address,
        prefix: 24,
    }]
    .into();
    let rig = client_with(settings, Limits::default());
    let (mut rig, conn) = upgraded({
        let mut rig = registered_by(rig, &of_relay(figures(2, 0, 0)));
        rig.told();
        rig
    });
    let content = datagram::Content::Test(datagram::Test { nonce: 1 });
    let fanout = datagram::Fanout::new(&content);
    let mut bytes = alloc::vec![0; 4_096];
    let mut writer = ServeWriter::new(&mut bytes, &content);
    for host in 1..=8 {
        let target = ([10, 0, 0, 100 + host], 52_311).into();
        let client = ClientId([host; 16]);
        let mac = fanout.mac(client, 1, &SessionKey([1; 32]));
        assert!(writer.push(target, client, 1, mac));
    }
    let len = writer.finish(1).unwrap();
    rig.feed(conn, &bytes[..len]);
    rig.feed(conn, &ping());
    rig.wait(seconds(6));
    assert_eq!((rig.told(), said(&mut rig, conn)), ([].into(), [].into()));
    rig.wait(seconds(2));
    assert_eq!(rig.datagrams.len(), 8);
    assert!(rig.endpoint.is_connected());
    assert!(said(&mut rig, conn).contains(&Said::Pong(7)));
    // It reads again, and asks.
    let waited = until_ended(&mut rig, conn);
    assert!(waited <= seconds(3), "{waited:?}");
    assert_eq!(ended(&mut rig, conn).1, Rule::ResponseTimeout);
}
