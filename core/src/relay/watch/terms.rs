//! What the heartbeats of a relay are told, and what they tell.

use alloc::vec::Vec;
use core::time::Duration;

use crate::ClientId;
use crate::heartbeat::{
    Advice, Figures, InFlight, LearnerSettings, Lesson, PERIOD_MIN, ProberSettings, advise,
    sound_response_timeout, sound_span,
};
use crate::registration::SubnetName;

/// The heartbeats of a relay's ends of persistent connections
/// (`seeds/heartbeats`). A figure that is out of its range counts as the
/// nearest that is not; 0 is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatSettings {
    /// How often clients are asked whether they are there, how long an answer
    /// may take, and how many may be outstanding.
    pub prober: ProberSettings,
    /// Periods that differ from the prober's. What is set for a client goes
    /// before its subnet's, and that before its site's; of two for the same the
    /// later one counts. At most 4,096; what is behind them is not used.
    pub periods: Vec<(Group, Duration)>,
    /// The silence after which a connection is ended, whether its client is
    /// asked or not. 0, or 1 s to 86,400 s.
    pub heartbeat: Duration,
    /// How often that is looked for. 0, or 1 s to 86,400 s.
    pub frequency: Duration,
    /// Shortens the period of subnets whose connections keep dying idle; `None`
    /// does not. Its period is the prober's, and it learns of at most
    /// `groups_max` subnets; clients with a period of their own keep that.
    pub learning: Option<LearnerSettings>,
}

/// Whose period differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Group {
    /// One client. To its parent, a relay is one, too.
    Client(ClientId),
    /// The clients of a subnet.
    Subnet(SubnetName),
    /// The clients at a site, by its place in the settings.
    Site(u16),
}

/// Periods that can be set.
pub(super) const PERIODS_MAX: usize = 4_096;

impl Default for HeartbeatSettings {
    /// Every minute, 5 s, `auto`; no monitor, no learning.
    fn default() -> Self {
        Self {
            prober: ProberSettings {
                period: Duration::from_secs(60),
                response_timeout: Duration::from_secs(5),
                in_flight: InFlight::Auto,
            },
            periods: Vec::new(),
            heartbeat: Duration::ZERO,
            frequency: Duration::from_secs(60),
            learning: None,
        }
    }
}

impl HeartbeatSettings {
    /// With figures that could not work moved to the nearest that do.
    pub(in crate::relay) fn sound(mut self) -> Self {
        let timeout = sound_response_timeout(self.prober.response_timeout);
        self.prober.response_timeout = timeout;
        self.prober.period = sound_span(self.prober.period);
        self.heartbeat = sound_span(self.heartbeat);
        self.frequency = sound_span(self.frequency);
        self.periods.truncate(PERIODS_MAX);
        for (_, period) in &mut self.periods {
            *period = sound_span(*period);
        }
        if let Some(learning) = &mut self.learning {
            learning.period = self.prober.period;
            learning.period_min = sound_span(learning.period_min.max(PERIOD_MIN));
            learning.relax_after = sound_span(learning.relax_after);
            learning.groups_max = learning.groups_max.min(u16::MAX - PERIODS_MAX as u16 - 1);
        }
        self
    }

    /// The figures of this end, without those of groups.
    pub fn figures(&self) -> Figures {
        [self.prober.period, self.heartbeat, self.frequency].into()
    }

    /// What is wrong with the figures of this end alone: for the log at the
    /// start. The answer to a probe breaks the silence that the monitor here
    /// looks for, so both have to fit, in each group.
    pub fn advice(&self) -> impl Iterator<Item = Advice> {
        let longest = self.periods.iter().map(|(_, period)| *period);
        let period = longest.fold(self.prober.period, Duration::max);
        let figures = Figures {
            period,
            ..self.figures()
        };
        advise(&figures, false)
    }
}

/// What the heartbeats come to at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heartbeats {
    /// Connections that are watched.
    pub connections: usize,
    /// Probes that are unanswered.
    pub in_flight: u32,
    /// How many may be.
    pub window: u32,
    /// After which time at most a dead peer is found by a probe, counted from
    /// its last bytes, with as many connections as there are; of who has no
    /// period of its own. `None` if that is off.
    pub worst_case_detection: Option<Duration>,
    /// The same of the monitor.
    pub monitor_detection: Option<Duration>,
}

/// The period of a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubnetPeriod {
    /// The one in use, of its clients that have none of their own.
    pub period: Duration,
    /// What was learned about it.
    pub lesson: Option<Lesson>,
}
