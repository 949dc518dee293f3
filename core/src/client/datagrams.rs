//! Datagrams that come in: which are believed, and what follows from them.
//!
//! Nothing is ever answered by a datagram: whoever sends one gets nothing
//! back, and what a genuine one says goes to the relay over TCP.

use core::time::Duration;

use super::{Arrival, Client};
use crate::wire::datagram::{Content, DatagramError, Sealed};
use crate::wire::proof::SessionKey;
use crate::wire::replay::ReplayWindow;
use crate::{ClientId, Instant};

/// How long a datagram may come behind a later one before it counts as lost.
const REORDERED: Duration = Duration::from_secs(2);

/// What was received under the keys that datagrams may be sealed with.
#[derive(Default)]
pub(super) struct Inbound {
    /// Of the session's key.
    window: ReplayWindow,
    /// The key of the registration before, as long as nothing came under the
    /// session's: the relay may not have taken it up.
    earlier: Option<(SessionKey, ReplayWindow)>,
    gap: Gap,
}

/// Counters that were passed over. They begin at 1, and rise by one.
#[derive(Default)]
struct Gap {
    missing: u64,
    /// What is missing up to this counter was seen to already.
    settled: u64,
    check_at: Option<Instant>,
}

impl Inbound {
    /// Another session has begun, behind the one with this key.
    pub(super) fn begin(&mut self, earlier: Option<SessionKey>) {
        *self = Self {
            earlier: earlier.map(|key| (key, self.window)),
            ..Self::default()
        };
    }

    /// What the datagram says, if one of the keys is its.
    fn open<'a>(
        &mut self,
        now: Instant,
        client: ClientId,
        key: &SessionKey,
        sealed: &Sealed<'a>,
    ) -> Result<Content<'a>, DatagramError> {
        let newest = self.window.highest().unwrap_or(0);
        match (
            sealed.open(client, key, &mut self.window),
            &mut self.earlier,
        ) {
            (Err(DatagramError::Forged), Some((key, window))) => sealed.open(client, key, window),
            (opened, _) => {
                let content = opened?;
                self.earlier = None;
                self.gap.handle(now, newest, sealed.counter());
                Ok(content)
            }
        }
    }

    /// When what is missing counts as lost.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.gap.check_at
    }

    /// Whether datagrams are lost: told once for each.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.gap.check_at.is_none_or(|at| at > now) {
            return false;
        }
        self.gap.check_at = None;
        self.gap.settled = self.window.highest().unwrap_or(0);
        core::mem::take(&mut self.gap.missing) > 0
    }
}

impl Gap {
    fn handle(&mut self, now: Instant, newest: u64, counter: u64) {
        if counter > newest {
            self.missing = self.missing.saturating_add(counter - newest - 1);
        } else if counter > self.settled {
            self.missing = self.missing.saturating_sub(1);
        }
        if self.missing > 0 {
            self.check_at.get_or_insert(now + REORDERED);
        }
    }
}

impl Client {
    pub(super) fn handle_datagram(&mut self, bytes: &[u8]) {
        match self.take_datagram(bytes) {
            Ok(()) => self.stats.datagrams += 1,
            Err(reason) => self.stats.datagrams_dropped.count(reason),
        }
    }

    fn take_datagram(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let sealed = Sealed::parse(bytes).map_err(DatagramError::name)?;
        let session = self.session.as_ref().ok_or("unregistered")?;
        let opened = self
            .inbound
            .open(self.now, session.client, &session.key, &sealed);
        match opened.map_err(DatagramError::name)? {
            Content::Notification(notification) => {
                let room = self.events.len() < self.limits.events_max;
                if !room || !self.notified(&notification, Arrival::Datagram) {
                    self.asking.inbox = true;
                    return Err("no_room");
                }
            }
            Content::Hint(hint) => self.asking.inbox |= hint.id > self.mailbox.seen(),
            Content::Test(test) => self.asking.test = Some(test.nonce),
        }
        Ok(())
    }

    /// Whatever was lost can be found in the inbox.
    pub(super) fn check_gap(&mut self) {
        if self.inbound.handle_timeout(self.now) && self.session.is_some() {
            self.stats.gaps += 1;
            self.asking.inbox = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::ORIGIN;

    /// Whether something is missing 2 s after these counters came.
    fn lost(inbound: &mut Inbound, counters: &[u64]) -> bool {
        for counter in counters {
            let newest = inbound.window.highest().unwrap_or(0);
            assert_eq!(inbound.window.accept(*counter), Ok(()));
            inbound.gap.handle(START, newest, *counter);
        }
        assert!(!inbound.handle_timeout(START), "not at once");
        let lost = inbound.handle_timeout(START + REORDERED);
        assert_eq!(inbound.poll_timeout(), None);
        lost
    }

    #[test]
    fn what_comes_late_is_not_lost_and_what_is_lost_is_told_once() {
        for (counters, expected) in [
            (&[1, 2, 3][..], false),
            (&[1, 3, 2], false),
            (&[3, 1, 2], false),
            (&[2], true),
            (&[1, 2, 4], true),
            (&[1, 4, 2], true),
            (&[1, u64::MAX], true),
        ] {
            let mut inbound = Inbound::default();
            assert_eq!(lost(&mut inbound, counters), expected, "{counters:?}");
            assert!(!inbound.handle_timeout(Instant::MAX), "{counters:?}");
        }
    }

    #[test]
    fn one_that_comes_too_late_does_not_hide_the_next_loss() {
        let mut inbound = Inbound::default();
        assert!(lost(&mut inbound, &[1, 3]));
        assert!(lost(&mut inbound, &[5, 2]));
        assert!(!lost(&mut inbound, &[4, 6]));
    }
}
