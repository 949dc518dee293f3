//! The applications of a script: what they say of what they heard, and how a
//! client answers. The same over every driver.

use sha2::{Digest, Sha256};
use tautline_core::client::{self, Client, RelayAddress};
use tautline_core::relay::{self, Relay};
use tautline_core::wire::proof::MasterKey;
use tautline_core::{ClientId, Incarnation, Instant, NotificationId};
use tautline_tests::Dice;

/// How many clients there are.
pub(crate) const CLIENTS: usize = 4;

/// Whose part of the trace it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The relay, of itself.
    Relay,
    /// The relay, of a client.
    RelayOf(usize),
    /// A client.
    Client(usize),
}

/// What an application heard, and what it did about it.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) place: Place,
    pub(crate) notification: Option<NotificationId>,
    pub(crate) what: String,
}

/// The relay of a seed.
pub(crate) fn relay(seed: u64) -> Relay {
    let mut settings = relay::Settings::new(MasterKey([7; 32]), Incarnation(1));
    // No stage has TLS.
    settings.registry.secrets_over_plaintext = true;
    // All clients of a stage may have one address.
    settings.registry.connections_per_subnet_max = 0;
    // Nobody returns to a relay that was drained before the script is over.
    settings.return_window = core::time::Duration::from_secs(3_600);
    let seed = Dice::of_step(seed, 0).seed();
    Relay::new(settings, relay::Limits::default(), seed)
}

/// A client of a seed in one of its lives.
pub(crate) fn client(seed: u64, number: usize, life: u32, host: &str, port: u16) -> Client {
    let relay = RelayAddress {
        host: host.into(),
        port,
        tls: false,
    };
    let settings = client::Settings::new(relay, &name(number));
    let step = 1 + number as u64 + u64::from(life) * CLIENTS as u64;
    let seed = Dice::of_step(seed, step).seed();
    Client::new(settings, client::Limits::default(), seed)
}

/// A client's hostname.
pub(crate) fn name(number: usize) -> String {
    format!("client{number}")
}

/// What a client replies to a payload; nothing to some.
pub(crate) fn answer(number: usize, payload: &[u8]) -> Option<Vec<u8>> {
    let digest: [u8; 32] = Sha256::digest(payload).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    let mut dice = Dice::of_step(u64::from_le_bytes([a, b, c, d, e, f, g, h]), number as u64);
    if dice.one_in(5) {
        return None;
    }
    Some(payload_of(&mut dice))
}

/// Short mostly; sometimes longer than the buffers that it passes through.
pub(crate) fn payload_of(dice: &mut Dice) -> Vec<u8> {
    let len_max = if dice.one_in(8) { 60_000 } else { 200 };
    dice.bytes(len_max)
}

/// Hears an event of a client, and does what is to be done.
pub(crate) fn hear_client(
    number: usize,
    client: &mut Client,
    now: Instant,
    event: client::Event,
) -> Note {
    use client::Event;
    let mut about = None;
    let what = match event {
        Event::Registered { granted, .. } => format!("registered, granted: {granted}"),
        Event::Connected => "connected".to_owned(),
        Event::Disconnected { why } => format!("disconnected: {why}"),
        Event::Stopped => "stopped".to_owned(),
        Event::Notification {
            notification, id, ..
        } => {
            about = Some(id);
            let (told, payload) = client.notification(notification).expect("it waits");
            assert_eq!(told, id);
            let (told, reply) = (brief(payload), answer(number, payload));
            let done = match reply {
                Some(reply) => match client.reply(now, notification, &reply) {
                    Ok(()) => format!("replied with {}", brief(&reply)),
                    Err(misuse) => format!("could not reply: {misuse}"),
                },
                None => {
                    client.dismiss(now, notification);
                    "dismissed".to_owned()
                }
            };
            format!("told {told}, {done}")
        }
        other => format!("{other:?}"),
    };
    Note {
        place: Place::Client(number),
        notification: about,
        what,
    }
}

/// Hears an event of the relay.
pub(crate) fn hear_relay(relay: &Relay, event: relay::Event) -> Note {
    use relay::Event;
    let of = |client: ClientId| Place::RelayOf(number_of(relay, client));
    let (place, notification, what) = match event {
        Event::Registered { client, new, .. } => {
            (of(client), None, format!("registered, new: {new}"))
        }
        Event::Connected { client, .. } => (of(client), None, "connected".to_owned()),
        Event::Disconnected { client, why, .. } => {
            (of(client), None, format!("disconnected: {why}"))
        }
        Event::Replied {
            notification,
            client,
        } => {
            let mut replies = relay.replies(notification);
            let reply = replies.find(|reply| reply.client == client);
            let what = format!("replied with {}", brief(reply.expect("it is kept").payload));
            (of(client), Some(notification), what)
        }
        Event::Expired(status) => {
            let what = format!("expired, {}", progress(&status));
            (Place::Relay, Some(status.id), what)
        }
        Event::Drained => (Place::Relay, None, "drained".to_owned()),
        other => (Place::Relay, None, format!("{other:?}")),
    };
    Note {
        place,
        notification,
        what,
    }
}

/// How far a notification came.
pub(crate) fn progress(status: &tautline_core::notify::Status) -> String {
    let (targets, sent, replied) = (status.targets, status.sent, status.replied);
    format!("{targets} targets, {sent} sent, {replied} replied")
}

/// A client's number, by its hostname.
fn number_of(relay: &Relay, client: ClientId) -> usize {
    let record = relay.client(client).expect("it is registered");
    let number = record.hostname().strip_prefix("client");
    number
        .and_then(|number| number.parse().ok())
        .expect("a name of the cast")
}

fn brief(bytes: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let [a, b, c, d, ..] = digest;
    format!(
        "{} bytes #{:08x}",
        bytes.len(),
        u32::from_be_bytes([a, b, c, d])
    )
}
