//! A request's head as the application sees it.

use super::fault::Fault;
use super::fields::{self, Fields};
use super::head::{self, Head, Headers};
use super::{BodyLength, Limits, Version};
use super::{octets, target};

/// A request's head, borrowed from its connection.
///
/// Everything was checked: the method is a token, path and query have only
/// characters that a URI may have and whole percent-escapes, the host is a
/// name or an address with an optional port.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    parts: target::Target<'a>,
    version: Version,
    headers: Headers<'a>,
}

/// What a checked head means for its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    pub(super) version: Version,
    pub(super) body: BodyLength,
    pub(super) is_head: bool,
    pub(super) close: bool,
    pub(super) expects_continue: bool,
}

/// Parses and checks a complete head.
pub(super) fn check(head: &mut Head, limits: &Limits) -> Result<Meaning, Fault> {
    let line = head.first_line();
    let line_len = line.len();
    let request = head::request_line(line, limits)?;
    let version = request.version;
    let is_head = request.method == "HEAD";
    target::parse(request.method, request.target)?;
    let fields: Fields = head.parse_fields(line_len, limits)?;
    fields.check_host(version)?;
    let body = fields.request_body(version)?;
    fields.check_expectation()?;
    if matches!(body, BodyLength::Known(bytes) if bytes > limits.body_bytes_max) {
        return Err(Fault::BODY_TOO_LARGE);
    }
    let is_11 = version == Version::Http11;
    Ok(Meaning {
        version,
        body,
        is_head,
        close: fields.close || !is_11,
        expects_continue: fields.expects_continue && is_11 && body != BodyLength::None,
    })
}

impl<'a> Request<'a> {
    /// The view of a head that [`check`] found in order.
    pub(super) fn view(head: &'a Head) -> Option<Self> {
        let mut words = octets::text(head.first_line()).split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        Some(Self {
            method,
            target,
            parts: target::parts(method, target)?,
            version: head::version(version.as_bytes()).ok()?,
            headers: head.headers(),
        })
    }

    /// The method, a token; methods are case-sensitive.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The target as it was sent.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The target's path, still percent-encoded: it begins with `/`, or is
    /// `*`.
    pub fn path(&self) -> &'a str {
        self.parts.path
    }

    /// What follows the first `?` of the target, still percent-encoded.
    pub fn query(&self) -> Option<&'a str> {
        self.parts.query
    }

    /// The host that is asked for, with its port: from a target in absolute
    /// form, else from `Host` (RFC 9112 section 3.2.2).
    pub fn host(&self) -> Option<&'a str> {
        self.parts.authority.or_else(|| self.header_str("host"))
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The header fields in the order they came.
    pub fn headers(&self) -> Headers<'a> {
        self.headers.clone()
    }

    /// The value of the first field of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.get(name)
    }

    /// As [`header`](Self::header), if the value is ASCII text.
    pub fn header_str(&self, name: &str) -> Option<&'a str> {
        ascii(self.header(name)?)
    }

    /// How long the body is.
    pub fn body(&self) -> BodyLength {
        body_length(&self.headers)
    }

    /// Whether the peer waits for a 100 before it sends the body. The machine
    /// sends it when the body is read.
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11
            && self.body() != BodyLength::None
            && self.header("expect").is_some()
    }

    /// Whether the peer offers to go on with that protocol, its name in any
    /// case (RFC 9110 section 7.8).
    pub fn wants_upgrade(&self, protocol: &str) -> bool {
        let has = |name, item: &str| {
            self.headers()
                .filter(|(found, _)| found.eq_ignore_ascii_case(name))
                .flat_map(|(_, value)| fields::list(value))
                .any(|found| found.eq_ignore_ascii_case(item.as_bytes()))
        };
        self.version == Version::Http11 && has("connection", "upgrade") && has("upgrade", protocol)
    }
}

/// The value if it is ASCII text.
pub(super) fn ascii(value: &[u8]) -> Option<&str> {
    core::str::from_utf8(value)
        .ok()
        .filter(|text| text.is_ascii())
}

/// How the fields of a checked head frame its body.
pub(super) fn body_length(headers: &Headers<'_>) -> BodyLength {
    if headers.get("transfer-encoding").is_some() {
        return BodyLength::Chunked;
    }
    match headers.get("content-length").and_then(octets::decimal) {
        None | Some(0) => BodyLength::None,
        Some(bytes) => BodyLength::Known(bytes),
    }
}
