//! Every machine of one concern keeps the laws of the contract; one a file.

mod backoff;
mod deframer;
mod http;
mod http_client;
mod http_server;
mod learner;
mod mailbox;
mod monitor;
mod notifier;
mod pcc;
mod pool;
mod prober;
mod registrar;
mod registry;
mod router;
mod selector;

use tautline_tests::counting::Counting;
use tautline_tests::laws::{self, Census, MachineCase, MachineSubject, Tally};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Puts a machine through all laws.
fn assert_lawful<C: MachineCase>(seeds: u64) -> Tally {
    laws::assert_lawful::<MachineSubject<C>>(0..seeds)
}

/// How full something is.
fn census(name: &'static str, used: usize, limit: usize) -> Census {
    let (used, limit) = (used as u64, limit as u64);
    Census { name, used, limit }
}
