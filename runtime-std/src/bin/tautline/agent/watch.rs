//! What the agent looks at again and again: the machine's addresses.

use std::io;
use std::thread;
use std::time::Duration;

use tautline_core::client::Client;
use tautline_core::registration::Interface;
use tautline_std::driver::Commander;

use super::interfaces;

const TICK: Duration = Duration::from_secs(1);

/// What is watched, and who is told.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) commander: Commander<Client>,
    pub(super) addresses: Addresses,
    /// Seconds between two looks at the addresses; 0 is never.
    pub(super) addresses_interval_s: u32,
}

impl Watch {
    /// Watches on a thread of its own, until there is no client any more.
    pub(super) fn start(mut self) -> io::Result<()> {
        let watch = move || while self.tick().is_some() {};
        let thread = thread::Builder::new().name("watch".to_owned());
        thread.spawn(watch).map(drop)
    }

    /// One second; `None` at the end.
    fn tick(&mut self) -> Option<()> {
        thread::sleep(TICK);
        self.addresses.age_s += 1;
        if self.addresses.age_s == self.addresses_interval_s {
            self.addresses.age_s = 0;
            if let Some(now_stated) = self.addresses.news(interfaces::of_machine()) {
                let tell =
                    move |client: &mut Client, now| client.handle_addresses(now, &now_stated);
                self.commander.command(tell).ok()?;
            }
        }
        Some(())
    }
}

/// The addresses that the relay was told of.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    stated: Vec<Interface>,
    age_s: u32,
}

impl Addresses {
    /// A look at the addresses; what they are now, if that is news. One that
    /// fails is as none.
    pub(super) fn news(&mut self, found: io::Result<Vec<Interface>>) -> Option<Vec<Interface>> {
        let found = found
            .inspect_err(|error| {
                tracing::warn!(%error, "the machine's addresses cannot be told");
            })
            .ok()?;
        if found == self.stated {
            return None;
        }
        self.stated.clone_from(&found);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_news() {
        let interface = |n| Interface {
            address: [10, 0, 0, n].into(),
            prefix: 24,
        };
        let mut addresses = Addresses::default();
        let failure = || Err(io::ErrorKind::OutOfMemory.into());
        let mut news = |found: io::Result<Vec<u8>>| {
            let found = found.map(|all| all.into_iter().map(interface).collect());
            addresses.news(found).map(|news| news.len())
        };
        assert_eq!(news(Ok(vec![])), None);
        assert_eq!(news(Ok(vec![1])), Some(1));
        assert_eq!(news(failure()), None);
        assert_eq!(news(Ok(vec![1])), None);
        assert_eq!(news(Ok(vec![1, 2])), Some(2));
        assert_eq!(news(Ok(vec![2, 1])), Some(2));
        assert_eq!(news(Ok(vec![])), Some(0));
    }
}
