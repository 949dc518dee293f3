//! `tautline agent`: a client that keeps a line to its relay.

mod answers;
mod events;
mod flags;
mod handler;
mod interfaces;
mod port;
pub(crate) mod select;
mod settings;
mod watch;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tautline_core::Tally;
use tautline_core::client::{Client, Heartbeats, Limits, Settings as ClientSettings, Stats};
use tautline_std::clock::Clock;
use tautline_std::driver::{Commander, Driver, DriverLimits, Equipment};
use tautline_std::files::{Files, FilesLimits};
use tautline_std::origin::Origin;
use tautline_std::tls::{ClientConfig, Roots};
use tautline_std::{data_dir, logs, private};

use crate::Failure;
pub(crate) use flags::Flags;

use answers::Machine;
use events::Events;
use handler::Handler;
use port::Datagrams;
use settings::AgentSettings;
use watch::{Addresses, Watch};

/// The agent's own folder in the data directory: a relay on the same machine
/// has the rest of it.
const FOLDER: &str = "agent";
/// What the core calls the file of the identity.
const IDENTITY_FILE: &str = "client.json";
/// Of an environment variable with our prefix.
const STRANGER: &str = "no setting of the agent has this name; it is left alone";

/// Runs the agent until it was told to stop and has said goodbye.
pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let sources = flags.sources();
    let settings: AgentSettings = sources.load().map_err(Failure::configuration)?;
    let relays = settings.relay.origins().map_err(Failure::configuration)?;
    let tls = load_tls(&settings, &relays)?;
    let strangers = sources.strangers::<AgentSettings>();
    if flags.check_config {
        for variable in strangers {
            Failure::new(format_args!("{variable}: {STRANGER}")).tell();
        }
        return crate::text::print("ok\n");
    }
    let format = settings
        .log
        .format
        .parse()
        .map_err(Failure::configuration)?;
    let _logs = logs::start(format, &settings.log.level).map_err(Failure::configuration)?;
    for variable in strangers {
        tracing::warn!(variable, "{STRANGER}");
    }
    drive(&settings, &relays, tls)
}

/// Sets the client up and runs it.
fn drive(
    settings: &AgentSettings,
    relays: &[Origin],
    tls: Option<ClientConfig>,
) -> Result<(), Failure> {
    let files = open_files(settings)?;
    let dir = files.dir().to_path_buf();
    let machine = Machine::here(settings.client.hostname.as_deref());
    let mut of_client = settings.of_client(relays, &machine.hostname);
    // Taken before the relay is told of it.
    let datagrams = Datagrams::open(settings.client.udp_port.beside(relays))?;
    of_client.udp_port = datagrams.port;
    let addresses = state_addresses(settings, &mut of_client);
    let limits = DriverLimits {
        connect_timeout: settings.timers.connect_timeout(),
        ..DriverLimits::default()
    };
    let equipment = Equipment {
        clock: Clock::start(),
        files,
        tls,
        datagrams: datagrams.sockets,
        limits,
    };
    let client = Client::new(of_client, Limits::default(), seed()?);
    let mut driver = Driver::new(client, equipment).map_err(of_thread)?;
    let commander = driver.commander();
    stop_on_signals(commander.clone())?;
    let handler = Handler::start(&settings.handler, &commander).map_err(of_thread)?;
    let watch = Watch {
        commander,
        addresses,
        select_file: select::request_file(&dir),
    };
    watch.start().map_err(of_thread)?;
    let (hostname, udp_port) = (machine.hostname.as_str(), datagrams.port);
    tracing::info!(relay = %listed(relays), hostname, udp_port, "the agent starts");

    let mut events = Events {
        machine,
        relays,
        identity_file: dir.join(IDENTITY_FILE),
        handler,
        datagrams_told: 0,
        figures_told: None,
        heartbeats_told: 0,
        has_told_end: false,
    };
    let mut outcome = Ok(());
    driver.run(|client, now, event| {
        let flow = events.handle(client, now, event);
        flow.map_break(|result| outcome = result)
    });
    let stats = driver.endpoint().stats();
    tell_datagrams(stats, 0);
    tell_heartbeats(stats, 0);
    // Frees those who have a reply to tell, so that the handler can end.
    drop(driver);
    drop(events);
    tracing::info!("the agent has ended");
    outcome
}

fn load_tls(settings: &AgentSettings, relays: &[Origin]) -> Result<Option<ClientConfig>, Failure> {
    if !relays.iter().any(|relay| relay.tls) {
        return Ok(None);
    }
    let roots = Roots {
        file: settings.relay.ca_file.clone(),
    };
    let config = ClientConfig::load(&roots);
    config.map(Some).map_err(Failure::configuration)
}

