//! The relay's side against a map of all that was ever said.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::collections::Pool;
use crate::collections::model::{Script, fires_at};
use crate::notify::{
    Audience, Membership, Notifier, NotifierEffect, NotifierLimits, NotifyError, NotifyOptions,
    Order, ReplyRefusal, Status,
};
use crate::wire::frame::Deframer;
use crate::wire::message::ToClient;
use crate::{ClientId, Incarnation, Instant, Key, Machine, NotificationId, Random};

const LIMITS: NotifierLimits = NotifierLimits {
    notifications_max: 6,
    notifications_per_client_max: 3,
    notifications_per_group_max: 2,
    payload_bytes_max: 40,
    replies_max: 5,
    reply_bytes_max: 24,
    payloads_bytes_max: 100,
    replies_bytes_max: 60,
    lifetime_max: Duration::from_secs(600),
};
const CLIENTS: u32 = 3;
const TARGETS: u32 = 2;

/// Two places in different chunks.
const SITES: [u16; 2] = [0, 300];

/// How many live for the same audience.
const fn most_for(audience: Audience) -> u32 {
    match audience {
        Audience::All => u32::MAX,
        Audience::Client(_) => LIMITS.notifications_per_client_max,
        Audience::Subnet(_) | Audience::Site(_) => LIMITS.notifications_per_group_max,
    }
}

/// Any bytes as operations on a notifier.
pub fn notifier(data: &[u8]) {
    let random = Random::from_seed([5; 32]);
    let mut pair = Pair {
        notifier: Notifier::new(Incarnation(3), LIMITS, CLIENTS, random),
        said: BTreeMap::new(),
        clients: (0..CLIENTS).map(Client::new).collect(),
        subnets: [Key::new(0, 0), Key::new(2, 0)],
        now: Instant::ORIGIN,
    };
    let _ = pair.run(&mut Script(data));
}

/// All that was ever said of a notification.
struct Said {
    audience: Audience,
    payload: Vec<u8>,
    expires_at: Instant,
    /// Who was told by a way that keeps the order, and by another one.
    told_in_order: BTreeSet<ClientId>,
    told_loosely: BTreeSet<ClientId>,
    replies: Vec<(Key, ClientId, Vec<u8>)>,
    writers: Vec<Key>,
    expired: bool,
}

struct Client {
    key: Key,
    id: ClientId,
    membership: Membership,
    joined: NotificationId,
    sent_through: NotificationId,
    /// All that it was sent since it joined, by any way.
    told: BTreeSet<NotificationId>,
}

impl Client {
    fn new(place: u32) -> Self {
        Self {
            key: Key::new(place, 0),
            id: ClientId([place as u8; 16]),
            membership: Membership::default(),
            joined: NotificationId(0),
            sent_through: NotificationId(0),
            told: BTreeSet::new(),
        }
    }

    /// Whether it was sent this one, of the last 32 up to the newest.
    fn was_told(&self, id: NotificationId) -> bool {
        let newest = self.told.last().map_or(0, |id| id.sequence());
        self.told.contains(&id) && newest - id.sequence() < 32
    }
}

struct Pair {
    notifier: Notifier,
    said: BTreeMap<NotificationId, Said>,
    clients: Vec<Client>,
    subnets: [Key; 2],
    now: Instant,
}

impl Pair {
    fn run(&mut self, script: &mut Script<'_>) -> Option<()> {
        loop {
            let at = usize::from(script.byte()?) % self.clients.len();
            match script.byte()? % 12 {
                0..3 => self.notify(at, script)?,
                3 | 4 => self.send(at, script)?,
                5 => self.reply(at, script)?,
                6 => self.unpin(script)?,
                7 => self.pass_time(script)?,
                8 => self.join(at, script)?,
                9 => self.change_groups(at, script)?,
                10 => self.send_loosely(at, script)?,
                _ => {
                    let any = Key::new(u32::from(script.byte()? % 8), script.byte()?.into());
                    // A handle of nothing finds nothing.
                    self.notifier
                        .unpin(Key::new(any.index() as u32, u32::MAX - 1));
                    assert!(self.notifier.message(Key::new(99, 0)).is_none());
                }
            }
            self.compare();
        }
    }

