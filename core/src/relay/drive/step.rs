//! What happens on one connection, and how it ends.

use super::Step;
use crate::notify::Membership;
use crate::relay::connection::{Closing, Conn, Role, Route};
use crate::relay::line::Source;
use crate::relay::routing::membership_of;
use crate::relay::{Event, Relay};
use crate::wire::message::{self, Hello};
use crate::{ClientId, Close, CloseReason, ConnId, Output, http};

impl Relay {
    /// Does the next thing on a connection, and puts it back on the list as
    /// long as it wants more.
    pub(super) fn step(&mut self, id: ConnId, buf: &mut [u8]) -> Option<Step> {
        let conn = self.conns.get_mut(id.key())?;
        let step = match &mut conn.role {
            Role::Http(_) => self.step_http(id, buf),
            Role::Line(_) => self.step_line(id, buf),
            Role::Closing(Closing::Tell(how)) => {
                let how = *how;
                conn.role = Role::Closing(match how {
                    Close::Finish => Closing::Lingering(self.now + self.settings.http.linger),
                    Close::Abort => Closing::Told,
                });
                Some(Step::Output(Output::Close { conn: id, how }))
            }
            Role::Closing(_) => None,
        };
        if step.is_some() && self.wants_more(id) {
            self.wake(id);
        }
        self.rearm(id.key());
        step
    }

    fn wants_more(&self, id: ConnId) -> bool {
        self.conns
            .get(id.key())
            .is_some_and(|conn| match &conn.role {
                Role::Http(_) => true,
                Role::Line(line) => {
                    let membership = self.membership(line.client);
                    conn.resume
                        || line.over().is_some()
                        || line.wants_write(&self.notifier, membership)
                        || line.is_between_frames()
                            && self.router.next_batch(id.key()).next().is_some()
                }
                Role::Closing(closing) => matches!(closing, Closing::Tell(_)),
            })
    }

    fn step_line(&mut self, id: ConnId, buf: &mut [u8]) -> Option<Step> {
        let hello = Hello {
            version: message::VERSION,
            incarnation: self.settings.registry.incarnation,
            body_bytes_max: self.limits.frame_body_bytes_max,
        };
        let conn = self.conns.get_mut(id.key())?;
        let Role::Line(line) = &mut conn.role else {
            return None;
        };
        let record = self.registry.get(line.client);
        let membership = record.map_or_else(Membership::default, membership_of);
        let name = record.map_or(ClientId([0; 16]), |record| record.id);
        if !conn.blocked {
            // A deadline that moved is looked at once more when it was.
            let owes = line.owes_ping();
            let nonce = owes.then(|| self.watch.handle_asked(self.now, id.key()));
            let mut source = Source {
                notifier: &mut self.notifier,
                name,
                membership,
                hello,
                nonce: nonce.flatten(),
            };
            let (mut len, begun) = line.write(&mut source, buf);
            if begun > 0 {
                self.stats.sent.add("connection", begun);
            }
            let serves = line.serves.filter(|_| line.is_between_frames());
            let over = line.over();
            if let Some(subnet) = serves {
                len += self.write_serve(id.key(), subnet, &mut buf[len..]);
            }
            if len > 0 {
                self.watch.handle_sent(self.now, id.key());
                return Some(Step::Written { conn: id, len });
            }
            if let Some(reason) = over {
                self.end(id, Close::Finish, reason.name());
                return self.step(id, buf);
            }
        }
        let conn = self.conns.get_mut(id.key())?;
        if conn.resume && matches!(&conn.role, Role::Line(line) if line.can_take()) {
            conn.resume = false;
            return Some(Step::Output(Output::Resume { conn: id }));
        }
        None
    }

    /// Ends the connection: what it held is given back at once, the driver is
    /// told at the next look.
    pub(in crate::relay) fn end(&mut self, id: ConnId, how: Close, why: &'static str) {
        let open = |conn: &Conn| !matches!(conn.role, Role::Closing(_));
        if !self.conns.get(id.key()).is_some_and(open) {
            return;
        }
        self.leave(id, why);
        if let Some(conn) = self.conns.get_mut(id.key()) {
            conn.role = Role::Closing(Closing::Tell(how));
        }
        self.touched(id);
    }

    /// Takes the connection out of what it belonged to.
    pub(super) fn leave(&mut self, id: ConnId, why: &'static str) {
        let Some(conn) = self.conns.get_mut(id.key()) else {
            return;
        };
        match &mut conn.role {
            Role::Http(http) => {
                http.server.handle_closed(&mut self.pool);
                let route = core::mem::replace(&mut http.route, Route::Idle);
                let mut over = (0, true);
                while let Some(effect) = http.server.poll() {
                    match effect {
                        http::Effect::Finished { status, aborted } => over = (status, aborted),
                        http::Effect::Refused(why) => self.stats.http_refused.count(why.as_str()),
                        _ => {}
                    }
                }
                self.request_over(route, over.0, over.1);
            }
            Role::Line(line) => {
                self.unfinished_bytes -= line.held_bytes as usize;
                line.release(&mut self.notifier, &mut self.pool);
                self.watch.forget(id.key());
                self.heartbeats_due = true;
                let (client, written_through) = (line.client, line.written_through());
                self.router.handle_line_closed(id.key());
                self.stats.lines -= 1;
                if let Some(record) = self.registry.get(client) {
                    let name = record.id;
                    if self.registry.handle_disconnected(client, id) {
                        self.bring_again(client, written_through);
                    }
                    self.events.push_back(Event::Disconnected {
                        client: name,
                        conn: id,
                        why,
                    });
                }
            }
            Role::Closing(_) => return,
        }
        if let Some(conn) = self.conns.get_mut(id.key()) {
            conn.role = Role::Closing(Closing::Told);
        }
    }
}

pub(super) const fn close_text(why: CloseReason) -> &'static str {
    match why {
        CloseReason::Done => "closed in order",
        CloseReason::Local => "closed by this end",
        CloseReason::Reset => "reset by the peer",
        CloseReason::Failed => "input or output failed",
        CloseReason::Tls => "TLS failed",
        CloseReason::Storage => "the file behind the transfer failed",
    }
}
