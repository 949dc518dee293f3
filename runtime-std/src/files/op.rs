//! Storage effects in an owned form, fit to cross to another thread.

use std::ops::Range;

use tautline_core::{FileId, StoreOp};

/// [`StoreOp`] with its texts and bytes owned, and the hashing of a file, which
/// stands in one sequence with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// [`StoreOp::Create`].
    Create {
        /// Its handle from now on.
        file: FileId,
        /// Its name.
        name: String,
        /// Bytes to reserve on the disk, or 0.
        reserve: u64,
    },
    /// [`StoreOp::Open`].
    Open {
        /// Its handle from now on.
        file: FileId,
        /// Its name.
        name: String,
    },
    /// [`StoreOp::Append`].
    Append {
        /// The file.
        file: FileId,
        /// What to append.
        bytes: Vec<u8>,
    },
    /// [`StoreOp::Write`].
    Write {
        /// The file.
        file: FileId,
        /// Where in the file the first byte goes.
        offset: u64,
        /// What to write.
        bytes: Vec<u8>,
    },
    /// [`StoreOp::Read`].
    Read {
        /// The file.
        file: FileId,
        /// Bytes of the file.
        range: Range<u64>,
    },
    /// [`StoreOp::Sync`].
    Sync {
        /// The file.
        file: FileId,
    },
    /// [`StoreOp::Close`].
    Close {
        /// The file.
        file: FileId,
    },
    /// [`StoreOp::Load`].
    Load {
        /// Its name.
        name: String,
        /// How long it may be.
        bytes_max: u64,
    },
    /// [`StoreOp::Rename`].
    Rename {
        /// Its name.
        from: String,
        /// Its name from now on.
        to: String,
    },
    /// [`StoreOp::Remove`].
    Remove {
        /// Its name.
        name: String,
    },
    /// [`StoreOp::Copy`].
    Copy {
        /// The name of the file.
        from: String,
        /// The name of the copy.
        to: String,
        /// How long the file may be.
        bytes_max: u64,
    },
    /// [`StoreOp::List`].
    List {
        /// The begin of a name, or nothing for all.
        prefix: String,
    },
    /// `Output::Hash`.
    Hash {
        /// The file.
        file: FileId,
        /// Bytes of the file.
        range: Range<u64>,
    },
}

impl Op {
    /// Copies an effect. What it writes goes into `buffer`, whose content is
    /// dropped; [`into_buffer`](Self::into_buffer) gives it back.
    pub fn new(op: &StoreOp<'_>, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.extend_from_slice(op.bytes());
        match *op {
            StoreOp::Create {
                file,
                name,
                reserve,
            } => Self::Create {
                file,
                name: name.to_owned(),
                reserve,
            },
            StoreOp::Open { file, name } => Self::Open {
                file,
                name: name.to_owned(),
            },
            StoreOp::Append { file, .. } => Self::Append {
                file,
                bytes: buffer,
            },
            StoreOp::Write { file, offset, .. } => Self::Write {
                file,
                offset,
                bytes: buffer,
            },
            StoreOp::Read { file, ref range } => Self::Read {
                file,
                range: range.clone(),
            },
            StoreOp::Sync { file } => Self::Sync { file },
            StoreOp::Close { file } => Self::Close { file },
            StoreOp::Load { name, bytes_max } => Self::Load {
                name: name.to_owned(),
                bytes_max,
            },
            StoreOp::Rename { from, to } => Self::Rename {
                from: from.to_owned(),
                to: to.to_owned(),
            },
            StoreOp::Remove { name } => Self::Remove {
                name: name.to_owned(),
            },
            StoreOp::Copy {
                from,
                to,
                bytes_max,
            } => Self::Copy {
                from: from.to_owned(),
                to: to.to_owned(),
                bytes_max,
            },
            StoreOp::List { prefix } => Self::List {
                prefix: prefix.to_owned(),
            },
        }
    }

    /// What the operation writes; empty if it writes nothing.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Append { bytes, .. } | Self::Write { bytes, .. } => bytes,
            _ => &[],
        }
    }

    /// The buffer of an operation that is done, for the next one; empty and
    /// without capacity unless it wrote something.
    pub fn into_buffer(self) -> Vec<u8> {
        match self {
            Self::Append { bytes, .. } | Self::Write { bytes, .. } => bytes,
            _ => Vec::new(),
        }
    }
}

/// What an operation brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing to tell: `Input::Stored`.
    Nothing,
    /// What was read: `Input::Loaded`.
    Loaded(Vec<u8>),
    /// SHA-256 of the range: `Input::Hashed`.
    Hashed([u8; 32]),
}
