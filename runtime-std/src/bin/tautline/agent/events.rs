//! What the agent does about what happens.

use std::ops::ControlFlow;
use std::path::PathBuf;

use tautline_core::Instant;
use tautline_core::client::{Client, Event, Failure as EventFailure, Heartbeats};
use tautline_core::notify::Handle;
use tautline_core::wire::message::ByeReason;
use tautline_std::origin::Origin;

use super::answers::{Machine, NO_HANDLER};
use super::handler::{Handler, Job};
use super::{tell_datagrams, tell_figures, tell_heartbeats};
use crate::Failure;

/// Handles the client's events.
pub(super) struct Events<'a> {
    pub(super) machine: Machine,
    pub(super) relays: &'a [Origin],
    pub(super) identity_file: PathBuf,
    pub(super) handler: Option<Handler>,
    /// Datagrams that the log knows of.
    pub(super) datagrams_told: u64,
    /// The figures of its heartbeats that the log knows of.
    pub(super) figures_told: Option<Heartbeats>,
    /// What its heartbeats did that the log knows of.
    pub(super) heartbeats_told: u64,
    /// That a heartbeat has ended the line was told; its end is the next event.
    pub(super) has_told_end: bool,
}

impl Events<'_> {
    /// Handles one; breaks at the agent's end, with what it ends with.
    pub(super) fn handle(
        &mut self,
        client: &mut Client,
        now: Instant,
        event: Event,
    ) -> ControlFlow<Result<(), Failure>> {
        let has_told_end = std::mem::take(&mut self.has_told_end);
        match event {
            Event::Registered {
                client: id,
                granted,
                reason,
                ..
            } => {
                tracing::info!(client = %id, granted, reason, "registered");
                let figures = client.heartbeats();
                if self.figures_told.replace(figures) != Some(figures) {
                    tell_figures(&figures);
                }
                self.datagrams_told = tell_datagrams(client.stats(), self.datagrams_told);
                self.heartbeats_told = tell_heartbeats(client.stats(), self.heartbeats_told);
            }
            Event::Reached => tracing::info!("datagrams reach this machine"),
            Event::AttemptFailed {
                attempt,
                attempts_max,
                is_last,
                why,
            } => {
                let next = if is_last {
                    "the line did not open; it is tried again after the next registration"
                } else {
                    "the line did not open; it is tried again"
                };
                tracing::warn!(attempt, of = attempts_max, %why, "{next}");
            }
            Event::Failed { what, why } => {
                tracing::warn!(what, %why, "failed; it is tried again");
                if why == EventFailure::Cloned {
                    tracing::error!(
                        "another machine has this agent's identity; stop this agent and remove {} to \
                     have it registered as a new client, or speak TLS with the relay",
                        self.identity_file.display()
                    );
                }
                if is_stranger(what, why) {
                    tracing::error!(
                        "the relay does not accept this agent's identity: it belongs to another \
                     relay, or the relay has lost its key; stop the agent and remove {} to have \
                     it registered as a new client",
                        self.identity_file.display()
                    );
                }
            }
            Event::Separated { from, client } => tracing::warn!(
                %from, %client,
                "another machine has this agent's identity; this one has a new one from now on"
            ),
            Event::RelayChanged { relay } => match self.relays.get(relay) {
                Some(relay) => tracing::info!(%relay, "another relay is used from now on"),
                None => tracing::warn!(relay, "an unknown relay is used from now on"),
            },
            Event::Connected => tracing::info!("the line is open"),
            Event::Disconnected { why } if why == EventFailure::Bye(ByeReason::Replaced.name()) => {
                // Mostly the agent's own, whose greeting comes later than this.
                tracing::info!("a newer line of this client takes the place of this one");
            }
            Event::Disconnected { why } if has_told_end => {
                tracing::debug!(%why, "the line is gone");
            }
            Event::Disconnected { why } => tracing::warn!(%why, "the line is gone"),
            Event::HeartbeatEnded { silent_for, rule } => {
                self.has_told_end = true;
                let relay = self.relays.get(client.relay()).map(tracing::field::display);
                tracing::warn!(
                    relay,
                    silent_s = silent_for.as_secs(),
                    rule = rule.name(),
                    "the relay was silent for too long; the line is ended"
                );
            }
            Event::HeartbeatAdvice(advice) => {
                tracing::warn!("the heartbeats of this agent and its relay do not fit: {advice}");
            }
            Event::Notification {
                notification,
                id,
                by,
            } => {
                tracing::info!(%id, by = by.name(), "notification");
                self.answer(client, now, notification);
            }
            Event::NotificationExpired { notification } => {
                tracing::warn!("a notification has expired");
                if let Some(handler) = &self.handler {
                    handler.forget(notification);
                }
            }
            Event::StorageFailed { why } => {
                tracing::error!(%why, "the agent's identity cannot be stored");
            }
            Event::IdentityUnavailable { why } => {
                return ControlFlow::Break(Err(Failure::new(format_args!(
                    "{}: the agent's identity cannot be read: {why}; see that this user can read the \
                 file, or remove it to have the agent registered as a new client",
                    self.identity_file.display()
                ))));
            }
            Event::IdentityUnreadable => {
                return ControlFlow::Break(Err(Failure::new(format_args!(
                    "{}: the agent's identity is damaged; it was left alone. Restore it, or remove it \
                 to have the agent registered as a new client",
                    self.identity_file.display()
                ))));
            }
            Event::Stopped => return ControlFlow::Break(Ok(())),
            other => tracing::debug!(?other, "event"),
        }
        ControlFlow::Continue(())
    }

    /// Replies at once, or has the handler do it.
    fn answer(&self, client: &mut Client, now: Instant, notification: Handle) {
        let Some((id, payload)) = client.notification(notification) else {
            return;
        };
        let answer = self.machine.answer(payload);
        if let (None, Some(handler), Some(client)) = (&answer, &self.handler, client.id()) {
            handler.push(Job {
                notification,
                id,
                client,
                payload: payload.to_vec(),
            });
            return;
        }
        let answer = answer.as_deref().unwrap_or(NO_HANDLER);
        if let Err(why) = client.reply(now, notification, answer.as_bytes()) {
            tracing::warn!(%id, %why, "no reply");
        }
    }
}

/// Whether the relay refused the proof of who this is.
fn is_stranger(what: &str, why: EventFailure) -> bool {
    what == "registration" && why == EventFailure::Status(401)
}
