//! What comes over whole nodes and paths: partitions, clogs, pauses, crashes.

use core::time::Duration;

use tautline_core::CloseReason;

use super::net::Side;
use super::node::{Fact, NodeId};
use super::paths::Way;
use super::site::SiteId;
use super::{Fault, Happening, World};

impl World {
    /// Faults stop: nothing strikes any more, paths heal, who was down starts.
    /// What comes after is judged as liveness.
    pub fn calm(&mut self) {
        self.calm = true;
        self.faults.stop();
        self.paths.heal();
        for node in (0..self.nodes.len()).map(NodeId) {
            self.nodes[node.0].paused_until = self.now;
            self.nodes[node.0].asleep_until = self.now;
            self.nodes[node.0].powered = true;
            self.schedule(Duration::ZERO, Happening::Start(node));
            self.schedule(Duration::ZERO, Happening::Turn(node));
        }
    }

    /// Kills the process of a node, or the whole machine; what was not synced
    /// may be lost in the latter case. It starts again after `down_for`.
    pub fn crash(&mut self, node: NodeId, power: bool, down_for: Duration) {
        let state = &mut self.nodes[node.0];
        if state.running.is_none() {
            return;
        }
        state.forget();
        state.powered = !power;
        self.note(node, format_args!("crashes, power lost: {power}"));
        for (link, side) in self.links.of_node(node) {
            if power {
                // Nobody is told; the peer finds out or does not.
                if let Some(state) = self.links.get(link) {
                    state.end(side).open = false;
                }
            } else {
                self.end_side(link, side, CloseReason::Failed);
                self.send_reset(link, side.other());
            }
        }
        let faults = &mut self.faults;
        let disk = &mut self.nodes[node.0].disk;
        if power {
            disk.crash(&mut self.dice, &mut |fault| faults.strike(fault));
        } else {
            disk.close_all();
        }
        self.schedule(down_for, Happening::Start(node));
    }

    /// Lets no packet pass from one node to another.
    pub fn partition(&mut self, from: NodeId, to: NodeId, span: Duration) {
        self.paths.block(Way::Between(from, to), self.now + span);
    }

    /// Lets packets from one node to another queue up.
    pub fn clog(&mut self, from: NodeId, to: NodeId, span: Duration) {
        self.paths.clog(Way::Between(from, to), self.now + span);
    }

    /// Lets no packet into a site or out of it.
    pub fn cut_off(&mut self, site: SiteId, span: Duration) {
        for way in [Way::OutOf(site), Way::Into(site)] {
            self.paths.block(way, self.now + span);
        }
    }

    /// From now on packets take so long, and so many of a million are lost:
    /// segments of connections are sent again, each time after twice as long.
    pub fn set_network(&mut self, delay: Duration, loss_ppm: u32) {
        self.paths.set(delay, loss_ppm);
    }

    /// Gives a node no processor time. Its system takes what comes.
    pub fn pause(&mut self, node: NodeId, span: Duration) {
        self.nodes[node.0].paused_until = self.now + span;
        self.nodes[node.0].was_paused = true;
    }

    /// Lets a machine sleep: it does nothing, and nothing reaches it. Its
    /// memory and its monotonic clock go on.
    pub fn suspend(&mut self, node: NodeId, span: Duration) {
        self.pause(node, span);
        self.nodes[node.0].asleep_until = self.now + span;
    }

    pub(super) fn weather(&mut self) {
        if self.calm {
            return;
        }
        let pause = self
            .dice
            .span(Duration::from_millis(300)..Duration::from_secs(2));
        self.schedule(pause, Happening::Weather);
        if self.nodes.is_empty() {
            return;
        }
        let node = NodeId(self.dice.index(self.nodes.len()));
        let other = NodeId(self.dice.index(self.nodes.len()));
        self.weather_on_paths(node, other);
        self.weather_on_node(node);
        self.weather_on_links();
    }

    fn weather_on_paths(&mut self, node: NodeId, other: NodeId) {
        let span = self.up_to(Duration::from_secs(100));
        let ways = self.ways_of(node, other);
        if self.faults.strike(Fault::PartitionOneWay) {
            let way = *self.dice.pick(&ways);
            self.paths.block(way, self.now + span);
        }
        if self.faults.strike(Fault::PartitionTwoWay) {
            for way in ways {
                self.paths.block(way, self.now + span);
            }
        }
        if self.faults.strike(Fault::Clog) {
            let span = self.up_to(Duration::from_secs(20));
            self.paths.clog(*self.dice.pick(&ways), self.now + span);
        }
        if self.faults.strike(Fault::Swizzle) {
            // One after another clogs; each clears at a time of its own.
            for to in (0..self.nodes.len()).map(NodeId) {
                if self.dice.one_in(2) {
                    let (begin, span) = (
                        self.up_to(Duration::from_secs(10)),
                        self.up_to(Duration::from_secs(20)),
                    );
                    self.schedule(begin, Happening::Clog(Way::Between(node, to), span));
                    self.schedule(begin, Happening::Clog(Way::Between(to, node), span));
                }
            }
        }
    }

    /// There and back: between two nodes, or through the router of the one's
    /// site.
    fn ways_of(&mut self, node: NodeId, other: NodeId) -> [Way; 2] {
        match self.nodes[node.0].site {
            Some(site) if self.dice.one_in(2) => [Way::OutOf(site), Way::Into(site)],
            _ => [Way::Between(node, other), Way::Between(other, node)],
        }
    }

    fn weather_on_node(&mut self, node: NodeId) {
        if self.faults.strike(Fault::Pause) {
            let span = self.up_to(Duration::from_secs(20));
            self.pause(node, span);
        }
        if self.faults.strike(Fault::ClockJump) {
            let jump = self.dice.below(2 * 86_400_000) as i64 - 86_400_000;
            self.nodes[node.0].wall_offset_ms += jump;
            self.push_fact(node, Fact::WallClock);
        }
        let up = self.nodes[node.0].running.is_some() && !self.nodes[node.0].sheltered;
        if up && self.faults.strike(Fault::CrashProcess) {
            let span = self.up_to(Duration::from_secs(60));
            self.crash(node, false, span);
        } else if up && self.faults.strike(Fault::CrashPower) {
            let span = self.up_to(Duration::from_secs(60));
            self.crash(node, true, span);
        }
    }

    fn weather_on_links(&mut self) {
        let Some(link) = self.links.pick(&mut self.dice) else {
            return;
        };
        if self.faults.strike(Fault::Reset) {
            for side in Side::BOTH {
                self.send_reset(link, side);
            }
        } else if self.faults.strike(Fault::HalfClose) {
            let side = *self.dice.pick(&Side::BOTH);
            self.write_fin(link, side);
            if let Some(link) = self.links.get(link) {
                link.pipe_from(side).cut = true;
            }
        }
    }

    /// Spans of every order of magnitude are as likely.
    fn up_to(&mut self, longest: Duration) -> Duration {
        let span = longest / (1 << self.dice.below(10));
        self.dice.span(span / 2..span)
    }
}
