use super::*;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Where the writer thread writes to: each write waits until the test allows
/// it, and is then shown to the test.
struct Gate {
    allowed: Receiver<()>,
    written: Sender<String>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.allowed.recv().map_err(io::Error::other)?;
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.written.send(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gate() -> (SyncSender<()>, Receiver<String>, Gate) {
    let (allow, allowed) = sync_channel(1_000);
    let (written, shown) = channel();
    (allow, shown, Gate { allowed, written })
}

/// What is written for what `log` logs.
fn logged(format: Format, filter: &str, is_coloured: bool, log: impl FnOnce()) -> String {
    let (allow, shown, gate) = gate();
    for _ in 0..1_000 {
        allow.send(()).unwrap();
    }
    let filter = parse_filter(filter).unwrap();
    let (logs, subscriber) = build(format, filter, is_coloured, gate);
    tracing::subscriber::with_default(subscriber, log);
    logs.queue.wait_until_written(Duration::from_secs(60));
    shown.try_iter().collect()
}

#[test]
fn text_is_one_line_an_event() {
    let lines = logged(Format::Text, "info", false, || {
        tracing::info!(peer = "192.0.2.1", "connected");
        tracing::debug!("left out");
        let name = "evil\n2026 INFO forged \x1b[2J";
        tracing::warn!(name, other = %name, "{name}");
    });
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].ends_with("connected peer=\"192.0.2.1\""),
        "{}",
        lines[0]
    );
    assert!(
        lines[0].contains(" INFO tautline_std::logs::tests: "),
        "{}",
        lines[0]
    );
    assert!(!lines[1].contains('\x1b'), "{}", lines[1]);
}

#[test]
fn json_is_one_object_an_event() {
    let line = logged(Format::Json, "warn,tautline_std=debug", false, || {
        tracing::debug!(age_s = 7, "ended\n\"by\" a heartbeat");
    });
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["level"], "DEBUG");
    assert_eq!(event["age_s"], 7);
    assert_eq!(event["message"], "ended\n\"by\" a heartbeat");
    let report: serde_json::Value = serde_json::from_str(&json_report(7)).unwrap();
    assert_eq!(report["lines_dropped"], 7);
}

#[test]
fn a_terminal_is_coloured() {
    let line = logged(Format::Text, "info", true, || tracing::info!("hello"));
    assert!(line.contains("\x1b[32m INFO\x1b[0m"), "{line:?}");
}

#[test]
fn who_logs_is_never_stopped() {
    let (allow, shown, gate) = gate();
    let filter = parse_filter("info").unwrap();
    let (logs, subscriber) = build(Format::Text, filter, false, gate);
    let long = "x".repeat(2 * LINE_BYTES_MAX);
    let lines = QUEUE_BYTES_MAX / LINE_BYTES_MAX * 3;
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..lines {
            tracing::info!("{long}");
        }
    });
    let dropped = logs.lines_dropped();
    assert!(dropped > 0 && dropped < lines as u64, "{dropped}");

    for _ in 0..100 {
        allow.send(()).unwrap();
    }
    logs.queue.wait_until_written(Duration::from_secs(60));
    let written: String = shown.try_iter().collect();
    let reported: u64 = written
        .lines()
        .filter_map(|line| line.strip_prefix("WARN logs: ")?.split_once(' '))
        .filter_map(|(count, _)| count.parse::<u64>().ok())
        .sum();
    assert_eq!(reported, dropped);
    let kept = written.lines().filter(|line| line.contains("xxx"));
    assert_eq!(kept.count() as u64, lines as u64 - dropped);
    assert!(written.lines().all(|line| line.len() <= LINE_BYTES_MAX));
}

#[test]
fn formats_and_filters_are_checked() {
    assert_eq!("json".parse(), Ok(Format::Json));
    let error = "xml".parse::<Format>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"xml\" is no log format; there are `text` and `json`"
    );
    for filter in ["", "loud", "info,", "a=loud", "=info", "info,=loud="] {
        let error = parse_filter(filter).unwrap_err().to_string();
        assert!(error.contains("is no log level"), "{error}");
    }
    for filter in ["off", "WARN", "info,tautline_std::driver=trace,rustls=off"] {
        assert!(parse_filter(filter).is_ok(), "{filter}");
    }
}

#[test]
fn the_filter_changes_while_it_runs() {
    for format in [Format::Text, Format::Json] {
        let (allow, shown, gate) = gate();
        for _ in 0..10 {
            allow.send(()).unwrap();
        }
        let (logs, subscriber) = build(format, parse_filter("info").unwrap(), false, gate);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("before");
            logs.set_filter("debug").unwrap();
            tracing::debug!("after");
            assert!(logs.set_filter("loud").is_err());
            tracing::debug!("still");
        });
        logs.queue.wait_until_written(Duration::from_secs(60));
        let lines: String = shown.try_iter().collect();
        assert!(!lines.contains("before"), "{lines}");
        assert!(
            lines.contains("after") && lines.contains("still"),
            "{lines}"
        );
    }
}
