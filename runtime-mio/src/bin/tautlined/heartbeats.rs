//! What the log says of heartbeats.

mod advised;

use std::time::{Duration, Instant};

use tautline_core::heartbeat::{Advice, Lesson, ProberSettings, Rule, Why};
use tautline_core::registration::{ClientRecord, SubnetName};
use tautline_core::relay::{HeartbeatSettings, Relay};
use tautline_core::{ClientId, ConnId};

use crate::places::Places;
use crate::settings::{InFlight, Settings};
use advised::{Advised, Line};

/// Tells the figures at the start, and what is wrong with them.
/// `lines_max` is how many clients can hold a connection.
pub(crate) fn tell_figures(settings: &Settings, lines_max: u32) {
    let figures = settings.heartbeat.of_relay(&settings.places());
    let settings = &settings.heartbeat;
    let monitor = figures.figures().worst_case_detection();
    tracing::info!(
        period_s = settings.period_s,
        response_timeout_ms = settings.response_timeout_ms,
        in_flight = %settings.in_flight,
        found_within = found_within(&figures, settings.in_flight, lines_max),
        heartbeat_s = settings.heartbeat_s,
        frequency_s = settings.frequency_s,
        monitor_finds_within = monitor.map_or_else(|| "off".to_owned(), |span| format!("{span:?}")),
        "heartbeats"
    );
    for advice in figures.advice() {
        tracing::warn!("the heartbeats of this relay do not fit: {advice}");
    }
}

/// After which time at most a probe finds that a client is dead: one without a
/// period of its own, and one with the longest of those that were set.
fn found_within(figures: &HeartbeatSettings, in_flight: InFlight, lines_max: u32) -> String {
    let within = match worst_case(figures, figures.prober.period, lines_max) {
        None => "off".to_owned(),
        Some(span) if in_flight == InFlight::Auto => format!("{span:?}"),
        Some(span) => format!("{span:?} with {lines_max} connections, the most there can be"),
    };
    let (count, longest) = (
        figures.periods.len(),
        figures.periods.iter().map(|set| set.1),
    );
    let longest = longest.max().unwrap_or_default();
    match worst_case(figures, longest, lines_max) {
        None => within,
        Some(span) => {
            format!("{within}; {span:?} with the longest of {count} periods that are set")
        }
    }
}

/// The same of who has this period, however many have which.
fn worst_case(figures: &HeartbeatSettings, period: Duration, lines_max: u32) -> Option<Duration> {
    let set = figures.periods.iter().map(|set| set.1);
    let on = set
        .chain([figures.prober.period])
        .filter(|it| !it.is_zero());
    // Those who are asked most often take most of a window that is a number.
    let shortest = on.min()?;
    let most = ProberSettings {
        period: shortest,
        ..figures.prober
    };
    let found = most.worst_case_detection(lines_max)?;
    (!period.is_zero()).then(|| found + period.saturating_sub(shortest))
}

/// What was told already.
#[derive(Debug, Default)]
pub(crate) struct Heartbeats {
    advised: Advised,
    /// The connection that was ended last. Its end follows at once.
    ended: Option<ConnId>,
}

impl Heartbeats {
    /// A client was silent for too long.
    pub(crate) fn tell_ended(
        &mut self,
        relay: &Relay,
        client: ClientId,
        conn: ConnId,
        silent_for: Duration,
        rule: Rule,
    ) {
        self.ended = Some(conn);
        let (hostname, address) = whereabouts(relay.client(client));
        tracing::warn!(
            %client,
            hostname,
            address,
            silent_s = silent_for.as_secs(),
            rule = rule.name(),
            "the client was silent for too long; its persistent connection is ended"
        );
    }

    /// Whether the end of this connection was told.
    pub(crate) fn has_told_end(&mut self, conn: ConnId) -> bool {
        self.ended.take_if(|ended| *ended == conn).is_some()
    }

    /// The figures of a client and of the relay do not fit.
    pub(crate) fn tell_advice(&mut self, relay: &Relay, client: ClientId, advice: Advice) {
        if self.advised.note(Instant::now(), client, advice) {
            let (hostname, address) = whereabouts(relay.client(client));
            tracing::warn!(
                %client,
                hostname,
                address,
                "the heartbeats of this client and of the relay do not fit: {advice}"
            );
        }
    }

