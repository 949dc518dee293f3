//! Who holds a persistent connection, or a grant for one.
//!
//! The caps are judged on the sizes of these sets: there is no counter beside
//! them that could differ from what is there.

use core::net::IpAddr;
use core::time::Duration;

use super::newcomers::origin;
use super::refusal::{ConnectRefusal, Denial};
use super::settings::{RegistrySettings, TESTS};
use super::subnet::SubnetName;
use crate::collections::{Groups, ReadyList, Slab, TimerKey, Wheel};
use crate::{ConnId, Instant, Key, Random};

/// Why a persistent connection is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseReason {
    /// The last registration was not granted one.
    Denied,
    /// Datagrams reach the client.
    UdpProven,
}

impl ReleaseReason {
    /// The reason in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "no longer granted",
            Self::UdpProven => "datagrams reach the client",
        }
    }
}

/// What is due of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Test {
        client: Key,
        nonce: u64,
    },
    GrantEnded {
        client: Key,
        gone: bool,
    },
    Release {
        client: Key,
        conn: ConnId,
        why: ReleaseReason,
    },
}

/// A client that has a connection, a grant or both; they count as one.
struct Holder {
    client: Key,
    connection: Option<ConnId>,
    grant: Option<Grant>,
    /// The connection is to be ended.
    released: Option<ReleaseReason>,
    /// What the test notifications carry.
    nonce: u64,
}

#[derive(Clone, Copy)]
struct Grant {
    since: Instant,
    ends_at: Instant,
    /// Test notifications that are over or will not be.
    tests: usize,
    timer: Option<TimerKey>,
}

impl Grant {
    fn next_due(&self, tests: &[Duration]) -> Instant {
        let test = tests.get(self.tests).map(|after| self.since + *after);
        test.map_or(self.ends_at, |test| test.min(self.ends_at))
    }
}

/// Where a client counts.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    pub(super) subnet: SubnetName,
    pub(super) observed: IpAddr,
}

/// Where a client stands in the live set, as its record keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat(u32);

impl Seat {
    /// It is not in the set.
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn of(holder: Option<Key>) -> Self {
        holder.map_or(Self::NONE, |holder| Self(holder.index() as u32))
    }
}

/// The live set.
pub(super) struct Holders {
    holders: Slab<Holder>,
    /// All of them.
    by_subnet: Groups<SubnetName>,
    /// By what one machine can not choose freely of its address.
    by_address: Groups<IpAddr>,
    /// Those with an open connection.
    connected: Groups<SubnetName>,
    timers: Wheel<Key>,
    /// Those whose connection is to be ended, and nobody was told yet.
    untold: ReadyList,
    /// When tests are sent, from the grant on.
    tests: [Duration; TESTS],
    per_subnet_max: usize,
    per_address_max: usize,
}

impl Holders {
    pub(super) fn new(random: &mut Random, settings: &RegistrySettings) -> Self {
        let holders_max = settings.connections_max;
        Self {
            holders: Slab::new(holders_max),
            by_subnet: Groups::new(random.bytes(), holders_max, holders_max),
            by_address: Groups::new(random.bytes(), holders_max, holders_max),
            connected: Groups::new(random.bytes(), holders_max, holders_max),
            timers: Wheel::new(holders_max),
            untold: ReadyList::new(holders_max),
            tests: settings.grant.tests,
            per_subnet_max: cap(settings.connections_per_subnet_max),
            per_address_max: cap(settings.connections_per_address_max),
        }
    }

    /// The entry of the client that keeps this seat; it gives the seat up when
    /// the entry goes.
    pub(super) fn key_of(&self, seat: Seat) -> Option<Key> {
        self.holders.key_at(seat.0 as usize)
    }

    /// Why there is no room for one more at this place; the client's own entry
    /// does not count.
    pub(super) fn judge(&self, own: Option<Key>, at: Counted) -> Result<(), Denial> {
        let own = own.filter(|own| self.holders.contains(*own));
        if own.is_none() && self.holders.is_full() {
            return Err(Denial::TotalCap);
        }
        let others = |group: Option<Key>, own_group: Option<Key>, len: usize| {
            len - usize::from(group.is_some() && group == own_group)
        };
        let place = own.map_or(u32::MAX, |own| own.index() as u32);
        let group = self.by_subnet.find(at.subnet);
        let len = group.map_or(0, |group| self.by_subnet.len_of(group));
        if others(group, self.by_subnet.group_of(place), len) >= self.per_subnet_max {
            return Err(Denial::SubnetCap);
        }
        let group = self.by_address.find(origin(at.observed));
        let len = group.map_or(0, |group| self.by_address.len_of(group));
        if others(group, self.by_address.group_of(place), len) >= self.per_address_max {
            return Err(Denial::AddressCap);
        }
        Ok(())
    }

    /// Gives a grant that [`judge`](Self::judge) found room for. An open
    /// connection goes on until the new one is open.
    pub(super) fn grant(
        &mut self,
        own: Option<Key>,
        client: Key,
        at: Counted,
        since: Instant,
        life: Duration,
        test: Option<u64>,
    ) -> Option<Key> {
        let holder = match own.filter(|own| self.holders.contains(*own)) {
            Some(own) => own,
            None => self
                .holders
                .insert(Holder {
                    client,
                    connection: None,
                    grant: None,
                    released: None,
                    nonce: 0,
                })
                .ok()?,
        };
        let place = holder.index() as u32;
        // There is a place in each set for each holder.
        self.by_subnet.join(at.subnet, place).ok()?;
        self.by_address.join(origin(at.observed), place).ok()?;
        self.drop_grant(holder);
        let entry = self.holders.get_mut(holder)?;
        if entry.connection.is_some() {
            self.connected.join(at.subnet, place).ok()?;
        }
        if self.untold.remove(place) {
            entry.released = None;
        }
        entry.nonce = test.unwrap_or_default();
        let tests = if test.is_some() { 0 } else { self.tests.len() };
        let mut grant = Grant {
            since,
            ends_at: since + life,
            tests,
            timer: None,
        };
        grant.timer = self.timers.insert(grant.next_due(&self.tests), holder).ok();
        entry.grant = Some(grant);
        Some(holder)
    }

