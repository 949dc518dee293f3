//! What a pool's connections carry: questions, and their answers.

use std::collections::VecDeque;

use tautline_core::{ConnId, Output};

use super::{Line, MESSAGE_BYTES, Message, message};

/// Messages that wait to be written on a connection.
const OUT_MAX: usize = 64;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Ping,
    Pong,
    Get,
    Got,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Ping, Self::Pong, Self::Get, Self::Got];

    fn of(message: Message) -> Option<(Self, u64)> {
        let (verb, rest) = message.split_first_chunk()?;
        let figure = rest.last_chunk().copied().map(u64::from_be_bytes)?;
        let verb = Self::ALL.get(u32::from_be_bytes(*verb) as usize)?;
        Some((*verb, figure))
    }
}

/// A connection, and what is still to be written on it.
#[derive(Debug)]
pub(super) struct Talk {
    line: Line,
    out: VecDeque<Message>,
}

impl Talk {
    pub(super) fn new(conn: ConnId) -> Self {
        Self {
            line: Line::new(conn),
            out: VecDeque::new(),
        }
    }

    pub(super) fn say(&mut self, verb: Verb, figure: u64) {
        if self.out.len() < OUT_MAX {
            self.out.push_back(message(verb as u32, 0, figure));
        }
    }

    pub(super) fn set_blocked(&mut self, blocked: bool) {
        self.line.blocked = blocked;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.line.closing
    }

    /// Nothing is said any more. False if that was so already.
    pub(super) fn close(&mut self) -> bool {
        self.out.clear();
        !core::mem::replace(&mut self.line.closing, true)
    }

    /// What the bytes say, as far as it is complete.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) -> Vec<(Verb, u64)> {
        let mut heard = Vec::new();
        while !bytes.is_empty() && !self.line.closing {
            let (taken, message) = self.line.inbox.take(bytes);
            bytes = &bytes[taken..];
            heard.extend(message.and_then(Verb::of));
        }
        heard
    }

    /// Whether there is something to be written now.
    pub(super) fn is_ready(&self) -> bool {
        !self.line.blocked && !self.out.is_empty()
    }

    /// Writes one message.
    pub(super) fn write<'b, E>(&mut self, buf: &'b mut [u8]) -> Option<Output<'b, E>> {
        let message = self.out.pop_front()?;
        let (conn, bytes) = (self.line.conn, &mut buf[..MESSAGE_BYTES]);
        bytes.copy_from_slice(&message);
        Some(Output::Write { conn, bytes })
    }
}
