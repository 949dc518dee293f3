//! Storage of one node: flat files, of which a crash leaves what was synced.
//!
//! What must survive: the content that a successful [`StoreOp::Sync`] covered
//! and that no write touched since, unless an earlier sync of the same file had
//! failed; a name from a successful sync of its file, or from any successful
//! rename, removal or copy on. All else may be there after a crash, or not, or
//! in part.
//!
//! [`StoreOp::Sync`]: tautline_core::StoreOp::Sync

mod inode;
mod task;

use core::fmt::Write;
use core::ops::Range;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tautline_core::{FileId, LIST_ENTRIES_MAX, StoreError, is_store_name};

use super::fault::Fault;
use crate::Dice;
use inode::{Access, Inode};

pub use inode::SECTOR_BYTES;
pub use task::{Job, Task};

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

/// The files of one node.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    inodes: BTreeMap<u64, Inode>,
    inodes_made: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// What makes the durable names the present ones.
    unsynced_names: Vec<Renaming>,
    open: BTreeMap<FileId, u64>,
}

/// A change of the folder, whole in itself.
#[derive(Clone, Debug)]
enum Renaming {
    Made { name: String, inode: u64 },
    Moved { from: String, to: String },
    Removed { name: String },
}

impl Renaming {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Made { name, inode } => {
                names.insert(name, inode);
            }
            Self::Moved { from, to } => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
            Self::Removed { name } => {
                names.remove(&name);
            }
        }
    }
}

impl Disk {
    /// Carries a task out; `strike` decides which faults happen.
    pub fn run(&mut self, task: &Task, strike: &mut dyn FnMut(Fault) -> bool) -> Answer {
        self.try_run(task, strike).unwrap_or_else(Answer::Failed)
    }

    /// The content of an open file.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the file is not open.
    pub fn content(&self, file: FileId) -> Result<&[u8], StoreError> {
        let inode = self.open.get(&file).ok_or(StoreError::NotFound)?;
        Ok(self.inodes[inode].content())
    }

