//! Settings in layers: defaults, below a TOML file, below the environment,
//! below flags.
//!
//! The result is a struct of the caller's. Whatever is wrong is told with the
//! place where it was set and with what would have been right.
//!
//! ```
//! use serde::Deserialize;
//! use tautline_std::settings::{Checks, Settings, Sources};
//!
//! #[derive(Debug, Default, Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Mine {
//!     heartbeat: Heartbeat,
//! }
//!
//! #[derive(Debug, Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Heartbeat {
//!     period_s: u32,
//! }
//!
//! impl Default for Heartbeat {
//!     fn default() -> Self {
//!         Self { period_s: 600 }
//!     }
//! }
//!
//! impl Settings for Mine {
//!     fn check(&self, checks: &mut Checks) {
//!         checks.range("heartbeat.period_s", &self.heartbeat.period_s, 1..=86_400);
//!     }
//! }
//!
//! let mut sources = Sources::default();
//! sources.environment([("TAUTLINE_HEARTBEAT_PERIOD_S".into(), "0".into())]);
//! let error = sources.load::<Mine>().unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "TAUTLINE_HEARTBEAT_PERIOD_S: heartbeat.period_s is 0, but must be 1 to 86400"
//! );
//! ```

mod keys;
mod source;
mod word;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use keys::Keys;
use source::SourceFile;
pub use word::word_or_number;

use crate::private;

/// The exit code of a process whose configuration is wrong (`EX_CONFIG` of
/// sysexits.h), so that a supervisor can tell it from a crash.
pub const EXIT_CONFIG: u8 = 78;
/// What the names of environment variables begin with.
pub const ENVIRONMENT_PREFIX: &str = "TAUTLINE_";
/// Variables that are read, but are no settings.
const NO_SETTINGS: [&str; 3] = ["TAUTLINE_CONFIG", "TAUTLINE_RELAY", "TAUTLINE_TOKEN"];

const FILE_BYTES_MAX: u64 = 1 << 20;

/// The caller's settings: a struct of values and of sections, each a struct of
/// values. A value may be a list of sections.
///
/// Both levels carry `#[serde(default, deny_unknown_fields)]`, so that each
/// layer is valid alone and a misspelt key is an error. Keys and sections are
/// `lower_case`.
pub trait Settings: DeserializeOwned {
    /// Tells what is out of range or does not fit together.
    fn check(&self, checks: &mut Checks);
}

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    assignments: Vec<(Origin, String, OsString)>,
    environment: Vec<(OsString, OsString)>,
}

impl Sources {
    /// Reads this file. Whether a file that is missing is an error is the
    /// caller's to decide: here it is.
    pub fn file(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.file = Some(path.into());
        self
    }

    /// Reads the variables `TAUTLINE_<SECTION>_<KEY>` (or `TAUTLINE_<KEY>`)
    /// out of `variables`, usually [`std::env::vars_os`]. The value is written
    /// as in TOML; a text needs no quotes.
    ///
    /// A variable of another name that begins with the name of a section is an
    /// error, a misspelt key; the others are left alone, as they may be another
    /// program's: see [`strangers`](Self::strangers).
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> &mut Self {
        let ours = |(name, _): &(OsString, OsString)| {
            name.to_string_lossy().starts_with(ENVIRONMENT_PREFIX)
        };
        self.environment.extend(variables.into_iter().filter(ours));
        self
    }

    /// Sets `key` (`section.key`) by a flag, whose name is for errors. The
    /// value is written as in the environment.
    pub fn flag(&mut self, flag: &'static str, key: &str, value: impl Into<OsString>) -> &mut Self {
        let origin = Origin::Flag(flag);
        self.assignments
            .push((origin, key.to_owned(), value.into()));
        self
    }

    /// The variables `TAUTLINE_…` that set nothing of `T`: another program's,
    /// or misspelt. A program should say that it leaves them alone.
    pub fn strangers<T: Settings>(&self) -> Vec<String> {
        let keys = Keys::of::<T>();
        let names = self
            .environment
            .iter()
            .map(|(name, _)| name.to_string_lossy());
        let strange = |name: &String| {
            let stem = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or_default();
            keys.of_variable(stem).is_none() && !NO_SETTINGS.contains(&name.as_str())
        };
        names.map(String::from).filter(strange).collect()
    }

