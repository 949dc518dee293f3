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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Incarnation;
    use crate::id::parse_hex;
    use alloc::format;

    const CLIENT: ClientId = ClientId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

    fn keys() -> (ClientSecret, SessionKey) {
        let secret = MasterKey([0x4d; 32]).client_secret(CLIENT);
        let key = secret.session_key(&session());
        (secret, key)
    }

    const fn session() -> Session {
        Session {
            client: CLIENT,
            registration: 3,
            incarnation: Incarnation(9),
            nonce: [0xa5; 16],
        }
    }

    fn request() -> Request<'static> {
        Request {
            method: "POST",
            target: "/v1/replies/1",
            body: BodyDigest::of(b"{}"),
        }
    }

    fn hex(text: &str) -> [u8; 32] {
        parse_hex(text).expect("hexadecimal")
    }

    /// RFC 4231 section 4.2: HMAC-SHA-256, with its key of 20 bytes padded.
    #[test]
    fn the_hmac_is_that_of_its_rfc() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let expected = hex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert_eq!(hmac(&key, &[b"Hi ", b"There"]), expected);
    }

    /// The expected bytes were computed by another implementation of the page
    /// `docs/wire.md`.
    #[test]
    fn keys_and_proofs_are_the_documented_ones() {
        let (secret, key) = keys();
        let expected = hex("43624415af6132b5c891edbc09248ad06aa19eaa2d14cedb62b1c6cb7d99e047");
        assert_eq!(secret, ClientSecret(expected));
        let expected = hex("4acbe7500a30ed02e94c9f9b347b0221e4d244386a86cac7a4c5836832feb3a3");
        assert_eq!(key, SessionKey(expected));
        let expected = hex("8f7be7eed20a21ec8e5746a62ee84737b9fdcdf8babfac9ea8a8a463c65b951d");
        assert_eq!(request().prove(&key, CLIENT, 5).mac, expected);
        let expected = hex("c82682ae0da407f4cc6f7e86a795a29703a23cef145996285627da6fb23d8e8e");
        let separation = secret.separation(CLIENT, ClientId([7; 16]), 3);
        assert_eq!(separation, expected);
        let expected = hex("d183d4145bfec63fcb99ee50418385eb94bd30d64fb9887fccea7c29098f4cfa");
        assert_eq!(
            request().prove_registration(&secret, CLIENT, 4).mac,
            expected
        );
    }

    #[test]
    fn a_session_key_depends_on_all_of_its_session() {
        let (secret, key) = keys();
        for other in [
            Session {
                client: ClientId([1; 16]),
                ..session()
            },
            Session {
                registration: 4,
                ..session()
            },
            Session {
                incarnation: Incarnation(8),
                ..session()
            },
            Session {
                nonce: [0xa4; 16],
                ..session()
            },
        ] {
            assert_ne!(secret.session_key(&other), key, "{other:?}");
        }
    }

    #[test]
    fn a_proof_covers_all_of_its_request() {
        let (secret, key) = keys();
        let proof = request().prove(&key, CLIENT, 5);
        assert!(proof.proves(&key, &request()));
        for other in [
            Request {
                method: "GET",
                ..request()
            },
            Request {
                target: "/v1/replies/2",
                ..request()
            },
            Request {
                body: BodyDigest::of(b"{} "),
                ..request()
            },
            Request {
                method: "POS",
                target: "T/v1/replies/1",
                ..request()
            },
        ] {
            assert!(!proof.proves(&key, &other), "{other:?}");
        }
        for other in [
            Authorization {
                counter: 6,
                ..proof
            },
            Authorization {
                client: ClientId([0; 16]),
                ..proof
            },
            Authorization {
                mac: [0; 32],
                ..proof
            },
            request().prove_registration(&ClientSecret(key.0), CLIENT, 5),
        ] {
            assert!(!other.proves(&key, &request()), "{other:?}");
        }
        let proof = request().prove_registration(&secret, CLIENT, 4);
        assert!(proof.proves_registration(&secret, &request()));
        assert!(!proof.proves_registration(&ClientSecret([0; 32]), &request()));
    }

    #[test]
    fn secrets_do_not_show() {
        let (secret, key) = keys();
        let shown = format!("{:?} {secret:?} {key:?}", MasterKey([0x4d; 32]));
        assert_eq!(shown, "MasterKey(..) ClientSecret(..) SessionKey(..)");
    }

    #[test]
    fn secrets_of_other_lengths_differ() {
        assert!(same_secret(b"token", b"token"));
        assert!(!same_secret(b"token", b"toke"));
        assert!(!same_secret(b"", b"token"));
        assert!(!same_secret(b"token", b"tokem"));
    }
}
