//! The programs that tests and benchmarks start as processes of their own.

use std::path::PathBuf;
use std::process::Command;

/// The path of a program of this workspace, built in the profile that the
/// caller is built in.
///
/// # Panics
/// When it can not be built.
pub fn binary(name: &str) -> PathBuf {
    build("--bin", name).join(name)
}

/// The path of an example of this workspace, built as a [`binary`] is.
///
/// # Panics
/// When it can not be built.
pub fn example(name: &str) -> PathBuf {
    build("--example", name).join("examples").join(name)
}

/// Builds it; returns the profile's folder.
fn build(kind: &str, name: &str) -> PathBuf {
    let caller = std::env::current_exe().expect("a path");
    // target/PROFILE/deps/CALLER
    let profile = caller
        .parent()
        .and_then(|deps| deps.parent())
        .expect("a target folder");
    let release = profile.ends_with("release");
    let target = profile.parent().expect("a target folder");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--workspace", kind, name])
        .env("CARGO_TARGET_DIR", target);
    if release {
        build.arg("--release");
    }
    // What cargo says of the caller makes build scripts run anew that look at
    // it, at every change between a build from here and one from a shell.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&name);
        }
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let status = build.current_dir(root).status().expect("cargo starts");
    assert!(status.success(), "{name} can not be built");
    profile.to_owned()
}
