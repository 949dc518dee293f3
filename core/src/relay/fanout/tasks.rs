//! What is still to be brought, in lists.

use crate::Key;
use crate::collections::Slab;
use crate::wire::datagram::Fanout as Digest;

/// A notification for one client, or for all members of a subnet.
#[derive(Clone, Copy, Debug)]
pub(in crate::relay) struct Task {
    pub(in crate::relay) notification: Key,
    /// For this member alone, or for all.
    pub(in crate::relay) only: Option<Key>,
    /// Whether connections of its members are to be woken: they are not, where
    /// a walk over all connections does it.
    pub(in crate::relay) wakes: bool,
    /// What the datagrams of this second share, digested.
    pub(in crate::relay) digest: Option<(u32, Digest)>,
    /// Whether the walk over the members has begun.
    pub(super) begun: bool,
    /// Members that a walk left behind and for which this is what is next.
    pub(super) waiters: u32,
    pub(super) next: Option<Key>,
}

impl Task {
    pub(super) const fn new(notification: Key, only: Option<Key>, wakes: bool) -> Self {
        Self {
            notification,
            only,
            wakes,
            digest: None,
            begun: false,
            waiters: 0,
            next: None,
        }
    }
}

/// A first-in, first-out list through the tasks.
#[derive(Clone, Copy)]
pub(super) struct List {
    ends: Option<(Key, Key)>,
}

impl List {
    pub(super) const EMPTY: Self = Self { ends: None };

    pub(super) fn first(&self) -> Option<Key> {
        self.ends.map(|(first, _)| first)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.ends.is_none()
    }

    pub(super) fn push(&mut self, tasks: &mut Slab<Task>, task: Key) {
        let first = match self.ends {
            None => task,
            Some((first, last)) => {
                if let Some(last) = tasks.get_mut(last) {
                    last.next = Some(task);
                }
                first
            }
        };
        self.ends = Some((first, task));
    }

    pub(super) fn pop(&mut self, tasks: &mut Slab<Task>) -> Option<Key> {
        let (first, last) = self.ends?;
        let next = tasks.get_mut(first).and_then(|task| task.next.take());
        self.ends = next.map(|next| (next, last));
        Some(first)
    }
}
