//! The ways of notifications against lists.

use alloc::vec::Vec;
use core::time::Duration;

use crate::collections::model::{Script, fires_at};
use crate::notify::{Leg, LineState, RouteRefusal, Router, RouterEffect, RouterLimits, Way};
use crate::{Instant, Key, Machine, Random};

const LIMITS: RouterLimits = RouterLimits {
    legs_max: 7,
    legs_per_line_max: 4,
    legs_per_subnet_max: 5,
    served_timeout: Duration::from_secs(10),
    sulk: Duration::from_secs(60),
};
const LINES: u32 = 4;
const CLIENTS: u32 = 6;

/// Any bytes as operations on a router.
pub fn router(data: &[u8]) {
    let mut pair = Pair {
        router: Router::new(LIMITS, LINES, CLIENTS, Random::from_seed([5; 32])),
        lines: Vec::new(),
        last: Vec::new(),
        waiting: Vec::new(),
        starved: Vec::new(),
        untold: 0,
        generation: 0,
        now: Instant::ORIGIN,
        passes: false,
        served: Vec::new(),
        given_back: Vec::new(),
        rooms: Vec::new(),
    };
    let _ = pair.run(&mut Script(data));
}

struct Listed {
    key: Key,
    subnet: Key,
    room: usize,
    begun: u32,
    queue: Vec<Leg>,
    outstanding: Vec<(u32, Instant, Leg)>,
    sulks_until: Option<Instant>,
    confirmed_at: Option<Instant>,
    /// Since when it is blocked; its sulk does not end before that does.
    blocked_at: Option<Instant>,
    leaving: bool,
}

impl Listed {
    fn load(&self) -> usize {
        self.queue.len() + self.outstanding.len()
    }

    fn state(&self) -> LineState {
        match self.sulks_until {
            _ if self.leaving => LineState::Leaving,
            Some(_) => LineState::Sulking,
            None if self.blocked_at.is_some() => LineState::Held,
            None if self.load() == self.room => LineState::Full,
            None => LineState::Ready,
        }
    }

    /// All of its legs, in the order that they were begun.
    fn take_legs(&mut self) -> Vec<Leg> {
        let begun = self.outstanding.drain(..).map(|(_, _, leg)| leg);
        begun.chain(self.queue.drain(..)).collect()
    }

    fn due(&self) -> Option<Instant> {
        let oldest = self.outstanding.first().map(|(_, begun_at, _)| *begun_at);
        let oldest = oldest.map(|begun_at| self.confirmed_at.max(Some(begun_at)));
        let oldest = oldest.flatten();
        let since = match self.state() {
            LineState::Sulking => return self.sulks_until.map(fires_at),
            LineState::Held => oldest.into_iter().chain(self.blocked_at).min(),
            _ => oldest,
        };
        since.map(|since| fires_at(since + LIMITS.served_timeout))
    }
}

struct Pair {
    router: Router,
    lines: Vec<Listed>,
    /// By which line the last notification of a client went.
    last: Vec<(Key, Key)>,
    /// Subnets that were told to come later: for a line, for any leg.
    waiting: Vec<Key>,
    starved: Vec<Key>,
    /// Legs that ended, and whose room is still free and told to nobody.
    untold: usize,
    generation: u32,
    now: Instant,
    /// Whether the effects of a deadline are taken.
    passes: bool,
    /// Effects that are to come.
    served: Vec<Leg>,
    given_back: Vec<Leg>,
    rooms: Vec<Key>,
}

impl Pair {
    fn run(&mut self, script: &mut Script<'_>) -> Option<()> {
        loop {
            match script.byte()? % 16 {
                0 | 1 => self.open(script)?,
                2 => self.close(script)?,
                3..8 => self.send(script)?,
                8..10 => self.begin(script)?,
                10 | 11 => self.confirm(script)?,
                12 => match script.byte()? % 8 {
                    0..3 => self.skip(script)?,
                    3..5 => self.block(script)?,
                    5 | 6 => self.unblock(script)?,
                    _ => self.tell_goodbye(script)?,
                },
                13 => self.answer(script)?,
                _ => self.pass_time(script)?,
            }
            self.tell_of_room();
            if script.one_in(2) {
                self.drain();
            }
            self.compare();
        }
    }

