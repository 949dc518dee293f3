//! What a registry can be told, and how much it holds.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::wire::proof::MasterKey;
use crate::{Incarnation, Network};

/// How much longer a grant is kept than the client is told, for the time that
/// the answer travels.
const GRANT_SLACK: Duration = Duration::from_secs(10);

/// The figures of a [`Registry`](super::Registry).
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// The relay's key; the secrets of its clients follow from it.
    pub key: MasterKey,
    /// The number of the relay's run.
    pub incarnation: Incarnation,
    /// When a client shall register anew. 1 s to 49 days.
    pub period: Duration,
    /// After how many missed periods a client is forgotten. At least 1.
    pub missed_periods_max: u32,
    /// How long a client is kept that never uses the key that it was given,
    /// so that nobody fills the table by registering in vain, or by replaying
    /// registrations of an earlier run.
    pub newcomer_life: Duration,
    /// Whether persistent connections are granted at all.
    pub persistent_connections: bool,
    /// What the relay is; a root grants no persistent connections.
    pub role: Role,
    /// Clients that may hold a persistent connection or a grant at a time.
    /// Made for 50,000; 0 grants none.
    pub connections_max: u32,
    /// The same for the clients of one subnet; 0 is no such limit.
    pub connections_per_subnet_max: u32,
    /// The same for the clients that are seen with one address, of IPv6 with
    /// one /64, which one machine can have all of; 0 is no such limit. Below the total, so that nobody at one address has all of it by
    /// registering in vain.
    pub connections_per_address_max: u32,
    /// How a granted client goes about it.
    pub grant: GrantSettings,
    /// The sites, by what the relay sees of their clients.
    pub sites: Vec<Site>,
    /// Whether a secret is handed out to a client that is neither on loopback
    /// nor behind TLS. Whoever listens can then take the client's identity.
    pub secrets_over_plaintext: bool,
}

impl RegistrySettings {
    /// The defaults, for a relay with this key in its run `incarnation`.
    pub const fn new(key: MasterKey, incarnation: Incarnation) -> Self {
        Self {
            key,
            incarnation,
            period: Duration::from_secs(6 * 3_600),
            missed_periods_max: 3,
            newcomer_life: Duration::from_secs(600),
            persistent_connections: true,
            role: Role::Relay,
            connections_max: 100,
            connections_per_subnet_max: 3,
            connections_per_address_max: 50,
            grant: GrantSettings::SEED,
            sites: Vec::new(),
            secrets_over_plaintext: false,
        }
    }
}

/// What a relay is in its tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It serves clients, with or without a parent.
    #[default]
    Relay,
    /// It is the top: it grants no persistent connections to clients.
    Root,
}

/// Test notifications for a grant.
pub(super) const TESTS: usize = 3;

/// How a granted client goes about its persistent connection. A grant lasts as
/// long as its last attempt can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantSettings {
    /// How long it waits for a test notification before its first attempt.
    pub wait: Duration,
    /// How long it waits after a failed attempt.
    pub retry_delay: Duration,
    /// Attempts in all. At least 1.
    pub attempts_max: u32,
    /// How long an attempt may take.
    pub attempt_timeout: Duration,
    /// When test notifications are sent, from the answer on; in rising order.
    pub tests: [Duration; 3],
}

impl GrantSettings {
    /// A minute for the test, then 4 attempts, 3 minutes apart.
    const SEED: Self = Self {
        wait: Duration::from_secs(60),
        retry_delay: Duration::from_secs(180),
        attempts_max: 4,
        attempt_timeout: Duration::from_secs(20),
        tests: [
            Duration::from_secs(1),
            Duration::from_secs(10),
            Duration::from_secs(20),
        ],
    };

    /// How long a client is told that its grant holds.
    pub fn valid(&self) -> Duration {
        let attempts = self.attempts_max.max(1);
        let delays = self.retry_delay.saturating_mul(attempts - 1);
        let tries = self.attempt_timeout.saturating_mul(attempts);
        self.wait.saturating_add(delays).saturating_add(tries)
    }

    /// How long a grant is kept.
    pub(super) fn life(&self) -> Duration {
        self.valid().saturating_add(GRANT_SLACK)
    }
}

impl Default for GrantSettings {
    /// The figures of the seed: 60 s, then 4 attempts in all, 3 minutes apart.
    fn default() -> Self {
        Self::SEED
    }
}

/// Networks that are one place, where the same inner addresses mean the same
/// machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name, for people.
    pub name: String,
    /// The addresses that the relay sees its clients with. Of the networks of
    /// all sites the longest that an address is in decides.
    pub networks: Vec<Network>,
}

/// The bounds of a [`Registry`](super::Registry).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLimits {
    /// Clients at a time.
    pub clients_max: u32,
    /// Of them, clients that were given an identity and did nothing with it yet.
    /// `None` is a quarter of `clients_max`, at least 1.
    pub newcomers_max: Option<u32>,
    /// The same for one address that the relay sees; of IPv6 for one network
    /// of 64 bits, as one machine can have all of it.
    pub newcomers_per_address_max: u32,
    /// Bytes of a hostname.
    pub hostname_bytes_max: usize,
    /// Addresses that a client states, at most 255.
    pub interfaces_max: usize,
}

impl RegistryLimits {
    /// Newcomers at a time, never more than clients.
    pub fn newcomers(&self) -> u32 {
        let share = (self.clients_max / 4).max(1);
        self.newcomers_max.unwrap_or(share).min(self.clients_max)
    }
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            clients_max: 1_000_000,
            newcomers_max: None,
            newcomers_per_address_max: 1_024,
            hostname_bytes_max: 255,
            interfaces_max: 32,
        }
    }
}
