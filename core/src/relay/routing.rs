//! The ways of notifications to clients without a connection of their own: by
//! a peer of their subnet, or by datagram.
//!
//! Here is what goes next; what becomes of one client's turn is in
//! `routing/bring.rs`, what a peer is handed in `routing/serve.rs`.

mod bring;
mod serve;

use core::net::SocketAddr;

use super::Relay;
use super::fanout::{Lane, Source, Spread, Turn, Waits};
use crate::notify::{Audience, Membership, RouterEffect};
use crate::registration::{ClientRecord, Registry, Subnet};
use crate::wire::datagram::{Content, Hint, PAYLOAD_BYTES_MAX};
use crate::wire::message::Notification;
use crate::{Key, Machine, NotificationId};
use bring::Brought;

/// Turns of a subnet that one step takes: so many share a frame at least.
const TURNS_PER_STEP: usize = 128;
/// Notifications that a lost connection gives back; what is behind them the
/// client finds in its inbox.
const BROUGHT_AGAIN_MAX: usize = 64;

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

impl Relay {
    /// Sends a notification on its way to who it is for.
    pub(super) fn distribute(&mut self, audience: Audience, notification: Key, id: NotificationId) {
        match audience {
            Audience::Client(client) => self.bring_to(client, notification),
            Audience::Subnet(subnet) => self.push_all(subnet, notification, true),
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
            begun: false,
            place: 0,
        };
        let notifier = &self.notifier;
        let is_alive = |id| notifier.status(id).is_some();
        self.fanout.spread(spread, notifier.len(), is_alive);
    }

    /// Queues a notification for the members of a subnet. Without room those
    /// with a connection are told as at a notification to all; the others find
    /// it in their inboxes.
    fn push_all(&mut self, subnet: Key, notification: Key, wakes: bool) {
        if let Err(why) = self.fanout.push_all(subnet, notification, wakes) {
            let without = |it: Subnet| it.clients.saturating_sub(it.connected);
            let clients = self.registry.subnet(subnet).map_or(0, without);
            self.stats.left_to_inbox.add(why.name(), clients as u64);
            if wakes {
                self.walk();
            }
        }
    }

