//! What runs on a node.

use core::any::Any;
use core::fmt::Debug;
use std::net::SocketAddr;

use tautline_core::{AcceptError, ConnId, Endpoint, Input, Instant, Output, UnixTime};

use super::NodeId;

/// An endpoint and the application on top of it.
pub trait App: 'static {
    /// The endpoint.
    type Endpoint: Endpoint<Event: Debug>;

    /// The endpoint, for the driver.
    fn endpoint(&mut self) -> &mut Self::Endpoint;

    /// Hears an event; it may give commands to the endpoint.
    fn on_event(&mut self, now: Instant, event: <Self::Endpoint as Endpoint>::Event);

    /// Whether the process ends by itself, because it cannot go on. Who keeps
    /// it running starts it again after a second.
    fn exits(&self) -> bool {
        false
    }
}

/// What a node knows when it starts.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The node.
    pub node: NodeId,
    /// Random bytes of its own, others in each life.
    pub seed: [u8; 32],
    /// Which life this is, from 1.
    pub life: u32,
    /// The monotonic clock.
    pub now: Instant,
    /// The wall clock.
    pub wall: UnixTime,
    /// Its own address, with the port for datagrams. Behind a site it is the
    /// private one.
    pub address: SocketAddr,
}

/// An [`App`] without its types.
pub(super) trait Running: Any {
    fn tell(&mut self, now: Instant, input: Input<'_>) -> usize;

    fn accept(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Result<ConnId, AcceptError>;

    fn exits(&self) -> bool;

    /// Polls once; an event is shown to `trace` and handled on the way.
    fn poll<'b>(
        &mut self,
        now: Instant,
        buf: &'b mut [u8],
        trace: &mut dyn FnMut(&dyn Debug),
    ) -> Output<'b, ()>;
}

impl<A: App> Running for A {
    fn tell(&mut self, now: Instant, input: Input<'_>) -> usize {
        self.endpoint().handle_input(now, input)
    }

    fn accept(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Result<ConnId, AcceptError> {
        self.endpoint().accept(now, peer, local)
    }

    fn exits(&self) -> bool {
        App::exits(self)
    }

    fn poll<'b>(
        &mut self,
        now: Instant,
        buf: &'b mut [u8],
        trace: &mut dyn FnMut(&dyn Debug),
    ) -> Output<'b, ()> {
        match self.endpoint().poll_output(buf) {
            Output::Event(event) => {
                trace(&event);
                self.on_event(now, event);
                Output::Event(())
            }
            Output::Write { conn, bytes } => Output::Write { conn, bytes },
            Output::Resume { conn } => Output::Resume { conn },
            Output::Connect {
                conn,
                host,
                port,
                tls,
            } => Output::Connect {
                conn,
                host,
                port,
                tls,
            },
            Output::Close { conn, how } => Output::Close { conn, how },
            Output::Take {
                conn,
                sink,
                offset,
                len,
            } => Output::Take {
                conn,
                sink,
                offset,
                len,
            },
            Output::SendFile { conn, file, range } => Output::SendFile { conn, file, range },
            Output::Datagram { to, bytes } => Output::Datagram { to, bytes },
            Output::Hash {
                ticket,
                file,
                range,
            } => Output::Hash {
                ticket,
                file,
                range,
            },
            Output::Store { ticket, op } => Output::Store { ticket, op },
            Output::Wait(deadline) => Output::Wait(deadline),
            Output::BufferTooSmall { needed } => Output::BufferTooSmall { needed },
        }
    }
}
