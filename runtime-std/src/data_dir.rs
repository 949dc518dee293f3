//! Where a process keeps its identity, its keys and its state.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The folder to use when none was named, the first of:
///
/// 1. `$TAUTLINE_DATA_DIR`;
/// 2. `$STATE_DIRECTORY`, which systemd sets (the first, if it names several);
/// 3. `/var/lib/tautline` for root;
/// 4. `$XDG_STATE_HOME/tautline`;
/// 5. `~/.local/state/tautline`, on Windows `%LOCALAPPDATA%\tautline`.
///
/// `None` if none of them is set. Empty variables count as not set, and so do
/// relative paths, except in the first: a service's working directory is no
/// place to guess from.
pub fn default() -> Option<PathBuf> {
    choose(|name| env::var_os(name), is_root())
}

fn choose(variable: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Option<PathBuf> {
    let named = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let absolute = |name: &str| named(name).filter(|path| path.is_absolute());

    if let Some(path) = named("TAUTLINE_DATA_DIR") {
        return Some(path);
    }
    if let Some(path) = variable("STATE_DIRECTORY").and_then(|paths| first_absolute(&paths)) {
        return Some(path);
    }
    if is_root {
        return Some(PathBuf::from("/var/lib/tautline"));
    }
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .or_else(|| absolute("LOCALAPPDATA"))
        .map(|path| path.join("tautline"))
}

/// systemd separates several state directories by colons (systemd.exec(5)).
fn first_absolute(paths: &OsString) -> Option<PathBuf> {
    env::split_paths(paths).find(|path| path.is_absolute())
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)], is_root: bool) -> Option<String> {
        let lookup = |name: &str| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from(value))
        };
        choose(lookup, is_root).map(|path| path.display().to_string())
    }

    #[test]
    fn the_first_that_is_set_wins() {
        let all = [
            ("TAUTLINE_DATA_DIR", "data"),
            ("STATE_DIRECTORY", "/run/one:/run/two"),
            ("XDG_STATE_HOME", "/xdg"),
            ("HOME", "/home/me"),
        ];
        let expected = [
            "data",
            "/run/one",
            "/xdg/tautline",
            "/home/me/.local/state/tautline",
        ];
        for (skip, expected) in expected.iter().enumerate() {
            assert_eq!(chosen(&all[skip..], false).as_deref(), Some(*expected));
        }
        assert_eq!(chosen(&[], false), None);
    }

    #[test]
    fn root_has_a_system_folder() {
        let home = [("XDG_STATE_HOME", "/xdg"), ("HOME", "/root")];
        assert_eq!(chosen(&home, true).as_deref(), Some("/var/lib/tautline"));
    }

    #[test]
    fn empty_and_relative_ones_do_not_count() {
        let variables = [
            ("TAUTLINE_DATA_DIR", ""),
            ("STATE_DIRECTORY", "relative"),
            ("XDG_STATE_HOME", "relative"),
            ("HOME", "/home/me"),
        ];
        assert_eq!(
            chosen(&variables, false).as_deref(),
            Some("/home/me/.local/state/tautline")
        );
    }
}
