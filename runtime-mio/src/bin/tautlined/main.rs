//! `tautlined`, the relay daemon.

mod application;
mod descriptors;
mod figures;
mod greeting;
mod heartbeats;
mod identity;
mod metrics;
mod operator;
mod page;
mod places;
mod run;
mod settings;
mod start;

use std::process::ExitCode;

use clap::Parser;
use tautline_std::logs::{self, Logs};
use tautline_std::settings::{EXIT_CONFIG, Sources};
use tautline_std::tls::ServerConfig;

use settings::{Flags, Settings};

/// Of an environment variable with our prefix.
const STRANGER: &str = "no setting of the relay has this name; it is left alone";

fn main() -> ExitCode {
    metrics::note_start();
    let flags = Flags::parse();
    let sources = flags.sources();
    let (settings, tls) = match start::configuration(&sources) {
        Ok(read) => read,
        Err(error) => return wrong_configuration(&error),
    };
    let strangers = sources.strangers::<Settings>();
    if flags.check_config {
        for variable in strangers {
            eprintln!("{variable}: {STRANGER}");
        }
        println!("ok");
        return ExitCode::SUCCESS;
    }
    let logs = match logs::start(settings.log_format(), &settings.log.level) {
        Ok(logs) => logs,
        Err(error) => return wrong_configuration(&format!("log.level: {error}")),
    };
    for variable in strangers {
        tracing::warn!(variable, "{STRANGER}");
    }
    match serve(&sources, settings, tls, &logs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(
    sources: &Sources,
    settings: Settings,
    tls: Option<ServerConfig>,
    logs: &Logs,
) -> Result<(), String> {
    let started = start::start(&settings, tls)?;
    greeting::print(&started);
    heartbeats::tell_figures(&settings, started.lines_max);
    run::run(started, sources, settings, logs)
}

fn wrong_configuration(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(EXIT_CONFIG)
}
