//! How lines change, and what their subnets make of it.

use super::Router;
#[cfg(feature = "_test")]
use super::line::LINE_VISITS;
use super::line::{LineEvent, LineState, NO_LINE};
use crate::Key;

impl Router {
    /// The line changes its state, if the event means anything to it.
    pub(super) fn change(&mut self, line: Key, event: LineEvent) {
        let Some(state) = self.line(line).map(|line| line.state) else {
            return;
        };
        let Some(next) = state.after(event) else {
            return;
        };
        #[cfg(feature = "_test")]
        LINE_VISITS.note(state as usize, event as usize);
        self.leave(line);
        let place = line.index() as u32;
        self.lines[place].state = next;
        let open = &mut self.lines[place];
        let before = open.load();
        if matches!(event, LineEvent::TimedOut | LineEvent::Closed) {
            self.legs.give_back(&mut open.outstanding);
        }
        if !matches!(next, LineState::Ready | LineState::Full | LineState::Held) {
            self.legs.give_back(&mut open.queue);
        }
        let (given_back, subnet) = (before - open.load(), open.subnet);
        if let Some(subnet) = self.subnet_place(subnet) {
            self.subnets[subnet].legs -= given_back;
        }
        if !matches!(event, LineEvent::Filled | LineEvent::Freed) || state == LineState::Held {
            self.watch(line);
        }
        self.enter(line);
    }

    /// Takes the line out of where its subnet has lines of its state.
    fn leave(&mut self, line: Key) {
        let own = self.lines[line.index() as u32];
        let Some(place) = self.subnet_place(own.subnet) else {
            return;
        };
        match own.state {
            LineState::Ready => {
                let only = own.next == line.index() as u32;
                let subnet = &mut self.subnets[place];
                if only {
                    subnet.ready = NO_LINE;
                } else if subnet.ready == line.index() as u32 {
                    subnet.ready = own.next;
                }
                self.lines[own.previous].next = own.next;
                self.lines[own.next].previous = own.previous;
            }
            LineState::Full => self.subnets[place].full -= 1,
            LineState::Held => self.subnets[place].held -= 1,
            LineState::Sulking | LineState::Leaving | LineState::Closed => {}
        }
    }

    /// Puts the line to those of its state.
    pub(super) fn enter(&mut self, line: Key) {
        let at = line.index() as u32;
        let (state, subnet) = (self.lines[at].state, self.lines[at].subnet);
        let Some(place) = self.subnet_place(subnet) else {
            return;
        };
        match state {
            LineState::Ready => {
                let subnet = &mut self.subnets[place];
                if subnet.ready == NO_LINE {
                    subnet.ready = at;
                    self.lines[at].previous = at;
                }
                let first = subnet.ready;
                let last = self.lines[first].previous;
                self.lines[at].next = first;
                self.lines[at].previous = last;
                self.lines[last].next = at;
                self.lines[first].previous = at;
            }
            LineState::Full => self.subnets[place].full += 1,
            LineState::Held => self.subnets[place].held += 1,
            LineState::Sulking | LineState::Leaving => {}
            LineState::Closed => self.subnets[place].lines -= 1,
        }
        self.tell_of_room(place);
    }

    /// Tells who waits when there is room, or nothing to wait for any more.
    fn tell_of_room(&mut self, place: u32) {
        let share = self.limits.legs_per_subnet_max;
        let subnet = &mut self.subnets[place];
        let room = match subnet.ready {
            NO_LINE => subnet.full + subnet.held == 0,
            _ => subnet.legs < share,
        };
        if subnet.waits && room {
            subnet.waits = false;
            self.rooms.push(place);
        }
    }

    /// So many legs of the line ended.
    pub(super) fn freed(&mut self, line: Key, legs: u32) {
        if legs == 0 {
            return;
        }
        let subnet = self.lines[line.index() as u32].subnet;
        let subnet = self.subnet_place(subnet);
        if let Some(subnet) = subnet {
            self.subnets[subnet].legs -= legs;
        }
        self.change(line, LineEvent::Freed);
        if let Some(subnet) = subnet {
            self.tell_of_room(subnet);
        }
    }

    /// Sets the line's timer to what it waits for: the next confirmation while
    /// it has a batch, the end of its sulk, or that it takes something again.
    /// A peer that confirms batch after batch is slow, not silent.
    pub(super) fn watch(&mut self, line: Key) {
        let own = &mut self.lines[line.index() as u32];
        let oldest = own.outstanding.first();
        let begun_at = oldest.and_then(|place| self.legs.begun_at(place));
        let silent_since = begun_at.map(|at| own.confirmed_at.map_or(at, |last| last.max(at)));
        let since = match own.state {
            LineState::Closed | LineState::Sulking => None,
            LineState::Ready | LineState::Full | LineState::Leaving => silent_since,
            LineState::Held => silent_since.into_iter().chain(own.blocked_at).min(),
        };
        let due = match own.state {
            LineState::Sulking => Some(self.now + self.limits.sulk),
            _ => since.map(|since| since + self.limits.served_timeout),
        };
        match (own.timer, due) {
            (Some(timer), Some(due)) => _ = self.timers.reschedule(timer, due),
            (Some(timer), None) => {
                self.timers.cancel(timer);
                own.timer = None;
            }
            // There is a timer for each line, so there is room.
            (None, Some(due)) => own.timer = self.timers.insert(due, line).ok(),
            (None, None) => {}
        }
    }

    pub(super) fn handle_timer(&mut self, line: Key) {
        if self.line(line).is_none() {
            return;
        }
        let own = &mut self.lines[line.index() as u32];
        own.timer = None;
        let event = match own.state {
            // It rests until it takes something again.
            LineState::Sulking if own.blocked_at.is_some() => return,
            LineState::Sulking => LineEvent::Forgiven,
            _ => LineEvent::TimedOut,
        };
        self.change(line, event);
    }
}
