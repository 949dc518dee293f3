//! The daemon's life: turns of the event loop, signals, reloads, the end.

use std::time::{Duration, Instant};

use tautline_std::logs::Logs;
use tautline_std::settings::Sources;

use crate::settings::Settings;
use crate::start::{self, Started};

/// Serves until a signal ends it.
///
/// # Errors
/// The event loop failed.
pub(crate) fn run(
    mut started: Started,
    sources: &Sources,
    mut settings: Settings,
    logs: &Logs,
) -> Result<(), String> {
    let mut drain_ends: Option<Instant> = None;
    loop {
        started.daemon.heartbeats.tell_due();
        let drain_left = drain_ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        if started.daemon.drained {
            tracing::info!("drained; every connection ended in order");
            return Ok(());
        }
        if drain_left == Some(Duration::ZERO) {
            let connections = started.driver.statistics().connections;
            tracing::warn!(connections, "the drain took too long; the rest is cut");
            return Ok(());
        }
        let rest = started.daemon.heartbeats.rest();
        let patience = drain_left.into_iter().chain(rest).min();
        started
            .driver
            .turn(&mut started.daemon, patience)
            .map_err(|error| format!("the event loop failed: {error}"))?;
        started.daemon.operator.statistics = started.driver.statistics();
        if !std::mem::take(&mut started.daemon.signalled) {
            continue;
        }
        for signal in signals_of(&mut started) {
            match signal {
                Signal::Reload => reload(&mut started, sources, &mut settings, logs),
                Signal::End if drain_ends.is_some() => {
                    tracing::warn!("told again to end; what is open is cut");
                    return Ok(());
                }
                Signal::End => drain_ends = Some(drain(&mut started, &settings)),
            }
        }
    }
}

enum Signal {
    Reload,
    End,
}

fn signals_of(started: &mut Started) -> Vec<Signal> {
    let signals = started.signals.pending();
    signals
        .map(|signal| match signal {
            signal_hook::consts::SIGHUP => Signal::Reload,
            _ => Signal::End,
        })
        .collect()
}

/// Stops listening and tells the clients; when patience ends.
fn drain(started: &mut Started, settings: &Settings) -> Instant {
    let limit = settings.shutdown.drain_limit();
    let connections = started.driver.statistics().connections;
    tracing::info!(
        connections,
        limit_ms = settings.shutdown.drain_limit_ms,
        "shutting down"
    );
    started.driver.stop_listening();
    started.driver.command(|relay, now| relay.drain(now));
    Instant::now() + limit
}

/// Reads the configuration anew and applies what can be; a wrong one changes
/// nothing.
fn reload(started: &mut Started, sources: &Sources, settings: &mut Settings, logs: &Logs) {
    let (new, tls) = match start::configuration(sources) {
        Ok(read) => read,
        Err(error) => {
            for line in error.lines() {
                tracing::error!("the new configuration is wrong: {line}");
            }
            tracing::error!("the running configuration stays");
            return;
        }
    };
    start::warn_of_exposed_key(&new);
    let restart_needed_for = settings.restart_needed_for(&new);
    started.driver.set_accept_tls(tls);
    started.driver.set_proxies(new.proxies());
    if let Err(error) = logs.set_filter(&new.log.level) {
        tracing::error!("the log level stays: {error}");
    }
    if !restart_needed_for.is_empty() {
        let sections = restart_needed_for.join(", ");
        tracing::warn!(sections, "a restart is needed for these changes");
    }
    // What needs a restart stays as it was, so that it is told again.
    settings.tls = new.tls;
    settings.proxy = new.proxy;
    settings.log.level = new.log.level;
    settings.shutdown.drain_limit_ms = new.shutdown.drain_limit_ms;
    tracing::info!("configuration reloaded: certificate, believed proxies, log level, drain limit");
}
