//! The two servers that are compared, each with its peers.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tautline_tests::fleet::{Peers, Process, Relay, connect_from};

/// A server under test, and the other ends of its connections.
pub(crate) trait Probed {
    fn process(&self) -> &Process;
    fn peers(&mut self) -> &mut Peers;
}

/// The relay daemon with its clients connected.
pub(crate) struct Fleet {
    relay: Relay,
    peers: Peers,
    connections: usize,
}

impl Fleet {
    /// With these figures of the heartbeats, as the settings have them.
    pub(crate) fn start(
        connections: usize,
        period_s: &str,
        response_timeout_ms: &str,
        in_flight: &str,
    ) -> Self {
        let relay = Relay::start_with(&[
            ("PERSISTENT_CONNECTIONS_CONNECTIONS_MAX", "50000"),
            ("PERSISTENT_CONNECTIONS_PER_SUBNET_MAX", "0"),
            ("PERSISTENT_CONNECTIONS_PER_ADDRESS_MAX", "0"),
            ("HEARTBEAT_PERIOD_S", period_s),
            ("HEARTBEAT_RESPONSE_TIMEOUT_MS", response_timeout_ms),
            ("HEARTBEAT_IN_FLIGHT", in_flight),
        ]);
        let peers = Peers::connected(&relay, connections);
        Self {
            relay,
            peers,
            connections,
        }
    }

    pub(crate) const fn connections(&self) -> usize {
        self.connections
    }

    /// What the relay says of its heartbeats.
    pub(crate) fn told(&mut self) -> serde_json::Value {
        self.relay.heartbeat()
    }

    /// Probes that the relay has sent, that were answered, and that it saved.
    pub(crate) fn probes(&mut self) -> [u64; 3] {
        let told = self.told();
        ["sent", "answered", "saved"].map(|name| told["probes"][name].as_u64().expect("a figure"))
    }
}

impl Probed for Fleet {
    fn process(&self) -> &Process {
        self.relay.process()
    }

    fn peers(&mut self) -> &mut Peers {
        &mut self.peers
    }
}

/// The bare loop: this program again, with other arguments.
pub(crate) struct Bare {
    process: Process,
    peers: Peers,
}

impl Bare {
    /// Its moments are so many milliseconds apart.
    pub(crate) fn start(connections: usize, period: Duration, grain_ms: u64) -> Self {
        let figures = [connections as u64, period.as_millis() as u64, grain_ms];
        let child = Command::new(std::env::current_exe().expect("a path"))
            .arg("bare")
            .args(figures.map(|figure| figure.to_string()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bare loop starts");
        let mut process = Process(child);
        let mut lines = BufReader::new(process.0.stdout.take().expect("a pipe")).lines();
        let mut line = || lines.next().expect("a line").expect("a line");
        let address: SocketAddr = line().parse().expect("an address");
        let mut peers = Peers::default();
        for place in 0..connections {
            peers.push(connect_from(place, address));
        }
        line();
        Self { process, peers }
    }
}

impl Probed for Bare {
    fn process(&self) -> &Process {
        &self.process
    }

    fn peers(&mut self) -> &mut Peers {
        &mut self.peers
    }
}
