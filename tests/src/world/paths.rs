//! The ways that packets take, and how long each of them is shut or slow.

use core::time::Duration;
use std::collections::BTreeMap;

use tautline_core::Instant;

use super::node::NodeId;
use super::site::SiteId;
use crate::Dice;

/// A node, and the site that it is behind.
pub(super) type Place = (NodeId, Option<SiteId>);

/// A stretch that packets go in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// From one node to another, wherever they are.
    Between(NodeId, NodeId),
    /// From a site's nodes to everyone else.
    OutOf(SiteId),
    /// From everyone else to a site's nodes.
    Into(SiteId),
}

/// When a segment that was lost is sent again; each time after it waits twice
/// as long (RFC 6298), up to the second one.
const RESEND: (Duration, Duration) = (Duration::from_millis(600), Duration::from_secs(120));

pub(super) struct Paths {
    base: Duration,
    jitter: Duration,
    loss_ppm: u32,
    blocked_until: BTreeMap<Way, Instant>,
    clogged_until: BTreeMap<Way, Instant>,
}

impl Paths {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        Self {
            base: Duration::from_micros(50 << dice.below(10)),
            jitter: Duration::from_micros(10 << dice.below(11)),
            loss_ppm: 0,
            blocked_until: BTreeMap::new(),
            clogged_until: BTreeMap::new(),
        }
    }

    pub(super) fn latency(
        &self,
        from: Place,
        to: Place,
        now: Instant,
        dice: &mut Dice,
    ) -> Duration {
        let clogged = ways(from, to).filter_map(|way| self.clogged_until.get(&way));
        let queued = clogged.map(|until| until.saturating_since(now)).max();
        queued.unwrap_or_default() + self.base + dice.span(Duration::ZERO..self.jitter)
    }

    pub(super) fn set(&mut self, delay: Duration, loss_ppm: u32) {
        self.base = delay;
        self.jitter = Duration::from_micros(1);
        self.loss_ppm = loss_ppm;
    }

    /// Whether a packet gets lost on the way.
    pub(super) fn loses(&self, dice: &mut Dice) -> bool {
        self.loss_ppm > 0 && dice.per_million(self.loss_ppm)
    }

    /// What TCP adds to the latency of a segment until it was not lost.
    pub(super) fn resends(&self, dice: &mut Dice) -> Duration {
        let (mut timeout, longest) = RESEND;
        let mut spent = Duration::ZERO;
        while self.loses(dice) {
            spent += timeout;
            timeout = (2 * timeout).min(longest);
        }
        spent
    }

    pub(super) fn open(&self, from: Place, to: Place, now: Instant) -> bool {
        let mut blocked = ways(from, to).filter_map(|way| self.blocked_until.get(&way));
        blocked.all(|&until| until <= now)
    }

    pub(super) fn block(&mut self, way: Way, until: Instant) {
        self.blocked_until.insert(way, until);
    }

    pub(super) fn clog(&mut self, way: Way, until: Instant) {
        self.clogged_until.insert(way, until);
    }

    pub(super) fn heal(&mut self) {
        self.blocked_until.clear();
        self.clogged_until.clear();
    }
}

/// What a packet passes on its way.
fn ways(from: Place, to: Place) -> impl Iterator<Item = Way> {
    let crosses = from.1 != to.1;
    let out = from.1.filter(|_| crosses).map(Way::OutOf);
    let into = to.1.filter(|_| crosses).map(Way::Into);
    [Some(Way::Between(from.0, to.0)), out, into]
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_inside_a_site_does_not_pass_its_router() {
        let (one, other) = (SiteId(1), SiteId(2));
        let (at_home, neighbour) = ((NodeId(1), Some(one)), (NodeId(2), Some(one)));
        let (abroad, public) = ((NodeId(3), Some(other)), (NodeId(4), None));
        let now = Instant::from_micros(1);
        let mut paths = Paths::draw(&mut Dice::new(1));
        paths.block(Way::OutOf(one), now + Duration::from_secs(1));
        assert!(paths.open(at_home, neighbour, now));
        assert!(!paths.open(at_home, abroad, now));
        assert!(!paths.open(at_home, public, now));
        assert!(paths.open(public, at_home, now));
        assert!(paths.open(at_home, public, now + Duration::from_secs(1)));
        paths.block(Way::Into(other), now + Duration::from_secs(1));
        assert!(!paths.open(public, abroad, now));
        assert!(paths.open(abroad, public, now));
    }
}
