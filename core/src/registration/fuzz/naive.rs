//! A registry that is a list: it remembers no number that it can count.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::{
    Admission, CONNECTIONS_MAX, ConnectRefusal, INCARNATION, MASTER, MISSED_MAX, NEWCOMER_LIFE,
    PERIOD, Registry, RegistryEffect, Request,
};
use crate::collections::model::fires_at;
use crate::registration::{Qualifier, ReleaseReason, SubnetName};
use crate::wire::proof::{Session, SessionKey};
use crate::{ClientId, ConnId, Instant, Key, Machine, Network};

/// The figures of the seed: the wait, three delays, four attempts, and 10 s.
const GRANT_LIFE: Duration = Duration::from_secs(60 + 3 * 180 + 4 * 20 + 10);
const TESTS_S: [u64; 3] = [1, 10, 20];

/// Where a registration comes from, and what it wishes.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) observed: IpAddr,
    subnet: SubnetName,
    connection: bool,
    udp_port: u16,
}

impl Wish {
    pub(super) fn of(request: &Request<'_>, observed: IpAddr) -> Self {
        let own = |wanted: IpAddr| {
            let mut interfaces = request.interfaces.iter();
            interfaces.find(|own| own.address.to_canonical() == wanted)
        };
        let direct = own(observed).is_some();
        let used = if direct {
            Some(observed)
        } else {
            request.local
        };
        let used = used
            .map(|used| used.to_canonical())
            .filter(|used| match used {
                IpAddr::V4(used) if used.is_loopback() => observed.is_loopback(),
                IpAddr::V4(used) => {
                    !(used.is_link_local()
                        || used.is_multicast()
                        || used.is_unspecified()
                        || used.is_broadcast())
                }
                // From the script come IPv4 addresses alone, from noise nothing
                // that long.
                IpAddr::V6(_) => false,
            });
        let fitting = used.and_then(own);
        let network = fitting.map(|own| Network::of(own.address, own.prefix).unwrap());
        let at_site = [IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 3])];
        let qualifier = if at_site.contains(&observed) {
            Qualifier::Site(0)
        } else if direct && network.is_some() {
            Qualifier::Direct
        } else {
            Qualifier::Behind(observed)
        };
        Self {
            observed,
            subnet: SubnetName {
                qualifier,
                network: network.unwrap_or_else(|| Network::single(observed)),
            },
            connection: request.persistent_connection,
            udp_port: request.udp_port,
        }
    }
}

#[derive(Clone, Copy)]
struct Grant {
    since: Instant,
    tests: usize,
}

impl Grant {
    fn ends_at(&self) -> Instant {
        self.since + GRANT_LIFE
    }

    fn due(&self) -> Instant {
        let test = TESTS_S.get(self.tests).copied().map(Duration::from_secs);
        test.map_or_else(|| self.ends_at(), |test| self.since + test)
    }
}

/// A registered client.
pub(super) struct Listed {
    pub(super) client: Key,
    pub(super) id: ClientId,
    pub(super) registration: u64,
    pub(super) key: SessionKey,
    /// Counters that were used under the key.
    pub(super) used: Vec<u64>,
    pub(super) datagrams: u64,
    pub(super) wish: Wish,
    /// It has used a key that it was given, or came again by its identity
    /// that it was given in this run, from where it was then.
    proven: bool,
    /// It was proven at any time.
    settled: bool,
    registered_at: Instant,
    /// It was given its identity, and is not proven.
    pub(super) newcomer: bool,
    pub(super) connection: Option<ConnId>,
    /// What its tests carry, once one was sent.
    pub(super) nonce: Option<u64>,
    grant: Option<Grant>,
    /// Where its connection and its grant count.
    counted: Wish,
    /// Why its connection shall end, and whether that was told.
    released: Option<(ReleaseReason, bool)>,
    grant_ended: bool,
    udp_proven: bool,
    /// The last two different starts, the newest first.
    instances: Vec<[u8; 8]>,
    expires_at: Instant,
}

impl Listed {
    pub(super) fn is_copy(&self, request: &Request<'_>) -> bool {
        request.instance.map(|instance| instance.0) == self.instances.get(1).copied()
            && request.instance.is_some()
    }

