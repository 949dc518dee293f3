//! `tautline clients`.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Access;
use crate::Failure;
use crate::text::{print, printable, span, table};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    access: Access,
    /// Print JSON, one client a line
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Page {
    clients: Vec<Client>,
    next: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Client {
    client: String,
    hostname: String,
    address: String,
    connected: bool,
    registered_s_ago: u64,
}

pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let relay = flags.access.relay()?;
    let mut rows = Vec::new();
    let mut target = "/v1/clients".to_owned();
    loop {
        let page: Page = relay.ask("GET", &target, b"")?;
        let is_last = page.next.is_none() || page.clients.is_empty();
        if flags.json {
            let lines = page.clients.iter().map(serde_json::to_string);
            let lines: String = lines.flatten().map(|line| line + "\n").collect();
            print(&lines)?;
        } else {
            rows.extend(page.clients.iter().map(row));
        }
        match page.next {
            Some(next) if !is_last => target = format!("/v1/clients?after={}", escape(&next)),
            _ => break,
        }
    }
    if flags.json {
        return Ok(());
    }
    if rows.is_empty() {
        return print("no clients\n");
    }
    let head = ["CLIENT", "HOSTNAME", "ADDRESS", "LINE", "REGISTERED"];
    rows.insert(0, head.map(str::to_owned).to_vec());
    print(&table(&rows))
}

fn row(client: &Client) -> Vec<String> {
    let line = if client.connected { "open" } else { "-" };
    vec![
        printable(&client.client),
        printable(&client.hostname),
        printable(&client.address),
        line.to_owned(),
        format!("{} ago", span(client.registered_s_ago)),
    ]
}

/// A cursor as part of a query (RFC 3986, section 2.1).
fn escape(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_escaped() {
        assert_eq!(escape("aZ9-_.~"), "aZ9-_.~");
        assert_eq!(escape("a&b=ä"), "a%26b%3D%C3%A4");
    }
}
