//! What client and relay tell each other at a registration, as JSON.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::parse_hex;
use crate::{ClientId, Incarnation, NotificationId};

/// The version of the protocol between client and relay.
pub const PROTOCOL: u32 = 1;

/// The body of `POST /v1/register`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request<'a> {
    /// The version that the client speaks, [`PROTOCOL`].
    pub protocol: u32,
    /// The identity that an earlier registration gave; absent at the first.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_text"
    )]
    pub client: Option<ClientId>,
    /// The number of this registration; the client persists it and never uses
    /// one twice.
    pub registration: u64,
    /// The machine's name, for people.
    #[serde(borrow)]
    pub hostname: Cow<'a, str>,
    /// The machine's addresses, with the length of their network's prefix.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// The port for datagrams; 0 is none.
    #[serde(default)]
    pub udp_port: u16,
    /// Whether the client wishes for a persistent connection.
    #[serde(default)]
    pub persistent_connection: bool,
    /// The address of the client's end of the connection that the registration
    /// travels on, as far as it knows: it tells which of the `interfaces` is in
    /// use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// Drawn at random at each start of the client, so that two machines with
    /// one identity can be told apart. 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Hex<8>>,
    /// The client's heartbeats. Absent of a client that has none of its own:
    /// what it expects follows the relay's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<HeartbeatFigures>,
}

/// The figures of one end's heartbeats, so that both ends can tell whether
/// theirs fit. Seconds; 0 is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatFigures {
    /// How often it asks whether the other end is there.
    pub period_s: u32,
    /// After which silence it ends a connection.
    pub heartbeat_s: u32,
    /// How often it looks for that.
    pub frequency_s: u32,
}

impl HeartbeatFigures {
    /// Of these spans, in whole seconds, rounded up: what is on is not stated
    /// as off.
    pub fn new(period: Duration, heartbeat: Duration, frequency: Duration) -> Self {
        let [period_s, heartbeat_s, frequency_s] = [period, heartbeat, frequency]
            .map(|span| u32::try_from(span.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX));
        Self {
            period_s,
            heartbeat_s,
            frequency_s,
        }
    }

    /// The spans: period, heartbeat, frequency.
    pub fn spans(&self) -> [Duration; 3] {
        [self.period_s, self.heartbeat_s, self.frequency_s]
            .map(|seconds| Duration::from_secs(seconds.into()))
    }
}

/// An address of a client and the length of its network's prefix, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The address.
    pub address: IpAddr,
    /// Bits of the network part: at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

impl Interface {
    /// Whether the prefix fits the kind of address.
    pub const fn is_valid(&self) -> bool {
        match self.address {
            IpAddr::V4(_) => self.prefix <= 32,
            IpAddr::V6(_) => self.prefix <= 128,
        }
    }
}

/// The body of the relay's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The version that the relay speaks, [`PROTOCOL`].
    pub protocol: u32,
    /// The client's identity from now on.
    #[serde(with = "client_text")]
    pub client: ClientId,
    /// The secret that proves the identity; only in the answer to the first
    /// registration. 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Hex<32>>,
    /// The number of the relay's run.
    pub incarnation: u32,
    /// What the session key of this registration is derived from.
    pub nonce: Hex<16>,
    /// When to register anew, in seconds from now.
    pub register_again_s: u32,
    /// The newest notification that the client was sent, or that is older than
    /// it: a client that has seen none of this run begins behind it. Absent
    /// where the relay does not say.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_text"
    )]
    pub notified: Option<NotificationId>,
    /// The window in which a client returns whose connection was lost without
    /// a word, in milliseconds; 0 leaves it to the client.
    #[serde(default)]
    pub return_window_ms: u32,
    /// The client is a copy of another one, and is `client` with `secret` from
    /// now on. The proof of that under the secret that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separated: Option<Hex<32>>,
    /// Whether the client shall open a persistent connection. Absent in the
    /// answer of a relay that does not know them: none then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_connection: Option<Verdict>,
    /// The relay's heartbeats. Absent in the answer of a relay that does not
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<HeartbeatFigures>,
}

impl Answer {
    /// The number of the relay's run, typed.
    pub const fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation)
    }
}

/// What the relay decided about a persistent connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the client is granted one.
    pub granted: bool,
    /// How long to wait for a test notification before opening it, in
    /// milliseconds.
    #[serde(default)]
    pub wait_ms: u32,
    /// How long the grant holds, in milliseconds from the answer: no attempt
    /// that begins later succeeds. 0 is unknown.
    #[serde(default)]
    pub valid_ms: u32,
    /// Why not, in one word; absent when granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Verdict {
    /// The words that a relay gives as reasons.
    pub const REASONS: [&'static str; 6] = [
        "disabled",
        "root",
        "not_asked",
        "total_cap",
        "subnet_cap",
        "address_cap",
    ];

    /// The reason, if it is one of [`REASONS`](Self::REASONS).
    pub fn known_reason(&self) -> Option<&'static str> {
        let reason = self.reason.as_deref()?;
        Self::REASONS.into_iter().find(|known| *known == reason)
    }
}

