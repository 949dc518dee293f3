//! Datagrams: authenticated, not secret.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0 | version, 1 | shared |
//! | 1 | kind | shared |
//! | 2..4 | reserved, 0 | shared |
//! | 4..8 | the first 4 bytes of the target's id | per target |
//! | 8..16 | counter | per target |
//! | 16..24 | the notification's number, or the nonce of a test | shared |
//! | 24..40 | MAC | per target |
//! | 40.. | body, by kind | shared |
//!
//! What is shared is digested once for a whole fan-out, by [`Fanout::new`];
//! each target then costs one short MAC over that digest, its id and its
//! counter. The id's first bytes only tell "not for me" from "not genuine";
//! the MAC covers the whole id.
//!
//! A receiver goes through [`Sealed::parse`] and [`Sealed::open`]: content
//! comes out only if the MAC is right, and only then the replay window moves.

use sha2::{Digest as _, Sha256};

use super::BufferTooSmall;
use super::cursor::{Reader, Truncated, Writer};
use super::message::Notification;
use super::proof::{SessionKey, hmac, same_secret};
use super::replay::{Replay, ReplayWindow};
use crate::{ClientId, NotificationId};

/// The version of datagrams that this crate speaks.
pub const VERSION: u8 = 1;

/// The length of what stands before the body, in bytes.
pub const HEADER_BYTES: usize = 40;

/// The longest payload that travels in a datagram, in bytes. A longer one
/// travels as a [`Hint`], so that no datagram is split by the network.
pub const PAYLOAD_BYTES_MAX: usize = 1_024;

/// The longest datagram, in bytes.
pub const DATAGRAM_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX;

/// The length of a [`Mac`], in bytes.
pub const MAC_BYTES: usize = 16;

/// The longest body of a datagram, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 8 + PAYLOAD_BYTES_MAX;
const _: () = assert!(DATAGRAM_BYTES_MAX <= crate::OUTPUT_BUF_MIN);

const KIND_NOTIFICATION: u8 = 1;
const KIND_HINT: u8 = 2;
const KIND_TEST: u8 = 3;

/// What a datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content<'a> {
    /// A notification with its payload, of at most [`PAYLOAD_BYTES_MAX`].
    Notification(Notification<'a>),
    /// A notification whose payload is to be fetched.
    Hint(Hint),
    /// A test of whether datagrams arrive.
    Test(Test),
}

/// A notification that is fetched from the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Its number.
    pub id: NotificationId,
    /// How long it is of use, in seconds from now.
    pub lifetime_s: u32,
    /// The span in which the reply is spread, in milliseconds.
    pub reply_window_ms: u32,
    /// The length of the payload, in bytes.
    pub payload_bytes: u32,
}

/// A test; its receipt is proven by the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Goes back to the relay over TCP.
    pub nonce: u64,
}

/// An HMAC-SHA-256, cut to 16 bytes (RFC 2104 section 5). Compared in constant
/// time.
#[derive(Clone, Copy, Debug)]
pub struct Mac(pub [u8; MAC_BYTES]);

impl PartialEq for Mac {
    fn eq(&self, other: &Self) -> bool {
        same_secret(&self.0, &other.0)
    }
}

impl Eq for Mac {}

/// The digest of what all targets of a datagram share.
///
/// 32 bytes that a fan-out keeps beside its cursor; the content itself can
/// stay where it is.
///
/// ```
/// use tautline_core::wire::datagram::{Content, Fanout, Sealed, Test};
/// use tautline_core::wire::proof::SessionKey;
/// use tautline_core::wire::replay::ReplayWindow;
/// use tautline_core::ClientId;
///
/// let (key, client) = (SessionKey([1; 32]), ClientId([2; 16]));
/// let content = Content::Test(Test { nonce: 7 });
/// let mut buf = [0; 40];
/// let len = Fanout::new(&content).encode(&content, client, 1, &key, &mut buf)?;
///
/// let mut window = ReplayWindow::default();
/// let sealed = Sealed::parse(&buf[..len]).unwrap();
/// assert_eq!(sealed.open(client, &key, &mut window), Ok(content));
/// assert!(sealed.open(client, &key, &mut window).is_err(), "replayed");
/// # Ok::<(), tautline_core::wire::BufferTooSmall>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fanout {
    digest: [u8; 32],
}

/// A datagram that was received and not yet authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    target: [u8; 4],
    counter: u64,
    mac: Mac,
    content: Content<'a>,
}

