//! The programs of the workspace, for tests and benchmarks that run them.

use std::path::PathBuf;

/// The path of a program that was built in the same profile as this process.
///
/// # Panics
/// If it was not built; the message says how to.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the process has a path");
    let profile = own
        .ancestors()
        .nth(2)
        .expect("a test lies in <profile>/deps");
    let path = profile
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    let how = "build it first: cargo build --workspace, for a benchmark with --release";
    assert!(path.is_file(), "{} is missing; {how}", path.display());
    path
}
