//! `tautline select`: has the agent on this machine select its relay anew.
//!
//! The request is a file in the agent's folder, which only its user can write
//! to. The agent looks for it every second and removes it: that is the answer.
//! It works wherever there are files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use tautline_std::private;

use super::FOLDER;
use crate::Failure;

const FILE: &str = "select";
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The agent's data directory, as it was told of it
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// How long to wait for the agent
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=3_600))]
    timeout: u64,
}

/// Asks the agent, and waits until it has taken the request.
pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let folder = super::data_dir(flags.data_dir.clone())?.join(FOLDER);
    let file = request_file(&folder);
    private::replace(&file, b"").map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => {
                "; no agent has run with this data directory, name another one by --data-dir"
            }
            io::ErrorKind::PermissionDenied => "; only the agent's user may ask it",
            _ => "",
        };
        Failure::new(format_args!("{error}{hint}"))
    })?;
    let deadline = Instant::now() + Duration::from_secs(flags.timeout);
    while file.exists() {
        if Instant::now() >= deadline {
            // Not left to an agent that starts later; one that takes it just
            // now has removed it.
            let _ = fs::remove_file(&file);
            return Err(Failure::new(format_args!(
                "{}: no agent took the request within {} s; is one running with this data \
                 directory?",
                folder.display(),
                flags.timeout
            )));
        }
        thread::sleep(LOOK_AGAIN);
    }
    crate::text::print("the agent selects its relay anew\n")
}

/// Where a request is in the agent's folder.
pub(super) fn request_file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Takes a request, if there is one.
pub(super) fn take_request(file: &Path) -> bool {
    match fs::remove_file(file) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            tracing::debug!(%error, "a request to select the relay cannot be taken");
            false
        }
    }
}