/// Bytes written as lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> core::fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Keys travel in this form, so it shows nothing of itself.
impl<const N: usize> core::fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Hex<{N}>(..)")
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        parse_hex(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

pub(crate) mod client_text {
    use super::{ClientId, Cow, Deserialize};

    pub(crate) fn serialize<S: serde::Serializer>(
        id: &ClientId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ClientId, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An id as text, or nothing.
mod optional_text {
    use core::fmt::Display;
    use core::str::FromStr;

    use super::{Cow, Deserialize};

    pub(super) fn serialize<T: Display, S: serde::Serializer>(
        id: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => serializer.collect_str(id),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: serde::Deserializer<'de>,
    {
        let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_registration_names_no_client() {
        let body = r#"{"protocol":1,"registration":1,"hostname":"web-1",
            "interfaces":[{"address":"10.0.0.5","prefix":24}],"later":"ignored"}"#;
        let request: Request<'_> = serde_json::from_str(body).unwrap();
        assert_eq!(request.client, None);
        assert_eq!(request.interfaces[0].prefix, 24);
        assert!(!request.persistent_connection);
        assert_eq!((request.local, request.instance), (None, None));
    }

    #[test]
    fn a_registration_says_where_it_travels_and_which_start_it_is() {
        let body = r#"{"protocol":1,"registration":1,"hostname":"web-1",
            "local":"fe80::1","instance":"00000000000000ff"}"#;
        let request: Request<'_> = serde_json::from_str(body).unwrap();
        assert_eq!(request.local, Some("fe80::1".parse().unwrap()));
        assert_eq!(request.instance, Some(Hex([0, 0, 0, 0, 0, 0, 0, 0xff])));
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request<'_>>(&text).unwrap(), request);
        for wrong in [
            r#""local":"here""#,
            r#""instance":255"#,
            r#""instance":"ff""#,
        ] {
            let body =
                alloc::format!(r#"{{"protocol":1,"registration":1,"hostname":"h",{wrong}}}"#);
            assert!(
                serde_json::from_str::<Request<'_>>(&body).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn figures_of_heartbeats_are_whole_or_absent() {
        let body = |heartbeat: &str| {
            alloc::format!(r#"{{"protocol":1,"registration":1,"hostname":"h"{heartbeat}}}"#)
        };
        let (absent, text) = (
            body(""),
            body(r#","heartbeat":{"period_s":0,"heartbeat_s":900,"frequency_s":60}"#),
        );
        assert_eq!(
            serde_json::from_str::<Request<'_>>(&absent)
                .unwrap()
                .heartbeat,
            None
        );
        let request: Request<'_> = serde_json::from_str(&text).unwrap();
        let stated = HeartbeatFigures {
            period_s: 0,
            heartbeat_s: 900,
            frequency_s: 60,
        };
        assert_eq!(request.heartbeat, Some(stated));
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request<'_>>(&text).unwrap(), request);
        for wrong in [
            r#"{"period_s":1}"#,
            r#"{"period_s":-1,"heartbeat_s":0,"frequency_s":0}"#,
            "60",
        ] {
            let body = body(&alloc::format!(r#","heartbeat":{wrong}"#));
            assert!(
                serde_json::from_str::<Request<'_>>(&body).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_answer_survives_text_and_hides_its_secret() {
        let answer = Answer {
            protocol: PROTOCOL,
            client: ClientId([0xab; 16]),
            secret: Some(Hex([0xcd; 32])),
            incarnation: 7,
            nonce: Hex([1; 16]),
            register_again_s: 21_600,
            notified: Some(NotificationId(9)),
            return_window_ms: 30_000,
            separated: Some(Hex([0xce; 32])),
            persistent_connection: Some(Verdict {
                granted: true,
                wait_ms: 0,
                valid_ms: 1,
                reason: None,
            }),
            heartbeat: Some(HeartbeatFigures {
                period_s: 600,
                heartbeat_s: 0,
                frequency_s: 60,
            }),
        };
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
        assert!(!alloc::format!("{answer:?}").contains("cdcd"));
    }

    #[test]
    fn an_older_relay_gives_no_verdict() {
        let text = alloc::format!(
            r#"{{"protocol":1,"client":"{}","incarnation":1,"nonce":"{}","register_again_s":60}}"#,
            ClientId([1; 16]),
            Hex([2; 16]),
        );
        let answer: Answer = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (answer.persistent_connection, answer.heartbeat),
            (None, None)
        );
        assert_eq!((answer.return_window_ms, answer.separated), (0, None));
    }
}
