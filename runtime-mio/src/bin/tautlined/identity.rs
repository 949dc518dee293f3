//! What the relay keeps in its data directory beside the endpoint's files: the
//! operator's token, the relay's key, and the number of its run.

use std::io::{self, ErrorKind};
use std::path::Path;

use tautline_core::Incarnation;
use tautline_core::wire::proof::MasterKey;
use tautline_std::clock::Clock;
use tautline_std::private::{self, Secret};

/// Longer files are none of ours.
const FILE_BYTES_MAX: u64 = 1_024;

/// Who this relay is, and who may operate it.
pub(crate) struct Identity {
    pub(crate) token: Secret,
    pub(crate) key: MasterKey,
    pub(crate) incarnation: Incarnation,
}

impl Identity {
    /// Reads it, and makes what is missing. The caller holds the lock of the
    /// directory.
    pub(crate) fn open(dir: &Path, clock: &Clock) -> io::Result<Self> {
        let token = Secret::new(encode(&secret(&dir.join("operator-token"))?));
        let key = MasterKey(secret(&dir.join("relay-key"))?);
        let incarnation = next_incarnation(&dir.join("incarnation"), clock)?;
        Ok(Self {
            token,
            key,
            incarnation,
        })
    }
}

/// 32 random bytes that stay the same from the first start on, in hexadecimal
/// digits.
fn secret(path: &Path) -> io::Result<[u8; 32]> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).map_err(|error| io::Error::other(error.to_string()))?;
    let text = private::read_or_create(path, FILE_BYTES_MAX, || {
        format!("{}\n", encode(&fresh)).into_bytes()
    })?;
    if private::is_exposed(path)? {
        tracing::warn!(path = %path.display(), "others than the owner may read this secret; use mode 0600");
    }
    decode(text.trim_ascii()).ok_or_else(|| {
        let text = format!(
            "{}: not 64 hexadecimal digits; remove it to get a new one",
            path.display()
        );
        io::Error::new(ErrorKind::InvalidData, text)
    })
}

/// The number of this run: the seconds of the wall clock, and above the last
/// one even if that clock was set back.
fn next_incarnation(path: &Path, clock: &Clock) -> io::Result<Incarnation> {
    let last = match private::read(path, FILE_BYTES_MAX) {
        Ok(text) => decimal(text.trim_ascii()).unwrap_or(0),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let seconds = u32::try_from(clock.wall().as_millis() / 1_000).unwrap_or(u32::MAX);
    let next = seconds.max(last.saturating_add(1));
    private::replace(path, format!("{next}\n").as_bytes())?;
    Ok(Incarnation(next))
}

fn decimal(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| str::from_utf8(text).ok()?.parse().ok())?
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(text: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let (high, low) = (digit(*pair.first()?)?, digit(*pair.get(1)?)?);
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_and_key_stay_and_the_run_number_rises() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::start();
        let first = Identity::open(dir.path(), &clock).unwrap();
        let second = Identity::open(dir.path(), &clock).unwrap();
        assert_eq!(first.token.reveal(), second.token.reveal());
        assert_eq!(first.token.reveal().len(), 64);
        assert!(second.incarnation > first.incarnation);
        let text = std::fs::read_to_string(dir.path().join("operator-token")).unwrap();
        assert_eq!(text.trim(), first.token.reveal());
        assert!(!private::is_exposed(&dir.path().join("relay-key")).unwrap());
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_repeat_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("incarnation");
        std::fs::write(&path, "4000000000\n").unwrap();
        let next = next_incarnation(&path, &Clock::start()).unwrap();
        assert_eq!(next, Incarnation(4_000_000_001));
    }

    #[test]
    fn a_damaged_secret_is_told_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "abc", &"g".repeat(64), &"+1".repeat(32)] {
            std::fs::write(dir.path().join("operator-token"), text).unwrap();
            let error = Identity::open(dir.path(), &Clock::start()).err().unwrap();
            assert!(error.to_string().contains("operator-token"), "{error}");
        }
    }
}
