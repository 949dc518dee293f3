use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const START: Instant = Instant::from_micros(1_000_000_000);

fn conn(place: u32) -> Key {
    Key::new(place, 3)
}

/// A prober, and peers that answer after `latency` unless they are silent.
struct Rig {
    prober: Prober,
    now: Instant,
    latency: Duration,
    silent: Vec<bool>,
    answers: VecDeque<(Instant, Key, u64)>,
    probes: Vec<(Instant, usize)>,
    ended: Vec<(Instant, Ended)>,
    in_flight_max: u32,
    /// So many more may be unanswered than the window has.
    excess_max: u32,
}

impl Rig {
    fn new(period: u64, in_flight: InFlight, connections: u32) -> Self {
        let settings = ProberSettings {
            period: Duration::from_secs(period),
            in_flight,
            ..ProberSettings::default()
        };
        let limits = ProberLimits {
            connections_max: connections,
            groups_max: 4,
        };
        Self {
            prober: Prober::new(settings, limits).unwrap(),
            now: START,
            latency: 50 * MILLI,
            silent: vec![false; connections as usize],
            answers: VecDeque::new(),
            probes: Vec::new(),
            ended: Vec::new(),
            in_flight_max: 0,
            excess_max: 0,
        }
    }

    /// With all of them connected at one moment.
    fn full(period: u64, in_flight: InFlight, connections: u32) -> Self {
        let mut rig = Self::new(period, in_flight, connections);
        (0..connections).for_each(|place| rig.insert(place, 0));
        rig
    }

    fn insert(&mut self, place: u32, group: u16) {
        self.prober.insert(self.now, conn(place), group).unwrap();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.prober.poll() {
            match effect {
                ProberEffect::Probe { conn, nonce } => {
                    self.probes.push((self.now, conn.index()));
                    if !self.silent[conn.index()] {
                        self.answers
                            .push_back((self.now + self.latency, conn, nonce));
                    }
                }
                ProberEffect::End(ended) => {
                    self.prober.remove(ended.conn);
                    self.ended.push((self.now, ended));
                }
            }
        }
        let (in_flight, window) = (self.prober.in_flight(), self.prober.window());
        let limit = window + self.excess_max;
        assert!(in_flight <= limit, "{in_flight} of {limit}");
        self.in_flight_max = self.in_flight_max.max(in_flight);
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.drain();
            let answer = self.answers.front().map(|(at, _, _)| *at);
            let timeout = self.prober.poll_timeout();
            let next = [answer, timeout].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            // What lies behind is due at once.
            let next = next.max(self.now);
            self.now = next;
            if answer.is_some_and(|at| at <= next) {
                let (_, conn, nonce) = self.answers.pop_front().unwrap();
                self.prober.handle_answer(next, conn, nonce);
            } else {
                self.prober.handle_timeout(next);
            }
        }
        self.now = end;
    }

    fn silence(&mut self, places: impl IntoIterator<Item = u32>) {
        for place in places {
            self.silent[place as usize] = true;
        }
    }

    /// Probes in each span of the run that began with `from`.
    fn rates(&self, from: Instant, span: Duration, count: usize) -> Vec<usize> {
        let mut rates = vec![0; count];
        for (at, _) in self.probes.iter().filter(|(at, _)| *at >= from) {
            let bin = at.saturating_since(from).as_micros() / span.as_micros();
            if let Some(rate) = rates.get_mut(bin as usize) {
                *rate += 1;
            }
        }
        rates
    }
}

#[test]
fn probes_of_a_fleet_that_connects_at_once_are_spread_evenly() {
    let mut rig = Rig::full(60, InFlight::Auto, 19_000);
    rig.run(180 * SECOND);
    for rate in rig.rates(START, SECOND, 180) {
        assert!((300..335).contains(&rate), "{rate} in a second, of 316");
    }
    assert!(rig.ended.is_empty());
    let stats = rig.prober.stats();
    assert_eq!(stats.sent, 3 * 19_000);
    assert!(stats.answered > stats.sent - 20 && stats.late == 0);
}

#[test]
fn probes_of_a_fleet_that_connects_one_by_one_are_spread_evenly() {
    let mut rig = Rig::new(60, InFlight::Auto, 6_000);
    for place in 0..6_000 {
        rig.insert(place, 0);
        rig.run(7 * MILLI);
    }
    rig.run(60 * SECOND);
    let from = rig.now;
    rig.run(60 * SECOND);
    for rate in rig.rates(from, SECOND, 60) {
        assert!((90..=110).contains(&rate), "{rate} in a second, of 100");
    }
}

