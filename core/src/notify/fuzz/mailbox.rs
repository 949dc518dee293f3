//! The client's side against a list.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::collections::model::{Script, fires_at};
use crate::notify::{Handle, Mailbox, MailboxEffect, MailboxLimits, Order, Received, ReplyMisuse};
use crate::wire::message::Notification;
use crate::{Incarnation, Instant, Machine, NotificationId, Random};

const RESEND: Duration = Duration::from_secs(60);
const LIMITS: MailboxLimits = MailboxLimits {
    notifications_max: 3,
    payload_bytes_max: 20,
    reply_bytes_max: 30,
    ahead_max: 3,
};

/// Any bytes as operations on a mailbox.
pub fn mailbox(data: &[u8]) {
    let mut pair = Pair {
        mailbox: Mailbox::new(LIMITS, Random::from_seed([5; 32])),
        list: Vec::new(),
        seen: NotificationId(0),
        ahead: BTreeSet::new(),
        run: Incarnation(0),
        left: Vec::new(),
        handed_out: BTreeSet::new(),
        now: Instant::ORIGIN,
        old: Vec::new(),
    };
    let _ = pair.run(&mut Script(data));
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handling,
    /// The reply leaves at a moment that only the mailbox knows.
    Replied,
    Sent,
}

struct Listed {
    handle: Handle,
    id: NotificationId,
    /// The payload, then the reply.
    bytes: Vec<u8>,
    expires_at: Instant,
    reply_window: Duration,
    /// By when the reply is due; it is known when there is one.
    due_by: Option<Instant>,
    stage: Stage,
    /// When it is due again, since it was sent or refused.
    again_at: Option<Instant>,
    pinned: bool,
    gone: bool,
}

struct Pair {
    mailbox: Mailbox,
    list: Vec<Listed>,
    seen: NotificationId,
    /// Those above `seen` that came out of order.
    ahead: BTreeSet<NotificationId>,
    run: Incarnation,
    /// The four runs before it, the last one last: how far the client came, and
    /// what came out of order.
    left: Vec<(Incarnation, NotificationId, BTreeSet<NotificationId>)>,
    /// Of the runs that are remembered.
    handed_out: BTreeSet<NotificationId>,
    now: Instant,
    old: Vec<Handle>,
}

impl Pair {
    fn run(&mut self, script: &mut Script<'_>) -> Option<()> {
        loop {
            match script.byte()? % 10 {
                0..3 => self.receive(script)?,
                3 | 4 => self.reply(script)?,
                5 => self.send(script)?,
                6 => self.taken(script)?,
                7 => self.pass_time(script)?,
                8 => self.unpin(script)?,
                _ => self.rest(script)?,
            }
            self.compare();
        }
    }

    fn receive(&mut self, script: &mut Script<'_>) -> Option<()> {
        let id = match script.byte()? {
            0 => NotificationId(script.number(64)?),
            step => NotificationId(self.seen.0.saturating_add(u64::from(step % 4))),
        };
        let payload = vec![script.byte()?; usize::from(script.byte()? % 23)];
        let message = Notification {
            id,
            lifetime_s: script.number(10)? as u32,
            reply_window_ms: script.number(14)? as u32,
            payload: &payload,
        };
        let order = match script.one_in(2) {
            true => Order::Loose,
            false => Order::InOrder,
        };
        let known = self.knows(id);
        let too_long = payload.len() > LIMITS.payload_bytes_max;
        let full = self.list.len() == LIMITS.notifications_max as usize;
        let crowded = order == Order::Loose && self.ahead.len() == LIMITS.ahead_max as usize;
        let received = self.mailbox.handle_notification(self.now, &message, order);
        match received {
            Received::New(handle) => {
                assert!(!known && !too_long && !full && !crowded);
                assert!(self.handed_out.insert(id), "handed out twice");
                assert!(!self.list.iter().any(|listed| listed.handle == handle));
                assert!(!self.old.contains(&handle));
                let lifetime = Duration::from_secs(message.lifetime_s.max(1).into());
                let reply_window = Duration::from_millis(message.reply_window_ms.into());
                self.list.push(Listed {
                    handle,
                    id,
                    bytes: payload.clone(),
                    expires_at: self.now + lifetime,
                    reply_window,
                    due_by: None,
                    stage: Stage::Handling,
                    again_at: None,
                    pinned: false,
                    gone: false,
                });
            }
            Received::Known => assert!(known),
            Received::TooLong => assert!(!known && too_long),
            Received::Full => assert!(!known && !too_long && full),
            Received::OutOfOrder => assert!(!known && !too_long && !full && crowded),
        }
        if !matches!(received, Received::Full | Received::OutOfOrder) {
            match order {
                Order::InOrder => self.seen = self.seen.max(id),
                Order::Loose if crowded => {}
                Order::Loose => _ = self.ahead.insert(id),
            }
        }
        self.ahead.retain(|id| *id > self.seen);
        Some(())
    }

