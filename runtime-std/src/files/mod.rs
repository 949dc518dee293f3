//! The endpoint's folder: carries out storage effects, one after another.
//!
//! [`Files`] belongs to one thread, usually one of its own. The files that it
//! has open can be reached from other threads through [`OpenFiles`]: a driver
//! needs that for `Output::Take` and `Output::SendFile`.

mod op;
mod open;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tautline_core::{FileId, StoreError};

pub use op::{Done, Op};
pub use open::{OpenFile, OpenFiles};

use crate::private;

/// Names of files whose content is in doubt that are remembered at most. Past
/// it no file can be renamed any more.
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
/// - A name that is not a core's name is `Denied`.
/// - After a failed `Sync` the file is poisoned: the system may have dropped
///   what it could not write, so no later `Sync` could be believed. `Append`
///   and `Sync` fail from then on.
/// - A file whose `Create`, `Append` or `Sync` failed is not renamed (`Failed`)
///   until one of its name is created or removed: effects are sent ahead, and a
///   half-written draft must not take the place of a good file.
/// - The first `Sync` of a file makes its name durable as well.
/// - A failed `Append` leaves the file as long as it was.
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
    tainted_names: BTreeSet<String>,
    spare: Vec<u8>,
    chunk: Vec<u8>,
    /// Held for as long as the folder is in use.
    _lock: File,
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
        Ok(Self {
            dir: dir.to_path_buf(),
            limits,
            open_files: OpenFiles::default(),
            tainted_names: BTreeSet::new(),
            spare: Vec::new(),
            chunk: vec![0; HASH_CHUNK_BYTES],
            _lock: lock(dir)?,
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
            Op::Append { file, bytes } => self.append(*file, bytes)?,
            Op::Read { file, range } => return self.read(*file, range),
            Op::Sync { file } => self.sync(*file)?,
            Op::Close { file } => {
                self.open_files.remove(*file);
            }
            Op::Load { name, bytes_max } => return self.load(name, *bytes_max),
            Op::Rename { from, to } => self.rename(from, to)?,
            Op::Remove { name } => self.remove(name)?,
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
        self.tainted_names.remove(name);
        self.create_at(id, name, &path, reserve)
            .inspect_err(|_| self.taint(name))
    }

    fn create_at(
        &mut self,
        id: FileId,
        name: &str,
        path: &Path,
        reserve: u64,
    ) -> Result<(), StoreError> {
        if self.open_files.len() >= self.limits.open_files_max {
            return Err(StoreError::Failed);
        }
        remove_if_there(path).map_err(|error| kind_of(&error))?;
        let file = private::create_new(path).map_err(|error| kind_of(&error))?;
        if reserve > 0 {
            open::reserve(&file, reserve).map_err(|error| kind_of(&error))?;
        }
        self.open_files.insert(id, OpenFile::new(file, name));
        Ok(())
    }

    fn append(&mut self, id: FileId, bytes: &[u8]) -> Result<(), StoreError> {
        let open = self.open_files.get(id).ok_or(StoreError::NotFound)?;
        open.append(bytes).map_err(|error| {
            self.taint(&open.name());
            kind_of(&error)
        })
    }

    fn sync(&mut self, id: FileId) -> Result<(), StoreError> {
        let open = self.open_files.get(id).ok_or(StoreError::NotFound)?;
        open.sync(&self.dir).map_err(|error| {
            self.taint(&open.name());
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
        // Opening a pipe would block.
        let metadata = fs::symlink_metadata(&path).map_err(|error| kind_of(&error))?;
        if !metadata.is_file() {
            return Err(StoreError::Denied);
        }
        if metadata.len() > bytes_max {
            return Err(StoreError::TooLarge);
        }
        let mut bytes = self.buffer();
        let file = File::open(&path).map_err(|error| kind_of(&error))?;
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
        if self.tainted_names.contains(from) || self.tainted_names.len() >= TAINTED_NAMES_MAX {
            return Err(StoreError::Failed);
        }
        fs::rename(&from_path, &to_path).map_err(|error| kind_of(&error))?;
        self.tainted_names.remove(to);
        self.open_files.rename(from, to);
        private::sync_dir(&self.dir).map_err(|error| kind_of(&error))
    }

    fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        fs::remove_file(path).map_err(|error| kind_of(&error))?;
        self.tainted_names.remove(name);
        private::sync_dir(&self.dir).map_err(|error| kind_of(&error))
    }

    /// From now on the file of that name must not take the place of another.
    fn taint(&mut self, name: &str) {
        if self.tainted_names.len() < TAINTED_NAMES_MAX {
            self.tainted_names.insert(name.to_owned());
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        if is_name(name) {
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

/// Whether `name` is one that the core may use: 1 to 255 of `a-z`, `0-9`, `.`,
/// `-` and `_`, not beginning with a dot.
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    (1..=255).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

/// What the core is told of an error of the system's.
pub fn kind_of(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::NotFound,
        io::ErrorKind::AlreadyExists => StoreError::Exists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Denied,
        io::ErrorKind::FileTooLarge => StoreError::TooLarge,
        _ => StoreError::Failed,
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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
            fs::OpenOptions::new().write(true).open(&path)
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
