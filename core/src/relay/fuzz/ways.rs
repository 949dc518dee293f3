//! The ways to clients without a connection of their own: what may go where.

use alloc::vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::World;
use super::requests::message;
use crate::collections::model::Script;
use crate::registration::Qualifier;
use crate::relay::To;
use crate::wire::datagram::{Content, Sealed};
use crate::wire::message::{Serve, Served, ToRelay};
use crate::wire::replay::ReplayWindow;
use crate::{ClientId, Instant, NotificationId};

/// A datagram that a peer was handed and did not confirm.
pub(super) struct Leg {
    sequence: u32,
    written_at: Instant,
    client: ClientId,
    notification: NotificationId,
}

impl World {
    /// A client registered: it is in another subnet, perhaps, and so is what
    /// its connection serves.
    pub(super) fn learn_of_place(&mut self, client: ClientId) {
        let Some(record) = self.relay.client(client) else {
            return;
        };
        let (subnet, serves) = (self.relay.subnet_of(record), record.local_address());
        let name = subnet.expect("a client is in a subnet").name;
        self.places.entry(client).or_default().push(name);
        let serves = serves.map(|_| record.subnet);
        let now = self.now;
        let lines = self.peers.iter_mut().filter_map(|peer| peer.line.as_mut());
        for line in lines.filter(|line| line.client == client) {
            line.moved_at = now;
            if line.serves != serves {
                line.serves = serves;
                line.legs.clear();
            }
        }
    }

    /// A peer confirms rightly, late, or what it never got.
    pub(super) fn confirm(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.choose_peer(script) else {
            return;
        };
        let Some(line) = &mut self.peers[at].line else {
            return;
        };
        let sequence = match script.byte().unwrap_or_default() % 16 {
            0 => line.served + 1,
            1..4 => line.served.saturating_sub(1),
            _ => line.served,
        };
        let now = self.now;
        if line
            .legs
            .extract_if(.., |leg| leg.sequence <= sequence)
            .count()
            > 0
        {
            line.confirmed_at = line.confirmed_at.max(Some(now));
        }
        let refused = u16::from(script.one_in(8));
        let served = ToRelay::Served(Served { sequence, refused });
        self.send(at, &message(&served));
    }

    /// A peer that confirms no frame for too long loses all it has.
    pub(super) fn forget_late_legs(&mut self) {
        let (now, timeout) = (self.now, self.limits.router.served_timeout);
        let lines = self.peers.iter_mut().filter_map(|peer| peer.line.as_mut());
        for line in lines {
            let since = |leg: &Leg| line.confirmed_at.max(Some(leg.written_at));
            let late = |leg: &Leg| since(leg).is_some_and(|since| since + timeout <= now);
            if line.legs.first().is_some_and(late) {
                line.legs.clear();
            }
        }
    }

    /// A frame with datagrams for others: each is for a client of the peer's
    /// own subnet that has no connection, at the address that it stated.
    pub(super) fn read_serve(&mut self, at: usize, serve: &Serve<'_>) {
        let now = self.now;
        let line = self.peers[at].line.as_mut().expect("it is a line");
        line.served += 1;
        assert_eq!(serve.sequence, line.served);
        assert!(!serve.is_empty());
        let peer = line.client;
        let subnet = self.relay.client(peer).expect("it is registered").subnet;
        for target in serve.targets() {
            let mut datagram = vec![0; serve.datagram_bytes()];
            serve.datagram(&target, &mut datagram).expect("room");
            let (client, notification) = self.open(&datagram);
            let record = self.relay.client(client).expect("it is registered");
            assert_eq!(record.subnet, subnet, "a client of another subnet");
            assert_eq!(record.local_address(), Some(target.address));
            assert!(client != peer, "to itself");
            let Some(notification) = notification else {
                continue;
            };
            let line = self.peers[at].line.as_mut().expect("it is a line");
            line.legs.push(Leg {
                sequence: serve.sequence,
                written_at: now,
                client,
                notification,
            });
        }
    }

