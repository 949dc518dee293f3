//! This program again, under Valgrind.

use std::io::ErrorKind;
use std::process::Command;

/// Makes this program the one that is counted; the scenario's name and its
/// size follow.
pub(crate) const COUNT: &str = "--count";

/// The symbol of [`super::scenario::counted`], in whatever way it is mangled.
const COUNTED: &str = "--toggle-collect=*instructions*scenario*counted*";

/// Instructions for each operation of a scenario at a size.
///
/// # Errors
/// What went wrong, for people.
pub(crate) fn count(name: &str, size: usize) -> Result<f64, String> {
    let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
    let file = folder.path().join("counts");
    let program = std::env::current_exe().map_err(|why| why.to_string())?;
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--cache-sim=no", COUNTED])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args([COUNT, name, &size.to_string()])
        .output();
    let output = ran.map_err(|why| match why.kind() {
        ErrorKind::NotFound => {
            "valgrind is not installed; it is the Debian package valgrind".to_owned()
        }
        _ => format!("valgrind does not start: {why}"),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}\n{said}", output.status));
    }
    let operations = String::from_utf8_lossy(&output.stdout);
    let operations: f64 = operations
        .trim()
        .parse()
        .map_err(|why| format!("the operations {operations:?}: {why}"))?;
    let counts = std::fs::read_to_string(&file).map_err(|why| why.to_string())?;
    match total(&counts) {
        None | Some(0) => Err("valgrind counted nothing".to_owned()),
        Some(instructions) => Ok(instructions as f64 / operations),
    }
}

/// The sum of the counts (Callgrind Format Specification, `totals`).
fn total(counts: &str) -> Option<u64> {
    let line = counts
        .lines()
        .find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}
