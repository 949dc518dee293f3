//! The client keeps the laws of the contract, with a relay that is sound and
//! peers that are not.

use core::time::Duration;

use tautline_core::client::{self, Client, Event, HeartbeatSettings, RelayAddress};
use tautline_core::notify::{Handle, NotifyOptions};
use tautline_core::registration::Interface;
use tautline_core::relay::{self, Relay, To};
use tautline_core::wire::datagram::{Content, Fanout, Test};
use tautline_core::wire::message::{Notification, Ping, ServeWriter, Taken, ToClient};
use tautline_core::wire::proof::{MasterKey, SessionKey};
use tautline_core::{
    ClientId, ConnId, Incarnation, Instant, NotificationId, Output, StoreOp, Ticket,
};
use tautline_tests::Dice;
use tautline_tests::counting::{self, Counting};
use tautline_tests::laws::{
    self, Census, Driver, EndpointCase, EndpointSubject, Log, Misuse, Peer, Wish,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOTIFICATIONS_MAX: u32 = 4;
/// A client that this one passes datagrams on to.
const OTHER: ClientId = ClientId([9; 16]);

struct ClientCase {
    relay: Peer<Relay>,
    /// The effect that the last registration's number rests on.
    renamed: Option<Ticket>,
    unanswered: Vec<Handle>,
    /// The application replies at once.
    replies: bool,
    steadied: u64,
    /// Of the last frame for the subnet.
    sequence: u32,
}

/// A frame for hosts of the subnet, for the most part.
fn serve(sequence: u32, dice: &mut Dice) -> Vec<u8> {
    let content = Content::Test(Test { nonce: 1 });
    let mac = Fanout::new(&content).mac(OTHER, 1, &SessionKey([1; 32]));
    let mut bytes = vec![0; 4_096];
    let mut writer = ServeWriter::new(&mut bytes, &content);
    for _ in 0..1 + dice.below(20) {
        let host = [10, 0, dice.below(3) as u8, dice.below(256) as u8];
        assert!(writer.push((host, 52_311).into(), OTHER, 1, mac));
    }
    let len = writer.finish(sequence).expect("it has a target");
    bytes.truncate(len);
    bytes
}

impl ClientCase {
    /// The relay takes new connections and works off what it heard.
    fn run_relay(&mut self, driver: &mut Driver<Client>, now: Instant) {
        let connecting: Vec<ConnId> = driver.connecting().collect();
        for conn in connecting {
            if self.relay.accept(now, conn) {
                driver.connected(now, conn);
            }
        }
        let driver = std::cell::RefCell::new(driver);
        let knows = |conn| driver.borrow().knows(conn);
        self.relay.run(now, knows, |_, wish| {
            if let Wish::Ended(conn) = wish {
                let why = tautline_core::CloseReason::Done;
                driver.borrow_mut().lose(now, conn, why);
            }
            None
        });
    }

    fn notify(&mut self, now: Instant, lifetime: Duration) {
        let options = NotifyOptions {
            lifetime,
            reply_window: Duration::ZERO,
        };
        // Full is an answer as good as any.
        let _ = self.relay.endpoint.notify(now, To::All, &[1; 64], options);
    }
}

impl EndpointCase for ClientCase {
    type Endpoint = Client;
    const NAME: &'static str = "client";

    fn new(seed: u64) -> (Client, Self) {
        let mut dice = Dice::new(seed);
        let address = RelayAddress {
            host: "relay".into(),
            port: 52_311,
            tls: false,
        };
        let mut settings = client::Settings::new(address.clone(), "client");
        settings.relays.push(address);
        settings.datagrams_per_second_max = 50;
        // Whatever end the driver gives a connection, it is one of these.
        let ends = (0..3).flat_map(|net| (1..7).map(move |host| [10, 0, net, host]));
        settings.interfaces = ends
            .map(|end| Interface {
                address: end.into(),
                prefix: 24,
            })
            .collect();
        settings.registrar.retry_min = Duration::from_secs(1);
        settings.registrar.retry_max = Duration::from_secs(2);
        settings.heartbeat = HeartbeatSettings {
            period: Duration::from_secs(20),
            response_timeout: Duration::from_secs(5),
            heartbeat: Some(Duration::from_secs(45)),
            frequency: Some(Duration::from_secs(10)),
        };
        let mut limits = client::Limits::default();
        limits.mailbox.notifications_max = NOTIFICATIONS_MAX;
        let client = Client::new(settings, limits, dice.seed());

        let mut settings = relay::Settings::new(MasterKey([7; 32]), Incarnation(1));
        settings.registry.secrets_over_plaintext = true;
        let relay = Relay::new(settings, relay::Limits::default(), dice.seed());
        let case = Self {
            relay: Peer::new(relay),
            renamed: None,
            unanswered: Vec::with_capacity(64),
            replies: false,
            steadied: 0,
            sequence: 0,
        };
        (client, case)
    }

    fn event(&mut self, client: &mut Client, now: Instant, event: Event, log: &mut Log) {
        let Event::Notification {
            notification, id, ..
        } = event
        else {
            return log.event(&event);
        };
        let known = client.notification(notification);
        let (_, payload) = known.unwrap_or_else(|| panic!("{id} is not there"));
        // The handle depends on which of them are over.
        log.event(&(id, payload));
        let asks = payload.starts_with(b"?");
        if self.replies && asks {
            assert_eq!(client.reply(now, notification, b"pong"), Ok(()));
        } else {
            self.unanswered.push(notification);
        }
    }

    fn command(&mut self, driver: &mut Driver<Client>, now: Instant, dice: &mut Dice) {
        self.run_relay(driver, now);
        if dice.one_in(4) {
            let lifetime = dice.span(Duration::from_secs(1)..Duration::from_secs(100));
            self.notify(now, lifetime);
        }
        if dice.one_in(16) {
            driver.endpoint.select(now);
        }
        if let Some(handle) = self.unanswered.pop() {
            if dice.one_in(4) {
                driver.endpoint.dismiss(now, handle);
            } else {
                // Expired is an answer as good as any.
                let _ = driver.endpoint.reply(now, handle, b"pong");
            }
        }
    }

    fn bytes(&mut self, conn: ConnId, dice: &mut Dice) -> Vec<u8> {
        if dice.one_in(16) {
            self.sequence += 1;
            return serve(self.sequence, dice);
        }
        let len = if dice.one_in(2) {
            1 + dice.index(100)
        } else {
            10_000
        };
        self.relay.said(conn, len).unwrap_or_default()
    }

    fn opened(&mut self, conn: ConnId, now: Instant) -> bool {
        self.relay.accept(now, conn)
    }

    fn sent(&mut self, conn: ConnId, bytes: &[u8]) {
        self.relay.hear(conn, bytes);
    }

    /// That it is registered, with a number that it will not use again.
    fn promises(&mut self, output: &Output<'_, Event>) -> Option<Ticket> {
        match output {
            Output::Store {
                ticket,
                op: StoreOp::Rename { .. },
            } => {
                self.renamed = Some(*ticket);
                None
            }
            Output::Event(Event::Registered { .. }) => self.renamed,
            _ => None,
        }
    }

    fn misuse(
        &mut self,
        client: &mut Client,
        now: Instant,
        _dice: &mut Dice,
    ) -> Result<Misuse, String> {
        let Some(&known) = self.unanswered.first() else {
            return Ok(Misuse::None);
        };
        let payload = vec![0; client::Limits::default().mailbox.reply_bytes_max + 1];
        match client.reply(now, known, &payload) {
            Ok(()) => Err("a reply that is too long was taken".to_owned()),
            Err(_) => Ok(Misuse::Refused),
        }
    }

    fn census(&self, client: &Client) -> Vec<Census> {
        let live = |handle: &&Handle| client.notification(**handle).is_some();
        vec![Census {
            name: "notifications_max",
            used: self.unanswered.iter().filter(live).count() as u64,
            limit: NOTIFICATIONS_MAX.into(),
        }]
    }

    /// The relay speaks until the persistent connection is open; what follows
    /// on it is the stream.
    fn stream_conn(&mut self, driver: &mut Driver<Client>, now: Instant) -> Option<ConnId> {
        self.replies = true;
        self.run_relay(driver, now);
        let talking: Vec<ConnId> = self.relay.talking().collect();
        for conn in talking {
            let said = self.relay.said(conn, 10_000).unwrap_or_default();
            driver.receive(now, conn, &said);
        }
        let open = driver.open().last();
        open.filter(|_| driver.endpoint.is_connected())
    }

    /// Frames of a relay, sound for the most part, and no more notifications
    /// than find room: the others are left to the inbox, as many as come at
    /// once.
    fn stream(dice: &mut Dice) -> Option<Vec<u8>> {
        let (mut bytes, mut sequence) = (Vec::new(), 0);
        // Only the last ping is answered, and before any reply that waits:
        // where a stream has one, it is alone.
        let is_ping = dice.one_in(4);
        // A fault may come before the reply to what came with it, or behind.
        let is_damaged = dice.one_in(3);
        for _ in 0..2 + dice.below(10) {
            let mut payload = dice.bytes(200);
            payload[0] = if is_damaged { b'!' } else { b'?' };
            let message = match dice.below(4) {
                0 if is_ping => ToClient::Ping(Ping {
                    nonce: dice.next_u64(),
                }),
                1 => ToClient::Taken(Taken {
                    notification: NotificationId::new(Incarnation(1), dice.below(5) as u32),
                }),
                _ if is_ping || sequence == NOTIFICATIONS_MAX => break,
                _ => {
                    sequence += 1;
                    ToClient::Notification(Notification {
                        id: NotificationId::new(Incarnation(1), sequence),
                        lifetime_s: 100,
                        reply_window_ms: 0,
                        payload: &payload,
                    })
                }
            };
            let start = bytes.len();
            bytes.resize(start + message.encoded_len(), 0);
            assert!(message.encode(&mut bytes[start..]).is_ok());
            if matches!(message, ToClient::Ping(_)) {
                break;
            }
        }
        if is_damaged && !bytes.is_empty() {
            let place = dice.index(bytes.len());
            bytes[place] ^= 1 << dice.below(8);
        }
        Some(bytes)
    }

    /// A notification and its reply.
    fn steady(&mut self, driver: &mut Driver<Client>, now: Instant, dice: &mut Dice) -> bool {
        self.steadied += 1;
        let notifies = self.steadied < Self::STEADY_OPERATIONS / 2 || dice.one_in(4);
        counting::paused(|| {
            self.run_relay(driver, now);
            if notifies && driver.endpoint.is_connected() {
                self.notify(now, Duration::from_secs(2));
            }
        });
        let mut talking = [None; 4];
        for (talks, conn) in talking.iter_mut().zip(self.relay.talking()) {
            *talks = Some(conn);
        }
        for conn in talking.into_iter().flatten() {
            let said = counting::paused(|| self.relay.said(conn, 10_000));
            driver.receive(now, conn, said.as_deref().unwrap_or_default());
            counting::paused(|| drop(said));
        }
        while let Some(handle) = self.unanswered.pop() {
            let _ = driver.endpoint.reply(now, handle, b"pong");
        }
        true
    }
}

#[test]
fn the_client_keeps_all_laws() {
    let tally = laws::assert_lawful::<EndpointSubject<ClientCase>>(0..100);
    assert!(tally.pokes > 100 && tally.dips > 100, "{tally:?}");
    assert!(
        tally.streams > 0 && tally.misuses > 100 && tally.tables == 1,
        "{tally:?}"
    );
    assert!(tally.promises > 100 && tally.steady > 1_000, "{tally:?}");
}
