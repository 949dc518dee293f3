//! A head in a pooled buffer: its text, behind it the spans of its fields,
//! behind these what waits of the message's body.

use alloc::vec::Vec;

use httparse::EMPTY_HEADER;

use super::buffers::{self, release};
use super::fault::{Fault, Refusal};
use super::fields::Fields;
use super::octets;
use super::scan::{Scan, scan};
use super::{HEADERS_CAP, Limits, Pool, Version};

/// Bytes of a field's spans: where its name begins and how long it is, and
/// the same for its value, 16 bits each.
const SPAN_BYTES: usize = 8;

/// A head that is gathered, or complete.
#[derive(Debug, Default)]
pub(super) struct Head {
    buf: Vec<u8>,
    /// Length of the text, 0 until it is complete.
    text_len: u16,
    fields: u16,
    /// Heads that were complete.
    count: u32,
}

/// What became of bytes that were offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    /// All were taken, the head is not complete.
    More,
    /// So many were taken, the head is complete.
    Complete(usize),
}

impl Head {
    /// Whether nothing of a head has come but line ends.
    pub(super) fn is_blank(&self) -> bool {
        self.buf.iter().all(u8::is_ascii_whitespace)
    }

    /// How many heads were complete on this connection.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn is_complete(&self) -> bool {
        self.text_len > 0
    }

    /// The whole text, its empty line included.
    pub(super) fn text(&self) -> &[u8] {
        self.buf
            .get(..usize::from(self.text_len))
            .unwrap_or_default()
    }

    /// The fields of the complete head.
    pub(super) fn headers(&self) -> Headers<'_> {
        let end = self.body_start();
        Headers {
            text: self.text(),
            spans: self
                .buf
                .get(usize::from(self.text_len)..end)
                .unwrap_or_default(),
        }
    }

    /// The waiting bytes of the body.
    pub(super) fn body(&self) -> &[u8] {
        self.buf.get(self.body_start()..).unwrap_or_default()
    }

    pub(super) fn append_body(&mut self, bytes: &[u8], pool: &mut Pool) {
        buffers::reserve(&mut self.buf, bytes.len(), pool);
        self.buf.extend_from_slice(bytes);
    }

    pub(super) fn clear_body(&mut self) {
        self.buf.truncate(self.body_start());
    }

    pub(super) fn release(&mut self, pool: &mut Pool) {
        self.text_len = 0;
        self.fields = 0;
        release(&mut self.buf, pool);
    }

    /// Takes bytes up to the end of the head.
    pub(super) fn gather(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Gathered, Fault> {
        let before = self.buf.len();
        let room = usize::from(limits.head_bytes_max).saturating_sub(before);
        let window = bytes.get(..room).unwrap_or(bytes);
        let fields_room = usize::from(limits.headers_max) * SPAN_BYTES;
        if before == 0 {
            // Most heads come whole: they are searched where they are.
            return match scan(window, 0) {
                Scan::End(end) => {
                    let text = window.get(..end).unwrap_or_default();
                    let text = text.strip_prefix(b"\r\n").unwrap_or(text);
                    buffers::reserve(&mut self.buf, text.len() + fields_room, pool);
                    self.buf.extend_from_slice(text);
                    self.complete(end)
                }
                Scan::More if window.len() == room => Err(self.too_large(window)),
                Scan::More => {
                    buffers::reserve(&mut self.buf, window.len(), pool);
                    self.buf.extend_from_slice(window);
                    Ok(Gathered::More)
                }
                Scan::Bad => Err(BAD_BYTES),
            };
        }
        buffers::reserve(&mut self.buf, window.len() + fields_room, pool);
        self.buf.extend_from_slice(window);
        match scan(&self.buf, before) {
            Scan::End(end) => {
                self.buf.truncate(end);
                // RFC 9112 section 2.2: one empty line before a request line
                // is what some clients send behind a body.
                if self.buf.starts_with(b"\r\n") {
                    self.buf.drain(..2);
                }
                self.complete(end.saturating_sub(before))
            }
            Scan::More if window.len() == room => Err(self.too_large(&[])),
            Scan::More => Ok(Gathered::More),
            Scan::Bad => Err(BAD_BYTES),
        }
    }

    fn complete(&mut self, taken: usize) -> Result<Gathered, Fault> {
        self.text_len = u16::try_from(self.buf.len()).map_err(|_| Fault::HEAD_TOO_LARGE)?;
        self.count = self.count.saturating_add(1);
        Ok(Gathered::Complete(taken))
    }

    /// A head that does not end in time: is it the target's fault?
    fn too_large(&self, more: &[u8]) -> Fault {
        let text = if self.buf.is_empty() { more } else { &self.buf };
        let text = text.strip_prefix(b"\r\n").unwrap_or(text);
        if text.contains(&b'\n') || !text.contains(&b' ') {
            Fault::HEAD_TOO_LARGE
        } else {
            Fault::TARGET_TOO_LONG
        }
    }

    /// The first line, without its end.
    pub(super) fn first_line(&self) -> &[u8] {
        let text = self.text();
        let end = text.iter().position(|&byte| byte == b'\r');
        text.get(..end.unwrap_or(0)).unwrap_or_default()
    }

    /// Parses the fields behind a first line of that length, keeps their
    /// spans, and gathers what they say about the message.
    pub(super) fn parse_fields(
        &mut self,
        line_len: usize,
        limits: &Limits,
    ) -> Result<Fields, Fault> {
        // Most heads are short, and an array of 128 takes its time to set up.
        match self.parse_fields_upto::<24>(line_len, limits) {
            Err(Fault::TOO_MANY_FIELDS) if limits.headers_max > 24 => {
                self.parse_fields_upto::<{ HEADERS_CAP as usize }>(line_len, limits)
            }
            parsed => parsed,
        }
    }

    fn parse_fields_upto<const N: usize>(
        &mut self,
        line_len: usize,
        limits: &Limits,
    ) -> Result<Fields, Fault> {
        let text_len = usize::from(self.text_len);
        let fields_max = usize::from(limits.headers_max).min(N);
        self.buf.resize(text_len + fields_max * SPAN_BYTES, 0);
        let (text, spans) = self.buf.split_at_mut(text_len);
        let text = &*text;
        let mut headers = [EMPTY_HEADER; N];
        let lines = text.get(line_len + 2..).unwrap_or_default();
        let room = headers.get_mut(..fields_max).unwrap_or_default();
        let parsed = match httparse::parse_headers(lines, room) {
            Ok(httparse::Status::Complete((len, parsed))) if len == lines.len() => parsed,
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::TOO_MANY_FIELDS),
            _ => return Err(Fault::malformed("A header field is malformed.")),
        };
        let mut fields = Fields::default();
        for (header, span) in parsed.iter().zip(spans.chunks_exact_mut(SPAN_BYTES)) {
            fields.note(header.name, header.value)?;
            let name = offset(text, header.name.as_bytes());
            let value = offset(text, header.value);
            let numbers = [name, header.name.len(), value, header.value.len()];
            for (place, number) in span.chunks_exact_mut(2).zip(numbers) {
                place.copy_from_slice(&(number as u16).to_ne_bytes());
            }
        }
        self.fields = parsed.len() as u16;
        self.buf.truncate(self.body_start());
        Ok(fields)
    }

    fn body_start(&self) -> usize {
        usize::from(self.text_len) + usize::from(self.fields) * SPAN_BYTES
    }
}

