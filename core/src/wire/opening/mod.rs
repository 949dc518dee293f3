//! What a TCP connection speaks, told by its first bytes.
//!
//! The PROXY protocol is that of HAProxy's `proxy-protocol.txt`, versions 1
//! and 2, read strictly. Whoever connects can send such a header: it may only
//! be believed from addresses that the configuration names.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use super::cursor::{Reader, Truncated};

/// The longest header of PROXY protocol version 1, in bytes.
pub const PROXY_V1_BYTES_MAX: usize = 107;

/// The longest header of PROXY protocol version 2 that is taken, in bytes. Its
/// addresses need 52; the rest is for the proxy's own fields, which are
/// skipped.
pub const PROXY_V2_BYTES_MAX: usize = 1_024;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It can not be told yet. At most [`PROXY_V2_BYTES_MAX`] bytes decide.
    NeedMore,
    /// HTTP/1, or what claims to be; nothing is to be skipped.
    Http,
    /// A TLS record with a handshake; nothing is to be skipped.
    Tls,
    /// A PROXY protocol header. What follows it is to be told anew.
    Proxy(ProxyHeader),
    /// The start of a PROXY protocol header, and then a fault.
    BadProxy,
    /// Nothing of these.
    Unknown,
}

/// A whole PROXY protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// 1 or 2.
    pub version: u8,
    /// The length of the header, to be skipped, in bytes.
    pub header_bytes: usize,
    /// Whose connection it is; `None` if the proxy speaks for itself or does
    /// not know, and the connection's own addresses count.
    pub addresses: Option<ProxyAddresses>,
}

/// The ends of the connection that the proxy forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyAddresses {
    /// Who connected to the proxy.
    pub source: SocketAddr,
    /// Where that connection went.
    pub destination: SocketAddr,
}

/// Tells what a connection speaks by the first bytes it brought. More bytes
/// never change an answer other than [`Opening::NeedMore`].
///
/// ```
/// use tautline_core::wire::opening::{Opening, detect};
///
/// assert_eq!(detect(b"P"), Opening::NeedMore);
/// assert_eq!(detect(b"POST / HTTP/1.1\r\n"), Opening::Http);
/// assert_eq!(detect(&[0x16, 0x03, 0x01]), Opening::Tls);
/// let Opening::Proxy(proxy) = detect(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\nGET") else {
///     panic!()
/// };
/// assert_eq!(proxy.header_bytes, 41);
/// ```
pub fn detect(bytes: &[u8]) -> Opening {
    let judged = match bytes {
        [] => return Opening::NeedMore,
        [b'P', ..] if is_prefixed(bytes, V1_PREFIX) => detect_proxy_v1(bytes),
        [b'\r', ..] if is_prefixed(bytes, V2_SIGNATURE) => detect_proxy_v2(bytes),
        [0x16, rest @ ..] => return detect_tls(rest),
        // RFC 9112 section 2.2: an empty line may stand before a request.
        [b'\r', b'\n', rest @ ..] | rest => return detect_http(rest),
    };
    match judged {
        Ok(header) => Opening::Proxy(header),
        Err(Fault::NeedMore) => Opening::NeedMore,
        Err(Fault::Bad) => Opening::BadProxy,
    }
}

const V1_PREFIX: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Why there is no PROXY protocol header.
enum Fault {
    NeedMore,
    Bad,
}

impl From<Truncated> for Fault {
    fn from(_: Truncated) -> Self {
        Self::Bad
    }
}

/// Whether the bytes start with the prefix, as far as they go.
fn is_prefixed(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes
        .iter()
        .zip(prefix)
        .all(|(byte, wanted)| byte == wanted)
}

fn detect_tls(rest: &[u8]) -> Opening {
    match rest {
        // RFC 8446 section 5.1: the record's version, which is history.
        [] | [0x03] => Opening::NeedMore,
        [0x03, 0x00..=0x04, ..] => Opening::Tls,
        _ => Opening::Unknown,
    }
}

fn detect_http(rest: &[u8]) -> Opening {
    match rest.first() {
        None => Opening::NeedMore,
        // RFC 9110 section 9.1: a method is a token; all that are registered
        // are of letters and dashes.
        Some(b'A'..=b'Z' | b'a'..=b'z') => Opening::Http,
        Some(_) => Opening::Unknown,
    }
}

