//! What follows a notification: replies as they come, how many there are, and
//! who is missing.

use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Relay;
use crate::Failure;
use crate::text::{print, printable};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Clients that did not reply which a person is shown.
const MISSING_SHOWN_MAX: usize = 20;
const BAR: &str = "{bar:30} {pos} of {len} answered{msg}";

/// How replies are waited for and shown.
pub(super) struct Conversation<'a> {
    pub(super) relay: &'a Relay,
    pub(super) notification: &'a str,
    pub(super) wait: Duration,
    /// A line of JSON for each reply, then one with the figures.
    pub(super) json: bool,
    /// At the end the clients that did not reply are named.
    pub(super) names_missing: bool,
}

#[derive(Deserialize)]
struct Progress {
    targets: u64,
    sent: u64,
    replied: u64,
    replies: Vec<Reply>,
    next: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Reply {
    client: String,
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Missing {
    client: String,
    hostname: String,
}

impl Conversation<'_> {
    /// Prints the replies until all are there or the wait is over, then the
    /// figures; an error if some are missing.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let progress = self.follow()?;
        let missing_count = progress.targets.saturating_sub(progress.replied);
        let missing = if self.names_missing && missing_count > 0 {
            self.missing()?
        } else {
            Vec::new()
        };
        print(&if self.json {
            self.figures(&progress, &missing)
        } else {
            self.sum(&progress, &missing)
        })?;
        if missing_count > 0 {
            let wait = self.wait.as_secs();
            let late = format!("no reply from {missing_count} within {wait} s");
            return Err(Failure::new(late));
        }
        Ok(())
    }

    /// Prints replies as they come, beside a bar where there is a terminal.
    fn follow(&self) -> Result<Progress, Failure> {
        let deadline = Instant::now() + self.wait;
        let bar = bar();
        let mut pause = PAUSE_MIN;
        let progress_of = format!("/v1/notifications/{}", self.notification);
        let mut target = progress_of.clone();
        loop {
            let progress: Progress = self.relay.ask("GET", &target, b"")?;
            if let Some(last) = progress.replies.last() {
                target = format!("{progress_of}?after={}", last.client);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            bar.set_message(format!(", {} s left", left.as_secs()));
            bar.set_length(progress.targets);
            bar.set_position(progress.replied);
            for reply in &progress.replies {
                bar.suspend(|| print(&shown(self.json, reply)))?;
            }
            if progress.next.is_some() && !progress.replies.is_empty() {
                continue;
            }
            if progress.replied >= progress.targets || left.is_zero() {
                return Ok(progress);
            }
            pause = if progress.replies.is_empty() {
                (pause * 2).min(PAUSE_MAX)
            } else {
                PAUSE_MIN
            };
            thread::sleep(pause.min(left));
        }
    }

    /// Who did not reply: as many as are shown.
    fn missing(&self) -> Result<Vec<Missing>, Failure> {
        let path = format!("/v1/notifications/{}/missing", self.notification);
        let mut missing = Vec::new();
        if self.json {
            self.relay.pages(&path, &[], |page| {
                missing.extend(page);
                Ok(true)
            })?;
        } else {
            let limit = MISSING_SHOWN_MAX.to_string();
            self.relay.pages(&path, &[("limit", &limit)], |page| {
                missing.extend(page);
                Ok(missing.len() < MISSING_SHOWN_MAX)
            })?;
            missing.truncate(MISSING_SHOWN_MAX);
        }
        Ok(missing)
    }

    fn figures(&self, progress: &Progress, missing: &[Missing]) -> String {
        let mut figures = json!({
            "notification": self.notification,
            "targets": progress.targets,
            "sent": progress.sent,
            "replied": progress.replied,
        });
        if self.names_missing {
            // A list of structs of texts always has a JSON form.
            figures["missing"] = serde_json::to_value(missing).unwrap_or(Value::Null);
        }
        format!("{figures}\n")
    }

    fn sum(&self, progress: &Progress, missing: &[Missing]) -> String {
        let (targets, replied) = (progress.targets, progress.replied);
        let notification = printable(self.notification);
        let mut sum = format!("notification {notification}: {replied} of {targets} replied\n");
        for each in missing {
            let (hostname, client) = (printable(&each.hostname), printable(&each.client));
            sum += &format!("missing: {hostname} ({client})\n");
        }
        let unnamed = (targets - replied.min(targets)).saturating_sub(missing.len() as u64);
        if self.names_missing && unnamed > 0 {
            sum += &format!("missing: {unnamed} more\n");
        }
        sum
    }
}

/// On a terminal; elsewhere it is not seen. It goes with its handle.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let bar = bar.with_finish(ProgressFinish::AndClear);
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// A reply as a line; a text of several lines is set below its sender.
fn shown(json: bool, reply: &Reply) -> String {
    if json {
        // A struct of texts always has a JSON form.
        return serde_json::to_string(reply).unwrap_or_default() + "\n";
    }
    let sender = match &reply.hostname {
        Some(hostname) => format!("{} ({})", printable(hostname), printable(&reply.client)),
        None => printable(&reply.client),
    };
    let payload = match (&reply.payload, &reply.payload_base64) {
        (Some(text), _) => text.trim_end_matches('\n').to_owned(),
        (None, Some(base64)) => format!("base64 {base64}"),
        (None, None) => String::new(),
    };
    let lines: Vec<_> = payload.split('\n').map(printable).collect();
    match lines.as_slice() {
        [line] => format!("{sender}: {line}\n"),
        lines => format!("{sender}:\n    {}\n", lines.join("\n    ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(payload: &str) -> Reply {
        Reply {
            client: "ab".to_owned(),
            hostname: Some("web".to_owned()),
            payload: Some(payload.to_owned()),
            payload_base64: None,
        }
    }

    #[test]
    fn replies_are_lines() {
        assert_eq!(shown(false, &reply("pong")), "web (ab): pong\n");
        assert_eq!(
            shown(false, &reply("a\x07\nb\n")),
            "web (ab):\n    a\\u{7}\n    b\n"
        );
        assert_eq!(
            shown(true, &reply("a\nb")),
            "{\"client\":\"ab\",\"hostname\":\"web\",\"payload\":\"a\\nb\"}\n"
        );
    }

    #[test]
    fn the_template_of_the_bar_is_one() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
