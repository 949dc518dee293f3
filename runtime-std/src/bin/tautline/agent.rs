//! `tautline agent`: a client that keeps a line to its relay.

mod answers;
mod handler;
mod interfaces;
mod port;
mod settings;
mod watch;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use tautline_core::Instant;
use tautline_core::client::{Client, Event, Failure as EventFailure, Limits};
use tautline_core::notify::Handle;
use tautline_std::clock::Clock;
use tautline_std::driver::{Commander, Driver, DriverLimits, Equipment};
use tautline_std::files::{Files, FilesLimits};
use tautline_std::settings::Sources;
use tautline_std::tls::{ClientConfig, Roots};
use tautline_std::{data_dir, logs, private};

use crate::Failure;
use answers::{Machine, NO_HANDLER};
use handler::{Handler, Job};
use port::Datagrams;
use settings::AgentSettings;
use watch::{Addresses, Watch};

/// Read without being named, if it is there.
const DEFAULT_FILE: &str = "/etc/tautline/agent.toml";
/// The agent's own folder in the data directory: a relay on the same machine
/// has the rest of it.
const FOLDER: &str = "agent";
/// What the core calls the file of the identity.
const IDENTITY_FILE: &str = "client.json";

/// Every setting can also be an environment variable, `TAUTLINE_<SECTION>_<KEY>`,
/// such as TAUTLINE_RELAY_ADDRESS. Flags win over the environment, the
/// environment over the file.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The relay: HOST, HOST:PORT or a URL
    #[arg(long, value_name = "HOST[:PORT]")]
    relay: Option<String>,
    /// Speak TLS with the relay
    #[arg(long)]
    tls: bool,
    /// Trust these certificates (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Let the agent's secret travel unencrypted to a relay on another machine
    #[arg(long)]
    secrets_over_plaintext: bool,
    /// Where datagrams are taken: this port or none other, 0 for any that is
    /// free, or off [default: 52311, or a free one if it is taken]
    #[arg(long, value_name = "PORT|off")]
    udp_port: Option<String>,
    /// Where the agent keeps its identity, in a folder of its own
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// The configuration file [default: /etc/tautline/agent.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "TAUTLINE_CONFIG")]
    config: Option<PathBuf>,
    /// Check the configuration, say what is wrong with it, and end: 0 or 78
    #[arg(long)]
    check_config: bool,
    /// error, warn, info, debug or trace
    #[arg(long, visible_alias = "log", value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// The program that answers what the agent itself does not: it gets the
    /// payload on standard input, and its output is the reply. All that
    /// follows is the program's, so name it last
    #[arg(long, value_name = "PROGRAM [ARGUMENT]...", num_args = 1.., allow_hyphen_values = true)]
    handler: Vec<String>,
}

impl Flags {
    fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        match &self.config {
            Some(path) => {
                sources.file(path);
            }
            None if Path::new(DEFAULT_FILE).exists() => {
                sources.file(DEFAULT_FILE);
            }
            None => {}
        }
        sources.environment(std::env::vars_os());
        let texts = [
            ("--relay", "relay.address", &self.relay),
            ("--udp-port", "client.udp_port", &self.udp_port),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ];
        for (flag, key, value) in texts {
            if let Some(value) = value {
                sources.flag(flag, key, value);
            }
        }
        if !self.handler.is_empty() {
            let words = toml::Value::from(self.handler.clone()).to_string();
            sources.flag("--handler", "handler.command", words);
        }
        let paths = [
            ("--ca", "relay.ca_file", &self.ca),
            ("--data-dir", "data_dir", &self.data_dir),
        ];
        for (flag, key, value) in paths {
            if let Some(value) = value {
                sources.flag(flag, key, value);
            }
        }
        let switches = [
            ("--tls", "relay.tls", self.tls),
            (
                "--secrets-over-plaintext",
                "relay.secrets_over_plaintext",
                self.secrets_over_plaintext,
            ),
        ];
        for (flag, key, is_on) in switches {
            if is_on {
                sources.flag(flag, key, "true");
            }
        }
        sources
    }
}

