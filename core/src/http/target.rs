//! Request targets and hosts: RFC 9112 section 3.2.

use super::fault::Fault;
use super::octets::{self, NAME, PATH, QUERY};

/// The parts of a target that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The authority of the absolute form.
    pub(super) authority: Option<&'a str>,
    /// The path, still escaped.
    pub(super) path: &'a str,
    /// What follows the first `?`.
    pub(super) query: Option<&'a str>,
}

/// Takes a target apart: origin form, absolute form, or `*` for `OPTIONS`.
pub(super) fn parse<'a>(method: &str, target: &'a str) -> Result<Target<'a>, Fault> {
    if target == "*" {
        return if method == "OPTIONS" {
            Ok(split(None, target))
        } else {
            Err(Fault::malformed("The target `*` belongs to OPTIONS."))
        };
    }
    let parts = parts(method, target).ok_or(Fault::malformed(
        "The target is neither a path nor an absolute URI.",
    ))?;
    let path = octets::is_escaped(parts.path.as_bytes(), PATH);
    let query = parts.query.unwrap_or_default();
    if !path || !octets::is_escaped(query.as_bytes(), QUERY) {
        return Err(Fault::malformed(
            "The target has characters that a URI escapes.",
        ));
    }
    match parts.authority {
        Some("") => Err(Fault::malformed("The target has no host.")),
        Some(authority) if !is_host(authority.as_bytes()) => {
            Err(Fault::malformed("The target's host is malformed."))
        }
        _ => Ok(parts),
    }
}

/// Takes a target apart that [`parse`] has found in order.
pub(super) fn parts<'a>(method: &str, target: &'a str) -> Option<Target<'a>> {
    if target.starts_with('/') || target == "*" {
        return Some(split(None, target));
    }
    let rest = strip_scheme(target, "http://").or_else(|| strip_scheme(target, "https://"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    // RFC 9112 section 3.2.4: OPTIONS on a URI without a path asks for `*`.
    let parts = split(Some(authority), path);
    Some(match parts.path {
        "" if method == "OPTIONS" && parts.query.is_none() => Target { path: "*", ..parts },
        "" => Target { path: "/", ..parts },
        _ => parts,
    })
}

fn split<'a>(authority: Option<&'a str>, rest: &'a str) -> Target<'a> {
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    Target {
        authority,
        path,
        query,
    }
}

fn strip_scheme<'a>(target: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = target.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Whether it is a host with or without a port: a name, an IPv4 address, or
/// an address in brackets. The empty host is one, RFC 9112 section 3.2.
pub(super) fn is_host(host: &[u8]) -> bool {
    let (named, port) = match host.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else {
                return false;
            };
            let (address, port) = rest.split_at(end);
            let is_address = core::str::from_utf8(address)
                .is_ok_and(|text| text.parse::<core::net::Ipv6Addr>().is_ok());
            (is_address, &port[1..])
        }
        None => {
            let end = host.iter().position(|&byte| byte == b':');
            let (name, port) = host.split_at(end.unwrap_or(host.len()));
            (octets::is_escaped(name, NAME), port)
        }
    };
    let port_fits = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => octets::decimal(digits).is_some_and(|port| port <= 65_535),
        _ => false,
    };
    named && port_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w2_targets_are_taken_apart() {
        let cases = [
            ("GET", "/", None, "/", None),
            ("GET", "/a/b?c=d?e", None, "/a/b", Some("c=d?e")),
            ("GET", "//a", None, "//a", None),
            ("GET", "/?", None, "/", Some("")),
            ("OPTIONS", "*", None, "*", None),
            ("GET", "http://h", Some("h"), "/", None),
            ("OPTIONS", "http://h:80", Some("h:80"), "*", None),
            ("GET", "HTTP://h?q", Some("h"), "/", Some("q")),
            (
                "GET",
                "https://[::1]:1/p?q",
                Some("[::1]:1"),
                "/p",
                Some("q"),
            ),
            ("GET", "/a?b[]={c}|d", None, "/a", Some("b[]={c}|d")),
        ];
        for (method, target, authority, path, query) in cases {
            let expected = Target {
                authority,
                path,
                query,
            };
            assert_eq!(parse(method, target), Ok(expected), "{target}");
        }
    }

    #[test]
    fn w2_other_targets_are_refused() {
        for target in [
            "",
            "*",
            "a",
            "h:80",
            "ftp://h/",
            "http:/h",
            "http://",
            "http:///a",
            "http://u@h/",
            "http://h:99999/",
            "http://h:+1/",
            "/a b",
            "/a#b",
            "/a\"",
            "/a\\b",
            "/a%zz",
            "/a%4",
            "/<a>",
            "http://h#f",
            "/\u{e9}",
        ] {
            assert!(parse("GET", target).is_err(), "{target}");
        }
    }

    #[test]
    fn w2_hosts_are_checked() {
        for host in [
            "",
            "h",
            "h:",
            "h:80",
            "1.2.3.4",
            "[::1]",
            "[::1]:8080",
            "a-b.c_d",
            "%41",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a,b", "a b", "a/b", "a@b", "a?b", "a#b", "[::1", "::1", "[::1]a", "[g]", "a:b",
            "a:1:2", "a:65536", "a:+1", "%4", "a\\b",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
