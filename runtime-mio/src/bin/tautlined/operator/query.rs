//! The parameters of a request's target.

use super::answer::Answer;

/// What stands behind the `?`, decoded. Parameters that the path does not know
/// are refused: a filter that is misspelt must not show everything.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pairs: Vec<(&'a str, String)>,
}

impl<'a> Query<'a> {
    /// Reads a query that may have the parameters `known`, each once.
    pub(super) fn of(query: Option<&'a str>, known: &[&str]) -> Result<Self, Answer> {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        let parts = query.unwrap_or_default().split('&');
        for part in parts.filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if !known.contains(&key) {
                let known = match known {
                    [] => "it has none".to_owned(),
                    known => format!("known are {}", known.join(", ")),
                };
                let detail = format!("This path has no such parameter: {key}; {known}.");
                return Err(Answer::wrong_query(&detail));
            }
            if pairs.iter().any(|(before, _)| *before == key) {
                return Err(Answer::wrong_query(&format!("{key} is there twice.")));
            }
            let value = decode(value)
                .ok_or_else(|| Answer::wrong_query(&format!("{key} is not UTF-8.")))?;
            pairs.push((key, value));
        }
        Ok(Self { pairs })
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter();
        pairs.find_map(|(name, value)| (*name == key).then_some(value.as_str()))
    }

    /// A number of digits alone.
    pub(super) fn number(&self, key: &str) -> Result<Option<usize>, Answer> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match digits.then(|| text.parse().ok()).flatten() {
            Some(number) => Ok(Some(number)),
            None => Err(Answer::wrong_query(&format!("{key} is not a number."))),
        }
    }
}

/// Percent-encoding (RFC 3986 section 2.1); HTTP has seen to it that escapes
/// are whole.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let value = digit()? << 4 | digit()?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["after", "limit", "subnet"];

    #[test]
    fn numbers_are_digits_alone() {
        let limit = |query| Query::of(Some(query), &KNOWN).and_then(|query| query.number("limit"));
        assert_eq!(limit("after=7&limit=2").ok(), Some(Some(2)));
        assert_eq!(limit("after=7").ok(), Some(None));
        for query in [
            "limit=",
            "limit=+2",
            "limit=-1",
            "limit=99999999999999999999",
        ] {
            assert_eq!(limit(query).unwrap_err().status, 400, "{query}");
        }
    }

    #[test]
    fn values_are_decoded() {
        let query = Query::of(Some("subnet=10.0.0.0%2F24@site:%c3%A4"), &KNOWN).unwrap();
        assert_eq!(query.text("subnet"), Some("10.0.0.0/24@site:ä"));
        for value in ["%ff", "%f", "%", "%zz"] {
            let query = format!("subnet={value}");
            assert!(Query::of(Some(&query), &KNOWN).is_err(), "{value}");
        }
    }

    #[test]
    fn what_is_not_known_or_there_twice_is_refused() {
        for query in ["subnt=a", "limit=1&limit=2", "x"] {
            assert!(Query::of(Some(query), &KNOWN).is_err(), "{query}");
        }
        assert!(Query::of(Some(""), &[]).is_ok());
        assert!(Query::of(None, &[]).is_ok());
    }
}
