//! Storage of one node: flat files, of which a crash leaves what was synced.
//!
//! What must survive: the content that a successful [`StoreOp::Sync`] covered,
//! unless an earlier sync of the same file had failed; a name from a successful
//! sync, rename or removal on. All else may be there after a crash, or not, or
//! in part.

use core::ops::Range;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tautline_core::{FileId, StoreError, StoreOp, Ticket};

use super::fault::Fault;
use crate::Dice;

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
    Create { file: FileId, name: String },
    Append { file: FileId, bytes: Vec<u8> },
    Read { file: FileId, range: Range<u64> },
    Sync { file: FileId },
    Close { file: FileId },
    Load { name: String, bytes_max: u64 },
    Rename { from: String, to: String },
    Remove { name: String },
    Hash { file: FileId, range: Range<u64> },
}

impl Task {
    /// What the task is, for a trace.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Append { .. } => "append",
            Self::Read { .. } => "read",
            Self::Sync { .. } => "sync",
            Self::Close { .. } => "close",
            Self::Load { .. } => "load",
            Self::Rename { .. } => "rename",
            Self::Remove { .. } => "remove",
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
        }
    }
}

/// How a [`Job`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done; told by a cumulative `Stored`.
    Done,
    /// What was read.
    Loaded(Vec<u8>),
    /// What was hashed.
    Hashed([u8; 32]),
    /// It failed.
    Failed(StoreError),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    named_durably: bool,
    /// A sync failed: the system forgot which bytes were not written.
    poisoned: bool,
}

/// The files of one node.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    inodes: BTreeMap<u64, Inode>,
    inodes_made: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    open: BTreeMap<FileId, u64>,
}

impl Disk {
    /// Carries a task out; `strike` decides which faults happen.
    pub fn run(&mut self, task: &Task, strike: &mut dyn FnMut(Fault) -> bool) -> Answer {
        self.try_run(task, strike).unwrap_or_else(Answer::Failed)
    }

    /// The content of an open file.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the file is not open.
    pub fn content(&self, file: FileId) -> Result<&[u8], StoreError> {
        let inode = self.open.get(&file).ok_or(StoreError::Failed)?;
        Ok(&self.inodes[inode].content)
    }

    /// Writes at a place of an open file.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the file is not open.
    pub fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let content = &mut self.inode(file)?.content;
        let start = offset as usize;
        content.resize(content.len().max(start + bytes.len()), 0);
        content[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// The content of a file by its name.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let inode = self.names.get(name)?;
        Some(&self.inodes[inode].content)
    }

    /// The names of all files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The node crashes: handles are gone, what was not synced is at the mercy
    /// of the dice.
    pub fn crash(&mut self, dice: &mut Dice, strike: &mut dyn FnMut(Fault) -> bool) {
        self.open.clear();
        for (name, inode) in &self.names {
            if self.durable_names.get(name) != Some(inode) && !strike(Fault::NameLost) {
                self.durable_names.insert(name.clone(), *inode);
            }
        }
        self.names.clone_from(&self.durable_names);
        let names = &self.names;
        self.inodes
            .retain(|inode, _| names.values().any(|named| named == inode));
        for inode in self.inodes.values_mut() {
            inode.crash(dice, strike);
        }
    }

    /// The process ends, the system goes on: only the handles are gone.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    fn try_run(
        &mut self,
        task: &Task,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<Answer, StoreError> {
        match task {
            Task::Create { file, name } => self.create(*file, name, strike)?,
            Task::Append { file, bytes } => {
                if strike(Fault::StoreFull) {
                    return Err(StoreError::Full);
                }
                let content = &mut self.inode(*file)?.content;
                if strike(Fault::StoreShort) {
                    content.extend_from_slice(&bytes[..bytes.len() / 2]);
                    return Err(StoreError::Full);
                }
                content.extend_from_slice(bytes);
            }
            Task::Sync { file } => self.sync(*file, strike)?,
            Task::Close { file } => {
                self.open.remove(file).ok_or(StoreError::Failed)?;
            }
            Task::Rename { from, to } => {
                let inode = self.names.remove(from).ok_or(StoreError::NotFound)?;
                self.names.insert(to.clone(), inode);
                self.sync_names();
            }
            Task::Remove { name } => {
                self.names.remove(name).ok_or(StoreError::NotFound)?;
                self.sync_names();
            }
            Task::Read { file, range } => {
                return Ok(Answer::Loaded(self.slice(*file, range, strike)?.to_vec()));
            }
            Task::Hash { file, range } => {
                let bytes = self.slice(*file, range, strike)?;
                return Ok(Answer::Hashed(Sha256::digest(bytes).into()));
            }
            Task::Load { name, bytes_max } => {
                let content = self.file(name).ok_or(StoreError::NotFound)?;
                if content.len() as u64 > *bytes_max {
                    return Err(StoreError::TooLarge);
                }
                if strike(Fault::ReadFailed) {
                    return Err(StoreError::Failed);
                }
                return Ok(Answer::Loaded(content.to_vec()));
            }
        }
        Ok(Answer::Done)
    }

