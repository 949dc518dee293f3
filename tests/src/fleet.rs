//! A large fleet, without an endpoint for each client: what they send, a relay
//! daemon that serves them, and their ends of the connections.

// What the benchmarks of core use too, which can not depend on this crate.
#[path = "../../core/benches/inputs/asked.rs"]
mod asking;
#[cfg(target_os = "linux")]
mod peers;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod relay;

use tautline_core::NotificationId;
use tautline_core::registration::{Interface, Request as Registration, body};
use tautline_core::wire::message::{Notification, ToClient};

#[cfg(target_os = "linux")]
pub use peers::Peers;
#[cfg(target_os = "linux")]
pub use process::Process;
#[cfg(target_os = "linux")]
pub use relay::{Relay, connect_from};

/// The body of a client's first registration; `udp_port` 0 takes no datagrams.
pub fn registration(place: usize, udp_port: u16) -> String {
    let registration = Registration {
        protocol: body::PROTOCOL,
        client: None,
        registration: 1,
        hostname: format!("host-{place:010}").into(),
        interfaces: vec![Interface {
            address: [10, 0, 0, 1].into(),
            prefix: 24,
        }],
        udp_port,
        persistent_connection: true,
        local: None,
        instance: None,
        heartbeat: None,
    };
    serde_json::to_string(&registration).expect("it is text")
}

/// The request that opens the persistent connection of a client, by the body
/// of the answer to its first registration; the second use of its key.
///
/// # Panics
/// When that is no such answer.
pub fn upgrade(answer: &str) -> String {
    let headers = "Connection: Upgrade\r\nUpgrade: tautline\r\n";
    asked(answer, "/v1/connect", headers, 2)
}

/// A request for the inbox of a client, by the body of the answer to its first
/// registration; the first use of its key.
///
/// # Panics
/// When that is no such answer.
pub fn inbox(answer: &str) -> String {
    asked(answer, "/v1/inbox", "", 1)
}

fn asked(answer: &str, target: &str, headers: &str, counter: u64) -> String {
    let answer = serde_json::from_str(answer).expect("an answer");
    asking::asked(&answer, target, headers, counter)
}

/// A request in one piece; each of the `headers` ends with its line.
pub fn request(method: &str, target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: relay\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// The length of the frame that carries a payload of so many bytes.
pub fn frame_bytes(payload_bytes: usize) -> usize {
    let notification = Notification {
        id: NotificationId(0),
        lifetime_s: 0,
        reply_window_ms: 0,
        payload: &vec![0; payload_bytes],
    };
    ToClient::Notification(notification).encoded_len()
}