    fn notify(&mut self, at: usize, script: &mut Script<'_>) -> Option<()> {
        let audience = match script.byte()? % 6 {
            0 => Audience::All,
            1 => Audience::Subnet(self.subnets[at % 2]),
            2 => Audience::Site(SITES[at % 2]),
            _ => Audience::Client(self.clients[at].key),
        };
        let payload = vec![script.byte()?; usize::from(script.byte()? % 42)];
        let lifetime = Duration::from_secs(script.number(10)?);
        let reply_window = Duration::from_secs(script.number(3)?);
        let options = NotifyOptions {
            lifetime,
            reply_window,
        };
        let kept = self.said.values().filter(|said| said.is_kept());
        let (count, payloads) = kept.fold((0, 0), |(count, bytes), said| {
            (count + 1, bytes + said.payload.len())
        });
        let to_same = |said: &&Said| said.is_kept() && said.audience == audience;
        let own = self.said.values().filter(to_same).count() as u32;
        let bytes = payloads + payload.len();
        match self
            .notifier
            .notify(self.now, audience, &payload, options, TARGETS)
        {
            Ok(id) => {
                assert!(payload.len() <= LIMITS.payload_bytes_max);
                assert!(count < LIMITS.notifications_max && bytes <= LIMITS.payloads_bytes_max);
                assert!(own < most_for(audience));
                assert!(lifetime <= LIMITS.lifetime_max && reply_window <= lifetime);
                assert!(self.said.keys().next_back().is_none_or(|last| *last < id));
                let said = Said {
                    audience,
                    payload,
                    expires_at: self.now + lifetime,
                    told_in_order: BTreeSet::new(),
                    told_loosely: BTreeSet::new(),
                    replies: Vec::new(),
                    writers: Vec::new(),
                    expired: false,
                };
                self.said.insert(id, said);
            }
            Err(NotifyError::PayloadTooLong { bytes_max }) => assert!(payload.len() > bytes_max),
            Err(NotifyError::Lifetime { lifetime_max }) => {
                assert!(lifetime.is_zero() || lifetime > lifetime_max);
            }
            Err(NotifyError::ReplyWindow) => assert!(reply_window > lifetime),
            Err(NotifyError::ClientFull) => {
                assert!(matches!(audience, Audience::Client(_)));
                assert_eq!(own, most_for(audience));
            }
            Err(NotifyError::GroupFull) => {
                assert!(matches!(audience, Audience::Subnet(_) | Audience::Site(_)));
                assert_eq!(own, most_for(audience));
            }
            Err(NotifyError::BytesFull) => assert!(bytes > LIMITS.payloads_bytes_max),
            Err(why) => {
                assert_eq!(why, NotifyError::Full);
                assert_eq!(count, LIMITS.notifications_max);
            }
        }
        Some(())
    }

    /// A connection writes what is next for the client, whole or in part.
    fn send(&mut self, at: usize, script: &mut Script<'_>) -> Option<()> {
        let client = &mut self.clients[at];
        let pending = self
            .notifier
            .pending(client.key, client.membership, client.sent_through);
        let Some((key, id)) = pending else {
            return Some(());
        };
        let said = self.said.get_mut(&id).unwrap();
        let lifetime_s = self.notifier.message(key)?.lifetime_s;
        let mut frame = Vec::new();
        let room = 1 + usize::from(script.byte()? % 64);
        loop {
            let mut buf = vec![0; room];
            let offset = frame.len() as u64;
            let len = self.notifier.write_frame(key, lifetime_s, offset, &mut buf);
            if len == 0 {
                break;
            }
            frame.extend_from_slice(&buf[..len]);
        }
        let (mut rest, mut deframer) = (frame.as_slice(), Deframer::default());
        let mut pool = Pool::new(1, 100);
        let read = deframer
            .next(&mut rest, u32::MAX, &mut pool)
            .unwrap()
            .unwrap();
        match ToClient::parse(read.kind, read.body) {
            Ok(Some(ToClient::Notification(notification))) => {
                assert_eq!((notification.id, rest.len()), (id, 0));
                assert_eq!(notification.payload, said.payload);
            }
            other => panic!("{other:?}"),
        }
        if script.one_in(3) {
            self.notifier.pin(key);
            said.writers.push(key);
        }
        self.notifier
            .handle_sent((client.key, client.id), key, Order::InOrder);
        client.sent_through = id;
        client.told.insert(id);
        said.told_in_order.insert(client.id);
        Some(())
    }

    /// A peer or a datagram brings one that is for the client, whichever.
    fn send_loosely(&mut self, at: usize, script: &mut Script<'_>) -> Option<()> {
        let client = &mut self.clients[at];
        let draw = usize::from(script.byte()?) % (self.said.len() + 1);
        let Some((id, said)) = self.said.iter_mut().nth(draw) else {
            return Some(());
        };
        let for_client = said.is_told_to(*id, client) && client.sent_through < *id && !said.expired;
        if for_client && (said.told_loosely.insert(client.id) || script.one_in(2)) {
            client.told.insert(*id);
            let key = self.notifier.find(*id)?;
            self.notifier
                .handle_sent((client.key, client.id), key, Order::Loose);
        }
        Some(())
    }