#[test]
fn the_period_is_from_start_to_start() {
    let mut rig = Rig::full(10, InFlight::Auto, 50);
    rig.latency = 3 * SECOND;
    rig.run(100 * SECOND);
    for place in 0..50 {
        let of_one = rig.probes.iter().filter(|(_, of)| *of == place);
        let times: Vec<_> = of_one.map(|(at, _)| *at).collect();
        assert_eq!(times.len(), 10);
        assert!(times[0] <= START + 10 * SECOND);
        for pair in times.windows(2) {
            assert_eq!(pair[1].saturating_since(pair[0]), 10 * SECOND);
        }
    }
}

/// So many go silent at once: all of them and none else are ended in time.
fn all_the_silent_and_none_else(connections: u32, silent: u32) {
    let mut rig = Rig::full(60, InFlight::Auto, connections);
    rig.run(100 * SECOND);
    let step = u64::from(connections).div_ceil(silent.into()) as u32;
    let chosen = (0..silent).map(|number| number * step % connections);
    let since = rig.now;
    // Those that were asked already are answered.
    rig.silence(chosen);
    let count = rig.silent.iter().filter(|silent| **silent).count();
    rig.run(66 * SECOND);
    assert_eq!(rig.ended.len(), count);
    for (at, ended) in &rig.ended {
        assert!(rig.silent[ended.conn.index()]);
        assert!(at.saturating_since(since) <= 66 * SECOND);
        assert_eq!(ended.rule, Rule::ResponseTimeout);
        assert!((5 * SECOND..=66 * SECOND).contains(&ended.silent_for));
    }
    let left = connections as usize - count;
    assert_eq!(rig.prober.len(), left);
    rig.run(120 * SECOND);
    assert_eq!(rig.ended.len(), count, "none else");
}

#[test]
fn h1_nine_thousand_of_nineteen_thousand_that_go_silent_are_ended_in_time() {
    all_the_silent_and_none_else(19_000, 9_000);
}

#[test]
fn h1_all_that_go_silent_are_ended_in_time() {
    all_the_silent_and_none_else(19_000, 19_000);
    all_the_silent_and_none_else(12, 12);
}

#[test]
fn h1_a_million_peers_in_virtual_time() {
    all_the_silent_and_none_else(1_000_000, 500_000);
}

#[test]
fn h1_survivors_whose_moments_lie_together_are_ended_a_second_later_at_most() {
    let mut rig = Rig::full(60, InFlight::Auto, 19_000);
    rig.run(100 * SECOND);
    // Of the places' multiples of the golden ratio, those in the first tenth.
    let tenth = u32::MAX / 10;
    let (left, gone): (Vec<u32>, Vec<u32>) =
        (0..19_000).partition(|place: &u32| place.wrapping_mul(2_654_435_769) < tenth);
    assert_eq!(left.len(), 1_901);
    gone.iter()
        .for_each(|place| rig.prober.remove(conn(*place)));
    rig.excess_max = 1_901;
    // Twice the span that the greatest demand is remembered for.
    rig.run(130 * SECOND);
    assert_eq!(rig.prober.window(), 159 + 11, "the peak is forgotten");
    assert!(rig.ended.is_empty());
    let since = rig.now;
    rig.silence(left);
    rig.run(66 * SECOND);
    assert_eq!(rig.ended.len(), 1_901);
    for (at, ended) in &rig.ended {
        assert!(at.saturating_since(since) <= 66 * SECOND);
        assert!(ended.silent_for <= 66 * SECOND, "{:?}", ended.silent_for);
    }
    let late = rig
        .ended
        .iter()
        .filter(|(_, it)| it.silent_for > 65 * SECOND);
    assert!(late.count() > 1_000, "the window was full");
}

#[test]
fn a_window_that_was_set_is_kept_however_long_probes_wait() {
    let mut rig = Rig::full(10, InFlight::Window(2), 40);
    rig.silence(0..40);
    rig.run(60 * SECOND);
    assert_eq!(rig.in_flight_max, 2);
}

