//! The endpoint's folder: carries out storage effects, one after another.
//!
//! [`Files`] belongs to one thread, usually one of its own. The files that it
//! has open can be reached from other threads through [`OpenFiles`]: a driver
//! needs that for `Output::Take` and `Output::SendFile`.

mod folder;
mod op;
mod open;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tautline_core::{FileId, LIST_ENTRIES_MAX, StoreError, is_store_name};

pub use op::{Done, Op};
pub use open::{OpenFile, OpenFiles};

use crate::private;

/// Names of files whose content is in doubt that are remembered at most. Past
/// it no file can be renamed any more, and none that is opened can be written.
const TAINTED_NAMES_MAX: usize = 1_024;
const HASH_CHUNK_BYTES: usize = 64 * 1_024;
const LOCK_NAME: &str = ".lock";

/// The bounds of [`Files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesLimits {
    /// Files that are open at a time.
    pub open_files_max: usize,
    /// The longest range that one `Read` brings into memory.
    pub read_bytes_max: u64,
}

impl Default for FilesLimits {
    fn default() -> Self {
        Self {
            open_files_max: 1_024,
            read_bytes_max: 64 * 1_024 * 1_024,
        }
    }
}

/// Carries out storage effects in one folder.
///
/// Beyond what [`StoreOp`](tautline_core::StoreOp) says:
/// - A name that is not a core's name is `Denied`, and so is a prefix that none
///   can begin with.
/// - After a failed `Sync` the file is poisoned: the system may have dropped
///   what it could not write, so no later `Sync` could be believed. `Append`,
///   `Write` and `Sync` fail from then on, also when it is opened again.
/// - A file whose `Create`, `Append`, `Write` or `Sync` failed is not renamed
///   (`Failed`), nor is a copy of it, until one of its name is created or
///   removed: effects are sent ahead, and a half-written draft must not take the
///   place of a good file.
/// - The first `Sync` of an open file makes its name durable as well.
/// - A failed `Append` or `Write` leaves the file as long as it was.
/// - A file that is open under several handles is one file to all of them.
/// - On Linux `Create` reserves the bytes on the disk, where the file system
///   can do that. Elsewhere nothing is reserved, and `Append` may still find
///   the disk full.
///
/// ```
/// use tautline_core::{FileId, Key, StoreError};
/// use tautline_std::files::{Done, Files, FilesLimits, Op};
///
/// let dir = tempfile::tempdir().unwrap();
/// let mut files = Files::open(dir.path(), FilesLimits::default()).unwrap();
/// let load = Op::Load { name: "identity".into(), bytes_max: 1_024 };
/// assert_eq!(files.run(&load), Err(StoreError::NotFound));
/// ```
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    limits: FilesLimits,
    open_files: OpenFiles,
    tainted_names: BTreeMap<String, Taint>,
    spare: Vec<u8>,
    chunk: Vec<u8>,
    /// Held for as long as the folder is in use.
    _lock: File,
}

/// What is held against a file of some name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Taint {
    /// Something was not written, or only a part of it.
    Torn,
    /// A sync failed.
    Poisoned,
}

