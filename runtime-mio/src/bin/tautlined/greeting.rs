//! What the daemon says on standard output once it serves.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::start::Started;

/// Prints the page's address with the token in its fragment, which no browser
/// sends to a server, and then what to do next.
pub(crate) fn print(started: &Started) {
    let base = base(started.address, started.tls);
    let token = started.daemon.operator.token.reveal();
    let text = text(&base, token);
    let mut out = io::stdout().lock();
    // Nobody may be there to read it; the relay serves all the same.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn text(base: &str, token: &str) -> String {
    format!(
        "{base}/#token={token}\n\
         The relay serves; the page above shows it. What to do next, each in a terminal of its own:\n\
         \x20 tautline agent --relay {base}\n\
         \x20 tautline notify --relay {base} --all hello\n"
    )
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
        let text = text(&base, "abc");
        assert_eq!(
            text.lines().next(),
            Some("http://127.0.0.1:52311/#token=abc")
        );
        assert!(text.contains("tautline agent --relay http://127.0.0.1:52311\n"));
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        assert_eq!(base("[::]:1".parse().unwrap(), true), "https://[::1]:1");
    }
}
