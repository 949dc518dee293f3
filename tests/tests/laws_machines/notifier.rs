//! The relay's notifications and the replies to them.

use core::time::Duration;

use tautline_core::notify::{
    Audience, Membership, Notifier, NotifierEffect, NotifierLimits, NotifyOptions, Order,
    ReplyRefusal,
};
use tautline_core::{ClientId, Incarnation, Instant, Key, Machine, NotificationId, Random};
use tautline_tests::Dice;
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};

use super::{assert_lawful, census};

const CLIENTS_MAX: u32 = 4;
const LIMITS: NotifierLimits = NotifierLimits {
    notifications_max: 8,
    notifications_per_client_max: 5,
    notifications_per_group_max: 4,
    payload_bytes_max: 300,
    replies_max: 10,
    reply_bytes_max: 200,
    payloads_bytes_max: 750,
    replies_bytes_max: 750,
    lifetime_max: Duration::from_secs(100),
};

struct NotifierCase {
    newest: NotificationId,
    pinned: Vec<Key>,
    steadied: u64,
}

impl NotifierCase {
    fn id(&self, dice: &mut Dice) -> NotificationId {
        NotificationId(self.newest.0.saturating_sub(dice.below(6)))
    }

    fn notify(&mut self, notifier: &mut Notifier, now: Instant, dice: &mut Dice, log: &mut Log) {
        let (client, membership) = (client(dice).0, membership(dice));
        let audience = match (dice.below(4), membership.subnet, membership.site) {
            (0, _, _) => Audience::All,
            (1, Some(subnet), _) => Audience::Subnet(subnet),
            (2, _, Some(site)) => Audience::Site(site),
            _ => Audience::Client(client),
        };
        let options = NotifyOptions {
            lifetime: dice.span(Duration::from_secs(1)..Duration::from_secs(60)),
            reply_window: Duration::ZERO,
        };
        let told = notifier.notify(now, audience, &dice.bytes(310), options, CLIENTS_MAX);
        log.event(&told);
        self.newest = told.unwrap_or(self.newest);
    }

    /// A connection writes what is pending for a client, or begins to.
    fn send(&mut self, notifier: &mut Notifier, now: Instant, dice: &mut Dice, log: &mut Log) {
        let client = client(dice);
        notifier.handle_timeout(now);
        let after = notifier.sent_through(client.0);
        let Some((key, _)) = notifier.pending(client.0, membership(dice), after) else {
            return;
        };
        let message = notifier.message(key).expect("what is pending lives");
        log.event(&message);
        let lifetime_s = message.lifetime_s;
        let mut buf = [0; 400];
        let len = notifier.write_frame(key, lifetime_s, dice.below(3), &mut buf);
        log.bytes(0, &buf[..len]);
        notifier.handle_sent(client, key, Order::InOrder);
        if dice.one_in(4) {
            notifier.pin(key);
            self.pinned.push(key);
        }
    }
}

const IN_BOTH: Membership = Membership {
    subnet: Some(Key::new(1, 0)),
    site: Some(1),
};

fn membership(dice: &mut Dice) -> Membership {
    Membership {
        subnet: (dice.below(3) > 0).then(|| Key::new(dice.below(2) as u32, 0)),
        site: (dice.below(3) > 0).then(|| dice.below(2) as u16),
    }
}

fn client(dice: &mut Dice) -> (Key, ClientId) {
    let place = dice.below(CLIENTS_MAX.into()) as u8;
    (Key::new(place.into(), 0), ClientId([place; 16]))
}

impl MachineCase for NotifierCase {
    type Machine = Notifier;
    const NAME: &'static str = "notifier";

    fn new(seed: u64) -> (Notifier, Self) {
        let random = Random::from_seed(Dice::new(seed).seed());
        let notifier = Notifier::new(Incarnation(1), LIMITS, CLIENTS_MAX, random);
        let case = Self {
            newest: NotificationId(0),
            pinned: Vec::new(),
            steadied: 0,
        };
        (notifier, case)
    }

