//! Lists that a relay gives page by page.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Relay;
use crate::Failure;

#[derive(Deserialize)]
struct Page<T> {
    #[serde(alias = "clients", alias = "subnets", alias = "missing")]
    rows: Vec<T>,
    /// The cursor of the next page.
    next: Option<String>,
}

impl Relay {
    /// Asks for page after page; `take` is given each, and says whether it
    /// wants another. A page may be empty and not the last.
    pub(super) fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        filters: &[(&str, &str)],
        mut take: impl FnMut(Vec<T>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let mut after: Option<String> = None;
        loop {
            let cursor = after.as_deref().map(|after| ("after", after));
            let target = target(path, cursor.iter().chain(filters));
            let page: Page<T> = self.ask("GET", &target, b"")?;
            let wants_more = take(page.rows)?;
            if !wants_more || page.next.is_none() {
                return Ok(());
            }
            if page.next == after {
                return Err(self.failure("its pages go round in a circle"));
            }
            after = page.next;
        }
    }
}

fn target<'a>(path: &str, query: impl Iterator<Item = &'a (&'a str, &'a str)>) -> String {
    let mut target = path.to_owned();
    for (place, (key, value)) in query.enumerate() {
        let mark = if place == 0 { '?' } else { '&' };
        target += &format!("{mark}{key}={}", escape(value));
    }
    target
}

/// A value as part of a query (RFC 3986, section 2.1).
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
    fn queries_are_escaped() {
        assert_eq!(escape("aZ9-_.~"), "aZ9-_.~");
        let query = [("after", "7"), ("subnet", "10.0.0.0/24@ä&b=c")];
        assert_eq!(
            target("/v1/clients", query.iter()),
            "/v1/clients?after=7&subnet=10.0.0.0%2F24%40%C3%A4%26b%3Dc"
        );
        assert_eq!(target("/v1/clients", [].iter()), "/v1/clients");
    }
}
