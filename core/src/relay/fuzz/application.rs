//! The application behind the relay: it answers in every way there is.

use super::{FILE, World};
use crate::collections::model::Script;
use crate::http::{Misuse, Reading, ResponseBody, ResponseHead};
use crate::relay::Event;
use crate::{Key, RequestId};

impl World {
    pub(super) fn learn_of_request(&mut self, event: Event) {
        let is_open = |request: &RequestId| self.requests.contains(request);
        match event {
            Event::Request { request } => {
                assert!(!is_open(&request));
                self.requests.push(request);
            }
            // What was told of before the request was over may come behind.
            Event::RequestBody { request }
            | Event::RequestBodyEnd { request }
            | Event::ResponsePull { request } => assert!(is_open(&request)),
            Event::RequestOver { request, .. } => {
                assert!(is_open(&request));
                self.requests.retain(|open| *open != request);
            }
            other => panic!("not of a request: {other:?}"),
        }
    }

    /// One command of the application, also where it does not fit.
    pub(super) fn act(&mut self, script: &mut Script<'_>) {
        let absent = RequestId::from_key(Key::new(1, u32::MAX - 1));
        let draw = usize::from(script.byte().unwrap_or_default());
        let open = (!self.requests.is_empty()).then(|| draw % self.requests.len());
        let request = open.map_or(absent, |at| self.requests[at]);
        let (now, relay) = (self.now, &mut self.relay);
        let offset = 5;
        let done = match script.byte().unwrap_or_default() % 16 {
            0 => relay.read_body(now, request, Reading::Whole { bytes_max: 6 }),
            1 => relay.read_body(now, request, Reading::Chunks),
            2 => relay.read_body(now, request, Reading::Take { sink: FILE, offset }),
            3 => relay.consume_body(now, request),
            4 | 5 => relay.stream(now, request, &[b's'; 3_000]).map(|taken| {
                assert!(taken <= 3_000);
            }),
            6 | 7 => relay.stream_end(now, request),
            8 => relay.abort_request(now, request),
            way => {
                let body = match way {
                    9 => ResponseBody::Empty,
                    10 | 11 => ResponseBody::Bytes(b"some bytes"),
                    12 => ResponseBody::Bytes(&[b'b'; 12_500]),
                    13 => ResponseBody::Stream { len: None },
                    14 => ResponseBody::Stream { len: Some(3_500) },
                    _ => ResponseBody::File {
                        file: FILE,
                        range: 10..4_000,
                    },
                };
                let head = ResponseHead {
                    status: script.choose(&[200, 204, 304, 404, 500, 99]).unwrap_or(200),
                    headers: &[("X-Way", "any")],
                    close: script.one_in(4),
                };
                relay.respond(now, request, &head, body)
            }
        };
        if open.is_none() {
            assert_eq!(done, Err(Misuse::NoRequest));
            assert!(relay.request(request).is_none() && relay.body(request).is_none());
        }
    }

    /// Brings a request to an end, in whatever state it is.
    pub(super) fn give_up(&mut self, request: RequestId) {
        let head = ResponseHead {
            status: 200,
            headers: &[],
            close: false,
        };
        let answered = self
            .relay
            .respond(self.now, request, &head, ResponseBody::Empty);
        if answered.is_err() && self.relay.stream_end(self.now, request).is_err() {
            let _ = self.relay.abort_request(self.now, request);
        }
    }
}
