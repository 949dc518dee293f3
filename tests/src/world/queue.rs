//! What happens when: by time, then in the order it was scheduled.

use core::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use tautline_core::Instant;

pub(super) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    pushed: u64,
}

struct Entry<T> {
    at: Instant,
    number: u64,
    item: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            pushed: 0,
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, at: Instant, item: T) {
        self.pushed += 1;
        let number = self.pushed;
        self.heap.push(Reverse(Entry { at, number, item }));
    }

    /// The next item that is due at `end` or before.
    pub(super) fn pop_until(&mut self, end: Instant) -> Option<(Instant, T)> {
        if self.heap.peek()?.0.at > end {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        Some((entry.at, entry.item))
    }
}

impl<T> Entry<T> {
    fn rank(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_come_in_the_order_they_were_pushed() {
        let mut queue = Queue::default();
        let at = Instant::from_micros;
        for (micros, item) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            queue.push(at(micros), item);
        }
        let mut due = Vec::new();
        while let Some((_, item)) = queue.pop_until(at(5)) {
            due.push(item);
        }
        assert_eq!(due, ['a', 'b', 'c', 'd']);
    }
}