    /// Takes the grant back, and wants an open connection ended. Whether the
    /// holder is still there.
    pub(super) fn release(&mut self, holder: Key, why: ReleaseReason) -> bool {
        self.drop_grant(holder);
        let Some(entry) = self.holders.get_mut(holder) else {
            return false;
        };
        if entry.connection.is_none() {
            self.remove(holder);
            return false;
        }
        if entry.released.is_none() {
            entry.released = Some(why);
            self.untold.push(holder.index() as u32);
        }
        true
    }

    /// Whether a connection may be opened: by a grant that has not ended, or
    /// in the place of the client's own that may stay.
    pub(super) fn may_connect(&self, now: Instant, holder: Key) -> Result<(), ConnectRefusal> {
        let entry = self.holders.get(holder).ok_or(ConnectRefusal::NotGranted)?;
        let replaces = entry.connection.is_some() && entry.released.is_none();
        match entry.grant {
            Some(grant) if now < grant.ends_at => Ok(()),
            _ if replaces => Ok(()),
            Some(_) => Err(ConnectRefusal::GrantEnded),
            None => Err(ConnectRefusal::NotGranted),
        }
    }

    /// The connection is open, which uses the grant up. Returns the one that
    /// it replaces.
    pub(super) fn connect(&mut self, holder: Key, conn: ConnId) -> Option<ConnId> {
        self.drop_grant(holder);
        let place = holder.index() as u32;
        self.untold.remove(place);
        if let Some(subnet) = self.by_subnet.group_of(place)
            && let Some(name) = self.by_subnet.name(subnet)
        {
            // There is a place for each holder.
            let _ = self.connected.join(name, place);
        }
        let entry = self.holders.get_mut(holder)?;
        entry.released = None;
        entry.connection.replace(conn)
    }

    pub(super) fn connection(&self, holder: Key) -> Option<ConnId> {
        self.holders.get(holder)?.connection
    }

    /// The connection is gone. Whether the holder is still there: it may have
    /// a grant.
    pub(super) fn disconnect(&mut self, holder: Key) -> bool {
        let place = holder.index() as u32;
        self.connected.leave(place);
        self.untold.remove(place);
        let Some(entry) = self.holders.get_mut(holder) else {
            return false;
        };
        entry.connection = None;
        entry.released = None;
        let granted = entry.grant.is_some();
        if !granted {
            self.remove(holder);
        }
        granted
    }

    /// Whether the nonce is the one that the test notifications carried.
    pub(super) fn is_test(&self, holder: Key, nonce: u64) -> bool {
        let entry = self.holders.get(holder);
        nonce != 0 && entry.is_some_and(|entry| entry.nonce == nonce)
    }

    pub(super) fn remove(&mut self, holder: Key) {
        self.drop_grant(holder);
        if self.holders.remove(holder).is_some() {
            let place = holder.index() as u32;
            self.by_subnet.leave(place);
            self.by_address.leave(place);
            self.connected.leave(place);
            self.untold.remove(place);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// What is to be told next.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Due> {
        while let Some(place) = self.untold.pop() {
            let key = self.holders.key_at(place as usize);
            if let Some(entry) = key.and_then(|key| self.holders.get(key))
                && let (Some(conn), Some(why)) = (entry.connection, entry.released)
            {
                let client = entry.client;
                return Some(Due::Release { client, conn, why });
            }
        }
        while let Some(holder) = self.timers.expire(now) {
            let Some(entry) = self.holders.get_mut(holder) else {
                continue;
            };
            let (client, nonce) = (entry.client, entry.nonce);
            let Some(grant) = &mut entry.grant else {
                continue;
            };
            grant.timer = None;
            if grant.ends_at <= now {
                entry.grant = None;
                let gone = entry.connection.is_none();
                if gone {
                    self.remove(holder);
                }
                return Some(Due::GrantEnded { client, gone });
            }
            // Those that were missed while time stood still are one.
            let since = grant.since;
            grant.tests = self
                .tests
                .iter()
                .filter(|after| since + **after <= now)
                .count();
            grant.timer = self.timers.insert(grant.next_due(&self.tests), holder).ok();
            return Some(Due::Test { client, nonce });
        }
        None
    }

    /// Open connections, and grants without one, in a subnet.
    pub(super) fn in_subnet(&self, name: SubnetName) -> (usize, usize) {
        let connected = self.connected.find(name);
        let connected = connected.map_or(0, |group| self.connected.len_of(group));
        let all = self.by_subnet.find(name);
        let all = all.map_or(0, |group| self.by_subnet.len_of(group));
        (connected, all.saturating_sub(connected))
    }

    /// Open connections, and grants without one.
    pub(super) const fn counts(&self) -> (usize, usize) {
        let connected = self.connected.len();
        (connected, self.holders.len() - connected)
    }

    fn drop_grant(&mut self, holder: Key) {
        let entry = self.holders.get_mut(holder);
        if let Some(grant) = entry.and_then(|entry| entry.grant.take())
            && let Some(timer) = grant.timer
        {
            self.timers.cancel(timer);
        }
    }
}

/// A cap of which 0 is none.
const fn cap(figure: u32) -> usize {
    match figure {
        0 => usize::MAX,
        _ => figure as usize,
    }
}
