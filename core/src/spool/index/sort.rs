//! Queues that were built in disorder are put in order.

use super::chain::{NONE, entry, entry_mut};
use super::{Message, SpoolIndex};
use crate::collections::Slab;

impl SpoolIndex {
    /// Puts every queue in the order of its numbers and drops what statements
    /// removed meanwhile. It takes O(n log n) for those that are in disorder,
    /// and less where numbers came in long runs; it allocates nothing.
    ///
    /// It has to be called between the last record of a build and the first
    /// question.
    pub fn settle(&mut self) {
        let mut cursor = 0;
        while let Some(key) = self.hosts.next_from(cursor) {
            cursor = key.index() + 1;
            let Some(host) = self.hosts.get_mut(key).filter(|host| !host.is_sorted) else {
                continue;
            };
            (host.head, host.tail) = sort(&mut self.messages, host.head);
            host.is_sorted = true;
            let removed_through = host.removed_through;
            self.remove_at(key.index() as u32, removed_through);
        }
    }
}

/// Merges runs as they come, of two neighbours in size at most. Gives the first
/// and the last.
fn sort(messages: &mut Slab<Message>, mut rest: u32) -> (u32, u32) {
    // A bin holds 2^n runs, or none.
    let mut bins = [NONE; u32::BITS as usize];
    while rest != NONE {
        let mut run = rest;
        rest = cut_run(messages, run);
        for bin in &mut bins {
            let held = core::mem::replace(bin, NONE);
            if held == NONE {
                *bin = run;
                break;
            }
            run = merge(messages, held, run);
        }
    }
    let merged = bins
        .into_iter()
        .fold(NONE, |all, bin| merge(messages, bin, all));
    let mut last = merged;
    while let Some(message) = entry(messages, last).filter(|message| message.next != NONE) {
        last = message.next;
    }
    (merged, last)
}

/// Ends a list where its numbers do not rise, and gives what was behind.
fn cut_run(messages: &mut Slab<Message>, first: u32) -> u32 {
    let mut last = first;
    loop {
        let next = next(messages, last);
        if number(messages, next) < number(messages, last) {
            if let Some(message) = entry_mut(messages, last) {
                message.next = NONE;
            }
            return next;
        }
        last = next;
    }
}

fn merge(messages: &mut Slab<Message>, mut one: u32, mut other: u32) -> u32 {
    let (mut first, mut last) = (NONE, NONE);
    while one != NONE || other != NONE {
        let is_one =
            other == NONE || one != NONE && number(messages, one) <= number(messages, other);
        let least = if is_one { &mut one } else { &mut other };
        let place = core::mem::replace(least, next(messages, *least));
        match entry_mut(messages, last) {
            Some(message) => message.next = place,
            None => first = place,
        }
        last = place;
        // What is left over is in order.
        if one == NONE || other == NONE {
            let rest = if one == NONE { other } else { one };
            if let Some(message) = entry_mut(messages, last) {
                message.next = rest;
            }
            break;
        }
    }
    first
}

fn next(messages: &Slab<Message>, place: u32) -> u32 {
    entry(messages, place).map_or(NONE, |message| message.next)
}

/// No message has number 0.
fn number(messages: &Slab<Message>, place: u32) -> u64 {
    entry(messages, place).map_or(0, |message| message.number.get())
}
