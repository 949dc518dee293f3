//! Requests that the application answers.

use core::net::SocketAddr;

use super::Relay;
use super::connection::{HttpConn, Role, Route};
use super::event::Event;
use crate::http::{Misuse, Reading, Request, ResponseBody, ResponseHead};
use crate::{Instant, RequestId};

/// The application's commands. A handle that is gone is [`Misuse::NoRequest`].
impl Relay {
    /// The head of a request, until it is answered.
    pub fn request(&self, request: RequestId) -> Option<Request<'_>> {
        self.serving(request)?.server.request()
    }

    /// Who sent the request, and whether TLS protects its connection.
    pub fn request_peer(&self, request: RequestId) -> Option<(SocketAddr, bool)> {
        let http = self.serving(request)?;
        Some((http.peer, http.secure))
    }

    /// Chooses how the request's body is read. A request that is answered
    /// without it has its body dropped.
    ///
    /// # Errors
    /// [`Misuse`]; nothing is changed then.
    pub fn read_body(
        &mut self,
        now: Instant,
        request: RequestId,
        reading: Reading,
    ) -> Result<(), Misuse> {
        self.command(now, request, |http, now, pool| {
            http.server.read_body(now, reading, pool)
        })
    }

    /// What came of the request's body and was not consumed.
    pub fn body(&self, request: RequestId) -> Option<&[u8]> {
        self.serving(request).map(|http| http.server.body())
    }

    /// Drops what [`body`](Self::body) shows, and makes room for more.
    ///
    /// # Errors
    /// [`Misuse`]; nothing is changed then.
    pub fn consume_body(&mut self, now: Instant, request: RequestId) -> Result<(), Misuse> {
        self.command(now, request, |http, now, _| {
            http.server.consume_body(now);
            Ok(())
        })
    }

    /// Answers the request.
    ///
    /// # Errors
    /// [`Misuse`]; nothing is changed then.
    pub fn respond(
        &mut self,
        now: Instant,
        request: RequestId,
        head: &ResponseHead<'_>,
        body: ResponseBody<'_>,
    ) -> Result<(), Misuse> {
        self.command(now, request, |http, now, pool| {
            http.server.respond(now, head, body, pool)
        })
    }

    /// Adds bytes to a streamed response; returns how many were taken. After
    /// fewer than all, [`Event::ResponsePull`] tells that there is room.
    ///
    /// # Errors
    /// [`Misuse`]; nothing is changed then.
    pub fn stream(
        &mut self,
        now: Instant,
        request: RequestId,
        bytes: &[u8],
    ) -> Result<usize, Misuse> {
        self.command(now, request, |http, now, pool| {
            Ok(http.server.stream(now, bytes, pool))
        })
    }

    /// Ends a streamed response.
    ///
    /// # Errors
    /// [`Misuse`]; nothing is changed then.
    pub fn stream_end(&mut self, now: Instant, request: RequestId) -> Result<(), Misuse> {
        self.command(now, request, |http, now, pool| {
            http.server.stream_end(now, pool)
        })
    }

    /// Gives the request's connection up, at once.
    ///
    /// # Errors
    /// [`Misuse`]; nothing is changed then.
    pub fn abort_request(&mut self, now: Instant, request: RequestId) -> Result<(), Misuse> {
        self.command(now, request, |http, _, pool| {
            http.server.abort(pool);
            Ok(())
        })
    }

    /// Ends a request's handle, and tells the application.
    pub(super) fn request_over(&mut self, route: Route, status: u16, aborted: bool) {
        if let Route::Application(request) = route
            && self.requests.remove(request.key()).is_some()
        {
            self.events.push_back(Event::RequestOver {
                request,
                status,
                aborted,
            });
        }
    }

    fn serving(&self, request: RequestId) -> Option<&HttpConn> {
        let conn = self.conns.get(self.requests.get(request.key())?.key())?;
        match &conn.role {
            Role::Http(http) => Some(http),
            Role::Line(_) | Role::Closing(_) => None,
        }
    }

    fn command<T>(
        &mut self,
        now: Instant,
        request: RequestId,
        act: impl FnOnce(&mut HttpConn, Instant, &mut crate::collections::Pool) -> Result<T, Misuse>,
    ) -> Result<T, Misuse> {
        self.advance(now);
        let id = *self.requests.get(request.key()).ok_or(Misuse::NoRequest)?;
        let conn = self.conns.get_mut(id.key()).ok_or(Misuse::NoRequest)?;
        let Role::Http(http) = &mut conn.role else {
            return Err(Misuse::NoRequest);
        };
        let done = act(http, self.now, &mut self.pool)?;
        self.touched(id);
        Ok(done)
    }
}