/// Why a datagram is dropped; each reason is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// It ends before its fields do.
    #[error("the datagram is truncated")]
    Truncated,
    /// It is longer than its kind allows.
    #[error("the datagram is too long")]
    TooLong,
    /// Another version, or no datagram of this protocol.
    #[error("the datagram is of another version")]
    Version,
    /// A kind that this version does not know.
    #[error("the datagram is of an unknown kind")]
    Kind,
    /// For another client, which may have had this address before.
    #[error("the datagram is for another client")]
    Foreign,
    /// The MAC is not that of the key.
    #[error("the datagram is not genuine")]
    Forged,
    /// Genuine, but received before, or too old to tell.
    #[error("the datagram was received before")]
    Replayed,
}

impl DatagramError {
    /// The reason in one word, to count it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::TooLong => "too_long",
            Self::Version => "version",
            Self::Kind => "kind",
            Self::Foreign => "foreign",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
        }
    }
}

impl From<Truncated> for DatagramError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

impl From<Replay> for DatagramError {
    fn from(_: Replay) -> Self {
        Self::Replayed
    }
}

impl Content<'_> {
    /// The length of the datagram, in bytes.
    pub const fn encoded_len(&self) -> usize {
        let body = match self {
            Self::Notification(notification) => notification.payload.len().saturating_add(8),
            Self::Hint(_) => 12,
            Self::Test(_) => 0,
        };
        body.saturating_add(HEADER_BYTES)
    }

    /// Whether it may leave: a longer payload than [`PAYLOAD_BYTES_MAX`] must
    /// be sent as a [`Hint`], the receiver drops it otherwise.
    pub const fn fits(&self) -> bool {
        self.encoded_len() <= DATAGRAM_BYTES_MAX
    }

    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Notification(_) => KIND_NOTIFICATION,
            Self::Hint(_) => KIND_HINT,
            Self::Test(_) => KIND_TEST,
        }
    }

    pub(super) const fn number(&self) -> u64 {
        match self {
            Self::Notification(notification) => notification.id.0,
            Self::Hint(hint) => hint.id.0,
            Self::Test(test) => test.nonce,
        }
    }

    pub(super) fn write_body(&self, out: &mut impl FnMut(&[u8])) {
        match self {
            Self::Notification(notification) => {
                out(&notification.lifetime_s.to_be_bytes());
                out(&notification.reply_window_ms.to_be_bytes());
                out(notification.payload);
            }
            Self::Hint(hint) => {
                out(&hint.lifetime_s.to_be_bytes());
                out(&hint.reply_window_ms.to_be_bytes());
                out(&hint.payload_bytes.to_be_bytes());
            }
            Self::Test(_) => {}
        }
    }
}

impl Fanout {
    /// Digests what all targets share.
    pub fn new(content: &Content<'_>) -> Self {
        let mut digest = Sha256::new_with_prefix([VERSION, content.kind(), 0, 0]);
        digest.update(content.number().to_be_bytes());
        content.write_body(&mut |bytes| digest.update(bytes));
        Self {
            digest: digest.finalize().into(),
        }
    }

    /// The MAC for one target. `counter` rises with each datagram under `key`.
    pub fn mac(&self, target: ClientId, counter: u64, key: &SessionKey) -> Mac {
        let parts = [LABEL, &self.digest, &target.0, &counter.to_be_bytes()];
        let [mac @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hmac(&key.0, &parts);
        Mac(mac)
    }

    /// Writes the datagram for one target and returns its length. `content` is
    /// what was digested.
    ///
    /// # Errors
    /// [`BufferTooSmall`] if it does not fit; [`DATAGRAM_BYTES_MAX`] is always
    /// enough for what [`fits`](Content::fits).
    pub fn encode(
        &self,
        content: &Content<'_>,
        target: ClientId,
        counter: u64,
        key: &SessionKey,
        buf: &mut [u8],
    ) -> Result<usize, BufferTooSmall> {
        let per_target = PerTarget {
            tag: tag(target),
            counter,
            mac: self.mac(target, counter, key),
        };
        let mut writer = Writer::new(buf);
        write_header(&mut writer, content.kind(), content.number(), &per_target);
        content.write_body(&mut |bytes| writer.bytes(bytes));
        writer.finish()
    }
}

impl<'a> Sealed<'a> {
    /// Reads a datagram's fields. Nothing of it can be believed yet, so only
    /// its claims are shown.
    ///
    /// # Errors
    /// [`DatagramError`]: it is none of this protocol.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(DatagramError::Version);
        }
        let kind = reader.u8()?;
        if reader.u16()? != 0 {
            return Err(DatagramError::Version);
        }
        let target = reader.array()?;
        let counter = reader.u64()?;
        let number = reader.u64()?;
        let mac = Mac(reader.array()?);
        let content = read_content(kind, number, reader)?;
        Ok(Self {
            target,
            counter,
            mac,
            content,
        })
    }

    /// The counter that it claims.
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// Whether it claims to be for the client.
    pub fn is_for(&self, client: ClientId) -> bool {
        self.target == tag(client)
    }

    /// What the datagram says, if it is genuine, for `client`, and new. The
    /// window belongs to the key; it moves only if this succeeds.
    ///
    /// # Errors
    /// [`DatagramError::Foreign`], [`Forged`](DatagramError::Forged) or
    /// [`Replayed`](DatagramError::Replayed). A receiver that holds two keys
    /// tries the other one after `Forged`.
    pub fn open(
        &self,
        client: ClientId,
        key: &SessionKey,
        window: &mut ReplayWindow,
    ) -> Result<Content<'a>, DatagramError> {
        if !self.is_for(client) {
            return Err(DatagramError::Foreign);
        }
        let right = Fanout::new(&self.content).mac(client, self.counter, key);
        if self.mac != right {
            return Err(DatagramError::Forged);
        }
        window.accept(self.counter)?;
        Ok(self.content)
    }
}

