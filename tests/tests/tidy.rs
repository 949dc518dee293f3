//! The repository keeps its own rules.

use tautline_tests::tidy;

const CODE: [&str; 5] = ["core", "runtime-mio", "runtime-std", "tests", "fuzz"];

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_file_is_one_idea() {
    let mut wrong = Vec::new();
    for (path, text) in CODE.iter().flat_map(|folder| tidy::files(folder, &["rs"])) {
        let lines = tidy::lines_before_tests(&text);
        if lines > tidy::FILE_LINES_MAX && !path.ends_with("/tests.rs") {
            wrong.push(format!("{path}: {lines} lines before its tests"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn a_room_imports_from_the_floors_below() {
    let files = tidy::files("core/src", &["rs"]);
    let lib = files.iter().find(|(path, _)| path == "core/src/lib.rs");
    let exports = tidy::exports(&lib.expect("core has a lib.rs").1);
    assert!(exports.contains_key("ConnId"), "{exports:?}");
    let mut wrong = Vec::new();
    let mut rooms = 0;
    for (path, text) in &files {
        let inside = path.strip_prefix("core/src/").unwrap_or(path);
        // A machine's tests may play the endpoint above it.
        let Some(room) = tidy::room(inside).filter(|_| !path.ends_with("/tests.rs")) else {
            continue;
        };
        rooms += 1;
        let upwards = tidy::imports_upwards(room, text, &exports);
        wrong.extend(upwards.into_iter().map(|what| format!("{path}: {what}")));
    }
    assert!(rooms > 20, "{rooms} files of rooms were found");
    assert_none(&wrong);
}

#[test]
fn nothing_is_marked_as_unfinished() {
    let mut wrong = Vec::new();
    for (path, text) in tidy::files("", &["rs", "md", "toml", "sh", "yml"]) {
        let marked = tidy::unfinished(&text).into_iter();
        wrong.extend(marked.map(|line| format!("{path}:{line}")));
    }
    assert_none(&wrong);
}

#[test]
fn every_module_says_what_it_is() {
    let mut wrong = Vec::new();
    for folder in [
        "core/src",
        "runtime-mio/src",
        "runtime-std/src",
        "tests/src",
    ] {
        for (path, text) in tidy::files(folder, &["rs"]) {
            if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
                wrong.push(format!("{path}: its first line is not `//!`"));
            }
        }
    }
    assert_none(&wrong);
}
