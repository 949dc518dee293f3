//! Commands one way, completions the other, between an event loop and one
//! worker thread.
//!
//! The loop never waits: it is woken through a [`Wake`], at most once for all
//! completions that came since it looked last. The worker sleeps on a condition
//! variable. The order of "clear the flag" and "take the queue" in
//! [`Owner::drain`] is what keeps a completion from being forgotten; loom
//! checks it.

use std::collections::VecDeque;
use std::sync::Arc as SharedArc;

use crate::sync::{Arc, AtomicBool, Condvar, Mutex, Ordering, lock, wait};

/// Interrupts the loop's sleep. Must work from any thread, and a call while
/// the loop is awake must make its next sleep return at once.
pub trait Wake: Send + Sync {
    /// Interrupts the sleep of the loop.
    fn wake(&self);
}

impl Wake for SharedArc<mio::Waker> {
    fn wake(&self) {
        // An eventfd fails only when its counter is full, and then the loop is
        // woken anyway.
        let _ = mio::Waker::wake(self);
    }
}

/// The two ends of a mailbox for at most `commands_max` waiting commands.
pub fn mailbox<C, D, W: Wake>(commands_max: usize, waker: W) -> (Owner<C, D, W>, Worker<C, D, W>) {
    let shared = Arc::new(Shared {
        commands: Mutex::new(Commands {
            queue: VecDeque::new(),
            open: true,
        }),
        arrived: Condvar::new(),
        completions: Mutex::new(VecDeque::new()),
        notified: AtomicBool::new(false),
        waker,
    });
    let owner = Owner {
        shared: Arc::clone(&shared),
        commands_max,
    };
    (owner, Worker { shared })
}

/// The loop's end. Dropping it lets the worker finish what is queued and end.
pub struct Owner<C, D, W: Wake> {
    shared: Arc<Shared<C, D, W>>,
    commands_max: usize,
}

impl<C, D, W: Wake> Owner<C, D, W> {
    /// Queues a command.
    ///
    /// # Errors
    /// The command comes back when `commands_max` are waiting.
    pub fn submit(&self, command: C) -> Result<(), C> {
        let mut commands = lock(&self.shared.commands);
        if commands.queue.len() >= self.commands_max {
            return Err(command);
        }
        commands.queue.push_back(command);
        drop(commands);
        self.shared.arrived.notify_one();
        Ok(())
    }

    /// Moves everything that was completed to the end of `into`. Call it
    /// after every wake-up.
    pub fn drain(&self, into: &mut VecDeque<D>) {
        self.shared.clear_flag();
        self.shared.take_queue(into);
    }
}

impl<C, D, W: Wake> Drop for Owner<C, D, W> {
    fn drop(&mut self) {
        lock(&self.shared.commands).open = false;
        self.shared.arrived.notify_one();
    }
}

/// The worker's end.
pub struct Worker<C, D, W: Wake> {
    shared: Arc<Shared<C, D, W>>,
}

impl<C, D, W: Wake> Worker<C, D, W> {
    /// Sleeps until there is a command. `None`: the owner is gone, and so are
    /// all commands.
    pub fn next(&self) -> Option<C> {
        let mut commands = lock(&self.shared.commands);
        loop {
            if let Some(command) = commands.queue.pop_front() {
                return Some(command);
            }
            if !commands.open {
                return None;
            }
            commands = wait(&self.shared.arrived, commands);
        }
    }

    /// Hands a completion to the owner.
    pub fn complete(&self, completion: D) {
        lock(&self.shared.completions).push_back(completion);
        // Whoever finds the flag set relies on a wake-up that is under way,
        // and on `drain` clearing the flag before it looks.
        if !self.shared.notified.swap(true, Ordering::AcqRel) {
            self.shared.waker.wake();
        }
    }
}

struct Shared<C, D, W> {
    commands: Mutex<Commands<C>>,
    arrived: Condvar,
    completions: Mutex<VecDeque<D>>,
    notified: AtomicBool,
    waker: W,
}

struct Commands<C> {
    queue: VecDeque<C>,
    open: bool,
}

impl<C, D, W> Shared<C, D, W> {
    fn clear_flag(&self) {
        // A read-modify-write: it synchronises with the `swap` of a worker
        // that found the flag set, so what that worker queued is seen below.
        self.notified.swap(false, Ordering::AcqRel);
    }

