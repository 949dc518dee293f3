//! HTTP/1.1 for one connection each, without IO: [`Server`] and [`Client`].
//!
//! Both are strict where RFC 9112 leaves a choice: relays are chained, and
//! what one of them reads differently from the next is a way to smuggle
//! requests past it. Heads are split by [`httparse`]; everything that frames a
//! message (line ends, lengths, chunks, targets, hosts) is checked here.
//!
//! A connection shares its [`Settings`] with all others, and borrows its
//! buffers from a [`Pool`] for as long as they have
//! something in them.

mod api;
mod body;
mod buffers;
mod chunked;
mod client;
mod encode;
mod fault;
mod fields;
#[cfg(any(test, feature = "_test"))]
pub mod fuzz;
mod head;
mod octets;
mod pace;
mod pending;
pub mod problem;
mod request;
mod scan;
mod server;
mod settings;
pub mod status;
mod target;
#[cfg(test)]
mod tests;

pub use api::{BodyLength, Misuse, Reading, ResponseBody, ResponseHead, Version};
pub use client::{Client, ClientEffect, ClientError, RequestHead, Response};
pub use fault::Refusal;
pub use head::Headers;
pub use request::Request;
pub use server::{Effect, Server};
pub use settings::{HEADERS_CAP, Limits, Settings, Timeouts};

use crate::collections::Pool;
