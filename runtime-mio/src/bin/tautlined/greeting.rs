//! What the daemon says on standard output once it serves.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::start::Started;

/// Prints the page's address with the token in its fragment, which no browser
/// sends to a server, and then what to do next.
pub(crate) fn print(started: &Started) {
    let base = base(started.address, started.tls);
    let token = started.daemon.operator.token.reveal();
    let text = text(&base, token, started.data_dir.as_deref());
    let mut out = io::stdout().lock();
    // Nobody may be there to read it; the relay serves all the same.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// `data_dir` is where the operator's commands find the token, if they do not
/// look there by themselves.
fn text(base: &str, token: &str, data_dir: Option<&Path>) -> String {
    let data_dir = data_dir.map_or_else(String::new, |dir| {
        format!(" --data-dir {}", quoted(&dir.to_string_lossy()))
    });
    format!(
        "{base}/#token={token}\n\
         The relay serves; the page above shows it. What to do next, each in a terminal of its own:\n\
         \x20 tautline agent --relay {base}\n\
         \x20 tautline notify --relay {base}{data_dir} --all ping\n"
    )
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The relay's address as seen from this machine.
fn base(address: SocketAddr, tls: bool) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_an_address_that_can_be_opened() {
        let base = base("0.0.0.0:52311".parse().unwrap(), false);
        let text = text(&base, "abc", Some("/a b/c".as_ref()));
        assert_eq!(
            text.lines().next(),
            Some("http://127.0.0.1:52311/#token=abc")
        );
        assert!(text.contains("tautline agent --relay http://127.0.0.1:52311\n"));
        assert!(text.contains("--data-dir '/a b/c' --all ping\n"));
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        assert_eq!(base("[::]:1".parse().unwrap(), true), "https://[::1]:1");
    }
}
