//! A site's router: what it translates, drops and forgets.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::rules;
use super::space::Space;
use super::town::Host;
use crate::wait_for;

/// A router between a site and the internet. It translates the addresses of its
/// site to its own, lets no UDP in, and refuses nothing aloud.
#[derive(Debug)]
pub struct Router {
    space: Space,
    /// The address that the internet sees.
    pub address: Ipv4Addr,
    gateway: Ipv4Addr,
}

/// A direction through a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the site's hosts.
    Inward,
    /// From them.
    Outward,
}

impl Way {
    /// The set of the rules whose hosts nothing passes this way.
    const fn cut(self) -> &'static str {
        match self {
            Self::Inward => "cut_inward",
            Self::Outward => "cut_outward",
        }
    }
}

impl Router {
    /// In a namespace whose interfaces `wan` and `lan` are up.
    pub(super) fn new(space: Space, address: Ipv4Addr, gateway: Ipv4Addr) -> Self {
        space.rules(rules::ROUTER);
        space.sysctl("ipv4/ip_forward", 1);
        // The middle of a connection does not make it known again.
        space.sysctl("netfilter/nf_conntrack_tcp_loose", 0);
        let router = Self {
            space,
            address,
            gateway,
        };
        router.set_default_route();
        router
    }

    /// From now on everything from and to this host vanishes here.
    pub fn cut(&self, host: &Host) {
        self.cut_way(host, Way::Inward);
        self.cut_way(host, Way::Outward);
    }

    /// From now on everything to or from this host vanishes here; the other way
    /// is as it was.
    pub fn cut_way(&self, host: &Host, way: Way) {
        self.change("add", way.cut(), host);
    }

    /// The end of [`cut`](Self::cut) and [`cut_way`](Self::cut_way).
    pub fn mend(&self, host: &Host) {
        for way in [Way::Inward, Way::Outward] {
            // What is not there cannot be deleted.
            self.change("add", way.cut(), host);
            self.change("delete", way.cut(), host);
        }
    }

    /// From now on a connection that this host opens is refused; those that are
    /// open stay.
    pub fn refuse(&self, host: &Host) {
        self.change("add", "refused", host);
    }

    /// The end of [`refuse`](Self::refuse).
    pub fn admit(&self, host: &Host) {
        self.change("delete", "refused", host);
    }

    fn change(&self, verb: &str, set: &str, host: &Host) {
        let address = host.address;
        self.space
            .rules(&format!("{verb} element ip router {set} {{ {address} }}\n"));
    }

    /// From now on it forgets connections that were idle for so long, in whole
    /// seconds: those that are opened, and older ones after their next packet.
    pub fn forget_idle(&self, after: Duration) {
        for stage in ["established", "unacknowledged", "max_retrans"] {
            let path = format!("netfilter/nf_conntrack_tcp_timeout_{stage}");
            self.space.sysctl(&path, after.as_secs());
        }
    }

    /// It forgets all connections, as one does that is started anew.
    ///
    /// # Panics
    /// When it still knows some.
    pub fn forget_now(&self) {
        // An address that is translated to ends with its interface.
        self.space.links("link set wan down\nlink set wan up\n");
        self.set_default_route();
        wait_for("a router that has forgotten", || {
            (self.connections() == 0).then_some(())
        });
    }

    /// How many open connections it knows.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub fn connections(&self) -> usize {
        let read = || std::fs::read_to_string("/proc/thread-self/net/nf_conntrack");
        let text = self.space.inside(read).expect("the connections");
        let is_open = |line: &&str| line.contains(" ESTABLISHED ");
        text.lines().filter(is_open).count()
    }

    /// Datagrams from the internet that it dropped.
    ///
    /// # Panics
    /// When they are not counted.
    pub fn udp_dropped(&self) -> u64 {
        counter(&self.space, "counter ip router udp_dropped")
    }

    /// Packets that it dropped since they were of no connection that it knows.
    ///
    /// # Panics
    /// When they are not counted.
    pub fn unknown_dropped(&self) -> u64 {
        counter(&self.space, "counter ip router unknown_dropped")
    }

    fn set_default_route(&self) {
        self.space
            .links(&format!("route add default via {}\n", self.gateway));
    }
}

/// The packets of a named counter.
pub(super) fn counter(space: &Space, name: &str) -> u64 {
    let listed = space.listed(name);
    let objects = listed["nftables"].as_array().expect("a list of objects");
    let packets = objects
        .iter()
        .find_map(|object| object["counter"]["packets"].as_u64());
    packets.expect("a counter")
}
