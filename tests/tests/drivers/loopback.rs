//! Loopback as a stage: the relay over the event loop, its clients over either
//! driver, all in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tautline_core::Instant;
use tautline_core::client::{self, Client};
use tautline_core::relay::{self, Relay};
use tautline_mio::driver as mio;
use tautline_std::clock::Clock;
use tautline_std::driver as blocking;
use tautline_std::files::{Files, FilesLimits};

use crate::cast::{self, CLIENTS, Note, hear_client, hear_relay};
use crate::script::Stage;

/// A client over a driver.
pub(crate) trait Player {
    /// Starts a client on its folder.
    fn start(number: usize, client: Client, folder: &Path) -> Self;

    /// Stops the client.
    fn stop(&mut self);

    /// Does what is to be done without waiting; adds what was heard.
    fn go_on(&mut self, notes: &mut Vec<Note>);

    /// The client has stopped: lets go of everything.
    fn end(self);
}

pub(crate) struct Loopback<P> {
    seed: u64,
    relay: mio::Driver<Relay>,
    ear: RelayEar,
    players: [Option<P>; CLIENTS],
    lives: [u32; CLIENTS],
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct RelayEar(Vec<Note>);

impl mio::Application<Relay> for RelayEar {
    fn event(&mut self, _: Instant, relay: &mut Relay, event: relay::Event) {
        self.0.push(hear_relay(relay, event));
    }
}

impl<P> Loopback<P> {
    pub(crate) fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = mio::Config {
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            ..mio::Config::default()
        };
        let files = files(&folder.path().join("relay"));
        let relay = mio::Driver::new(cast::relay(seed), Clock::start(), files, config);
        Self {
            seed,
            relay: relay.expect("a driver"),
            ear: RelayEar::default(),
            players: Default::default(),
            lives: [0; CLIENTS],
            folder,
        }
    }

    fn address(&self) -> SocketAddr {
        self.relay.listen_addrs().next().expect("it listens")
    }
}

impl<P: Player> Stage for Loopback<P> {
    fn relay<R>(&mut self, command: impl FnOnce(&mut Relay, Instant) -> R) -> R {
        self.relay.command(command)
    }

    fn start(&mut self, number: usize) {
        if let Some(before) = self.players[number].take() {
            before.end();
        }
        self.lives[number] += 1;
        let (address, life) = (self.address(), self.lives[number]);
        let host = address.ip().to_string();
        let client = cast::client(self.seed, number, life, &host, address.port());
        let folder = self.folder.path().join(cast::name(number));
        self.players[number] = Some(P::start(number, client, &folder));
    }

    fn stop(&mut self, number: usize) {
        self.players[number]
            .as_mut()
            .expect("it was started")
            .stop();
    }

    fn drain(&mut self) {
        self.relay.stop_listening();
        self.relay.command(|relay, now| relay.drain(now));
    }

    fn go_on(&mut self, notes: &mut Vec<Note>) {
        let ready_within = Some(Duration::from_millis(1));
        self.relay
            .turn(&mut self.ear, ready_within)
            .expect("a turn");
        notes.append(&mut self.ear.0);
        for player in self.players.iter_mut().flatten() {
            player.go_on(notes);
        }
    }
}

/// A client over the event loop, in turns with the relay.
pub(crate) struct OverMio {
    driver: mio::Driver<Client>,
    ear: ClientEar,
}

struct ClientEar(usize, Vec<Note>);

impl mio::Application<Client> for ClientEar {
    fn event(&mut self, now: Instant, client: &mut Client, event: client::Event) {
        self.1.push(hear_client(self.0, client, now, event));
    }
}

impl Player for OverMio {
    fn start(number: usize, client: Client, folder: &Path) -> Self {
        let (clock, files) = (Clock::start(), files(folder));
        let driver = mio::Driver::new(client, clock, files, mio::Config::default());
        Self {
            driver: driver.expect("a driver"),
            ear: ClientEar(number, Vec::new()),
        }
    }

    fn stop(&mut self) {
        self.driver.command(|client, now| client.stop(now));
    }

    fn go_on(&mut self, notes: &mut Vec<Note>) {
        let turned = self.driver.turn(&mut self.ear, Some(Duration::ZERO));
        turned.expect("a turn");
        notes.append(&mut self.ear.1);
    }

    fn end(self) {}
}

/// A client over blocking sockets, on a thread of its own.
pub(crate) struct OverStd {
    commander: blocking::Commander<Client>,
    notes: Receiver<Note>,
    thread: JoinHandle<()>,
}

impl Player for OverStd {
    fn start(number: usize, client: Client, folder: &Path) -> Self {
        let equipment = blocking::Equipment {
            clock: Clock::start(),
            files: files(folder),
            tls: None,
            datagrams: Vec::new(),
            limits: blocking::DriverLimits::default(),
        };
        let mut driver = blocking::Driver::new(client, equipment).expect("a driver");
        let commander = driver.commander();
        let (sender, notes) = channel();
        let thread = thread::spawn(move || {
            driver.run(|client, now, event| {
                let is_last = event == client::Event::Stopped;
                let sent = sender.send(hear_client(number, client, now, event));
                // Nobody listens any more when the test has failed.
                if is_last || sent.is_err() {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
        });
        Self {
            commander,
            notes,
            thread,
        }
    }

    fn stop(&mut self) {
        let stopped = self.commander.command(|client, now| client.stop(now));
        assert_eq!(stopped, Ok(()));
    }

    fn go_on(&mut self, notes: &mut Vec<Note>) {
        notes.extend(self.notes.try_iter());
    }

    fn end(self) {
        self.thread.join().expect("it did not panic");
    }
}

fn files(folder: &Path) -> Files {
    std::fs::create_dir_all(folder).expect("a folder");
    Files::open(folder, FilesLimits::default()).expect("the folder")
}