const LABEL: &[u8] = b"tautline 1 datagram";

fn read_content(kind: u8, number: u64, mut body: Reader<'_>) -> Result<Content<'_>, DatagramError> {
    let body_bytes_max = match kind {
        KIND_NOTIFICATION => BODY_BYTES_MAX,
        KIND_HINT => 12,
        KIND_TEST => 0,
        _ => return Err(DatagramError::Kind),
    };
    if body.len() > body_bytes_max {
        return Err(DatagramError::TooLong);
    }
    if kind == KIND_TEST {
        return Ok(Content::Test(Test { nonce: number }));
    }
    let id = NotificationId(number);
    let (lifetime_s, reply_window_ms) = (body.u32()?, body.u32()?);
    Ok(if kind == KIND_HINT {
        Content::Hint(Hint {
            id,
            lifetime_s,
            reply_window_ms,
            payload_bytes: body.u32()?,
        })
    } else {
        Content::Notification(Notification {
            id,
            lifetime_s,
            reply_window_ms,
            payload: body.rest(),
        })
    })
}

/// What stands in the header of a datagram for its target alone.
pub(super) struct PerTarget {
    pub(super) tag: [u8; 4],
    pub(super) counter: u64,
    pub(super) mac: Mac,
}

/// Puts the header of a datagram; its body follows.
pub(super) fn write_header(writer: &mut Writer<'_>, kind: u8, number: u64, target: &PerTarget) {
    writer.bytes(&[VERSION, kind, 0, 0]);
    writer.bytes(&target.tag);
    writer.u64(target.counter);
    writer.u64(number);
    writer.bytes(&target.mac.0);
}

/// What a client's datagrams are told from those of others by.
pub(super) fn tag(ClientId([a, b, c, d, ..]): ClientId) -> [u8; 4] {
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Incarnation;
    use crate::id::parse_hex;

    const CLIENT: ClientId = ClientId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    const ID: NotificationId = NotificationId::new(Incarnation(9), 1);

    const NOTIFICATION: Content<'_> = Content::Notification(Notification {
        id: ID,
        lifetime_s: 3_600,
        reply_window_ms: 1_000,
        payload: b"wake up",
    });

    fn key() -> SessionKey {
        let key = "4acbe7500a30ed02e94c9f9b347b0221e4d244386a86cac7a4c5836832feb3a3";
        SessionKey(parse_hex(key).expect("hexadecimal"))
    }

    fn sealed(content: &Content<'_>, buf: &mut [u8]) -> usize {
        let len = Fanout::new(content).encode(content, CLIENT, 6, &key(), buf);
        len.expect("the buffer is large enough")
    }

    fn open(bytes: &[u8]) -> Result<Content<'_>, DatagramError> {
        Sealed::parse(bytes)?.open(CLIENT, &key(), &mut ReplayWindow::default())
    }

    /// The expected bytes were computed by another implementation of the page
    /// `docs/wire.md`.
    #[test]
    fn the_layouts_are_the_documented_ones() {
        let mut buf = [0; DATAGRAM_BYTES_MAX];
        let expected = parse_hex::<55>(concat!(
            "0101000000010203000000000000000600000009000000017e0ddb91060ccfe7ef764ab3cc9c73ce",
            "00000e10000003e877616b65207570"
        ));
        let len = sealed(&NOTIFICATION, &mut buf);
        assert_eq!(buf[..len], expected.expect("hexadecimal"));

        let hint = Content::Hint(Hint {
            id: ID,
            lifetime_s: 3_600,
            reply_window_ms: 1_000,
            payload_bytes: 70_000,
        });
        let expected = parse_hex::<52>(concat!(
            "0102000000010203000000000000000600000009000000017a8362276bb6c6781fd352a4271386d8",
            "00000e10000003e800011170"
        ));
        let len = sealed(&hint, &mut buf);
        assert_eq!(buf[..len], expected.expect("hexadecimal"));
        assert_eq!(open(&buf[..len]), Ok(hint));

        let test = Content::Test(Test {
            nonce: 0x1122_3344_5566_7788,
        });
        let expected = parse_hex::<40>(
            "010300000001020300000000000000061122334455667788563a339bfe4dc9c75247dc75647feb13",
        );
        let len = sealed(&test, &mut buf);
        assert_eq!(buf[..len], expected.expect("hexadecimal"));
        assert_eq!(open(&buf[..len]), Ok(test));
    }

    #[test]
    fn each_fault_has_its_reason() {
        let mut buf = [0; DATAGRAM_BYTES_MAX + 1];
        let len = sealed(&NOTIFICATION, &mut buf);
        let bytes = &buf[..len];
        assert_eq!(open(bytes), Ok(NOTIFICATION));
        for len in 0..48 {
            assert_eq!(open(&bytes[..len]), Err(DatagramError::Truncated), "{len}");
        }
        assert_eq!(open(&bytes[..48]), Err(DatagramError::Forged));
        for (place, error) in [
            (0, DatagramError::Version),
            (1, DatagramError::Kind),
            (2, DatagramError::Version),
            (3, DatagramError::Version),
            (7, DatagramError::Foreign),
            (15, DatagramError::Forged),
            (23, DatagramError::Forged),
            (39, DatagramError::Forged),
            (54, DatagramError::Forged),
        ] {
            let mut changed = bytes.to_vec();
            changed[place] ^= 0x80;
            assert_eq!(open(&changed), Err(error), "byte {place}");
        }
        assert_eq!(open(&buf), Err(DatagramError::TooLong));
        let nearly = open(&buf[..DATAGRAM_BYTES_MAX]);
        assert_eq!(
            nearly,
            Err(DatagramError::Forged),
            "the longest is not too long"
        );
    }

    #[test]
    fn the_whole_id_of_the_target_is_covered() {
        let mut buf = [0; DATAGRAM_BYTES_MAX];
        let len = sealed(&NOTIFICATION, &mut buf);
        let sealed = Sealed::parse(&buf[..len]).expect("right");
        let mut other = CLIENT;
        other.0[15] ^= 1;
        assert!(sealed.is_for(other), "the same first bytes");
        let opened = sealed.open(other, &key(), &mut ReplayWindow::default());
        assert_eq!(opened, Err(DatagramError::Forged));
    }

    #[test]
    fn the_window_moves_for_the_genuine_alone() {
        let mut buf = [0; DATAGRAM_BYTES_MAX];
        let len = sealed(&NOTIFICATION, &mut buf);
        let mut window = ReplayWindow::default();
        let mut forged = buf;
        forged[8] = 0xff;
        let opened = Sealed::parse(&forged[..len]).map(|it| it.open(CLIENT, &key(), &mut window));
        assert_eq!(opened, Ok(Err(DatagramError::Forged)));
        assert_eq!(window.highest(), None);
        let opened = Sealed::parse(&buf[..len]).map(|it| it.open(CLIENT, &key(), &mut window));
        assert_eq!(opened, Ok(Ok(NOTIFICATION)));
        let opened = Sealed::parse(&buf[..len]).map(|it| it.open(CLIENT, &key(), &mut window));
        assert_eq!(opened, Ok(Err(DatagramError::Replayed)));
    }

    #[test]
    fn a_payload_up_to_the_limit_fits() {
        let content = |payload| {
            Content::Notification(Notification {
                id: ID,
                lifetime_s: 0,
                reply_window_ms: 0,
                payload,
            })
        };
        let payload = [0; PAYLOAD_BYTES_MAX + 1];
        assert!(content(&payload[1..]).fits());
        assert!(!content(&payload).fits());
        let mut buf = [0; DATAGRAM_BYTES_MAX - 1];
        let longest = content(&payload[1..]);
        let encoded = Fanout::new(&longest).encode(&longest, CLIENT, 1, &key(), &mut buf);
        assert_eq!(
            encoded,
            Err(BufferTooSmall {
                needed: DATAGRAM_BYTES_MAX
            })
        );
    }
}
