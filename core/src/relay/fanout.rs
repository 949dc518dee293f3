//! What is still to be brought to clients without a connection of their own.
//!
//! A notification to all, or to a site, is first a [`Spread`]: it puts itself
//! into the queue of one subnet after another. A subnet's queue is worked off
//! by the relay's polls: what is for one client, and a walk over the members
//! for each notification to all of them. So a fan-out is a few bytes for each
//! subnet, however many clients it has.
//!
//! Who can not be reached now holds up nobody: what is for one client waits in
//! a list of its own, and a member that a walk comes to is parked, once,
//! however many notifications go by. What waits for a peer goes on when the
//! router tells of room, what waits for the rate of datagrams one by one, with
//! the subnets taking turns.

mod parked;
mod tasks;
mod terms;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;

use parked::{Ends, Parked};
use tasks::List;
pub(super) use tasks::Task;
pub(super) use terms::{Lane, NoRoom, Source, Turn, Waits};

use crate::collections::{Chunks, ReadyList, Slab};
use crate::{Key, NotificationId};

/// Tasks of all subnets together.
const TASKS_MAX: u32 = 65_536;
/// Tasks of one subnet.
const TASKS_PER_SUBNET_MAX: u32 = 4_096;
/// Of those that are left, a subnet that has some takes no more than this part:
/// many that take what they get leave room for one more.
const FREE_PART: u32 = 8;

/// A notification that has to be put into the queues of many subnets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) notification: Key,
    pub(super) id: NotificationId,
    /// Of this site alone, or of all.
    pub(super) site: Option<u16>,
    /// Whether the walk over the subnets of the site has begun.
    pub(super) begun: bool,
    /// The place of the subnet that is next, of one to all.
    pub(super) place: usize,
}

#[derive(Clone, Copy)]
struct Queue {
    generation: u32,
    /// Tasks in its lists.
    len: u32,
    /// Those for one client, by lane.
    singles: [List; 3],
    /// Those for all members: the ones that were walked and that somebody
    /// waits for, the one in work, and the ones to come.
    groups: List,
    walked: Option<Key>,
    /// Members that were left behind, by lane.
    parked: [Ends; 3],
    /// The peers have no room, until the router tells.
    awaits_room: bool,
}

impl Queue {
    const NONE: Self = Self {
        generation: u32::MAX,
        len: 0,
        singles: [List::EMPTY; 3],
        groups: List::EMPTY,
        walked: None,
        parked: [Ends::NONE; 3],
        awaits_room: false,
    };

    /// Whether something waits in a lane.
    const fn has(&self, lane: Lane) -> bool {
        !self.singles[lane as usize].is_empty() || !self.parked[lane as usize].is_empty()
    }
}

/// The queues of all subnets.
pub(super) struct Fanout {
    spreads: VecDeque<Spread>,
    tasks: Slab<Task>,
    queues: Chunks<Queue>,
    parked: Parked,
    /// Subnets whose queue can be worked off.
    ready: ReadyList,
    /// Subnets where somebody waits for the rate.
    paced: ReadyList,
}

