//! The rules of the lab's machines, in the language of `nft`.

/// A router's: it translates the addresses of what goes out by the interface
/// `wan`, lets no UDP in, and nothing else that is not an answer.
///
/// What it refuses it drops silently, as firewalls do; also packets of a
/// connection that it has forgotten. Only those in `refused` are told.
pub(super) const ROUTER: &str = r#"
table ip router {
    set cut_outward { type ipv4_addr; }
    set cut_inward { type ipv4_addr; }
    set refused { type ipv4_addr; }
    counter udp_dropped { }
    counter unknown_dropped { }
    chain translate {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "wan" masquerade
    }
    chain arrive {
        type filter hook prerouting priority mangle; policy accept;
        iifname "wan" meta l4proto udp counter name udp_dropped drop
    }
    chain own {
        type filter hook input priority filter; policy accept;
        iifname "wan" counter name unknown_dropped drop
    }
    chain pass {
        type filter hook forward priority filter; policy accept;
        ip saddr @cut_outward drop
        ip daddr @cut_inward drop
        ct state invalid counter name unknown_dropped drop
        ip saddr @refused tcp flags syn reject with tcp reset
        iifname "wan" ct state new drop
    }
}
"#;

/// The internet's: private addresses have no business there.
pub(super) const INTERNET: &str = r#"
table ip internet {
    counter strays { }
    set private {
        type ipv4_addr; flags interval;
        elements = { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 }
    }
    chain pass {
        type filter hook forward priority filter; policy accept;
        ip saddr @private counter name strays drop
        ip daddr @private counter name strays drop
    }
}
"#;

/// A host's: every datagram is counted by the other's address and the port that
/// it goes to, and the first packet of every connection that is opened; packets
/// of connections by the other end's address and port.
pub(super) const COUNTERS: &str = r#"
table ip counted {
    set udp_in { type ipv4_addr . inet_service; size 4096; flags dynamic; counter; }
    set udp_out { type ipv4_addr . inet_service; size 4096; flags dynamic; counter; }
    set tcp_opened { type ipv4_addr . inet_service; size 4096; flags dynamic; counter; }
    set tcp_in { type ipv4_addr . inet_service; size 4096; flags dynamic; counter; }
    set tcp_out { type ipv4_addr . inet_service; size 4096; flags dynamic; counter; }
    chain arrive {
        type filter hook input priority filter; policy accept;
        meta l4proto udp update @udp_in { ip saddr . udp dport counter }
        meta l4proto tcp update @tcp_in { ip saddr . tcp sport counter }
    }
    chain leave {
        type filter hook output priority filter; policy accept;
        meta l4proto udp update @udp_out { ip daddr . udp dport counter }
        tcp flags & (syn | ack) == syn update @tcp_opened { ip daddr . tcp dport counter }
        meta l4proto tcp update @tcp_out { ip daddr . tcp dport counter }
    }
}
"#;

/// A firewall on the machine itself: what its programs send by UDP is counted,
/// and goes no further.
pub(super) const MUTE: &str = r#"
table ip mute {
    chain leave {
        type filter hook output priority filter + 10; policy accept;
        meta l4proto udp drop
    }
}
"#;
