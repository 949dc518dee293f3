//! What was said, and who may be told.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::{PAYLOAD_BYTES_MAX, World};
use crate::collections::model::Script;
use crate::notify::{NotifyError, NotifyOptions};
use crate::registration::{Qualifier, SubnetName};
use crate::relay::To;
use crate::wire::message::Notification;
use crate::{ClientId, NotificationId};

/// A notification as the model knows it.
pub(super) struct Said {
    pub(super) to: To,
    /// Who was registered then, and is still.
    pub(super) present: BTreeSet<ClientId>,
    pub(super) payload: Vec<u8>,
    lifetime: Duration,
    pub(super) replied: BTreeSet<ClientId>,
    pub(super) expired: bool,
}

impl Said {
    /// Whether it is for a client that was in these subnets.
    pub(super) fn includes(
        &self,
        client: ClientId,
        places: &BTreeMap<ClientId, Vec<SubnetName>>,
    ) -> bool {
        let mut places = places.get(&client).into_iter().flatten();
        match self.to {
            To::Client(only) => only == client,
            To::Subnet(name) => places.any(|place| *place == name),
            To::Site(site) => places.any(|place| place.qualifier == Qualifier::Site(site)),
            To::All => true,
        }
    }
}

impl World {
    pub(super) fn notify(&mut self, script: &mut Script<'_>) {
        let chosen = self.choose_known(script).map(|at| self.known[at].id);
        let record = chosen.and_then(|id| self.relay.client(id));
        let subnet = record.and_then(|record| self.relay.subnet_of(record));
        let to = match (script.byte().unwrap_or_default() % 8, chosen, subnet) {
            (0..3, Some(id), _) => To::Client(id),
            (3 | 4, _, Some(subnet)) => To::Subnet(subnet.name),
            (5, ..) => To::Site(0),
            _ => To::All,
        };
        let fill = script.byte().unwrap_or_default();
        let payload = match script.one_in(4) {
            true => vec![fill; PAYLOAD_BYTES_MAX + 1 - usize::from(fill & 1)],
            false => vec![fill; usize::from(fill & 31)],
        };
        let options = NotifyOptions {
            lifetime: Duration::from_secs(script.number(16).unwrap_or(60)),
            reply_window: Duration::from_secs(script.number(4).unwrap_or_default()),
        };
        let before = self.relay.stats();
        let unknown = matches!(to, To::Client(id) if self.relay.client(id).is_none());
        match self.relay.notify(self.now, to, &payload, options) {
            Ok(id) => {
                assert!(!unknown);
                assert!(self.said.keys().next_back().is_none_or(|last| *last < id));
                let said = Said {
                    to,
                    present: self.registered.clone(),
                    payload,
                    lifetime: options.lifetime,
                    replied: BTreeSet::new(),
                    expired: false,
                };
                self.said.insert(id, said);
            }
            Err(why) => {
                assert_eq!(why == NotifyError::UnknownClient, unknown, "{why}");
                let after = self.relay.stats();
                assert_eq!(before.notifications_alive, after.notifications_alive);
                assert_eq!(before.notifications, after.notifications);
            }
        }
    }

    /// A notification is what was said, and for this client.
    pub(super) fn check(&self, client: ClientId, notification: &Notification<'_>) {
        let said = self.told_of(client, notification.id);
        assert_eq!(said.payload, notification.payload);
        assert!(u64::from(notification.lifetime_s) <= said.lifetime.as_secs());
    }

    /// What was said under a number that the client is told of.
    pub(super) fn told_of(&self, client: ClientId, id: NotificationId) -> &Said {
        let said = self.said.get(&id).expect("it was said");
        assert!(said.includes(client, &self.places), "a foreign one");
        said
    }
}