fn detect_proxy_v1(bytes: &[u8]) -> Result<ProxyHeader, Fault> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        let lone_return = bytes
            .split_last()
            .is_some_and(|(_, line)| line.contains(&b'\r'));
        let full = bytes.len() >= PROXY_V1_BYTES_MAX;
        return Err(if full || lone_return {
            Fault::Bad
        } else {
            Fault::NeedMore
        });
    };
    let header_bytes = end + 1;
    if header_bytes > PROXY_V1_BYTES_MAX {
        return Err(Fault::Bad);
    }
    let line = bytes
        .get(V1_PREFIX.len()..end)
        .and_then(|line| line.strip_suffix(b"\r"));
    let line = line
        .and_then(|line| core::str::from_utf8(line).ok())
        .ok_or(Fault::Bad)?;
    Ok(ProxyHeader {
        version: 1,
        header_bytes,
        addresses: parse_v1(line).ok_or(Fault::Bad)?,
    })
}

/// What stands between `PROXY ` and the line's end.
fn parse_v1(line: &str) -> Option<Option<ProxyAddresses>> {
    if line.contains('\r') {
        return None;
    }
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    match family {
        "UNKNOWN" => Some(None),
        "TCP4" => parse_v1_addresses::<Ipv4Addr>(rest).map(Some),
        "TCP6" => parse_v1_addresses::<Ipv6Addr>(rest).map(Some),
        _ => None,
    }
}

fn parse_v1_addresses<A: FromStr + Into<IpAddr>>(rest: &str) -> Option<ProxyAddresses> {
    let mut words = rest.split(' ');
    let source: A = words.next()?.parse().ok()?;
    let destination: A = words.next()?.parse().ok()?;
    let source_port = parse_port(words.next()?)?;
    let destination_port = parse_port(words.next()?)?;
    words.next().is_none().then_some(ProxyAddresses {
        source: SocketAddr::new(source.into(), source_port),
        destination: SocketAddr::new(destination.into(), destination_port),
    })
}

/// A decimal number without a sign or leading zeros.
fn parse_port(word: &str) -> Option<u16> {
    if word.is_empty() || (word.len() > 1 && word.starts_with('0')) {
        return None;
    }
    word.bytes().try_fold(0_u16, |port, byte| {
        let digit = char::from(byte).to_digit(10)?;
        port.checked_mul(10)?
            .checked_add(u16::try_from(digit).ok()?)
    })
}

fn detect_proxy_v2(bytes: &[u8]) -> Result<ProxyHeader, Fault> {
    let Some((_, [command, family, l0, l1, rest @ ..])) =
        bytes.split_at_checked(V2_SIGNATURE.len())
    else {
        return Err(Fault::NeedMore);
    };
    let rest_bytes = usize::from(u16::from_be_bytes([*l0, *l1]));
    let header_bytes = bytes.len() - rest.len() + rest_bytes;
    if header_bytes > PROXY_V2_BYTES_MAX {
        return Err(Fault::Bad);
    }
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Fault::Bad),
    };
    let rest = rest.get(..rest_bytes).ok_or(Fault::NeedMore)?;
    // A proxy that speaks for itself: what it states is to be discarded.
    let addresses = if local {
        None
    } else {
        parse_v2(*family, Reader::new(rest))?
    };
    Ok(ProxyHeader {
        version: 2,
        header_bytes,
        addresses,
    })
}

fn parse_v2(family: u8, mut rest: Reader<'_>) -> Result<Option<ProxyAddresses>, Fault> {
    let (source, destination): (IpAddr, IpAddr) = match family {
        0x00 => return Ok(None),
        0x11 => (rest.array::<4>()?.into(), rest.array::<4>()?.into()),
        0x21 => (rest.array::<16>()?.into(), rest.array::<16>()?.into()),
        _ => return Err(Fault::Bad),
    };
    let addresses = ProxyAddresses {
        source: SocketAddr::new(source, rest.u16()?),
        destination: SocketAddr::new(destination, rest.u16()?),
    };
    while !rest.is_empty() {
        let (_kind, len) = (rest.u8()?, rest.u16()?);
        rest.slice(usize::from(len))?;
    }
    Ok(Some(addresses))
}

#[cfg(test)]
mod tests;
