//! Persistent connections: how they open, and the frames of clients.

use super::connection::{Role, Route};
use super::event::Event;
use super::line::Line;
use super::{Relay, whole_millis};
use crate::notify::ReplyRefusal;
use crate::wire::message::{ByeReason, ToRelay};
use crate::{ClientId, Close, ConnId, NotificationId};

/// Why a connection is over whose peer sends no more.
pub(super) const PEER_ENDED: &str = "the peer ended";

impl Relay {
    /// The 101 is written: from now on the connection carries frames.
    pub(super) fn handle_upgraded(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.key()) else {
            return;
        };
        let Role::Http(http) = &mut conn.role else {
            return;
        };
        let Route::Connect { client, after } = http.route else {
            return;
        };
        let has_ended = http.peer_ended;
        http.server.handle_closed(&mut self.pool);
        let mut line = Line::new(client, after);
        if conn.blocked {
            line.handle_blocked(self.now + self.settings.line_stall);
        }
        conn.role = Role::Line(line);
        // Frames that stood behind the request were not taken.
        conn.resume = true;
        self.stats.lines += 1;
        let Some(name) = self.registry.get(client).map(|record| record.id) else {
            return self.end(id, Close::Finish, "forgotten");
        };
        if let Some(old) = self.registry.set_connection(client, Some(id)) {
            self.say_bye(old, ByeReason::Replaced);
        }
        self.events.push_back(Event::Connected {
            client: name,
            conn: id,
        });
        if has_ended {
            return self.end(id, Close::Finish, PEER_ENDED);
        }
        if self.draining {
            self.say_bye(id, ByeReason::ShuttingDown);
        }
        self.touched(id);
    }

    fn say_bye(&mut self, id: ConnId, reason: ByeReason) {
        let window = match reason {
            ByeReason::ShuttingDown => whole_millis(self.settings.return_window),
            _ => 0,
        };
        if let Some(conn) = self.conns.get_mut(id.key())
            && let Role::Line(line) = &mut conn.role
        {
            line.owe_bye(reason, window);
            self.touched(id);
        }
    }

    /// Takes frames of a client, as long as there is room for what follows
    /// from them.
    pub(super) fn handle_frames(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.events.len() < self.limits.events_max;
            let Some(conn) = self.conns.get_mut(id.key()) else {
                break;
            };
            let Role::Line(line) = &mut conn.role else {
                break;
            };
            if !room || !line.can_take() {
                conn.resume = true;
                self.touched(id);
                return bytes.len() - rest.len();
            }
            let bytes_max = self.limits.frame_body_bytes_max;
            let fault = match line.deframer.next(&mut rest, bytes_max, &mut self.pool) {
                Ok(None) => break,
                Ok(Some(frame)) => match ToRelay::parse(frame.kind, frame.body) {
                    Ok(None) => continue,
                    Ok(Some(ToRelay::Ping(ping))) => {
                        line.owe_pong(ping.nonce);
                        continue;
                    }
                    Ok(Some(ToRelay::Pong(_))) => continue,
                    Ok(Some(ToRelay::Reply(reply))) => {
                        let notification = reply.notification;
                        let client = line.client;
                        let Some(name) = self.registry.get(client).map(|record| record.id) else {
                            continue;
                        };
                        let taken = self.notifier.handle_reply(
                            self.now,
                            (client, name),
                            notification,
                            reply.payload,
                        );
                        // Without room, the client keeps it for another time.
                        if taken != Err(ReplyRefusal::Full) {
                            line.owe_taken(notification);
                        }
                        self.reply_judged(name, notification, taken);
                        continue;
                    }
                    Ok(Some(ToRelay::Bye(_))) => {
                        self.end(id, Close::Finish, "closed by the client");
                        break;
                    }
                    Err(error) => error.name(),
                },
                Err(error) => error.name(),
            };
            self.stats.lines_refused.count(fault);
            self.say_bye(id, ByeReason::ProtocolError);
            break;
        }
        self.touched(id);
        bytes.len()
    }

    pub(super) fn reply_judged(
        &mut self,
        client: ClientId,
        notification: NotificationId,
        taken: Result<(), ReplyRefusal>,
    ) {
        match taken {
            Ok(()) => {
                self.stats.replies += 1;
                self.events.push_back(Event::Replied {
                    notification,
                    client,
                });
            }
            // The confirmation of the first one was lost; nothing is wrong.
            Err(ReplyRefusal::Repeated) => {}
            Err(why) => {
                self.stats.replies_refused.count(why.name());
                self.events.push_back(Event::ReplyRefused {
                    notification,
                    client,
                    why,
                });
            }
        }
    }
}
