//! Files by their names: what is opened, copied and listed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use tautline_core::is_store_name;

use crate::private;

/// What a copy is called until it is whole. No core's name, so nothing else
/// has it.
const DRAFT_NAME: &str = ".copy";

/// Opens a regular file; never what a link points to, and never a pipe, which
/// would block.
pub(super) fn open_regular(path: &Path, options: &OpenOptions) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "no regular file",
        ));
    }
    options.open(path)
}

/// Copies a file of at most `bytes_max` bytes to a name that no file has.
///
/// The copy gets its name when all of it is durable.
pub(super) fn copy(dir: &Path, from: &str, to: &str, bytes_max: u64) -> io::Result<()> {
    let source = open_regular(&dir.join(from), OpenOptions::new().read(true))?;
    let length = source.metadata()?.len();
    if length > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let to = dir.join(to);
    match fs::symlink_metadata(&to) {
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let draft = dir.join(DRAFT_NAME);
    // A link, unlike a rename, never takes the place of another file.
    let copied = write_draft(&draft, source.take(length)).and_then(|()| fs::hard_link(&draft, &to));
    // One that stays is removed by the next copy, and when the folder is opened.
    let _ = fs::remove_file(&draft);
    copied?;
    private::sync_dir(dir)
}

fn write_draft(path: &Path, mut source: impl Read) -> io::Result<()> {
    remove_if_there(path)?;
    let mut file = private::create_new(path)?;
    io::copy(&mut source, &mut file)?;
    file.flush()?;
    file.sync_all()
}

/// Removes what a copy left that a crash interrupted.
pub(super) fn remove_draft(dir: &Path) -> io::Result<()> {
    remove_if_there(&dir.join(DRAFT_NAME))
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes the list of the core's files whose names begin with `prefix`.
pub(super) fn list(
    dir: &Path,
    prefix: &str,
    entries_max: usize,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let own = |name: &&str| is_store_name(name) && name.starts_with(prefix);
        let Some(name) = name.to_str().filter(own) else {
            continue;
        };
        if entries.len() >= entries_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        match fs::symlink_metadata(entry.path()) {
            Ok(metadata) => {
                let length = metadata.is_file().then_some(metadata.len());
                entries.push((name.to_owned(), length));
            }
            // It went while the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    entries.sort_unstable();
    for (name, length) in entries {
        match length {
            Some(length) => writeln!(out, "{length} {name}")?,
            None => writeln!(out, "- {name}")?,
        }
    }
    Ok(())
}