    /// Reads all layers.
    ///
    /// # Errors
    /// [`SettingsError`] with all that is wrong in the first layer that is
    /// wrong, or all that the checks of the whole found.
    pub fn load<T: Settings>(&self) -> Result<T, SettingsError> {
        let mut table = Table::new();
        let mut origins = BTreeMap::new();
        if let Some(path) = &self.file {
            let text = read_text(path)?;
            let file = SourceFile::new(path, &text);
            table = file.parse::<T>()?;
            origins = file.origins();
        }

        let keys = Keys::of::<T>();
        let mut problems = Vec::new();
        let of_environment = self.assignments_of_environment(&keys, &mut problems);
        for (origin, key, text) in of_environment.iter().chain(&self.assignments) {
            match read_value::<T>(key, text) {
                Ok(value) => {
                    insert(&mut table, key, value);
                    origins.insert(key.clone(), origin.to_string());
                }
                Err(what) => problems.push(format!("{origin}: {key}: {what}")),
            }
        }
        SettingsError::unless_empty(problems)?;

        let settings: T = Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| SettingsError::one(one_line(error.message())))?;
        let mut checks = Checks::default();
        settings.check(&mut checks);
        SettingsError::unless_empty(checks.told(&origins))?;
        Ok(settings)
    }

    fn assignments_of_environment(
        &self,
        keys: &Keys,
        problems: &mut Vec<String>,
    ) -> Vec<(Origin, String, OsString)> {
        let mut assignments = Vec::new();
        for (name, value) in &self.environment {
            let name = name.to_string_lossy();
            let stem = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or_default();
            if let Some(key) = keys.of_variable(stem) {
                let origin = Origin::Variable(name.into_owned());
                assignments.push((origin, key.to_owned(), value.clone()));
            } else if let Some(section) = keys.section_of_variable(stem) {
                let known = keys.variables_of(section).join(", ");
                problems.push(format!("{name}: no such setting; known are {known}"));
            }
        }
        assignments
    }
}

/// Collects what is wrong with settings that could be read.
#[derive(Debug, Default)]
pub struct Checks {
    problems: Vec<(String, String)>,
}

impl Checks {
    /// The value of `key` must be in `range`.
    pub fn range<V: PartialOrd + fmt::Display>(
        &mut self,
        key: &str,
        value: &V,
        range: RangeInclusive<V>,
    ) {
        let what = || {
            format!(
                "is {value}, but must be {} to {}",
                range.start(),
                range.end()
            )
        };
        self.require(key, range.contains(value), what);
    }

    /// The value of `key`, in seconds, must be in `range`.
    pub fn seconds(&mut self, key: &str, value: u32, range: RangeInclusive<Duration>) {
        let range = range.start().as_secs()..=range.end().as_secs();
        self.range(key, &value.into(), range);
    }

    /// The value of `key`, in milliseconds, must be in `range`.
    pub fn millis(&mut self, key: &str, value: u32, range: RangeInclusive<Duration>) {
        let range = range.start().as_millis()..=range.end().as_millis();
        self.range(key, &value.into(), range);
    }

    /// What `key` says must hold; `what` completes the sentence that begins
    /// with the key. In a list of sections a key is `section[0].key`.
    pub fn require(&mut self, key: &str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.problems.push((key.to_owned(), what()));
        }
    }

    fn told(self, origins: &BTreeMap<String, String>) -> Vec<String> {
        let origin_of = |key: &str| {
            // A key that is missing in a list of sections is told at its
            // section; a variable sets such a list as a whole.
            let section = key.rsplit_once('.').map(|(section, _)| section);
            let section = section.filter(|section| section.ends_with(']'));
            let list = key.split_once('[').map(|(list, _)| list);
            let keys = [Some(key), section, list];
            keys.into_iter().flatten().find_map(|key| origins.get(key))
        };
        let told = |(key, what): (String, String)| match origin_of(&key) {
            Some(origin) => format!("{origin}: {key} {what}"),
            None => format!("{key} (not set) {what}"),
        };
        self.problems.into_iter().map(told).collect()
    }
}

/// What is wrong with the settings, one line each; a line of the file may be
/// shown below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<String>,
}

impl SettingsError {
    fn one(problem: String) -> Self {
        Self {
            problems: vec![problem],
        }
    }

    fn unless_empty(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self { problems })
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

/// Where a value was set, other than in the file.
#[derive(Clone, Debug)]
enum Origin {
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

fn read_text(path: &Path) -> Result<String, SettingsError> {
    let bytes = private::read(path, FILE_BYTES_MAX)
        .map_err(|error| SettingsError::one(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        SettingsError::one(format!("{}:{line}: not UTF-8", path.display()))
    })
}

/// Reads a value as TOML or, where that does not fit the key, as the text that
/// it is.
fn read_value<T: Settings>(key: &str, text: &OsString) -> Result<Value, String> {
    let Some(text) = text.to_str() else {
        return Err("not UTF-8".to_owned());
    };
    let fits = |value: &Value| {
        let mut alone = Table::new();
        insert(&mut alone, key, value.clone());
        Value::Table(alone)
            .try_into::<T>()
            .map(drop)
            .map_err(|error| one_line(error.message()))
    };
    let as_text = Value::String(text.to_owned());
    let as_toml = text.parse::<Value>().ok();
    match as_toml.map(|value| (fits(&value), value)) {
        Some((Ok(()), value)) => Ok(value),
        Some((Err(what), _)) => fits(&as_text).map(|()| as_text).map_err(|_| what),
        None => fits(&as_text).map(|()| as_text),
    }
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, key)) => {
            let section = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(key.to_owned(), value);
            }
        }
    }
}

fn one_line(message: &str) -> String {
    message.trim().replace('\n', ", ")
}

#[cfg(test)]
mod tests;
