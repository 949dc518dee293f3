//! The heartbeats in figures: a part of `GET /v1/status`, and of each subnet
//! in `GET /v1/subnets`.

use std::time::Duration;

use serde::Serialize;
use tautline_core::Instant;
use tautline_core::heartbeat::{Evidence, Lesson, Why};
use tautline_core::relay::{Group, HeartbeatStats, Heartbeats, Relay};

use crate::places::Places;
use crate::settings::{self, InFlight};

/// Periods that are shown; there may be thousands.
const PERIODS_SHOWN_MAX: usize = 500;

/// As it was set, as it is at the moment, and what was counted since the start.
#[derive(Serialize)]
pub(super) struct Heartbeat {
    period_s: u32,
    response_timeout_ms: u32,
    in_flight: Window,
    heartbeat_s: u32,
    frequency_s: u32,
    learning: bool,
    /// Connections that are watched.
    connections: usize,
    probes_in_flight: u32,
    /// How many may be at the moment.
    window: u32,
    /// After which time at most a dead client is found, by a probe and by the
    /// monitor.
    worst_case_ms: Option<u64>,
    monitor_worst_case_ms: Option<u64>,
    probes: Probes,
    ended: Ended,
    clock_jumps: Jumps,
    lessons: u64,
    periods: Vec<Period>,
    periods_left_out: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Window {
    Auto(&'static str),
    Probes(u32),
}

#[derive(Serialize)]
struct Probes {
    sent: u64,
    answered: u64,
    late: u64,
    unasked: u64,
    saved: u64,
}

/// By rule.
#[derive(Serialize)]
struct Ended {
    response_timeout: u64,
    heartbeat: u64,
}

#[derive(Serialize)]
struct Jumps {
    prober: u64,
    monitor: u64,
}

/// One that was set.
#[derive(Serialize)]
struct Period {
    #[serde(flatten)]
    whose: Whose,
    period_s: u64,
    worst_case_ms: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Whose {
    Subnet(String),
    Site(String),
    Client(String),
}

impl Heartbeat {
    pub(super) fn of(set: &settings::Heartbeat, places: &Places, relay: &Relay) -> Self {
        let Heartbeats {
            connections,
            in_flight,
            window,
            worst_case_detection,
            monitor_detection,
            ..
        } = relay.heartbeats();
        let stats = relay.stats();
        let HeartbeatStats {
            prober, monitor, ..
        } = stats.heartbeats;
        let shown = relay.heartbeat_periods().take(PERIODS_SHOWN_MAX);
        let periods = shown.filter_map(|(group, period, worst_case)| {
            Some(Period {
                whose: whose(places, group)?,
                period_s: period.as_secs(),
                worst_case_ms: worst_case.map(millis),
            })
        });
        Self {
            period_s: set.period_s,
            response_timeout_ms: set.response_timeout_ms,
            in_flight: match set.in_flight {
                InFlight::Auto => Window::Auto("auto"),
                InFlight::Window(probes) => Window::Probes(probes),
            },
            heartbeat_s: set.heartbeat_s,
            frequency_s: set.frequency_s,
            learning: set.learning,
            connections,
            probes_in_flight: in_flight,
            window,
            worst_case_ms: worst_case_detection.map(millis),
            monitor_worst_case_ms: monitor_detection.map(millis),
            probes: Probes {
                sent: prober.sent,
                answered: prober.answered,
                late: prober.late,
                unasked: prober.unasked,
                saved: prober.saved,
            },
            ended: Ended {
                response_timeout: prober.ended,
                heartbeat: monitor.ended,
            },
            clock_jumps: Jumps {
                prober: prober.jumps,
                monitor: monitor.jumps,
            },
            lessons: stats.heartbeat_lessons,
            periods: periods.collect(),
            periods_left_out: set.periods.len().saturating_sub(PERIODS_SHOWN_MAX),
        }
    }
}

fn whose(places: &Places, group: Group) -> Option<Whose> {
    Some(match group {
        Group::Client(client) => Whose::Client(client.to_string()),
        Group::Subnet(subnet) => Whose::Subnet(places.show(subnet)),
        Group::Site(site) => Whose::Site(places.site(site)?.to_owned()),
        _ => return None,
    })
}

/// What was learned about a subnet, while the relay learns.
#[derive(Serialize)]
pub(super) struct Learned {
    /// The one in use.
    period_ms: u64,
    #[serde(flatten)]
    lesson: Option<Learnt>,
}

#[derive(Serialize)]
struct Learnt {
    set_ms: u64,
    before_ms: u64,
    why: &'static str,
    /// Why it was shortened, if it was.
    #[serde(flatten)]
    deaths: Option<Deaths>,
    learned_s_ago: u64,
}

#[derive(Serialize)]
struct Deaths {
    deaths: u8,
    youngest_ms: u64,
    oldest_ms: u64,
}

impl Learned {
    pub(super) fn of(now: Instant, period: Duration, lesson: Option<Lesson>) -> Self {
        Self {
            period_ms: millis(period),
            lesson: lesson.map(|lesson| Learnt::of(now, &lesson)),
        }
    }
}

impl Learnt {
    fn of(now: Instant, lesson: &Lesson) -> Self {
        let (why, deaths) = match lesson.why {
            Why::Shortened(evidence) => ("shortened", Some(Deaths::of(evidence))),
            Why::Relaxed => ("relaxed", None),
            Why::GivenUp => ("given_up", None),
        };
        Self {
            set_ms: millis(lesson.set),
            before_ms: millis(lesson.before),
            why,
            deaths,
            learned_s_ago: now.saturating_since(lesson.at).as_secs(),
        }
    }
}

impl Deaths {
    fn of(evidence: Evidence) -> Self {
        Self {
            deaths: evidence.deaths,
            youngest_ms: millis(evidence.youngest),
            oldest_ms: millis(evidence.oldest),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lesson_is_shown_with_what_it_was_learned_from() {
        let seconds = Duration::from_secs;
        let (period, at) = (Duration::from_millis(12_500), Instant::ORIGIN);
        let shown = |lesson| {
            let now = at + seconds(7);
            serde_json::to_value(Learned::of(now, period, lesson)).unwrap()
        };
        assert_eq!(shown(None), json!({ "period_ms": 12_500 }));
        let lesson = Lesson {
            set: seconds(600),
            before: seconds(600),
            period,
            why: Why::Shortened(Evidence {
                deaths: 3,
                youngest: seconds(25),
                oldest: seconds(26),
            }),
            at,
        };
        let expected = json!({
            "period_ms": 12_500,
            "set_ms": 600_000,
            "before_ms": 600_000,
            "why": "shortened",
            "deaths": 3,
            "youngest_ms": 25_000,
            "oldest_ms": 26_000,
            "learned_s_ago": 7,
        });
        assert_eq!(shown(Some(lesson)), expected);
        let relaxed = Lesson {
            why: Why::Relaxed,
            ..lesson
        };
        let shown = shown(Some(relaxed));
        assert_eq!(
            (&shown["why"], shown.get("deaths")),
            (&json!("relaxed"), None)
        );
    }
}