    fn reply(&mut self, at: usize, script: &mut Script<'_>) -> Option<()> {
        let client = (self.clients[at].key, self.clients[at].id);
        let draw = usize::from(script.byte()?) % (self.said.len() + 1);
        let id = self.said.keys().nth(draw).copied();
        let id = id.unwrap_or(NotificationId(77));
        let payload = vec![b'r'; usize::from(script.byte()? % 26)];
        let kept = self.said.values().filter(|said| said.is_kept());
        let (count, bytes) = kept.fold((0, payload.len()), |(count, bytes), said| {
            (count + said.replies.len(), bytes + said.reply_bytes())
        });
        let full = count == LIMITS.replies_max as usize || bytes > LIMITS.replies_bytes_max;
        let membership = self.clients[at].membership;
        let said = self.said.get_mut(&id).filter(|said| !said.expired);
        let judged = self
            .notifier
            .handle_reply(self.now, client, membership, id, &payload);
        let expected = match &said {
            None => Err(ReplyRefusal::Unknown),
            Some(said)
                if !said.is_told_to(id, &self.clients[at]) && !self.clients[at].was_told(id) =>
            {
                Err(ReplyRefusal::Foreign)
            }
            Some(_) if payload.len() > LIMITS.reply_bytes_max => Err(ReplyRefusal::TooLong),
            Some(said) if said.replies.iter().any(|(_, id, _)| *id == client.1) => {
                Err(ReplyRefusal::Repeated)
            }
            Some(_) if full => Err(ReplyRefusal::Full),
            Some(_) => Ok(()),
        };
        assert_eq!(judged, expected);
        if let (Ok(()), Some(said)) = (judged, said) {
            said.replies.push((client.0, client.1, payload));
        }
        Some(())
    }

    fn unpin(&mut self, script: &mut Script<'_>) -> Option<()> {
        let draw = usize::from(script.byte()?);
        let mut pinned: Vec<_> = self.said.values_mut().collect();
        pinned.retain(|said| !said.writers.is_empty());
        let len = pinned.len();
        if let Some(said) = pinned.get_mut(draw % len.max(1)) {
            let key = said.writers.pop().unwrap();
            assert!(
                self.notifier.message(key).is_some(),
                "gone while it is written"
            );
            self.notifier.unpin(key);
        }
        Some(())
    }

    fn pass_time(&mut self, script: &mut Script<'_>) -> Option<()> {
        let span = Duration::from_micros(script.number(30)?);
        self.notifier.handle_timeout(self.now);
        assert_eq!(self.notifier.poll(), None, "early");
        self.now = self.now + span;
        self.notifier.handle_timeout(self.now);
        while let Some(NotifierEffect::Expired(status)) = self.notifier.poll() {
            let said = self.said.get_mut(&status.id).unwrap();
            assert!(!core::mem::replace(&mut said.expired, true));
            assert!(fires_at(said.expires_at) <= self.now);
            assert_eq!(status.replied as usize, said.replies.len());
        }
        for said in self.said.values() {
            assert_eq!(said.expired, fires_at(said.expires_at) <= self.now);
        }
        assert!(self.notifier.poll_timeout().is_none_or(|at| at > self.now));
        Some(())
    }

    /// The place of a client is taken by another, or by itself anew.
    fn join(&mut self, at: usize, script: &mut Script<'_>) -> Option<()> {
        let another = script.one_in(2);
        let client = &mut self.clients[at];
        client.key = Key::new(client.key.index() as u32, client.key.generation() + 1);
        if another {
            client.id.0[1] = client.id.0[1].wrapping_add(1);
        }
        self.notifier.handle_joined(client.key);
        // It is not told what was said before.
        client.sent_through = self.notifier.sent_through(client.key);
        client.joined = client.sent_through;
        client.told.clear();
        let newest = self.said.keys().next_back().copied();
        let membership = client.membership;
        for (id, said) in &self.said {
            let key = self.notifier.find(*id);
            let concerned = |key| self.notifier.concerns(key, client.key, membership);
            let is_told = !said.expired && said.is_told_to(*id, client);
            assert_eq!(key.is_some_and(concerned), is_told);
        }
        assert!(newest.is_none_or(|newest| newest == client.sent_through));
        Some(())
    }

