//! What is still to be brought to clients without a connection of their own.
//!
//! A notification to all, or to a site, is first a [`Spread`]: it puts itself
//! into the queue of one subnet after another. A subnet's queue is worked off
//! from its front, one member of the subnet at a time, by the relay's polls.
//! So a fan-out is a few bytes for each subnet, however many clients it has,
//! and a subnet whose peers are busy holds up no other.

use alloc::collections::VecDeque;

use crate::collections::{Chunks, ReadyList, Slab};
use crate::wire::datagram::Fanout as Digest;
use crate::{Key, NotificationId};

/// Entries of all subnets' queues together.
const TASKS_MAX: u32 = 65_536;

/// A notification that has to be put into the queues of many subnets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) notification: Key,
    pub(super) id: NotificationId,
    /// Of this site alone, or of all.
    pub(super) site: Option<u16>,
    /// The place of the subnet that is next.
    pub(super) place: usize,
}

/// An entry of a subnet's queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) notification: Key,
    /// For this member alone, or for all.
    pub(super) only: Option<Key>,
    /// Whether connections of its members are to be woken: they are not, where
    /// a walk over all connections does it.
    pub(super) wakes: bool,
    /// Whether the walk over the members has begun.
    pub(super) begun: bool,
    /// What the datagrams of this second share, digested.
    pub(super) digest: Option<(u32, Digest)>,
    next: Option<Key>,
}

#[derive(Clone, Copy)]
struct Queue {
    generation: u32,
    front: Option<Key>,
    /// The last of those for one member, which stand before those for all.
    last_single: Option<Key>,
    back: Option<Key>,
}

impl Queue {
    const NONE: Self = Self {
        generation: u32::MAX,
        front: None,
        last_single: None,
        back: None,
    };
}

/// The queues of all subnets.
pub(super) struct Fanout {
    spreads: VecDeque<Spread>,
    tasks: Slab<Task>,
    queues: Chunks<Queue>,
    /// Subnets whose queue can be worked off.
    ready: ReadyList,
    /// Subnets whose next datagram waits for the rate.
    paced: ReadyList,
}

impl Fanout {
    pub(super) fn new(subnets_max: u32) -> Self {
        Self {
            spreads: VecDeque::new(),
            tasks: Slab::new(TASKS_MAX),
            queues: Chunks::new(subnets_max),
            ready: ReadyList::new(subnets_max),
            paced: ReadyList::new(subnets_max),
        }
    }

    /// Whether nothing is left to do.
    #[cfg(any(test, feature = "_test"))]
    pub(super) fn is_empty(&self) -> bool {
        self.spreads.is_empty() && self.tasks.is_empty()
    }

    /// Begins a spread behind the others. So that there are no more of them
    /// than the `alive` notifications, what has expired makes room.
    pub(super) fn spread(
        &mut self,
        spread: Spread,
        alive: usize,
        is_alive: impl Fn(NotificationId) -> bool,
    ) {
        if self.spreads.len() >= alive {
            self.spreads.retain(|spread| is_alive(spread.id));
        }
        self.spreads.push_back(spread);
    }

    /// The spread that goes on, if there is room for one more task.
    pub(super) fn next_spread(&mut self) -> Option<&mut Spread> {
        if self.tasks.is_full() {
            return None;
        }
        self.spreads.front_mut()
    }

    pub(super) fn end_spread(&mut self) {
        self.spreads.pop_front();
    }

    /// Queues a notification for all members of a subnet. False if there is no
    /// room.
    pub(super) fn push_all(&mut self, subnet: Key, notification: Key, wakes: bool) -> bool {
        let Some(task) = self.insert(notification, None, wakes) else {
            return false;
        };
        let Some(queue) = queue_mut(&mut self.queues, &mut self.tasks, subnet) else {
            self.tasks.remove(task);
            return false;
        };
        let before = queue.back.replace(task);
        match before {
            Some(before) => {
                if let Some(before) = self.tasks.get_mut(before) {
                    before.next = Some(task);
                }
            }
            None => queue.front = Some(task),
        }
        self.wake(subnet);
        true
    }

