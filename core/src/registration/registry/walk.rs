//! Walks over the clients of a subnet, and over the subnets of a site, one for
//! each of them at a time, that last longer than a call.

use super::{Registry, Subnet};
use crate::Key;

impl Registry {
    /// How many clients are at a site. O(its subnets).
    pub fn clients_at_site(&self, site: u16) -> usize {
        self.subnets.clients_at(site)
    }

    /// The subnet at a place of the table of subnets.
    pub fn subnet_at(&self, place: u32) -> Option<Key> {
        let subnet = self.subnets.next_from(place as usize)?;
        (subnet.index() == place as usize).then_some(subnet)
    }

    /// Begins a walk over the clients of a subnet. It comes to each client
    /// that is in the subnet now and stays there, once.
    pub fn begin_walk(&mut self, subnet: Key) {
        self.subnets.groups_mut().begin_walk(subnet);
    }

    /// The client that the walk came to; `None` at its end.
    pub fn walked_member(&self, subnet: Key) -> Option<Key> {
        self.clients.key_at(self.subnets.walked(subnet)? as usize)
    }

    /// The walk goes on to the next client.
    pub fn pass_member(&mut self, subnet: Key) {
        self.subnets.groups_mut().pass(subnet);
    }

    /// Begins a walk over the subnets of a site. It comes to each subnet that is
    /// there now and stays, once.
    pub fn begin_site_walk(&mut self, site: u16) {
        self.subnets.begin_site_walk(site);
    }

    /// The subnet that the walk came to; `None` at its end.
    pub fn walked_subnet(&self, site: u16) -> Option<Subnet> {
        self.subnet(self.subnets.walked_at(site)?)
    }

    /// The walk goes on to the next subnet.
    pub fn pass_subnet(&mut self, site: u16) {
        self.subnets.pass_at(site);
    }
}
