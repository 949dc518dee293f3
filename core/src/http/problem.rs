//! Problem details: what an error says about itself, RFC 9457.

use alloc::vec::Vec;

use super::status;

/// The media type of problem details.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The details of an error, as the body of its response.
///
/// ```
/// use tautline_core::http::problem::Problem;
///
/// let mut body = Vec::new();
/// Problem::new(404).detail("No client of that \"id\".").encode(&mut body);
/// assert_eq!(
///     core::str::from_utf8(&body).unwrap(),
///     r#"{"title":"Not Found","status":404,"detail":"No client of that \"id\"."}"#
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem<'a> {
    /// A URI that names the kind of problem; without it, it is
    /// `about:blank`: the status says it all.
    pub kind: Option<&'a str>,
    /// A summary, the same for all problems of the kind.
    pub title: &'a str,
    /// The status of the response.
    pub status: u16,
    /// What is particular to this occurrence.
    pub detail: Option<&'a str>,
}

impl<'a> Problem<'a> {
    /// The problem that the status itself states.
    pub const fn new(status: u16) -> Self {
        Self {
            kind: None,
            title: status::reason(status),
            status,
            detail: None,
        }
    }

    /// With what is particular to this occurrence.
    pub const fn detail(self, detail: &'a str) -> Self {
        Self {
            detail: Some(detail),
            ..self
        }
    }

    /// Appends the JSON object.
    pub fn encode(&self, body: &mut Vec<u8>) {
        body.push(b'{');
        if let Some(kind) = self.kind {
            body.extend_from_slice(b"\"type\":");
            string(body, kind);
            body.push(b',');
        }
        body.extend_from_slice(b"\"title\":");
        string(body, self.title);
        body.extend_from_slice(b",\"status\":");
        super::encode::decimal(body, u64::from(self.status));
        if let Some(detail) = self.detail {
            body.extend_from_slice(b",\"detail\":");
            string(body, detail);
        }
        body.push(b'}');
    }
}

fn string(body: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    body.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => body.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                body.extend_from_slice(b"\\u00");
                body.push(HEX[usize::from(byte >> 4)]);
                body.push(HEX[usize::from(byte & 15)]);
            }
            _ => body.push(byte),
        }
    }
    body.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_valid_json() {
        let text = "a\"b\\c\n\u{1}\u{7f}é";
        let mut body = Vec::new();
        Problem {
            kind: Some("urn:x"),
            title: text,
            status: 503,
            detail: Some(text),
        }
        .encode(&mut body);
        let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(value["type"], "urn:x");
        assert_eq!(value["title"], text);
        assert_eq!(value["status"], 503);
        assert_eq!(value["detail"], text);
    }
}
