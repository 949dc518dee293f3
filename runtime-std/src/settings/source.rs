//! A TOML file whose errors show their place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table};

use super::{Settings, SettingsError, one_line};

/// The text of a settings file and its path.
pub(super) struct SourceFile<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> SourceFile<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text }
    }

    /// The file's table, after a look whether it is a `T`.
    pub(super) fn parse<T: Settings>(&self) -> Result<Table, SettingsError> {
        let table = toml::from_str(self.text).map_err(|error| self.explain(&error))?;
        toml::from_str::<T>(self.text).map_err(|error| self.explain(&error))?;
        Ok(table)
    }

    /// Where each key is set: `file:line`.
    pub(super) fn origins(&self) -> BTreeMap<String, String> {
        // There may be thousands of keys: the lines are counted once.
        let newlines: Vec<_> = self.text.match_indices('\n').map(|(at, _)| at).collect();
        let path = self.path.display();
        let spans = self.spans().into_iter();
        spans
            .map(|(key, span)| {
                let line = 1 + newlines.partition_point(|newline| *newline < span.start);
                (key, format!("{path}:{line}"))
            })
            .collect()
    }

    fn explain(&self, error: &toml::de::Error) -> SettingsError {
        let what = one_line(error.message());
        let Some(span) = error.span() else {
            return SettingsError::one(format!("{}: {what}", self.path.display()));
        };
        let (line, column) = self.position(span.start);
        let place = format!("{}:{line}:{column}", self.path.display());
        let what = match self.key_around(&span) {
            Some(key) => format!("{key}: {what}"),
            None => what,
        };
        let shown = self.text.lines().nth(line - 1).unwrap_or_default();
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let marked = self.text.get(span).unwrap_or_default();
        let marked = marked.lines().next().unwrap_or_default();
        let pointer = " ".repeat(column - 1) + &"^".repeat(marked.chars().count().max(1));
        SettingsError::one(format!(
            "{place}: {what}\n {number} | {shown}\n {margin} | {pointer}"
        ))
    }

    /// The key whose value holds all of `span`.
    fn key_around(&self, span: &Range<usize>) -> Option<String> {
        let holds = |around: &Range<usize>| around.start <= span.start && span.end <= around.end;
        let mut spans = self.spans().into_iter();
        spans.find(|(_, around)| holds(around)).map(|(key, _)| key)
    }

    /// The values of the file with their keys, inner ones first.
    fn spans(&self) -> Vec<(String, Range<usize>)> {
        let Ok(table) = DeTable::parse(self.text) else {
            return Vec::new();
        };
        let mut spans = Vec::new();
        for (name, value) in table.get_ref() {
            add_value(&mut spans, name.get_ref(), value);
        }
        spans
    }

    /// Line and column of a byte, from 1; columns count characters.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = 1 + before.matches('\n').count();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (line, 1 + before[line_start..].chars().count())
    }
}

/// The value, behind what is in it. A section has no place of its own: its keys
/// may stand far apart.
fn add_value(spans: &mut Vec<(String, Range<usize>)>, name: &str, value: &Spanned<DeValue<'_>>) {
    match value.get_ref() {
        DeValue::Table(section) => {
            for (key, value) in section {
                add_value(spans, &format!("{name}.{}", key.get_ref()), value);
            }
        }
        DeValue::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                if let DeValue::Table(_) = value.get_ref() {
                    let name = format!("{name}[{place}]");
                    add_value(spans, &name, value);
                    spans.push((name, value.span()));
                }
            }
            spans.push((name.to_owned(), value.span()));
        }
        _ => spans.push((name.to_owned(), value.span())),
    }
}