    /// A datagram of the relay's own: it goes to where its client was seen.
    pub(super) fn read_datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        let (client, _) = self.open(bytes);
        let record = self.relay.client(client).expect("it is registered");
        assert_eq!(record.udp_address(), Some(to), "not where it was seen");
    }

    /// Who a datagram is for, and which notification it is: `None` is a test,
    /// or cannot be told, as the answer with the key that it is sealed with is
    /// on its way still.
    fn open(&mut self, bytes: &[u8]) -> (ClientId, Option<NotificationId>) {
        let sealed = Sealed::parse(bytes).expect("a sound datagram");
        let mut registered = self.registered.iter().copied();
        let client = registered.find(|id| sealed.is_for(*id));
        let client = client.expect("for one that is registered");
        let known = self.known.iter().find(|known| known.id == client);
        let key = known.and_then(|known| known.key.clone());
        let content = key.and_then(|key| {
            let mut window = ReplayWindow::default();
            sealed.open(client, &key, &mut window).ok()
        });
        let Some(content) = content else {
            return (client, None);
        };
        let id = match content {
            Content::Test(test) => {
                assert_ne!(test.nonce, 0);
                self.tests.push((client, test.nonce));
                return (client, None);
            }
            Content::Notification(notification) => {
                self.check(client, &notification);
                notification.id
            }
            Content::Hint(hint) => {
                let said = self.told_of(client, hint.id);
                assert_eq!(said.payload.len(), hint.payload_bytes as usize);
                hint.id
            }
        };
        self.may_leave(client, id);
        (client, Some(id))
    }

    /// A notification leaves as a datagram, the relay's own or by a peer: for
    /// a client that it is for at this moment, that has no connection, and to
    /// which it is not on its way already.
    fn may_leave(&self, client: ClientId, id: NotificationId) {
        let record = self.relay.client(client).expect("it is registered");
        assert!(!record.is_connected(), "it has a connection");
        let said = &self.said[&id];
        assert!(!said.expired, "it is over");
        let place = self.relay.subnet_of(record).expect("a subnet").name;
        assert!(match said.to {
            To::Client(only) => only == client,
            To::Subnet(name) => name == place,
            To::Site(site) => place.qualifier == Qualifier::Site(site),
            To::All => true,
        });
        assert!(said.present.contains(&client), "it came later");
        let mut lines = self.peers.iter().filter_map(|peer| peer.line.as_ref());
        let legs = lines.find(|line| {
            let same = |leg: &Leg| (leg.client, leg.notification) == (client, id);
            line.legs.iter().any(same)
        });
        assert!(legs.is_none(), "it is on its way already");
    }

    /// Who holds a connection or a grant, counted anew.
    pub(super) fn compare_caps(&self) {
        let caps = &self.caps;
        let counts = self.relay.stats().registry;
        assert!(counts.connected + counts.granted <= caps.connections_max as usize);
        let per_subnet = match caps.connections_per_subnet_max {
            0 => usize::MAX,
            cap => cap as usize,
        };
        let mut place = 0;
        let (mut clients, mut subnets) = (0, 0);
        while let Some((at, subnet)) = self.relay.subnet_from(place) {
            assert!(
                subnet.connected + subnet.granted <= per_subnet,
                "{subnet:?}"
            );
            clients += subnet.clients;
            subnets += 1;
            place = at + 1;
        }
        assert_eq!((clients, subnets), (counts.clients, counts.subnets));
        let lines = self.peers.iter().filter_map(|peer| peer.line.as_ref());
        let open = lines.filter(|line| {
            let record = self.relay.client(line.client);
            record.is_some_and(|record| record.is_connected())
        });
        assert!(
            open.count() >= counts.connected,
            "one that nobody was told of"
        );
    }

    /// Nothing waits for ever, whether peers confirm or not.
    pub(super) fn come_to_rest(&mut self, script: &mut Script<'_>) {
        for _ in 0..1_000 {
            if self.relay.router.is_empty() && self.relay.fanout.is_empty() {
                return;
            }
            self.pass(Duration::from_secs(5));
            self.settle(script);
        }
        panic!("something is on its way for ever");
    }
}