    fn reply(&mut self, script: &mut Script<'_>) -> Option<()> {
        let handle = self.choose(script)?;
        let payload = vec![script.byte()?; usize::from(script.byte()? % 33)];
        let now = self.now;
        let found = self.list.iter_mut().find(|listed| listed.handle == handle);
        let found = found.filter(|listed| listed.stage == Stage::Handling);
        match self.mailbox.reply(now, handle, &payload) {
            Ok(()) => {
                let listed = found.expect("it is handled");
                assert!(payload.len() <= LIMITS.reply_bytes_max);
                listed.stage = Stage::Replied;
                listed.due_by = Some(now + listed.reply_window);
                listed.bytes = payload;
            }
            Err(ReplyMisuse::Gone) => assert!(found.is_none()),
            Err(ReplyMisuse::TooLong { bytes_max }) => {
                assert!(found.is_some() && payload.len() > bytes_max);
            }
        }
        Some(())
    }

    fn send(&mut self, script: &mut Script<'_>) -> Option<()> {
        let pins = script.one_in(2);
        if let Some((handle, reply)) = self.mailbox.next_reply() {
            let listed = self.list.iter_mut().find(|listed| listed.handle == handle);
            let listed = listed.expect("it is kept");
            assert_eq!((listed.stage, listed.gone), (Stage::Replied, false));
            assert_eq!(
                (listed.id, &listed.bytes[..]),
                (reply.notification, reply.payload)
            );
            self.mailbox.handle_sent(self.now, handle);
            listed.stage = Stage::Sent;
            listed.again_at = Some(self.now + RESEND);
            if script.one_in(4) {
                self.mailbox.handle_refused(self.now, handle);
            } else if pins {
                self.mailbox.pin(handle);
                listed.pinned = true;
            }
        }
        Some(())
    }

    /// A confirmation takes a reply that was sent, and nothing that is still
    /// handled. Which of two replies to one number it takes is not told.
    fn taken(&mut self, script: &mut Script<'_>) -> Option<()> {
        let draw = usize::from(script.byte()?);
        let id = self.list.get(draw % (self.list.len() + 1));
        let id = id.map_or(NotificationId(u64::MAX), |listed| listed.id);
        let replied = |listed: &&Listed| listed.id == id && listed.stage != Stage::Handling;
        let replies: Vec<_> = self.list.iter().filter(replied).collect();
        if replies.iter().all(|listed| listed.stage == Stage::Sent) && replies.len() <= 1 {
            self.mailbox.handle_taken(id);
            self.remove(|listed| listed.id == id && listed.stage == Stage::Sent);
        }
        Some(())
    }

    fn pass_time(&mut self, script: &mut Script<'_>) -> Option<()> {
        let span = Duration::from_micros(script.number(31)?);
        self.now = self.now + span;
        self.mailbox.handle_timeout(self.now);
        while let Some(effect) = self.mailbox.poll() {
            if let MailboxEffect::Expired(handle) = effect {
                let listed = self.list.iter().find(|listed| listed.handle == handle);
                assert!(listed.expect("it is kept").expires_at <= self.now);
                self.remove(|listed| listed.handle == handle);
            }
        }
        self.send_again();
        let overdue = |listed: &Listed| fires_at(listed.expires_at) <= self.now && !listed.gone;
        assert!(!self.list.iter().any(overdue), "not expired in time");
        let due = |listed: &Listed| {
            let waits = listed.stage == Stage::Replied && !listed.gone;
            waits && listed.due_by.is_some_and(|at| fires_at(at) <= self.now)
        };
        if self.list.iter().any(due) {
            assert!(self.mailbox.next_reply().is_some(), "not due in time");
        }
        assert!(self.mailbox.poll_timeout().is_none_or(|at| at > self.now));
        Some(())
    }

    /// What was sent and not taken is due again after a minute, unless it is
    /// still being written.
    fn send_again(&mut self) {
        for listed in &mut self.list {
            let at = listed.again_at.filter(|at| fires_at(*at) <= self.now);
            if at.is_none() || listed.stage != Stage::Sent || listed.gone {
                continue;
            }
            if listed.pinned {
                listed.again_at = Some(self.now + RESEND);
            } else {
                listed.stage = Stage::Replied;
                listed.due_by = Some(self.now);
            }
        }
    }

