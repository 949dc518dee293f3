//! The `Authorization` field that carries a proof.

use core::fmt;

use crate::ClientId;

/// The scheme, compared without regard to case (RFC 9110 section 11.1).
const SCHEME: &[u8] = b"Tautline";

/// The credentials of a request: who asks, and the proof.
///
/// As the value of an `Authorization` field, parameters in this order:
///
/// ```text
/// Tautline client=<32 hex digits>, counter=<decimal>, mac=<64 hex digits>
/// ```
///
/// ```
/// use tautline_core::ClientId;
/// use tautline_core::wire::proof::{Authorization, BodyDigest, Request, SessionKey};
///
/// let key = SessionKey([7; 32]);
/// let request = Request {
///     method: "GET",
///     target: "/v1/inbox?after=0",
///     body: BodyDigest::of(b""),
/// };
/// let value = request.prove(&key, ClientId([1; 16]), 5).to_string();
/// assert!(value.starts_with("Tautline client=0101"));
///
/// let received = Authorization::parse(value.as_bytes())?;
/// assert_eq!(received.counter, 5);
/// assert!(received.proves(&key, &request));
/// assert!(!received.proves(&SessionKey([8; 32]), &request));
/// # Ok::<(), tautline_core::wire::proof::AuthorizationError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Who asks.
    pub client: ClientId,
    /// The number of the registration, or the counter of the request.
    pub counter: u64,
    /// The proof, an HMAC-SHA-256.
    pub mac: [u8; 32],
}

/// Why a field is no proof of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizationError {
    /// Credentials of another scheme.
    #[error("the authorization is of another scheme")]
    Scheme,
    /// The scheme is right, its parameters are not.
    #[error("the authorization is malformed")]
    Malformed,
}

impl Authorization {
    /// Reads the value of an `Authorization` field. Strict: each parameter
    /// once, in order; lower-case hexadecimal; no sign and no leading zero
    /// before a counter. Space is allowed where RFC 9110 section 5.6.1 allows
    /// it around commas.
    ///
    /// # Errors
    /// [`AuthorizationError`], by who may answer it: another scheme may be for
    /// another layer.
    pub fn parse(value: &[u8]) -> Result<Self, AuthorizationError> {
        let parameters = without_scheme(value).ok_or(AuthorizationError::Scheme)?;
        parse_parameters(parameters).ok_or(AuthorizationError::Malformed)
    }
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, counter) = (self.client, self.counter);
        write!(f, "Tautline client={client}, counter={counter}, mac=")?;
        self.mac.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn without_scheme(value: &[u8]) -> Option<&[u8]> {
    let (scheme, parameters) = value.split_at_checked(SCHEME.len())?;
    let ours = scheme.eq_ignore_ascii_case(SCHEME);
    let ends = parameters.first().is_none_or(|next| *next == b' ');
    (ours && ends).then_some(parameters)
}

fn parse_parameters(parameters: &[u8]) -> Option<Authorization> {
    let rest = space(parameters.strip_prefix(b" ")?);
    let (client, rest) = hex(rest.strip_prefix(b"client=")?)?;
    let (counter, rest) = decimal(comma(rest)?.strip_prefix(b"counter=")?)?;
    let (mac, rest) = hex(comma(rest)?.strip_prefix(b"mac=")?)?;
    rest.is_empty().then_some(Authorization {
        client: ClientId(client),
        counter,
        mac,
    })
}

/// Steps over a comma and the space around it.
fn comma(rest: &[u8]) -> Option<&[u8]> {
    Some(space(space(rest).strip_prefix(b",")?))
}

fn space(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', behind @ ..] = rest {
        rest = behind;
    }
    rest
}

fn hex<const N: usize>(rest: &[u8]) -> Option<([u8; N], &[u8])> {
    let (digits, rest) = rest.split_at_checked(2 * N)?;
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = *pair else { return None };
        *byte = hex_digit(high)? << 4 | hex_digit(low)?;
    }
    Some((bytes, rest))
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn decimal(rest: &[u8]) -> Option<(u64, &[u8])> {
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at_checked(len)?;
    if digits.is_empty() || (digits.len() > 1 && digits.first() == Some(&b'0')) {
        return None;
    }
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    const PROOF: Authorization = Authorization {
        client: ClientId([0xab; 16]),
        counter: 42,
        mac: [0xcd; 32],
    };

    fn value(scheme: &str, counter: &str, comma: &str) -> String {
        let (client, mac) = ("ab".repeat(16), "cd".repeat(32));
        format!("{scheme} client={client}{comma}counter={counter}{comma}mac={mac}")
    }

    fn parse(value: &str) -> Result<Authorization, AuthorizationError> {
        Authorization::parse(value.as_bytes())
    }

    #[test]
    fn the_text_is_the_documented_one() {
        assert_eq!(PROOF.to_string(), value("Tautline", "42", ", "));
        assert_eq!(parse(&PROOF.to_string()), Ok(PROOF));
    }

    #[test]
    fn what_http_allows_is_taken() {
        for scheme in ["tautline", "TAUTLINE", "Tautline  "] {
            assert_eq!(parse(&value(scheme, "42", ", ")), Ok(PROOF), "{scheme}");
        }
        for comma in [",", " ,", ",\t ", " , "] {
            assert_eq!(
                parse(&value("Tautline", "42", comma)),
                Ok(PROOF),
                "{comma:?}"
            );
        }
    }

    #[test]
    fn counters_are_plain_decimal_numbers() {
        let max = u64::MAX.to_string();
        for (text, counter) in [("0", 0), ("7", 7), (&max, u64::MAX)] {
            let parsed = parse(&value("Tautline", text, ", "));
            assert_eq!(parsed.map(|proof| proof.counter), Ok(counter));
        }
        for text in [
            "",
            "+5",
            "-5",
            "05",
            "00",
            "5a",
            "0x5",
            " 5",
            "18446744073709551616",
        ] {
            let parsed = parse(&value("Tautline", text, ", "));
            assert_eq!(parsed, Err(AuthorizationError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn another_scheme_is_told_from_a_fault() {
        for text in [
            "",
            "Bearer abc",
            "Taut",
            "Tautlines client=",
            "Basic Tautline",
        ] {
            assert_eq!(parse(text), Err(AuthorizationError::Scheme), "{text:?}");
        }
        for text in [
            "Tautline",
            "Tautline ",
            "Tautline\tclient=",
            "Tautline client=",
        ] {
            let error = parse(text);
            let scheme_ends = !text.contains('\t');
            let expected = if scheme_ends {
                AuthorizationError::Malformed
            } else {
                AuthorizationError::Scheme
            };
            assert_eq!(error, Err(expected), "{text:?}");
        }
    }

    #[test]
    fn other_shapes_are_malformed() {
        let right = value("Tautline", "42", ", ");
        let (client, mac) = ("ab".repeat(16), "cd".repeat(32));
        for text in [
            format!("{right} "),
            format!("{right},"),
            format!("{right}, more=1"),
            right.replace("mac=", "MAC="),
            right.replace("ab", "AB"),
            right.replace("mac=cd", "mac=cg"),
            right.replace("mac=cd", "mac="),
            right.replace("client=ab", "client=abab"),
            right.replace("counter=42", "counter=\"42\""),
            right.replace(", ", "; "),
            right.replace(", ", " "),
            format!("Tautline counter=42, client={client}, mac={mac}"),
            format!("Tautline client={client}, client={client}, counter=42, mac={mac}"),
        ] {
            assert_eq!(parse(&text), Err(AuthorizationError::Malformed), "{text:?}");
        }
    }
}
