//! The ways of notifications to clients without a connection of their own: by
//! a peer of their subnet, or by datagram.

use core::net::SocketAddr;

use super::Relay;
use super::connection::Role;
use super::fanout::{Spread, Task};
use crate::notify::{Audience, Membership, Order, RouteRefusal, RouterEffect, Way};
use crate::registration::{ClientRecord, Qualifier};
use crate::wire::datagram::{Content, Fanout as Digest, Hint, PAYLOAD_BYTES_MAX, Test};
use crate::wire::message::{Notification, ServeWriter};
use crate::{ClientId, ConnId, Instant, Key, Machine, NotificationId};

/// Members of a subnet that one step visits: so many share a frame at least.
const MEMBERS_PER_STEP: usize = 64;
/// Notifications that a lost connection gives back; what is behind them the
/// client finds in its inbox.
const BROUGHT_AGAIN_MAX: usize = 64;
/// Bytes of a frame that a peer passes on: small beside what is written at
/// once, large beside what its targets share.
const SERVE_BYTES_MAX: usize = 16_384;

/// What one step on the way to clients came to; a datagram is in the caller's
/// buffer.
pub(super) enum Routed {
    Datagram {
        to: SocketAddr,
        len: usize,
    },
    /// Something was done; there may be more.
    Again,
    Idle,
}

/// What became of one client's turn.
enum Brought {
    /// It is on its way, or needs none.
    Done,
    Datagram {
        to: SocketAddr,
        len: usize,
    },
    /// All peers of the subnet are busy; the router tells when there is room.
    Later,
    /// The rate of datagrams is used up until the moment.
    Paced(Instant),
}

impl Relay {
    /// Sends a notification on its way to who it is for.
    pub(super) fn distribute(&mut self, audience: Audience, notification: Key, id: NotificationId) {
        match audience {
            Audience::Client(client) => self.bring_to(client, notification),
            Audience::Subnet(subnet) => {
                if !self.fanout.push_all(subnet, notification, true) {
                    self.stats.left_to_inbox.count("no_room");
                }
            }
            Audience::Site(site) => self.spread(notification, id, Some(site)),
            Audience::All => {
                self.walk();
                self.spread(notification, id, None);
            }
        }
    }

    fn spread(&mut self, notification: Key, id: NotificationId, site: Option<u16>) {
        let spread = Spread {
            notification,
            id,
            site,
            place: 0,
        };
        let notifier = &self.notifier;
        let is_alive = |id| notifier.status(id).is_some();
        self.fanout.spread(spread, notifier.len(), is_alive);
    }

    /// Sends a notification on its way to one client.
    pub(super) fn bring_to(&mut self, client: Key, notification: Key) {
        if let Some(conn) = self.registry.connection(client) {
            return self.wake(conn);
        }
        if let Some(record) = self.registry.get(client)
            && !self.fanout.push_one(record.subnet, client, notification)
        {
            self.stats.left_to_inbox.count("no_room");
        }
    }

    /// What waited for a client's connection, which is gone, takes another way.
    pub(super) fn bring_again(&mut self, client: Key, written_through: NotificationId) {
        let membership = self.membership(client);
        let mut cursor = written_through;
        for _ in 0..BROUGHT_AGAIN_MAX {
            let Some((notification, id)) = self.notifier.pending(client, membership, cursor) else {
                return;
            };
            self.bring_to(client, notification);
            cursor = id;
        }
    }

    /// Goes on with what is on its way to clients without a connection.
    pub(super) fn next_route(&mut self, buf: &mut [u8]) -> Routed {
        if let Some(effect) = self.router.poll() {
            self.handle_routed(effect);
            return Routed::Again;
        }
        if self.paced_until.is_some_and(|at| at <= self.now) {
            self.paced_until = None;
            self.fanout.unpace();
        }
        if let Some(place) = self.fanout.next_subnet() {
            return self.step_subnet(place, buf);
        }
        match self.spread_one() {
            true => Routed::Again,
            false => Routed::Idle,
        }
    }

    fn handle_routed(&mut self, effect: RouterEffect) {
        match effect {
            RouterEffect::Served {
                client,
                notification,
            } => {
                self.count_loose(client, notification);
                self.stats.sent.count("peer");
            }
            RouterEffect::Reroute {
                client,
                notification,
            } => {
                self.stats.rerouted += 1;
                if self.notifier.is_alive(notification) {
                    self.bring_to(client, notification);
                }
            }
            RouterEffect::Room { subnet } => self.fanout.wake(subnet),
        }
    }

    /// A peer or a datagram brought the notification to the client.
    fn count_loose(&mut self, client: Key, notification: Key) {
        if let Some(record) = self.registry.get(client) {
            let client = (client, record.id);
            self.notifier
                .handle_sent(client, notification, Order::Loose);
        }
    }

