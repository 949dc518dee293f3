//! The chunked transfer coding, RFC 9112 section 7.1, one byte after another:
//! nothing is kept but counts, so a cut anywhere changes nothing.

use super::Limits;
use super::fault::Fault;
use super::octets::{self, TOKEN, VALUE};

/// Hexadecimal digits of a chunk size: what a `u64` holds.
const SIZE_DIGITS_MAX: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before or within a chunk size.
    Size,
    /// White space between a size and its extension.
    SizeEnd,
    /// After `;`, before an extension's name.
    ExtensionStart,
    /// Within an extension.
    Extension,
    /// After the CR of a size's line.
    SizeLf,
    /// Within a chunk's data.
    Data,
    /// After a chunk's data.
    DataCr,
    /// After the CR behind a chunk's data.
    DataLf,
    /// Before a line of the trailer section.
    TrailerStart,
    /// Within a trailer field's name.
    TrailerName,
    /// Within a trailer field's value.
    TrailerValue,
    /// After the CR of a trailer field.
    TrailerLf,
    /// After the CR of the empty line.
    EndLf,
    /// Behind the body.
    End,
}

/// Where a decoder stands when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// It wants more bytes of the framing.
    Framing,
    /// Data comes next, as much as the chunk has left.
    Data,
    /// The body is over.
    End,
}

/// Reads the framing around the data of a chunked body. How much a chunk has
/// left is kept by its caller, and is handed in as `left`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    chunks_left: u32,
    extension_bytes_left: u16,
    trailer_bytes_left: u16,
    digits: u8,
    state: State,
}

