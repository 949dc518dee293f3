//! How far each client was told.

use super::mailbox::Order;
use crate::Key;
use crate::collections::Chunks;

/// What is known of a client, by the place of its handle.
#[derive(Clone, Copy)]
pub(super) struct ClientState {
    generation: u32,
    /// The sequence of the last notification before it joined.
    pub(super) joined: u32,
    /// The sequence of the newest that it was sent.
    pub(super) sent_through: u32,
    /// The sequence of the newest that it was sent in order.
    pub(super) in_order_through: u32,
    /// Which it was sent of the last 32 up to `sent_through`, the newest in
    /// the lowest bit.
    recent: u32,
}

const _: () = assert!(size_of::<ClientState>() == 20);

impl ClientState {
    const NONE: Self = Self {
        generation: u32::MAX,
        joined: 0,
        sent_through: 0,
        in_order_through: 0,
        recent: 0,
    };

    /// Whether the client was sent the notification, as far as is remembered:
    /// the last 32 of the relay's up to the newest that it was sent.
    pub(super) const fn was_sent(&self, sequence: u32) -> bool {
        match self.sent_through.checked_sub(sequence) {
            Some(age) => age < u32::BITS && self.recent & (1 << age) != 0,
            None => false,
        }
    }

    const fn note_sent(&mut self, sequence: u32) {
        if let Some(steps) = sequence.checked_sub(self.sent_through) {
            self.recent = match self.recent.checked_shl(steps) {
                Some(recent) => recent | 1,
                None => 1,
            };
            self.sent_through = sequence;
        } else if let Some(bit) = 1_u32.checked_shl(self.sent_through - sequence) {
            self.recent |= bit;
        }
    }
}

/// A state for each client.
pub(super) struct Told {
    clients: Chunks<ClientState>,
}

impl Told {
    pub(super) const fn new(clients_max: u32) -> Self {
        Self {
            clients: Chunks::new(clients_max),
        }
    }

    pub(super) fn get(&self, client: Key) -> ClientState {
        let state = self.clients.get(client.index());
        let state = state.filter(|state| state.generation == client.generation());
        *state.unwrap_or(&ClientState::NONE)
    }

    /// A client that just joined is not told what was said before.
    pub(super) fn handle_joined(&mut self, client: Key, sequence: u32) {
        if let Some(state) = self.get_mut(client) {
            state.joined = sequence;
            state.sent_through = sequence;
            state.in_order_through = sequence;
            state.recent = 0;
        }
    }

    /// Whether it is the first time that the client is sent the notification.
    /// A way without order may be taken again, after a move to another subnet.
    pub(super) fn handle_sent(&mut self, client: Key, sequence: u32, order: Order) -> bool {
        let Some(state) = self.get_mut(client) else {
            return false;
        };
        let first = match order {
            Order::InOrder => sequence > state.sent_through,
            Order::Loose => sequence > state.in_order_through && !state.was_sent(sequence),
        };
        state.note_sent(sequence);
        if order == Order::InOrder {
            state.in_order_through = state.in_order_through.max(sequence);
        }
        first
    }

    /// The state of a client, begun anew when its place has another generation.
    fn get_mut(&mut self, client: Key) -> Option<&mut ClientState> {
        let place = u32::try_from(client.index()).ok()?;
        let state = self.clients.get_or_grow(place, ClientState::NONE)?;
        if state.generation != client.generation() {
            *state = ClientState {
                generation: client.generation(),
                ..ClientState::NONE
            };
        }
        Some(state)
    }
}
