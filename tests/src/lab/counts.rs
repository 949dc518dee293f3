//! What a host sent and received, as its kernel counted it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

use super::space::Space;

/// Packets by the other end's address and the port that they went to.
pub type Packets = BTreeMap<(Ipv4Addr, u16), u64>;

/// What went through a host since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that arrived, by who sent them and the own port.
    pub udp_in: Packets,
    /// Datagrams that left, by whom they went to and his port.
    pub udp_out: Packets,
    /// Connections that were opened, each repeated try counted, by whom they
    /// went to and his port.
    pub tcp_opened: Packets,
    /// Packets of connections that arrived, by the other end and its port.
    pub tcp_in: Packets,
    /// Those that left, by the other end and its port.
    pub tcp_out: Packets,
}

impl Counts {
    pub(super) fn of(space: &Space) -> Self {
        let listed = space.listed("table ip counted");
        Self {
            udp_in: packets(&listed, "udp_in"),
            udp_out: packets(&listed, "udp_out"),
            tcp_opened: packets(&listed, "tcp_opened"),
            tcp_in: packets(&listed, "tcp_in"),
            tcp_out: packets(&listed, "tcp_out"),
        }
    }

    /// What went through it after `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            udp_in: difference(&self.udp_in, &earlier.udp_in),
            udp_out: difference(&self.udp_out, &earlier.udp_out),
            tcp_opened: difference(&self.tcp_opened, &earlier.tcp_opened),
            tcp_in: difference(&self.tcp_in, &earlier.tcp_in),
            tcp_out: difference(&self.tcp_out, &earlier.tcp_out),
        }
    }
}

fn difference(now: &Packets, before: &Packets) -> Packets {
    let grown = now.iter().map(|(other, packets)| {
        let before = before.get(other).copied().unwrap_or_default();
        (*other, packets - before)
    });
    grown.filter(|(_, packets)| *packets > 0).collect()
}

/// The elements of a set of the rules, with their counters.
fn packets(listed: &Value, set: &str) -> Packets {
    let objects = listed["nftables"].as_array().expect("a list of objects");
    let set = objects.iter().find(|object| object["set"]["name"] == set);
    let elements = set.expect("the set")["set"]["elem"].as_array();
    let packets = elements.into_iter().flatten().map(|element| {
        let element = &element["elem"];
        let address = element["val"]["concat"][0].as_str().expect("an address");
        let port = element["val"]["concat"][1].as_u64().expect("a port");
        let packets = element["counter"]["packets"].as_u64().expect("a number");
        ((address.parse().expect("IPv4"), port as u16), packets)
    });
    packets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_nft_is_read() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"set": {"name": "udp_in", "table": "counted"}},
            {"set": {"name": "udp_out", "elem": [{"elem":
                {"val": {"concat": ["192.0.2.10", 9]}, "counter": {"packets": 2, "bytes": 58}}}]}}]}"#;
        let listed = serde_json::from_str(text).expect("JSON");
        let before = packets(&listed, "udp_out");
        let relay = (Ipv4Addr::new(192, 0, 2, 10), 9);
        assert_eq!(before, [(relay, 2)].into());
        assert_eq!(packets(&listed, "udp_in"), Packets::new());
        let other = (Ipv4Addr::LOCALHOST, 9);
        let now = [(relay, 2), (other, 1)].into();
        assert_eq!(difference(&now, &before), [(other, 1)].into());
    }
}
