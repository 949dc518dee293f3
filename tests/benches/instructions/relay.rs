//! The relay between idle persistent connections, and a request of the
//! application.

use std::hint::black_box;

use super::exchange::HEAD;
use super::rig::{NOW, Rig};
use super::scenario::{Scenario, counted};
use tautline_core::NotificationId;
use tautline_core::notify::NotifyOptions;
use tautline_core::relay::To;
use tautline_core::wire::message::{Reply, ToRelay};
use tautline_tests::fleet;

const SIZES: &[usize] = &[1_000, 100_000];
const PAYLOAD: [u8; 64] = [b'x'; 64];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "relay/fan-out",
        unit: "connections",
        sizes: SIZES,
        run: fan_out,
    },
    Scenario {
        name: "relay/fan-out-bare-copy",
        unit: "connections",
        sizes: SIZES,
        run: bare_copy,
    },
    Scenario {
        name: "relay/reply",
        unit: "connections",
        sizes: SIZES,
        run: reply,
    },
    Scenario {
        name: "relay/request",
        unit: "connections",
        sizes: SIZES,
        run: request,
    },
];

/// Tells all something; returns its name and how many writes it took.
fn notify(rig: &mut Rig) -> (NotificationId, usize) {
    let options = NotifyOptions::default();
    let told = rig.relay.notify(NOW, To::All, &PAYLOAD, options);
    let mut writes = 0;
    rig.drain(|_| writes += 1);
    (told.expect("there is room"), writes)
}

/// A notification of 64 bytes to all, for each of them.
fn fan_out(clients: usize) -> usize {
    let (mut rig, _) = Rig::connected(clients);
    let (_, writes) = counted(|| notify(&mut rig));
    assert_eq!(writes, clients);
    writes
}

/// What a loop without a relay would do: the frame's bytes to the buffer, for
/// each connection.
fn bare_copy(connections: usize) -> usize {
    let frame = vec![0x41_u8; fleet::frame_bytes(PAYLOAD.len())];
    let mut buf = vec![0; frame.len()];
    counted(|| {
        for _ in 0..connections {
            black_box(&mut buf[..]).copy_from_slice(black_box(&frame));
        }
    });
    connections
}

/// Each client's reply of 64 bytes, and the frame that confirms it.
fn reply(clients: usize) -> usize {
    let (mut rig, conns) = Rig::connected(clients);
    let (notification, _) = notify(&mut rig);
    let reply = ToRelay::Reply(Reply {
        notification,
        payload: &PAYLOAD,
    });
    let mut frame = vec![0; reply.encoded_len()];
    reply.encode(&mut frame).expect("it fits");
    let mut confirmed = 0;
    counted(|| {
        for conn in &conns {
            rig.receive(*conn, &frame, |_| confirmed += 1);
        }
    });
    let status = rig.relay.notification(notification).expect("it lives");
    assert_eq!((status.replied as usize, confirmed), (clients, clients));
    clients
}

/// Requests of 8 fields and their responses of 64 bytes by the application, on
/// one connection among as many others, none of which has spoken.
fn request(connections: usize) -> usize {
    const OPERATIONS: usize = 1_000;
    let mut rig = Rig::new(connections);
    let conns: Vec<_> = (0..connections).map(|_| rig.accept()).collect();
    rig.drain(|_| ());
    let conn = conns[connections / 2];
    let mut writes = 0;
    let mut ask = || rig.receive(conn, HEAD, |_| writes += 1);
    // The first one takes buffers that are used again.
    ask();
    counted(|| {
        for _ in 0..OPERATIONS {
            ask();
        }
    });
    assert_eq!(writes, OPERATIONS + 1);
    OPERATIONS
}
