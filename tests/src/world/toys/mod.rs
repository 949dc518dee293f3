//! Small endpoints that prove the world: a server that keeps a journal of
//! messages and echoes those that are durable, a client that reconnects, a
//! probe that notes which addresses it sees, and a pool of connections with the
//! server that it is for.

mod client;
mod monitored;
mod pooled;
mod probe;
mod server;
mod talk;

pub use client::{Client, EchoClient, Event as ClientEvent};
pub use monitored::MonitoredServer;
pub use pooled::{Fate, PoolEvent, PooledClient};
pub use probe::{Probe, Sight};
pub use server::{EchoServer, Server};

use tautline_core::ConnId;

/// What goes over a connection: who sent it, in which life, its number.
pub type Message = [u8; MESSAGE_BYTES];

/// Bytes of a [`Message`].
pub const MESSAGE_BYTES: usize = 16;

/// The message of a client's life.
pub fn message(client: u32, life: u32, number: u64) -> Message {
    let mut message = [0; MESSAGE_BYTES];
    message[..4].copy_from_slice(&client.to_be_bytes());
    message[4..8].copy_from_slice(&life.to_be_bytes());
    message[8..].copy_from_slice(&number.to_be_bytes());
    message
}

/// Puts messages together from a stream.
#[derive(Clone, Debug, Default)]
struct Inbox {
    partial: [u8; MESSAGE_BYTES],
    filled: usize,
}

impl Inbox {
    /// Takes bytes up to the end of one message.
    fn take(&mut self, bytes: &[u8]) -> (usize, Option<Message>) {
        let taken = bytes.len().min(MESSAGE_BYTES - self.filled);
        self.partial[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if self.filled < MESSAGE_BYTES {
            return (taken, None);
        }
        self.filled = 0;
        (taken, Some(self.partial))
    }
}

/// The state that the toys keep of a connection.
#[derive(Clone, Debug)]
struct Line {
    conn: ConnId,
    inbox: Inbox,
    blocked: bool,
    closing: bool,
}

impl Line {
    fn new(conn: ConnId) -> Self {
        Self {
            conn,
            inbox: Inbox::default(),
            blocked: false,
            closing: false,
        }
    }
}
