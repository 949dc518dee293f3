//! Sans-IO state machines that keep a line to every machine of a fleet.
//!
//! Nothing here reads a clock, opens a socket or a file, spawns, logs or draws
//! a random number. Time, bytes and the results of effects come in as
//! arguments; effects go out as values. So the same [`Relay`](relay::Relay)
//! and [`Client`](client::Client) run over mio, over blocking sockets, in a
//! simulated world of virtual time, and in the event loop of your own.
//!
//! # The drive contract
//!
//! An endpoint has one door in, one door out, and commands:
//!
//! * [`Endpoint::handle_input`] takes a fact from the world, [`Input`];
//! * [`Endpoint::poll_output`] gives the next effect, [`Output`], in a buffer
//!   of yours, until it gives [`Output::Wait`];
//! * [`Endpoint::accept`] takes a connection that you accepted; the commands
//!   of the endpoint ([`Relay::notify`](relay::Relay::notify), …) say what the
//!   application wants.
//!
//! 1. **Poll until `Wait`** after every input and command, before you sleep.
//!    You may feed inputs between two polls: while a notification goes out to
//!    all, reads are served.
//! 2. **Carry effects out in order.** An effect borrows your buffer and nothing
//!    else, so the endpoint can be called while you hold it.
//! 3. **Bytes in:** offer what you read by [`Input::Received`]. What is not
//!    taken is yours to keep; stop reading that connection and offer it again
//!    after [`Output::Resume`].
//! 4. **Bytes out:** when a write is cut short, keep the tail, say
//!    [`Input::Blocked`] before the next poll, and [`Input::Writable`] when the
//!    tail is gone. In between nothing is emitted for that connection.
//! 5. **Connections end once:** say [`Input::Closed`] exactly once for each one
//!    that was accepted or connected, whoever ended it; until then its
//!    [`ConnId`] is not given to another, so its index can index your table.
//! 6. **Storage is in order:** [`Output::Store`] and [`Output::Hash`] have
//!    rising tickets; [`Input::Stored`] is cumulative. Nothing that promises
//!    durability leaves before the ticket that it rests on came back.
//! 7. **Time:** give the latest moment of one monotonic clock to every call. At
//!    the deadline of `Wait`, say [`Input::Timeout`]; early is harmless.
//!    Random numbers come from the seed that you gave.
//!
//! A peer can not make a call fail or panic: what it does wrong is counted, or
//! ends its connection with a reason. Errors that are returned are the
//! caller's own misuse and leave the state unchanged. Every table has a limit
//! in [`relay::Limits`] or [`client::Limits`].
//!
//! # A complete loop
//!
//! It drives any endpoint over blocking sockets of the standard library, one
//! connection at a time. `runtime-std` and `runtime-mio` are the real ones.
//!
//! ```
//! use std::collections::HashMap;
//! use std::io::{Read, Write};
//! use std::net::{Shutdown, TcpListener, TcpStream};
//! use std::time::Duration;
//! use tautline_core::relay::{Limits, Relay, Settings};
//! use tautline_core::wire::proof::MasterKey;
//! use tautline_core::{
//!     Close, CloseReason, ConnId, Endpoint, Incarnation, Input, Instant, OUTPUT_BUF_MIN, Output,
//! };
//!
//! /// Carries effects out until there is nothing left to do; returns how long
//! /// to sleep at most.
//! fn drain<E: Endpoint>(
//!     endpoint: &mut E,
//!     now: impl Fn() -> Instant,
//!     sockets: &mut HashMap<ConnId, TcpStream>,
//!     mut on_event: impl FnMut(&mut E, E::Event),
//! ) -> Option<Duration> {
//!     let mut buf = [0; OUTPUT_BUF_MIN];
//!     loop {
//!         match endpoint.poll_output(&mut buf) {
//!             Output::Wait(deadline) => {
//!                 return deadline.map(|deadline| deadline.at.saturating_since(now()));
//!             }
//!             Output::Event(event) => on_event(endpoint, event),
//!             Output::Write { conn, bytes } => {
//!                 // A blocking socket writes all of it or fails, so nothing is
//!                 // ever `Blocked`.
//!                 if (&sockets[&conn]).write_all(bytes).is_err() {
//!                     sockets.remove(&conn);
//!                     let why = CloseReason::Reset;
//!                     endpoint.handle_input(now(), Input::Closed { conn, why });
//!                 }
//!             }
//!             Output::Close { conn, how } => {
//!                 if let Some(mut socket) = sockets.remove(&conn) {
//!                     if how == Close::Finish {
//!                         socket.shutdown(Shutdown::Write).ok();
//!                         socket.read_to_end(&mut Vec::new()).ok();
//!                     }
//!                     let why = CloseReason::Local;
//!                     endpoint.handle_input(now(), Input::Closed { conn, why });
//!                 }
//!             }
//!             Output::Resume { .. } => {} // all of it was taken, below
//!             // A relay asks for none of these unless its application does.
//!             Output::Connect { .. }
//!             | Output::Datagram { .. }
//!             | Output::Take { .. }
//!             | Output::SendFile { .. }
//!             | Output::Hash { .. }
//!             | Output::Store { .. } => unimplemented!(),
//!             Output::BufferTooSmall { needed } => unreachable!("{needed} bytes"),
//!         }
//!     }
//! }
//!
//! let started = std::time::Instant::now();
//! let now = || Instant::from_micros(started.elapsed().as_micros() as u64);
//! let settings = Settings::new(MasterKey([7; 32]), Incarnation(1));
//! let mut relay = Relay::new(settings, Limits::default(), [42; 32]);
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let asking = std::thread::spawn(move || {
//!     let mut socket = TcpStream::connect(address)?;
//!     socket.write_all(b"GET /v1/inbox HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")?;
//!     std::io::read_to_string(socket)
//! });
//!
//! let (socket, peer) = listener.accept()?;
//! let conn = relay.accept(now(), peer, address).expect("the table is empty");
//! let mut sockets = HashMap::from([(conn, socket)]);
//! let mut inbuf = [0; 4096];
//! while let Some(mut socket) = sockets.get(&conn) {
//!     match socket.read(&mut inbuf)? {
//!         0 => _ = relay.handle_input(now(), Input::Eof { conn }),
//!         len => {
//!             let bytes = &inbuf[..len];
//!             assert_eq!(relay.handle_input(now(), Input::Received { conn, bytes }), len);
//!         }
//!     }
//!     drain(&mut relay, now, &mut sockets, |_, event| println!("{event:?}"));
//! }
//! let answer = asking.join().expect("no panic")?;
//! assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # The rooms
//!
//! A room uses only rooms of the floors below its own.
//!
//! | floor | rooms |
//! |---|---|
//! | 4, endpoints | [`relay`], [`client`] |
//! | 3, machines | [`registration`], [`pcc`], [`notify`], [`heartbeat`], [`spool`] |
//! | 2, the wire | [`wire`], [`http`], [`backoff`], [`rate`] |
//! | 1 | [`time`], [`id`], [`random`], [`tally`], [`network`], [`input`], [`output`], [`machine`], [`collections`] |
//!
//! Each machine of floor 3 is public and useful alone; its shape is
//! [`Machine`].

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod backoff;
pub mod client;
pub mod collections;
pub mod heartbeat;
pub mod http;
pub mod id;
pub mod input;
pub mod machine;
pub mod network;
pub mod notify;
pub mod output;
pub mod pcc;
pub mod random;
pub mod rate;
pub mod registration;
pub mod relay;
pub mod spool;
pub mod tally;
pub mod time;
#[cfg(feature = "_test")]
pub mod visits;
pub mod wire;

pub use id::{
    ClientId, ConnId, FileId, Incarnation, Key, NotificationId, ParseIdError, RequestId, Ticket,
};
pub use input::{CloseReason, ConnectError, Input, StoreError};
pub use machine::{AcceptError, Endpoint, Machine};
pub use network::{Network, ParseNetworkError};
pub use output::{
    Close, Deadline, LIST_ENTRIES_MAX, OUTPUT_BUF_MIN, Output, STORE_NAME_BYTES_MAX, StoreOp,
    is_store_name,
};
pub use random::Random;
pub use tally::Tally;
pub use time::{Instant, UnixTime};
