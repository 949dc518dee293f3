//! Where datagrams between clients work.

use core::net::IpAddr;

use super::super::body::Request;
use crate::collections::{Full, Groups};
use crate::{Key, Network, Random};

/// What makes equal inner networks of different places differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qualifier {
    /// The relay sees the clients with their own addresses.
    Direct,
    /// The clients are behind this address, as behind a NAT.
    Behind(IpAddr),
    /// The clients are at a site of the relay's settings, by its place there.
    Site(u16),
}

/// What a subnet is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubnetName {
    /// The place.
    pub qualifier: Qualifier,
    /// The network there.
    pub network: Network,
}

/// A subnet of registered clients, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its handle, good as long as it has a client.
    pub key: Key,
    /// What it is known by.
    pub name: SubnetName,
    /// Registered clients.
    pub clients: usize,
    /// Clients with an open persistent connection.
    pub connected: usize,
    /// Clients that hold a grant and have no connection yet.
    pub granted: usize,
}

/// Where a registration comes from.
pub(super) struct Position {
    pub(super) name: SubnetName,
    /// The stated interface that the client's datagrams go through; `None` if
    /// none fits, and no other client can reach it then.
    pub(super) interface: Option<usize>,
    pub(super) site: Option<u16>,
}

impl Position {
    /// The address that the relay sees is beyond doubt; what the client states
    /// counts only below it.
    pub(super) fn of(request: &Request<'_>, observed: IpAddr, site: Option<u16>) -> Self {
        let stated = |wanted: IpAddr| {
            let mut interfaces = request.interfaces.iter();
            interfaces.position(|own| own.address.to_canonical() == wanted)
        };
        let direct = stated(observed);
        let local = request.local.map(|local| local.to_canonical());
        let found = direct.or_else(|| stated(local?)).and_then(|place| {
            let own = request.interfaces.get(place)?;
            let fits = makes_subnet(own.address.to_canonical(), observed);
            let network = fits.then(|| Network::of(own.address, own.prefix))??;
            Some((place, network))
        });
        let outer = match (site, found, direct) {
            (Some(site), ..) => Qualifier::Site(site),
            (None, Some(_), Some(_)) => Qualifier::Direct,
            (None, ..) => Qualifier::Behind(observed),
        };
        Self {
            name: SubnetName {
                qualifier: outer,
                network: found.map_or_else(|| Network::single(observed), |(_, network)| network),
            },
            interface: found.map(|(place, _)| place),
            site,
        }
    }
}

/// Whether machines around this address reach each other by it.
fn makes_subnet(address: IpAddr, observed: IpAddr) -> bool {
    let unfit = match address {
        IpAddr::V4(own) => own.is_link_local() || own.is_broadcast(),
        IpAddr::V6(own) => own.is_unicast_link_local(),
    };
    !unfit
        && !address.is_unspecified()
        && !address.is_multicast()
        && (!address.is_loopback() || observed.is_loopback())
}

/// The subnets of registered clients.
pub(super) struct Subnets {
    /// Of places of clients.
    groups: Groups<SubnetName>,
    /// Of places of groups.
    by_site: Groups<u16>,
}

impl Subnets {
    pub(super) fn new(random: &mut Random, clients_max: u32) -> Self {
        Self {
            groups: Groups::new(random.bytes(), clients_max, clients_max),
            by_site: Groups::new(random.bytes(), u16::MAX.into(), clients_max),
        }
    }

    /// Puts a client into a subnet, and out of the one that it was in.
    pub(super) fn join(&mut self, name: SubnetName, client: u32) -> Result<Key, Full> {
        let before = self.groups.group_of(client);
        let subnet = self.groups.join(name, client)?;
        self.after_leaving(before);
        if let Qualifier::Site(site) = name.qualifier {
            self.by_site.join(site, subnet.index() as u32)?;
        }
        Ok(subnet)
    }

    pub(super) fn leave(&mut self, client: u32) {
        let before = self.groups.group_of(client);
        self.groups.leave(client);
        self.after_leaving(before);
    }

    /// A subnet without clients is at no site any more.
    fn after_leaving(&mut self, subnet: Option<Key>) {
        if let Some(subnet) = subnet
            && self.groups.name(subnet).is_none()
        {
            self.by_site.leave(subnet.index() as u32);
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.groups.groups_len()
    }

    pub(super) fn find(&self, name: SubnetName) -> Option<Key> {
        self.groups.find(name)
    }

    pub(super) fn name(&self, subnet: Key) -> Option<SubnetName> {
        self.groups.name(subnet)
    }

    pub(super) fn clients(&self, subnet: Key) -> usize {
        self.groups.len_of(subnet)
    }

    pub(super) fn next_from(&self, place: usize) -> Option<Key> {
        self.groups.next_from(place)
    }

    pub(super) fn clients_at(&self, site: u16) -> usize {
        let Some(site) = self.by_site.find(site) else {
            return 0;
        };
        let subnets = self.by_site.members(site);
        subnets
            .filter_map(|place| self.groups.next_from(place as usize))
            .map(|subnet| self.groups.len_of(subnet))
            .sum()
    }

    /// Begins a walk over the subnets of a site.
    pub(super) fn begin_site_walk(&mut self, site: u16) {
        if let Some(site) = self.by_site.find(site) {
            self.by_site.begin_walk(site);
        }
    }

    /// The subnet that the walk over those of a site came to; `None` at its
    /// end.
    pub(super) fn walked_at(&self, site: u16) -> Option<Key> {
        let place = self.by_site.walked(self.by_site.find(site)?)?;
        self.next_from(place as usize)
    }

    pub(super) fn pass_at(&mut self, site: u16) {
        if let Some(site) = self.by_site.find(site) {
            self.by_site.pass(site);
        }
    }

    pub(super) fn groups_mut(&mut self) -> &mut Groups<SubnetName> {
        &mut self.groups
    }

    pub(super) fn walked(&self, subnet: Key) -> Option<u32> {
        self.groups.walked(subnet)
    }
}