#[test]
fn with_one_in_flight_probes_go_strictly_one_after_another() {
    let mut rig = Rig::full(60, InFlight::Window(1), 40);
    rig.run(120 * SECOND);
    assert_eq!(rig.in_flight_max, 1);
    let worst = rig.prober.worst_case_detection(0).unwrap();
    assert_eq!(worst, (60 + 40 * 5) * SECOND);
    let since = rig.now;
    rig.silence(0..40);
    rig.run(worst);
    assert_eq!(rig.ended.len(), 40);
    for pair in rig.ended.windows(2) {
        assert!(pair[1].0.saturating_since(pair[0].0) >= 5 * SECOND);
    }
    let last = rig.ended[39].0.saturating_since(since);
    assert!(last > 200 * SECOND && last <= worst, "{last:?}");
    assert_eq!(
        rig.prober.worst_case_detection(0),
        Some(65 * SECOND),
        "none is left"
    );
}

#[test]
fn h3_one_stuck_peer_delays_no_other_heartbeat() {
    let mut rig = Rig::full(10, InFlight::Auto, 3);
    rig.silence([1]);
    rig.run(100 * SECOND);
    assert_eq!(rig.ended.len(), 1);
    for place in [0, 2] {
        let of_one = rig.probes.iter().filter(|(_, of)| *of == place);
        let times: Vec<_> = of_one.map(|(at, _)| *at).collect();
        assert_eq!(times.len(), 10);
        assert!(
            times
                .windows(2)
                .all(|pair| pair[1] == pair[0] + 10 * SECOND)
        );
    }
}

/// The moments of the probe at place 0, from its first on, with a period of
/// 10 s and bytes at the seconds of the lists.
fn probed_with(sent: &[u64], received: &[u64]) -> (Vec<u64>, ProberStats) {
    let mut rig = Rig::full(10, InFlight::Auto, 1);
    rig.run(10 * SECOND);
    assert_eq!(rig.probes.len(), 1);
    let first = rig.probes[0].0;
    for second in 0..60 {
        rig.run((first + second * SECOND + 100 * MILLI).saturating_since(rig.now));
        if sent.contains(&u64::from(second)) {
            rig.prober.handle_sent(rig.now, conn(0));
        }
        if received.contains(&u64::from(second)) {
            rig.prober.handle_received(rig.now, conn(0));
        }
    }
    let since = |(at, _): &(Instant, usize)| at.saturating_since(first).as_secs();
    (rig.probes.iter().map(since).collect(), rig.prober.stats())
}

#[test]
fn a_probe_is_saved_only_when_bytes_were_both_sent_and_received() {
    let every: Vec<u64> = (0..60).collect();
    assert_eq!(probed_with(&[], &[]).0, [0, 10, 20, 30, 40, 50]);
    assert_eq!(probed_with(&every, &[]).0, [0, 10, 20, 30, 40, 50]);
    assert_eq!(probed_with(&[], &every).0, [0, 10, 20, 30, 40, 50]);
    let (probed, stats) = probed_with(&every, &every);
    assert_eq!(probed, [0]);
    assert!(stats.saved >= 5);
    // Put off by half, then at its own moment again.
    let (probed, stats) = probed_with(&[17], &[18]);
    assert_eq!((probed, stats.saved), (vec![0, 10, 25, 30, 40, 50], 1));
    assert_eq!(probed_with(&[12], &[18]).1.saved, 0, "too long before");
}

#[test]
fn no_direction_is_silent_for_longer_than_a_period() {
    for gap in [3, 4, 5, 6, 7, 8, 9, 11, 13] {
        let traffic: Vec<u64> = (0..60).filter(|second| second % gap == 0).collect();
        let (probed, _) = probed_with(&traffic, &traffic);
        // A tenth of a second later than the second that it is called.
        let mut said: Vec<u64> = probed.iter().map(|second| second * 10).collect();
        said.extend(traffic.iter().map(|second| second * 10 + 1));
        said.sort();
        let longest = said.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest <= Some(100), "{gap}: {said:?}");
    }
}

