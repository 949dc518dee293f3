//! Sans-IO state machines that keep a line to every machine of a fleet.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod backoff;
pub mod client;
pub mod collections;
pub mod http;
pub mod id;
pub mod input;
pub mod machine;
pub mod notify;
pub mod output;
pub mod pcc;
pub mod random;
pub mod registration;
pub mod relay;
pub mod time;
pub mod wire;

pub use id::{
    ClientId, ConnId, FileId, Incarnation, Key, NotificationId, ParseIdError, RequestId, Ticket,
};
pub use input::{CloseReason, ConnectError, Input, StoreError};
pub use machine::{AcceptError, Endpoint, Machine};
pub use output::{Close, Deadline, OUTPUT_BUF_MIN, Output, StoreOp};
pub use random::Random;
pub use time::{Instant, UnixTime};
