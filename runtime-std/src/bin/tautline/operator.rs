//! The operator's commands: requests to a relay.

pub(crate) mod clients;
mod conversation;
mod message;
pub(crate) mod notify;
mod pages;
pub(crate) mod query;
pub(crate) mod status;
pub(crate) mod subnets;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tautline_std::call::{Answer, CallError, Caller};
use tautline_std::data_dir;
use tautline_std::origin::Origin;
use tautline_std::private::{self, Secret};
use tautline_std::tls::{ClientConfig, Roots};

use crate::Failure;
use crate::text::printable;

/// The relay's file with its token, in its data directory.
const TOKEN_NAME: &str = "operator-token";
const TOKEN_BYTES_MAX: u64 = 4_096;

/// Which relay, and what gives access to it.
#[derive(Debug, Args)]
pub(crate) struct Access {
    /// The relay: HOST, HOST:PORT or a URL
    #[arg(
        long,
        value_name = "URL",
        env = "TAUTLINE_RELAY",
        default_value = "http://127.0.0.1:52311"
    )]
    relay: Origin,
    /// The relay's data directory, where its token is found
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// A file with the relay's token; before it counts $TAUTLINE_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust these certificates (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send the token unencrypted to another machine: who listens can take it
    #[arg(long)]
    send_token_in_clear: bool,
    /// How long to wait for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    timeout: u64,
}

/// A relay that can be asked.
pub(crate) struct Relay {
    caller: Caller,
}

impl Access {
    /// Finds the token and the certificates.
    pub(crate) fn relay(&self) -> Result<Relay, Failure> {
        let roots = Roots {
            file: self.ca.clone(),
        };
        let tls = if self.relay.tls {
            Some(ClientConfig::load(&roots).map_err(Failure::configuration)?)
        } else {
            None
        };
        let variable = std::env::var_os("TAUTLINE_TOKEN");
        let token = match variable.filter(|value| !value.is_empty()) {
            Some(text) => token_of(text.as_encoded_bytes())
                .ok_or_else(|| Failure::configuration("TAUTLINE_TOKEN is no token"))?,
            None => read_token(&self.token_path()?)?,
        };
        Ok(Relay {
            caller: Caller {
                origin: self.relay.clone(),
                tls,
                token: Some(token),
                sends_token_in_clear: self.send_token_in_clear,
                timeout: Duration::from_secs(self.timeout),
            },
        })
    }

    fn token_path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.token_file {
            return Ok(path.clone());
        }
        let dir = self.data_dir.clone().or_else(data_dir::default);
        dir.map(|dir| dir.join(TOKEN_NAME)).ok_or_else(|| {
            Failure::configuration("no data directory to find the token in; name it by --data-dir")
        })
    }
}

impl Relay {
    /// Asks, and reads the answer as JSON.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<T, Failure> {
        let answer = self.ask_raw(method, target, body)?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| self.failure(format_args!("its answer is not understood: {error}")))
    }

    /// Asks; the answer is one of success.
    pub(crate) fn ask_raw(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let answer = self.caller.call(method, target, body);
        let answer = answer.map_err(|error| self.failure(explain(&error)))?;
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(self.failure(reason(&answer)))
        }
    }

    fn failure(&self, what: impl std::fmt::Display) -> Failure {
        Failure::new(format_args!("{}: {what}", self.caller.origin))
    }
}

fn read_token(path: &Path) -> Result<Secret, Failure> {
    let bytes = private::read(path, TOKEN_BYTES_MAX).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => {
                "; is the relay's data directory elsewhere? See --data-dir and --token-file"
            }
            io::ErrorKind::PermissionDenied => "; only the relay's user may read it",
            _ => "",
        };
        Failure::new(format_args!("the operator's token: {error}{hint}"))
    })?;
    token_of(&bytes)
        .ok_or_else(|| Failure::new(format_args!("{}: there is no token in it", path.display())))
}

/// One word of visible ASCII characters.
fn token_of(bytes: &[u8]) -> Option<Secret> {
    let text = str::from_utf8(bytes.trim_ascii()).ok()?;
    let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_token.then(|| Secret::new(text))
}

fn explain(error: &CallError) -> String {
    match error {
        CallError::Connect(tautline_core::ConnectError::Refused) => {
            format!("{error}; is the relay running?")
        }
        CallError::TokenInClear => format!("{error}, or --send-token-in-clear"),
        error => error.to_string(),
    }
}

/// Why the relay refused: its problem details (RFC 9457), as far as there are.
fn reason(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Problem {
        title: Option<String>,
        detail: Option<String>,
    }
    let problem = serde_json::from_slice::<Problem>(&answer.body).ok();
    let said = problem.and_then(|problem| problem.detail.or(problem.title));
    match said {
        Some(said) => format!("{} (status {})", printable(&said), answer.status),
        None => format!("refused with status {}", answer.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(
            token_of(b" abc\n").map(|t| t.reveal().to_owned()),
            Some("abc".into())
        );
        for bytes in [&b""[..], b" \n", b"a b", b"a\x01", b"\xff"] {
            assert_eq!(token_of(bytes), None);
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let answer = |body: &[u8]| Answer {
            status: 404,
            content_type: None,
            body: body.to_vec(),
        };
        let told = reason(&answer(
            br#"{"title":"Not Found","detail":"No such\u001b client."}"#,
        ));
        assert_eq!(told, "No such\\u{1b} client. (status 404)");
        assert_eq!(
            reason(&answer(b"{\"title\":\"Gone\"}")),
            "Gone (status 404)"
        );
        assert_eq!(reason(&answer(b"<html>")), "refused with status 404");
    }
}