    fn act(&mut self, notifier: &mut Notifier, now: Instant, dice: &mut Dice, log: &mut Log) {
        match dice.below(10) {
            0..=3 => self.notify(notifier, now, dice, log),
            4 | 5 => {
                let (client, id) = (client(dice), self.id(dice));
                let told =
                    notifier.handle_reply(now, client, membership(dice), id, &dice.bytes(210));
                log.event(&told);
            }
            6 | 7 => self.send(notifier, now, dice, log),
            8 => {
                if let Some(key) = self.pinned.pop() {
                    notifier.unpin(key);
                } else {
                    notifier.handle_joined(client(dice).0);
                }
            }
            _ => {
                let id = self.id(dice);
                log.event(&notifier.status(id));
                log.event(&notifier.replies(id).collect::<Vec<_>>());
            }
        }
    }

    fn misuse(
        &mut self,
        notifier: &mut Notifier,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let options = NotifyOptions::default();
        let lifetime = match dice.below(3) {
            0 => Duration::ZERO,
            1 => LIMITS.lifetime_max + Duration::from_secs(1),
            _ => Duration::from_secs(1),
        };
        let (payload, reply_window) = (vec![0; 301], Duration::from_secs(2));
        let (of_one, to) = (Audience::Client(client(dice).0), client(dice));
        let refused = match dice.below(4) {
            0 => notifier.notify(now, of_one, &payload, options, 1).is_err(),
            1 => {
                let options = NotifyOptions {
                    lifetime,
                    reply_window,
                };
                notifier
                    .notify(now, Audience::All, b"", options, 1)
                    .is_err()
            }
            2 => {
                let id = NotificationId(self.newest.0 + 1);
                let told = notifier.handle_reply(now, to, Membership::default(), id, b"");
                told == Err(ReplyRefusal::Unknown)
            }
            _ => notifier
                .handle_reply(now, to, Membership::default(), self.newest, &payload)
                .is_err(),
        };
        match refused {
            true => Ok(Misuse::Refused),
            false => Err("a misuse was accepted".to_owned()),
        }
    }

    fn census(&self, notifier: &Notifier) -> Vec<Census> {
        let notifications_max = LIMITS.notifications_max as usize;
        let replies_max = LIMITS.replies_max as usize;
        vec![
            census("notifications_max", notifier.len(), notifications_max),
            census("replies_max", notifier.replies_len(), replies_max),
            census(
                "bytes_max",
                notifier.bytes(),
                LIMITS.payloads_bytes_max + LIMITS.replies_bytes_max,
            ),
        ]
    }

    /// A notification, its ways out and the replies; the oldest one expires.
    fn steady(&mut self, notifier: &mut Notifier, now: Instant, dice: &mut Dice) -> bool {
        // While it warms up, as much as it ever will, and at times nothing, so
        // that all of it ends.
        self.steadied += 1;
        let warms_up = self.steadied < Self::STEADY_OPERATIONS / 2;
        if warms_up && self.steadied % 100 > 80 {
            return true;
        }
        let seconds = match self.steadied < Self::STEADY_OPERATIONS / 4 {
            true => 3,
            false => 1 + dice.below(3),
        };
        let len = if warms_up { 75 } else { dice.index(76) };
        let options = NotifyOptions {
            lifetime: Duration::from_secs(seconds),
            reply_window: Duration::ZERO,
        };
        let audience = match dice.below(4) {
            0 => Audience::Subnet(Key::new(1, 0)),
            1 => Audience::Site(1),
            _ => Audience::Client(client(dice).0),
        };
        let told = notifier.notify(now, audience, &[1; 100][..len], options, 1);
        self.newest = told.unwrap_or(self.newest);
        for place in 0..CLIENTS_MAX {
            let client = (Key::new(place, 0), ClientId([place as u8; 16]));
            let after = notifier.sent_through(client.0);
            if let Some((key, _)) = notifier.pending(client.0, IN_BOTH, after) {
                let written = notifier.write_frame(key, 1, 0, &mut [0; 400]);
                assert!(written > 0);
                notifier.handle_sent(client, key, Order::InOrder);
            }
            // Repeated, foreign and full are answers as good as any.
            if warms_up || dice.one_in(2) {
                let reply = &[2; 100][..len];
                let _ = notifier.handle_reply(now, client, IN_BOTH, self.newest, reply);
            }
        }
        true
    }

    fn effect(
        &mut self,
        _: &mut Notifier,
        _: Instant,
        NotifierEffect::Expired(status): NotifierEffect,
        log: &mut Log,
    ) {
        log.event(&status);
    }
}

#[test]
fn the_notifier_keeps_all_laws() {
    let tally = assert_lawful::<NotifierCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.tables == 3 && tally.steady > 0,
        "{tally:?}"
    );
}
