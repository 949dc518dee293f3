//! Finding the end of a head, and bytes that no head may have.

/// What a search for a head's end came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The head is this long, its empty line included.
    End(usize),
    /// The end has not come.
    More,
    /// A control character, or a CR or LF without the other.
    Bad,
}

/// Searches `bytes`, of which the first `from` were searched before.
///
/// RFC 9112 section 2.2 lets a recipient take a bare LF as a line's end; in a
/// chain of caches that disagree about it, it is a way to smuggle requests, so
/// here it ends the connection, at once and however the stream is cut.
pub(super) fn scan(bytes: &[u8], from: usize) -> Scan {
    let mut at = from;
    let mut previous = match from.checked_sub(1) {
        Some(last) => bytes.get(last).copied().unwrap_or(0),
        None => 0,
    };
    while let Some(rest) = bytes.get(at..)
        && !rest.is_empty()
    {
        if previous != b'\r'
            && let Some(word) = rest.first_chunk::<8>()
            && !has_control(u64::from_le_bytes(*word))
        {
            previous = word[7];
            at += 8;
            continue;
        }
        for &byte in rest.iter().take(8) {
            at += 1;
            match byte {
                b'\n' if previous != b'\r' => return Scan::Bad,
                b'\n' if bytes[..at].ends_with(b"\r\n\r\n") => return Scan::End(at),
                b'\n' => {}
                _ if previous == b'\r' => return Scan::Bad,
                b'\r' | b'\t' => {}
                0..=0x1f | 0x7f => return Scan::Bad,
                _ => {}
            }
            previous = byte;
        }
    }
    Scan::More
}

/// Whether one of the eight bytes is a control character.
fn has_control(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let del = word ^ (ONES * 0x7f);
    let is_del = del.wrapping_sub(ONES) & !del;
    (below_space | is_del) & HIGH != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// The same search, one byte after another.
    fn reference(bytes: &[u8]) -> Scan {
        for (at, &byte) in bytes.iter().enumerate() {
            let previous = if at == 0 { 0 } else { bytes[at - 1] };
            let wrong = match byte {
                b'\n' => previous != b'\r',
                _ if previous == b'\r' => true,
                b'\r' | b'\t' => false,
                _ => byte < 0x20 || byte == 0x7f,
            };
            if wrong {
                return Scan::Bad;
            }
            if bytes[..=at].ends_with(b"\r\n\r\n") {
                return Scan::End(at + 1);
            }
        }
        Scan::More
    }

    proptest! {
        #[test]
        fn w2_a_search_in_parts_finds_what_one_finds(
            bytes in proptest::collection::vec(prop_oneof![
                4 => any::<u8>(), 8 => 0x20..0x7fu8, 4 => Just(b'\r'), 4 => Just(b'\n'),
            ], 0..64),
            cut in 0..64usize,
        ) {
            let whole = reference(&bytes);
            prop_assert_eq!(scan(&bytes, 0), whole);
            let cut = cut.min(bytes.len());
            let parts = match scan(&bytes[..cut], 0) {
                Scan::More => scan(&bytes, cut),
                decided => decided,
            };
            prop_assert_eq!(parts, whole);
        }
    }

    #[test]
    fn w3_line_ends_are_cr_lf() {
        let ends: Vec<_> = [
            "a\r\n\r\n",
            "a\n\n",
            "a\rb",
            "a\r\n\r",
            "\0",
            "a\tb",
            "\r\n\r\n",
        ]
        .iter()
        .map(|text| scan(text.as_bytes(), 0))
        .collect();
        use Scan::{Bad, End, More};
        assert_eq!(ends, [End(5), Bad, Bad, More, Bad, More, End(4)]);
    }
}
