//! Clients that were given an identity and did nothing with it yet.

use core::net::{IpAddr, Ipv6Addr};

use super::refusal::Refusal;
use super::settings::RegistryLimits;
use crate::Random;
use crate::collections::Groups;

/// The newcomers, by where they come from: nobody takes all of the room by
/// registering in vain.
pub(super) struct Newcomers {
    /// Of places of clients.
    groups: Groups<IpAddr>,
    newcomers_max: usize,
    per_address_max: usize,
}

impl Newcomers {
    pub(super) fn new(random: &mut Random, limits: &RegistryLimits) -> Self {
        let newcomers_max = limits.newcomers();
        Self {
            groups: Groups::new(random.bytes(), newcomers_max, limits.clients_max),
            newcomers_max: newcomers_max as usize,
            per_address_max: limits.newcomers_per_address_max as usize,
        }
    }

    /// Whether there is room for another one from this address.
    pub(super) fn check(&self, observed: IpAddr) -> Result<(), Refusal> {
        if self.groups.len() >= self.newcomers_max {
            return Err(Refusal::Full);
        }
        let group = self.groups.find(origin(observed));
        let beside = group.map_or(0, |group| self.groups.len_of(group));
        if beside >= self.per_address_max {
            return Err(Refusal::Newcomers);
        }
        Ok(())
    }

    /// False if there is no room for another address.
    pub(super) fn join(&mut self, observed: IpAddr, client: u32) -> bool {
        self.groups.join(origin(observed), client).is_ok()
    }

    /// Whether it was one of them.
    pub(super) fn leave(&mut self, client: u32) -> bool {
        self.groups.leave(client)
    }

    pub(super) const fn len(&self) -> usize {
        self.groups.len()
    }
}

/// What one machine can not choose freely of an address.
pub(super) const fn origin(observed: IpAddr) -> IpAddr {
    match observed {
        IpAddr::V4(_) => observed,
        IpAddr::V6(own) => IpAddr::V6(Ipv6Addr::from_bits(own.to_bits() >> 64 << 64)),
    }
}
