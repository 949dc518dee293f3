//! A relay and its clients as applications of the world, for scenarios.
//!
//! They hold what must never happen: that a reply is taken twice, a
//! notification handed over twice, an identity changed, a subnet's cap
//! exceeded.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use tautline_core::client::{self, Client, RelayAddress};
use tautline_core::heartbeat::Rule;
use tautline_core::notify::{NotifyError, NotifyOptions};
use tautline_core::registration::SubnetName;
use tautline_core::relay::{self, Relay, To};
use tautline_core::wire::proof::MasterKey;
use tautline_core::{ClientId, ConnId, Incarnation, Instant, NotificationId};

use super::{App, Boot, NodeId};

/// Where a relay listens.
pub const PORT: u16 = 52_311;

/// The relay of this name, as its clients are told.
pub fn relay_address(name: &str) -> RelayAddress {
    RelayAddress {
        host: name.into(),
        port: PORT,
        tls: true,
    }
}

/// The settings of a relay in this life: its key is in its folder, and survives
/// it. Relays of one fleet have different numbers.
pub fn relay_settings(boot: &Boot) -> relay::Settings {
    let number = boot.life << 8 | boot.node.number() as u32 & 0xff;
    relay::Settings::new(MasterKey([7; 32]), Incarnation(number))
}

/// What was told of persistent connections at both of their ends, over all lives
/// of the nodes that note it.
pub type Journal = Rc<RefCell<Vec<Entry>>>;

/// Something that was told of a client's persistent connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// At which end.
    pub node: NodeId,
    /// Whose it is.
    pub client: ClientId,
    /// What.
    pub told: Told,
}

/// What an end tells of a persistent connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is open.
    Connected,
    /// A heartbeat ends it.
    Silent(Duration, Rule),
    /// It is gone, for this reason.
    Gone(String),
}

/// Whose journal an application writes.
struct Notes {
    node: NodeId,
    journal: Journal,
}

impl Notes {
    fn add(notes: Option<&Self>, at: Instant, client: Option<ClientId>, told: Told) {
        if let (Some(Self { node, journal }), Some(client)) = (notes, client) {
            journal.borrow_mut().push(Entry {
                at,
                node: *node,
                client,
                told,
            });
        }
    }
}

/// A relay.
pub struct RelayApp {
    /// The relay.
    pub relay: Relay,
    lines_max: usize,
    lines_per_subnet_max: usize,
    lines: Lines,
    replied: BTreeSet<(NotificationId, ClientId)>,
    registrations: Vec<(ClientId, Instant)>,
    notes: Option<Notes>,
    /// It was drained: the daemon ends and is started again.
    over: bool,
}

impl RelayApp {
    /// The relay of a node's life.
    pub fn boot(boot: &Boot, settings: relay::Settings, limits: relay::Limits) -> Self {
        let most = match settings.registry.connections_per_subnet_max {
            0 => usize::MAX,
            most => most as usize,
        };
        Self {
            lines_max: settings.registry.connections_max as usize,
            lines_per_subnet_max: most,
            relay: Relay::new(settings, limits, boot.seed),
            lines: Lines::default(),
            replied: BTreeSet::new(),
            registrations: Vec::new(),
            notes: None,
            over: false,
        }
    }

    /// Notes what happens to persistent connections.
    #[must_use]
    pub fn noting(mut self, boot: &Boot, journal: &Journal) -> Self {
        self.notes = Some(Notes {
            node: boot.node,
            journal: Rc::clone(journal),
        });
        self
    }

    /// Tells something.
    ///
    /// # Errors
    /// As [`Relay::notify`].
    pub fn notify(
        &mut self,
        now: Instant,
        to: To,
        options: NotifyOptions,
    ) -> Result<NotificationId, NotifyError> {
        self.relay.notify(now, to, b"ping", options)
    }

    /// Whose registrations were taken in this life, and when.
    pub fn registrations(&self) -> &[(ClientId, Instant)] {
        &self.registrations
    }

    /// Whether the client replied, as far as this life knows.
    pub fn has_reply(&self, notification: NotificationId, client: ClientId) -> bool {
        self.replied.contains(&(notification, client))
    }

    /// Clients in each subnet, and those of them that are connected, counted
    /// one by one over the relay's records.
    pub fn recount(&self) -> HashMap<SubnetName, Recount> {
        let mut counts: HashMap<SubnetName, Recount> = HashMap::new();
        let mut place = 0;
        while let Some((at, record)) = self.relay.client_from(place) {
            place = at + 1;
            let subnet = self.relay.subnet_of(record).expect("it has a client");
            let count = counts.entry(subnet.name).or_default();
            count.clients += 1;
            count.connected += usize::from(record.is_connected());
            count.reached += usize::from(record.is_udp_proven());
        }
        counts
    }
}

/// What there is in a subnet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    /// Clients that are registered.
    pub clients: usize,
    /// Of them, those with a persistent connection.
    pub connected: usize,
    /// Of them, those that the relay's own datagrams reach.
    pub reached: usize,
}

impl App for RelayApp {
    type Endpoint = Relay;

    fn endpoint(&mut self) -> &mut Relay {
        &mut self.relay
    }