    fn open(&mut self, script: &mut Script<'_>) -> Option<()> {
        self.generation += 1;
        let fresh = Key::new(u32::from(script.byte()?) % (LINES + 1), self.generation);
        // Or one that is open moves to another subnet.
        let moves = self.lines.first().filter(|_| script.one_in(4));
        let (key, begun) = moves.map_or((fresh, 0), |line| (line.key, line.begun));
        let (subnet, room) = (subnet(script)?, usize::from(script.byte()? % 6));
        self.router.handle_line_opened(key, subnet, room as u32);
        let old = self
            .lines
            .iter()
            .position(|old| old.key.index() == key.index());
        if let Some(place) = old {
            self.end(place);
        }
        if key.index() < LINES as usize {
            self.lines.push(Listed {
                key,
                subnet,
                room: room.clamp(1, LIMITS.legs_per_line_max as usize),
                begun,
                queue: Vec::new(),
                outstanding: Vec::new(),
                sulks_until: None,
                confirmed_at: None,
                blocked_at: None,
                leaving: false,
            });
        }
        Some(())
    }

    fn close(&mut self, script: &mut Script<'_>) -> Option<()> {
        let line = self.choose(script)?;
        self.router.handle_line_closed(line);
        if let Some(place) = self.lines.iter().position(|listed| listed.key == line) {
            self.end(place);
        }
        Some(())
    }

    fn block(&mut self, script: &mut Script<'_>) -> Option<()> {
        let line = self.choose(script)?;
        self.router.handle_line_blocked(self.now, line);
        if let Some(listed) = self.lines.iter_mut().find(|listed| listed.key == line) {
            listed.blocked_at.get_or_insert(self.now);
        }
        Some(())
    }

    fn unblock(&mut self, script: &mut Script<'_>) -> Option<()> {
        let line = self.choose(script)?;
        self.router.handle_line_writable(line);
        if let Some(listed) = self.lines.iter_mut().find(|listed| listed.key == line)
            && listed.blocked_at.take().is_some()
        {
            let now = self.now;
            let sulks = |until: &Instant| fires_at(*until) > now;
            listed.sulks_until = listed.sulks_until.filter(sulks);
        }
        Some(())
    }

    /// What it was not sent takes another way.
    fn tell_goodbye(&mut self, script: &mut Script<'_>) -> Option<()> {
        let line = self.choose(script)?;
        self.router.handle_line_leaving(line);
        if let Some(listed) = self.lines.iter_mut().find(|listed| listed.key == line) {
            listed.leaving = true;
            self.given_back.append(&mut listed.queue);
        }
        Some(())
    }

    fn end(&mut self, place: usize) {
        let mut ended = self.lines.remove(place);
        self.given_back.extend(ended.take_legs());
        // Before another line of the subnet opens in its place.
        self.tell_of_room();
    }

    fn send(&mut self, script: &mut Script<'_>) -> Option<()> {
        let client = Key::new(u32::from(script.byte()?) % CLIENTS, 0);
        let notification = Key::new(u32::from(script.byte()? % 3), 0);
        let subnet = subnet(script)?;
        let (servable, datagram) = (!script.one_in(8), script.one_in(2));
        let way = self
            .router
            .route(self.now, client, subnet, servable, datagram);
        self.check(way, client, subnet, servable, datagram);
        let line = match way {
            Way::Peer(line) => line,
            Way::Later => {
                let starves = self.legs_len() == LIMITS.legs_max as usize
                    && self.lines_of(subnet, LineState::Ready).next().is_some();
                let told = match starves {
                    true => &mut self.starved,
                    false => &mut self.waiting,
                };
                told.extend((!told.contains(&subnet)).then_some(subnet));
                return Some(());
            }
            Way::Datagram => {
                // It may have to wait, and be routed again.
                if !script.one_in(4) {
                    self.router.handle_datagram(client);
                    self.last.retain(|(of, _)| *of != client);
                }
                return Some(());
            }
            Way::None => return Some(()),
        };
        // Also by a line that it was not told.
        let line = match script.one_in(8) {
            true => self.choose(script)?,
            false => line,
        };
        self.assign(line, client, notification);
        Some(())
    }