    /// Tells of those who were advised as another one lately.
    pub(crate) fn tell_due(&mut self) {
        let now = Instant::now();
        while let Some(line) = self.advised.due(now) {
            let Line {
                advice,
                client,
                clients,
                is_mixed,
            } = line;
            let last_client = tracing::field::display(client);
            if is_mixed {
                tracing::warn!(
                    clients,
                    last_client,
                    "the heartbeats of more clients do not fit the relay's, for several reasons, \
                     the last: {advice}"
                );
            } else {
                tracing::warn!(
                    clients,
                    last_client,
                    "the heartbeats of more clients do not fit the relay's: {advice}"
                );
            }
        }
    }

    /// For how long there is nothing to tell, unless something happens.
    pub(crate) fn rest(&self) -> Option<Duration> {
        self.advised.rest(Instant::now())
    }
}

/// Who the client is, for a line of the log.
pub(crate) fn whereabouts(
    record: Option<&ClientRecord>,
) -> (Option<&str>, Option<impl tracing::Value>) {
    let hostname = record.map(ClientRecord::hostname);
    let address = record.map(|record| tracing::field::display(record.observed()));
    (hostname, address)
}

/// Another period is in use for a subnet.
pub(crate) fn tell_lesson(places: &Places, subnet: SubnetName, lesson: &Lesson) {
    tracing::info!(
        subnet = places.show(subnet),
        before = ?lesson.before,
        period = ?lesson.period,
        set = ?lesson.set,
        "the period of a subnet's heartbeats has changed: {}",
        evidence(lesson.why)
    );
}

fn evidence(why: Why) -> String {
    match why {
        Why::Shortened(evidence) => format!(
            "{} connections died after nothing was said on them for {:?} to {:?}",
            evidence.deaths, evidence.youngest, evidence.oldest
        ),
        Why::Relaxed => "no connection died idle for long; a longer period is tried".to_owned(),
        Why::GivenUp => {
            "connections died however short it was; it is the one that was set".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use tautline_core::heartbeat::{Evidence, InFlight as CoreInFlight};
    use tautline_core::relay::Group;

    use super::*;

    #[test]
    fn the_worst_case_of_a_window_is_that_of_all_connections() {
        let within = |in_flight, core, period| {
            let mut figures = HeartbeatSettings::default();
            figures.prober.in_flight = core;
            figures.prober.period = Duration::from_secs(period);
            found_within(&figures, in_flight, 100)
        };
        let one = (InFlight::Window(1), CoreInFlight::Window(1));
        assert_eq!(within(InFlight::Auto, CoreInFlight::Auto, 60), "65s");
        assert_eq!(
            within(one.0, one.1, 60),
            "560s with 100 connections, the most there can be"
        );
        assert_eq!(within(one.0, one.1, 0), "off");
    }

    #[test]
    fn periods_that_are_set_are_found_within_the_longest_of_them() {
        let within = |in_flight, core, period, set: &[u64]| {
            let mut figures = HeartbeatSettings::default();
            figures.prober.in_flight = core;
            figures.prober.period = Duration::from_secs(period);
            let site =
                |(number, period): (u16, &u64)| (Group::Site(number), Duration::from_secs(*period));
            figures.periods = (0..).zip(set).map(site).collect();
            found_within(&figures, in_flight, 100)
        };
        let auto = |period, set| within(InFlight::Auto, CoreInFlight::Auto, period, set);
        assert_eq!(
            auto(0, &[30, 300, 0]),
            "off; 305s with the longest of 3 periods that are set"
        );
        assert_eq!(
            auto(60, &[300]),
            "65s; 305s with the longest of 1 periods that are set"
        );
        assert_eq!(auto(60, &[0]), "65s");
        assert_eq!(auto(0, &[0]), "off");
        // A window that is enough for all at 60 s, but not at 10 s.
        let some = |set| within(InFlight::Window(20), CoreInFlight::Window(20), 60, set);
        let most = "with 100 connections, the most there can be";
        assert_eq!(some(&[]), format!("65s {most}"));
        assert_eq!(
            some(&[10]),
            format!("85s {most}; 35s with the longest of 1 periods that are set")
        );
    }

    #[test]
    fn a_lesson_says_what_it_was_learned_from() {
        let deaths = Evidence {
            deaths: 3,
            youngest: Duration::from_millis(24_500),
            oldest: Duration::from_secs(26),
        };
        assert_eq!(
            evidence(Why::Shortened(deaths)),
            "3 connections died after nothing was said on them for 24.5s to 26s"
        );
    }
}
