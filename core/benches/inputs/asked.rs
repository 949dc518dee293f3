//! Requests that a client proves.

use tautline_core::registration::Answer;
use tautline_core::wire::proof::{BodyDigest, ClientSecret, Request, Session};

/// A request without a body, by the answer to the client's first registration.
/// Each of the `headers` ends with its line; `counter` is the number of the
/// key's use, from 1 on.
pub(crate) fn asked(answer: &Answer, target: &str, headers: &str, counter: u64) -> String {
    let secret = ClientSecret(answer.secret.as_ref().expect("a secret").0);
    let key = secret.session_key(&Session {
        client: answer.client,
        registration: 1,
        incarnation: answer.incarnation(),
        nonce: answer.nonce.0,
    });
    let asked = Request {
        method: "GET",
        target,
        body: BodyDigest::of(b""),
    };
    let proof = asked.prove(&key, answer.client, counter);
    format!("GET {target} HTTP/1.1\r\nHost: relay\r\n{headers}Authorization: {proof}\r\n\r\n")
}