#[test]
fn an_answer_just_before_the_limit_is_life_and_just_after_it_is_late() {
    for (latency, ended, answered, late) in [
        (5 * SECOND - MILLI, 0, 6, 0),
        (5 * SECOND, 0, 0, 6),
        (5 * SECOND + MILLI, 1, 0, 1),
    ] {
        let mut rig = Rig::full(10, InFlight::Auto, 1);
        rig.latency = latency;
        // An end is carried out a while later.
        let deadline = rig.now + 66 * SECOND;
        while rig.now < deadline && rig.ended.is_empty() {
            let effect = rig.prober.poll();
            if let Some(ProberEffect::End(ended)) = effect {
                rig.ended.push((rig.now, ended));
                let (at, conn, nonce) = rig.answers.pop_front().unwrap();
                rig.prober.handle_answer(at, conn, nonce);
            } else if let Some(ProberEffect::Probe { conn, nonce }) = effect {
                rig.answers.push_back((rig.now + latency, conn, nonce));
            } else {
                let answer = rig.answers.front().map(|(at, _, _)| *at);
                let timeout = rig.prober.poll_timeout();
                let next = [answer, timeout].into_iter().flatten().min().unwrap();
                rig.now = next;
                if answer == Some(next) {
                    let (_, conn, nonce) = rig.answers.pop_front().unwrap();
                    rig.prober.handle_answer(next, conn, nonce);
                } else {
                    rig.prober.handle_timeout(next);
                }
            }
        }
        let stats = rig.prober.stats();
        assert_eq!(rig.ended.len(), ended, "{latency:?}");
        assert_eq!(
            (stats.answered, stats.late),
            (answered, late),
            "{latency:?}"
        );
    }
}

/// A prober whose connection 0 was asked just now; the nonce.
fn asked() -> (Rig, u64) {
    let mut rig = Rig::full(60, InFlight::Auto, 1);
    rig.now = rig.prober.poll_timeout().unwrap();
    rig.prober.handle_timeout(rig.now);
    let Some(ProberEffect::Probe { nonce, .. }) = rig.prober.poll() else {
        panic!("nothing was asked");
    };
    (rig, nonce)
}

#[test]
fn bytes_that_are_received_settle_the_probe_and_its_answer_still_counts_once() {
    let (mut rig, nonce) = asked();
    rig.prober.handle_received(rig.now + SECOND, conn(0));
    assert_eq!(rig.prober.in_flight(), 0);
    rig.run(20 * SECOND);
    assert!(rig.ended.is_empty());
    for _ in 0..2 {
        rig.prober.handle_answer(rig.now, conn(0), nonce);
    }
    let stats = rig.prober.stats();
    assert_eq!((stats.late, stats.unasked, stats.answered), (1, 1, 0));
    rig.prober.handle_answer(rig.now, conn(0), 0);
    rig.prober.handle_answer(rig.now, conn(7), nonce);
    assert_eq!(rig.prober.stats().unasked, 2);
}

#[test]
fn an_answer_has_its_time_from_when_the_probe_was_written() {
    for (latency, answered, late) in [(5 * SECOND - MILLI, 1, 0), (5 * SECOND, 0, 1)] {
        let (mut rig, nonce) = asked();
        rig.now = rig.now + 3 * SECOND;
        let written = rig.prober.handle_asked(rig.now, conn(0)).unwrap();
        assert_ne!(written, nonce);
        rig.now = rig.now + latency;
        rig.prober.handle_answer(rig.now, conn(0), written);
        let stats = rig.prober.stats();
        assert_eq!((stats.answered, stats.late), (answered, late));
        assert_eq!(
            rig.prober.handle_asked(rig.now, conn(0)),
            None,
            "it is over"
        );
        rig.prober.handle_answer(rig.now, conn(0), nonce);
        assert_eq!(rig.prober.stats().unasked, 1, "one probe, one answer");
    }
    // Bytes settle it, but its other end may listen for it.
    let (mut rig, _) = asked();
    rig.prober.handle_received(rig.now + SECOND, conn(0));
    let written = rig.prober.handle_asked(rig.now + 6 * SECOND, conn(0));
    rig.prober
        .handle_answer(rig.now + 7 * SECOND, conn(0), written.unwrap());
    assert_eq!(rig.prober.stats().answered, 1);
    assert_eq!(rig.prober.handle_asked(rig.now, conn(7)), None);
}

#[test]
fn h4_a_clock_that_jumps_by_hours_ends_no_connection_before_a_probe_was_tried() {
    let (mut rig, _) = asked();
    rig.silence([0]);
    // The laptop sleeps while the answer is on its way.
    rig.now = rig.now + 7_200 * SECOND;
    let woke = rig.now;
    rig.run(SECOND);
    assert!(rig.ended.is_empty());
    assert_eq!(rig.probes.len(), 1, "it is asked again");
    rig.run(10 * SECOND);
    let (at, ended) = rig.ended[0];
    assert_eq!(at.saturating_since(woke), 5 * SECOND);
    assert!(ended.silent_for < 70 * SECOND, "{:?}", ended.silent_for);
    assert_eq!(rig.prober.stats().jumps, 1);
}

