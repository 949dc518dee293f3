//! The shape of every machine, inside and outside.

use core::net::SocketAddr;

use crate::{ConnId, Input, Instant, Output};

/// A machine of one concern: it is fed by its own `handle_*` methods and
/// driven by these three.
///
/// After every `handle_*` or command, call [`poll`](Self::poll) until it
/// returns `None`, then look at [`poll_timeout`](Self::poll_timeout).
pub trait Machine {
    /// What it wants done.
    type Effect;

    /// When it wants [`handle_timeout`](Self::handle_timeout) called. It may
    /// change with every call of a `&mut self` method.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Time has come to `now`. Early calls change nothing.
    fn handle_timeout(&mut self, now: Instant);

    /// The next effect, `None` when there is none left.
    fn poll(&mut self) -> Option<Self::Effect>;
}

/// What a driver runs: [`Relay`](crate::relay::Relay) and
/// [`Client`](crate::client::Client), or a machine of an embedder's own.
///
/// [The crate's front page](crate) states the contract and shows a loop.
pub trait Endpoint {
    /// What the application learns.
    type Event;

    /// Tells a fact from the world; returns how many bytes of an
    /// [`Input::Received`] were taken, else 0.
    ///
    /// Time that goes backwards is ignored and counted. No fact makes it
    /// panic or fail: what a peer does wrong is counted, or ends its
    /// connection.
    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize;

    /// The next effect. The driver calls it until it returns
    /// [`Output::Wait`]; it may feed inputs in between.
    fn poll_output<'b>(&mut self, buf: &'b mut [u8]) -> Output<'b, Self::Event>;

    /// Whether [`accept`](Self::accept) would take a connection now. A driver
    /// asks before it accepts, and leaves the connection in the system's
    /// backlog otherwise: there it waits until another one closes.
    fn has_room(&self) -> bool {
        true
    }

    /// Takes a connection that the driver accepted.
    ///
    /// # Errors
    /// [`AcceptError`] when the endpoint takes no more; the driver closes it.
    fn accept(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Result<ConnId, AcceptError>;
}

/// Why an endpoint does not take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The table of connections is full.
    #[error("the table of connections is full")]
    Full,
    /// The endpoint is draining.
    #[error("the endpoint is shutting down")]
    Draining,
    /// The endpoint serves no connections.
    #[error("the endpoint does not listen")]
    NotListening,
}

#[cfg(test)]
pub(crate) mod rig;
