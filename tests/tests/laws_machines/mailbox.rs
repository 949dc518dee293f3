//! A client's notifications and its replies.

use core::time::Duration;

use tautline_core::notify::{
    Handle, Mailbox, MailboxEffect, MailboxLimits, Order, Received, ReplyMisuse,
};
use tautline_core::wire::message;
use tautline_core::{Incarnation, Instant, NotificationId, Random};
use tautline_tests::Dice;
use tautline_tests::laws::{Census, Log, MachineCase, Misuse};

use super::{assert_lawful, census};

const LIMITS: MailboxLimits = MailboxLimits {
    notifications_max: 6,
    payload_bytes_max: 200,
    reply_bytes_max: 150,
    ahead_max: 5,
};

#[derive(Default)]
struct MailboxCase {
    /// Those that the application handles.
    handled: Vec<Handle>,
    /// Those that ended.
    ended: Option<Handle>,
    /// Those whose reply was sent.
    sent: Vec<(Handle, NotificationId)>,
    pinned: Option<Handle>,
    steadied: u64,
}

impl MailboxCase {
    fn receive(&mut self, mailbox: &mut Mailbox, now: Instant, dice: &mut Dice, log: &mut Log) {
        let payload = dice.bytes(205);
        let received = mailbox.handle_notification(
            now,
            &message::Notification {
                id: NotificationId(mailbox.seen().0 + dice.below(3)),
                lifetime_s: dice.below(60) as u32,
                reply_window_ms: dice.below(5_000) as u32,
                payload: &payload,
            },
            if dice.one_in(3) {
                Order::Loose
            } else {
                Order::InOrder
            },
        );
        log.event(&received);
        if let Received::New(handle) = received {
            self.handled.push(handle);
        }
    }

    fn send(&mut self, mailbox: &mut Mailbox, now: Instant, dice: &mut Dice, log: &mut Log) {
        let Some((handle, reply)) = mailbox.next_reply() else {
            return;
        };
        log.event(&reply);
        self.sent.push((handle, reply.notification));
        if self.pinned.is_none() && dice.one_in(3) {
            mailbox.pin(handle);
            self.pinned = Some(handle);
        }
        mailbox.handle_sent(now, handle);
    }
}

impl MachineCase for MailboxCase {
    type Machine = Mailbox;
    const NAME: &'static str = "mailbox";

    fn new(seed: u64) -> (Mailbox, Self) {
        let random = Random::from_seed(Dice::new(seed).seed());
        (Mailbox::new(LIMITS, random), Self::default())
    }

    fn act(&mut self, mailbox: &mut Mailbox, now: Instant, dice: &mut Dice, log: &mut Log) {
        match dice.below(10) {
            0..=3 => self.receive(mailbox, now, dice, log),
            4 | 5 => {
                if let Some(handle) = self.handled.pop() {
                    log.event(&mailbox.get(handle));
                    log.event(&mailbox.reply(now, handle, &dice.bytes(150)));
                    self.ended = Some(handle);
                }
            }
            6 => self.send(mailbox, now, dice, log),
            7 => {
                if let Some((_, id)) = self.sent.pop() {
                    mailbox.handle_taken(id);
                }
                if let Some(handle) = self.pinned.take() {
                    assert!(mailbox.reply_of(handle).is_some(), "it is being written");
                    mailbox.unpin(handle);
                }
            }
            8 => {
                mailbox.handle_way_lost();
                self.sent.clear();
            }
            _ => match self.handled.pop() {
                Some(handle) if dice.one_in(2) => mailbox.dismiss(handle),
                _ => mailbox.handle_incarnation(Incarnation(dice.below(2) as u32), None),
            },
        }
    }

    fn effect(&mut self, mailbox: &mut Mailbox, _: Instant, effect: MailboxEffect, log: &mut Log) {
        log.event(&effect);
        if let MailboxEffect::Expired(handle) = effect {
            assert_eq!(mailbox.get(handle), None);
            self.handled.retain(|&known| known != handle);
            self.ended = Some(handle);
        }
    }

    fn misuse(
        &mut self,
        mailbox: &mut Mailbox,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let told = match (self.handled.last(), self.ended) {
            (Some(&handled), _) if dice.one_in(2) => {
                let bytes_max = LIMITS.reply_bytes_max;
                let told = mailbox.reply(now, handled, &vec![0; bytes_max + 1]);
                told == Err(ReplyMisuse::TooLong { bytes_max })
            }
            (_, Some(ended)) => mailbox.reply(now, ended, b"late") == Err(ReplyMisuse::Gone),
            _ => return Ok(Misuse::None),
        };
        match told {
            true => Ok(Misuse::Refused),
            false => Err("a misuse was not refused as such".to_owned()),
        }
    }

    fn flood(&mut self, mailbox: &mut Mailbox, now: Instant, dice: &mut Dice, log: &mut Log) {
        self.receive(mailbox, now, dice, log);
        if dice.one_in(8) {
            self.act(mailbox, now, dice, log);
        }
    }

    fn census(&self, mailbox: &Mailbox) -> Vec<Census> {
        let live = |handle: &&Handle| mailbox.get(**handle).is_some();
        let (handled, max) = (self.handled.iter().filter(live).count(), 6);
        assert!(handled < max || !mailbox.has_room(), "full is a value");
        vec![census("notifications_max", handled, max)]
    }

    /// A notification, its reply and the relay's confirmation of that.
    fn steady(&mut self, mailbox: &mut Mailbox, now: Instant, dice: &mut Dice) -> bool {
        // While it warms up, as much as it ever will.
        self.steadied += 1;
        let warms_up = self.steadied < Self::STEADY_OPERATIONS / 2;
        let len = if warms_up { 100 } else { dice.index(101) };
        let received = mailbox.handle_notification(
            now,
            &message::Notification {
                id: NotificationId(mailbox.seen().0 + 1),
                lifetime_s: 2,
                reply_window_ms: dice.below(2_000) as u32,
                payload: &[1; 100][..len],
            },
            Order::InOrder,
        );
        if let Received::New(handle) = received
            && !dice.one_in(if warms_up { 2 } else { 8 })
        {
            let replied = mailbox.reply(now, handle, &[2; 100][..len]);
            assert_eq!(replied, Ok(()));
        }
        while let Some((handle, reply)) = mailbox.next_reply() {
            let id = reply.notification;
            mailbox.handle_sent(now, handle);
            if !dice.one_in(8) {
                mailbox.handle_taken(id);
            }
        }
        if dice.one_in(20) {
            mailbox.handle_way_lost();
        }
        true
    }
}

#[test]
fn the_mailbox_keeps_all_laws() {
    let tally = assert_lawful::<MailboxCase>(50);
    assert!(
        tally.misuses > 100 && tally.timeouts > 100 && tally.tables == 1 && tally.steady > 0,
        "{tally:?}"
    );
}

/// What a mailbox keeps is bounded by its time, too.
#[test]
fn a_mailbox_that_nobody_reads_empties_itself() {
    use tautline_core::Machine;
    let (mut mailbox, mut case) = MailboxCase::new(1);
    let (mut dice, mut log) = (Dice::new(1), Log::recording());
    for _ in 0..100 {
        case.receive(&mut mailbox, Instant::ORIGIN, &mut dice, &mut log);
    }
    assert!(!mailbox.has_room());
    mailbox.handle_timeout(Instant::ORIGIN + Duration::from_secs(3_600));
    let expired = core::iter::from_fn(|| mailbox.poll()).count();
    assert_eq!((expired, mailbox.has_room()), (6, true));
}