#[test]
fn a_fleet_is_not_probed_at_once_after_a_jump() {
    let mut rig = Rig::full(60, InFlight::Auto, 6_000);
    rig.run(100 * SECOND);
    rig.now = rig.now + 36_000 * SECOND;
    // What the sockets held is read first.
    for (_, conn, nonce) in core::mem::take(&mut rig.answers) {
        rig.prober.handle_answer(rig.now, conn, nonce);
    }
    let woke = rig.now;
    rig.run(60 * SECOND);
    assert!(rig.ended.is_empty());
    for rate in rig.rates(woke, SECOND, 59) {
        assert!((85..115).contains(&rate), "{rate} in a second, of 100");
    }
}

#[test]
fn a_group_has_a_period_of_its_own_and_may_change_it() {
    let mut rig = Rig::new(600, InFlight::Auto, 2_000);
    (0..2_000).for_each(|place| rig.insert(place, u16::from(place % 2 == 1)));
    rig.run(100 * SECOND);
    let of_group = |rig: &Rig, from, odd: usize| {
        let probes = rig.probes.iter().filter(|(at, _)| *at > from);
        probes.filter(|(_, place)| place % 2 == odd).count()
    };
    let from = rig.now;
    rig.prober.set_period(from, 1, 20 * SECOND).unwrap();
    assert_eq!(rig.prober.period(1), 20 * SECOND);
    rig.run(20 * SECOND + 4 * MILLI);
    let probed = of_group(&rig, from, 1);
    assert!((1_000..1_040).contains(&probed), "{probed}");
    assert!(of_group(&rig, from, 0) < 50);
    let from = rig.now;
    rig.prober.set_period(from, 1, Duration::ZERO).unwrap();
    rig.run(10 * MILLI);
    let from = rig.now;
    rig.run(600 * SECOND);
    assert_eq!(of_group(&rig, from, 1), 0, "0 is off");
    assert_eq!(of_group(&rig, from, 0), 1_000);
    assert_eq!(rig.prober.worst_case_detection(1), None);
    rig.prober.set_period(rig.now, 1, 30 * SECOND).unwrap();
    let from = rig.now;
    rig.run(30 * SECOND + 4 * MILLI);
    let probed = of_group(&rig, from, 1);
    assert!((1_000..1_040).contains(&probed), "{probed}");
    assert_eq!(rig.prober.len(), 2_000);
}

#[test]
fn figures_out_of_range_are_refused_by_name() {
    let new = |settings| Prober::new(settings, ProberLimits::default()).map(|_| ());
    let settings = ProberSettings::default();
    let told = new(ProberSettings {
        period: 90_000 * SECOND,
        ..settings
    });
    let told = alloc::format!("{}", told.unwrap_err());
    assert!(told.contains("period") && told.contains("90000s"), "{told}");
    let response_timeout = 10 * MILLI;
    assert_eq!(
        new(ProberSettings {
            response_timeout,
            ..settings
        }),
        Err(SettingError::ResponseTimeout(response_timeout))
    );
    let mut rig = Rig::new(60, InFlight::Auto, 2);
    let refused = rig.prober.set_period(START, 4, SECOND);
    assert_eq!(
        refused,
        Err(SettingError::Group {
            group: 4,
            groups_max: 4
        })
    );
    assert_eq!(rig.prober.insert(START, conn(2), 0), Err(WatchError::Place));
    assert_eq!(rig.prober.insert(START, conn(1), 4), Err(WatchError::Group));
    assert!(rig.prober.is_empty());
}

#[test]
fn a_connection_that_is_gone_is_neither_probed_nor_ended() {
    let (mut rig, nonce) = asked();
    rig.prober.remove(conn(0));
    assert_eq!((rig.prober.in_flight(), rig.prober.len()), (0, 0));
    assert_eq!(rig.prober.poll_timeout(), None);
    rig.prober.insert(rig.now, Key::new(0, 4), 0).unwrap();
    rig.prober.remove(conn(0));
    rig.prober.handle_answer(rig.now, conn(0), nonce);
    assert_eq!(rig.prober.len(), 1, "an old key finds nothing");
    assert_eq!(rig.prober.stats().answered, 0);
}