    /// Whether the way is one that the rules allow.
    fn check(&self, way: Way, client: Key, subnet: Key, servable: bool, datagram: bool) {
        let last = self.last.iter().find(|(of, _)| *of == client);
        let avoided = last.map(|(_, line)| *line);
        let of_state = |state| {
            let lines = self.lines_of(subnet, state).filter(|_| servable);
            lines.collect::<Vec<_>>()
        };
        let (ready, full) = (of_state(LineState::Ready), of_state(LineState::Full));
        let held = of_state(LineState::Held);
        let other = |listed: &&&Listed| Some(listed.key) != avoided;
        let best = ready.iter().filter(other).map(|listed| listed.load()).min();
        let spare = best.is_none() && !ready.is_empty();
        let full_others = full.iter().filter(other).count();
        let starves = self.legs_len() == LIMITS.legs_max as usize;
        match way {
            Way::Peer(line) => {
                assert!(!starves && !self.has_its_share(subnet));
                let chosen = ready.iter().find(|listed| listed.key == line).unwrap();
                match best {
                    Some(load) => assert!(chosen.load() == load && avoided != Some(line)),
                    None => assert!(spare && !datagram),
                }
            }
            Way::Later if (starves || self.has_its_share(subnet)) && !ready.is_empty() => {
                assert!(best.is_some() || !datagram);
            }
            Way::Later => {
                assert!(ready.is_empty() && !(full.is_empty() && held.is_empty()));
                assert!(full_others > 0 || !datagram);
            }
            Way::Datagram => {
                assert!(datagram && best.is_none());
                assert!(full_others == 0 || spare);
            }
            Way::None => {
                assert!(!datagram && ready.is_empty() && full.is_empty() && held.is_empty());
            }
        }
    }

    fn assign(&mut self, line: Key, client: Key, notification: Key) {
        let leg = Leg {
            client,
            notification,
        };
        let on_its_way = self.legs().any(|other| other == leg);
        let full = self.legs_len() == LIMITS.legs_max as usize;
        let told = self.router.assign(line, client, notification);
        let subnets = self.lines.iter().map(|listed| listed.subnet);
        let shares: Vec<_> = subnets
            .filter(|subnet| self.has_its_share(*subnet))
            .collect();
        let listed = self.lines.iter_mut().find(|listed| listed.key == line);
        let expected = match &listed {
            None => Err(RouteRefusal::UnknownLine),
            Some(listed) if listed.state() != LineState::Ready => Err(RouteRefusal::NoRoom),
            Some(listed) if shares.contains(&listed.subnet) => Err(RouteRefusal::NoRoom),
            Some(_) if on_its_way => Err(RouteRefusal::OnItsWay),
            Some(_) if full => Err(RouteRefusal::Full),
            Some(_) => Ok(()),
        };
        assert_eq!(told, expected);
        if let (Ok(()), Some(listed)) = (told, listed) {
            listed.queue.push(leg);
            self.last.retain(|(of, _)| *of != client);
            self.last.push((client, line));
            let free = LIMITS.legs_max as usize - self.legs_len();
            self.untold = self.untold.min(free);
        }
    }

    fn begin(&mut self, script: &mut Script<'_>) -> Option<()> {
        let (line, n) = (self.choose(script)?, usize::from(script.byte()? % 6));
        let batch: Vec<_> = self.router.next_batch(line).collect();
        let told = self.router.begin_batch(self.now, line, n as u32);
        let Some(listed) = self.lines.iter_mut().find(|listed| listed.key == line) else {
            assert!(batch.is_empty() && told.is_none());
            return Some(());
        };
        let of_one = |leg: &&Leg| leg.notification == listed.queue[0].notification;
        let expected: Vec<_> = listed.queue.iter().take_while(of_one).copied().collect();
        assert_eq!(batch, expected);
        if n == 0 || listed.queue.is_empty() {
            assert_eq!(told, None);
            return Some(());
        }
        listed.begun += 1;
        assert_eq!(told, Some(listed.begun));
        let begun = listed.queue.drain(..n.min(listed.queue.len()));
        let stamped = begun.map(|leg| (listed.begun, self.now, leg));
        listed.outstanding.extend(stamped);
        Some(())
    }

