//! Where a relay is: as people write it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The port of a relay unless another one is named.
pub const PORT: u16 = 52_311;

/// A relay's scheme, host and port.
///
/// It is written as a URL without a path, or as a host with or without a port;
/// then it is reached in clear.
///
/// ```
/// use tautline_std::origin::Origin;
///
/// let origin: Origin = "relay.example:80".parse().unwrap();
/// assert_eq!(origin.to_string(), "http://relay.example:80");
/// let origin: Origin = "https://[2001:db8::1]/".parse().unwrap();
/// assert_eq!(origin.to_string(), "https://[2001:db8::1]:52311");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// A name or an address, an IPv6 address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl Origin {
    /// Host and port, as in the `Host` header.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Origin {
    /// Whether it is on this machine by what is written, without asking who
    /// has the name: a loopback address or `localhost`.
    ///
    /// ```
    /// use tautline_std::origin::Origin;
    ///
    /// let is_loopback = |text: &str| text.parse::<Origin>().unwrap().is_loopback();
    /// assert!(is_loopback("localhost") && is_loopback("127.8.8.8:80") && is_loopback("::1"));
    /// assert!(!is_loopback("relay.example") && !is_loopback("localhost.example"));
    /// ```
    pub fn is_loopback(&self) -> bool {
        let of_address = |address: IpAddr| address.to_canonical().is_loopback();
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(of_address)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl FromStr for Origin {
    type Err = ParseOriginError;

    fn from_str(text: &str) -> Result<Self, ParseOriginError> {
        let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            (false, text.strip_prefix("http://").unwrap_or(text))
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split(rest).ok_or(ParseOriginError)?;
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }
}

/// A text that does not say where a relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOriginError;

impl fmt::Display for ParseOriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected HOST, HOST:PORT or a URL such as https://relay.example:52311")
    }
}

impl std::error::Error for ParseOriginError {}

fn split(text: &str) -> Option<(&str, u16)> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((text, PORT));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match port.strip_prefix(':') {
            Some(port) => Some((host, parse_port(port)?)),
            None => port.is_empty().then_some((host, PORT)),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (text, PORT),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_host = (1..=253).contains(&host.len()) && host.bytes().all(allowed);
    is_host.then_some((host, port))
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|port| *port > 0);
    port.filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_in_all_forms() {
        let cases = [
            ("relay", "http://relay:52311"),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
            ("https://relay.example", "https://relay.example:52311"),
            ("::1", "http://[::1]:52311"),
            ("[::1]:80", "http://[::1]:80"),
            ("http://[::1]", "http://[::1]:52311"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                text.parse::<Origin>().map(|o| o.to_string()),
                Ok(expected.into())
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "http://",
            ":80",
            "relay:",
            "relay:0",
            "relay:+1",
            "relay:65536",
            "re lay",
            "relay/path",
            "user@relay",
            "[::1",
            "[::1]x",
            "[relay]",
            "ftp://relay",
            "http://a//",
            "relay:080000",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(ParseOriginError), "{text}");
        }
    }
}