    /// Writes at a place of an open file.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the file is not open.
    pub fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.inode(file)?.write(offset as usize, bytes);
        Ok(())
    }

    /// The content of a file by its name.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let inode = self.names.get(name)?;
        Some(self.inodes[inode].content())
    }

    /// The names of all files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Somebody put a file there, under any name; it is durable.
    pub fn put(&mut self, name: &str, content: Vec<u8>) {
        self.put_inode(name, Inode::of(content));
    }

    /// Somebody put a file there that may not be read.
    pub fn put_forbidden(&mut self, name: &str, content: Vec<u8>) {
        let mut inode = Inode::of(content);
        inode.access = Access::Forbidden;
        self.put_inode(name, inode);
    }

    /// Somebody put a folder there.
    pub fn put_folder(&mut self, name: &str) {
        let mut inode = Inode::default();
        inode.access = Access::Folder;
        self.put_inode(name, inode);
    }

    fn put_inode(&mut self, name: &str, inode: Inode) {
        self.make(name, inode);
        self.sync_names();
    }

    /// The node crashes: handles are gone, what was not synced is at the mercy
    /// of the dice.
    pub fn crash(&mut self, dice: &mut Dice, strike: &mut dyn FnMut(Fault) -> bool) {
        self.open.clear();
        for renaming in self.unsynced_names.drain(..) {
            if !strike(Fault::NameLost) {
                renaming.apply(&mut self.durable_names);
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
            Task::Open { file, name } => self.open_existing(*file, name, strike)?,
            Task::Append { file, bytes } => {
                let end = self.content(*file)?.len() as u64;
                self.write(*file, end, bytes, strike)?;
            }
            Task::Write {
                file,
                offset,
                bytes,
            } => self.write(*file, *offset, bytes, strike)?,
            Task::Sync { file } => self.sync(*file, strike)?,
            Task::Close { file } => {
                self.open.remove(file).ok_or(StoreError::NotFound)?;
            }
            Task::Rename { from, to } => self.rename(from, to, strike)?,
            Task::Remove { name } => self.remove(name, strike)?,
            Task::Copy {
                from,
                to,
                bytes_max,
            } => self.copy(from, to, *bytes_max, strike)?,
            Task::List { prefix } => return self.list(prefix, strike),
            Task::Read { file, range } => {
                return Ok(Answer::Loaded(self.slice(*file, range, strike)?.to_vec()));
            }
            Task::Hash { file, range } => {
                let bytes = self.slice(*file, range, strike)?;
                return Ok(Answer::Hashed(Sha256::digest(bytes).into()));
            }
            Task::Load { name, bytes_max } => {
                let content = self.load(name, *bytes_max, strike)?;
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
        self.check_handle(file);
        self.check_not_folder(name)?;
        if strike(Fault::StoreFull) {
            return Err(StoreError::Full);
        }
        if strike(Fault::NameFailed) {
            return Err(StoreError::Failed);
        }
        let inode = self.make(name, Inode::default());
        self.open.insert(file, inode);
        Ok(())
    }

    fn open_existing(
        &mut self,
        file: FileId,
        name: &str,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<(), StoreError> {
        self.check_handle(file);
        let inode = self.readable(name)?;
        if strike(Fault::NameFailed) {
            return Err(StoreError::Failed);
        }
        self.open.insert(file, inode);
        Ok(())
    }

    fn write(
        &mut self,
        file: FileId,
        offset: u64,
        bytes: &[u8],
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<(), StoreError> {
        let inode = self.inode(file)?;
        if offset > inode.content().len() as u64 {
            return Err(StoreError::Failed);
        }
        let start = offset as usize;
        if strike(Fault::StoreFull) {
            return Err(StoreError::Full);
        }
        if strike(Fault::StoreShort) {
            inode.write(start, &bytes[..bytes.len() / 2]);
            return Err(StoreError::Full);
        }
        inode.write(start, bytes);
        Ok(())
    }

    fn sync(
        &mut self,
        file: FileId,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<(), StoreError> {
        let number = *self.open.get(&file).ok_or(StoreError::NotFound)?;
        let inode = self.inode(file)?;
        if strike(Fault::SyncFailed) {
            inode.poison();
            return Err(StoreError::Failed);
        }
        inode.sync();
        self.sync_name_of(number);
        Ok(())
    }

    fn rename(
        &mut self,
        from: &str,
        to: &str,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<(), StoreError> {
        check_name(from);
        if !self.names.contains_key(from) {
            return Err(StoreError::NotFound);
        }
        self.check_not_folder(to)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        self.change(Renaming::Moved { from, to }, strike)
    }

    fn remove(
        &mut self,
        name: &str,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<(), StoreError> {
        self.check_not_folder(name)?;
        if !self.names.contains_key(name) {
            return Err(StoreError::NotFound);
        }
        let name = name.to_owned();
        self.change(Renaming::Removed { name }, strike)
    }

    fn copy(
        &mut self,
        from: &str,
        to: &str,
        bytes_max: u64,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<(), StoreError> {
        check_name(to);
        let copy = Inode::of(self.load(from, bytes_max, strike)?.to_vec());
        if self.names.contains_key(to) {
            return Err(StoreError::Exists);
        }
        if strike(Fault::StoreFull) {
            return Err(StoreError::Full);
        }
        self.inodes_made += 1;
        let (name, inode) = (to.to_owned(), self.inodes_made);
        self.inodes.insert(inode, copy);
        self.change(Renaming::Made { name, inode }, strike)
    }

    fn list(
        &self,
        prefix: &str,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<Answer, StoreError> {
        if !prefix.is_empty() {
            check_name(prefix);
        }
        if strike(Fault::ReadFailed) {
            return Err(StoreError::Failed);
        }
        let mut lines = String::new();
        let own = |name: &str| is_store_name(name) && name.starts_with(prefix);
        let entries = self.names.iter().filter(|(name, _)| own(name));
        for (place, (name, inode)) in entries.enumerate() {
            if place >= LIST_ENTRIES_MAX {
                return Err(StoreError::TooLarge);
            }
            let inode = &self.inodes[inode];
            let written = match inode.access {
                Access::Folder => writeln!(lines, "- {name}"),
                _ => writeln!(lines, "{} {name}", inode.content().len()),
            };
            written.expect("a text takes it");
        }
        Ok(Answer::Loaded(lines.into_bytes()))
    }

    fn load(
        &self,
        name: &str,
        bytes_max: u64,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<&[u8], StoreError> {
        let content = self.inodes[&self.readable(name)?].content();
        if content.len() as u64 > bytes_max {
            return Err(StoreError::TooLarge);
        }
        if strike(Fault::ReadFailed) {
            return Err(StoreError::Failed);
        }
        Ok(content)
    }

    /// Changes the folder and makes the names durable. It may fail before or
    /// in between.
    fn change(
        &mut self,
        renaming: Renaming,
        strike: &mut dyn FnMut(Fault) -> bool,
    ) -> Result<(), StoreError> {
        if strike(Fault::NameFailed) {
            return Err(StoreError::Failed);
        }
        renaming.clone().apply(&mut self.names);
        self.unsynced_names.push(renaming);
        if strike(Fault::SyncFailed) {
            return Err(StoreError::Failed);
        }
        self.sync_names();
        Ok(())
    }

    /// Names a new file, not durably.
    fn make(&mut self, name: &str, inode: Inode) -> u64 {
        self.inodes_made += 1;
        self.inodes.insert(self.inodes_made, inode);
        let made = Renaming::Made {
            name: name.to_owned(),
            inode: self.inodes_made,
        };
        made.clone().apply(&mut self.names);
        self.unsynced_names.push(made);
        self.inodes_made
    }

    fn sync_names(&mut self) {
        self.durable_names.clone_from(&self.names);
        self.unsynced_names.clear();
    }

    /// A new name is made durable; that others come along is not promised,
    /// unless something was renamed, which has an order.
    fn sync_name_of(&mut self, number: u64) {
        let is_own = |renaming: &Renaming| matches!(renaming, Renaming::Made { inode, .. } if *inode == number);
        let is_made = |renaming: &Renaming| matches!(renaming, Renaming::Made { .. });
        if !self.unsynced_names.iter().any(is_own) {
            return;
        }
        if !self.unsynced_names.iter().all(is_made) {
            return self.sync_names();
        }
        self.unsynced_names.retain(|renaming| !is_own(renaming));
        for (name, _) in self.names.iter().filter(|&(_, &named)| named == number) {
            self.durable_names.insert(name.clone(), number);
        }
    }

    fn check_handle(&self, file: FileId) {
        assert!(
            !self.open.contains_key(&file),
            "contract: {file:?} is open already"
        );
    }

    /// A folder is neither replaced nor removed.
    fn check_not_folder(&self, name: &str) -> Result<(), StoreError> {
        check_name(name);
        match self.names.get(name).map(|inode| self.inodes[inode].access) {
            Some(Access::Folder) => Err(StoreError::Denied),
            _ => Ok(()),
        }
    }

    fn readable(&self, name: &str) -> Result<u64, StoreError> {
        check_name(name);
        let inode = *self.names.get(name).ok_or(StoreError::NotFound)?;
        match self.inodes[&inode].access {
            Access::Free => Ok(inode),
            Access::Forbidden | Access::Folder => Err(StoreError::Denied),
        }
    }

    fn inode(&mut self, file: FileId) -> Result<&mut Inode, StoreError> {
        let inode = self.open.get(&file).ok_or(StoreError::NotFound)?;
        self.inodes.get_mut(inode).ok_or(StoreError::NotFound)
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

fn check_name(name: &str) {
    assert!(is_store_name(name), "contract: the file name {name:?}");
}

#[cfg(test)]
mod tests;
