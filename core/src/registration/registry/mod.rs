//! The relay's side: who is registered, and who may hold a persistent
//! connection.
//!
//! A registration is judged in one call (`admission.rs`). Where to look:
//! [`RegistrySettings`] in `settings.rs`, what is kept of a client in
//! `record.rs`, what makes a subnet in `subnet.rs`, caps and grants in
//! `holders.rs`, those who never proved themselves in `newcomers.rs`.

mod admission;
mod holders;
mod newcomers;
mod record;
mod refusal;
mod settings;
mod sites;
mod subnet;
mod walk;

use alloc::vec::Vec;
use core::time::Duration;

pub use admission::Admission;
pub use holders::ReleaseReason;
pub use record::ClientRecord;
use record::Trust;
use refusal::Denial;
pub use refusal::{ConnectRefusal, Refusal};
pub use settings::{GrantSettings, RegistryLimits, RegistrySettings, Role, Site};
pub use subnet::{Qualifier, Subnet, SubnetName};

use crate::collections::{Index, Slab, Wheel};
use crate::wire::proof::{self, Authorization, SessionKey};
use crate::{ClientId, ConnId, Instant, Key, Machine, Random, Tally};
use holders::{Due, Holders, Seat};
use newcomers::Newcomers;
use sites::Sites;
use subnet::Subnets;

/// What a [`Registry`] tells on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryEffect {
    /// The client did not return and was forgotten; the handle ends here.
    Forgotten {
        /// Its handle.
        client: Key,
        /// Its identity.
        id: ClientId,
    },
    /// Send the client a test notification by UDP, to its
    /// [`udp_address`](ClientRecord::udp_address) and nowhere else. A client
    /// that returns the nonce proves that datagrams reach it.
    Test {
        /// Its handle.
        client: Key,
        /// What to send; the same in each test of a grant. Never 0.
        nonce: u64,
    },
    /// The client did not use its grant in time.
    GrantEnded {
        /// Its handle.
        client: Key,
    },
    /// End this persistent connection. It counts until
    /// [`Registry::handle_disconnected`].
    Release {
        /// The client's handle.
        client: Key,
        /// Its connection.
        conn: ConnId,
        /// Why.
        why: ReleaseReason,
    },
}

/// How many there are, and what was decided since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryCounts {
    /// Registered clients.
    pub clients: usize,
    /// Of them, those that were given an identity and did nothing with it yet.
    pub newcomers: usize,
    /// Subnets of registered clients.
    pub subnets: usize,
    /// Clients with an open persistent connection.
    pub connected: usize,
    /// Clients that hold a grant and have no connection yet.
    pub granted: usize,
    /// Verdicts since the start: `granted`, or the reason why not.
    pub verdicts: Tally,
    /// Copies of clients that became clients of their own since the start.
    pub separated: u64,
    /// Clients that proved that datagrams reach them, since the start.
    pub udp_proven: u64,
}

/// The clients of a relay.
pub struct Registry {
    settings: RegistrySettings,
    limits: RegistryLimits,
    random: Random,
    clients: Slab<ClientRecord>,
    by_id: Index,
    /// Of places of clients.
    expiries: Wheel<u32>,
    subnets: Subnets,
    sites: Sites,
    newcomers: Newcomers,
    holders: Holders,
    verdicts: Tally,
    separated: u64,
    udp_proven: u64,
    /// Where details are packed.
    scratch: Vec<u8>,
    now: Instant,
}

impl Registry {
    /// An empty registry.
    pub fn new(settings: RegistrySettings, mut limits: RegistryLimits, mut random: Random) -> Self {
        limits.interfaces_max = limits.interfaces_max.min(record::INTERFACES_CAP);
        let clients_max = limits.clients_max;
        Self {
            clients: Slab::new(clients_max),
            by_id: Index::new(random.bytes(), clients_max),
            expiries: Wheel::new(clients_max),
            subnets: Subnets::new(&mut random, clients_max),
            sites: Sites::new(&settings.sites),
            newcomers: Newcomers::new(&mut random, &limits),
            holders: Holders::new(&mut random, &settings),
            verdicts: Tally::default(),
            separated: 0,
            udp_proven: 0,
            scratch: Vec::new(),
            random,
            settings,
            limits,
            now: Instant::ORIGIN,
        }
    }

    /// Whether a request can come from the client that it names, before its
    /// body was read. [`handle_proof`](Self::handle_proof) decides.
    ///
    /// # Errors
    /// [`Refusal`] if it will be refused whatever its body is.
    pub fn check_head(&self, authorization: &Authorization) -> Result<(), Refusal> {
        let key = self.find(authorization.client).ok_or(Refusal::Unknown)?;
        let record = self.clients.get(key).ok_or(Refusal::Unknown)?;
        let unused = record.window.check(authorization.counter);
        unused.map_err(|_| Refusal::Replayed)
    }

