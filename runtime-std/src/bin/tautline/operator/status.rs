//! `tautline status`.

mod heartbeat;

use clap::Args;
use serde::Deserialize as _;
use serde_json::Value;

use super::watch::{Out, Watch};
use super::{Access, Relay};
use crate::Failure;
use crate::text::{json_lines, printable, span, table};
use heartbeat::Heartbeat;

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
    out(&table(&rows_of(&status)))
}

fn rows_of(status: &Value) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    flatten("", status, &mut rows);
    // Behind the others, which fit a terminal.
    let periods = heartbeat(&status["heartbeat"]).map(|it| it.periods());
    rows.extend(periods.into_iter().flatten());
    rows
}

/// A relay of another version may have none, or others.
fn heartbeat(value: &Value) -> Option<Heartbeat> {
    Heartbeat::deserialize(value).ok()
}

/// A row for each figure, named by its path; a figure in seconds as a span.
fn flatten(name: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    let shown = match value {
        Value::Object(_) if name == "heartbeat" && heartbeat(value).is_some() => {
            let known = heartbeat(value).map(|it| it.rows());
            rows.extend(known.into_iter().flatten());
            return;
        }
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

    /// As a relay has it; the names of the figures are as wide as they get.
    fn status() -> Value {
        serde_json::json!({
            "version": "0.1.0",
            "persistent_connections": {"verdicts": {"address_cap": 1}},
            "heartbeat": {
                "period_s": 60, "response_timeout_ms": 1_500, "in_flight": "auto", "heartbeat_s": 1_201,
                "frequency_s": 60, "learning": false, "connections": 100, "probes_in_flight": 2,
                "window": 9, "worst_case_ms": 61_500, "monitor_worst_case_ms": 1_261_000,
                "probes": {"sent": 144_000, "answered": 143_998, "late": 2, "unasked": 0, "saved": 533},
                "ended": {"response_timeout": 12, "heartbeat": 3}, "clock_jumps": {"prober": 0, "monitor": 0},
                "lessons": 0, "periods": [], "periods_left_out": 0,
            },
        })
    }

    #[test]
    fn heartbeats_are_a_few_rows_that_fit_a_terminal() {
        let shown = table(&rows_of(&status()));
        let expected = "heartbeat                                   every 1 min 0 s, 1.5 s to answer\n\
                        heartbeat answers                           143998 of 144000, 2 late\n\
                        heartbeat detection                         1 min 1.5 s, monitor 21 min 1 s\n\
                        heartbeat ended                             12 by probes, 3 by the monitor\n\
                        heartbeat probes                            2 of 9 (auto), 533 saved\n\
                        persistent connections verdicts address cap  1\n\
                        version                                     0.1.0\n";
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&shown), squeezed(expected));
        assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
    }

    #[test]
    fn periods_come_last_and_what_is_off_is_told() {
        let mut status = status();
        let heartbeat = &mut status["heartbeat"];
        heartbeat["period_s"] = 0.into();
        heartbeat["worst_case_ms"] = Value::Null;
        heartbeat["monitor_worst_case_ms"] = Value::Null;
        heartbeat["in_flight"] = 9.into();
        heartbeat["learning"] = true.into();
        heartbeat["clock_jumps"]["monitor"] = 4.into();
        heartbeat["periods_left_out"] = 7.into();
        heartbeat["periods"] = serde_json::json!([
            {"site": "ber\u{1b}lin", "period_s": 240, "worst_case_ms": 245_000},
            {"client": "9c9b", "period_s": 0, "worst_case_ms": null},
        ]);
        let rows = rows_of(&status);
        let shown = |name: &str| {
            let mut rows = rows.iter().filter(|row| row[0] == name);
            rows.next().map(|row| row[1].as_str())
        };
        assert_eq!(shown("heartbeat"), Some("off"));
        assert_eq!(shown("heartbeat detection"), Some("off, monitor off"));
        assert_eq!(shown("heartbeat probes"), Some("2 of 9, 533 saved"));
        assert_eq!(shown("heartbeat clock jumps"), Some("4"));
        assert_eq!(shown("heartbeat lessons"), Some("0"));
        let last: Vec<_> = rows[rows.len() - 3..]
            .iter()
            .map(|row| row[1].as_str())
            .collect();
        let expected = [
            "site ber\\u{1b}lin: 4 min 0 s, found in 4 min 5 s",
            "client 9c9b: off",
            "7 more",
        ];
        assert_eq!(last, expected);
    }

    #[test]
    fn heartbeats_of_another_version_are_figures_as_others() {
        let status = serde_json::json!({"heartbeat": {"speed": 7}});
        assert_eq!(rows_of(&status), [["heartbeat speed", "7"]]);
        assert!(rows_of(&serde_json::json!({})).is_empty());
    }
}
