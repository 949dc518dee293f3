//! Sites: nodes behind a router that translates their addresses.
//!
//! Inside a site nodes reach each other at their private addresses, which any
//! other site may use as well. What leaves is seen from the site's public
//! address, at a port that the router chose. Connections from outside find
//! nobody; datagrams from outside are dropped and counted unless the router
//! was told to let them in.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::World;
use super::node::NodeId;

/// The first port that a router gives where a node's own is taken.
const PORT_MIN: u16 = 20_000;
/// The first port that a router gives to a connection, and how many there are.
const CONNECTION_PORTS: (u16, u16) = (49_152, 16_384);

/// A site of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub(super) usize);

/// What a site's router does with datagrams from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatKind {
    /// It drops them all.
    Closed,
    /// It hands those that come to a node's port at the public address to that
    /// node. This is the node's own port for the first node that has it, any
    /// other port for later ones.
    Forwarding,
}

struct Site {
    kind: NatKind,
    public: IpAddr,
    nodes: u16,
    connections: u16,
    /// The nodes by their ports at the public address.
    ports: BTreeMap<u16, NodeId>,
    kept_out: u64,
    /// For how long its router remembers a connection that is silent.
    memory: Option<Duration>,
}

/// The sites, and who has which address.
#[derive(Default)]
pub(super) struct Sites {
    sites: Vec<Site>,
    by_public: HashMap<IpAddr, SiteId>,
    /// Nodes by the site that they are behind and their address there.
    nodes: HashMap<(Option<SiteId>, IpAddr), NodeId>,
    nobody: u64,
}

impl Sites {
    fn add(&mut self, kind: NatKind) -> SiteId {
        let id = SiteId(self.sites.len());
        let first = Ipv4Addr::new(100, 64, 0, 1).to_bits();
        let public = IpAddr::V4(Ipv4Addr::from_bits(first + id.0 as u32));
        self.sites.push(Site {
            kind,
            public,
            nodes: 0,
            connections: 0,
            ports: BTreeMap::new(),
            kept_out: 0,
            memory: None,
        });
        self.by_public.insert(public, id);
        id
    }

    /// The address of a node that is behind no site.
    pub(super) fn settle_outside(&mut self, node: NodeId) -> IpAddr {
        let first = Ipv4Addr::new(10, 0, 0, 1).to_bits();
        let ip = IpAddr::V4(Ipv4Addr::from_bits(first + node.0 as u32));
        self.nodes.insert((None, ip), node);
        ip
    }

    /// The private address of a node that moves from outside behind a site.
    fn settle(&mut self, node: NodeId, site: SiteId, before: IpAddr) -> IpAddr {
        self.nodes.remove(&(None, before));
        let number = &mut self.sites[site.0].nodes;
        *number += 1;
        let [high, low] = number.to_be_bytes();
        let ip = IpAddr::V4(Ipv4Addr::new(192, 168, high, low));
        self.nodes.insert((Some(site), ip), node);
        ip
    }

    /// Who has an address, as seen from behind `home`.
    pub(super) fn node_at(&self, home: Option<SiteId>, ip: IpAddr) -> Option<NodeId> {
        let at = |home| self.nodes.get(&(home, ip)).copied();
        home.and_then(|home| at(Some(home))).or_else(|| at(None))
    }

    /// The address that a connection out of a site is seen to come from.
    fn connection_address(&mut self, site: SiteId) -> SocketAddr {
        let site = &mut self.sites[site.0];
        let (first, count) = CONNECTION_PORTS;
        site.connections = (site.connections + 1) % count;
        SocketAddr::new(site.public, first + site.connections)
    }

    /// The port at the public address that stands for a node's own from now on.
    pub(super) fn map_port(&mut self, site: SiteId, node: NodeId, own: u16) -> u16 {
        let ports = &mut self.sites[site.0].ports;
        let mut port = own;
        let mut next = PORT_MIN.saturating_add(ports.len() as u16);
        while ports.contains_key(&port) {
            port = next;
            next = next.wrapping_add(1).max(PORT_MIN);
        }
        ports.insert(port, node);
        port
    }
}

impl World {
    /// Adds a site with a public address of its own.
    pub fn site(&mut self, kind: NatKind) -> SiteId {
        self.sites.add(kind)
    }

