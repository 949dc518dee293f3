//! Problem details: what an error says about itself, RFC 9457.

use alloc::vec::Vec;

use super::status;

/// The media type of problem details.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What the types of tautline's own problems begin with.
pub const NAMESPACE: &str = "urn:tautline:problem:";

/// The details of an error, as the body of its response.
///
/// ```
/// use tautline_core::http::problem::Problem;
///
/// let mut body = Vec::new();
/// let problem = Problem::new(404, "no-client");
/// problem.detail("No client of that \"id\".").encode(&mut body);
/// assert_eq!(
///     core::str::from_utf8(&body).unwrap(),
///     concat!(
///         r#"{"type":"urn:tautline:problem:no-client","title":"Not Found","status":404,"#,
///         r#""detail":"No client of that \"id\"."}"#
///     )
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem<'a> {
    /// What the type begins with; [`NAMESPACE`], unless it is one of an
    /// application's own.
    pub namespace: &'a str,
    /// What the type, a URI, ends with: the name of the kind of problem.
    pub name: &'a str,
    /// A summary, the same for all problems of the kind.
    pub title: &'a str,
    /// The status of the response.
    pub status: u16,
    /// What is particular to this occurrence.
    pub detail: Option<&'a str>,
}

impl<'a> Problem<'a> {
    /// A problem of this name, with the status as its summary.
    pub const fn new(status: u16, name: &'a str) -> Self {
        Self {
            namespace: NAMESPACE,
            name,
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
        body.extend_from_slice(b"{\"type\":");
        string(body, &[self.namespace, self.name]);
        body.extend_from_slice(b",\"title\":");
        string(body, &[self.title]);
        body.extend_from_slice(b",\"status\":");
        super::encode::decimal(body, u64::from(self.status));
        if let Some(detail) = self.detail {
            body.extend_from_slice(b",\"detail\":");
            string(body, &[detail]);
        }
        body.push(b'}');
    }
}

/// Appends the parts as one string.
fn string(body: &mut Vec<u8>, parts: &[&str]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    body.push(b'"');
    for byte in parts.iter().flat_map(|part| part.bytes()) {
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
            namespace: "urn:\"",
            name: text,
            title: text,
            status: 503,
            detail: Some(text),
        }
        .encode(&mut body);
        let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(value["type"], alloc::format!("urn:\"{text}"));
        assert_eq!(value["title"], text);
        assert_eq!(value["status"], 503);
        assert_eq!(value["detail"], text);
    }
}
