//! HTTP/1.1 for one connection each: [`Server`] and [`Client`].

mod api;
mod client;
mod pool_shim;
mod server;
mod settings;

pub use api::{BodyLength, Misuse, Reading, ResponseBody, ResponseHead, Version};
pub use client::{Client, ClientEffect, ClientError, RequestHead, Response};
pub use pool_shim::Pool;
pub use server::{Effect, Headers, Refusal, Request, Server};
pub use settings::{HEADERS_CAP, Limits, Settings, Timeouts};