    /// Puts the notification that is next into the queue of the next subnet.
    fn spread_one(&mut self) -> bool {
        let Some(spread) = self.fanout.next_spread() else {
            return false;
        };
        let (notification, site) = (spread.notification, spread.site);
        let subnet = self.registry.next_subnet_from(spread.place);
        let alive = self.notifier.status(spread.id).is_some();
        let Some(subnet) = subnet.filter(|_| alive) else {
            self.fanout.end_spread();
            return true;
        };
        spread.place = subnet.key.index() + 1;
        if site.is_none_or(|site| subnet.name.qualifier == Qualifier::Site(site)) {
            // There is room: it was asked for.
            self.fanout
                .push_all(subnet.key, notification, site.is_some());
        }
        true
    }

    /// Works a subnet's queue off, for a few of its members.
    fn step_subnet(&mut self, place: u32, buf: &mut [u8]) -> Routed {
        let Some(subnet) = self.registry.subnet_at(place) else {
            self.fanout.drop_queue(place);
            return Routed::Again;
        };
        for _ in 0..MEMBERS_PER_STEP {
            let Some((key, task)) = self.fanout.front(subnet) else {
                return Routed::Again;
            };
            let task = *task;
            let Some(client) = self.next_of(subnet, key, task) else {
                self.fanout.finish(subnet, key);
                continue;
            };
            let brought = self.bring(subnet, client, (key, task), buf);
            match brought {
                Brought::Later => return Routed::Again,
                Brought::Paced(at) => {
                    self.fanout.pace(subnet);
                    self.paced_until = Some(at);
                    return Routed::Again;
                }
                Brought::Done | Brought::Datagram { .. } => match task.only {
                    Some(_) => self.fanout.finish(subnet, key),
                    None => self.registry.pass_member(subnet),
                },
            }
            if let Brought::Datagram { to, len } = brought {
                self.fanout.wake(subnet);
                return Routed::Datagram { to, len };
            }
        }
        self.fanout.wake(subnet);
        Routed::Again
    }

    /// The client whose turn it is; `None` if the task is done.
    fn next_of(&mut self, subnet: Key, key: Key, task: Task) -> Option<Key> {
        if !self.notifier.is_alive(task.notification) {
            return None;
        }
        if task.only.is_some() {
            return task.only;
        }
        if !task.begun {
            self.registry.begin_walk(subnet);
            if let Some((at, task)) = self.fanout.front(subnet)
                && at == key
            {
                task.begun = true;
            }
        }
        self.registry.walked_member(subnet)
    }

    /// Brings the notification to one client, or one step nearer.
    fn bring(
        &mut self,
        subnet: Key,
        client: Key,
        (key, task): (Key, Task),
        buf: &mut [u8],
    ) -> Brought {
        let notification = task.notification;
        let Some(record) = self.registry.get(client) else {
            return Brought::Done;
        };
        let (is_connected, address) = (record.is_connected(), record.udp_address());
        let servable = record.is_servable();
        // A port that was only stated may lie behind a firewall.
        let reached = record.is_udp_proven() && address.is_some();
        if !record.is_proven() {
            // Its registration may be a recording; what proves the client,
            // the inbox first of all, brings it what it missed.
            self.stats.left_to_inbox.count("unproven");
            return Brought::Done;
        }
        if !self
            .notifier
            .concerns(notification, client, membership_of(record))
        {
            return Brought::Done;
        }
        if is_connected {
            if task.wakes
                && let Some(conn) = self.registry.connection(client)
            {
                self.wake(conn);
            }
            return Brought::Done;
        }
        let way = self
            .router
            .route(self.now, client, subnet, servable, reached);
        match (way, address) {
            (Way::Peer(line), _) => match self.router.assign(line, client, notification) {
                Ok(()) => {
                    self.wake(ConnId::from_key(line));
                    Brought::Done
                }
                Err(RouteRefusal::OnItsWay) => Brought::Done,
                Err(_) => Brought::Later,
            },
            (Way::Datagram | Way::None, _) if self.router.is_on_its_way(client, notification) => {
                Brought::Done
            }
            // Nothing better is left than a port that was only stated.
            (Way::Datagram | Way::None, Some(to)) => {
                if let Err(at) = self.datagram_rate.take(self.now, 1) {
                    return Brought::Paced(at);
                }
                match self.write_datagram(client, subnet, (key, task), buf) {
                    Some(len) => {
                        self.router.handle_datagram(client);
                        self.count_loose(client, notification);
                        self.stats.sent.count("datagram");
                        Brought::Datagram { to, len }
                    }
                    None => Brought::Done,
                }
            }
            (Way::Later, _) => Brought::Later,
            (Way::Datagram | Way::None, None) => {
                self.stats.left_to_inbox.count("no_way");
                Brought::Done
            }
        }
    }

    /// Seals the notification for one client. What its datagrams share is
    /// digested once a second for all of a task.
    fn write_datagram(
        &mut self,
        client: Key,
        subnet: Key,
        (key, task): (Key, Task),
        buf: &mut [u8],
    ) -> Option<usize> {
        let message = self.notifier.message(task.notification)?;
        let content = content_of(&message);
        let digest = match task.digest {
            Some((lifetime_s, digest)) if lifetime_s == message.lifetime_s => digest,
            _ => {
                let digest = Digest::new(&content);
                if let Some((at, task)) = self.fanout.front(subnet)
                    && at == key
                {
                    task.digest = Some((message.lifetime_s, digest));
                }
                digest
            }
        };
        let id = self.registry.get(client)?.id;
        let (counter, session) = self.registry.datagram_key(client)?;
        digest.encode(&content, id, counter, session, buf).ok()
    }

