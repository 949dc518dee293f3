//! The handler's program, found before the first notification comes.

use std::env::{self, consts::EXE_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that can be started, and its arguments. There is no shell
/// between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    arguments: Vec<String>,
}

impl Program {
    /// The program of `words`: by its path, or found in `PATH`; `None` if
    /// there are no words.
    pub(super) fn find(words: &[String]) -> Result<Option<Self>, String> {
        let Some((name, arguments)) = words.split_first() else {
            return Ok(None);
        };
        let is_path = Path::new(name).components().count() != 1 || name.starts_with('.');
        let path = if is_path {
            by_path(Path::new(name))?
        } else {
            let folders = env::var_os("PATH").unwrap_or_default();
            let mut folders = env::split_paths(&folders);
            folders
                .find_map(|folder| by_path(&folder.join(name)).ok())
                .ok_or_else(|| {
                    format!("{name:?} is no program in any folder of PATH; name it by its path")
                })?
        };
        Ok(Some(Self {
            path: std::path::absolute(&path).unwrap_or(path),
            arguments: arguments.to_vec(),
        }))
    }

    /// To be started, in a process group of its own where there are any, with
    /// pipes.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }
}

fn by_path(path: &Path) -> Result<PathBuf, String> {
    let shown = path.display();
    let mut full = path.as_os_str().to_owned();
    full.push(EXE_SUFFIX);
    let candidates = [path.to_path_buf(), PathBuf::from(full)];
    let Some(found) = candidates.iter().find(|path| path.is_file()) else {
        return Err(match fs::metadata(path) {
            Ok(_) => format!("{shown} is not a file"),
            Err(error) => format!("{shown}: {error}"),
        });
    };
    if is_executable(found) {
        Ok(found.clone())
    } else {
        Err(format!("{shown} is not executable by this user"))
    }
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn find(words: &[&str]) -> Result<Option<Program>, String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Program::find(&words)
    }

    #[test]
    fn a_program_is_found_by_path_or_by_name() {
        assert_eq!(find(&[]), Ok(None));
        let by_name = find(&["sh", "-c", "true"]).unwrap().unwrap();
        assert!(by_name.path.is_absolute() && by_name.path.ends_with("sh"));
        assert_eq!(by_name.arguments, ["-c", "true"]);
        let path = by_name.path.to_str().unwrap();
        assert_eq!(find(&[path]).unwrap().unwrap().path, by_name.path);
    }

    #[test]
    fn what_cannot_be_started_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handler");
        let shown = path.to_str().unwrap();
        let missing = find(&[shown]).unwrap_err();
        assert!(
            missing.starts_with(shown) && missing.contains("No such file"),
            "{missing}"
        );
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let expected = format!("{shown} is not executable by this user");
        assert_eq!(find(&[shown]).unwrap_err(), expected);
        let folder = dir.path().to_str().unwrap();
        assert_eq!(
            find(&[folder]).unwrap_err(),
            format!("{folder} is not a file")
        );
        let unknown = find(&["no-such-handler"]).unwrap_err();
        assert!(
            unknown.starts_with("\"no-such-handler\" is no program"),
            "{unknown}"
        );
        assert!(find(&[""]).is_err());
    }
}
