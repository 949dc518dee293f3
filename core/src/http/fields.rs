//! What the header fields of a head say about its message: where the body
//! ends and whether the connection goes on. RFC 9112 sections 6 and 9.

use super::fault::{Fault, Refusal};
use super::octets;
use super::target;
use super::{BodyLength, Version};

/// The fields that frame a message, gathered over one head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    content_length: Option<u64>,
    transfer: Option<Transfer>,
    pub(super) hosts: u8,
    pub(super) close: bool,
    pub(super) upgrade_token: bool,
    pub(super) upgrade: bool,
    pub(super) expects_continue: bool,
    expects_other: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    /// `chunked` and nothing else.
    Chunked,
    /// Other codings, and `chunked` once, at the end.
    Coded,
    /// Anything else.
    Wrong,
}

impl Fields {
    /// Takes note of one field.
    pub(super) fn note(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => {
                self.hosts = self.hosts.saturating_add(1);
                if !target::is_host(value) {
                    return Err(Fault::malformed("The Host is malformed."));
                }
            }
            6 if name.eq_ignore_ascii_case("expect") => {
                let is_continue = value.eq_ignore_ascii_case(b"100-continue");
                self.expects_continue |= is_continue;
                self.expects_other |= !is_continue;
            }
            7 if name.eq_ignore_ascii_case("upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case("connection") => self.connection(value)?,
            14 if name.eq_ignore_ascii_case("content-length") => {
                // One field with one number: a list of equal ones would be
                // allowed, and is what a smuggler needs (RFC 9112 section 6.3).
                if self.content_length.is_some() {
                    return Err(Fault::malformed("There are two Content-Length fields."));
                }
                let length = octets::decimal(value)
                    .ok_or(Fault::malformed("The Content-Length is not a number."))?;
                self.content_length = Some(length);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.transfer = Some(match self.transfer {
                    None => transfer(value),
                    Some(_) => Transfer::Wrong,
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Fault> {
        for item in list(value).filter(|item| !item.is_empty()) {
            if !octets::is_token(item) {
                return Err(Fault::malformed("The Connection field is malformed."));
            }
            self.close |= item.eq_ignore_ascii_case(b"close");
            self.upgrade_token |= item.eq_ignore_ascii_case(b"upgrade");
        }
        Ok(())
    }

    /// Whether the `Host` is as RFC 9112 section 3.2 wants it: one, which
    /// HTTP/1.0 may leave out.
    pub(super) fn check_host(&self, version: Version) -> Result<(), Fault> {
        match (self.hosts, version) {
            (1, _) | (0, Version::Http10) => Ok(()),
            (0, Version::Http11) => Err(Fault::malformed("There is no Host field.")),
            _ => Err(Fault::malformed("There are two Host fields.")),
        }
    }

    /// Whether all that is expected can be met.
    pub(super) fn check_expectation(&self) -> Result<(), Fault> {
        if self.expects_other {
            return Err(Fault::new(
                Refusal::Expectation,
                417,
                "Nothing but 100-continue can be expected.",
            ));
        }
        Ok(())
    }

    /// How long a request's body is: RFC 9112 section 6.3, strictly.
    pub(super) fn request_body(&self, version: Version) -> Result<BodyLength, Fault> {
        match self.framed(version)? {
            BodyLength::UntilClose => Ok(BodyLength::None),
            framed => Ok(framed),
        }
    }

    /// How long a response's body is. `bodiless` says that the status, or the
    /// request's method, rules a body out.
    pub(super) fn response_body(
        &self,
        version: Version,
        bodiless: bool,
    ) -> Result<BodyLength, Fault> {
        let framed = self.framed(version)?;
        Ok(if bodiless { BodyLength::None } else { framed })
    }

    fn framed(&self, version: Version) -> Result<BodyLength, Fault> {
        match (self.transfer, self.content_length) {
            (None, None) => Ok(BodyLength::UntilClose),
            (None, Some(0)) => Ok(BodyLength::None),
            (None, Some(length)) => Ok(BodyLength::Known(length)),
            (Some(_), Some(_)) => Err(Fault::malformed(
                "There are both a Content-Length and a Transfer-Encoding.",
            )),
            (Some(_), None) if version == Version::Http10 => {
                Err(Fault::malformed("HTTP/1.0 has no Transfer-Encoding."))
            }
            (Some(Transfer::Chunked), None) => Ok(BodyLength::Chunked),
            (Some(Transfer::Coded), None) => Err(Fault::unsupported(
                501,
                "No transfer coding but chunked is served.",
            )),
            (Some(Transfer::Wrong), None) => Err(Fault::malformed(
                "The Transfer-Encoding does not end with one chunked.",
            )),
        }
    }
}

/// The items of a comma-separated list, without the white space around them.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn transfer(value: &[u8]) -> Transfer {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Transfer::Chunked;
    }
    let is_chunked = |item: &[u8]| item.eq_ignore_ascii_case(b"chunked");
    let codings = list(value).all(octets::is_token);
    let once = list(value).filter(|item| is_chunked(item)).count() == 1;
    if codings && once && list(value).last().is_some_and(is_chunked) {
        Transfer::Coded
    } else {
        Transfer::Wrong
    }
}
