//! What the application of a relay learns.

use core::time::Duration;

use crate::heartbeat::{Advice, Lesson, Rule};
use crate::notify::{ReplyRefusal, Status};
use crate::registration::{Refusal, SubnetName};
use crate::{ClientId, ConnId, NotificationId, RequestId};

/// Something for the application. Events carry ids and small facts; what they
/// point at is read from the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A request for the application: see [`Relay::request`](super::Relay::request).
    /// Answer it with [`Relay::respond`](super::Relay::respond).
    Request {
        /// Its handle, good until `RequestOver`.
        request: RequestId,
    },
    /// Bytes of the request's body wait in [`Relay::body`](super::Relay::body).
    RequestBody {
        /// The request.
        request: RequestId,
    },
    /// The request's body is complete.
    RequestBodyEnd {
        /// The request.
        request: RequestId,
    },
    /// The streamed response has room: see [`Relay::stream`](super::Relay::stream).
    ResponsePull {
        /// The request.
        request: RequestId,
    },
    /// The request is over; the handle ends here.
    RequestOver {
        /// The request.
        request: RequestId,
        /// The status of the response, 0 if none was begun.
        status: u16,
        /// Whether it was cut short.
        aborted: bool,
    },
    /// A client registered.
    Registered {
        /// The client.
        client: ClientId,
        /// Whether the relay did not know it before.
        new: bool,
        /// Whether it was a copy of another client until now: two machines had
        /// one identity, and this one was given its own.
        cloned: bool,
    },
    /// A registration was refused.
    RegistrationRefused {
        /// The connection that it came on.
        conn: ConnId,
        /// Why.
        why: Refusal,
    },
    /// A client did not return and was forgotten.
    Forgotten {
        /// The client.
        client: ClientId,
    },
    /// A client's persistent connection is open.
    Connected {
        /// The client.
        client: ClientId,
        /// The connection.
        conn: ConnId,
    },
    /// A client's persistent connection is gone.
    Disconnected {
        /// The client.
        client: ClientId,
        /// The connection.
        conn: ConnId,
        /// Why, in one word that is fit for a log.
        why: &'static str,
    },
    /// A client's persistent connection is ended by a heartbeat;
    /// `Disconnected` follows.
    HeartbeatEnded {
        /// The client.
        client: ClientId,
        /// The connection.
        conn: ConnId,
        /// How long nothing was heard of the client, less the time that the
        /// driver was not there.
        silent_for: Duration,
        /// Which rule ends it.
        rule: Rule,
    },
    /// The figures of the heartbeats of a client and of the relay do not fit.
    /// Told when the client registers first after its start or the relay's.
    HeartbeatAdvice {
        /// The client.
        client: ClientId,
        /// What is wrong with them.
        advice: Advice,
    },
    /// Connections of a subnet kept dying idle, or do not any more: the period
    /// of their heartbeats is another one now.
    HeartbeatLearned {
        /// The subnet.
        subnet: SubnetName,
        /// The period, and why.
        lesson: Lesson,
    },
    /// A client replied.
    Replied {
        /// To what.
        notification: NotificationId,
        /// The client.
        client: ClientId,
    },
    /// A client's reply was not taken.
    ReplyRefused {
        /// To what.
        notification: NotificationId,
        /// The client.
        client: ClientId,
        /// Why.
        why: ReplyRefusal,
    },
    /// A notification came to its end.
    Expired(Status),
    /// The relay was drained: the last connection is gone.
    Drained,
}