    fn on_event(&mut self, now: Instant, event: relay::Event) {
        match event {
            relay::Event::Replied {
                notification,
                client,
            } => {
                let first = self.replied.insert((notification, client));
                assert!(first, "{client} replied to {notification} twice");
            }
            relay::Event::Registered { client, .. } => self.registrations.push((client, now)),
            relay::Event::HeartbeatEnded {
                client,
                silent_for,
                rule,
                ..
            } => {
                let told = Told::Silent(silent_for, rule);
                Notes::add(self.notes.as_ref(), now, Some(client), told);
            }
            relay::Event::Connected { client, conn } => {
                Notes::add(self.notes.as_ref(), now, Some(client), Told::Connected);
                let record = self.relay.client(client);
                if let Some(subnet) = record.and_then(|record| self.relay.subnet_of(record)) {
                    let lines = self.lines.open(client, conn, subnet.name);
                    let most = self.lines_per_subnet_max;
                    assert!(lines <= most, "p5: {lines} lines into {:?}", subnet.name);
                    let lines = self.lines.by_client.len();
                    assert!(lines <= self.lines_max, "p5: {lines} lines in all");
                }
            }
            relay::Event::Disconnected { client, conn, why } => {
                let told = Told::Gone(why.into());
                Notes::add(self.notes.as_ref(), now, Some(client), told);
                self.lines.close(client, conn);
            }
            relay::Event::Drained => self.over = true,
            _ => {}
        }
    }

    fn exits(&self) -> bool {
        self.over
    }
}

/// The persistent connections, by what the relay tells of them.
#[derive(Default)]
struct Lines {
    by_client: HashMap<ClientId, (ConnId, SubnetName)>,
    by_subnet: HashMap<SubnetName, usize>,
}

impl Lines {
    /// How many clients of the subnet are connected now.
    fn open(&mut self, client: ClientId, conn: ConnId, subnet: SubnetName) -> usize {
        if let Some((_, before)) = self.by_client.insert(client, (conn, subnet)) {
            *self.by_subnet.entry(before).or_default() -= 1;
        }
        let lines = self.by_subnet.entry(subnet).or_default();
        *lines += 1;
        *lines
    }

    fn close(&mut self, client: ClientId, conn: ConnId) {
        let known = self.by_client.get(&client);
        if let Some(&(_, subnet)) = known.filter(|(known, _)| *known == conn) {
            self.by_client.remove(&client);
            *self.by_subnet.entry(subnet).or_default() -= 1;
        }
    }
}

/// The identity that a client's machine was given, over all its lives.
pub type Memory = Rc<Cell<Option<ClientId>>>;

/// A client, which answers whatever it is told.
pub struct ClientApp {
    /// The client.
    pub client: Client,
    memory: Memory,
    heard: BTreeSet<NotificationId>,
    notes: Option<Notes>,
    /// Its identity could not be read, or it was stopped: the agent ends and is
    /// started again.
    over: bool,
}

impl ClientApp {
    /// The client of a node's life.
    pub fn boot(
        boot: &Boot,
        settings: client::Settings,
        limits: client::Limits,
        memory: &Memory,
    ) -> Self {
        Self {
            client: Client::new(settings, limits, boot.seed),
            memory: Rc::clone(memory),
            heard: BTreeSet::new(),
            notes: None,
            over: false,
        }
    }

    /// Notes what happens to the persistent connection.
    #[must_use]
    pub fn noting(mut self, boot: &Boot, journal: &Journal) -> Self {
        self.notes = Some(Notes {
            node: boot.node,
            journal: Rc::clone(journal),
        });
        self
    }

    fn note(&self, now: Instant, told: Told) {
        Notes::add(self.notes.as_ref(), now, self.memory.get(), told);
    }

    /// Whether the notification was handed over in this life.
    pub fn has_heard(&self, notification: NotificationId) -> bool {
        self.heard.contains(&notification)
    }
}

impl App for ClientApp {
    type Endpoint = Client;

    fn endpoint(&mut self) -> &mut Client {
        &mut self.client
    }

    fn on_event(&mut self, now: Instant, event: client::Event) {
        match event {
            client::Event::Registered { client, .. } => {
                let before = self.memory.replace(Some(client));
                let same = before.is_none_or(|before| before == client);
                assert!(same, "{before:?} became {client}");
            }
            client::Event::Notification {
                notification, id, ..
            } => {
                assert!(self.heard.insert(id), "{id} was handed over twice");
                let told = self.client.notification(notification);
                assert_eq!(told, Some((id, b"ping".as_slice())));
                let replied = self.client.reply(now, notification, b"pong");
                assert!(replied.is_ok(), "{replied:?}");
            }
            client::Event::Connected => self.note(now, Told::Connected),
            client::Event::HeartbeatEnded { silent_for, rule } => {
                self.note(now, Told::Silent(silent_for, rule));
            }
            client::Event::Disconnected { why } => self.note(now, Told::Gone(why.to_string())),
            client::Event::StorageFailed { .. } => self.over = self.client.id().is_none(),
            client::Event::IdentityUnavailable { .. } | client::Event::Stopped => self.over = true,
            client::Event::IdentityUnreadable => panic!("a crash spoilt the identity"),
            _ => {}
        }
    }

    fn exits(&self) -> bool {
        self.over
    }
}