    /// A newcomer's life gets its whole length when it proves itself.
    pub(super) fn prove(&mut self) {
        (self.newcomer, self.proven, self.settled) = (false, true, true);
        self.expires_at = self.expires_at.max(self.registered_at + self.life());
    }

    fn life(&self) -> Duration {
        let life = PERIOD * MISSED_MAX + PERIOD / 10;
        if self.settled { life } else { NEWCOMER_LIFE }
    }

    fn holds(&self) -> bool {
        self.connection.is_some() || self.grant.is_some()
    }

    pub(super) fn may_connect(&self, now: Instant) -> Result<(), ConnectRefusal> {
        let granted = self.grant.is_some_and(|grant| now < grant.ends_at());
        if granted || self.connection.is_some() && self.released.is_none() {
            Ok(())
        } else if self.grant.is_some() || self.grant_ended {
            Err(ConnectRefusal::GrantEnded)
        } else if self.udp_proven {
            Err(ConnectRefusal::UdpProven)
        } else {
            Err(ConnectRefusal::NotGranted)
        }
    }

    pub(super) fn connect(&mut self, conn: ConnId) -> Option<ConnId> {
        (self.grant, self.released) = (None, None);
        self.connection.replace(conn)
    }

    pub(super) fn disconnect(&mut self, conn: ConnId) -> bool {
        let open = self.connection == Some(conn);
        if open {
            (self.connection, self.released) = (None, None);
            self.forget_tests();
        }
        open
    }

    pub(super) fn prove_test(&mut self, nonce: u64) -> bool {
        let right = self.holds() && self.nonce == Some(nonce);
        if right {
            self.udp_proven = true;
            self.release(ReleaseReason::UdpProven);
        }
        right
    }

    fn release(&mut self, why: ReleaseReason) {
        self.grant = None;
        if self.connection.is_some() && self.released.is_none() {
            self.released = Some((why, false));
        }
        self.forget_tests();
    }

    /// Who holds nothing has no test under way.
    fn forget_tests(&mut self) {
        if !self.holds() {
            self.nonce = None;
        }
    }

    fn note_instance(&mut self, request: &Request<'_>) {
        if let Some(instance) = request.instance
            && self.instances.first() != Some(&instance.0)
        {
            self.instances.insert(0, instance.0);
            self.instances.truncate(2);
        }
    }
}

pub(super) struct Naive {
    pub(super) list: Vec<Listed>,
    caps: (usize, usize),
}

impl Naive {
    pub(super) fn new((subnet, address): (u32, u32)) -> Self {
        let cap = |cap: u32| if cap == 0 { usize::MAX } else { cap as usize };
        Self {
            list: Vec::new(),
            caps: (cap(subnet), cap(address)),
        }
    }

    pub(super) fn choose(&mut self, draw: usize) -> Option<&mut Listed> {
        let len = self.list.len().max(1);
        self.list.get_mut(draw % len)
    }

    pub(super) fn of_id(&mut self, id: ClientId) -> &mut Listed {
        let listed = self.list.iter_mut().find(|listed| listed.id == id);
        listed.expect("a client of the list")
    }

    fn of(&mut self, client: Key) -> &mut Listed {
        let mut list = self.list.iter_mut();
        list.find(|listed| listed.client == client)
            .expect("a client of the list")
    }