impl Chunked {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            chunks_left: limits.chunks_max,
            extension_bytes_left: limits.chunk_extension_bytes_max,
            trailer_bytes_left: limits.trailer_bytes_max,
            digits: 0,
            state: State::Size,
        }
    }

    /// Where it stands.
    pub(super) fn at(&self) -> At {
        match self.state {
            State::Data => At::Data,
            State::End => At::End,
            _ => At::Framing,
        }
    }

    /// Takes framing from the start of `bytes`; returns how many bytes it was.
    /// `left` is 0, and is a chunk's size when data comes next.
    pub(super) fn framing(&mut self, bytes: &[u8], left: &mut u64) -> Result<usize, Fault> {
        let mut taken = 0;
        for &byte in bytes {
            if self.at() != At::Framing {
                break;
            }
            self.step(byte, left)?;
            taken += 1;
        }
        Ok(taken)
    }

    /// The chunk has nothing left.
    pub(super) fn data_ends(&mut self) {
        if self.state == State::Data {
            self.state = State::DataCr;
        }
    }

    fn step(&mut self, byte: u8, left: &mut u64) -> Result<(), Fault> {
        self.state = match self.state {
            State::Size => return self.size(byte, left),
            State::SizeEnd | State::ExtensionStart | State::Extension => {
                return self.extension(byte);
            }
            State::SizeLf if byte == b'\n' => return self.size_ends(*left),
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => {
                self.digits = 0;
                State::Size
            }
            State::EndLf if byte == b'\n' => State::End,
            State::TrailerStart if byte == b'\r' => State::EndLf,
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf => {
                return self.trailer(byte);
            }
            State::SizeLf | State::DataCr | State::DataLf | State::EndLf => {
                return Err(Fault::malformed("A chunk's line ends without CR LF."));
            }
            // Not reached: `framing` stops at both.
            state @ (State::Data | State::End) => state,
        };
        Ok(())
    }

    fn size(&mut self, byte: u8, left: &mut u64) -> Result<(), Fault> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if self.digits == SIZE_DIGITS_MAX {
                return Err(Fault::malformed("A chunk size has too many digits."));
            }
            self.digits += 1;
            *left = *left << 4 | u64::from(digit);
            return Ok(());
        }
        if self.digits == 0 {
            return Err(Fault::malformed("A chunk has no size."));
        }
        match byte {
            b'\r' => self.state = State::SizeLf,
            b';' | b' ' | b'\t' => {
                self.state = State::SizeEnd;
                return self.extension(byte);
            }
            _ => return Err(Fault::malformed("A chunk size is not hexadecimal.")),
        }
        Ok(())
    }

    fn extension(&mut self, byte: u8) -> Result<(), Fault> {
        self.state = match (self.state, byte) {
            (State::Extension, b'\r') => {
                self.state = State::SizeLf;
                return Ok(());
            }
            (State::SizeEnd, b';') => State::ExtensionStart,
            (state @ (State::SizeEnd | State::ExtensionStart), b' ' | b'\t') => state,
            (State::ExtensionStart, byte) if octets::is(byte, TOKEN) => State::Extension,
            (State::Extension, byte) if octets::is(byte, VALUE) => State::Extension,
            _ => return Err(Fault::malformed("A chunk extension is malformed.")),
        };
        self.extension_bytes_left = self
            .extension_bytes_left
            .checked_sub(1)
            .ok_or(Fault::malformed("The chunk extensions are too long."))?;
        Ok(())
    }

    fn size_ends(&mut self, left: u64) -> Result<(), Fault> {
        if left == 0 {
            self.state = State::TrailerStart;
            return Ok(());
        }
        self.chunks_left = self
            .chunks_left
            .checked_sub(1)
            .ok_or(Fault::TOO_MANY_CHUNKS)?;
        self.state = State::Data;
        Ok(())
    }

    fn trailer(&mut self, byte: u8) -> Result<(), Fault> {
        self.state = match (self.state, byte) {
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerStart | State::TrailerName, byte) if octets::is(byte, TOKEN) => {
                State::TrailerName
            }
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, byte) if octets::is(byte, VALUE) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            _ => return Err(Fault::malformed("A trailer field is malformed.")),
        };
        self.trailer_bytes_left = self
            .trailer_bytes_left
            .checked_sub(1)
            .ok_or(Fault::TRAILER_TOO_LARGE)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn decode(bytes: &[u8], limits: &Limits) -> Result<(Vec<u8>, usize, At), Fault> {
        let mut decoder = Chunked::new(limits);
        let (mut data, mut taken, mut left) = (Vec::new(), 0, 0);
        while taken < bytes.len() {
            match decoder.at() {
                At::Framing => taken += decoder.framing(&bytes[taken..], &mut left)?,
                At::Data => {
                    let n = (bytes.len() - taken).min(left as usize);
                    data.extend_from_slice(&bytes[taken..taken + n]);
                    taken += n;
                    left -= n as u64;
                    if left == 0 {
                        decoder.data_ends();
                    }
                }
                At::End => break,
            }
        }
        Ok((data, taken, decoder.at()))
    }

    #[test]
    fn w2_bodies_are_decoded_and_not_a_byte_more() {
        let limits = Limits::default();
        let cases: [(&[u8], &[u8]); 6] = [
            (b"0\r\n\r\n", b""),
            (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
            (
                b"00a\r\n0123456789\r\nA;x=\"y;z\"\r\n0123456789\r\n00;y\r\n\r\n",
                b"01234567890123456789",
            ),
            (b"1 ; x\r\na\r\n0\r\n\r\n", b"a"),
            (b"1\r\n\r\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", b"\r"),
            (b"1;a;b=c\r\na\r\n0\r\n\r\n", b"a"),
        ];
        for (bytes, data) in cases {
            let mut more = bytes.to_vec();
            more.extend_from_slice(b"GET / HTTP/1.1\r\n");
            let decoded = decode(&more, &limits);
            assert_eq!(
                decoded,
                Ok((data.to_vec(), bytes.len(), At::End)),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn w3_other_framing_is_refused() {
        let limits = Limits::default();
        let cases: [&[u8]; 27] = [
            b"\r\n",
            b"+4\r\n",
            b"-1\r\n",
            b"0x4\r\n",
            b" 4\r\n",
            b"4 \r\n",
            b"4\n",
            b"4\r\r",
            b"g\r\n",
            b";x\r\n",
            b"4;\r\n",
            b"4; \r\n",
            b"4;=a\r\n",
            b"4;a\n",
            b"4;a\x00\r\n",
            b"4 a\r\n",
            b"4_0\r\n",
            b"00000000000000001\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b"1\r\na\rb",
            b"0\r\n\n",
            b"0\r\n a: b\r\n",
            b"0\r\na b\r\n",
            b"0\r\n:b\r\n",
            b"0\r\na:b\n",
            b"0\r\na\r\n",
        ];
        for bytes in cases {
            let fault = decode(bytes, &limits).expect_err("refused");
            assert_eq!(fault.status, 400, "{bytes:?}");
        }
        assert_eq!(
            decode(b"FFFFFFFFFFFFFFFF\r\n", &limits).map(|(_, _, at)| at),
            Ok(At::Data)
        );
    }

    #[test]
    fn w5_chunks_extensions_and_trailers_have_limits() {
        let limits = Limits {
            chunks_max: 2,
            chunk_extension_bytes_max: 4,
            trailer_bytes_max: 6,
            ..Limits::default()
        };
        let status = |bytes: &[u8]| match decode(bytes, &limits) {
            Ok((_, _, At::End)) => 200,
            Ok(_) => 0,
            Err(fault) => fault.status,
        };
        assert_eq!(status(b"1\r\na\r\n1\r\na\r\n0\r\n\r\n"), 200);
        assert_eq!(status(b"1\r\na\r\n1\r\na\r\n1\r\na\r\n0\r\n\r\n"), 413);
        assert_eq!(status(b"1;a\r\na\r\n0;b\r\n\r\n"), 200);
        assert_eq!(status(b"1;a\r\na\r\n0;bc\r\n\r\n"), 400);
        assert_eq!(status(b"0\r\na:bc\r\n\r\n"), 200);
        assert_eq!(status(b"0\r\na:bcd\r\n\r\n"), 431);
    }
}
