//! `POST /v1/notifications` and `GET /v1/notifications/<id>`.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tautline_core::notify::{NotifyError, NotifyOptions};
use tautline_core::relay::{Relay, To};
use tautline_core::{ClientId, Instant, NotificationId};

use super::answer::{Answer, GONE};
use super::query::Query;
use crate::places::Places;

/// Replies of one answer.
const REPLIES_MAX: usize = 500;
/// Bytes of their payloads, beyond the one that passes the bound.
const REPLY_BYTES_MAX: usize = 64 * 1_024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask<'a> {
    target: AskTarget,
    #[serde(borrow)]
    payload: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload_base64: Option<Cow<'a, str>>,
    lifetime_s: Option<u64>,
    reply_window_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskTarget {
    client: Option<String>,
    subnet: Option<String>,
    site: Option<String>,
    all: Option<bool>,
}

#[derive(Serialize)]
struct Created {
    notification: String,
}

#[derive(Serialize)]
struct Shown {
    notification: String,
    targets: u32,
    sent: u32,
    replied: u32,
    replies: Vec<ShownReply>,
    /// What `after` has to be for the replies behind these.
    next: Option<String>,
    expires_in_s: u64,
}

#[derive(Serialize)]
struct ShownReply {
    client: String,
    /// Unknown if the client was forgotten meanwhile.
    hostname: Option<String>,
    #[serde(flatten)]
    payload: Payload,
}

/// A payload, as text where it is text.
#[derive(Serialize)]
enum Payload {
    #[serde(rename = "payload")]
    Text(String),
    #[serde(rename = "payload_base64")]
    Base64(String),
}

/// Notifies a client, a subnet, a site or all.
pub(super) fn create(now: Instant, places: &Places, relay: &mut Relay, body: &[u8]) -> Answer {
    match try_create(now, places, relay, body) {
        Ok(id) => {
            let notification = id.to_string();
            tracing::info!(notification, "notification made");
            Answer::json(201, &Created { notification })
        }
        Err(answer) => answer,
    }
}

/// How far a notification came, and the replies behind `after`.
pub(super) fn show(
    now: Instant,
    relay: &Relay,
    id: NotificationId,
    query: &Query<'_>,
) -> Result<Answer, Answer> {
    let after = after(query)?;
    let Some(status) = relay.notification(id) else {
        return Err(Answer::no_notification(GONE));
    };
    let (mut replies, mut bytes, mut next) = (Vec::new(), 0, None);
    for reply in relay.replies_behind(id, after) {
        if replies.len() == REPLIES_MAX || bytes > REPLY_BYTES_MAX {
            next = replies.last().map(|last: &ShownReply| last.client.clone());
            break;
        }
        bytes += reply.payload.len();
        let hostname = relay.client(reply.client);
        replies.push(ShownReply {
            client: reply.client.to_string(),
            hostname: hostname.map(|client| client.hostname().to_string()),
            payload: Payload::of(reply.payload),
        });
    }
    let shown = Shown {
        notification: id.to_string(),
        targets: status.targets,
        sent: status.sent,
        replied: status.replied,
        replies,
        next,
        expires_in_s: status.expires_at.saturating_since(now).as_secs(),
    };
    Ok(Answer::json(200, &shown))
}

/// Whose reply is the last that the caller has.
fn after(query: &Query<'_>) -> Result<Option<ClientId>, Answer> {
    let client = query.text("after").map(str::parse).transpose();
    client.map_err(|_| Answer::wrong_query("after is no client: 32 hexadecimal digits."))
}

