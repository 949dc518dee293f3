//! What an operator says, and to whom: what `notify` and `query` share.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tautline_core::ClientId;
use tautline_core::notify::{LIFETIME_MAX, LIFETIME_MIN};

use super::{Access, Relay};
use crate::Failure;
use crate::text::printable;

/// More than a relay takes; it says the figure.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct Message {
    /// The client, its 32 hexadecimal digits (not with --all, --subnet or
    /// --site); then what to send, as text
    #[arg(value_name = "CLIENT] [PAYLOAD", num_args = 0..=2)]
    words: Vec<String>,
    /// All clients
    #[arg(long, conflicts_with_all = ["subnet", "site"])]
    all: bool,
    /// The clients of a subnet, by its name as `tautline subnets` shows it
    #[arg(long, value_name = "NAME", conflicts_with = "site")]
    subnet: Option<String>,
    /// The clients of a site, by the name that the relay's settings give it
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// What to send, as text
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    payload: Option<String>,
    /// A file with what to send, or - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long the notification lives
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(LIFETIME_MIN.as_secs()..=LIFETIME_MAX.as_secs()))]
    lifetime: u64,
}

impl Message {
    /// Sends it; the relay and the notification's id.
    pub(super) fn send(&self, access: &Access) -> Result<(Relay, String), Failure> {
        #[derive(Deserialize)]
        struct Created {
            notification: String,
        }
        // A wrong command line is told before anything is looked for.
        let request = self.request()?.to_string();
        let relay = access.relay()?;
        let created: Created = relay.ask("POST", "/v1/notifications", request.as_bytes())?;
        Ok((relay, created.notification))
    }

    fn request(&self) -> Result<Value, Failure> {
        let mut words = self.words.iter();
        let target = match (self.all, &self.subnet, &self.site) {
            (true, ..) => json!({ "all": true }),
            (_, Some(subnet), _) => json!({ "subnet": subnet }),
            (.., Some(site)) => json!({ "site": site }),
            _ => json!({ "client": client(words.next())? }),
        };
        let payload = match (words.next(), &self.payload, &self.file) {
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
        let mut request = json!({ "target": target, "lifetime_s": self.lifetime });
        match String::from_utf8(payload) {
            Ok(text) => request["payload"] = text.into(),
            Err(error) => request["payload_base64"] = STANDARD.encode(error.as_bytes()).into(),
        }
        Ok(request)
    }
}

fn client(word: Option<&String>) -> Result<String, Failure> {
    let word = word.ok_or_else(|| {
        Failure::usage("name a client, or --all, --subnet or --site; --help tells more")
    })?;
    let client: ClientId = word.parse().map_err(|error| {
        let word = printable(word);
        Failure::usage(format_args!("{word:?} is no client: {error}"))
    })?;
    Ok(client.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        message: Message,
    }

    #[test]
    fn the_target_comes_before_the_payload() {
        let asked = |words: &[&str]| {
            let line = ["notify"].iter().chain(words);
            let message = <Line as clap::Parser>::try_parse_from(line)
                .map_err(|error| (error.exit_code() as u8, error.to_string()))?
                .message;
            message
                .request()
                .map_err(|failure| (failure.exit_code, failure.message))
        };
        let client = "9c9bb58ea5c26e556d15087e31d1bd30";
        let to_client = json!({"target": {"client": client}, "lifetime_s": 3_600, "payload": "a"});
        assert_eq!(asked(&[client, "a"]), Ok(to_client.clone()));
        assert_eq!(asked(&["--payload", "a", client]), Ok(to_client));
        let to_all = json!({"target": {"all": true}, "lifetime_s": 9, "payload": ""});
        assert_eq!(asked(&["--all", "--lifetime", "9"]), Ok(to_all));
        let name = "10.0.0.0/24@203.0.113.7";
        let to_subnet = json!({"target": {"subnet": name}, "lifetime_s": 3_600, "payload": "a"});
        assert_eq!(asked(&["--subnet", name, "a"]), Ok(to_subnet));
        let to_site = json!({"target": {"site": "berlin"}, "lifetime_s": 3_600, "payload": "a"});
        assert_eq!(asked(&["a", "--site", "berlin"]), Ok(to_site));
        for words in [
            &[][..],
            &["a"],
            &["--all", "a", "b"],
            &["--site", "berlin", "a", "b"],
            &["--all", "--site", "berlin"],
            &["--subnet", name, "--site", "berlin"],
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
            assert_eq!(parsed(lifetime).unwrap().message.lifetime, lifetime);
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