/// States the machine's addresses, unless others are written; what is to be
/// watched of them.
fn state_addresses(settings: &AgentSettings, of_client: &mut ClientSettings) -> Option<Addresses> {
    if settings.client.interfaces.is_some() {
        return None;
    }
    let mut addresses = Addresses::new(settings.client.addresses_interval_s);
    let found = addresses.news(interfaces::of_machine());
    of_client.interfaces = found.unwrap_or_default();
    Some(addresses)
}

/// What became of the datagrams, if there are more than were `told` of; how
/// many there are.
fn tell_datagrams(stats: &Stats, told: u64) -> u64 {
    let (dropped, refused) = (&stats.datagrams_dropped, &stats.serves_refused);
    let (taken, served) = (stats.datagrams, stats.served);
    let count = taken + served + dropped.total() + refused.total();
    if count > told {
        let (dropped, refused) = (by_reason(dropped), by_reason(refused));
        tracing::info!(taken, dropped, served, refused, "datagrams since the start");
    }
    count
}

/// The figures that the agent's heartbeats go by.
fn tell_figures(heartbeats: &Heartbeats) {
    // A tenth of the relay's period may be no whole number.
    let seconds = |span: Duration| tracing::field::display(span.as_secs_f64());
    let within = heartbeats.worst_case_detection;
    tracing::info!(
        relay_period_s = heartbeats.relay_period.map(seconds),
        period_s = seconds(heartbeats.period),
        response_timeout_ms = heartbeats.response_timeout.as_millis(),
        heartbeat_s = seconds(heartbeats.heartbeat),
        frequency_s = seconds(heartbeats.frequency),
        found_within = within.map_or_else(|| "off".to_owned(), |span| format!("{span:?}")),
        "heartbeats"
    );
}

/// What the agent's heartbeats did, if that is more than was `told` of; how much
/// that is.
fn tell_heartbeats(stats: &Stats, told: u64) -> u64 {
    let (sent, answered) = (stats.probes_sent, stats.probes_answered);
    let (late, saved) = (stats.probes_late, stats.probes_saved);
    let (ended_by_prober, ended_by_monitor) = (stats.ended_by_prober, stats.ended_by_monitor);
    let count = sent + answered + late + saved + ended_by_prober + ended_by_monitor;
    if count > told {
        tracing::info!(
            sent,
            answered,
            late,
            saved,
            ended_by_prober,
            ended_by_monitor,
            "heartbeats since the start"
        );
    }
    count
}

fn by_reason(tally: &Tally) -> String {
    let counts: Vec<_> = tally
        .iter()
        .map(|(why, count)| format!("{why} {count}"))
        .collect();
    counts.join(", ")
}

fn listed(relays: &[Origin]) -> String {
    let relays: Vec<_> = relays.iter().map(Origin::to_string).collect();
    relays.join(" ")
}

fn open_files(settings: &AgentSettings) -> Result<Files, Failure> {
    let dir = data_dir(settings.data_dir.clone())?;
    // Who can write to it can also exchange the folder in it.
    private::create_dir(&dir)
        .and_then(|()| Files::open(&dir.join(FOLDER), FilesLimits::default()))
        .map_err(|error| Failure::new(format_args!("the data directory: {error}")))
}

/// The data directory, by its name or where it usually is.
fn data_dir(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    named.or_else(data_dir::default).ok_or_else(|| {
        Failure::configuration("no data directory; name one by --data-dir or data_dir")
    })
}

fn of_thread(error: io::Error) -> Failure {
    Failure::new(format_args!("a thread cannot be started: {error}"))
}

fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::new(format_args!("no random numbers: {error}")))?;
    Ok(seed)
}

/// The first signal ends the agent in order, the second at once.
#[cfg(unix)]
fn stop_on_signals(commander: Commander<Client>) -> Result<(), Failure> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let failure = |error| Failure::new(format_args!("signals: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failure)?;
    let wait = move || {
        let mut is_first = true;
        for signal in signals.forever() {
            if !is_first {
                // What a shell calls a process that a signal ended.
                std::process::exit(128 + signal);
            }
            is_first = false;
            tracing::info!(signal, "told to stop");
            // Without a driver, the agent is about to end anyway.
            let _ = commander.command(|client, now| client.stop(now));
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
        .map_err(failure)
}

#[cfg(not(unix))]
fn stop_on_signals(_: Commander<Client>) -> Result<(), Failure> {
    Ok(())
}
