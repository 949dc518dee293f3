//! A notification in the wire's formats, for benchmarks of them.

use std::hint::black_box;

use tautline_core::collections::Pool;
use tautline_core::wire::datagram::Content;
use tautline_core::wire::frame::{self, Deframer};
use tautline_core::wire::message::Notification;
use tautline_core::wire::proof::SessionKey;
use tautline_core::{ClientId, Incarnation, NotificationId};

pub(crate) const KEY: SessionKey = SessionKey([7; 32]);
pub(crate) const CLIENT: ClientId = ClientId([3; 16]);

pub(crate) const fn notification(payload: &[u8]) -> Notification<'_> {
    Notification {
        id: NotificationId::new(Incarnation(1), 2),
        lifetime_s: 3_600,
        reply_window_ms: 1_000,
        payload,
    }
}

pub(crate) const fn content(payload: &[u8]) -> Content<'_> {
    Content::Notification(notification(payload))
}

/// Encodes a frame into `buf`, decodes it, and returns the length of its body.
pub(crate) fn frame_there_and_back(
    body: &[u8],
    buf: &mut [u8],
    deframer: &mut Deframer,
    pool: &mut Pool,
) -> usize {
    let len = frame::encode(0x41, 0, black_box(body), buf).expect("it fits");
    let mut input = black_box(&buf[..len]);
    let found = deframer.next(&mut input, 65_536, pool);
    found.expect("it is right").expect("it is whole").body.len()
}