    /// Takes an admitted registration over, and judges the verdict.
    pub(super) fn register(
        &mut self,
        now: Instant,
        admission: &Admission,
        request: &Request<'_>,
        wish: Wish,
    ) {
        let id = admission.answer.client;
        let reason = self.reason(id, &wish);
        let verdict = admission.answer.persistent_connection.as_ref().unwrap();
        assert_eq!(verdict.reason.as_deref(), reason);
        let session = Session {
            client: id,
            registration: request.registration,
            incarnation: INCARNATION,
            nonce: admission.answer.nonce.0,
        };
        let fresh = Listed {
            client: admission.client,
            id,
            registration: request.registration,
            key: MASTER.client_secret(id).session_key(&session),
            used: Vec::new(),
            datagrams: 0,
            wish,
            proven: false,
            settled: false,
            registered_at: now,
            newcomer: admission.answer.secret.is_some(),
            connection: None,
            nonce: None,
            grant: None,
            counted: wish,
            released: None,
            grant_ended: false,
            udp_proven: false,
            instances: Vec::new(),
            expires_at: now,
        };
        let known = self.list.iter().position(|listed| listed.id == id);
        let mut listed = match known {
            None => fresh,
            Some(at) => {
                let old = self.list.swap_remove(at);
                let address =
                    |wish: &Wish| (wish.udp_port != 0).then_some((wish.observed, wish.udp_port));
                assert_eq!(old.client, admission.client, "the handle stays");
                Listed {
                    connection: old.connection,
                    nonce: old.nonce,
                    grant: old.grant,
                    counted: old.counted,
                    released: old.released,
                    instances: old.instances,
                    proven: (old.proven || old.newcomer) && old.wish.observed == wish.observed,
                    settled: old.settled || old.newcomer,
                    expires_at: old.expires_at,
                    udp_proven: old.udp_proven && address(&old.wish) == address(&wish),
                    ..fresh
                }
            }
        };
        listed.note_instance(request);
        listed.expires_at = listed.expires_at.max(now + listed.life());
        match reason {
            Some(_) => listed.release(ReleaseReason::Denied),
            None => {
                let tests = if wish.udp_port == 0 { TESTS_S.len() } else { 0 };
                listed.grant = Some(Grant { since: now, tests });
                (listed.counted, listed.nonce) = (wish, None);
                // Who was not told to end its connection keeps it.
                listed.released = listed.released.filter(|(_, told)| *told);
            }
        }
        self.list.push(listed);
    }

