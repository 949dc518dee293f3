//! A response's head as the application sees it.

use super::super::fault::Fault;
use super::super::head::{self, Head, Headers};
use super::super::octets::{self, VALUE};
use super::super::request::{ascii, body_length};
use super::super::{BodyLength, Limits, Version};

/// A response's head, borrowed from its connection.
#[derive(Clone, Debug)]
pub struct Response<'a> {
    status: u16,
    version: Version,
    headers: Headers<'a>,
    is_to_head: bool,
}

/// What a checked head means for its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    pub(super) status: u16,
    pub(super) body: BodyLength,
    pub(super) close: bool,
    pub(super) upgrades: bool,
}

/// Parses and checks a complete head.
pub(super) fn check(head: &mut Head, is_to_head: bool, limits: &Limits) -> Result<Meaning, Fault> {
    let line = head.first_line();
    let line_len = line.len();
    let (version, status) = status_line(line)?;
    let fields = head.parse_fields(line_len, limits)?;
    let body = fields.response_body(version, is_bodiless(status, is_to_head))?;
    if matches!(body, BodyLength::Known(bytes) if bytes > limits.body_bytes_max) {
        return Err(Fault::BODY_TOO_LARGE);
    }
    Ok(Meaning {
        status,
        body,
        close: fields.close || version == Version::Http10 || body == BodyLength::UntilClose,
        upgrades: fields.upgrade && fields.upgrade_token && version == Version::Http11,
    })
}

impl<'a> Response<'a> {
    /// The view of a head that [`check`] found in order.
    pub(super) fn view(head: &'a Head, is_to_head: bool) -> Option<Self> {
        let (version, status) = status_line(head.first_line()).ok()?;
        Some(Self {
            status,
            version,
            headers: head.headers(),
            is_to_head,
        })
    }

    /// The status: 101 or 200 to 599.
    pub fn status(&self) -> u16 {
        self.status
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
        if is_bodiless(self.status, self.is_to_head) {
            return BodyLength::None;
        }
        match body_length(&self.headers) {
            BodyLength::None if self.header("content-length").is_none() => BodyLength::UntilClose,
            length => length,
        }
    }
}

/// RFC 9112 section 6.3, the first rules.
fn is_bodiless(status: u16, is_to_head: bool) -> bool {
    is_to_head || status < 200 || matches!(status, 204 | 304)
}

/// Reads a status line. The space before a reason that is empty may be
/// missing: enough servers leave it out, and nothing hangs on it.
fn status_line(line: &[u8]) -> Result<(Version, u16), Fault> {
    const MALFORMED: Fault = Fault::malformed("The status line is malformed.");
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let version = head::version(parts.next().unwrap_or_default())?;
    let digits = parts.next().unwrap_or_default();
    let reason = parts.next().unwrap_or_default();
    let status = octets::decimal(digits).filter(|_| digits.len() == 3);
    match status {
        Some(status @ 100..=599) if octets::all(reason, VALUE) => Ok((version, status as u16)),
        _ => Err(MALFORMED),
    }
}
