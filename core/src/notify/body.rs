//! The answer to `GET /v1/inbox`, as JSON.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::NotificationId;

/// The notifications that a client has not seen, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbox {
    /// The relay's run, so that a client that only polls sees a restart too.
    pub incarnation: u32,
    /// The notifications.
    pub notifications: Vec<Item>,
    /// Whether there are more behind the last one: ask again.
    #[serde(default)]
    pub more: bool,
}

/// One notification of an [`Inbox`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its number, 16 hexadecimal digits.
    #[serde(with = "notification_text")]
    pub notification: NotificationId,
    /// How long it is of use, in seconds from now.
    pub lifetime_s: u32,
    /// The span over which replies are to be spread, in milliseconds.
    #[serde(default)]
    pub reply_window_ms: u32,
    /// What the application said, in base64 (RFC 4648 section 4).
    pub payload_base64: String,
}

/// Writes bytes as base64 with padding.
pub fn encode_payload(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads base64 with padding; `None` if it is not.
pub fn decode_payload(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

mod notification_text {
    use alloc::borrow::Cow;

    use super::{Deserialize, NotificationId};

    pub(super) fn serialize<S: serde::Serializer>(
        id: &NotificationId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<NotificationId, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_survives_text() {
        let inbox = Inbox {
            incarnation: 3,
            notifications: alloc::vec![Item {
                notification: NotificationId(5),
                lifetime_s: 60,
                reply_window_ms: 0,
                payload_base64: encode_payload(b"\x00ping"),
            }],
            more: true,
        };
        let text = serde_json::to_string(&inbox).unwrap();
        assert_eq!(serde_json::from_str::<Inbox>(&text).unwrap(), inbox);
        assert_eq!(
            decode_payload(&inbox.notifications[0].payload_base64).unwrap(),
            b"\x00ping"
        );
        assert_eq!(decode_payload("?"), None);
    }
}
