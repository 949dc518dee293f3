//! What the agent looks at again and again: the machine's addresses, and
//! whether it is asked to select its relay anew.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tautline_core::client::Client;
use tautline_core::registration::Interface;
use tautline_std::driver::Commander;

use super::{interfaces, select};

const TICK: Duration = Duration::from_secs(1);

/// What is watched, and who is told.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) commander: Commander<Client>,
    /// Unless they are written.
    pub(super) addresses: Option<Addresses>,
    /// The request to select a relay anew.
    pub(super) select_file: PathBuf,
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
        if select::take_request(&self.select_file) {
            tracing::info!("asked to select the relay anew");
            self.commander.command(Client::select).ok()?;
        }
        if let Some(addresses) = &mut self.addresses
            && addresses.is_due()
            && let Some(news) = addresses.news(interfaces::of_machine())
        {
            tracing::info!(count = news.len(), "the machine's addresses have changed");
            let tell = move |client: &mut Client, now| client.handle_addresses(now, &news);
            self.commander.command(tell).ok()?;
        }
        Some(())
    }
}

/// The addresses that the relay was told of.
#[derive(Debug)]
pub(super) struct Addresses {
    stated: Vec<Interface>,
    /// Seconds between two looks; 0 is never.
    interval_s: u32,
    age_s: u32,
}

impl Addresses {
    pub(super) const fn new(interval_s: u32) -> Self {
        Self {
            stated: Vec::new(),
            interval_s,
            age_s: 0,
        }
    }

    /// A second has passed: whether it is time to look.
    const fn is_due(&mut self) -> bool {
        self.age_s = self.age_s.saturating_add(1);
        let is_due = self.age_s == self.interval_s;
        if is_due {
            self.age_s = 0;
        }
        is_due
    }

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
        let mut addresses = Addresses::new(60);
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

    #[test]
    fn they_are_due_at_each_interval_or_never() {
        let looks = |interval_s| {
            let mut addresses = Addresses::new(interval_s);
            (1..=7).filter(|_| addresses.is_due()).count()
        };
        assert_eq!([0, 1, 3, 8].map(looks), [0, 7, 2, 0]);
    }
}