    fn confirm(&mut self, script: &mut Script<'_>) -> Option<()> {
        let (line, sequence) = (self.choose(script)?, u32::from(script.byte()? % 8));
        let right = self.router.handle_served(line, sequence);
        let Some(listed) = self.lines.iter_mut().find(|listed| listed.key == line) else {
            assert!(right);
            return Some(());
        };
        assert_eq!(right, sequence <= listed.begun);
        if right {
            let done = |(number, _, _): &mut (u32, Instant, Leg)| *number <= sequence;
            let done: Vec<_> = listed.outstanding.extract_if(.., done).collect();
            if !done.is_empty() {
                listed.confirmed_at = Some(self.now);
            }
            self.served.extend(done.into_iter().map(|(_, _, leg)| leg));
        }
        Some(())
    }

    fn skip(&mut self, script: &mut Script<'_>) -> Option<()> {
        let (line, n) = (self.choose(script)?, usize::from(script.byte()? % 3));
        self.router.skip(line, n as u32);
        if let Some(listed) = self.lines.iter_mut().find(|listed| listed.key == line) {
            let n = n.min(listed.queue.len());
            listed.queue.drain(..n);
            self.untold += n;
        }
        Some(())
    }

    fn answer(&mut self, script: &mut Script<'_>) -> Option<()> {
        let client = Key::new(u32::from(script.byte()?) % CLIENTS, 0);
        self.router.handle_answered(client);
        self.last.retain(|(of, _)| *of != client);
        Some(())
    }

    fn pass_time(&mut self, script: &mut Script<'_>) -> Option<()> {
        let span = Duration::from_micros(script.number(27)?);
        self.drain();
        self.now = self.now + span;
        self.router.handle_timeout(self.now);
        // The order of those that end at once is the wheel's.
        let mut lost = Vec::new();
        for listed in &mut self.lines {
            if listed.due().is_none_or(|due| due > self.now) {
                continue;
            }
            match listed.state() {
                LineState::Sulking if listed.blocked_at.is_some() => {}
                LineState::Sulking => listed.sulks_until = None,
                LineState::Leaving => lost.extend(listed.take_legs()),
                _ => {
                    lost.extend(listed.take_legs());
                    listed.sulks_until = Some(self.now + LIMITS.sulk);
                }
            }
        }
        self.given_back.extend(lost);
        self.tell_of_room();
        self.passes = true;
        self.drain();
        self.passes = false;
        assert!(self.router.poll_timeout().is_none_or(|at| at > self.now));
        Some(())
    }

    /// Who waits is told when there is room, or nothing to wait for.
    fn tell_of_room(&mut self) {
        let waiting = core::mem::take(&mut self.waiting);
        for subnet in waiting {
            let ready = self.lines_of(subnet, LineState::Ready).next().is_some();
            let is_busy = |state| self.lines_of(subnet, state).next().is_some();
            let busy = is_busy(LineState::Full) || is_busy(LineState::Held);
            let waits = match ready {
                true => self.has_its_share(subnet),
                false => busy,
            };
            match waits {
                true => self.waiting.push(subnet),
                false if self.rooms.contains(&subnet) => {}
                false => self.rooms.push(subnet),
            }
        }
    }

