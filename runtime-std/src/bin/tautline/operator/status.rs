//! `tautline status`.

use clap::Args;
use serde_json::Value;

use super::watch::{Out, Watch};
use super::{Access, Relay};
use crate::Failure;
use crate::text::{json_lines, printable, span, table};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Print the relay's JSON as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let relay = flags.access.relay()?;
    flags.watch.run(flags.json, |out| show(flags, &relay, out))
}

fn show(flags: &Flags, relay: &Relay, out: Out<'_>) -> Result<(), Failure> {
    let status: Value = relay.ask("GET", "/v1/status", b"")?;
    if flags.json {
        return out(&json_lines(&[status]));
    }
    let mut rows = Vec::new();
    flatten("", &status, &mut rows);
    out(&table(&rows))
}

/// A row for each figure, named by its path; a figure in seconds as a span.
fn flatten(name: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    let shown = match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let separator = if name.is_empty() { "" } else { " " };
                flatten(&format!("{name}{separator}{key}"), value, rows);
            }
            return;
        }
        Value::Number(number) if name.ends_with("_s") => {
            let name = name.trim_end_matches("_s").replace('_', " ");
            let shown = number.as_u64().map_or_else(|| number.to_string(), span);
            rows.push(vec![printable(&name), shown]);
            return;
        }
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    };
    rows.push(vec![printable(&name.replace('_', " ")), shown]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_by_their_paths() {
        let status = serde_json::json!({
            "state": "serving",
            "uptime_s": 61,
            "notifications": {"made": 2, "by_path": {"line": 1}},
        });
        let mut rows = Vec::new();
        flatten("", &status, &mut rows);
        rows.sort();
        let expected = [
            ["notifications by path line", "1"],
            ["notifications made", "2"],
            ["state", "serving"],
            ["uptime", "1 min 1 s"],
        ];
        assert_eq!(rows, expected);
    }
}