    /// Whether the request comes from the client that it names. Each counter
    /// is good for one request.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then.
    pub fn handle_proof(
        &mut self,
        now: Instant,
        authorization: &Authorization,
        request: &proof::Request<'_>,
    ) -> Result<Key, Refusal> {
        self.now = self.now.max(now);
        let key = self.find(authorization.client).ok_or(Refusal::Unknown)?;
        let record = self.clients.get_mut(key).ok_or(Refusal::Unknown)?;
        if !authorization.proves(&record.key, request) {
            return Err(Refusal::Unproven);
        }
        record
            .window
            .accept(authorization.counter)
            .map_err(|_| Refusal::Replayed)?;
        let before = core::mem::replace(&mut record.trust, Trust::Proven);
        if before == Trust::Stranger {
            self.newcomers.leave(key.index() as u32);
        }
        Ok(key)
    }

    /// Whether the client may open a persistent connection now.
    ///
    /// # Errors
    /// [`ConnectRefusal`].
    pub fn may_connect(&self, client: Key) -> Result<(), ConnectRefusal> {
        let record = self.clients.get(client).ok_or(ConnectRefusal::Unknown)?;
        let holds = match self.holders.key_of(record.seat) {
            Some(holder) => self.holders.may_connect(self.now, holder),
            None => Err(ConnectRefusal::NotGranted),
        };
        holds.map_err(|why| match why {
            _ if !self.settings.persistent_connections => ConnectRefusal::Disabled,
            _ if self.settings.role == Role::Root => ConnectRefusal::Root,
            ConnectRefusal::NotGranted if record.denied == Some(Denial::GrantEnded) => {
                ConnectRefusal::GrantEnded
            }
            ConnectRefusal::NotGranted if record.udp_proven => ConnectRefusal::UdpProven,
            why => why,
        })
    }

    /// The client's persistent connection is open. Returns the one that it
    /// takes the place of, which is to be ended.
    ///
    /// # Errors
    /// [`ConnectRefusal`] if the client may not have one any more; nothing is
    /// changed then.
    pub fn handle_connected(
        &mut self,
        now: Instant,
        client: Key,
        conn: ConnId,
    ) -> Result<Option<ConnId>, ConnectRefusal> {
        self.now = self.now.max(now);
        self.may_connect(client)?;
        let record = self.clients.get_mut(client);
        let record = record.ok_or(ConnectRefusal::Unknown)?;
        let holder = self.holders.key_of(record.seat);
        let holder = holder.ok_or(ConnectRefusal::NotGranted)?;
        record.connected = true;
        Ok(self.holders.connect(holder, conn))
    }

    /// The connection is gone. Whether it was the client's persistent one.
    pub fn handle_disconnected(&mut self, client: Key, conn: ConnId) -> bool {
        if self.connection(client) != Some(conn) {
            return false;
        }
        let Some(record) = self.clients.get_mut(client) else {
            return false;
        };
        record.connected = false;
        let holder = self.holders.key_of(record.seat);
        let stays = holder.filter(|holder| self.holders.disconnect(*holder));
        record.seat = Seat::of(stays);
        true
    }

    /// The client says that it got a test notification. True if the nonce is
    /// that of its last grant: datagrams reach it, so it needs no persistent
    /// connection, and gives back what it has.
    pub fn handle_test_proof(&mut self, now: Instant, client: Key, nonce: u64) -> bool {
        self.now = self.now.max(now);
        let Some(record) = self.clients.get_mut(client) else {
            return false;
        };
        let Some(holder) = self.holders.key_of(record.seat) else {
            return false;
        };
        if !self.holders.is_test(holder, nonce) {
            return false;
        }
        if !core::mem::replace(&mut record.udp_proven, true) {
            self.udp_proven += 1;
        }
        let stays = self.holders.release(holder, ReleaseReason::UdpProven);
        record.seat = Seat::of(stays.then_some(holder));
        true
    }

    /// The number of the client's next datagram, from 1 on with each
    /// registration, and the key that it is sealed with. `None` if the client
    /// is gone, or had more than 2^32 under this key.
    pub fn datagram_key(&mut self, client: Key) -> Option<(u64, &SessionKey)> {
        let record = self.clients.get_mut(client)?;
        record.datagrams = record.datagrams.checked_add(1)?;
        Some((record.datagrams.into(), &record.key))
    }

    /// The client's open persistent connection.
    pub fn connection(&self, client: Key) -> Option<ConnId> {
        let seat = self.clients.get(client)?.seat;
        self.holders.connection(self.holders.key_of(seat)?)
    }

    /// The handle of a registered client.
    pub fn find(&self, id: ClientId) -> Option<Key> {
        let hash = self.by_id.hash(&id.0);
        let place = self.by_id.find(hash, |place| {
            let key = self.clients.key_at(place as usize);
            key.and_then(|key| self.clients.get(key))
                .is_some_and(|record| record.id == id)
        })?;
        self.clients.key_at(place as usize)
    }

