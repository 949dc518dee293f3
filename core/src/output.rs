//! What comes out: effects for the driver, events for the application.

use core::net::SocketAddr;
use core::ops::Range;

use crate::{ConnId, FileId, Instant, Ticket};

/// The smallest buffer that an endpoint's `poll_output` works with, in bytes:
/// a whole datagram and its head fit.
pub const OUTPUT_BUF_MIN: usize = 2_048;

/// The most entries that one [`StoreOp::List`] may find.
pub const LIST_ENTRIES_MAX: usize = 65_536;

/// The longest name of a file in the endpoint's folder, in bytes.
pub const STORE_NAME_BYTES_MAX: usize = 255;

/// One effect for the driver to carry out, in the order they come.
///
/// It borrows the caller's buffer alone, so the endpoint can be called again
/// while it is held. `E` is the endpoint's event type. The enum is exhaustive
/// on purpose: a new effect must break every driver at compile time.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an effect that is not carried out is lost"]
pub enum Output<'b, E> {
    /// Write the bytes. If not all of them can be written, keep the tail and
    /// say `Input::Blocked` before the next poll.
    Write {
        /// The connection.
        conn: ConnId,
        /// What to write, never empty.
        bytes: &'b [u8],
    },
    /// Offer bytes of the connection again; `handle_input` had not taken all.
    Resume {
        /// The connection.
        conn: ConnId,
    },
    /// Open a connection and answer with `Connected` or `ConnectFailed`.
    Connect {
        /// Its handle from now on.
        conn: ConnId,
        /// A name or an address in text, without brackets.
        host: &'b str,
        /// The TCP port.
        port: u16,
        /// Whether to speak TLS, verified against `host`.
        tls: bool,
    },
    /// End a connection, also one that is still being opened. The driver
    /// answers with `Input::Closed`, whatever happens.
    Close {
        /// The connection.
        conn: ConnId,
        /// In order, or at once.
        how: Close,
    },
    /// Move the next bytes of the stream to a file, those that the driver
    /// holds first, and say `Moved`. Bytes behind them are offered as usual.
    Take {
        /// The connection.
        conn: ConnId,
        /// Where they go.
        sink: FileId,
        /// Where in the file the first one goes.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Write a range of a file to the connection, and say `Moved`. It stands
    /// behind every `Write` before it.
    SendFile {
        /// The connection.
        conn: ConnId,
        /// The file.
        file: FileId,
        /// Bytes of the file.
        range: Range<u64>,
    },
    /// Send a datagram. One that the network does not take now may be lost.
    Datagram {
        /// Where it goes.
        to: SocketAddr,
        /// Its payload, never empty.
        bytes: &'b [u8],
    },
    /// Hash a range of a file with SHA-256, and answer with `Hashed`.
    Hash {
        /// Its number, in one sequence with the storage effects.
        ticket: Ticket,
        /// The file.
        file: FileId,
        /// Bytes of the file.
        range: Range<u64>,
    },
    /// A storage effect. They are carried out in order, one after another, and
    /// answered with `Stored`, `Loaded` or `StoreFailed`.
    Store {
        /// Its number.
        ticket: Ticket,
        /// What to do.
        op: StoreOp<'b>,
    },
    /// Something for the application.
    Event(E),
    /// Nothing to do before the deadline, an input or a command.
    Wait(Option<Deadline>),
    /// The buffer is shorter than [`OUTPUT_BUF_MIN`]. Nothing was changed.
    BufferTooSmall {
        /// The length that is needed, in bytes.
        needed: usize,
    },
}

/// How to end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Write what is still kept, then shut down the sending direction; go on
    /// reading and drop what comes until the peer has ended too. The core
    /// aborts a peer that does not.
    Finish,
    /// At once; what is unsent is lost.
    Abort,
}

/// When the driver has to come back, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The moment.
    pub at: Instant,
    /// Which room waits for it; for logs and traces.
    pub reason: &'static str,
}

