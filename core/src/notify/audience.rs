//! Who a notification is for, and the lists of those for one client or group.

use crate::Key;
use crate::collections::Chunks;

/// Who a notification is for. A group has the members that it has when they
/// are asked about: one that joins it is told what lives, one that left is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// One client.
    Client(Key),
    /// The clients of a subnet.
    Subnet(Key),
    /// The clients of a site, by its place in the configuration.
    Site(u16),
    /// Every client that is registered at the moment.
    All,
}

/// The groups that a client belongs to, by the registry's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Its subnet.
    pub subnet: Option<Key>,
    /// Its site.
    pub site: Option<u16>,
}

impl Audience {
    /// Whether the client belongs to it.
    pub fn includes(self, client: Key, membership: Membership) -> bool {
        match self {
            Self::Client(only) => only == client,
            Self::Subnet(subnet) => membership.subnet == Some(subnet),
            Self::Site(site) => membership.site == Some(site),
            Self::All => true,
        }
    }
}

/// The list of the notifications for one client or group.
#[derive(Clone, Copy)]
pub(super) struct Head {
    generation: u32,
    pub(super) count: u32,
    pub(super) oldest: Option<Key>,
    pub(super) newest: Option<Key>,
}

const _: () = assert!(size_of::<Head>() == 24);

/// The lists of all clients and groups, each by its place. A place that has
/// another generation begins anew.
pub(super) struct Heads {
    clients: Chunks<Head>,
    subnets: Chunks<Head>,
    sites: Chunks<Head>,
}

impl Heads {
    /// No list; there are as many subnets as clients at most.
    pub(super) const fn new(clients_max: u32) -> Self {
        Self {
            clients: Chunks::new(clients_max),
            subnets: Chunks::new(clients_max),
            sites: Chunks::new(u16::MAX as u32 + 1),
        }
    }

    /// The list, `None` if it is empty, or is none: that to all is not here.
    pub(super) fn get(&self, audience: Audience) -> Option<&Head> {
        let (heads, key) = match audience {
            Audience::Client(key) => (&self.clients, key),
            Audience::Subnet(key) => (&self.subnets, key),
            Audience::Site(site) => (&self.sites, site_key(site)),
            Audience::All => return None,
        };
        let head = heads.get(key.index())?;
        (head.generation == key.generation()).then_some(head)
    }

    pub(super) fn get_mut(&mut self, audience: Audience) -> Option<&mut Head> {
        let (heads, key) = self.heads_mut(audience)?;
        let head = heads.get_mut(key.index())?;
        (head.generation == key.generation()).then_some(head)
    }

    /// The list, begun if there is none yet; `None` beyond the limits.
    pub(super) fn begin(&mut self, audience: Audience) -> Option<&mut Head> {
        let (heads, key) = self.heads_mut(audience)?;
        let fresh = Head {
            generation: key.generation(),
            count: 0,
            oldest: None,
            newest: None,
        };
        let head = heads.get_or_grow(key.index() as u32, fresh)?;
        if head.generation != key.generation() {
            *head = fresh;
        }
        Some(head)
    }

    const fn heads_mut(&mut self, audience: Audience) -> Option<(&mut Chunks<Head>, Key)> {
        Some(match audience {
            Audience::Client(key) => (&mut self.clients, key),
            Audience::Subnet(key) => (&mut self.subnets, key),
            Audience::Site(site) => (&mut self.sites, site_key(site)),
            Audience::All => return None,
        })
    }
}

const fn site_key(site: u16) -> Key {
    Key::new(site as u32, 0)
}