    /// Queues a notification for one member, before what is for all and behind
    /// what came before for one. False if there is no room.
    pub(super) fn push_one(&mut self, subnet: Key, client: Key, notification: Key) -> bool {
        let Some(task) = self.insert(notification, Some(client), true) else {
            return false;
        };
        let Some(queue) = queue_mut(&mut self.queues, &mut self.tasks, subnet) else {
            self.tasks.remove(task);
            return false;
        };
        let behind = match queue.last_single.replace(task) {
            None => queue.front.replace(task),
            Some(before) => self
                .tasks
                .get_mut(before)
                .and_then(|before| before.next.replace(task)),
        };
        if behind.is_none() {
            queue.back = Some(task);
        }
        if let Some(task) = self.tasks.get_mut(task) {
            task.next = behind;
        }
        self.wake(subnet);
        true
    }

    /// The place of the next subnet that can be worked on.
    pub(super) fn next_subnet(&mut self) -> Option<u32> {
        self.ready.pop()
    }

    /// The subnet is to be looked at again.
    pub(super) fn wake(&mut self, subnet: Key) {
        if let Ok(place) = u32::try_from(subnet.index()) {
            self.paced.remove(place);
            self.ready.push(place);
        }
    }

    /// The subnet's next datagram has to wait for the rate.
    pub(super) fn pace(&mut self, subnet: Key) {
        if let Ok(place) = u32::try_from(subnet.index()) {
            self.ready.remove(place);
            self.paced.push(place);
        }
    }

    #[cfg(test)]
    pub(super) fn has_paced(&self) -> bool {
        !self.paced.is_empty()
    }

    /// The rate allows for datagrams again.
    pub(super) fn unpace(&mut self) {
        while let Some(place) = self.paced.pop() {
            self.ready.push(place);
        }
    }

    /// The front of a subnet's queue.
    pub(super) fn front(&mut self, subnet: Key) -> Option<(Key, &mut Task)> {
        let key = queue_mut(&mut self.queues, &mut self.tasks, subnet)?.front?;
        self.tasks.get_mut(key).map(|task| (key, task))
    }

    /// Takes a task out of its subnet's queue. Only what stands before it is
    /// looked at: single ones that came while it was worked on.
    pub(super) fn finish(&mut self, subnet: Key, done: Key) {
        let Some(queue) = queue_mut(&mut self.queues, &mut self.tasks, subnet) else {
            return;
        };
        let mut before = None;
        let mut at = queue.front;
        while let Some(key) = at {
            let Some(next) = self.tasks.get(key).map(|task| task.next) else {
                return;
            };
            if key != done {
                (before, at) = (Some(key), next);
                continue;
            }
            match before {
                None => queue.front = next,
                Some(before) => {
                    if let Some(before) = self.tasks.get_mut(before) {
                        before.next = next;
                    }
                }
            }
            if queue.last_single == Some(done) {
                queue.last_single = before;
            }
            if next.is_none() {
                queue.back = before;
            }
            self.tasks.remove(done);
            return;
        }
    }

    /// The subnet is gone: so is what waits in its queue.
    pub(super) fn drop_queue(&mut self, place: u32) {
        self.ready.remove(place);
        self.paced.remove(place);
        if let Some(queue) = self.queues.get_mut(place as usize) {
            clear(queue, &mut self.tasks);
        }
    }

    fn insert(&mut self, notification: Key, only: Option<Key>, wakes: bool) -> Option<Key> {
        let task = Task {
            notification,
            only,
            wakes,
            begun: false,
            digest: None,
            next: None,
        };
        self.tasks.insert(task).ok()
    }
}

/// The queue of a subnet, begun anew when its place has another subnet.
fn queue_mut<'q>(
    queues: &'q mut Chunks<Queue>,
    tasks: &mut Slab<Task>,
    subnet: Key,
) -> Option<&'q mut Queue> {
    let place = u32::try_from(subnet.index()).ok()?;
    let queue = queues.get_or_grow(place, Queue::NONE)?;
    if queue.generation != subnet.generation() {
        clear(queue, tasks);
        queue.generation = subnet.generation();
    }
    Some(queue)
}