/// A storage effect: an operation on flat names in the endpoint's own folder.
///
/// [`is_store_name`] says which names there are. A [`FileId`] is chosen by the
/// core and names the open file from `Create` or `Open` to `Close`; one file may
/// be open under several. What is no regular file (a folder, a link) is never
/// followed, read or written: it is `Denied`, and so is what may not be read.
///
/// Of what was written since the last successful `Sync` of the file, a crash
/// leaves any part: each sector of 512 bytes is as it was then or after any of
/// the writes since, whatever became of the others, and the file ends anywhere
/// between its end then and its end now. What no write touched since is kept,
/// unless an earlier `Sync` of the file had failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp<'b> {
    /// Make a new, empty file that only the owner may read, open for appending
    /// and reading. A file of that name is replaced.
    Create {
        /// Its handle from now on.
        file: FileId,
        /// Its name.
        name: &'b str,
        /// Bytes to reserve on the disk, or 0.
        reserve: u64,
    },
    /// Open a file that is there for reading, for writing, and for appending
    /// at its end. The failures of its past stay with it: a file whose `Sync`
    /// failed is not made durable by opening it again.
    Open {
        /// Its handle from now on.
        file: FileId,
        /// Its name.
        name: &'b str,
    },
    /// Append to the file.
    Append {
        /// The file.
        file: FileId,
        /// What to append.
        bytes: &'b [u8],
    },
    /// Write over bytes that the file has, and on behind its end if they reach
    /// so far; never from behind its end (`Failed`, and nothing is changed). One
    /// that fails may have written any part of what it covers within the file.
    Write {
        /// The file.
        file: FileId,
        /// Where in the file the first byte goes.
        offset: u64,
        /// What to write.
        bytes: &'b [u8],
    },
    /// Read a range of an open file; answered with `Loaded`.
    Read {
        /// The file.
        file: FileId,
        /// Bytes of the file.
        range: Range<u64>,
    },
    /// Make the file's content durable.
    Sync {
        /// The file.
        file: FileId,
    },
    /// Close the file's handle.
    Close {
        /// The file.
        file: FileId,
    },
    /// Read a whole file by its name; answered with `Loaded`, or with
    /// `NotFound`, or with `TooLarge`.
    Load {
        /// Its name.
        name: &'b str,
        /// How long it may be.
        bytes_max: u64,
    },
    /// Give the file another name, over one that may have it, and make the
    /// names durable.
    Rename {
        /// Its name.
        from: &'b str,
        /// Its name from now on.
        to: &'b str,
    },
    /// Remove a file by its name, and make the names durable.
    Remove {
        /// Its name.
        name: &'b str,
    },
    /// Copy a file as it is now, durable with its name. There is never a part of
    /// the copy under that name, also after a crash, and a file that has the
    /// name is kept (`Exists`).
    Copy {
        /// The name of the file.
        from: &'b str,
        /// The name of the copy.
        to: &'b str,
        /// How long the file may be, else `TooLarge`.
        bytes_max: u64,
    },
    /// The files whose names begin so; answered with `Loaded`, or with
    /// `TooLarge` if there are more than [`LIST_ENTRIES_MAX`]. Each has a line,
    /// sorted by name: `<length in bytes> <name>\n`, or `- <name>\n` for what is
    /// no regular file. Whatever else lies in the folder, under no name of the
    /// core's, is left out.
    List {
        /// The begin of a name, or nothing for all.
        prefix: &'b str,
    },
}

impl StoreOp<'_> {
    /// What the effect writes; empty if it writes nothing.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Append { bytes, .. } | Self::Write { bytes, .. } => bytes,
            _ => &[],
        }
    }
}

/// Whether `name` is one that a core may use for a file: 1 to
/// [`STORE_NAME_BYTES_MAX`] of `A-Z`, `a-z`, `0-9`, `.`, `-` and `_`, not
/// beginning with a dot.
///
/// There are file systems that do not tell `a` from `A`: no two names of a core
/// differ in that alone.
pub fn is_store_name(name: &str) -> bool {
    let allowed =
        |byte: u8| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    (1..=STORE_NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_flat_short_and_visible() {
        let longest = "a".repeat(STORE_NAME_BYTES_MAX);
        for name in ["a", "spool-0000001f.seg.BAD.2", "Z_9-", &longest] {
            assert!(is_store_name(name), "{name}");
        }
        let long = "a".repeat(STORE_NAME_BYTES_MAX + 1);
        for name in [
            "", ".", "..", ".lock", "a/b", "a\\b", "a b", "a\0", "a\n", "ä", &long,
        ] {
            assert!(!is_store_name(name), "{name}");
        }
    }
}
