//! The operator's paths, the page, health and metrics: everything over HTTP
//! that is not the protocol's.

mod answer;
mod clients;
mod heartbeat;
mod missing;
mod notifications;
mod pages;
mod query;
mod status;
mod subnets;

use subtle::ConstantTimeEq as _;
use tautline_core::http::{Reading, ResponseBody, ResponseHead};
use tautline_core::relay::Relay;
use tautline_core::{Instant, NotificationId, RequestId};
use tautline_mio::driver::Statistics;
use tautline_std::private::Secret;

use crate::metrics;
use crate::page::{self, Asset};
use crate::places::Places;
use crate::settings::{Heartbeat, Role};
use answer::Answer;
use query::Query;

/// Bytes of a request's body.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// Answers the requests that the relay hands over.
pub(crate) struct Operator {
    pub(crate) token: Secret,
    /// Whether the token may come unencrypted from beyond this machine.
    pub(crate) secrets_over_plaintext: bool,
    /// The driver's figures, brought up to date every turn.
    pub(crate) statistics: Statistics,
    /// When the relay was started.
    pub(crate) started: Instant,
    pub(crate) role: Role,
    /// As it was set.
    pub(crate) heartbeat: Heartbeat,
    /// The names of sites.
    pub(crate) places: Places,
}

/// What a request asks for.
enum Route<'a> {
    Asset(&'static Asset),
    Health,
    Ready,
    Metrics,
    Status,
    Clients,
    Subnets,
    Notifications,
    Notification(&'a str),
    Missing(&'a str),
}

impl Operator {
    /// A request's head is there: answers it, or has its body read first.
    pub(crate) fn handle_request(&self, now: Instant, relay: &mut Relay, request: RequestId) {
        let answer = match self.judge(now, relay, request) {
            Some(answer) => answer,
            None => {
                let bytes_max = BODY_BYTES_MAX;
                match relay.read_body(now, request, Reading::Whole { bytes_max }) {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::error!(%error, "a request's body could not be read");
                        Answer::problem(500, "internal", "The request's body could not be read.")
                    }
                }
            }
        };
        respond(now, relay, request, &answer);
    }

    /// The body of a request is complete; only one path reads its body.
    pub(crate) fn handle_body_end(&self, now: Instant, relay: &mut Relay, request: RequestId) {
        let body = relay.body(request).unwrap_or_default().to_vec();
        let answer = notifications::create(now, &self.places, relay, &body);
        respond(now, relay, request, &answer);
    }

    /// The answer to a request's head; `None` when the body decides.
    fn judge(&self, now: Instant, relay: &Relay, request: RequestId) -> Option<Answer> {
        let Some(head) = relay.request(request) else {
            return Some(Answer::problem(500, "internal", "The request is gone."));
        };
        let Some(route) = Route::of(head.path()) else {
            return Some(Answer::problem(
                404,
                "no-path",
                "There is nothing at this path.",
            ));
        };
        if !route.methods().contains(&head.method()) {
            return Some(Answer::wrong_method(route.allowed()));
        }
        if route.needs_token()
            && let Err(answer) = self.admit(relay, request)
        {
            return Some(answer);
        }
        if let Route::Notifications = route {
            return None;
        }
        let answer = self.show(now, relay, &route, head.query());
        Some(answer.unwrap_or_else(|refusal| refusal))
    }

    /// The answer to a request that has no body.
    fn show(
        &self,
        now: Instant,
        relay: &Relay,
        route: &Route<'_>,
        query: Option<&str>,
    ) -> Result<Answer, Answer> {
        let query = |known: &[&str]| Query::of(query, known);
        Ok(match route {
            Route::Asset(asset) => Answer::asset(asset),
            Route::Health => Answer::text(200, "alive\n"),
            Route::Ready if relay.is_draining() => {
                Answer::problem(503, "draining", "The relay is shutting down.")
            }
            Route::Ready => Answer::text(200, "ready\n"),
            Route::Metrics => match metrics::encode(relay, &self.statistics) {
                Ok(text) => Answer::metrics(text),
                Err(_) => Answer::problem(500, "internal", "The metrics cannot be encoded."),
            },
            Route::Status => status::show(self, now, relay),
            Route::Clients => {
                clients::list(now, &self.places, relay, &query(&clients::PARAMETERS)?)?
            }
            Route::Subnets => subnets::list(now, &self.places, relay, &query(&pages::PARAMETERS)?)?,
            Route::Notification(id) => {
                notifications::show(now, relay, notification(id)?, &query(&["after"])?)?
            }
            Route::Missing(id) => {
                missing::list(relay, notification(id)?, &query(&pages::PARAMETERS)?)?
            }
            Route::Notifications => Answer::wrong_method(route.allowed()),
        })
    }

    /// Whether the request may see and do what the operator may.
    fn admit(&self, relay: &Relay, request: RequestId) -> Result<(), Answer> {
        let gone = || Answer::problem(500, "internal", "The request is gone.");
        let (peer, secure) = relay.request_peer(request).ok_or_else(gone)?;
        if !secure && !peer.ip().to_canonical().is_loopback() && !self.secrets_over_plaintext {
            return Err(Answer::problem(
                403,
                "secret-in-clear",
                "The operator's token travels over TLS, or on the relay's own machine.",
            ));
        }
        let head = relay.request(request).ok_or_else(gone)?;
        match head.header_str("Authorization").and_then(bearer) {
            Some(given) if bool::from(given.as_bytes().ct_eq(self.token.reveal().as_bytes())) => {
                Ok(())
            }
            Some(_) => Err(Answer::unauthorized("The token is not this relay's.")),
            None => Err(Answer::unauthorized(
                "The operator's token is needed: Authorization: Bearer <token>.",
            )),
        }
    }
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/v1/status" => Self::Status,
            "/v1/clients" => Self::Clients,
            "/v1/subnets" => Self::Subnets,
            "/v1/notifications" => Self::Notifications,
            _ => match path.strip_prefix("/v1/notifications/") {
                Some(rest) => match rest.split_once('/') {
                    None => Self::Notification(rest),
                    Some((id, "missing")) => Self::Missing(id),
                    Some(_) => return None,
                },
                None => Self::Asset(page::find(path)?),
            },
        })
    }

    const fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Notifications => &["POST"],
            _ => &["GET", "HEAD"],
        }
    }

    const fn allowed(&self) -> &'static str {
        match self {
            Self::Notifications => "POST",
            _ => "GET, HEAD",
        }
    }

    const fn needs_token(&self) -> bool {
        !matches!(
            self,
            Self::Asset(_) | Self::Health | Self::Ready | Self::Metrics
        )
    }
}

fn notification(id: &str) -> Result<NotificationId, Answer> {
    let wrong = |_| Answer::no_notification("A notification's id is 16 hexadecimal digits.");
    id.parse().map_err(wrong)
}

/// The token in the value of an `Authorization` field (RFC 6750 section 2.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("Bearer")
        .then(|| token.trim_matches(' '))
}

fn respond(now: Instant, relay: &mut Relay, request: RequestId, answer: &Answer) {
    let head = ResponseHead {
        status: answer.status,
        headers: &answer.headers,
        close: false,
    };
    let body = ResponseBody::Bytes(&answer.body);
    if let Err(error) = relay.respond(now, request, &head, body) {
        tracing::error!(%error, status = answer.status, "a response could not be sent");
        // A handle that is gone has nothing left to give up.
        let _ = relay.abort_request(now, request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
