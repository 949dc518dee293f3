//! Which bytes may stand where: RFC 9110 section 5.6, RFC 3986 section 3.

/// A character of a token.
pub(super) const TOKEN: u8 = 1;
/// A character of a path, `%` included.
pub(super) const PATH: u8 = 2;
/// A character of a query: a path's, and those that browsers send unescaped.
pub(super) const QUERY: u8 = 4;
/// A character of a registered name or an IPv4 address, `%` included. RFC 3986
/// allows a comma too; a `Host` with one may be two that something merged.
pub(super) const NAME: u8 = 8;
/// A character of a field value: visible, space, tab, or above ASCII.
pub(super) const VALUE: u8 = 16;

static CLASSES: [u8; 256] = classes();

/// Whether the byte belongs to that class.
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Whether all bytes belong to that class.
pub(super) fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().all(|&byte| is(byte, class))
}

/// Whether it is a token: one or more token characters.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// Whether all bytes belong to that class and each `%` is followed by two
/// hexadecimal digits.
pub(super) fn is_escaped(bytes: &[u8], class: u8) -> bool {
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        if !is(*byte, class) {
            return false;
        }
        rest = match (byte, tail) {
            (b'%', [high, low, tail @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                tail
            }
            (b'%', _) => return false,
            _ => tail,
        };
    }
    true
}

/// The bytes as text; `""` if they are not ASCII.
pub(super) fn text(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text,
        _ => "",
    }
}

/// Reads a decimal number: digits alone, at most 20 of them, no overflow.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let alphanumeric = TOKEN | PATH | QUERY | NAME;
    let mut byte = 0x21;
    while byte <= 0xff {
        if byte != 0x7f {
            table[byte] |= VALUE;
        }
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] |= alphanumeric;
        }
        byte += 1;
    }
    table[b' ' as usize] |= VALUE;
    table[b'\t' as usize] |= VALUE;
    table = mark(table, b"!#$%&'*+-.^_`|~", TOKEN);
    table = mark(table, b"-._~!$&'()*+,;=:@/%", PATH);
    table = mark(table, b"-._~!$&'()*+,;=:@/%?[]{}|^`", QUERY);
    mark(table, b"-._~!$&'()*+;=%", NAME)
}

const fn mark(mut table: [u8; 256], bytes: &[u8], class: u8) -> [u8; 256] {
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] |= class;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w3_decimals_are_digits_alone() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"00000000000000000007"), Some(7));
        for text in [
            &b""[..],
            b"+5",
            b"-5",
            b"0x5",
            b"5 ",
            b"5,5",
            b"18446744073709551616",
            b"99999999999999999999",
            b"000000000000000000007",
        ] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }

    #[test]
    fn escapes_are_whole() {
        assert!(is_escaped(b"/a%2eb", PATH));
        for text in [&b"/a%"[..], b"/a%2", b"/a%2g", b"/a b", b"/a#b", b"/\x80"] {
            assert!(!is_escaped(text, PATH), "{text:?}");
        }
    }

    #[test]
    fn classes_hold_what_the_grammar_says() {
        let tokens = (0..=255u8).filter(|&byte| is(byte, TOKEN)).count();
        assert_eq!(tokens, 62 + 15);
        let values = (0..=255u8).filter(|&byte| is(byte, VALUE)).count();
        assert_eq!(values, 94 + 2 + 128);
    }
}
