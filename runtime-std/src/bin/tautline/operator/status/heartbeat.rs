//! The heartbeats of `tautline status`: few rows, so that all figures fit a
//! terminal.

use serde::Deserialize;

use crate::text::{printable, span, span_ms};

/// What is shown of them.
#[derive(Deserialize)]
pub(super) struct Heartbeat {
    period_s: u64,
    response_timeout_ms: u64,
    /// `"auto"`, or a number.
    in_flight: serde_json::Value,
    learning: bool,
    probes_in_flight: u64,
    window: u64,
    worst_case_ms: Option<u64>,
    monitor_worst_case_ms: Option<u64>,
    probes: Probes,
    ended: Ended,
    clock_jumps: Jumps,
    lessons: u64,
    periods: Vec<Period>,
    periods_left_out: u64,
}

#[derive(Deserialize)]
struct Probes {
    sent: u64,
    answered: u64,
    late: u64,
    saved: u64,
}

#[derive(Deserialize)]
struct Ended {
    response_timeout: u64,
    heartbeat: u64,
}

#[derive(Deserialize)]
struct Jumps {
    prober: u64,
    monitor: u64,
}

#[derive(Deserialize)]
struct Period {
    subnet: Option<String>,
    site: Option<String>,
    client: Option<String>,
    period_s: u64,
    worst_case_ms: Option<u64>,
}

impl Heartbeat {
    /// The figures of all, each with its name.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let every = match self.period_s {
            0 => "off".to_owned(),
            period_s => format!(
                "every {}, {} to answer",
                span(period_s),
                span_ms(self.response_timeout_ms)
            ),
        };
        let Probes {
            sent,
            answered,
            late,
            saved,
        } = self.probes;
        let (busy, window) = (self.probes_in_flight, self.window);
        let window = match self.in_flight.as_str() {
            Some(word) => format!("{window} ({})", printable(word)),
            None => window.to_string(),
        };
        let found = self.worst_case_ms.map_or_else(|| "off".to_owned(), span_ms);
        let monitor = self.monitor_worst_case_ms;
        let monitor = monitor.map_or_else(|| "off".to_owned(), span_ms);
        let Ended {
            response_timeout,
            heartbeat,
        } = self.ended;
        let mut rows = vec![
            row("", every),
            row(" answers", format!("{answered} of {sent}, {late} late")),
            row(" detection", format!("{found}, monitor {monitor}")),
            row(
                " ended",
                format!("{response_timeout} by probes, {heartbeat} by the monitor"),
            ),
            row(" probes", format!("{busy} of {window}, {saved} saved")),
        ];
        let jumps = self.clock_jumps.prober.max(self.clock_jumps.monitor);
        if jumps > 0 {
            rows.push(row(" clock jumps", jumps.to_string()));
        }
        if self.learning {
            rows.push(row(" lessons", self.lessons.to_string()));
        }
        rows
    }

    /// The periods that differ. There may be many.
    pub(super) fn periods(&self) -> Vec<Vec<String>> {
        let mut rows: Vec<_> = self.periods.iter().map(Period::row).collect();
        if self.periods_left_out > 0 {
            let more = format!("{} more", self.periods_left_out);
            rows.push(row(" periods", more));
        }
        rows
    }
}

impl Period {
    fn row(&self) -> Vec<String> {
        let named = [
            ("subnet", &self.subnet),
            ("site", &self.site),
            ("client", &self.client),
        ];
        let whose: String = named
            .into_iter()
            .filter_map(|(kind, name)| Some(format!("{kind} {}", printable(name.as_ref()?))))
            .collect();
        let period = match (self.period_s, self.worst_case_ms) {
            (0, _) => "off".to_owned(),
            (period_s, None) => span(period_s),
            (period_s, Some(found)) => {
                format!("{}, found in {}", span(period_s), span_ms(found))
            }
        };
        row(" period", format!("{whose}: {period}"))
    }
}

fn row(name: &str, shown: String) -> Vec<String> {
    vec![format!("heartbeat{name}"), shown]
}
