//! Drivers that are late, sleep, or do not take what is told.

use super::*;
use crate::{Input, Output};

/// Two clients of which one is to be asked at this moment. Its question is not
/// written yet, as the driver stopped behind another write.
fn asked_and_unwritten() -> (Rig<Relay>, ClientId, ConnId) {
    let mut rig = relay_watching(asking(seconds(60)));
    let clients = [join(&mut rig), join(&mut rig)];
    let conns = clients.map(|(_, conn)| conn);
    // Each was heard in the last period.
    let asked = answer_all(&mut rig, &conns, seconds(120));
    let (at, next) = (0..2)
        .map(|at| (at, *asked[at].last().unwrap() + seconds(60)))
        .min_by_key(|(_, next)| *next)
        .unwrap();
    rig.now = next;
    let (now, other) = (rig.now, conns[1 - at]);
    let bytes = ping();
    rig.endpoint.handle_input(
        now,
        Input::Received {
            conn: other,
            bytes: &bytes,
        },
    );
    let mut buf = alloc::vec![0; rig.buf_bytes];
    let output = rig.endpoint.poll_output(&mut buf);
    assert!(matches!(output, Output::Write { conn, .. } if conn == other));
    assert_eq!(rig.endpoint.heartbeats().in_flight, 1);
    let (client, conn) = clients[at];
    assert_eq!(said(&mut rig, conn), []);
    (rig, client, conn)
}

#[test]
fn an_answer_has_its_time_from_the_moment_that_the_question_was_written() {
    for late in [4_900, 5_000, 5_900] {
        let (mut rig, client, conn) = asked_and_unwritten();
        rig.now = rig.now + Duration::from_millis(late);
        rig.tell(Input::Timeout);
        assert!(matches!(said(&mut rig, conn)[..], [Said::Ping(_)]));
        assert_eq!(rig.told(), [], "{late}");
        assert_eq!(rig.endpoint.heartbeats().in_flight, 1);
        assert_eq!(until_ended(&mut rig, conn), TIMEOUT, "{late}");
        let (silent_for, rule) = ended(&mut rig, client, conn);
        assert_eq!(rule, Rule::ResponseTimeout);
        assert_eq!(silent_for, seconds(65) + Duration::from_millis(late));
        let stats = rig.endpoint.stats().heartbeats.prober;
        assert_eq!((stats.ended, stats.jumps), (1, 0));
    }
}

#[test]
fn an_answer_in_time_to_a_question_that_was_written_late_counts_as_answered() {
    for late in [100, 4_900, 5_000, 5_900] {
        let (mut rig, _, conn) = asked_and_unwritten();
        let before = rig.endpoint.stats().heartbeats.prober;
        rig.now = rig.now + Duration::from_millis(late);
        rig.tell(Input::Timeout);
        let [Said::Ping(nonce)] = said(&mut rig, conn)[..] else {
            panic!("nothing was asked");
        };
        rig.wait(TIMEOUT - MILLISECOND);
        rig.feed(conn, &pong(nonce));
        let stats = rig.endpoint.stats().heartbeats.prober;
        assert_eq!(stats.answered, before.answered + 1, "{late}");
        assert_eq!((stats.late, stats.unasked), (0, 0), "{late}");
        assert_eq!(rig.told(), [], "{late}");
    }
}

#[test]
fn ends_wait_for_room_for_their_events() {
    let mut settings = open_settings();
    settings.heartbeat = asking(seconds(60));
    let limits = Limits {
        events_max: 1,
        ..Limits::default()
    };
    let mut rig = relay_with(settings, limits);
    let clients: Vec<_> = (0..30).map(|_| join(&mut rig)).collect();
    // All of them are to be ended at one moment.
    let asked = rig.now + seconds(60);
    rig.wait(asked.saturating_since(rig.now));
    rig.wait(TIMEOUT);
    let told = rig.told();
    assert_eq!(told.len(), 2 * clients.len());
    for pair in told.chunks(2) {
        let [
            Event::HeartbeatEnded { conn, .. },
            Event::Disconnected { conn: gone, .. },
        ] = pair
        else {
            panic!("{pair:?}");
        };
        assert_eq!(conn, gone);
    }
    assert_eq!(count(&rig, |stats| stats.lines), 0);
}

#[test]
fn h4_five_hours_of_sleep_end_nobody_before_it_was_asked() {
    // Before it is asked, and after that.
    for awake in [Duration::ZERO, seconds(60)] {
        let mut rig = relay_watching(asking(seconds(60)));
        let (client, conn) = join(&mut rig);
        rig.wait(awake);
        said(&mut rig, conn);
        for _ in 0..3 {
            rig.now = rig.now + 5 * HOUR;
            rig.tell(Input::Timeout);
            assert_eq!(rig.told(), []);
            until_asked(&mut rig, conn);
            rig.wait(seconds(4));
            assert_eq!(rig.told(), []);
        }
        assert_eq!(until_ended(&mut rig, conn), SECOND);
        let (silent_for, rule) = ended(&mut rig, client, conn);
        assert_eq!(rule, Rule::ResponseTimeout);
        assert!(silent_for < HOUR, "asleep is not silent: {silent_for:?}");
        assert_eq!(rig.endpoint.stats().heartbeats.prober.jumps, 3);
    }
}

#[test]
fn h4_what_was_amid_a_frame_or_blocked_has_its_time_after_the_sleep() {
    let mut rig = relay_watching(asking(Duration::ZERO));
    let (_, amid) = join(&mut rig);
    let (_, blocked) = join(&mut rig);
    let ping = ping();
    let (first, rest) = ping.split_at(5);
    rig.feed(amid, first);
    rig.tell(Input::Blocked { conn: blocked });
    rig.now = rig.now + 5 * HOUR;
    rig.tell(Input::Timeout);
    assert_eq!(rig.told(), []);
    rig.wait(seconds(29));
    rig.feed(amid, rest);
    rig.writable(blocked);
    rig.wait(seconds(60));
    assert_eq!(rig.told(), []);
    assert_eq!(count(&rig, |stats| stats.lines), 2);
    // Awake, it has no more than that.
    rig.feed(amid, first);
    rig.wait(seconds(31));
    assert!(rig.wire(amid).closed.is_some());
}

#[test]
fn h4_five_hours_of_sleep_end_nobody_before_what_waits_was_read() {
    let mut rig = relay_watching(listening(1_201, 60));
    let clients: Vec<_> = (0..5).map(|_| join(&mut rig)).collect();
    rig.wait(seconds(1_190));
    rig.now = rig.now + 5 * HOUR;
    rig.tell(Input::Timeout);
    assert_eq!(rig.told(), []);
    for (_, conn) in &clients[1..] {
        rig.feed(*conn, &ping());
    }
    let (client, conn) = clients[0];
    let waited = until_ended(&mut rig, conn);
    assert!(waited <= seconds(61), "nothing waited: {waited:?}");
    let (silent_for, rule) = ended(&mut rig, client, conn);
    assert_eq!(rule, Rule::Heartbeat);
    assert!(silent_for < seconds(1_262), "{silent_for:?}");
    rig.wait(seconds(1_100));
    assert_eq!(rig.told(), []);
    assert_eq!(count(&rig, |stats| stats.lines), 4);
}