impl Files {
    /// Opens a folder, and makes it if there is none (mode 0700). On Unix no
    /// other process can open it until this value is dropped.
    ///
    /// # Errors
    /// `ResourceBusy` if another process has it; `InvalidInput` if others than
    /// the owner can write there; otherwise what the system says, also if
    /// nothing can be written there. The text names the path.
    pub fn open(dir: &Path, limits: FilesLimits) -> io::Result<Self> {
        private::create_dir(dir)?;
        let lock = lock(dir)?;
        folder::remove_draft(dir)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            limits,
            open_files: OpenFiles::default(),
            tainted_names: BTreeMap::new(),
            spare: Vec::new(),
            chunk: vec![0; HASH_CHUNK_BYTES],
            _lock: lock,
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The open files, for other threads.
    pub fn open_files(&self) -> OpenFiles {
        self.open_files.clone()
    }

    /// Carries out one operation.
    ///
    /// # Errors
    /// What the core is to be told by `Input::StoreFailed`.
    pub fn run(&mut self, op: &Op) -> Result<Done, StoreError> {
        match op {
            Op::Create {
                file,
                name,
                reserve,
            } => self.create(*file, name, *reserve)?,
            Op::Open { file, name } => self.open_existing(*file, name)?,
            Op::Append { file, bytes } => self.written(*file, |open| open.append(bytes))?,
            Op::Write {
                file,
                offset,
                bytes,
            } => self.written(*file, |open| open.write(bytes, *offset))?,
            Op::Read { file, range } => return self.read(*file, range),
            Op::Sync { file } => self.sync(*file)?,
            Op::Close { file } => {
                self.open_files.remove(*file);
            }
            Op::Load { name, bytes_max } => return self.load(name, *bytes_max),
            Op::Rename { from, to } => self.rename(from, to)?,
            Op::Remove { name } => self.remove(name)?,
            Op::Copy {
                from,
                to,
                bytes_max,
            } => self.copy(from, to, *bytes_max)?,
            Op::List { prefix } => return self.list(prefix),
            Op::Hash { file, range } => return self.hash(*file, range.clone()).map(Done::Hashed),
        }
        Ok(Done::Nothing)
    }

    /// The SHA-256 of a range of an open file.
    ///
    /// # Errors
    /// `Failed` if the range ends behind the file, or if it cannot be read.
    pub fn hash(&mut self, file: FileId, range: Range<u64>) -> Result<[u8; 32], StoreError> {
        let open = self.open_files.get(file).ok_or(StoreError::NotFound)?;
        let mut hasher = Sha256::new();
        let mut offset = range.start;
        while offset < range.end {
            let wanted = (range.end - offset).min(HASH_CHUNK_BYTES as u64) as usize;
            let chunk = self.chunk.get_mut(..wanted).unwrap_or_default();
            match open.read_at(chunk, offset).map_err(|e| kind_of(&e))? {
                0 => return Err(StoreError::Failed),
                count => {
                    hasher.update(&chunk[..count]);
                    offset += count as u64;
                }
            }
        }
        Ok(hasher.finalize().into())
    }

    /// Takes back a buffer of [`Done::Loaded`], so that the next read does not
    /// allocate.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() && buffer.capacity() <= HASH_CHUNK_BYTES {
            self.spare = buffer;
        }
    }

    fn create(&mut self, id: FileId, name: &str, reserve: u64) -> Result<(), StoreError> {
        let path = self.path(name)?;
        self.create_at(id, name, &path, reserve)
            .inspect_err(|_| self.taint(name, Taint::Torn))?;
        self.tainted_names.remove(name);
        Ok(())
    }

    fn create_at(
        &mut self,
        id: FileId,
        name: &str,
        path: &Path,
        reserve: u64,
    ) -> Result<(), StoreError> {
        self.check_room()?;
        folder::remove_if_there(path).map_err(|error| kind_of(&error))?;
        self.open_files.unname(name);
        let file = private::create_new(path).map_err(|error| kind_of(&error))?;
        if reserve > 0 {
            open::reserve(&file, reserve).map_err(|error| kind_of(&error))?;
        }
        self.open_files.insert(id, OpenFile::new(file, name, 0));
        Ok(())
    }

    fn open_existing(&mut self, id: FileId, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        self.check_room()?;
        if self.open_files.share(id, name) {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let file = folder::open_regular(&path, options.read(true).write(true))
            .map_err(|error| kind_of(&error))?;
        let length = file.metadata().map_err(|error| kind_of(&error))?.len();
        let open = OpenFile::new(file, name, length);
        if self.taint_of(name) == Some(Taint::Poisoned) {
            open.poison();
        }
        self.open_files.insert(id, open);
        Ok(())
    }

    fn check_room(&self) -> Result<(), StoreError> {
        if self.open_files.len() >= self.limits.open_files_max {
            return Err(StoreError::Failed);
        }
        Ok(())
    }

    fn written(
        &mut self,
        id: FileId,
        write: impl FnOnce(&OpenFile) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let open = self.open_files.get(id).ok_or(StoreError::NotFound)?;
        write(&open).map_err(|error| {
            self.taint_open(&open, Taint::Torn);
            kind_of(&error)
        })
    }

    fn sync(&mut self, id: FileId) -> Result<(), StoreError> {
        let open = self.open_files.get(id).ok_or(StoreError::NotFound)?;
        open.sync(&self.dir).map_err(|error| {
            self.taint_open(&open, Taint::Poisoned);
            kind_of(&error)
        })
    }

    fn read(&mut self, id: FileId, range: &Range<u64>) -> Result<Done, StoreError> {
        let open = self.open_files.get(id).ok_or(StoreError::NotFound)?;
        let wanted = range.end.saturating_sub(range.start);
        if wanted > self.limits.read_bytes_max {
            return Err(StoreError::TooLarge);
        }
        let there = open.len().saturating_sub(range.start).min(wanted);
        let mut bytes = self.buffer();
        // Bounded by `read_bytes_max` and by what the file has.
        bytes.resize(usize::try_from(there).unwrap_or(usize::MAX), 0);
        let count = open
            .read_full_at(&mut bytes, range.start)
            .map_err(|error| kind_of(&error))?;
        bytes.truncate(count);
        Ok(Done::Loaded(bytes))
    }

    fn load(&mut self, name: &str, bytes_max: u64) -> Result<Done, StoreError> {
        let path = self.path(name)?;
        let file = folder::open_regular(&path, OpenOptions::new().read(true))
            .map_err(|error| kind_of(&error))?;
        let length = file.metadata().map_err(|error| kind_of(&error))?.len();
        if length > bytes_max {
            return Err(StoreError::TooLarge);
        }
        let mut bytes = self.buffer();
        file.take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| kind_of(&error))?;
        if bytes.len() as u64 > bytes_max {
            return Err(StoreError::TooLarge);
        }
        Ok(Done::Loaded(bytes))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), StoreError> {
        let (from_path, to_path) = (self.path(from)?, self.path(to)?);
        if self.taint_of(from).is_some() {
            return Err(StoreError::Failed);
        }
        fs::rename(&from_path, &to_path).map_err(|error| kind_of(&error))?;
        self.tainted_names.remove(to);
        if from != to {
            self.open_files.unname(to);
            self.open_files.rename(from, to);
        }
        private::sync_dir(&self.dir).map_err(|error| kind_of(&error))
    }

    fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        fs::remove_file(path).map_err(|error| kind_of(&error))?;
        self.tainted_names.remove(name);
        self.open_files.unname(name);
        private::sync_dir(&self.dir).map_err(|error| kind_of(&error))
    }

    fn copy(&mut self, from: &str, to: &str, bytes_max: u64) -> Result<(), StoreError> {
        self.path(from)?;
        self.path(to)?;
        folder::copy(&self.dir, from, to, bytes_max).map_err(|error| kind_of(&error))?;
        self.tainted_names.remove(to);
        if self.taint_of(from).is_some() {
            self.taint(to, Taint::Torn);
        }
        Ok(())
    }

    fn list(&mut self, prefix: &str) -> Result<Done, StoreError> {
        if !prefix.is_empty() && !is_store_name(prefix) {
            return Err(StoreError::Denied);
        }
        let mut lines = self.buffer();
        folder::list(&self.dir, prefix, LIST_ENTRIES_MAX, &mut lines)
            .map_err(|error| kind_of(&error))?;
        Ok(Done::Loaded(lines))
    }

    /// From now on the file of that name must not take the place of another.
    fn taint(&mut self, name: &str, taint: Taint) {
        let is_known = self.tainted_names.contains_key(name);
        if is_known || self.tainted_names.len() < TAINTED_NAMES_MAX {
            let known = self.tainted_names.entry(name.to_owned()).or_insert(taint);
            *known = taint.max(*known);
        }
    }

    /// What is held against an open file stays with its name.
    fn taint_open(&mut self, open: &OpenFile, taint: Taint) {
        if let Some(name) = open.name() {
            self.taint(&name, taint);
        }
    }

    /// When too many are tainted to know them all, the worst is taken for all.
    fn taint_of(&self, name: &str) -> Option<Taint> {
        if self.tainted_names.len() >= TAINTED_NAMES_MAX {
            return Some(Taint::Poisoned);
        }
        self.tainted_names.get(name).copied()
    }

    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        if is_store_name(name) {
            Ok(self.dir.join(name))
        } else {
            Err(StoreError::Denied)
        }
    }

    fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.spare);
        buffer.clear();
        buffer
    }
}

/// What the core is told of an error of the system's.
pub fn kind_of(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::NotFound,
        io::ErrorKind::AlreadyExists => StoreError::Exists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::IsADirectory => StoreError::Denied,
        io::ErrorKind::FileTooLarge => StoreError::TooLarge,
        _ => StoreError::Failed,
    }
}

/// Opens the lock file for writing, which also shows that the folder can be
/// written to, and locks it where the platform can.
fn lock(dir: &Path) -> io::Result<File> {
    let path = dir.join(LOCK_NAME);
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = match private::create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(&path)
        }
        created => created,
    }
    .map_err(named)?;
    #[cfg(unix)]
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
        |errno| match errno {
            rustix::io::Errno::WOULDBLOCK => io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("{}: another process uses this folder", dir.display()),
            ),
            errno => named(errno.into()),
        },
    )?;
    Ok(file)
}

#[cfg(test)]
mod tests;
