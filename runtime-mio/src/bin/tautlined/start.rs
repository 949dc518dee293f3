//! From settings to a driver that serves.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;

use signal_hook_mio::v1_0::Signals;
use tautline_core::relay::{Limits, Relay};
use tautline_mio::driver::{Config, Driver, StartError};
use tautline_std::clock::Clock;
use tautline_std::data_dir;
use tautline_std::files::{Files, FilesLimits};
use tautline_std::private;
use tautline_std::settings::Sources;
use tautline_std::tls::ServerConfig;

use crate::application::Daemon;
use crate::figures;
use crate::heartbeats::Heartbeats;
use crate::identity::Identity;
use crate::operator::Operator;
use crate::settings::Settings;

const SIGNALS: usize = 0;

/// A relay that listens.
pub(crate) struct Started {
    pub(crate) driver: Driver<Relay>,
    pub(crate) daemon: Daemon,
    pub(crate) signals: Signals,
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
    /// How many clients can hold a connection.
    pub(crate) lines_max: u32,
    /// Where the data is, if the configuration says so.
    pub(crate) data_dir: Option<PathBuf>,
}

/// Reads the settings and the certificate that they name.
///
/// # Errors
/// What is wrong and where, one line each.
pub(crate) fn configuration(sources: &Sources) -> Result<(Settings, Option<ServerConfig>), String> {
    let settings: Settings = sources.load().map_err(|error| error.to_string())?;
    let tls = match (&settings.tls.certificate, &settings.tls.key) {
        (Some(certificate), Some(key)) => {
            Some(ServerConfig::load(certificate, key).map_err(|error| format!("tls: {error}"))?)
        }
        _ => None,
    };
    Ok((settings, tls))
}

/// Opens the data directory, binds the addresses, and makes the relay.
///
/// # Errors
/// One line that names what is in the way, and what to do.
pub(crate) fn start(
    settings: &Settings,
    accept_tls: Option<ServerConfig>,
) -> Result<Started, String> {
    let clock = Clock::start();
    warn_of_exposed_key(settings);
    let dir = data_dir(settings)?;
    let in_the_way = |error: io::Error| {
        let advice = match error.kind() {
            ErrorKind::ResourceBusy => "; is another tautlined running?",
            // It says itself what to do.
            ErrorKind::InvalidInput => "",
            _ => "; choose a directory that can be written to: data_dir (--data-dir)",
        };
        format!("the data directory cannot be used: {error}{advice}")
    };
    // It also keeps others out of the directory.
    let files = Files::open(&dir, FilesLimits::default()).map_err(in_the_way)?;
    let identity = Identity::open(&dir, &clock).map_err(in_the_way)?;
    let limits = figures::limits(settings);
    let connections_max = limits.connections_max;
    let relay = relay(settings, limits, &identity)?;
    let tls = accept_tls.is_some();
    let config = Config {
        listen: settings.listen.addresses.clone(),
        datagrams: settings.listen.addresses.clone(),
        accept_tls,
        proxies: settings.proxies(),
        ..Config::default()
    };
    let driver = Driver::new(relay, clock, files, config).map_err(|error| explain(&error))?;
    let address = driver
        .listen_addrs()
        .next()
        .ok_or("there is no address to listen on")?;
    let signals = signals(&driver).map_err(|error| format!("cannot take signals: {error}"))?;
    let operator = Operator {
        token: identity.token,
        secrets_over_plaintext: settings.listen.secrets_over_plaintext,
        statistics: driver.statistics(),
        started: clock.now(),
        role: settings.role,
        heartbeat: settings.heartbeat.clone(),
        places: settings.places(),
    };
    let lines_max = settings.persistent_connections.connections_max;
    let daemon = Daemon {
        operator,
        heartbeats: Heartbeats::default(),
        signalled: false,
        drained: false,
    };
    Ok(Started {
        driver,
        daemon,
        signals,
        address,
        tls,
        lines_max: lines_max.min(connections_max),
        data_dir: settings.data_dir.clone(),
    })
}

/// The key of the certificate is for the daemon alone.
pub(crate) fn warn_of_exposed_key(settings: &Settings) {
    if let Some(key) = &settings.tls.key
        && private::is_exposed(key).unwrap_or(false)
    {
        tracing::warn!(
            path = %key.display(),
            "others than the owner may read the private key of the certificate; use mode 0600"
        );
    }
}

fn data_dir(settings: &Settings) -> Result<PathBuf, String> {
    settings
        .data_dir
        .clone()
        .or_else(data_dir::default)
        .ok_or_else(|| {
            "there is no place for the relay's data: set data_dir (--data-dir)".to_owned()
        })
}

fn relay(settings: &Settings, limits: Limits, identity: &Identity) -> Result<Relay, String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| format!("the system has no randomness: {error}"))?;
    let figures = figures::of(settings, identity);
    Ok(Relay::new(figures, limits, seed))
}

fn signals(driver: &Driver<Relay>) -> io::Result<Signals> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let readable = mio::Interest::READABLE;
    driver.register(
        |registry, token| registry.register(&mut signals, token, readable),
        SIGNALS,
    )?;
    Ok(signals)
}

fn explain(error: &StartError) -> String {
    let advice = match error {
        StartError::Listen(_, cause) | StartError::Datagrams(_, cause) => match cause.kind() {
            ErrorKind::AddrInUse => {
                "; another process uses it: stop that, or choose another with --listen"
            }
            ErrorKind::PermissionDenied => "; choose a port above 1023 with --listen",
            ErrorKind::AddrNotAvailable => "; this machine has no such address: change --listen",
            _ => "",
        },
        StartError::System(_) => "",
    };
    format!("{error}{advice}")
}
