//! Datagrams: those that come, right and wrong, and those that are passed on.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::World;
use crate::collections::model::Script;
use crate::wire::datagram::{Content, DATAGRAM_BYTES_MAX, Fanout, Hint, Test};
use crate::wire::message::{Notification, ServeWriter};
use crate::wire::proof::{ClientSecret, Session, SessionKey};
use crate::{ClientId, ConnId, Incarnation, Input};

/// This end of every connection.
pub(super) const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
pub(super) const UDP_PORT: u16 = 52_311;

/// What the relay knows of its datagrams.
#[derive(Default)]
pub(super) struct Sealing {
    /// The keys of the registrations that it answered, the newest last.
    keys: Vec<(ClientId, SessionKey)>,
    /// What the client took: the key's place and the counter.
    taken: Vec<(usize, u64)>,
    /// The place of the newest key under which it took something.
    newest: usize,
    /// The frames for the subnet; a place is what their datagrams say.
    frames: Vec<Listed>,
}

/// A frame for the subnet.
struct Listed {
    conn: ConnId,
    sequence: u32,
    targets: usize,
    /// What was not sent yet.
    left: Vec<SocketAddr>,
}

impl World {
    /// The relay answers a registration on these terms.
    pub(super) fn agree(&mut self, client: ClientId, incarnation: u32, nonce: [u8; 16]) {
        let Some(registration) = self.registrations.last() else {
            return;
        };
        let key = ClientSecret(self.secret_of(client)).session_key(&Session {
            client,
            registration: *registration,
            incarnation: Incarnation(incarnation),
            nonce,
        });
        if !self.sealing.keys.contains(&(client, key.clone())) {
            self.sealing.keys.push((client, key));
        }
    }

    /// A datagram of the relay, or one that looks like it. What the client
    /// takes is genuine, new, and of a key that is good.
    pub(super) fn receive_datagram(&mut self, script: &mut Script<'_>) {
        let back = usize::from(script.byte().unwrap_or_default() % 3);
        let Some(place) = self.sealing.keys.len().checked_sub(1 + back) else {
            return;
        };
        let counter = u64::from(script.byte().unwrap_or_default() % 90);
        let id = self.some_notification(script);
        let content = match script.byte().unwrap_or_default() % 4 {
            0 => Content::Test(Test { nonce: id.0 }),
            1 => Content::Hint(Hint {
                id,
                lifetime_s: 60,
                reply_window_ms: 0,
                payload_bytes: 9,
            }),
            _ => Content::Notification(Notification {
                id,
                lifetime_s: 60,
                reply_window_ms: 0,
                payload: b"by datagram",
            }),
        };
        let (client, key) = &self.sealing.keys[place];
        let mut bytes = [0; DATAGRAM_BYTES_MAX];
        let fanout = Fanout::new(&content);
        let len = fanout.encode(&content, *client, counter, key, &mut bytes);
        let len = len.unwrap();
        let damaged = script.one_in(4);
        if damaged {
            bytes[usize::from(script.byte().unwrap_or_default()) % len] ^= 1;
        }
        let taken = |world: &Self| {
            let stats = world.client.stats();
            stats.datagrams + stats.datagrams_dropped.get("no_room")
        };
        let before = taken(self);
        let from = SocketAddr::from((OWN, 1));
        let bytes = &bytes[..len];
        self.input(Input::Datagram { from, bytes });
        if taken(self) != before {
            assert!(!damaged, "taken although it was changed");
            let sealing = &mut self.sealing;
            assert!(!sealing.taken.contains(&(place, counter)), "taken twice");
            assert!(place >= sealing.newest, "taken under an old key");
            sealing.taken.push((place, counter));
            sealing.newest = place;
        }
    }

    /// A frame for the subnet.
    pub(super) fn serve(&mut self, script: &mut Script<'_>, conn: ConnId) -> Vec<u8> {
        let count = 1 + usize::from(script.byte().unwrap_or_default() % 6);
        let targets: Vec<SocketAddr> = (0..count).map(|_| target(script)).collect();
        let of_conn = |listed: &&Listed| listed.conn == conn;
        let earlier = self.sealing.frames.iter().filter(of_conn).count();
        let sequence = 1 + earlier as u32;
        let content = Content::Test(Test {
            nonce: self.sealing.frames.len() as u64,
        });
        let (client, key) = (ClientId([8; 16]), SessionKey([7; 32]));
        let mut bytes = vec![0; 1_024];
        let mut writer = ServeWriter::new(&mut bytes, &content);
        let mac = Fanout::new(&content).mac(client, 1, &key);
        for target in &targets {
            assert!(writer.push(*target, client, 1, mac));
        }
        let len = writer.finish(sequence).unwrap();
        bytes.truncate(len);
        self.sealing.frames.push(Listed {
            conn,
            sequence,
            targets: count,
            left: targets,
        });
        bytes
    }

    /// A datagram leaves: it was listed, was not sent before, and goes to where
    /// it may.
    pub(super) fn passed_on(&mut self, to: SocketAddr, bytes: &[u8]) {
        let place = u64::from_be_bytes(bytes[16..24].try_into().unwrap());
        let listed = &mut self.sealing.frames[place as usize];
        let at = listed.left.iter().position(|target| *target == to);
        listed
            .left
            .swap_remove(at.expect("listed, and not sent yet"));
        let IpAddr::V4(ip) = to.ip() else {
            panic!("{to} is no address of the subnet");
        };
        let prefix = self.client.settings.interfaces[0].prefix;
        let hosts = (1_u64 << (32 - prefix)) as u32 - 1;
        assert_eq!(ip.to_bits() & !hosts, OWN.to_bits() & !hosts, "{to}");
        let host = ip.to_bits() & hosts;
        assert!(hosts < 2 || host != 0 && host != hosts, "{to}");
        assert!(to.port() != 0 && to != SocketAddr::from((OWN, UDP_PORT)));
    }

    /// The client says that a frame is done: each of its datagrams was sent or
    /// refused, and so were those of all frames before it.
    pub(super) fn check_served(&self, conn: ConnId, sequence: u32, refused: u16) {
        let mut frames = self.sealing.frames.iter();
        let listed = frames.find(|it| (it.conn, it.sequence) == (conn, sequence));
        let listed = listed.expect("a frame that was sent on this connection");
        assert_eq!(
            listed.left.len(),
            usize::from(refused),
            "of {}",
            listed.targets
        );
    }
}

/// Mostly a host of the subnet.
fn target(script: &mut Script<'_>) -> SocketAddr {
    let byte = script.byte().unwrap_or_default();
    let port = u16::from(!script.one_in(16)) * UDP_PORT;
    let ip = match byte {
        0..4 => Ipv4Addr::new(10, 0, 1, byte),
        4..8 => Ipv4Addr::new(127, 0, 0, byte),
        8 => Ipv4Addr::UNSPECIFIED,
        250 => Ipv4Addr::new(224, 0, 0, 1),
        251 => return SocketAddr::new(core::net::Ipv6Addr::LOCALHOST.into(), port),
        _ => Ipv4Addr::new(10, 0, 0, byte),
    };
    SocketAddr::from((ip, port))
}