fn clear(queue: &mut Queue, tasks: &mut Slab<Task>) {
    let mut at = queue.front.take();
    (queue.last_single, queue.back) = (None, None);
    while let Some(task) = at.and_then(|key| tasks.remove(key)) {
        at = task.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn key(index: u32) -> Key {
        Key::new(index, 0)
    }

    fn spread(id: u64) -> Spread {
        Spread {
            notification: key(1),
            id: NotificationId(id),
            site: None,
            place: 0,
        }
    }

    /// The notifications of a subnet's queue, from its front.
    fn drain(fanout: &mut Fanout, subnet: Key) -> Vec<(usize, bool)> {
        let mut order = Vec::new();
        while let Some((at, task)) = fanout.front(subnet) {
            order.push((task.notification.index(), task.only.is_some()));
            fanout.finish(subnet, at);
        }
        order
    }

    #[test]
    fn single_ones_go_before_those_for_all() {
        let mut fanout = Fanout::new(8);
        assert!(fanout.push_all(key(3), key(1), true));
        assert!(fanout.push_all(key(3), key(2), true));
        assert!(fanout.push_one(key(3), key(9), key(4)));
        assert!(fanout.push_one(key(3), key(9), key(6)));
        assert_eq!(fanout.next_subnet(), Some(3));
        assert_eq!(fanout.next_subnet(), None, "each subnet once");
        assert_eq!(
            drain(&mut fanout, key(3)),
            [(4, true), (6, true), (1, false), (2, false)],
            "in the order they came"
        );
        assert!(fanout.push_one(key(3), key(9), key(7)));
        assert!(fanout.push_all(key(3), key(8), true));
        assert_eq!(drain(&mut fanout, key(3)), [(7, true), (8, false)]);
        assert!(fanout.is_empty());
        assert!(fanout.push_all(key(3), key(5), true), "the queue goes on");
        assert_eq!(drain(&mut fanout, key(3)), [(5, false)]);
    }

    #[test]
    fn what_came_before_a_task_in_work_stays() {
        let mut fanout = Fanout::new(8);
        assert!(fanout.push_all(key(0), key(1), true));
        let (walking, _) = fanout.front(key(0)).expect("it is there");
        assert!(fanout.push_one(key(0), key(9), key(2)));
        fanout.finish(key(0), walking);
        assert_eq!(drain(&mut fanout, key(0)), [(2, true)]);
        assert!(fanout.push_all(key(0), key(3), true));
        assert_eq!(drain(&mut fanout, key(0)), [(3, false)]);
    }

    #[test]
    fn a_place_with_another_subnet_begins_anew() {
        let mut fanout = Fanout::new(8);
        assert!(fanout.push_all(Key::new(2, 0), key(1), true));
        assert!(fanout.push_all(Key::new(2, 1), key(5), true));
        assert!(fanout.front(Key::new(2, 1)).is_some());
        assert_eq!(drain(&mut fanout, Key::new(2, 1)), [(5, false)]);
        assert!(fanout.is_empty(), "what waited for the former is gone");
    }

    #[test]
    fn the_queues_are_bounded_together() {
        let mut fanout = Fanout::new(2);
        for _ in 0..TASKS_MAX {
            assert!(fanout.push_all(key(0), key(1), true));
        }
        assert!(!fanout.push_all(key(1), key(1), true));
        assert!(!fanout.push_one(key(1), key(1), key(1)));
        fanout.spread(spread(1), 1, |_| true);
        assert!(fanout.next_spread().is_none());
        fanout.drop_queue(0);
        assert!(fanout.next_spread().is_some());
    }

    #[test]
    fn a_subnet_waits_for_the_rate_or_is_ready() {
        let mut fanout = Fanout::new(8);
        assert!(fanout.push_all(key(1), key(1), true));
        fanout.pace(key(1));
        assert_eq!(fanout.next_subnet(), None);
        assert!(fanout.has_paced());
        fanout.unpace();
        assert_eq!(fanout.next_subnet(), Some(1));
        assert!(!fanout.has_paced());
    }

    #[test]
    fn there_are_no_more_spreads_than_notifications_that_live() {
        let mut fanout = Fanout::new(1);
        for _ in 0..TASKS_MAX {
            assert!(fanout.push_all(key(0), key(1), true));
        }
        // Each one has expired when the next one is made.
        for id in 1..100 {
            fanout.spread(spread(id), 1, |other| other.0 == id);
            assert_eq!(fanout.spreads.len(), 1);
        }
        fanout.spread(spread(100), 2, |_| true);
        assert_eq!(fanout.spreads.len(), 2);
    }
}