    /// Every effect that is to come comes, and no other.
    fn drain(&mut self) {
        let mut rooms = core::mem::take(&mut self.rooms);
        let (mut served, mut given_back) = (Vec::new(), Vec::new());
        while let Some(effect) = self.router.poll() {
            match effect {
                RouterEffect::Served {
                    client,
                    notification,
                } => {
                    self.untold += 1;
                    served.push(Leg {
                        client,
                        notification,
                    });
                }
                RouterEffect::Reroute {
                    client,
                    notification,
                } => {
                    self.untold += 1;
                    given_back.push(Leg {
                        client,
                        notification,
                    });
                }
                RouterEffect::Room { subnet } => {
                    let take = |subnets: &mut Vec<Key>| {
                        let place = subnets.iter().position(|other| *other == subnet);
                        place.map(|place| subnets.swap_remove(place)).is_some()
                    };
                    let starved = self.starved.contains(&subnet);
                    if starved && !self.router.is_starved(subnet) {
                        // One is told for each leg that ended; all, after the
                        // last.
                        assert!(self.untold > 0 || self.router.is_empty());
                        self.untold = self.untold.saturating_sub(1);
                        take(&mut self.starved);
                        continue;
                    }
                    // Of lines that end at once, one made room before the next.
                    let told = take(&mut rooms) || self.passes && take(&mut self.waiting);
                    assert!(told, "nobody waits");
                }
            }
        }
        assert_eq!(served, core::mem::take(&mut self.served));
        let mut expected = core::mem::take(&mut self.given_back);
        given_back.sort();
        expected.sort();
        assert_eq!(given_back, expected);
        assert!(rooms.is_empty(), "nobody was told: {rooms:?}");
        let told = self.untold == 0 && !self.router.is_empty();
        assert!(told || self.starved.is_empty(), "nobody was told");
    }

    fn lines_of(&self, subnet: Key, state: LineState) -> impl Iterator<Item = &Listed> {
        self.lines
            .iter()
            .filter(move |listed| listed.subnet == subnet && listed.state() == state)
    }

    fn has_its_share(&self, subnet: Key) -> bool {
        let lines = self.lines.iter().filter(|listed| listed.subnet == subnet);
        lines.map(Listed::load).sum::<usize>() >= LIMITS.legs_per_subnet_max as usize
    }

    /// All legs, also those whose effect is to come.
    fn legs(&self) -> impl Iterator<Item = Leg> {
        let lines = self.lines.iter().flat_map(|listed| {
            let outstanding = listed.outstanding.iter().map(|(_, _, leg)| *leg);
            outstanding.chain(listed.queue.iter().copied())
        });
        lines
            .chain(self.served.iter().copied())
            .chain(self.given_back.iter().copied())
    }

    fn legs_len(&self) -> usize {
        self.legs().count()
    }

    /// A line, also one that is gone.
    fn choose(&self, script: &mut Script<'_>) -> Option<Key> {
        let place = usize::from(script.byte()?) % (LINES as usize + 1);
        let gone = Key::new(place as u32, 0);
        Some(self.lines.get(place).map_or(gone, |listed| listed.key))
    }

    fn compare(&self) {
        let mut legs: Vec<_> = self.legs().collect();
        assert_eq!(self.router.len(), legs.len());
        assert_eq!(self.router.is_empty(), legs.is_empty());
        assert!(legs.len() <= LIMITS.legs_max as usize);
        legs.sort();
        assert!(
            legs.is_sorted_by(|one, next| one < next),
            "two ways at once"
        );
        for listed in &self.lines {
            assert_eq!(self.router.line_state(listed.key), listed.state());
            assert_eq!(self.router.line_len(listed.key), listed.load());
        }
        // A sulk that is over lasts until the line takes something.
        let ahead = |due: &Instant| *due > self.now;
        let due = self.lines.iter().filter_map(Listed::due);
        let earliest = due.filter(ahead).min();
        let told = self.router.poll_timeout();
        // After a timer was set anew it may be early, never late.
        assert_eq!(told.is_some(), earliest.is_some());
        assert!(told <= earliest, "{told:?} is later than {earliest:?}");
    }
}

/// One of two subnets, neither of which ends.
fn subnet(script: &mut Script<'_>) -> Option<Key> {
    Some(match script.byte()? % 3 {
        0 => Key::new(1, 4),
        _ => Key::new(0, 0),
    })
}
