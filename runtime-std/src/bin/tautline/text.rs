//! Text for people.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde_json::Value;

use crate::Failure;

/// Text that came over the network, made safe for a terminal: control
/// characters are escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Columns as wide as their widest cell, two spaces between them.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A table with a head, or what to say when it has no row.
pub(crate) fn table_or(none: &str, head: &[&str], mut rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return none.to_owned();
    }
    rows.insert(0, head.iter().map(|cell| (*cell).to_owned()).collect());
    table(&rows)
}

/// A line for each value.
pub(crate) fn json_lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// How long, in the two largest units.
pub(crate) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    if days > 0 {
        format!("{days} d {} h", hours % 24)
    } else if hours > 0 {
        format!("{hours} h {} min", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else {
        format!("{seconds} s")
    }
}

/// How long, in milliseconds; below an hour as exact as it is said.
pub(crate) fn span_ms(millis: u64) -> String {
    let rest = millis % 60_000;
    if millis >= 3_600_000 || rest.is_multiple_of(1_000) {
        return span(millis.div_ceil(1_000));
    }
    let seconds = format!("{}.{:03}", rest / 1_000, rest % 1_000);
    let seconds = seconds.trim_end_matches('0');
    match millis / 60_000 {
        0 => format!("{seconds} s"),
        minutes => format!("{minutes} min {seconds} s"),
    }
}

/// Prints to standard output at once.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::new(format_args!("standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("a\x1b[2J\nä\u{9b}"), "a\\u{1b}[2J\\nä\\u{9b}");
    }

    #[test]
    fn columns_line_up() {
        let row = |a: &str, b: &str, c: &str| vec![a.to_owned(), b.to_owned(), c.to_owned()];
        let rows = [row("A", "BB", "C"), row("äöü", "b", "")];
        assert_eq!(table(&rows), "A    BB  C\näöü  b\n");
    }

    #[test]
    fn spans_have_two_units() {
        let cases = [
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3_600, "1 h 0 min"),
            (90_000, "1 d 1 h"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(span(seconds), expected);
            assert_eq!(span_ms(seconds * 1_000), expected);
        }
        let cases = [
            (0, "0 s"),
            (7, "0.007 s"),
            (1_500, "1.5 s"),
            (61_050, "1 min 1.05 s"),
            (3_600_001, "1 h 0 min"),
        ];
        for (millis, expected) in cases {
            assert_eq!(span_ms(millis), expected);
        }
    }
}
