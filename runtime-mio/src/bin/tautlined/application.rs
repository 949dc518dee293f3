//! What the relay tells the daemon: a line in the log for each event, an answer
//! for each request.

use tautline_core::Instant;
use tautline_core::relay::{Event, Relay};
use tautline_mio::driver::Application;

use crate::heartbeats::{self, Heartbeats, whereabouts};
use crate::operator::Operator;

/// The application behind the relay.
pub(crate) struct Daemon {
    pub(crate) operator: Operator,
    /// What the log knows of heartbeats.
    pub(crate) heartbeats: Heartbeats,
    /// Signals wait to be read.
    pub(crate) signalled: bool,
    /// The last connection is gone after a drain.
    pub(crate) drained: bool,
}

impl Application<Relay> for Daemon {
    fn event(&mut self, now: Instant, relay: &mut Relay, event: Event) {
        match event {
            Event::Request { request } => self.operator.handle_request(now, relay, request),
            Event::RequestBodyEnd { request } => self.operator.handle_body_end(now, relay, request),
            // Bodies are read whole, and no response is streamed.
            Event::RequestBody { .. } | Event::ResponsePull { .. } => {}
            Event::Drained => self.drained = true,
            Event::HeartbeatEnded {
                client,
                conn,
                silent_for,
                rule,
            } => {
                self.heartbeats
                    .tell_ended(relay, client, conn, silent_for, rule);
            }
            Event::Disconnected { client, conn, why } if self.heartbeats.has_told_end(conn) => {
                tracing::debug!(%client, why, "persistent connection gone");
            }
            Event::HeartbeatAdvice { client, advice } => {
                self.heartbeats.tell_advice(relay, client, advice);
            }
            Event::HeartbeatLearned { subnet, lesson } => {
                heartbeats::tell_lesson(&self.operator.places, subnet, &lesson);
            }
            event => log(relay, &event),
        }
    }

    fn ready(&mut self, _: usize) {
        self.signalled = true;
    }
}

fn log(relay: &Relay, event: &Event) {
    match *event {
        Event::RequestOver {
            status, aborted, ..
        } => {
            tracing::debug!(status, aborted, "request over");
        }
        Event::Registered {
            client,
            new,
            cloned,
        } => {
            if cloned {
                tracing::warn!(%client, "two machines had one identity; this one has its own now");
            }
            let (hostname, address) = whereabouts(relay.client(client));
            tracing::info!(%client, hostname, address, new, "client registered");
        }
        Event::RegistrationRefused { why, .. } => {
            tracing::warn!(reason = why.name(), "registration refused: {why}");
        }
        Event::Forgotten { client } => tracing::info!(%client, "client forgotten"),
        Event::Connected { client, .. } => tracing::info!(%client, "persistent connection open"),
        Event::Disconnected { client, why, .. } => {
            tracing::info!(%client, why, "persistent connection gone");
        }
        Event::Replied {
            notification,
            client,
        } => {
            tracing::info!(%notification, %client, "reply taken");
        }
        Event::ReplyRefused {
            notification,
            client,
            why,
        } => {
            tracing::warn!(%notification, %client, reason = why.name(), "reply refused: {why}");
        }
        Event::Expired(status) => {
            let (notification, targets) = (status.id, status.targets);
            let (sent, replied) = (status.sent, status.replied);
            tracing::info!(%notification, targets, sent, replied, "notification expired");
        }
        _ => tracing::debug!(?event, "event"),
    }
}