    /// A registered client.
    pub fn get(&self, client: Key) -> Option<&ClientRecord> {
        self.clients.get(client)
    }

    /// The first client at or behind a place, to page through all of them.
    pub fn next_from(&self, place: usize) -> Option<(Key, &ClientRecord)> {
        let key = self.clients.next_from(place)?;
        self.clients.get(key).map(|record| (key, record))
    }

    /// How many clients are registered.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether no client is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many subnets there are.
    pub const fn subnets_len(&self) -> usize {
        self.subnets.len()
    }

    /// The subnet of this name.
    pub fn find_subnet(&self, name: SubnetName) -> Option<Key> {
        self.subnets.find(name)
    }

    /// A subnet, `None` if it has no client any more.
    pub fn subnet(&self, key: Key) -> Option<Subnet> {
        let name = self.subnets.name(key)?;
        let (connected, granted) = self.holders.in_subnet(name);
        Some(Subnet {
            key,
            name,
            clients: self.subnets.clients(key),
            connected,
            granted,
        })
    }

    /// The first subnet at or behind a place (that of its key), to page
    /// through all of them.
    pub fn next_subnet_from(&self, place: usize) -> Option<Subnet> {
        self.subnet(self.subnets.next_from(place)?)
    }

    /// How many there are, and what was decided.
    pub fn counts(&self) -> RegistryCounts {
        let (connected, granted) = self.holders.counts();
        RegistryCounts {
            clients: self.clients.len(),
            newcomers: self.newcomers.len(),
            subnets: self.subnets.len(),
            connected,
            granted,
            verdicts: self.verdicts.clone(),
            separated: self.separated,
            udp_proven: self.udp_proven,
        }
    }

    /// Sets the timer of a client that has none. One that runs stays where it
    /// is while the client's life is prolonged: when it ends, it is seen how
    /// long the life is by then.
    fn arm(&mut self, key: Key, at: Instant) {
        if let Some(record) = self.clients.get_mut(key)
            && record.expiry.is_none()
        {
            // There is a timer for each client, so there is room.
            record.expiry = self.expiries.insert(at, key.index() as u32).ok();
        }
    }

    /// Takes a client out of everything.
    fn remove(&mut self, key: Key) -> Option<ClientRecord> {
        let record = self.clients.remove(key)?;
        let place = key.index() as u32;
        self.by_id.remove(place);
        self.subnets.leave(place);
        self.newcomers.leave(place);
        if let Some(timer) = record.expiry {
            self.expiries.cancel(timer);
        }
        if let Some(holder) = self.holders.key_of(record.seat) {
            self.holders.remove(holder);
        }
        Some(record)
    }

    /// The next client whose life is over.
    fn next_forgotten(&mut self) -> Option<RegistryEffect> {
        while let Some(place) = self.expiries.expire(self.now) {
            let Some(client) = self.clients.key_at(place as usize) else {
                continue;
            };
            if let Some(record) = self.clients.get_mut(client) {
                record.expiry = None;
                let life = life(&self.settings, record.trust);
                let ends_at = record.registered_at + life;
                if self.now < ends_at {
                    self.arm(client, ends_at);
                } else if record.connected {
                    // An open connection is a sign of life.
                    self.arm(client, self.now + life);
                } else if let Some(record) = self.remove(client) {
                    let id = record.id;
                    return Some(RegistryEffect::Forgotten { client, id });
                }
            }
        }
        None
    }
}

/// How long a client is kept that does not return, from its registration on.
fn life(settings: &RegistrySettings, trust: Trust) -> Duration {
    let period = settings.period;
    // A client moves its next registration by up to a tenth of the period.
    let life = period
        .saturating_mul(settings.missed_periods_max.max(1))
        .saturating_add(period / 10);
    match trust {
        Trust::Moved | Trust::Proven => life,
        Trust::Stranger => life.min(settings.newcomer_life),
    }
}

impl Machine for Registry {
    type Effect = RegistryEffect;

    fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [self.expiries.next_deadline(), self.holders.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn poll(&mut self) -> Option<RegistryEffect> {
        let Some(due) = self.holders.poll(self.now) else {
            return self.next_forgotten();
        };
        Some(match due {
            Due::Test { client, nonce } => RegistryEffect::Test { client, nonce },
            Due::Release { client, conn, why } => RegistryEffect::Release { client, conn, why },
            Due::GrantEnded { client, gone } => {
                if let Some(record) = self.clients.get_mut(client) {
                    record.denied = Some(Denial::GrantEnded);
                    if gone {
                        record.seat = Seat::NONE;
                    }
                }
                RegistryEffect::GrantEnded { client }
            }
        })
    }
}

#[cfg(test)]
mod tests;
