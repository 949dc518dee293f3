//! What the relay answered, and what follows from it.

use alloc::vec::Vec;
use core::time::Duration;

use super::asking::Question;
use super::event::{Arrival, Event, Failure};
use super::{Client, Conn, Stage};
use crate::notify::body::{Inbox, decode_payload};
use crate::notify::{Handle, Received};
use crate::wire::message::Notification;
use crate::{Incarnation, Key, NotificationId};

/// How long nothing but a registration is asked after a failure.
const REST: Duration = Duration::from_secs(60);

/// The status of a relay that has no room.
const FULL: u16 = 503;

impl Client {
    /// The answer to what was asked is complete.
    pub(super) fn answered(&mut self, control: Key) {
        let Some(question) = self.asking.current.take() else {
            return;
        };
        let Some(Conn {
            stage: Stage::Http(http),
            relay,
            ..
        }) = self.conns.get_mut(control)
        else {
            return;
        };
        let status = http.response().map_or(0, |response| response.status());
        let body: Vec<u8> = http.body().into();
        http.finish(&mut self.pool);
        let relay = *relay;
        match question {
            Question::Register => self.registered(relay, status, &body),
            Question::Test(_) => self.tested(status),
            Question::Reply(reply, id) => self.replied(reply, id, status),
            Question::Inbox => self.inboxed(status, &body),
        }
        if question != Question::Register {
            // A relay without room for replies works.
            let is_full = status == FULL && matches!(question, Question::Reply(..));
            if status < 500 || is_full {
                self.selector.handle_worked(self.now, relay);
            } else {
                self.selector.handle_failed(self.now, relay);
            }
            if status == 401 {
                self.unknown_to_relay();
            }
        }
        let reusable = self
            .conns
            .get(control)
            .is_some_and(|conn| matches!(&conn.stage, Stage::Http(http) if http.is_ready()));
        if reusable {
            self.ask(control);
        }
    }

    /// The question could not be brought to an answer by the relay.
    pub(super) fn question_failed(&mut self, relay: Option<usize>, why: Failure) {
        let Some(relay) = relay else {
            return;
        };
        // What only waits may be for another relay than the one that failed.
        let waits = || {
            self.next_question()
                .filter(|it| self.relay_of(*it) == relay)
        };
        let Some(question) = self.asking.current.or_else(waits) else {
            return;
        };
        self.asking.current = None;
        if question == Question::Register {
            return self.registration_failed(relay, why);
        }
        self.events.push_back(Event::Failed {
            what: question.text(),
            why,
        });
        self.selector.handle_failed(self.now, relay);
        match question {
            // It goes with the next registration, connection or poll.
            Question::Reply(..) => {
                self.mailbox.handle_way_lost();
                self.asking.inbox_first = true;
            }
            // Tests are repeated, and without a proof there is the connection.
            Question::Test(_) => {}
            _ => self.asking.inbox = true,
        }
        self.rest();
    }

    /// The relay knows that datagrams arrive, or does not.
    fn tested(&mut self, status: u16) {
        if matches!(status, 200..300) {
            // What it said on a connection that ends now may have been lost, and
            // what it said before the proof waited for one.
            self.asking.inbox = true;
            self.pcc.handle_reached();
            self.events.push_back(Event::Reached);
        } else {
            let why = Failure::Status(status);
            self.events.push_back(Event::Failed { what: "test", why });
        }
    }

    fn replied(&mut self, reply: Handle, id: NotificationId, status: u16) {
        match status {
            // Refused for good: it is not asked again, so nothing else waits.
            200..300 | 403 | 404 | 413 => self.mailbox.handle_taken(id),
            // It waits alone; what else is to be asked may find room.
            FULL => {
                self.mailbox.handle_refused(self.now, reply);
                self.asking.inbox_first = true;
            }
            _ => {
                self.mailbox.handle_way_lost();
                self.asking.inbox_first = true;
                self.rest();
            }
        }
        if !matches!(status, 200..300) {
            let why = Failure::Status(status);
            self.events.push_back(Event::Failed { what: "reply", why });
        }
    }

    fn inboxed(&mut self, status: u16, body: &[u8]) {
        let inbox = serde_json::from_slice::<Inbox>(body)
            .ok()
            .filter(|_| status == 200);
        let Some(inbox) = inbox else {
            let why = if status == 200 {
                Failure::Answer
            } else {
                Failure::Status(status)
            };
            self.events.push_back(Event::Failed {
                what: Question::Inbox.text(),
                why,
            });
            // Else it may be the answer of every time.
            if self.asking.behind || status >= 500 {
                self.asking.inbox = true;
                self.rest();
            }
            return;
        };
        let known = self.session.as_ref().map(|session| session.incarnation);
        if known.is_some_and(|known| known != Incarnation(inbox.incarnation)) {
            self.unknown_to_relay();
        }
        let seen = self.mailbox.seen();
        let mut has_room = true;
        for item in &inbox.notifications {
            let Some(payload) = decode_payload(&item.payload_base64) else {
                continue;
            };
            let message = Notification {
                id: item.notification,
                lifetime_s: item.lifetime_s,
                reply_window_ms: item.reply_window_ms,
                payload: &payload,
            };
            if !self.notified(&message, Arrival::Inbox) {
                has_room = false;
                break;
            }
        }
        // A relay that promises more and has nothing new is not asked in a loop.
        let more = inbox.more && self.mailbox.seen() != seen;
        self.asking.inbox |= more || !has_room;
        self.asking.behind &= self.asking.inbox;
    }

    /// A notification arrived; returns whether it found room.
    pub(super) fn notified(&mut self, message: &Notification<'_>, by: Arrival) -> bool {
        self.heard_at = self.now;
        let order = by.order();
        match self.mailbox.handle_notification(self.now, message, order) {
            Received::New(notification) => {
                if by == Arrival::Inbox && !self.asking.behind {
                    self.bypass_line();
                }
                let id = message.id;
                self.events.push_back(Event::Notification {
                    notification,
                    id,
                    by,
                });
                true
            }
            Received::TooLong => {
                let what = "notification";
                self.events.push_back(Event::Failed {
                    what,
                    why: Failure::Full,
                });
                true
            }
            Received::Known => true,
            Received::Full | Received::OutOfOrder => false,
        }
    }

    /// The relay is another run, or knows the client no more.
    pub(super) fn unknown_to_relay(&mut self) {
        self.session = None;
        self.register_within(None);
    }

    /// The relay was lost: registers anew at a moment of the window that it
    /// stated, now or before, else of the client's own.
    pub(super) fn register_within(&mut self, window: Option<Duration>) {
        self.stale = true;
        let window = window.or(self.return_window);
        self.registrar.handle_lost(self.now, window);
    }

    /// After a failure nothing but a registration is asked for a while: a
    /// relay that refuses is not asked in a loop.
    pub(super) fn rest(&mut self) {
        self.asking.resting_until = Some(self.now + REST);
    }
}
