//! Names and handles.
//!
//! A *handle* ([`ConnId`], [`RequestId`], …) is an index and a generation: it
//! finds its entry in O(1), and an old one never reaches the entry that took
//! the place. An *identity* ([`ClientId`], …) is what goes over the wire.

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

/// Index and generation of an entry of a [`Slab`](crate::collections::Slab).
///
/// `Option<Key>` is 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The index and one: tables have at most `u32::MAX` places.
    place: NonZeroU32,
    generation: u32,
}

const _: () = assert!(size_of::<Option<Key>>() == 8);

impl Key {
    /// The key of the entry `index` in its `generation`. An index beyond the
    /// last that there can be, `u32::MAX - 1`, counts as that.
    pub const fn new(index: u32, generation: u32) -> Self {
        let place = NonZeroU32::MIN.saturating_add(index);
        Self { place, generation }
    }

    /// The place of the entry, dense from 0: fit to index a table of the
    /// caller's own.
    pub const fn index(self) -> usize {
        (self.place.get() - 1) as usize
    }

    /// How often the place was taken before.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.index(), self.generation)
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) Key);

        impl $name {
            /// The handle for a key; what it points at decides whether it is alive.
            pub const fn from_key(key: Key) -> Self {
                Self(key)
            }

            /// Index and generation.
            pub const fn key(self) -> Key {
                self.0
            }

            /// The place, dense from 0: fit to index a table of the driver's own.
            pub const fn index(self) -> usize {
                self.0.index()
            }
        }
    )*};
}

handles! {
    /// A transport connection, from `accept` or `Output::Connect` until its
    /// `Input::Closed`. Until then no other connection has its index.
    ConnId;
    /// A request that the application answers.
    RequestId;
    /// A file of the driver's that an effect names.
    FileId;
}

/// The number of a storage effect. Tickets rise by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The number of a relay's run: it rises with every start, so that clients see
/// that a relay lost its memory.
///
/// The driver sets it, from wall-clock seconds or a counter that it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

/// The number of a notification: the relay's [`Incarnation`] above a sequence,
/// so that ids rise over restarts. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId(pub u64);

impl NotificationId {
    /// The `sequence`th notification of a relay's run.
    pub const fn new(incarnation: Incarnation, sequence: u32) -> Self {
        Self((incarnation.0 as u64) << 32 | sequence as u64)
    }

    /// Its number within that run.
    pub const fn sequence(self) -> u32 {
        self.0 as u32
    }

    /// The run of the relay that made it.
    pub const fn incarnation(self) -> Incarnation {
        Incarnation((self.0 >> 32) as u32)
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an id of the kind that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hexadecimal digits")]
pub struct ParseIdError {
    digits: usize,
}

impl FromStr for NotificationId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_hex::<8>(text).map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

/// The identity of a client: 16 bytes that its first relay drew. Written as 32
/// lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub [u8; 16]);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ClientId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_hex(text).map(Self)
    }
}

/// Reads exactly `2 * N` hexadecimal digits.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let error = ParseIdError { digits: 2 * N };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(error);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (hex_value(pair[0]), hex_value(pair[1])) else {
            return Err(error);
        };
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn ids_survive_text() {
        let client = ClientId(core::array::from_fn(|i| i as u8 * 17));
        assert_eq!(client.to_string().parse(), Ok(client));
        let notification = NotificationId::new(Incarnation(7), 9);
        assert_eq!(notification.to_string(), "0000000700000009");
        assert_eq!("0000000700000009".parse(), Ok(notification));
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in [
            "",
            "+123456789abcdef",
            "00000000000000g0",
            "00000007000000090",
        ] {
            assert!(text.parse::<NotificationId>().is_err(), "{text}");
        }
    }
}
