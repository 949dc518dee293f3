//! The repository's own lints: what no compiler checks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Lines that a file may have before its tests.
pub const FILE_LINES_MAX: usize = 600;

/// The floors of core. A room imports from the floors below its own; the
/// ground floor's rooms, which are values and shapes, also from each other.
pub const FLOORS: [&[&str]; 4] = [
    &[
        "time",
        "id",
        "limits",
        "error",
        "collections",
        "random",
        "tally",
        "visits",
        "network",
        "input",
        "output",
        "machine",
    ],
    &["wire", "http", "backoff", "rate"],
    &[
        "registration",
        "pcc",
        "notify",
        "heartbeat",
        "spool",
        "bridge",
        "download",
        "engineio",
    ],
    &["relay", "client"],
];

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below a folder of the repository with one of the extensions: path
/// from the root, content. Build output and hidden folders are left out.
pub fn files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                let skipped = ["target", "artifacts", "corpus"].contains(&name.as_ref());
                if !skipped && !name.starts_with('.') {
                    folders.push(path);
                }
                continue;
            }
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            if extensions.contains(&extension.as_ref()) {
                let shown = path.strip_prefix(&root).unwrap_or(&path);
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                found.push((shown.display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

/// Lines before the tests at a file's end.
pub fn lines_before_tests(text: &str) -> usize {
    before_tests(text).count()
}

/// The words that mark unfinished work, with their lines.
pub fn unfinished(text: &str) -> Vec<String> {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let marked = text.lines().enumerate().filter(|(_, line)| {
        line.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| words.contains(&word))
    });
    marked
        .map(|(at, line)| format!("{}: {}", at + 1, line.trim()))
        .collect()
}

/// What `lib.rs` exports at the root of the crate: name, room.
pub fn exports(lib: &str) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for statement in code(lib).split(';') {
        let Some(path) = statement.trim().strip_prefix("pub use ") else {
            continue;
        };
        let Some((room, names)) = path.split_once("::") else {
            continue;
        };
        for name in names.split(|c: char| !c.is_alphanumeric() && c != '_') {
            exports.insert(name.to_owned(), room.trim().to_owned());
        }
    }
    exports
}

/// The room of a file below `core/src/`; `None` for `lib.rs`.
pub fn room(path: &str) -> Option<&str> {
    let first = path.split('/').next()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (room != "lib").then_some(room)
}

/// The floor of a room, from 0.
pub fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// What a file of a room imports although it may not.
pub fn imports_upwards(room: &str, text: &str, exports: &BTreeMap<String, String>) -> Vec<String> {
    let Some(own) = floor(room) else {
        return vec![format!("the room {room} has no floor")];
    };
    let mut wrong = Vec::new();
    for name in crate_names(&code(text)) {
        let target = exports.get(&name).unwrap_or(&name);
        match floor(target) {
            // Macros and functions of the root itself are nobody's room.
            None => {}
            Some(_) if target == room => {}
            Some(floor) if floor < own || (floor == 0 && own == 0) => {}
            Some(_) => wrong.push(format!("{room} imports {name}")),
        }
    }
    wrong
}

/// The first names behind every `crate::`, also inside braces.
fn crate_names(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = &code[at + marker.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.push(first_name(&core::mem::take(&mut item))),
                    _ if depth == 0 => item.push(c),
                    _ => {}
                }
            }
            names.push(first_name(&item));
        } else {
            names.push(first_name(rest));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn first_name(path: &str) -> String {
    let path = path.trim_start();
    path.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn before_tests(text: &str) -> impl Iterator<Item = &str> {
    let next = text.lines().skip(1).chain([""]);
    let tests = |(line, next): &(&str, &str)| *line == "#[cfg(test)]" && next.starts_with("mod ");
    text.lines()
        .zip(next)
        .take_while(move |pair| !tests(pair))
        .map(|(line, _)| line)
}

/// The code before the tests, without comments.
fn code(text: &str) -> String {
    let code = before_tests(text).map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_from_above_is_found_in_every_shape() {
        let exports = exports("pub use relay::{Relay, Settings};\npub use id::Key;");
        for text in [
            "use crate::relay::Thing;",
            "use crate::{\n    Key,\n    notify::{Deep, Deeper},\n};",
            "fn f() -> crate::Relay {}",
            "use crate::http::Server;",
        ] {
            assert_eq!(imports_upwards("wire", text, &exports).len(), 1, "{text}");
        }
    }

    #[test]
    fn imports_from_below_and_from_the_own_room_are_none_of_its_business() {
        let exports = exports("pub use id::Key;\npub use relay::Relay;");
        for text in [
            "use crate::{Key, collections::Slab, time};",
            "use crate::wire::frame;",
            "/// See [`crate::relay`].\nuse crate::random::Random;",
            "fn f() {}\n#[cfg(test)]\nmod tests { use crate::Relay; }",
        ] {
            let wrong = imports_upwards("wire", text, &exports);
            assert!(wrong.is_empty(), "{text}: {wrong:?}");
        }
        assert!(imports_upwards("id", "use crate::time;", &exports).is_empty());
        assert!(!imports_upwards("pcc", "use crate::notify;", &exports).is_empty());
        assert!(!imports_upwards("attic", "", &exports).is_empty());
    }

    #[test]
    fn marks_are_words() {
        let marked = concat!("a\n// TO", "DO: b\nlet x = \"FIX", "MEs\";");
        assert_eq!(unfinished(marked).len(), 1);
        assert_eq!(lines_before_tests("a\nb\n#[cfg(test)]\nmod tests {\n}"), 2);
    }
}
