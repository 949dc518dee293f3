//! Transition tables, printed as text and compared with the ones checked in.
//!
//! A machine whose transitions are data (or one `match`) gives its states, its
//! events and the function; the table stands in `tests/tables/<name>.txt`, so
//! that a changed transition is a changed file in a review:
//!
//! ```no_run
//! # #[derive(Clone, Copy, Debug)] enum State { Idle, Open }
//! # #[derive(Clone, Copy, Debug)] enum Event { Opened, Lost }
//! # fn next(state: State, event: Event) -> Option<State> { None }
//! use tautline_tests::tables;
//!
//! let table = tables::render(
//!     [State::Idle, State::Open],
//!     [Event::Opened, Event::Lost],
//!     next,
//! );
//! tables::assert_checked_in("door", &table);
//! ```
//!
//! `UPDATE_TABLES=1 cargo test -p tautline-tests` writes the files anew.

use core::fmt::{Debug, Write};
use std::path::{Path, PathBuf};

/// Prints the table: a row for each event, a column for each state, in the
/// cell the next state, or `.` where the event changes nothing.
///
/// # Panics
/// If a transition leads to a state that is not among `states`.
pub fn render<S, E>(
    states: impl IntoIterator<Item = S>,
    events: impl IntoIterator<Item = E>,
    next: impl Fn(S, E) -> Option<S>,
) -> String
where
    S: Clone + Debug,
    E: Clone + Debug,
{
    let states: Vec<S> = states.into_iter().collect();
    let names: Vec<String> = states.iter().map(|state| format!("{state:?}")).collect();
    let mut rows = vec![[vec!["event \\ state".to_owned()], names.clone()].concat()];
    for event in events {
        let mut row = vec![format!("{event:?}")];
        for state in &states {
            let cell = next(state.clone(), event.clone()).map(|state| format!("{state:?}"));
            if let Some(cell) = &cell {
                assert!(
                    names.contains(cell),
                    "{state:?} on {event:?}: unlisted state {cell}"
                );
            }
            row.push(cell.unwrap_or_else(|| ".".to_owned()));
        }
        rows.push(row);
    }
    align(&rows)
}

/// The transitions of a table that were not taken, by the places of their
/// state and event.
pub fn untaken<S, E>(
    states: &[S],
    events: &[E],
    next: impl Fn(S, E) -> Option<S>,
    taken: impl Fn(usize, usize) -> bool,
) -> Vec<(S, E)>
where
    S: Copy,
    E: Copy,
{
    let mut untaken = Vec::new();
    for (row, &state) in states.iter().enumerate() {
        for (column, &event) in events.iter().enumerate() {
            if next(state, event).is_some() && !taken(row, column) {
                untaken.push((state, event));
            }
        }
    }
    untaken
}

/// Compares a table with `tests/tables/<name>.txt`, or writes it there if
/// `UPDATE_TABLES` is set.
///
/// # Panics
/// If they differ; the message shows the lines that do.
pub fn assert_checked_in(name: &str, table: &str) {
    let update = std::env::var_os("UPDATE_TABLES").is_some();
    if let Err(difference) = compare(&folder().join(format!("{name}.txt")), table, update) {
        panic!("table {name} is not the one checked in; UPDATE_TABLES=1 rewrites it\n{difference}");
    }
}

/// Compares `table` with a file, or writes it there.
///
/// # Errors
/// The lines that differ: `-` stands in the file only, `+` in the table only.
pub fn compare(path: &Path, table: &str, update: bool) -> Result<(), String> {
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    if kept == table {
        return Ok(());
    }
    if update {
        return std::fs::write(path, table).map_err(|error| format!("{}: {error}", path.display()));
    }
    Err(difference(&kept, table))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tables")
}

fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The longest common lines are kept, the others are marked.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        let (mark, line) = if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
            (' ', old[i - 1])
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', old[i - 1])
        } else {
            j += 1;
            ('+', new[j - 1])
        };
        let _ = writeln!(text, "{mark} {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_marks_what_changed() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), "  a\n- b\n+ x\n  c\n");
        assert_eq!(difference("", "a\n"), "+ a\n");
    }

    #[test]
    #[should_panic(expected = "unlisted state 3")]
    fn a_transition_stays_among_the_states() {
        render([1, 2], ["up"], |state, _| Some(state + 1));
    }
}
