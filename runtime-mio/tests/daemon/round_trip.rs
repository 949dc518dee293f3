//! A notification through the daemon to a client and back, over real sockets,
//! in clear and under TLS.

use std::time::{Duration, Instant as Wall};

use tautline_core::Instant;
use tautline_core::client::{Client, Event, Limits, RelayAddress, Settings};
use tautline_core::registration::Interface;
use tautline_mio::driver::{Application, Config, Driver};
use tautline_std::clock::Clock;
use tautline_std::files::{Files, FilesLimits};
use tautline_std::tls::{ClientConfig, Roots};

use crate::process::Daemon;

/// Tests end with a failure, never hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Replies to what comes with its own words, in capitals.
#[derive(Default)]
pub(crate) struct Shouter {
    pub(crate) connected: bool,
    pub(crate) registered: bool,
    /// Takes notifications and says nothing.
    pub(crate) is_silent: bool,
}

impl Application<Client> for Shouter {
    fn event(&mut self, now: Instant, client: &mut Client, event: Event) {
        match event {
            Event::Registered { .. } => self.registered = true,
            Event::Connected => self.connected = true,
            Event::Notification { .. } if self.is_silent => {}
            Event::Notification { notification, .. } => {
                let (_, payload) = client.notification(notification).unwrap();
                let reply = payload.to_ascii_uppercase();
                client.reply(now, notification, &reply).unwrap();
            }
            _ => {}
        }
    }
}

pub(crate) fn client(
    daemon: &Daemon,
    dir: &std::path::Path,
    connect_tls: Option<ClientConfig>,
) -> Driver<Client> {
    client_with(daemon, dir, connect_tls, 0)
}

/// A client that states a port for datagrams.
pub(crate) fn client_with(
    daemon: &Daemon,
    dir: &std::path::Path,
    connect_tls: Option<ClientConfig>,
    udp_port: u16,
) -> Driver<Client> {
    client_set(daemon, dir, connect_tls, |settings| {
        settings.udp_port = udp_port;
    })
}

/// A client with settings of its own.
pub(crate) fn client_set(
    daemon: &Daemon,
    dir: &std::path::Path,
    connect_tls: Option<ClientConfig>,
    set: impl FnOnce(&mut Settings),
) -> Driver<Client> {
    let relay = RelayAddress {
        host: "127.0.0.1".into(),
        port: daemon.address.port(),
        tls: connect_tls.is_some(),
    };
    let mut settings = Settings::new(relay, "shouter.example");
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    settings.interfaces = vec![Interface { address, prefix: 8 }];
    set(&mut settings);
    let client = Client::new(settings, Limits::default(), [7; 32]);
    let files = Files::open(dir, FilesLimits::default()).unwrap();
    let config = Config {
        connect_tls,
        ..Config::default()
    };
    Driver::new(client, Clock::start(), files, config).unwrap()
}

/// Turns until the condition holds; it is looked at between turns.
pub(crate) fn until(
    driver: &mut Driver<Client>,
    shouter: &mut Shouter,
    done: impl Fn(&Shouter) -> bool,
) {
    let started = Wall::now();
    while !done(shouter) {
        assert!(started.elapsed() < PATIENCE, "{:?}", driver.statistics());
        driver
            .turn(shouter, Some(Duration::from_millis(10)))
            .unwrap();
    }
}

fn notified_and_answered(
    daemon: &Daemon,
    connect_tls: Option<ClientConfig>,
    ask: impl Fn(&str, &str) -> serde_json::Value,
) {
    let dir = tempfile::tempdir().unwrap();
    let mut driver = client(daemon, dir.path(), connect_tls);
    let mut shouter = Shouter::default();
    until(&mut driver, &mut shouter, |shouter| shouter.connected);

    let clients = ask("/v1/clients", "");
    let shown = &clients["clients"][0];
    assert_eq!(shown["hostname"], "shouter.example");
    assert_eq!(shown["address"], "127.0.0.1");
    assert_eq!(shown["connection"], "open");
    assert_eq!(shown["way"], "connection");
    let of_state = |state| ask(&format!("/v1/clients?state={state}"), "")["clients"].clone();
    assert_eq!(of_state("open").as_array().unwrap().len(), 1);
    assert_eq!(of_state("granted").as_array().unwrap().len(), 0);
    assert_eq!(clients["next"], serde_json::Value::Null);

    for target in [
        "{\"all\":true}".to_owned(),
        format!("{{\"client\":{}}}", shown["client"]),
    ] {
        let body = format!("{{\"target\":{target},\"payload\":\"hello\",\"lifetime_s\":60}}");
        let id = ask("/v1/notifications", &body)["notification"].clone();
        let path = format!("/v1/notifications/{}", id.as_str().unwrap());
        until(&mut driver, &mut shouter, |_| {
            ask(&path, "")["replied"] == 1
        });
        let status = ask(&path, "");
        assert_eq!(
            (&status["targets"], &status["sent"]),
            (&1.into(), &1.into())
        );
        assert_eq!(status["replies"][0]["payload"], "HELLO");
        assert_eq!(status["replies"][0]["hostname"], "shouter.example");
        assert!(status["expires_in_s"].as_u64().unwrap() <= 60);
    }
}

#[test]
fn a_notification_reaches_a_client_and_its_reply_the_operator() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[]);
    notified_and_answered(&daemon, None, |path, body| match body {
        "" => daemon.get(path).json(),
        body => daemon.post(path, body).json(),
    });
    let metrics = daemon.get("/metrics").body;
    assert!(
        metrics.contains("\ntautline_replies_total 2\n"),
        "{metrics}"
    );
}

#[test]
fn clients_speak_tls_on_the_same_port() {
    let dir = tempfile::tempdir().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let file = dir.path().join("tautlined.toml");
    let text = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    std::fs::write(&file, text).unwrap();
    let data = dir.path().join("data");
    let daemon = Daemon::start(&data, &["--config", file.to_str().unwrap()]);

    let roots = Roots {
        file: Some(certificate),
    };
    let connect_tls = ClientConfig::load(&roots).unwrap();
    notified_and_answered(&daemon, Some(connect_tls), |path, body| match body {
        "" => daemon.get(path).json(),
        body => daemon.post(path, body).json(),
    });
    let metrics = daemon.get("/metrics").body;
    assert!(
        !metrics.contains("\ntautline_tls_established_total 0\n"),
        "{metrics}"
    );
}
