//! The relay between idle persistent connections, and a request of the
//! application.

use std::hint::black_box;
use std::time::Duration;

use super::exchange::HEAD;
use super::rig::{NOW, Rig};
use super::scenario::{Scenario, counted};
use tautline_core::NotificationId;
use tautline_core::notify::NotifyOptions;
use tautline_core::relay::{HeartbeatSettings, To};
use tautline_core::wire::message::{Reply, ToRelay};
use tautline_tests::fleet;
use tautline_tests::idle::Idle;

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
    Scenario {
        name: "relay/probe",
        unit: "connections",
        sizes: SIZES,
        run: probe,
    },
    Scenario {
        name: "relay/probe-answer",
        unit: "connections",
        sizes: SIZES,
        run: probe_answer,
    },
    Scenario {
        name: "relay/ping",
        unit: "connections",
        sizes: SIZES,
        run: |clients| ping(clients, true),
    },
    Scenario {
        name: "relay/ping-without-heartbeats",
        unit: "connections",
        sizes: SIZES,
        run: |clients| ping(clients, false),
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

const PERIOD: Duration = Duration::from_secs(60);

/// Clients with an idle connection, and a monitor that never has to end one.
fn idle(clients: usize) -> Idle {
    let mut heartbeat = HeartbeatSettings::default();
    heartbeat.prober.period = PERIOD;
    // Nobody has to answer meanwhile.
    heartbeat.prober.response_timeout = 4 * PERIOD;
    heartbeat.heartbeat = 20 * PERIOD;
    heartbeat.frequency = PERIOD;
    let mut idle = Idle::new(clients, heartbeat);
    // As many timers as there are once.
    ask_all(&mut idle);
    idle.answer();
    idle
}

/// Wakes up as often as 16 of them are to be asked, whatever their number.
fn ask_all(idle: &mut Idle) {
    let clients = idle.conns.len();
    let step = PERIOD * 16 / clients as u32;
    while idle.asked() < clients {
        idle.pass(step);
    }
}

/// Each client is asked once.
fn probe(clients: usize) -> usize {
    let mut idle = idle(clients);
    counted(|| ask_all(&mut idle));
    clients
}

/// Each client answers.
fn probe_answer(clients: usize) -> usize {
    let mut idle = idle(clients);
    ask_all(&mut idle);
    let answers = counted(|| idle.answer());
    assert_eq!(idle.relay.stats().heartbeats.prober.ended, 0);
    answers
}

/// Each client asks, and is answered.
fn ping(clients: usize, is_watched: bool) -> usize {
    let mut idle = match is_watched {
        true => idle(clients),
        false => {
            let mut heartbeat = HeartbeatSettings::default();
            heartbeat.prober.period = Duration::ZERO;
            Idle::new(clients, heartbeat)
        }
    };
    counted(|| idle.ping())
}
