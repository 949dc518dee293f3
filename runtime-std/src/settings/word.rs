//! A value that is a word or a number.

use std::fmt::{self, Display};

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// Reads a value that is a word or a number, as `"auto"` or 5. `expected` says
/// for errors what it may be; `word` and `number` say what is meant, or `None`.
///
/// # Errors
/// It is neither, or one that means nothing.
pub fn word_or_number<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: impl Display,
    word: impl Fn(&str) -> Option<T>,
    number: impl Fn(i64) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(WordOrNumber {
        expected,
        word,
        number,
    })
}

struct WordOrNumber<E, W, N> {
    expected: E,
    word: W,
    number: N,
}

impl<T, E: Display, W: Fn(&str) -> Option<T>, N: Fn(i64) -> Option<T>> Visitor<'_>
    for WordOrNumber<E, W, N>
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expected.fmt(f)
    }

    fn visit_i64<F: Error>(self, number: i64) -> Result<T, F> {
        let wrong = || F::invalid_value(Unexpected::Signed(number), &self);
        (self.number)(number).ok_or_else(wrong)
    }

    fn visit_str<F: Error>(self, text: &str) -> Result<T, F> {
        let wrong = || F::invalid_value(Unexpected::Str(text), &self);
        (self.word)(text).ok_or_else(wrong)
    }
}