const BAD_BYTES: Fault = Fault::malformed("A line of the head does not end with CR LF.");

/// Where `part`, a slice of `text`, begins in it; 0 for an empty one.
fn offset(text: &[u8], part: &[u8]) -> usize {
    if part.is_empty() {
        return 0;
    }
    (part.as_ptr().addr()).wrapping_sub(text.as_ptr().addr())
}

/// Reads an `HTTP-version`: RFC 9112 section 2.3.
pub(super) fn version(text: &[u8]) -> Result<Version, Fault> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Fault::unsupported(
            505,
            "No version but HTTP/1.1 and HTTP/1.0 is served.",
        )),
        _ => Err(Fault::malformed("The version is malformed.")),
    }
}

/// The parts of a request line that was taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) version: Version,
}

/// Reads a request line: three parts, one space between them.
pub(super) fn request_line<'a>(line: &'a [u8], limits: &Limits) -> Result<RequestLine<'a>, Fault> {
    const MALFORMED: Fault = Fault::malformed("The request line is malformed.");
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (Some(method), Some(target), Some(last)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(MALFORMED);
    };
    if !octets::is_token(method) || target.is_empty() {
        return Err(MALFORMED);
    }
    if target.len() > usize::from(limits.target_bytes_max) {
        return Err(Fault::TARGET_TOO_LONG);
    }
    let version = version(last)?;
    let target = match core::str::from_utf8(target) {
        Ok(target) if target.is_ascii() => target,
        _ => return Err(Fault::malformed("The target is not ASCII.")),
    };
    let method = octets::text(method);
    if method == "CONNECT" {
        return Err(Fault::unsupported(501, "CONNECT is not served."));
    }
    if method.len() > 32 {
        return Err(Fault::new(
            Refusal::Unsupported,
            501,
            "The method is not known.",
        ));
    }
    Ok(RequestLine {
        method,
        target,
        version,
    })
}

/// The header fields of a head: names and values, in the order they came.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    text: &'a [u8],
    spans: &'a [u8],
}

impl<'a> Headers<'a> {
    /// The value of the first field of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.clone()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (span, rest) = self.spans.split_first_chunk::<SPAN_BYTES>()?;
        self.spans = rest;
        let number = |at: usize| usize::from(u16::from_ne_bytes([span[at], span[at + 1]]));
        let part = |at: usize| {
            let start = number(at);
            self.text
                .get(start..start + number(at + 2))
                .unwrap_or_default()
        };
        Some((octets::text(part(0)), part(4)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let fields = self.spans.len() / SPAN_BYTES;
        (fields, Some(fields))
    }
}

impl ExactSizeIterator for Headers<'_> {}
