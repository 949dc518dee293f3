//! What a request is answered with.

use serde::Serialize;
use tautline_core::http::problem::{self, Problem};

use crate::page::{Asset, HEADERS};

const CONTENT_TYPE: &str = "Content-Type";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything goes to the one who asked, and only as what it says it is.
const COMMON: [(&str, &str); 2] = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
];

/// Why there is nothing to tell of a notification.
pub(super) const GONE: &str = "The notification is unknown or has expired.";

/// A whole response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        let mut headers = COMMON.to_vec();
        headers.push((CONTENT_TYPE, content_type));
        Self {
            status,
            headers,
            body,
        }
    }

    pub(super) fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, "application/json", body),
            Err(_) => Self::problem(500, "internal", "The answer cannot be encoded."),
        }
    }

    pub(super) fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.into())
    }

    pub(super) fn metrics(text: String) -> Self {
        Self::new(200, METRICS, text.into())
    }

    pub(super) fn asset(asset: &Asset) -> Self {
        let mut answer = Self::new(200, asset.content_type, asset.bytes.to_vec());
        answer.headers.extend_from_slice(&HEADERS);
        answer
    }

    /// Problem details (RFC 9457).
    pub(super) fn problem(status: u16, name: &str, detail: &str) -> Self {
        let mut body = Vec::new();
        Problem::new(status, name).detail(detail).encode(&mut body);
        Self::new(status, problem::CONTENT_TYPE, body)
    }

    pub(super) fn no_notification(detail: &str) -> Self {
        Self::problem(404, "no-notification", detail)
    }

    pub(super) fn wrong_query(detail: &str) -> Self {
        Self::problem(400, "query", detail)
    }

    pub(super) fn wrong_method(allowed: &'static str) -> Self {
        let mut answer = Self::problem(
            405,
            "method",
            "This path is not asked for with this method.",
        );
        answer.headers.push(("Allow", allowed));
        answer
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        let mut answer = Self::problem(401, "token", detail);
        let challenge = ("WWW-Authenticate", "Bearer realm=\"tautline\"");
        answer.headers.push(challenge);
        answer
    }
}
