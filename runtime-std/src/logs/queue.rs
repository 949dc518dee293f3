//! The queue between those who log and the thread that writes.

use std::io::{self, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whole lines, bounded in bytes.
#[derive(Debug)]
pub(super) struct Queue {
    bytes_max: usize,
    state: Mutex<State>,
    /// Something to write is there.
    filled: Condvar,
    /// All that was there is written.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    is_writing: bool,
    lines_dropped: u64,
    lines_dropped_told: u64,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
        }
    }

    pub(super) fn lines_dropped(&self) -> u64 {
        self.state().lines_dropped
    }

    /// Waits until all lines are written, but not longer than `patience`.
    pub(super) fn wait_until_written(&self, patience: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        // Out of patience or not, nothing more can be done.
        let _ = self
            .drained
            .wait_timeout_while(self.state(), patience, is_busy);
    }

    /// Writes lines for ever; `report` words the loss of lines.
    pub(super) fn write_to(&self, mut out: impl Write, report: fn(u64) -> String) {
        let mut batch = Vec::new();
        loop {
            let lost = self.take(&mut batch);
            // There is nobody to tell that nothing can be told.
            let _ = out.write_all(&batch);
            if lost > 0 {
                let _ = out.write_all(report(lost).as_bytes());
            }
            let _ = out.flush();
            batch.clear();
        }
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.lines.len() + line.len() > self.bytes_max {
            state.lines_dropped += 1;
        } else {
            state.lines.extend_from_slice(line);
            self.filled.notify_one();
        }
    }

    /// Waits for lines and takes them all; returns how many were lost behind
    /// them.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let mut state = self.state();
        state.is_writing = false;
        while state.lines.is_empty() {
            self.drained.notify_all();
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        mem::swap(&mut state.lines, batch);
        state.is_writing = true;
        let lost = state.lines_dropped - state.lines_dropped_told;
        state.lines_dropped_told = state.lines_dropped;
        lost
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line in the making; it joins the queue, escaped, when it is dropped.
pub(super) struct Line<'a> {
    queue: &'a Queue,
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl<'a> Line<'a> {
    pub(super) fn new(queue: &'a Queue, bytes_max: usize) -> Self {
        Self {
            queue,
            bytes: Vec::new(),
            bytes_max,
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.bytes_max.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.queue.push(escape(&self.bytes).as_bytes());
        }
    }
}

/// One line with its end: control characters other than colours are escaped,
/// and bytes of a character that was cut are dropped.
fn escape(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut rest = text.trim_end_matches(['\n', char::REPLACEMENT_CHARACTER]);
    let mut escaped = String::with_capacity(rest.len() + 1);
    while let Some(at) = rest.find(char::is_control) {
        escaped.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = colour_length(rest);
        if length > 0 {
            escaped.push_str(&rest[..length]);
            rest = &rest[length..];
        } else {
            let mut characters = rest.chars();
            escaped.extend(characters.next().into_iter().flat_map(char::escape_default));
            rest = characters.as_str();
        }
    }
    escaped.push_str(rest);
    escaped.push('\n');
    escaped
}

/// How long the colour sequence is that `text` begins with (ECMA-48 SGR: ESC,
/// `[`, digits and semicolons, `m`); 0 if there is none. Colours can do no
/// harm.
fn colour_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';');
    match end {
        Some(end) if parameters[end..].starts_with('m') => "\x1b[".len() + end + "m".len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_stay() {
        let cases = [
            ("plain ä\n", "plain ä\n"),
            ("two\nlines\r\n", "two\\nlines\\r\n"),
            ("\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"),
            (
                "\x1b[2J\x1b]0;title\x07",
                "\\u{1b}[2J\\u{1b}]0;title\\u{7}\n",
            ),
            ("\u{9b}31m\x1b[1;", "\\u{9b}31m\\u{1b}[1;\n"),
        ];
        for (line, expected) in cases {
            assert_eq!(escape(line.as_bytes()), expected);
        }
        assert_eq!(escape(&"ä".as_bytes()[..1]), "\n");
    }
}