/// Runs the agent until it was told to stop and has said goodbye.
pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let settings: AgentSettings = flags.sources().load().map_err(Failure::configuration)?;
    let origin = settings.origin().map_err(Failure::configuration)?;
    let tls = if origin.tls {
        let roots = Roots {
            file: settings.relay.ca_file.clone(),
        };
        Some(ClientConfig::load(&roots).map_err(Failure::configuration)?)
    } else {
        None
    };
    if flags.check_config {
        return crate::text::print("ok\n");
    }
    let format = settings
        .log
        .format
        .parse()
        .map_err(Failure::configuration)?;
    let _logs = logs::start(format, &settings.log.level).map_err(Failure::configuration)?;

    let files = open_files(&settings)?;
    let surroundings = Surroundings {
        machine: Machine::here(settings.client.hostname.as_deref()),
        identity_file: files.dir().join(IDENTITY_FILE),
    };
    let hostname = &surroundings.machine.hostname;
    // Taken before the relay is told of it.
    let datagrams = Datagrams::open(settings.client.udp_port)?;
    let udp_port = datagrams.port;
    let mut of_client = settings.of_client(&origin, hostname);
    of_client.udp_port = udp_port;
    let mut addresses = Addresses::default();
    let is_watched = settings.client.interfaces.is_none();
    if is_watched {
        let found = addresses.news(interfaces::of_machine());
        of_client.interfaces = found.unwrap_or_default();
    }
    let client = Client::new(of_client, Limits::default(), seed()?);
    let equipment = Equipment {
        clock: Clock::start(),
        files,
        tls,
        datagrams: datagrams.sockets,
        limits: DriverLimits::default(),
    };
    let mut driver = Driver::new(client, equipment).map_err(of_thread)?;
    stop_on_signals(driver.commander())?;
    if is_watched {
        let watch = Watch {
            commander: driver.commander(),
            addresses,
            addresses_interval_s: settings.client.addresses_interval_s,
        };
        watch.start().map_err(of_thread)?;
    }
    let handler = Handler::start(&settings.handler, &driver.commander()).map_err(of_thread)?;
    if let Some(handler) = &handler {
        tracing::info!(program = %handler.program().display(), "notifications have a handler");
    }
    tracing::info!(relay = %origin, hostname, udp_port, "the agent starts");

    let mut outcome = Ok(());
    driver.run(|client, now, event| {
        handle_event(client, now, event, &surroundings, handler.as_ref())
            .map_break(|result| outcome = result)
    });
    // Frees those who have a reply to tell, so that the handler can end.
    drop(driver);
    drop(handler);
    tracing::info!("the agent has ended");
    outcome
}

/// What the agent's answers and advice are about.
struct Surroundings {
    machine: Machine,
    identity_file: PathBuf,
}

fn handle_event(
    client: &mut Client,
    now: Instant,
    event: Event,
    surroundings: &Surroundings,
    handler: Option<&Handler>,
) -> ControlFlow<Result<(), Failure>> {
    match event {
        Event::Registered {
            client, granted, ..
        } => tracing::info!(%client, granted, "registered"),
        Event::Failed { what, why } => {
            tracing::warn!(what, %why, "failed; it is tried again");
            if is_stranger(what, why) {
                tracing::error!(
                    "the relay does not accept this agent's identity: it belongs to another \
                     relay, or the relay has lost its key; stop the agent and remove {} to have \
                     it registered as a new client",
                    surroundings.identity_file.display()
                );
            }
        }
        Event::Connected => tracing::info!("the line is open"),
        Event::Disconnected { why } => tracing::warn!(%why, "the line is gone"),
        Event::Notification { notification, id } => {
            tracing::info!(%id, "notification");
            answer(client, now, notification, &surroundings.machine, handler);
        }
        Event::NotificationExpired { notification } => {
            tracing::warn!("a notification has expired");
            if let Some(handler) = handler {
                handler.forget(notification);
            }
        }
        Event::StorageFailed { why } => {
            tracing::error!(%why, "the agent's identity cannot be stored");
        }
        Event::IdentityUnavailable { why } => {
            return ControlFlow::Break(Err(Failure::new(format_args!(
                "{}: the agent's identity cannot be read: {why}; see that this user can read the \
                 file, or remove it to have the agent registered as a new client",
                surroundings.identity_file.display()
            ))));
        }
        Event::IdentityUnreadable => {
            return ControlFlow::Break(Err(Failure::new(format_args!(
                "{}: the agent's identity is damaged; it was left alone. Restore it, or remove it \
                 to have the agent registered as a new client",
                surroundings.identity_file.display()
            ))));
        }
        Event::Stopped => return ControlFlow::Break(Ok(())),
        other => tracing::debug!(?other, "event"),
    }
    ControlFlow::Continue(())
}

/// Whether the relay refused the proof of who this is.
fn is_stranger(what: &str, why: EventFailure) -> bool {
    what == "registration" && why == EventFailure::Status(401)
}

/// Replies at once, or has the handler do it.
fn answer(
    client: &mut Client,
    now: Instant,
    notification: Handle,
    machine: &Machine,
    handler: Option<&Handler>,
) {
    let Some((id, payload)) = client.notification(notification) else {
        return;
    };
    let answer = machine.answer(payload);
    if let (None, Some(handler), Some(client)) = (&answer, handler, client.id()) {
        handler.push(Job {
            notification,
            id,
            client,
            payload: payload.to_vec(),
        });
        return;
    }
    let answer = answer.as_deref().unwrap_or(NO_HANDLER);
    if let Err(why) = client.reply(now, notification, answer.as_bytes()) {
        tracing::warn!(%id, %why, "no reply");
    }
}

fn open_files(settings: &AgentSettings) -> Result<Files, Failure> {
    let dir = settings.data_dir.clone().or_else(data_dir::default);
    let dir = dir.ok_or_else(|| {
        Failure::configuration("no data directory; name one by --data-dir or data_dir")
    })?;
    // Who can write to it can also exchange the folder in it.
    private::create_dir(&dir)
        .and_then(|()| Files::open(&dir.join(FOLDER), FilesLimits::default()))
        .map_err(|error| Failure::new(format_args!("the data directory: {error}")))
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