    fn create(
        &mut self,
        file: FileId,
        name: &str,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<(), StoreError> {
        assert!(is_flat_name(name), "contract: the file name {name:?}");
        assert!(
            !self.open.contains_key(&file),
            "contract: {file:?} is open already"
        );
        if strike(Fault::StoreFull) {
            return Err(StoreError::Full);
        }
        self.inodes_made += 1;
        self.inodes.insert(self.inodes_made, Inode::default());
        self.names.insert(name.to_owned(), self.inodes_made);
        self.open.insert(file, self.inodes_made);
        Ok(())
    }

    fn sync(
        &mut self,
        file: FileId,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<(), StoreError> {
        let number = *self.open.get(&file).ok_or(StoreError::Failed)?;
        let inode = self.inode(file)?;
        if strike(Fault::SyncFailed) {
            inode.poisoned = true;
            return Err(StoreError::Failed);
        }
        if !inode.poisoned {
            inode.durable.clone_from(&inode.content);
        }
        if !core::mem::replace(&mut inode.named_durably, true) {
            for (name, _) in self.names.iter().filter(|&(_, &named)| named == number) {
                self.durable_names.insert(name.clone(), number);
            }
        }
        Ok(())
    }

    fn sync_names(&mut self) {
        self.durable_names.clone_from(&self.names);
    }

    fn inode(&mut self, file: FileId) -> Result<&mut Inode, StoreError> {
        let inode = self.open.get(&file).ok_or(StoreError::Failed)?;
        self.inodes.get_mut(inode).ok_or(StoreError::Failed)
    }

    fn slice(
        &self,
        file: FileId,
        range: &Range<u64>,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<&[u8], StoreError> {
        if strike(Fault::ReadFailed) {
            return Err(StoreError::Failed);
        }
        let content = self.content(file)?;
        let end = (range.end as usize).min(content.len());
        Ok(&content[(range.start as usize).min(end)..end])
    }
}

impl Inode {
    fn crash(&mut self, dice: &mut Dice, strike: &mut dyn FnMut(Fault) -> bool) {
        self.named_durably = true;
        self.poisoned = false;
        if self.content == self.durable {
            return;
        }
        if strike(Fault::WriteLost) {
            self.content.clone_from(&self.durable);
        } else if strike(Fault::WriteTorn) {
            let changed = self
                .content
                .iter()
                .zip(&self.durable)
                .take_while(|(new, old)| new == old)
                .count();
            let kept = changed + dice.index(self.content.len() - changed + 1);
            let mut torn = self.content[..kept].to_vec();
            torn.extend(self.durable.iter().skip(kept));
            // The length may have reached the disk before the bytes did.
            if dice.one_in(3) {
                torn.resize(torn.len().max(self.content.len()), 0);
            }
            self.content = torn;
        }
        self.durable.clone_from(&self.content);
    }
}

fn is_flat_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tautline_core::Key;

    const FILE: FileId = FileId::from_key(Key::new(0, 0));

    fn append(disk: &mut Disk, bytes: &[u8]) -> Answer {
        let bytes = bytes.to_vec();
        disk.run(&Task::Append { file: FILE, bytes }, &mut |_| false)
    }

    fn disk_with(synced: &[u8]) -> Disk {
        let mut disk = Disk::default();
        let name = "a".to_owned();
        let create = Task::Create { file: FILE, name };
        assert_eq!(disk.run(&create, &mut |_| false), Answer::Done);
        assert_eq!(append(&mut disk, synced), Answer::Done);
        disk.run(&Task::Sync { file: FILE }, &mut |_| false);
        disk
    }

    #[test]
    fn what_was_synced_survives_every_crash() {
        for seed in 0..200 {
            let mut dice = Dice::new(seed);
            let mut disk = disk_with(b"kept");
            append(&mut disk, b"and more");
            let mut faults = dice.fork();
            disk.crash(&mut dice, &mut |_| faults.one_in(2));
            let content = disk.file("a").unwrap();
            assert!(content.starts_with(b"kept"), "{content:?}");
            assert!(content.len() <= 12);
        }
    }

    #[test]
    fn what_a_failed_sync_should_have_saved_is_lost() {
        let mut disk = disk_with(b"kept");
        append(&mut disk, b"lost");
        let sync = Task::Sync { file: FILE };
        let failed = disk.run(&sync, &mut |fault| fault == Fault::SyncFailed);
        assert_eq!(failed, Answer::Failed(StoreError::Failed));
        assert_eq!(disk.run(&sync, &mut |_| false), Answer::Done);
        disk.crash(&mut Dice::new(1), &mut |fault| fault == Fault::WriteLost);
        assert_eq!(disk.file("a"), Some(b"kept".as_slice()));
    }

    #[test]
    fn an_unsynced_name_gives_way_to_the_one_before_it() {
        let mut disk = disk_with(b"old");
        let other = FileId::from_key(Key::new(1, 0));
        let name = "a".to_owned();
        disk.run(&Task::Create { file: other, name }, &mut |_| false);
        assert_eq!(disk.file("a"), Some(b"".as_slice()));
        disk.crash(&mut Dice::new(1), &mut |fault| fault == Fault::NameLost);
        assert_eq!(disk.file("a"), Some(b"old".as_slice()));
    }

    #[test]
    fn an_append_that_does_not_fit_is_there_in_part() {
        let mut disk = disk_with(b"kept");
        let (file, bytes) = (FILE, b"half".to_vec());
        let append = Task::Append { file, bytes };
        let answer = disk.run(&append, &mut |fault| fault == Fault::StoreShort);
        assert_eq!(answer, Answer::Failed(StoreError::Full));
        assert_eq!(disk.file("a"), Some(b"keptha".as_slice()));
    }

    #[test]
    fn a_rename_is_durable_at_once() {
        let mut disk = disk_with(b"old");
        let (from, to) = ("a".to_owned(), "b".to_owned());
        disk.run(&Task::Rename { from, to }, &mut |_| false);
        disk.crash(&mut Dice::new(1), &mut |_| true);
        assert_eq!(disk.names().collect::<Vec<_>>(), ["b"]);
    }
}
