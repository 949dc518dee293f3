//! Writing heads.

use alloc::vec::Vec;

use super::octets::{self, VALUE};
use super::{Misuse, status};

/// How a message's body is told in its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Not at all: the message has none, or it ends with the connection.
    Silent,
    Length(u64),
    Chunked,
}

/// What a head says in `Connection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// Nothing: the connection goes on.
    Open,
    Close,
    Upgrade,
}

/// Checks names and values that an application wants to send. A CR or LF in
/// one would end the head, or begin another message.
pub(super) fn check_headers(headers: &[(&str, &str)]) -> Result<(), Misuse> {
    for (name, value) in headers {
        if !octets::is_token(name.as_bytes()) || is_managed(name) {
            return Err(Misuse::HeaderName);
        }
        if !octets::all(value.as_bytes(), VALUE) {
            return Err(Misuse::HeaderValue);
        }
    }
    Ok(())
}

fn is_managed(name: &str) -> bool {
    ["content-length", "transfer-encoding", "connection"]
        .iter()
        .any(|managed| name.eq_ignore_ascii_case(managed))
}

/// No fewer bytes than a response's head takes.
pub(super) fn head_bytes(headers: &[(&str, &str)]) -> usize {
    // The status line with the longest reason, a length and a Connection.
    const FIXED: usize = 160;
    headers.iter().fold(FIXED, |bytes, (name, value)| {
        bytes
            .saturating_add(name.len())
            .saturating_add(value.len())
            .saturating_add(4)
    })
}

/// Appends a response's head.
pub(super) fn response_head(
    out: &mut Vec<u8>,
    code: u16,
    headers: &[(&str, &str)],
    framing: Framing,
    persistence: Persistence,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(code));
    out.push(b' ');
    out.extend_from_slice(status::reason(code).as_bytes());
    out.extend_from_slice(b"\r\n");
    fields(out, headers, framing, persistence);
}

/// Appends a request's head; the rest as for a response.
pub(super) fn request_line(out: &mut Vec<u8>, method: &str, target: &str, host: &str) {
    for part in [method, " ", target, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends the fields and the empty line.
pub(super) fn fields(
    out: &mut Vec<u8>,
    headers: &[(&str, &str)],
    framing: Framing,
    persistence: Persistence,
) {
    for (name, value) in headers {
        field(out, name, value);
    }
    match framing {
        Framing::Silent => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    match persistence {
        Persistence::Open => {}
        Persistence::Close => out.extend_from_slice(b"Connection: close\r\n"),
        Persistence::Upgrade => out.extend_from_slice(b"Connection: Upgrade\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one field.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends a decimal number.
pub(super) fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + (value % 10) as u8);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Bytes around the data of a chunk, no fewer than it takes: size, line ends.
pub(super) const CHUNK_OVERHEAD: usize = 8 + 4;

/// The chunk that ends a body.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends a chunk; `data` is never empty and shorter than 4 GiB.
pub(super) fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    let digits = (64 - (data.len() as u64).leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let digit = (data.len() as u64 >> (4 * place)) & 15;
        out.push(b"0123456789abcdef"[digit as usize]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for value in [0, 9, 10, 4_096, u64::MAX] {
            let mut out = Vec::new();
            decimal(&mut out, value);
            assert_eq!(String::from_utf8(out).expect("text"), format!("{value}"));
        }
        for len in [1, 15, 16, 255, 256, 65_535, 70_000] {
            let mut out = Vec::new();
            chunk(&mut out, &alloc::vec![b'x'; len]);
            assert!(out.starts_with(format!("{len:x}\r\nx").as_bytes()), "{len}");
            assert!(out.len() <= len + CHUNK_OVERHEAD);
        }
    }

    #[test]
    fn a_head_is_no_longer_than_its_bound() {
        let headers = [("Content-Type", "text/plain"), ("X", "")];
        for code in 200..600 {
            let mut out = Vec::new();
            response_head(
                &mut out,
                code,
                &headers,
                Framing::Length(u64::MAX),
                Persistence::Upgrade,
            );
            assert!(out.len() <= head_bytes(&headers));
        }
    }

    #[test]
    fn headers_that_would_split_a_message_are_misuse() {
        for name in [
            "",
            "a b",
            "a:",
            "a\r\n",
            "Content-LENGTH",
            "connection",
            "Transfer-Encoding",
        ] {
            assert_eq!(
                check_headers(&[(name, "")]),
                Err(Misuse::HeaderName),
                "{name}"
            );
        }
        for value in ["a\rb", "a\nb", "a\0b", "\x7f", "\u{1}"] {
            assert_eq!(check_headers(&[("a", value)]), Err(Misuse::HeaderValue));
        }
        assert_eq!(
            check_headers(&[("a", "b\tc é"), ("Set-Cookie", "")]),
            Ok(())
        );
    }
}