impl Payload {
    /// Text that JSON would have to escape at length travels as base64, so that
    /// no payload grows by more than a third.
    fn of(bytes: &[u8]) -> Self {
        let plain = |byte: u8| !byte.is_ascii_control() || matches!(byte, b'\n' | b'\r' | b'\t');
        match str::from_utf8(bytes) {
            Ok(text) if text.bytes().all(plain) => Self::Text(text.to_owned()),
            _ => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

fn try_create(
    now: Instant,
    places: &Places,
    relay: &mut Relay,
    body: &[u8],
) -> Result<NotificationId, Answer> {
    let ask: Ask<'_> = serde_json::from_slice(body)
        .map_err(|error| malformed(&format!("The body is no notification: {error}.")))?;
    let target = target(places, &ask.target)?;
    let payload = payload(&ask)?;
    let mut options = NotifyOptions::default();
    if let Some(seconds) = ask.lifetime_s {
        options.lifetime = Duration::from_secs(seconds);
    }
    if let Some(millis) = ask.reply_window_ms {
        options.reply_window = Duration::from_millis(millis);
    }
    relay
        .notify(now, target, &payload, options)
        .map_err(|error| refused(&error))
}

fn target(places: &Places, target: &AskTarget) -> Result<To, Answer> {
    match (&target.client, &target.subnet, &target.site, target.all) {
        (Some(client), None, None, None) => client
            .parse()
            .map(To::Client)
            .map_err(|_| malformed("target.client has to be 32 hexadecimal digits.")),
        (None, Some(subnet), None, None) => places
            .find(subnet)
            .map(To::Subnet)
            .map_err(|error| malformed(&format!("target.subnet: {error}."))),
        (None, None, Some(site), None) => places
            .find_site(site)
            .map(To::Site)
            .map_err(|error| Answer::problem(404, "no-site", &format!("target.site: {error}."))),
        (None, None, None, Some(true)) => Ok(To::All),
        _ => Err(malformed(
            "target has to be {\"client\": \"<id>\"}, {\"subnet\": \"<name>\"}, \
             {\"site\": \"<name>\"} or {\"all\": true}.",
        )),
    }
}

fn payload<'a>(ask: &'a Ask<'_>) -> Result<Cow<'a, [u8]>, Answer> {
    match (&ask.payload, &ask.payload_base64) {
        (Some(text), None) => Ok(Cow::Borrowed(text.as_bytes())),
        (None, Some(text)) => STANDARD
            .decode(text.as_bytes())
            .map(Cow::Owned)
            .map_err(|_| malformed("payload_base64 is not base64.")),
        _ => Err(malformed(
            "There has to be either a payload (text) or a payload_base64.",
        )),
    }
}

fn malformed(detail: &str) -> Answer {
    Answer::problem(400, "malformed", detail)
}

fn refused(error: &NotifyError) -> Answer {
    let (status, name) = match error {
        NotifyError::UnknownClient => (404, "no-client"),
        NotifyError::UnknownSubnet => (404, "no-subnet"),
        NotifyError::UnknownSite => (404, "no-site"),
        NotifyError::PayloadTooLong { .. } => (413, "too-long"),
        NotifyError::Lifetime { .. } => (400, "lifetime"),
        NotifyError::ReplyWindow => (400, "reply-window"),
        NotifyError::Full
        | NotifyError::BytesFull
        | NotifyError::ClientFull
        | NotifyError::GroupFull => (503, "full"),
        _ => (400, "refused"),
    };
    Answer::problem(status, name, &format!("Not notified: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_text_where_they_can_be() {
        let json = |bytes: &[u8]| serde_json::to_string(&Payload::of(bytes)).unwrap();
        assert_eq!(json("grüße\n".as_bytes()), "{\"payload\":\"grüße\\n\"}");
        assert_eq!(json(&[0xff, 0]), "{\"payload_base64\":\"/wA=\"}");
        assert_eq!(json(b"\x01"), "{\"payload_base64\":\"AQ==\"}");
    }

    #[test]
    fn replies_are_asked_for_behind_those_of_a_client() {
        let read = |text: &str| after(&Query::of(Some(text), &["after"]).unwrap());
        let client = ClientId([0xa5; 16]);
        assert_eq!(read(&format!("after={client}")).unwrap(), Some(client));
        assert_eq!(read("").unwrap(), None);
        for text in ["after=", "after=0", "after=a5a5"] {
            assert_eq!(read(text).unwrap_err().status, 400, "{text}");
        }
    }

    #[test]
    fn a_request_names_one_target_and_one_payload() {
        let ask = |text: &'static str| {
            let ask: Ask<'_> = serde_json::from_str(text).ok()?;
            target(&Places::default(), &ask.target).ok()?;
            payload(&ask).ok().map(Cow::into_owned)
        };
        assert_eq!(
            ask("{\"target\":{\"all\":true},\"payload\":\"a\\u0041\"}"),
            Some(b"aA".to_vec())
        );
        assert_eq!(
            ask("{\"target\":{\"all\":true},\"payload_base64\":\"/wA=\"}"),
            Some(vec![255, 0])
        );
        for text in [
            "{\"target\":{\"all\":true}}",
            "{\"target\":{\"all\":false},\"payload\":\"\"}",
            "{\"target\":{},\"payload\":\"\"}",
            "{\"target\":{\"all\":true,\"site\":\"a\"},\"payload\":\"\"}",
            "{\"target\":{\"site\":\"a\"},\"payload\":\"\"}",
            "{\"target\":{\"subnet\":\"a\"},\"payload\":\"\"}",
            "{\"target\":{\"client\":\"12\"},\"payload\":\"\"}",
            "{\"target\":{\"all\":true},\"payload\":\"\",\"payload_base64\":\"\"}",
            "{\"target\":{\"all\":true},\"payload\":\"\",\"paylod\":1}",
            "{\"target\":{\"all\":true},\"payload_base64\":\"*\"}",
        ] {
            assert_eq!(ask(text), None, "{text}");
        }
    }
}
