//! `GET /v1/notifications/<id>/missing`: who has not replied.

use serde::Serialize;
use tautline_core::NotificationId;
use tautline_core::relay::Relay;

use super::answer::{Answer, GONE};
use super::pages::{self, Rows};
use super::query::Query;

#[derive(Serialize)]
struct Page<'a> {
    missing: Vec<Row<'a>>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    client: String,
    hostname: &'a str,
}

/// The clients that the notification is for and that have not replied. One
/// that was forgotten meanwhile is not among them.
pub(super) fn list(relay: &Relay, id: NotificationId, query: &Query<'_>) -> Result<Answer, Answer> {
    if relay.notification(id).is_none() {
        return Err(Answer::no_notification(GONE));
    }
    let missing_from = |place| relay.missing_from(id, place);
    let Rows { rows, next } = pages::collect(query, missing_from, |record| {
        record.map(|record| Row {
            client: record.id.to_string(),
            hostname: record.hostname(),
        })
    })?;
    let missing = rows;
    Ok(Answer::json(200, &Page { missing, next }))
}
