//! Keys, and proofs that a request comes from who it says.
//!
//! Everything is HMAC-SHA-256 (RFC 2104), and each use has a label of its own
//! in front of its message, so that no tag can pass for another:
//!
//! ```text
//! MasterKey --client id--> ClientSecret --session--> SessionKey
//!                              |                        |
//!                   later registrations      connect, inbox, replies, datagrams
//! ```
//!
//! A relay keeps one [`MasterKey`] and derives the secrets of its clients from
//! it, so it needs no table of secrets. A client gets its [`ClientSecret`]
//! with the answer to its first registration, and both ends derive the
//! [`SessionKey`] of each registration. Every request then states a counter
//! that rises, and proves method, target, body and counter in its
//! `Authorization` field.

mod header;
mod keys;

pub use header::{Authorization, AuthorizationError};
pub use keys::{ClientSecret, MasterKey, SECRET_BYTES, Session, SessionKey};

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::ClientId;

/// A SHA-256 digest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyDigest(pub [u8; 32]);

impl BodyDigest {
    /// The digest of a body that is in one piece; of an empty one for a
    /// request without a body.
    ///
    /// ```
    /// use tautline_core::wire::proof::BodyDigest;
    ///
    /// // FIPS 180-4, the message of no bits
    /// assert_eq!(BodyDigest::of(b"").0[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    /// ```
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }
}

/// What the proof of a request covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method, as in the request line: `POST`.
    pub method: &'a str,
    /// The request target, as in the request line: `/v1/inbox?after=7`.
    pub target: &'a str,
    /// The digest of the whole body.
    pub body: BodyDigest,
}

impl Request<'_> {
    /// The proof of a registration after the first, by the client's secret.
    /// `registration` is the number of the registration, which rises.
    pub fn prove_registration(
        &self,
        secret: &ClientSecret,
        client: ClientId,
        registration: u64,
    ) -> Authorization {
        let mac = self.mac(&secret.0, LABEL_REGISTRATION, client, registration);
        Authorization {
            client,
            counter: registration,
            mac,
        }
    }

    /// The proof of a request within a registration, by its key. `counter`
    /// rises with each request under the key.
    pub fn prove(&self, key: &SessionKey, client: ClientId, counter: u64) -> Authorization {
        let mac = self.mac(&key.0, LABEL_REQUEST, client, counter);
        Authorization {
            client,
            counter,
            mac,
        }
    }

    fn mac(
        &self,
        key: &[u8; SECRET_BYTES],
        label: &[u8],
        client: ClientId,
        counter: u64,
    ) -> [u8; 32] {
        hmac(
            key,
            &[
                label,
                &client.0,
                &counter.to_be_bytes(),
                &self.body.0,
                &(self.method.len() as u64).to_be_bytes(),
                self.method.as_bytes(),
                self.target.as_bytes(),
            ],
        )
    }
}

impl Authorization {
    /// Whether it proves the registration. Takes the same time for every
    /// wrong proof. The caller judges the number.
    #[must_use]
    pub fn proves_registration(&self, secret: &ClientSecret, request: &Request<'_>) -> bool {
        let right = request.prove_registration(secret, self.client, self.counter);
        same_secret(&self.mac, &right.mac)
    }

    /// Whether it proves the request. Takes the same time for every wrong
    /// proof. The caller judges the counter, and only after this, with a
    /// [`ReplayWindow`](super::replay::ReplayWindow).
    #[must_use]
    pub fn proves(&self, key: &SessionKey, request: &Request<'_>) -> bool {
        let right = request.prove(key, self.client, self.counter);
        same_secret(&self.mac, &right.mac)
    }
}

/// Compares two secrets in a time that depends on their lengths alone.
#[must_use]
pub fn same_secret(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

const LABEL_REGISTRATION: &[u8] = b"tautline 1 registration";
const LABEL_REQUEST: &[u8] = b"tautline 1 request";

/// HMAC-SHA-256 over the parts, one behind another.
pub(super) fn hmac(key: &[u8; SECRET_BYTES], parts: &[&[u8]]) -> [u8; 32] {
    let block = block_of(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The key, padded with zeros to a block, as RFC 2104 section 2 has it for
/// keys below a block: such a key is taken without a way to fail.
fn block_of(key: &[u8; SECRET_BYTES]) -> [u8; 64] {
    let mut block = [0; 64];
    block[..SECRET_BYTES].copy_from_slice(key);
    block
}
