//! Storage effects in an owned form.

use core::ops::Range;

use tautline_core::{FileId, StoreOp, Ticket};

/// A storage effect that waits for its turn.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub ticket: Ticket,
    /// What to do.
    pub task: Task,
}

/// What a [`Job`] does: a [`StoreOp`] with its bytes, or a hash.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Task {
    Create {
        file: FileId,
        name: String,
    },
    Open {
        file: FileId,
        name: String,
    },
    Append {
        file: FileId,
        bytes: Vec<u8>,
    },
    Write {
        file: FileId,
        offset: u64,
        bytes: Vec<u8>,
    },
    Read {
        file: FileId,
        range: Range<u64>,
    },
    Sync {
        file: FileId,
    },
    Close {
        file: FileId,
    },
    Load {
        name: String,
        bytes_max: u64,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    Copy {
        from: String,
        to: String,
        bytes_max: u64,
    },
    List {
        prefix: String,
    },
    Hash {
        file: FileId,
        range: Range<u64>,
    },
}

impl Task {
    /// What the task is, for a trace.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Open { .. } => "open",
            Self::Append { .. } => "append",
            Self::Write { .. } => "write",
            Self::Read { .. } => "read",
            Self::Sync { .. } => "sync",
            Self::Close { .. } => "close",
            Self::Load { .. } => "load",
            Self::Rename { .. } => "rename",
            Self::Remove { .. } => "remove",
            Self::Copy { .. } => "copy",
            Self::List { .. } => "list",
            Self::Hash { .. } => "hash",
        }
    }

    /// The task of an effect.
    pub fn of(op: &StoreOp<'_>) -> Self {
        match op {
            StoreOp::Create { file, name, .. } => Self::Create {
                file: *file,
                name: (*name).to_owned(),
            },
            StoreOp::Open { file, name } => Self::Open {
                file: *file,
                name: (*name).to_owned(),
            },
            StoreOp::Write {
                file,
                offset,
                bytes,
            } => Self::Write {
                file: *file,
                offset: *offset,
                bytes: bytes.to_vec(),
            },
            StoreOp::Append { file, bytes } => Self::Append {
                file: *file,
                bytes: bytes.to_vec(),
            },
            StoreOp::Read { file, range } => Self::Read {
                file: *file,
                range: range.clone(),
            },
            StoreOp::Sync { file } => Self::Sync { file: *file },
            StoreOp::Close { file } => Self::Close { file: *file },
            StoreOp::Load { name, bytes_max } => Self::Load {
                name: (*name).to_owned(),
                bytes_max: *bytes_max,
            },
            StoreOp::Rename { from, to } => Self::Rename {
                from: (*from).to_owned(),
                to: (*to).to_owned(),
            },
            StoreOp::Remove { name } => Self::Remove {
                name: (*name).to_owned(),
            },
            StoreOp::Copy {
                from,
                to,
                bytes_max,
            } => Self::Copy {
                from: (*from).to_owned(),
                to: (*to).to_owned(),
                bytes_max: *bytes_max,
            },
            StoreOp::List { prefix } => Self::List {
                prefix: (*prefix).to_owned(),
            },
        }
    }
}