    fn reason(&self, id: ClientId, wish: &Wish) -> Option<&'static str> {
        let holding = self.list.iter();
        let others: Vec<_> = holding
            .filter(|listed| listed.id != id && listed.holds())
            .map(|listed| listed.counted)
            .collect();
        let near = |is_near: &dyn Fn(&Wish) -> bool| others.iter().filter(|at| is_near(at)).count();
        if !wish.connection {
            Some("not_asked")
        } else if others.len() >= CONNECTIONS_MAX {
            Some("total_cap")
        } else if near(&|at| at.subnet == wish.subnet) >= self.caps.0 {
            Some("subnet_cap")
        } else if near(&|at| at.observed == wish.observed) >= self.caps.1 {
            Some("address_cap")
        } else {
            None
        }
    }

    pub(super) fn handle_effect(&mut self, now: Instant, effect: RegistryEffect) {
        match effect {
            RegistryEffect::Forgotten { client, id } => {
                let at = self.list.iter().position(|listed| listed.id == id);
                let listed = self.list.swap_remove(at.unwrap());
                assert!(listed.client == client && listed.connection.is_none());
                assert!(listed.expires_at <= now, "forgotten too early");
            }
            RegistryEffect::Test { client, nonce } => {
                let listed = self.of(client);
                let grant = listed.grant.as_mut().expect("a grant that is tested");
                assert!(grant.due() <= now && now < grant.ends_at());
                let over = |after: &&u64| grant.since + Duration::from_secs(**after) <= now;
                let over = TESTS_S.iter().filter(over).count();
                assert!(over > grant.tests);
                grant.tests = over;
                let known = *listed.nonce.get_or_insert(nonce);
                assert!(known == nonce && nonce != 0);
            }
            RegistryEffect::GrantEnded { client } => {
                let listed = self.of(client);
                let grant = listed.grant.take().expect("a grant that ends");
                assert!(grant.ends_at() <= now);
                listed.grant_ended = true;
                listed.forget_tests();
            }
            RegistryEffect::Release { client, conn, why } => {
                let listed = self.of(client);
                assert_eq!(listed.connection, Some(conn));
                assert_eq!(listed.released, Some((why, false)));
                listed.released = Some((why, true));
            }
        }
    }

    /// Whatever is due was told.
    pub(super) fn check_drained(&mut self, now: Instant) {
        for listed in &mut self.list {
            assert!(listed.released.is_none_or(|(_, told)| told));
            assert!(listed.grant.is_none_or(|grant| fires_at(grant.due()) > now));
            if fires_at(listed.expires_at) <= now {
                assert!(listed.connection.is_some(), "not forgotten in time");
                listed.expires_at = now + listed.life();
            }
        }
    }

    pub(super) fn compare(&self, registry: &mut Registry, now: Instant) {
        let count =
            |is: &dyn Fn(&Listed) -> bool| self.list.iter().filter(|listed| is(listed)).count();
        let counts = registry.counts();
        assert_eq!(
            (registry.len(), counts.clients),
            (self.list.len(), self.list.len())
        );
        assert_eq!(registry.is_empty(), self.list.is_empty());
        assert_eq!(counts.newcomers, count(&|listed| listed.newcomer));
        assert_eq!(
            counts.connected,
            count(&|listed| listed.connection.is_some())
        );
        let waits = |listed: &Listed| listed.grant.is_some() && listed.connection.is_none();
        assert_eq!(counts.granted, count(&waits));
        self.compare_deadline(registry);
        for listed in &self.list {
            assert_eq!(registry.find(listed.id), Some(listed.client));
            let record = registry.get(listed.client).unwrap();
            assert_eq!(record.id, listed.id);
            assert_eq!(record.is_connected(), listed.connection.is_some());
            assert_eq!(registry.connection(listed.client), listed.connection);
            assert_eq!(record.is_udp_proven(), listed.udp_proven);
            assert_eq!(record.is_proven(), listed.proven);
            assert_eq!(record.observed(), listed.wish.observed);
            let may = registry.may_connect(listed.client);
            assert_eq!(may, listed.may_connect(now));
        }
        self.compare_subnets(registry);
        let (mut place, mut seen) = (0, 0);
        while let Some((client, _)) = registry.next_from(place) {
            (place, seen) = (client.index() + 1, seen + 1);
        }
        assert_eq!(seen, self.list.len());
    }

    /// It may be early after a timer was moved, and never late.
    fn compare_deadline(&self, registry: &Registry) {
        let lives = self.list.iter().map(|listed| fires_at(listed.expires_at));
        let grants = self.list.iter().filter_map(|listed| listed.grant);
        let earliest = lives.chain(grants.map(|grant| fires_at(grant.due()))).min();
        let deadline = registry.poll_timeout();
        assert!(deadline.is_some() == earliest.is_some() && deadline <= earliest);
    }

    fn compare_subnets(&self, registry: &mut Registry) {
        let mut names: Vec<SubnetName> = Vec::new();
        for listed in &self.list {
            if !names.contains(&listed.wish.subnet) {
                names.push(listed.wish.subnet);
            }
        }
        assert_eq!(registry.subnets_len(), names.len());
        let subnets = core::iter::successors(registry.next_subnet_from(0), |subnet| {
            registry.next_subnet_from(subnet.key.index() + 1)
        });
        assert_eq!(subnets.count(), names.len());
        for name in names {
            let subnet = registry
                .subnet(registry.find_subnet(name).unwrap())
                .unwrap();
            assert_eq!(subnet.name, name);
            let members = self.list.iter().filter(|listed| listed.wish.subnet == name);
            let members: Vec<_> = members.map(|listed| listed.client).collect();
            check_members(registry, subnet.key, members);
            let held = self.list.iter().filter(|listed| listed.holds());
            let held: Vec<_> = held
                .filter(|listed| listed.counted.subnet == name)
                .collect();
            let connected = held.iter().filter(|listed| listed.connection.is_some());
            let connected = connected.count();
            assert_eq!(
                (subnet.connected, subnet.granted),
                (connected, held.len() - connected)
            );
            assert!(held.len() <= self.caps.0, "the cap is broken");
        }
        let at_site = |listed: &&Listed| listed.wish.subnet.qualifier == Qualifier::Site(0);
        let members = self.list.iter().filter(at_site);
        assert_eq!(registry.clients_at_site(0), members.count());
    }
}

/// A walk comes to each of them, once.
fn check_members(registry: &mut Registry, subnet: Key, mut expected: Vec<Key>) {
    registry.begin_walk(subnet);
    let mut told = Vec::new();
    while let Some(member) = registry.walked_member(subnet) {
        told.push(member);
        registry.pass_member(subnet);
    }
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}
