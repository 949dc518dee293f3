//! `tautlined`, the relay daemon.

mod application;
mod descriptors;
mod greeting;
mod identity;
mod metrics;
mod operator;
mod page;
mod run;
mod settings;
mod start;

use std::process::ExitCode;

use clap::Parser;
use tautline_std::logs::{self, Logs};
use tautline_std::settings::{EXIT_CONFIG, Sources};
use tautline_std::tls::ServerConfig;

use settings::{Flags, Settings};

fn main() -> ExitCode {
    metrics::note_start();
    let flags = Flags::parse();
    let sources = flags.sources();
    let (settings, tls) = match start::configuration(&sources) {
        Ok(read) => read,
        Err(error) => return wrong_configuration(&error),
    };
    if flags.check_config {
        println!("ok");
        return ExitCode::SUCCESS;
    }
    let logs = match logs::start(settings.log_format(), &settings.log.level) {
        Ok(logs) => logs,
        Err(error) => return wrong_configuration(&format!("log.level: {error}")),
    };
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
    run::run(started, sources, settings, logs)
}

fn wrong_configuration(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(EXIT_CONFIG)
}
