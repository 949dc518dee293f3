//! Files that only their owner may read: tokens and keys.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A text that must not reach a log: its `Debug` form hides it, and it has no
/// `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Makes a folder and those above it, for its owner alone where the platform
/// has modes (0700). One that exists keeps its mode, but must be one that
/// nobody else can write to: who can write there can put a key of his own in
/// the place of another.
///
/// # Errors
/// `InvalidInput` if others can write to it, with what to do; otherwise
/// whatever the system says. The text names the path.
pub fn create_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let create = || {
        builder.create(path)?;
        if mode(&fs::metadata(path)?.permissions()) & 0o022 != 0 {
            let message = format!(
                "others than the owner can write to this folder; run chmod go-w {}",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    };
    create().map_err(|error| named(path, &error))
}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// Whatever the system says, or `FileTooLarge`, with the path named.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        let mut limited = File::open(path)?.take(bytes_max.saturating_add(1));
        limited.read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            let message = format!("it has more than {bytes_max} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(bytes)
    };
    read().map_err(|error| named(path, &error))
}

/// Whether others than the owner may read the file: worth a warning for a key
/// or a token. Always `false` where the platform has no modes.
///
/// # Errors
/// Whatever the system says, with the path named.
pub fn is_exposed(path: &Path) -> io::Result<bool> {
    let permissions = fs::metadata(path)
        .map_err(|error| named(path, &error))?
        .permissions();
    Ok(mode(&permissions) & 0o077 != 0)
}

/// Writes a file of mode 0600, over one that may be there. After a crash there
/// is either the old content or the new one.
///
/// # Errors
/// Whatever the system says, with the path named.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let replace = || {
        let draft = Draft::write(path, bytes)?;
        fs::rename(&draft.path, path)?;
        sync_parent(path)
    };
    replace().map_err(|error| named(path, &error))
}

/// Reads a file, or makes it with what `content` returns, mode 0600.
///
/// It appears with its whole content at once, and of several processes that
/// make it at the same time one wins and all return the same bytes.
///
/// # Errors
/// Whatever the system says, with the path named.
pub fn read_or_create(
    path: &Path,
    bytes_max: u64,
    content: impl FnOnce() -> Vec<u8>,
) -> io::Result<Vec<u8>> {
    match read(path, bytes_max) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    let bytes = content();
    let create = || {
        let draft = Draft::write(path, &bytes)?;
        // A link, unlike a rename, does not take the place of a file that
        // another process has put there meanwhile.
        fs::hard_link(&draft.path, path)?;
        sync_parent(path)
    };
    match create() {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path, bytes_max),
        Err(error) => Err(named(path, &error)),
    }
}

/// Opens a file that must not exist yet, for writing and reading, mode 0600.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the names in a folder durable. Windows has no such call: there the
/// file system orders its own journal.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}

/// A synced file beside its destination; its name goes when it is dropped.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn write(destination: &Path, bytes: &[u8]) -> io::Result<Self> {
        let name = destination.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let mut draft_name = std::ffi::OsString::from(".");
        draft_name.push(name);
        draft_name.push(format!(".{:016x}", u64::from_ne_bytes(salt)));
        let path = destination.with_file_name(draft_name);

        let mut file = create_new(&path)?;
        let draft = Self { path };
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
fn mode(permissions: &fs::Permissions) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(permissions)
}

#[cfg(not(unix))]
fn mode(_: &fs::Permissions) -> u32 {
    0o600
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn of_many_that_create_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let contents = thread::scope(|scope| {
            let started: Vec<_> = (0..8u8)
                .map(|number| {
                    let path = &path;
                    scope.spawn(move || read_or_create(path, 100, || vec![number; 64]).unwrap())
                })
                .collect();
            started
                .into_iter()
                .map(|t| t.join().unwrap())
                .collect::<Vec<_>>()
        });
        let winner = read(&path, 100).unwrap();
        assert_eq!(winner.len(), 64);
        assert!(contents.iter().all(|content| *content == winner));
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft stays"
        );
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        replace(&path, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(is_exposed(&path).unwrap());
        replace(&path, b"two").unwrap();
        assert!(!is_exposed(&path).unwrap());
        assert_eq!(read(&path, 3).unwrap(), b"two");

        let folder = dir.path().join("a/b");
        create_dir(&folder).unwrap();
        assert!(!is_exposed(&folder).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let set = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        for mode in [0o770, 0o702, 0o1777] {
            set(mode);
            let error = create_dir(dir.path()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{mode:o}");
            let advice = format!("run chmod go-w {}", dir.path().display());
            assert!(error.to_string().ends_with(&advice), "{error}");
        }
        // To read is another matter: the secrets have modes of their own.
        set(0o755);
        create_dir(dir.path()).unwrap();
    }

    #[test]
    fn errors_name_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let missing = read(&path, 10).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().contains("token"));

        replace(&path, b"0123456789a").unwrap();
        let long = read(&path, 10).unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::FileTooLarge);
        assert!(
            long.to_string()
                .ends_with("token: it has more than 10 bytes")
        );
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("hush");
        assert_eq!(secret.reveal(), "hush");
        assert!(!format!("{secret:?}").contains("hush"));
    }
}
