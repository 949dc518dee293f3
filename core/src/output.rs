//! What comes out: effects for the driver, events for the application.

use core::net::SocketAddr;
use core::ops::Range;

use crate::{ConnId, FileId, Instant, Ticket};

/// The smallest buffer that an endpoint's `poll_output` works with, in bytes:
/// a whole datagram and its head fit.
pub const OUTPUT_BUF_MIN: usize = 2_048;

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
/// Names consist of `a-z`, `0-9`, `.`, `-` and `_`, and do not begin with a
/// dot. A [`FileId`] is chosen by the core and names the open file from
/// `Create` to `Close`.
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
    /// Append to the file.
    Append {
        /// The file.
        file: FileId,
        /// What to append.
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
}
