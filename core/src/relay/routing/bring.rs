//! One client's turn.

use core::net::SocketAddr;

use super::{content_of, membership_of};
use crate::notify::{Order, RouteRefusal, Way};
use crate::registration::ClientRecord;
use crate::relay::Relay;
use crate::relay::fanout::{Lane, Source, Turn};
use crate::wire::datagram::{Content, Fanout as Digest, Test};
use crate::{ConnId, Key};

/// What became of one client's turn.
pub(super) enum Brought {
    /// It is on its way, or needs none.
    Done,
    Datagram {
        to: SocketAddr,
        len: usize,
    },
    /// All peers of the subnet are busy; the router tells when there is room.
    Later,
    /// The rate of datagrams is used up, or others wait for it.
    Paced,
}

impl Relay {
    /// Brings the notification to one client, or one step nearer.
    pub(super) fn bring(
        &mut self,
        subnet: Key,
        client: Key,
        turn: Turn,
        buf: &mut [u8],
    ) -> Brought {
        let Some(record) = self.registry.get(client) else {
            return Brought::Done;
        };
        let Some(task) = self.fanout.task(turn.task) else {
            return Brought::Done;
        };
        let (notification, wakes) = (task.notification, task.wakes);
        if record.is_connected() {
            // The line finds what is for its client, wherever that registered.
            if wakes && let Some(conn) = self.registry.connection(client) {
                self.wake(conn);
            }
            return Brought::Done;
        }
        let servable = record.is_servable();
        // A port that was only stated may lie behind a firewall.
        let reached = record.is_udp_proven() && record.udp_port != 0;
        if !record.is_proven() {
            // Its registration may be a recording; what proves the client,
            // the inbox first of all, brings it what it missed.
            self.stats.left_to_inbox.count("unproven");
            return Brought::Done;
        }
        let concerned = self
            .notifier
            .concerns(notification, client, membership_of(record));
        if !concerned {
            return Brought::Done;
        }
        if record.subnet != subnet {
            // It moved while it waited.
            self.bring_to(client, notification);
            return Brought::Done;
        }
        let way = self
            .router
            .route(self.now, client, subnet, servable, reached);
        match way {
            Way::Peer(line) => match self.router.assign(line, client, notification) {
                Ok(()) => {
                    self.wake(ConnId::from_key(line));
                    Brought::Done
                }
                Err(RouteRefusal::OnItsWay) => Brought::Done,
                Err(_) => Brought::Later,
            },
            Way::Later => Brought::Later,
            // Nothing better is left than a port that was only stated.
            Way::Datagram | Way::None => self.bring_by_datagram(client, notification, turn, buf),
        }
    }

    fn bring_by_datagram(
        &mut self,
        client: Key,
        notification: Key,
        turn: Turn,
        buf: &mut [u8],
    ) -> Brought {
        if self.router.is_on_its_way(client, notification) {
            return Brought::Done;
        }
        let record = self.registry.get(client);
        let Some(to) = record.and_then(ClientRecord::udp_address) else {
            self.stats.left_to_inbox.count("no_way");
            return Brought::Done;
        };
        // Who waits for the rate goes first.
        let in_turn = matches!(
            turn.source,
            Source::Single(Lane::Rate) | Source::Parked(Lane::Rate)
        );
        if !in_turn && self.fanout.next_paced().is_some() {
            return Brought::Paced;
        }
        if let Err(at) = self.datagram_rate.take(self.now, 1) {
            self.paced_until = Some(at);
            return Brought::Paced;
        }
        let Some(len) = self.write_datagram(client, turn.task, buf) else {
            return Brought::Done;
        };
        self.router.handle_datagram(client);
        self.count_loose(client, notification);
        self.stats.sent.count("datagram");
        Brought::Datagram { to, len }
    }

    /// A peer or a datagram brought the notification to the client.
    pub(super) fn count_loose(&mut self, client: Key, notification: Key) {
        if let Some(record) = self.registry.get(client) {
            let client = (client, record.id);
            self.notifier
                .handle_sent(client, notification, Order::Loose);
        }
    }

    /// Seals the notification for one client. What its datagrams share is
    /// digested once a second for all of a task.
    fn write_datagram(&mut self, client: Key, task: Key, buf: &mut [u8]) -> Option<usize> {
        let task = self.fanout.task_mut(task)?;
        let message = self.notifier.message(task.notification)?;
        let content = content_of(&message);
        let digest = match task.digest {
            Some((lifetime_s, digest)) if lifetime_s == message.lifetime_s => digest,
            _ => {
                let digest = Digest::new(&content);
                task.digest = Some((message.lifetime_s, digest));
                digest
            }
        };
        let id = self.registry.get(client)?.id;
        let (counter, session) = self.registry.datagram_key(client)?;
        digest.encode(&content, id, counter, session, buf).ok()
    }

    /// Writes a test for the client; `None` if it takes no datagrams any more,
    /// or if their rate is used up: a test says when it arrived, so none waits,
    /// and there are others.
    pub(in crate::relay) fn write_test(
        &mut self,
        client: Key,
        nonce: u64,
        buf: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        let record = self.registry.get(client)?;
        let (id, to) = (record.id, record.udp_address()?);
        if self.datagram_rate.take(self.now, 1).is_err() {
            self.stats.tests_left_out += 1;
            return None;
        }
        let content = Content::Test(Test { nonce });
        let (counter, session) = self.registry.datagram_key(client)?;
        let len = Digest::new(&content).encode(&content, id, counter, session, buf);
        self.stats.tests_sent += 1;
        len.ok().map(|len| (to, len))
    }
}
