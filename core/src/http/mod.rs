//! HTTP/1.1 for one connection each: [`Server`] and [`Client`].

mod api;
mod client;
mod server;
mod settings;

pub use api::{BodyLength, Misuse, Reading, ResponseBody, ResponseHead, Version};
pub use client::{Client, ClientEffect, ClientError, RequestHead, Response};
use crate::collections::Pool;
pub use server::{Effect, Headers, Refusal, Request, Server};
pub use settings::{HEADERS_CAP, Limits, Settings, Timeouts};