impl Fanout {
    pub(super) fn new(clients_max: u32) -> Self {
        Self {
            spreads: VecDeque::new(),
            tasks: Slab::new(TASKS_MAX),
            queues: Chunks::new(clients_max),
            parked: Parked::new(clients_max),
            ready: ReadyList::new(clients_max),
            paced: ReadyList::new(clients_max),
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

    /// Queues a notification for all members of a subnet.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing is changed then.
    pub(super) fn push_all(
        &mut self,
        subnet: Key,
        notification: Key,
        wakes: bool,
    ) -> Result<(), NoRoom> {
        let (queue, task) = self.insert(subnet, Task::new(notification, None, wakes))?;
        let queue = &mut self.queues[queue];
        queue.groups.push(&mut self.tasks, task);
        queue.walked.get_or_insert(task);
        self.wake(subnet);
        Ok(())
    }

    /// Queues a notification for one member. What is for one goes before what
    /// is for all.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing is changed then.
    pub(super) fn push_one(
        &mut self,
        subnet: Key,
        client: Key,
        notification: Key,
    ) -> Result<(), NoRoom> {
        let (queue, task) = self.insert(subnet, Task::new(notification, Some(client), true))?;
        let singles = &mut self.queues[queue].singles[Lane::Ready as usize];
        singles.push(&mut self.tasks, task);
        self.wake(subnet);
        Ok(())
    }

    fn insert(&mut self, subnet: Key, task: Task) -> Result<(u32, Key), NoRoom> {
        let free = TASKS_MAX.saturating_sub(self.tasks.len() as u32);
        if free == 0 {
            return Err(NoRoom::Relay);
        }
        let queue = self.begin_queue(subnet).ok_or(NoRoom::Relay)?;
        let share = (free / FREE_PART).clamp(1, TASKS_PER_SUBNET_MAX);
        if self.queues[queue].len >= share {
            return Err(NoRoom::Subnet);
        }
        let task = self.tasks.insert(task).map_err(|_| NoRoom::Relay)?;
        self.queues[queue].len += 1;
        Ok((queue, task))
    }

    /// The place of the next subnet that can be worked on.
    pub(super) fn next_subnet(&mut self) -> Option<u32> {
        self.ready.pop()
    }

    /// The subnet is to be looked at again.
    pub(super) fn wake(&mut self, subnet: Key) {
        self.ready.push(subnet.index() as u32);
    }

    /// Peers of the subnet have room again.
    pub(super) fn handle_room(&mut self, subnet: Key) {
        if let Some(place) = self.queue_of(subnet) {
            self.queues[place].awaits_room = false;
            self.wake(subnet);
        }
    }

    /// The place of the subnet whose turn it is when the rate allows for a
    /// datagram.
    pub(super) fn next_paced(&self) -> Option<u32> {
        self.paced.peek()
    }

    /// Another subnet is next, unless this is the only one that waits.
    pub(super) fn turn_paced(&mut self) {
        if let Some(place) = self.paced.pop()
            && self.queues[place].has(Lane::Rate)
        {
            self.paced.push(place);
        }
    }

    /// The next turn in a subnet of those that wait for nothing but a peer with
    /// room: what has waited first, and what is for one before what is for all.
    pub(super) fn next_turn(&self, subnet: Key) -> Option<Turn> {
        let queue = &self.queues[self.queue_of(subnet)?];
        let room = !queue.awaits_room;
        let waited = || room.then(|| self.single(queue, Lane::Peer)).flatten();
        let parked = || room.then(|| self.parked(queue, Lane::Peer)).flatten();
        let walk = || {
            Some(Turn {
                source: Source::Walk,
                client: None,
                task: queue.walked?,
            })
        };
        waited()
            .or_else(|| self.single(queue, Lane::Ready))
            .or_else(parked)
            .or_else(walk)
    }

    /// The next turn in a subnet of those that wait for the rate.
    pub(super) fn next_paced_turn(&self, subnet: Key) -> Option<Turn> {
        let queue = &self.queues[self.queue_of(subnet)?];
        self.single(queue, Lane::Rate)
            .or_else(|| self.parked(queue, Lane::Rate))
    }

    fn single(&self, queue: &Queue, lane: Lane) -> Option<Turn> {
        let task = queue.singles[lane as usize].first()?;
        Some(Turn {
            source: Source::Single(lane),
            client: self.tasks.get(task)?.only,
            task,
        })
    }

    fn parked(&self, queue: &Queue, lane: Lane) -> Option<Turn> {
        let (client, entry) = self.parked.front(queue.parked[lane as usize])?;
        Some(Turn {
            source: Source::Parked(lane),
            client: Some(client),
            task: self.tasks.key_at(entry.from as usize)?,
        })
    }

    pub(super) fn task(&self, task: Key) -> Option<&Task> {
        self.tasks.get(task)
    }

    pub(super) fn task_mut(&mut self, task: Key) -> Option<&mut Task> {
        self.tasks.get_mut(task)
    }

    /// Whether the walk for a task begins only now.
    pub(super) fn begins_walk(&mut self, task: Key) -> bool {
        let task = self.tasks.get_mut(task);
        task.is_some_and(|task| !core::mem::replace(&mut task.begun, true))
    }

    /// The walk for its task came to the end: that of the next one follows.
    pub(super) fn end_walk(&mut self, subnet: Key) {
        let Some(place) = self.queue_of(subnet) else {
            return;
        };
        let queue = &mut self.queues[place];
        let walked = queue.walked.and_then(|task| self.tasks.get(task));
        queue.walked = walked.and_then(|task| task.next);
        self.free_walked(place);
    }

    /// A turn is over: the client was brought what it was about, or it is of no
    /// use any more. The walk goes on by itself.
    pub(super) fn finish(&mut self, subnet: Key, turn: Turn) {
        let Some(place) = self.queue_of(subnet) else {
            return;
        };
        let queue = &mut self.queues[place];
        match turn.source {
            Source::Single(lane) => {
                if let Some(task) = queue.singles[lane as usize].pop(&mut self.tasks) {
                    self.tasks.remove(task);
                    queue.len -= 1;
                }
            }
            Source::Parked(lane) => self.advance(place, lane),
            Source::Walk => {}
        }
    }

    /// A turn has to wait, and holds up no other: a task for one client in its
    /// list, a member that the walk came to by itself. False if a member can not
    /// wait.
    pub(super) fn delay(&mut self, subnet: Key, client: Key, turn: Turn, lane: Lane) -> bool {
        let Some(place) = self.queue_of(subnet) else {
            return false;
        };
        let queue = &mut self.queues[place];
        queue.awaits_room |= lane == Lane::Peer;
        if lane == Lane::Rate {
            self.paced.push(place);
        }
        match turn.source {
            // It stays the first.
            Source::Single(now) | Source::Parked(now) if now == lane => true,
            Source::Single(now) => {
                if let Some(task) = queue.singles[now as usize].pop(&mut self.tasks) {
                    queue.singles[lane as usize].push(&mut self.tasks, task);
                }
                true
            }
            Source::Parked(now) => {
                let ends = &mut queue.parked[now as usize];
                let entry = self.parked.remove(ends, client.index() as u32);
                entry.is_some_and(|entry| {
                    let ends = &mut queue.parked[lane as usize];
                    let span = (entry.from, entry.through, entry.tasks);
                    self.parked.push(ends, client, (subnet, lane), span)
                })
            }
            Source::Walk => {
                let (ends, at) = (&mut queue.parked[lane as usize], turn.task.index() as u32);
                let parked = self.parked.push(ends, client, (subnet, lane), (at, at, 1));
                if parked && let Some(task) = self.tasks.get_mut(turn.task) {
                    task.waiters += 1;
                }
                parked
            }
        }
    }

    /// A walk came to a member. If it waits already, it does so for this task
    /// too. What it waited for in a subnet that it left is given up.
    pub(super) fn waits_already(&mut self, subnet: Key, client: Key, task: Key) -> Waits {
        let place = client.index() as u32;
        let Some(entry) = self.parked.at(place).copied() else {
            return Waits::Not { given_up: 0 };
        };
        let stays = entry.subnet == subnet && self.queue_of(subnet).is_some();
        let mut given_up = 0;
        if let Some(entry) = self.parked.get_mut(client) {
            if stays {
                entry.through = task.index() as u32;
                entry.tasks = entry.tasks.saturating_add(1);
                return Waits::Already;
            }
            given_up = entry.tasks;
        }
        self.unpark(place, entry.subnet, entry.lane);
        Waits::Not { given_up }
    }

    /// The client at the front of a lane waits for the next task, if it was
    /// left behind there too.
    fn advance(&mut self, queue: u32, lane: Lane) {
        let ends = self.queues[queue].parked[lane as usize];
        let Some((client, entry)) = self.parked.front(ends) else {
            return;
        };
        let (from, through, subnet) = (entry.from, entry.through, entry.subnet);
        let task = self.tasks.key_at(from as usize);
        let next = task.and_then(|task| self.tasks.get(task)?.next);
        let Some(next) = next.filter(|_| from != through) else {
            return self.unpark(client.index() as u32, subnet, lane);
        };
        if let Some(entry) = self.parked.get_mut(client) {
            entry.from = next.index() as u32;
            entry.tasks = entry.tasks.saturating_sub(1);
        }
        if let Some(task) = self.tasks.get_mut(next) {
            task.waiters += 1;
        }
        self.leave_task(queue, from);
    }

    /// Takes the client at a place out of where it waits, if that is still
    /// there.
    fn unpark(&mut self, client: u32, subnet: Key, lane: Lane) {
        match self.queue_of(subnet) {
            Some(queue) => {
                let ends = &mut self.queues[queue].parked[lane as usize];
                if let Some(entry) = self.parked.remove(ends, client) {
                    self.leave_task(queue, entry.from);
                }
            }
            None => self.parked.forget(client),
        }
    }

    fn leave_task(&mut self, queue: u32, task: u32) {
        let task = self.tasks.key_at(task as usize);
        if let Some(task) = task.and_then(|task| self.tasks.get_mut(task)) {
            task.waiters -= 1;
        }
        self.free_walked(queue);
    }

    /// Frees the tasks at the front that were walked and that nobody waits for.
    fn free_walked(&mut self, queue: u32) {
        let queue = &mut self.queues[queue];
        while let Some(first) = queue.groups.first()
            && queue.walked != Some(first)
            && self.tasks.get(first).is_none_or(|task| task.waiters == 0)
        {
            queue.groups.pop(&mut self.tasks);
            self.tasks.remove(first);
            queue.len -= 1;
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

    /// What an earlier subnet at the place of this one left is gone.
    pub(super) fn settle(&mut self, subnet: Key) {
        if self.queue_of(subnet).is_none() {
            self.drop_queue(subnet.index() as u32);
        }
    }

    /// The place of a subnet's queue, if it has one.
    fn queue_of(&self, subnet: Key) -> Option<u32> {
        let queue = self.queues.get(subnet.index())?;
        (queue.generation == subnet.generation()).then_some(subnet.index() as u32)
    }

    /// The place of the queue of a subnet, begun anew when another subnet had
    /// it.
    fn begin_queue(&mut self, subnet: Key) -> Option<u32> {
        let place = subnet.index() as u32;
        let queue = self.queues.get_or_grow(place, Queue::NONE)?;
        if queue.generation != subnet.generation() {
            self.paced.remove(place);
            clear(queue, &mut self.tasks);
            queue.generation = subnet.generation();
        }
        Some(place)
    }
}

/// Empties a queue: who waits in it does so no longer.
fn clear(queue: &mut Queue, tasks: &mut Slab<Task>) {
    let mut emptied = core::mem::replace(queue, Queue::NONE);
    for list in emptied.singles.iter_mut().chain([&mut emptied.groups]) {
        while let Some(task) = list.pop(tasks) {
            tasks.remove(task);
        }
    }
}
