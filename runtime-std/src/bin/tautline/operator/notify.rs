//! `tautline notify`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tautline_core::ClientId;
use tautline_core::notify::{LIFETIME_MAX, LIFETIME_MIN};

use super::{Access, Relay};
use crate::Failure;
use crate::text::{print, printable};

/// More than a relay takes; it says the figure.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(override_usage = "tautline notify [OPTIONS] <CLIENT|--all> [PAYLOAD]")]
pub(crate) struct Flags {
    /// The client to notify, its 32 hexadecimal digits (not with --all); then
    /// what to send, as text
    #[arg(value_name = "CLIENT] [PAYLOAD", num_args = 0..=2)]
    words: Vec<String>,
    /// Notify all clients
    #[arg(long)]
    all: bool,
    /// What to send, as text
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    payload: Option<String>,
    /// A file with what to send, or - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long to wait for replies; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=LIFETIME_MAX.as_secs()))]
    wait: u64,
    /// How long the notification lives
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(LIFETIME_MIN.as_secs()..=LIFETIME_MAX.as_secs()))]
    lifetime: u64,
    /// Print JSON: one reply a line, then the figures
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

#[derive(Deserialize)]
struct Created {
    notification: String,
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

pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let request = request(flags)?.to_string();
    let relay = flags.access.relay()?;
    let created: Created = relay.ask("POST", "/v1/notifications", request.as_bytes())?;
    if flags.wait == 0 {
        return print(&if flags.json {
            format!("{}\n", json!({ "notification": created.notification }))
        } else {
            format!("notification {}\n", printable(&created.notification))
        });
    }
    let progress = follow(flags, &relay, &created.notification)?;
    let (targets, sent, replied) = (progress.targets, progress.sent, progress.replied);
    print(&if flags.json {
        let figures = json!({
            "notification": created.notification,
            "targets": targets,
            "sent": sent,
            "replied": replied,
        });
        format!("{figures}\n")
    } else {
        let notification = printable(&created.notification);
        format!("notification {notification}: {replied} of {targets} replied\n")
    })?;
    if replied < targets {
        let late = format!(
            "no reply from {} within {} s",
            targets - replied,
            flags.wait
        );
        return Err(Failure::new(late));
    }
    Ok(())
}

/// Prints replies as they come, until all are there or the wait is over.
fn follow(flags: &Flags, relay: &Relay, notification: &str) -> Result<Progress, Failure> {
    let deadline = Instant::now() + Duration::from_secs(flags.wait);
    let mut pause = PAUSE_MIN;
    let mut seen = 0;
    loop {
        let target = format!("/v1/notifications/{notification}?after={seen}");
        let progress: Progress = relay.ask("GET", &target, b"")?;
        seen += progress.replies.len();
        for reply in &progress.replies {
            print(&shown(flags.json, reply))?;
        }
        if progress.next.is_some() && !progress.replies.is_empty() {
            continue;
        }
        let left = deadline.saturating_duration_since(Instant::now());
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

fn request(flags: &Flags) -> Result<Value, Failure> {
    let mut words = flags.words.iter();
    let target = if flags.all {
        json!({ "all": true })
    } else {
        let client = words.next().ok_or_else(|| {
            Failure::usage("name the client to notify, or --all; see tautline notify --help")
        })?;
        let client: ClientId = client.parse().map_err(|error| {
            let client = printable(client);
            Failure::usage(format_args!("{client:?} is no client: {error}"))
        })?;
        json!({ "client": client.to_string() })
    };
    let payload = match (words.next(), &flags.payload, &flags.file) {
        (Some(text), None, None) | (None, Some(text), None) => text.clone().into_bytes(),
        (None, None, Some(path)) => read_payload(path)?,
        (None, None, None) => Vec::new(),
        _ => {
            return Err(Failure::usage(
                "more than one payload; say what to send once",
            ));
        }
    };
    if let Some(word) = words.next() {
        let word = printable(word);
        return Err(Failure::usage(format_args!(
            "{word:?} is one word too many"
        )));
    }
    let mut request = json!({ "target": target, "lifetime_s": flags.lifetime });
    match String::from_utf8(payload) {
        Ok(text) => request["payload"] = text.into(),
        Err(error) => request["payload_base64"] = STANDARD.encode(error.as_bytes()).into(),
    }
    Ok(request)
}

fn read_payload(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    let read = if path == Path::new("-") {
        let mut limited = io::stdin().lock().take(PAYLOAD_BYTES_MAX + 1);
        limited.read_to_end(&mut payload)
    } else {
        File::open(path).and_then(|file| file.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut payload))
    };
    read.map_err(|error| Failure::new(format_args!("{}: {error}", path.display())))?;
    if payload.len() as u64 > PAYLOAD_BYTES_MAX {
        let path = path.display();
        return Err(Failure::new(format_args!("{path}: too long for a payload")));
    }
    Ok(payload)
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

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

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
    fn the_target_comes_before_the_payload() {
        let asked = |words: &[&str]| {
            let line = ["notify"].iter().chain(words);
            let flags = <Line as clap::Parser>::try_parse_from(line).unwrap().flags;
            request(&flags).map_err(|failure| (failure.exit_code, failure.message))
        };
        let client = "9c9bb58ea5c26e556d15087e31d1bd30";
        let to_client = json!({"target": {"client": client}, "lifetime_s": 3_600, "payload": "a"});
        assert_eq!(asked(&[client, "a"]), Ok(to_client.clone()));
        assert_eq!(asked(&["--payload", "a", client]), Ok(to_client));
        let to_all = json!({"target": {"all": true}, "lifetime_s": 9, "payload": ""});
        assert_eq!(asked(&["--all", "--lifetime", "9"]), Ok(to_all));
        for words in [
            &[][..],
            &["a"],
            &["--all", "a", "b"],
            &["--all", "a", "--payload", "b"],
        ] {
            assert_eq!(asked(words).unwrap_err().0, 2, "{words:?}");
        }
    }

    #[test]
    fn a_lifetime_is_what_a_relay_takes() {
        let parsed = |lifetime: u64| {
            let lifetime = lifetime.to_string();
            let line = ["notify", "--all", "--lifetime", &lifetime];
            <Line as clap::Parser>::try_parse_from(line)
        };
        let (min, max) = (LIFETIME_MIN.as_secs(), LIFETIME_MAX.as_secs());
        for lifetime in [min, max] {
            assert_eq!(parsed(lifetime).unwrap().flags.lifetime, lifetime);
        }
        for lifetime in [min - 1, max + 1] {
            let told = parsed(lifetime).unwrap_err().to_string();
            assert!(told.contains(&format!("is not in {min}..={max}")), "{told}");
        }
    }

    #[test]
    fn payloads_are_read_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("payload");
        std::fs::write(&path, [0xff, 0]).unwrap();
        assert_eq!(read_payload(&path).unwrap(), [0xff, 0]);
        std::fs::write(&path, vec![0; PAYLOAD_BYTES_MAX as usize + 1]).unwrap();
        assert!(
            read_payload(&path)
                .unwrap_err()
                .message
                .ends_with("too long for a payload")
        );
    }
}