    /// Writes a test for the client; `None` if it takes no datagrams any more.
    pub(super) fn write_test(
        &mut self,
        client: Key,
        nonce: u64,
        buf: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        let record = self.registry.get(client)?;
        let (id, to) = (record.id, record.udp_address()?);
        let content = Content::Test(Test { nonce });
        let (counter, session) = self.registry.datagram_key(client)?;
        let len = Digest::new(&content).encode(&content, id, counter, session, buf);
        self.stats.tests_sent += 1;
        len.ok().map(|len| (to, len))
    }

    /// Writes a frame with what the peer on the line is to pass on to others of
    /// its subnet; returns its length, 0 if there is nothing, or no room for it
    /// in `buf`. What it can pass on no longer takes another way.
    pub(super) fn write_serve(&mut self, line: Key, subnet: Key, buf: &mut [u8]) -> usize {
        loop {
            let first = self.router.next_batch(line).next();
            let Some(first) = first else {
                return 0;
            };
            if self.served_at(first.client, subnet).is_some()
                && self.notifier.is_alive(first.notification)
            {
                return self.write_batch(line, subnet, first.notification, buf);
            }
            self.router.skip(line, 1);
            self.bring_to(first.client, first.notification);
        }
    }

    fn write_batch(&mut self, line: Key, subnet: Key, notification: Key, buf: &mut [u8]) -> usize {
        let Some(message) = self.notifier.message(notification) else {
            return 0;
        };
        let content = content_of(&message);
        let digest = Digest::new(&content);
        let room = buf.len().min(SERVE_BYTES_MAX);
        let mut writer = ServeWriter::new(&mut buf[..room], &content);
        let mut targets = 0;
        for leg in self.router.next_batch(line) {
            let record = self.registry.get(leg.client);
            let Some((id, address)) = record.and_then(|record| passed_on_to(record, subnet)) else {
                break;
            };
            // A counter that is not used would look like a loss.
            if !writer.has_room() {
                break;
            }
            let Some((counter, session)) = self.registry.datagram_key(leg.client) else {
                break;
            };
            let mac = digest.mac(id, counter, session);
            if !writer.push(address, id, counter, mac) {
                break;
            }
            targets += 1;
        }
        let Some(sequence) = self.router.begin_batch(self.now, line, targets) else {
            return 0;
        };
        writer.finish(sequence).unwrap_or_default()
    }

    /// Where a peer of the subnet finds the client.
    fn served_at(&self, client: Key, subnet: Key) -> Option<SocketAddr> {
        let record = self.registry.get(client)?;
        passed_on_to(record, subnet).map(|(_, address)| address)
    }

    /// A client's line serves its subnet, or another one than before, or no
    /// longer any.
    pub(super) fn settle_peer(&mut self, conn: ConnId) {
        let Some(Role::Line(line)) = self.conns.get_mut(conn.key()).map(|conn| &mut conn.role)
        else {
            return;
        };
        // Who takes no datagrams itself has no socket to send any.
        let serves = self
            .registry
            .get(line.client)
            .filter(|record| record.local_address().is_some())
            .map(|record| record.subnet);
        if line.serves == serves {
            return;
        }
        line.serves = serves;
        match serves {
            Some(subnet) => {
                let room = self.limits.router.legs_per_line_max;
                self.router.handle_line_opened(conn.key(), subnet, room);
            }
            None => self.router.handle_line_closed(conn.key()),
        }
    }

    /// The groups of a client.
    pub(super) fn membership(&self, client: Key) -> Membership {
        let record = self.registry.get(client);
        record.map_or_else(Membership::default, membership_of)
    }
}

/// The client, as long as a peer of the subnet is its way: it is in the subnet
/// and has no connection of its own.
fn passed_on_to(record: &ClientRecord, subnet: Key) -> Option<(ClientId, SocketAddr)> {
    let is_there = record.subnet == subnet && !record.is_connected();
    Some((record.id, record.local_address().filter(|_| is_there)?))
}

/// The groups of a registered client.
pub(super) fn membership_of(record: &ClientRecord) -> Membership {
    Membership {
        subnet: Some(record.subnet),
        site: record.site(),
    }
}

/// The notification as it travels in a datagram: a long payload is fetched.
fn content_of<'a>(message: &Notification<'a>) -> Content<'a> {
    if message.payload.len() <= PAYLOAD_BYTES_MAX {
        return Content::Notification(*message);
    }
    Content::Hint(Hint {
        id: message.id,
        lifetime_s: message.lifetime_s,
        reply_window_ms: message.reply_window_ms,
        payload_bytes: u32::try_from(message.payload.len()).unwrap_or(u32::MAX),
    })
}