    /// Sends a notification on its way to one client.
    pub(super) fn bring_to(&mut self, client: Key, notification: Key) {
        if let Some(conn) = self.registry.connection(client) {
            return self.wake(conn);
        }
        if let Some(record) = self.registry.get(client)
            && let Err(why) = self.fanout.push_one(record.subnet, client, notification)
        {
            self.stats.left_to_inbox.count(why.name());
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
        if self.handle_router() {
            return Routed::Again;
        }
        if let Some(place) = self.fanout.next_paced()
            && self.paced_until.is_none_or(|at| at <= self.now)
        {
            return self.step_paced(place, buf);
        }
        if let Some(place) = self.fanout.next_subnet() {
            return self.step_subnet(place, buf);
        }
        match self.spread_one() {
            true => Routed::Again,
            false => Routed::Idle,
        }
    }

    /// Takes some of what the router tells; false if it tells nothing.
    fn handle_router(&mut self) -> bool {
        let (mut taken, mut served) = (0, 0);
        while taken < TURNS_PER_STEP
            && let Some(effect) = self.router.poll()
        {
            taken += 1;
            match effect {
                RouterEffect::Served {
                    client,
                    notification,
                } => {
                    self.count_loose(client, notification);
                    served += 1;
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
                RouterEffect::Room { subnet } => self.fanout.handle_room(subnet),
            }
        }
        if served > 0 {
            self.stats.sent.add("peer", served);
        }
        taken > 0
    }

    /// Puts the notification that is next into the queue of the next subnet.
    fn spread_one(&mut self) -> bool {
        let Some(spread) = self.fanout.next_spread() else {
            return false;
        };
        let (notification, site) = (spread.notification, spread.site);
        let alive = self.notifier.is_alive(notification);
        let subnet = next_subnet(&mut self.registry, spread).filter(|_| alive);
        let Some(subnet) = subnet else {
            self.fanout.end_spread();
            return true;
        };
        // There is room, unless the subnet has its share.
        self.push_all(subnet.key, notification, site.is_some());
        true
    }

    /// Works a subnet's queue off, for a few of its members.
    fn step_subnet(&mut self, place: u32, buf: &mut [u8]) -> Routed {
        let Some(subnet) = self.registry.subnet_at(place) else {
            self.fanout.drop_queue(place);
            return Routed::Again;
        };
        self.fanout.settle(subnet);
        for _ in 0..TURNS_PER_STEP {
            let Some(turn) = self.fanout.next_turn(subnet) else {
                return Routed::Again;
            };
            if let Brought::Datagram { to, len } = self.take_turn(subnet, turn, buf) {
                self.fanout.wake(subnet);
                return Routed::Datagram { to, len };
            }
        }
        self.fanout.wake(subnet);
        Routed::Again
    }

    /// The rate allows for a datagram: one client of the subnet gets its own.
    fn step_paced(&mut self, place: u32, buf: &mut [u8]) -> Routed {
        let Some(subnet) = self.registry.subnet_at(place) else {
            self.fanout.drop_queue(place);
            return Routed::Again;
        };
        self.fanout.settle(subnet);
        let brought = match self.fanout.next_paced_turn(subnet) {
            Some(turn) => self.take_turn(subnet, turn, buf),
            None => Brought::Done,
        };
        match brought {
            Brought::Paced => return Routed::Again,
            Brought::Done | Brought::Later | Brought::Datagram { .. } => self.fanout.turn_paced(),
        }
        match brought {
            Brought::Datagram { to, len } => Routed::Datagram { to, len },
            _ => Routed::Again,
        }
    }

    /// Gives the client whose turn it is what is there for it, or lets it wait
    /// apart from the others.
    fn take_turn(&mut self, subnet: Key, turn: Turn, buf: &mut [u8]) -> Brought {
        let Some(client) = self.who(subnet, turn) else {
            return Brought::Done;
        };
        let brought = self.bring(subnet, client, turn, buf);
        let lane = match brought {
            Brought::Done | Brought::Datagram { .. } => None,
            Brought::Later => Some(Lane::Peer),
            Brought::Paced => Some(Lane::Rate),
        };
        match lane {
            None => self.fanout.finish(subnet, turn),
            Some(lane) => {
                if !self.fanout.delay(subnet, client, turn, lane) {
                    self.stats.left_to_inbox.count("no_room");
                }
            }
        }
        if turn.source == Source::Walk {
            self.registry.pass_member(subnet);
        }
        brought
    }

    /// The client whose turn it is; `None` if the turn is over with that.
    fn who(&mut self, subnet: Key, turn: Turn) -> Option<Key> {
        let notification = self.fanout.task(turn.task)?.notification;
        let alive = self.notifier.is_alive(notification);
        if turn.source != Source::Walk {
            if !alive {
                self.fanout.finish(subnet, turn);
            }
            return turn.client.filter(|_| alive);
        }
        if alive && self.fanout.begins_walk(turn.task) {
            self.registry.begin_walk(subnet);
        }
        let member = self.registry.walked_member(subnet).filter(|_| alive);
        let Some(member) = member else {
            self.fanout.end_walk(subnet);
            return None;
        };
        match self.fanout.waits_already(subnet, member, turn.task) {
            Waits::Already => {
                self.registry.pass_member(subnet);
                return None;
            }
            Waits::Not { given_up: 0 } => {}
            Waits::Not { given_up } => self.stats.left_to_inbox.add("moved", given_up.into()),
        }
        Some(member)
    }

    /// The groups of a client.
    pub(super) fn membership(&self, client: Key) -> Membership {
        let record = self.registry.get(client);
        record.map_or_else(Membership::default, membership_of)
    }
}

/// The subnet that a spread comes to next: one of its site, or any.
fn next_subnet(registry: &mut Registry, spread: &mut Spread) -> Option<Subnet> {
    let Some(site) = spread.site else {
        let subnet = registry.next_subnet_from(spread.place)?;
        spread.place = subnet.key.index() + 1;
        return Some(subnet);
    };
    // Spreads come one after another, so there is one walk at a time.
    if !core::mem::replace(&mut spread.begun, true) {
        registry.begin_site_walk(site);
    }
    let subnet = registry.walked_subnet(site)?;
    registry.pass_subnet(site);
    Some(subnet)
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