    /// What the site's router does from now on.
    pub fn set_nat(&mut self, site: SiteId, kind: NatKind) {
        self.sites.sites[site.0].kind = kind;
    }

    /// The site's router forgets a connection that was silent for longer:
    /// nothing of it passes any more, and nobody is told. `None` is never.
    pub fn set_memory(&mut self, site: SiteId, memory: Option<Duration>) {
        self.sites.sites[site.0].memory = memory;
    }

    /// The site's router forgets all connections that there are.
    pub fn forget_connections(&mut self, site: SiteId) {
        let nodes = (0..self.nodes.len()).map(NodeId);
        let inside = nodes.filter(|node| self.nodes[node.0].site == Some(site));
        for node in inside.collect::<Vec<_>>() {
            for (link, _) in self.links.of_node(node) {
                let Some([from, to]) = self.ends(link) else {
                    continue;
                };
                let crosses = self.nodes[from.0].site != self.nodes[to.0].site;
                if let Some(link) = self.links.get(link).filter(|_| crosses) {
                    link.forgotten = true;
                }
            }
        }
    }

    /// For how long routers between two nodes remember what is silent.
    pub(super) fn memory_between(&self, from: NodeId, to: NodeId) -> Option<Duration> {
        let sites = [from, to].map(|node| self.nodes[node.0].site);
        let crossed = sites.into_iter().flatten().filter(|_| sites[0] != sites[1]);
        let memories = crossed.filter_map(|site| self.sites.sites[site.0].memory);
        memories.min()
    }

    /// The address that the site's nodes are seen at from outside.
    pub fn public_address(&self, site: SiteId) -> IpAddr {
        self.sites.sites[site.0].public
    }

    /// Datagrams from outside that the site's router dropped.
    pub fn kept_out(&self, site: SiteId) -> u64 {
        self.sites.sites[site.0].kept_out
    }

    /// Datagrams to addresses that nobody has where they were sent.
    pub fn sent_to_nobody(&self) -> u64 {
        self.sites.nobody
    }

    /// Puts a node behind a site.
    pub(super) fn settle(&mut self, node: NodeId, site: SiteId) {
        let state = &mut self.nodes[node.0];
        assert!(state.site.is_none(), "{} has a site already", state.name);
        state.site = Some(site);
        state.ip = self.sites.settle(node, site, state.ip);
    }

    /// Whether a connection from one node to another finds its way.
    pub(super) fn is_routable(&self, from: NodeId, to: NodeId) -> bool {
        let site = self.nodes[to.0].site;
        site.is_none() || site == self.nodes[from.0].site
    }

    /// The address at which a node's new connection is seen by the other end.
    pub(super) fn seen_connection(
        &mut self,
        node: NodeId,
        to: NodeId,
        address: SocketAddr,
    ) -> SocketAddr {
        let site = self.nodes[node.0].site;
        match site.filter(|_| site != self.nodes[to.0].site) {
            Some(site) => self.sites.connection_address(site),
            None => address,
        }
    }

    /// The address at which a node's datagrams are seen by another.
    pub(super) fn seen_datagrams(&self, node: NodeId, to: NodeId) -> SocketAddr {
        let state = &self.nodes[node.0];
        let crossed = state.site.filter(|_| state.site != self.nodes[to.0].site);
        let Some(site) = crossed else {
            return state.udp_address();
        };
        let port = state.public_udp_port.unwrap_or(state.udp_port);
        SocketAddr::new(self.public_address(site), port)
    }

    /// The node that a datagram is for; if there is none that it may reach, it
    /// is counted.
    pub(super) fn route_datagram(&mut self, from: NodeId, to: SocketAddr) -> Option<NodeId> {
        if let Some(&site) = self.sites.by_public.get(&to.ip()) {
            let site = &mut self.sites.sites[site.0];
            let node = site.ports.get(&to.port()).copied();
            let node = node.filter(|_| site.kind == NatKind::Forwarding);
            site.kept_out += u64::from(node.is_none());
            return node;
        }
        let node = self.sites.node_at(self.nodes[from.0].site, to.ip());
        let node = node.filter(|node| self.nodes[node.0].udp_port == to.port());
        self.sites.nobody += u64::from(node.is_none());
        node
    }
}