    fn unpin(&mut self, script: &mut Script<'_>) -> Option<()> {
        let draw = usize::from(script.byte()?);
        let mut pinned: Vec<_> = self
            .list
            .iter_mut()
            .filter(|listed| listed.pinned)
            .collect();
        let len = pinned.len();
        if let Some(listed) = pinned.get_mut(draw % len.max(1)) {
            assert!(
                self.mailbox.reply_of(listed.handle).is_some(),
                "gone while it is written"
            );
            self.mailbox.unpin(listed.handle);
            listed.pinned = false;
        }
        let ended = |listed: &Listed| listed.gone && !listed.pinned;
        self.remove(ended);
        Some(())
    }

    fn rest(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 3 {
            0 => {
                self.mailbox.handle_way_lost();
                for listed in &mut self.list {
                    if listed.stage == Stage::Sent && !listed.gone {
                        listed.stage = Stage::Replied;
                    }
                }
            }
            1 => {
                let handle = self.choose(script)?;
                self.mailbox.dismiss(handle);
                self.remove(|listed| listed.handle == handle && listed.stage == Stage::Handling);
            }
            _ => {
                let incarnation = Incarnation(script.number(32)? as u32);
                let notified = match script.byte()? % 3 {
                    0 => None,
                    1 => Some(NotificationId::new(incarnation, script.number(32)? as u32)),
                    _ => Some(NotificationId(script.number(64)?)),
                };
                self.mailbox.handle_incarnation(incarnation, notified);
                self.turn_to(incarnation);
                let of_the_run = notified.filter(|id| id.incarnation() == incarnation);
                if incarnation != self.seen.incarnation() {
                    if let Some(notified) = of_the_run {
                        self.seen = notified;
                    } else if incarnation < self.seen.incarnation() {
                        self.seen = NotificationId(0);
                    }
                }
                let seen = self.seen;
                self.ahead.retain(|id| *id > seen);
                let mut handed_out = core::mem::take(&mut self.handed_out);
                handed_out.retain(|id| self.knows(*id));
                self.handed_out = handed_out;
            }
        }
        Some(())
    }

    fn knows(&self, id: NotificationId) -> bool {
        let of_a_run_before = self.left.iter().any(|(run, seen, ahead)| {
            id.incarnation() == *run && (id <= *seen || ahead.contains(&id))
        });
        id <= self.seen || self.ahead.contains(&id) || of_a_run_before
    }

    fn turn_to(&mut self, run: Incarnation) {
        if run == self.run {
            return;
        }
        let (early, ahead): (BTreeSet<_>, BTreeSet<_>) =
            self.ahead.iter().partition(|id| id.incarnation() == run);
        let place = self.left.iter().position(|(left, ..)| *left == run);
        let back = place.map(|place| self.left.remove(place));
        self.left.push((self.run, self.seen, ahead));
        if self.left.len() > 4 {
            self.left.remove(0);
        }
        self.run = run;
        self.ahead.clear();
        if let Some((_, seen, ahead)) = back {
            self.seen = seen;
            self.ahead = ahead;
        }
        for id in early {
            if self.ahead.len() < LIMITS.ahead_max as usize && id > self.seen {
                self.ahead.insert(id);
            }
        }
    }

    fn choose(&self, script: &mut Script<'_>) -> Option<Handle> {
        let handles = self.list.iter().map(|listed| listed.handle);
        let handles: Vec<_> = handles
            .chain(self.old.iter().rev().take(2).copied())
            .collect();
        script.choose(&handles)
    }

    /// Takes entries out; those that are being written are taken out later.
    fn remove(&mut self, which: impl Fn(&Listed) -> bool) {
        for listed in &mut self.list {
            listed.gone |= which(listed);
        }
        let ended = |listed: &mut Listed| listed.gone && !listed.pinned;
        let ended = self.list.extract_if(.., ended);
        self.old.extend(ended.map(|listed| listed.handle));
    }

    fn compare(&self) {
        let full = self.list.len() == LIMITS.notifications_max as usize;
        assert_eq!(self.mailbox.has_room(), !full);
        assert_eq!(self.mailbox.seen(), self.seen);
        for listed in &self.list {
            let shown = self.mailbox.get(listed.handle);
            let handling = listed.stage == Stage::Handling;
            assert_eq!(shown, handling.then_some((listed.id, &listed.bytes[..])));
        }
        assert!(
            self.old
                .iter()
                .all(|handle| self.mailbox.get(*handle).is_none())
        );
    }
}
