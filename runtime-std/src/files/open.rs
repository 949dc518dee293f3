//! Files that are open, shared between the storage thread and the driver.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tautline_core::FileId;

use crate::private;

/// The files that a [`Files`](super::Files) has open, by their handles.
///
/// A file appears when its `Create` or `Open` is carried out and goes with its `Close`;
/// who still holds it can finish.
#[derive(Clone, Debug, Default)]
pub struct OpenFiles(Arc<Mutex<HashMap<FileId, Arc<OpenFile>>>>);

impl OpenFiles {
    /// The file, if it is open.
    pub fn get(&self, id: FileId) -> Option<Arc<OpenFile>> {
        self.files().get(&id).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.files().len()
    }

    pub(super) fn insert(&self, id: FileId, file: OpenFile) {
        self.files().insert(id, Arc::new(file));
    }

    pub(super) fn remove(&self, id: FileId) {
        self.files().remove(&id);
    }

    /// Opens under another handle what is open already, if it is: with a length
    /// and failures of its own, it would be another file.
    pub(super) fn share(&self, id: FileId, name: &str) -> bool {
        let mut files = self.files();
        let open = files.values().find(|file| file.is_named(name)).cloned();
        open.is_some_and(|open| {
            files.insert(id, open);
            true
        })
    }

    /// A failure is charged to the name that a file has now.
    pub(super) fn rename(&self, from: &str, to: &str) {
        self.set_name(from, Some(to));
    }

    /// The file of that name is gone from the folder.
    pub(super) fn unname(&self, name: &str) {
        self.set_name(name, None);
    }

    fn set_name(&self, from: &str, to: Option<&str>) {
        for file in self.files().values().filter(|file| file.is_named(from)) {
            *lock(&file.name) = to.map(str::to_owned);
        }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<FileId, Arc<OpenFile>>> {
        lock(&self.0)
    }
}

/// One open file. All access states its offset, so threads do not disturb each
/// other.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    /// `None` once another file has it.
    name: Mutex<Option<String>>,
    end: AtomicU64,
    is_poisoned: AtomicBool,
    is_name_durable: AtomicBool,
}

impl OpenFile {
    pub(super) fn new(file: File, name: &str, length: u64) -> Self {
        Self {
            file,
            name: Mutex::new(Some(name.to_owned())),
            end: AtomicU64::new(length),
            is_poisoned: AtomicBool::new(false),
            is_name_durable: AtomicBool::new(false),
        }
    }

    /// The file itself, for `sendfile` and the like. Its cursor is nobody's.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The end of the last byte.
    pub fn len(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads what one call of the system gives; 0 at the end of the file.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match read_once_at(&self.file, buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reads until the buffer is full or the file ends.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn read_full_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset.saturating_add(done as u64))? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    /// Writes all of it at `offset`.
    ///
    /// # Errors
    /// Whatever the system says; part of it may have been written.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match write_once_at(&self.file, rest, offset.saturating_add(done as u64)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let end = offset.saturating_add(bytes.len() as u64);
        self.end.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    pub(super) fn name(&self) -> Option<String> {
        lock(&self.name).clone()
    }

    fn is_named(&self, name: &str) -> bool {
        lock(&self.name).as_deref() == Some(name)
    }

    pub(super) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes, self.len())
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_poison()?;
        let end = self.len();
        if offset > end {
            return Err(io::Error::other("the write begins behind the file's end"));
        }
        self.write_all_at(bytes, offset).inspect_err(|_| {
            // What was written of it would surface as a tail that nobody
            // appended. If it cannot be cut off, the next append covers it.
            if end - offset < bytes.len() as u64 {
                let _ = self.file.set_len(end);
            }
        })
    }

    pub(super) fn sync(&self, dir: &Path) -> io::Result<()> {
        self.check_poison()?;
        let sync = || {
            self.file.sync_data()?;
            if !self.is_name_durable.load(Ordering::Relaxed) {
                private::sync_dir(dir)?;
                self.is_name_durable.store(true, Ordering::Relaxed);
            }
            Ok(())
        };
        sync().inspect_err(|_| self.poison())
    }

    /// From now on nothing more is written or synced.
    pub(super) fn poison(&self) {
        self.is_poisoned.store(true, Ordering::Relaxed);
    }

    fn check_poison(&self) -> io::Result<()> {
        if self.is_poisoned.load(Ordering::Relaxed) {
            return Err(io::Error::other("an earlier sync of the file failed"));
        }
        Ok(())
    }
}

/// Reserves bytes behind the end of the file without making it longer.
#[cfg(target_os = "linux")]
pub(super) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        // The file system cannot reserve.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reserve(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
use std::os::unix::fs::FileExt;
#[cfg(windows)]
use std::os::windows::fs::FileExt;

#[cfg(unix)]
fn read_once_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buf, offset)
}

#[cfg(unix)]
fn write_once_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(bytes, offset)
}

#[cfg(windows)]
fn read_once_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buf, offset)
}

#[cfg(windows)]
fn write_once_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(bytes, offset)
}

/// A thread that panicked leaves nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