    /// The client moves, or a subnet ends and another takes its place.
    fn change_groups(&mut self, at: usize, script: &mut Script<'_>) -> Option<()> {
        let draw = usize::from(script.byte()?);
        if draw >= 240 {
            let ended = &mut self.subnets[draw % 2];
            let next = Key::new(ended.index() as u32, ended.generation() + 1);
            let ended = core::mem::replace(ended, next);
            for client in &mut self.clients {
                client.membership.subnet = client.membership.subnet.filter(|key| *key != ended);
            }
        }
        self.clients[at].membership = Membership {
            subnet: self.subnets.get(draw % 3).copied(),
            site: SITES.get(draw / 3 % 3).copied(),
        };
        Some(())
    }

    /// Nobody is counted twice, and nobody is left out but where the ways with
    /// and without order were mixed.
    fn compare_sent(&self, status: Status, said: &Said) {
        let mut told = said.told_in_order.clone();
        told.extend(&said.told_loosely);
        told.extend(said.replies.iter().map(|(_, id, _)| id));
        assert!(status.sent as usize <= told.len(), "{status:?}");
        assert!(status.replied <= status.sent && status.sent <= status.targets);
        let many = match said.audience {
            Audience::Client(_) | Audience::All => status.replied,
            Audience::Subnet(_) | Audience::Site(_) => status.sent,
        };
        assert_eq!(status.targets, many.max(TARGETS));
        if self.said.values().all(|said| said.told_loosely.is_empty()) {
            let told = said.told_in_order.len().min(status.targets as usize);
            assert!(status.sent as usize >= told);
        }
    }

    fn compare(&self) {
        let kept = self.said.values().filter(|said| said.is_kept()).count();
        assert_eq!(self.notifier.len(), kept);
        assert_eq!(self.notifier.is_empty(), kept == 0);
        assert!(self.notifier.bytes() <= LIMITS.payloads_bytes_max + LIMITS.replies_bytes_max);
        assert!(self.notifier.replies_len() <= LIMITS.replies_max as usize);
        let alive = self.said.values().filter(|said| !said.expired);
        let earliest = alive.map(|said| fires_at(said.expires_at)).min();
        assert_eq!(self.notifier.poll_timeout(), earliest);
        for (id, said) in &self.said {
            let status = self.notifier.status(*id);
            assert_eq!(status.is_none(), said.expired);
            if let Some(status) = status {
                self.compare_sent(status, said);
                assert_eq!(status.replied as usize, said.replies.len());
                assert!(said.audience != Audience::All || status.replied <= status.sent);
                assert_eq!(status.expires_at, said.expires_at);
            }
            let replies = self.notifier.replies(*id);
            let replies: Vec<_> = replies.map(|reply| (reply.client, reply.payload)).collect();
            let expected = said.replies.iter().filter(|_| !said.expired);
            let expected: Vec<_> = expected.map(|(_, id, bytes)| (*id, &bytes[..])).collect();
            assert_eq!(replies, expected);
            for (place, (client, _)) in replies.iter().enumerate() {
                let behind = self.notifier.replies_behind(*id, Some(*client));
                let behind: Vec<_> = behind.map(|reply| (reply.client, reply.payload)).collect();
                assert_eq!(behind, replies[place + 1..]);
            }
            let stranger = self.notifier.replies_behind(*id, Some(ClientId([99; 16])));
            assert_eq!(stranger.count(), replies.len());
        }
        for client in &self.clients {
            let all = self.said.keys().copied();
            for after in all.chain([NotificationId(0), client.sent_through]) {
                let pending = self.notifier.pending(client.key, client.membership, after);
                let pending = pending.map(|(_, id)| id);
                let behind = self.said.iter().filter(|(id, _)| **id > after);
                let mut behind =
                    behind.filter(|(id, said)| !said.expired && said.is_told_to(**id, client));
                assert_eq!(pending, behind.next().map(|(id, _)| *id));
            }
        }
    }
}

impl Said {
    /// One that expired stays until the connections that write it are done.
    fn is_kept(&self) -> bool {
        !self.expired || !self.writers.is_empty()
    }

    fn is_for(&self, client: &Client) -> bool {
        match self.audience {
            Audience::All => true,
            Audience::Client(key) => key == client.key,
            Audience::Subnet(key) => client.membership.subnet == Some(key),
            Audience::Site(site) => client.membership.site == Some(site),
        }
    }

    /// What was said to many before a client joined is not for it.
    fn is_told_to(&self, id: NotificationId, client: &Client) -> bool {
        self.is_for(client) && (!self.to_many() || client.joined < id)
    }

    const fn to_many(&self) -> bool {
        !matches!(self.audience, Audience::Client(_))
    }

    fn reply_bytes(&self) -> usize {
        self.replies.iter().map(|(_, _, bytes)| bytes.len()).sum()
    }
}
