//! Whether the figures of both ends fit.

use core::fmt;
use core::time::Duration;

/// The figures of both ends of a connection, as far as they are known. What is
/// zero is off, or not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How often the prober's end probes.
    pub period: Duration,
    /// The silence after which the monitor's end ends the connection.
    pub heartbeat: Duration,
    /// How often the monitor looks.
    pub frequency: Duration,
}

impl From<[Duration; 3]> for Figures {
    fn from([period, heartbeat, frequency]: [Duration; 3]) -> Self {
        Self {
            period,
            heartbeat,
            frequency,
        }
    }
}

impl Figures {
    /// After which time at most the monitor ends a silent peer; `None` if it
    /// never does.
    pub fn worst_case_detection(&self) -> Option<Duration> {
        let is_on = !self.heartbeat.is_zero() && !self.frequency.is_zero();
        is_on.then(|| self.heartbeat.saturating_add(self.frequency))
    }
}

/// Why figures do not fit. Everything works as it was set; it is for the logs
/// of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// The heartbeat is shorter than two periods, so connections that are
    /// alive may be ended.
    HeartbeatTooShort {
        /// The monitor's.
        heartbeat: Duration,
        /// The prober's.
        period: Duration,
    },
    /// The monitor looks so seldom that silence lasts twice as long.
    FrequencyTooLong {
        /// How often it looks.
        frequency: Duration,
        /// The silence that it looks for.
        heartbeat: Duration,
    },
    /// The monitor waits for heartbeats that nobody sends.
    NoProber {
        /// The monitor's.
        heartbeat: Duration,
    },
}

/// What is wrong with the figures: the heartbeat is to be at least twice the
/// period, the frequency less than the heartbeat (`seeds/heartbeats`; 60, 1201
/// and 600 s are sound). `is_prober_known` says that a period of zero means
/// that nobody probes.
pub fn advise(figures: &Figures, is_prober_known: bool) -> impl Iterator<Item = Advice> + use<> {
    let Figures {
        period,
        heartbeat,
        frequency,
    } = *figures;
    let is_on = figures.worst_case_detection().is_some();
    let too_short = is_on && heartbeat < period.saturating_mul(2);
    let too_long = is_on && frequency >= heartbeat;
    let nobody = is_on && is_prober_known && period.is_zero();
    [
        too_short.then_some(Advice::HeartbeatTooShort { heartbeat, period }),
        too_long.then_some(Advice::FrequencyTooLong {
            frequency,
            heartbeat,
        }),
        nobody.then_some(Advice::NoProber { heartbeat }),
    ]
    .into_iter()
    .flatten()
}

/// What is wrong with the figures of the two ends of a connection, each of which
/// may have a prober and a monitor. `is_other_known` says that the other end has
/// stated its figures.
///
/// A probe and its answer break the silence of both directions, whichever end
/// sends it: what matters to either monitor is the shorter period. How often
/// the other end's monitor looks is its own affair.
pub fn advise_ends(
    here: &Figures,
    there: &Figures,
    is_other_known: bool,
) -> impl Iterator<Item = Advice> + use<> {
    let periods = [here.period, there.period].into_iter();
    let period = periods.filter(|it| !it.is_zero()).min().unwrap_or_default();
    let here = Figures { period, ..*here };
    let there = Figures { period, ..*there };
    let of_other =
        advise(&there, is_other_known).filter(|it| !matches!(it, Advice::FrequencyTooLong { .. }));
    advise(&here, is_other_known).chain(of_other)
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::HeartbeatTooShort { heartbeat, period } => write!(
                f,
                "the monitor's heartbeat of {heartbeat:?} is shorter than twice the prober's period of {period:?}: \
                 connections that are alive may be ended; set a heartbeat of at least {:?}, or a period of at most {:?}",
                period.saturating_mul(2),
                heartbeat / 2,
            ),
            Self::FrequencyTooLong {
                frequency,
                heartbeat,
            } => write!(
                f,
                "the monitor's frequency of {frequency:?} is not less than its heartbeat of {heartbeat:?}: \
                 a dead peer is found only after {:?}",
                heartbeat.saturating_add(frequency),
            ),
            Self::NoProber { heartbeat } => write!(
                f,
                "the monitor ends connections that are silent for {heartbeat:?}, and the other end sends no heartbeats: \
                 its period is 0",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    fn figures(period: u64, heartbeat: u64, frequency: u64) -> Figures {
        [period, heartbeat, frequency]
            .map(Duration::from_secs)
            .into()
    }

    fn advice(figures: &Figures) -> Vec<Advice> {
        advise(figures, true).collect()
    }

    #[test]
    fn the_figures_of_the_seed_are_sound() {
        let seed = figures(600, 1_201, 60);
        assert_eq!(advice(&seed), []);
        assert_eq!(
            seed.worst_case_detection(),
            Some(Duration::from_secs(1_261))
        );
        assert_eq!(advice(&figures(600, 1_200, 1_199)), []);
    }

    #[test]
    fn a_heartbeat_below_two_periods_is_told_with_both_figures() {
        let told = advice(&figures(600, 900, 60));
        let heartbeat = Duration::from_secs(900);
        let period = Duration::from_secs(600);
        assert_eq!(told, [Advice::HeartbeatTooShort { heartbeat, period }]);
        let text = told[0].to_string();
        for figure in ["900s", "600s", "1200s", "450s"] {
            assert!(text.contains(figure), "{text}");
        }
    }

    #[test]
    fn a_frequency_that_is_not_below_the_heartbeat_is_told() {
        let told = advice(&figures(10, 60, 60));
        assert!(matches!(told[..], [Advice::FrequencyTooLong { .. }]));
        assert!(told[0].to_string().contains("only after 120s"));
        assert_eq!(advice(&figures(100, 60, 60)).len(), 2);
    }

    #[test]
    fn what_is_off_needs_no_advice_unless_the_other_end_relies_on_it() {
        for (period, heartbeat, frequency) in [(0, 0, 0), (600, 0, 60), (600, 900, 0)] {
            assert_eq!(advice(&figures(period, heartbeat, frequency)), []);
        }
        let told = advice(&figures(0, 60, 10));
        assert!(matches!(told[..], [Advice::NoProber { .. }]));
        assert!(told[0].to_string().contains("60s"));
        assert_eq!(advise(&figures(0, 60, 10), false).count(), 0);
    }
}