    fn take_queue(&self, into: &mut VecDeque<D>) {
        into.append(&mut lock(&self.completions));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Count(Arc<AtomicUsize>);

    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    type Ends = (Owner<u32, u32, Count>, Worker<u32, u32, Count>);

    fn counted(commands_max: usize) -> (Arc<AtomicUsize>, Ends) {
        let wakes = Arc::new(AtomicUsize::new(0));
        (Arc::clone(&wakes), mailbox(commands_max, Count(wakes)))
    }

    #[test]
    fn a_full_queue_gives_the_command_back() {
        let (_, (owner, worker)) = counted(2);
        assert_eq!(owner.submit(1), Ok(()));
        assert_eq!(owner.submit(2), Ok(()));
        assert_eq!(owner.submit(3), Err(3));
        assert_eq!(worker.next(), Some(1));
        assert_eq!(owner.submit(3), Ok(()));
    }

    #[test]
    fn many_completions_wake_once_until_they_are_drained() {
        let (wakes, (owner, worker)) = counted(2);
        (0..5).for_each(|value| worker.complete(value));
        assert_eq!(wakes.load(Ordering::SeqCst), 1);
        let mut drained = VecDeque::new();
        owner.drain(&mut drained);
        assert_eq!(drained, [0, 1, 2, 3, 4]);
        worker.complete(5);
        assert_eq!(wakes.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_worker_finishes_what_is_queued_before_it_ends() {
        let (_, (owner, worker)) = counted(4);
        assert_eq!(owner.submit(1), Ok(()));
        assert_eq!(owner.submit(2), Ok(()));
        drop(owner);
        assert_eq!(
            (worker.next(), worker.next(), worker.next()),
            (Some(1), Some(2), None)
        );
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::thread;
    use std::sync::atomic::AtomicUsize;

    /// What an eventfd is to the loop: a count that a look consumes.
    struct Bell(Mutex<bool>);

    impl Wake for Arc<Bell> {
        fn wake(&self) {
            *lock(&self.0) = true;
        }
    }

    type Ends = (Owner<u32, u32, Arc<Bell>>, Worker<u32, u32, Arc<Bell>>);

    fn ends() -> (Arc<Bell>, Ends) {
        let bell = Arc::new(Bell(Mutex::new(false)));
        (Arc::clone(&bell), mailbox(2, bell))
    }

    /// In how many of all interleavings a completion lies in the queue while
    /// no wake-up is under way: the loop would sleep on it.
    fn forgotten(drain: fn(&Owner<u32, u32, Arc<Bell>>, &mut VecDeque<u32>)) -> usize {
        let forgotten = std::sync::Arc::new(AtomicUsize::new(0));
        let count = std::sync::Arc::clone(&forgotten);
        loom::model(move || {
            let (bell, (owner, worker)) = ends();
            let thread = thread::spawn(move || {
                worker.complete(1);
                worker.complete(2);
            });
            let mut done = VecDeque::new();
            let look = |done: &mut VecDeque<u32>| {
                let rung = std::mem::take(&mut *lock(&bell.0));
                if rung {
                    drain(&owner, done);
                }
            };
            look(&mut done);
            look(&mut done);
            assert!(thread.join().is_ok());
            look(&mut done);
            if done != [1, 2] {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        forgotten.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[test]
    fn no_completion_is_forgotten() {
        assert_eq!(forgotten(Owner::drain), 0);
    }

    #[test]
    fn taking_the_queue_before_the_flag_is_cleared_would_forget_one() {
        let swapped = forgotten(|owner, into| {
            owner.shared.take_queue(into);
            owner.shared.clear_flag();
        });
        assert_ne!(swapped, 0);
    }

    #[test]
    fn a_worker_sees_every_command_and_the_end() {
        loom::model(|| {
            let (_, (owner, worker)) = ends();
            let thread = thread::spawn(move || {
                let mut seen = Vec::new();
                while let Some(command) = worker.next() {
                    seen.push(command);
                }
                seen
            });
            assert_eq!(owner.submit(1), Ok(()));
            assert_eq!(owner.submit(2), Ok(()));
            drop(owner);
            assert_eq!(thread.join().ok(), Some(vec![1, 2]));
        });
    }
}
