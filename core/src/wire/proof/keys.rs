//! The keys, and how each follows from the one above it.

use core::fmt;

use super::{hmac, same_secret};
use crate::{ClientId, Incarnation};

/// The length of a key, in bytes.
pub const SECRET_BYTES: usize = 32;

macro_rules! secrets {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Compared in constant time; not shown by `Debug`.
        #[derive(Clone)]
        pub struct $name(pub [u8; SECRET_BYTES]);

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                same_secret(&self.0, &other.0)
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

secrets! {
    /// A relay's own key, from which the secrets of its clients follow.
    MasterKey;
    /// What a client and its relay share, from the first registration on.
    ClientSecret;
    /// What they share from one registration to the next.
    SessionKey;
}

/// What makes the key of one registration differ from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The client.
    pub client: ClientId,
    /// The number of the registration, which rises.
    pub registration: u64,
    /// The relay's run.
    pub incarnation: Incarnation,
    /// Drawn by the relay for this registration.
    pub nonce: [u8; 16],
}

impl MasterKey {
    /// The secret of a client.
    pub fn client_secret(&self, client: ClientId) -> ClientSecret {
        ClientSecret(hmac(&self.0, &[b"tautline 1 client secret", &client.0]))
    }
}

impl ClientSecret {
    /// The key of a registration.
    pub fn session_key(&self, session: &Session) -> SessionKey {
        SessionKey(hmac(
            &self.0,
            &[
                b"tautline 1 session key",
                &session.client.0,
                &session.registration.to_be_bytes(),
                &session.incarnation.0.to_be_bytes(),
                &session.nonce,
            ],
        ))
    }

    /// The proof that the relay separates a client that is a copy of another:
    /// by the secret that both had, it is `to` from now on.
    pub fn separation(&self, from: ClientId, to: ClientId, registration: u64) -> [u8; 32] {
        hmac(
            &self.0,
            &[
                b"tautline 1 separation",
                &from.0,
                &to.0,
                &registration.to_be_bytes(),
            ],
        )
    }
}
