//! Frames on a persistent connection: a header of 12 bytes and a body.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | length of the body, in bytes |
//! | 4 | kind |
//! | 5 | flags |
//! | 6..8 | reserved, 0 |
//! | 8..12 | CRC-32 (IEEE 802.3) of bytes 0..8 and the body |
//!
//! Flags that a receiver does not know are ignored; a sender of this version
//! sets none. A reserved field that is not 0 is an error: it is what a
//! different framing would change, and then the length means something else.
//! The checksum finds faults of memory, proxies and drivers, not attackers;
//! those are kept out by TLS.

use alloc::vec::Vec;
use core::mem;

use super::BufferTooSmall;
use crate::collections::Pool;

/// The length of a frame's header, in bytes.
pub const HEADER_BYTES: usize = 12;

/// The smallest buffer for a partial frame, in bytes.
const PARTIAL_BYTES_MIN: usize = 256;

/// A frame: what kind of message it carries, and the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the body is; see [`message`](super::message).
    pub kind: u8,
    /// Properties of the body. None is defined yet.
    pub flags: u8,
    /// The message.
    pub body: &'a [u8],
}

/// Why a stream of frames came to its end. No frame behind it can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A body longer than the receiver allows.
    #[error("the frame is longer than allowed")]
    TooLong,
    /// The reserved field is not 0.
    #[error("the frame's reserved field is not zero")]
    Reserved,
    /// The checksum is not that of the frame.
    #[error("the frame's checksum is wrong")]
    Checksum,
}

impl FrameError {
    /// The reason in one word, to count it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "frame_too_long",
            Self::Reserved => "frame_reserved",
            Self::Checksum => "frame_checksum",
        }
    }
}

/// The header of a frame whose body is known, fit to write the frame in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; HEADER_BYTES],
}

impl Header {
    /// The header for a body that lies in parts, one behind another. It reads
    /// the whole body once, for the checksum.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] if the parts have more than `u32::MAX` bytes.
    pub fn for_body(kind: u8, flags: u8, parts: &[&[u8]]) -> Result<Self, FrameError> {
        let body_bytes = total_len(parts);
        let body_bytes = u32::try_from(body_bytes).map_err(|_| FrameError::TooLong)?;
        let mut bytes = [0; HEADER_BYTES];
        let [l0, l1, l2, l3] = body_bytes.to_be_bytes();
        let head = [l0, l1, l2, l3, kind, flags, 0, 0];
        let checksum = checksum(head, parts).to_be_bytes();
        bytes[..8].copy_from_slice(&head);
        bytes[8..].copy_from_slice(&checksum);
        Ok(Self { bytes })
    }

    /// The header as it goes over the wire.
    pub const fn as_bytes(&self) -> &[u8; HEADER_BYTES] {
        &self.bytes
    }

    /// The length of the whole frame, in bytes.
    pub fn frame_bytes(&self) -> u64 {
        let [l0, l1, l2, l3, ..] = self.bytes;
        u64::from(u32::from_be_bytes([l0, l1, l2, l3])) + HEADER_BYTES as u64
    }
}

/// Writes a whole frame into `buf` and returns its length.
///
/// ```
/// use tautline_core::wire::frame;
///
/// let mut buf = [0; 16];
/// assert_eq!(frame::encode(0x01, 0, b"body", &mut buf), Ok(16));
/// assert_eq!(buf[..8], [0, 0, 0, 4, 0x01, 0, 0, 0]);
/// assert_eq!(buf[12..], *b"body");
/// ```
///
/// # Errors
/// [`BufferTooSmall`] if the frame does not fit; nothing is written.
pub fn encode(kind: u8, flags: u8, body: &[u8], buf: &mut [u8]) -> Result<usize, BufferTooSmall> {
    let needed = body.len().saturating_add(HEADER_BYTES);
    let too_small = BufferTooSmall { needed };
    let place = buf.get_mut(..needed).ok_or(too_small)?;
    let header = Header::for_body(kind, flags, &[body]).map_err(|_| too_small)?;
    let (head, rest) = place.split_at_mut(HEADER_BYTES);
    head.copy_from_slice(&header.bytes);
    rest.copy_from_slice(body);
    Ok(needed)
}

/// Writes as much of a frame as fits into `buf`, from `offset` bytes of the
/// frame on, and returns how many bytes that is: 0 at the frame's end.
///
/// So a frame that is larger than the buffer leaves in parts, and its owner
/// keeps only the offset. `header` and `parts` are the same in each call.
///
/// ```
/// use tautline_core::wire::frame::{self, Header};
///
/// let parts: [&[u8]; 2] = [b"head", b"payload"];
/// let header = Header::for_body(0x41, 0, &parts)?;
/// let (mut offset, mut buf) = (0, [0; 10]);
/// loop {
///     let len = frame::encode_part(&header, &parts, offset, &mut buf);
///     if len == 0 {
///         break; // `buf[..len]` would go to the socket
///     }
///     offset += len as u64;
/// }
/// assert_eq!(offset, header.frame_bytes());
/// # Ok::<(), frame::FrameError>(())
/// ```
pub fn encode_part(header: &Header, parts: &[&[u8]], offset: u64, buf: &mut [u8]) -> usize {
    let mut skip = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut len = 0;
    for part in core::iter::once(&header.bytes[..]).chain(parts.iter().copied()) {
        let Some(wanted) = part.get(skip..) else {
            skip -= part.len();
            continue;
        };
        skip = 0;
        let room = buf.get_mut(len..).unwrap_or_default();
        let fits = wanted.len().min(room.len());
        room[..fits].copy_from_slice(&wanted[..fits]);
        len += fits;
    }
    len
}

/// Finds the frames in a stream of bytes, however it is cut.
///
/// A frame that lies whole in the input is handed out in place. The bytes of
/// one that does not are kept in a buffer of the pool, which goes back with
/// the call after the frame was handed out: between frames none is held. The
/// buffer grows with the bytes that came, not with the length that was stated.
///
/// After an error the stream is of no more use; the error is repeated.
///
/// ```
/// use tautline_core::collections::Pool;
/// use tautline_core::wire::frame::{self, Deframer};
///
/// let mut bytes = [0; 14];
/// frame::encode(0x01, 0, b"hi", &mut bytes)?;
///
/// let mut pool = Pool::new(8, 4_096);
/// let mut deframer = Deframer::default();
/// let mut input = &bytes[..5];
/// assert_eq!(deframer.next(&mut input, 1024, &mut pool), Ok(None));
/// let mut input = &bytes[5..];
/// let frame = deframer.next(&mut input, 1024, &mut pool);
/// assert_eq!(frame.map(|frame| frame.map(|frame| frame.body)), Ok(Some(&b"hi"[..])));
/// assert_eq!(deframer.next(&mut input, 1024, &mut pool), Ok(None));
/// # Ok::<(), tautline_core::wire::BufferTooSmall>(())
/// ```
#[derive(Debug, Default)]
pub struct Deframer {
    partial: Vec<u8>,
    handed_out: bool,
    failed: Option<FrameError>,
}

const _: () = assert!(size_of::<Deframer>() <= 32);

impl Deframer {
    /// Takes bytes off the front of `input` and returns the next frame, or
    /// `None` once all of them are taken. To be called until then: only then
    /// every frame was handed out and its buffer is back in the pool.
    ///
    /// `body_bytes_max` is how long a body may be by now; a longer one fails
    /// as soon as its header is complete.
    ///
    /// # Errors
    /// [`FrameError`] ends the stream.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        body_bytes_max: u32,
        pool: &mut Pool,
    ) -> Result<Option<Frame<'a>>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if mem::take(&mut self.handed_out) {
            self.release(pool);
        }
        if self.partial.is_empty() {
            match next_in_place(input, body_bytes_max) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => return Err(self.fail(error, pool)),
            }
        }
        match self.keep(input, body_bytes_max, pool) {
            Ok(None) => Ok(None),
            Ok(Some(head)) => {
                self.handed_out = true;
                let body = self.partial.get(HEADER_BYTES..).unwrap_or_default();
                Ok(Some(head.frame(body)))
            }
            Err(error) => Err(self.fail(error, pool)),
        }
    }

    /// Gives the buffer of a partial frame back. For a connection that ends.
    pub fn release(&mut self, pool: &mut Pool) {
        self.handed_out = false;
        if self.partial.capacity() > 0 {
            pool.give(mem::take(&mut self.partial));
        }
    }

    /// Bytes of the buffer that holds the unfinished frame, 0 if none is held.
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Whether bytes of an unfinished frame are held.
    pub fn is_partial(&self) -> bool {
        !self.partial.is_empty() && !self.handed_out
    }

    /// Keeps input until the frame is whole and right; then returns its head.
    fn keep(
        &mut self,
        input: &mut &[u8],
        body_bytes_max: u32,
        pool: &mut Pool,
    ) -> Result<Option<Head>, FrameError> {
        self.keep_until(HEADER_BYTES, input, pool);
        let Some(header) = self.partial.first_chunk() else {
            return Ok(None);
        };
        let head = Head::parse(header, body_bytes_max)?;
        self.keep_until(head.frame_bytes(), input, pool);
        let Some(body) = self.partial.get(HEADER_BYTES..head.frame_bytes()) else {
            return Ok(None);
        };
        head.check(body)?;
        Ok(Some(head))
    }

    /// Moves input to the buffer until that has `len` bytes or the input none.
    fn keep_until(&mut self, len: usize, input: &mut &[u8], pool: &mut Pool) {
        let missing = len.saturating_sub(self.partial.len()).min(input.len());
        let Some((taken, rest)) = input.split_at_checked(missing) else {
            return;
        };
        if taken.is_empty() {
            return;
        }
        let needed = self.partial.len() + taken.len();
        if needed > self.partial.capacity() {
            let doubled = self.partial.len().saturating_mul(2).min(len);
            let mut larger = pool.take(needed.max(doubled).max(PARTIAL_BYTES_MIN));
            larger.extend_from_slice(&self.partial);
            let outgrown = mem::replace(&mut self.partial, larger);
            if outgrown.capacity() > 0 {
                pool.give(outgrown);
            }
        }
        self.partial.extend_from_slice(taken);
        *input = rest;
    }

    fn fail(&mut self, error: FrameError, pool: &mut Pool) -> FrameError {
        self.release(pool);
        self.failed = Some(error);
        error
    }
}

/// The fields of a header that was checked against the receiver's limit.
#[derive(Clone, Copy)]
struct Head {
    protected: [u8; 8],
    body_bytes: usize,
    checksum: u32,
}

impl Head {
    fn parse(header: &[u8; HEADER_BYTES], body_bytes_max: u32) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, kind, flags, r0, r1, c0, c1, c2, c3] = *header;
        if [r0, r1] != [0, 0] {
            return Err(FrameError::Reserved);
        }
        let body_bytes = u32::from_be_bytes([l0, l1, l2, l3]);
        if body_bytes > body_bytes_max {
            return Err(FrameError::TooLong);
        }
        Ok(Self {
            protected: [l0, l1, l2, l3, kind, flags, r0, r1],
            body_bytes: usize::try_from(body_bytes).map_err(|_| FrameError::TooLong)?,
            checksum: u32::from_be_bytes([c0, c1, c2, c3]),
        })
    }

    const fn frame_bytes(&self) -> usize {
        self.body_bytes.saturating_add(HEADER_BYTES)
    }

    fn check(&self, body: &[u8]) -> Result<(), FrameError> {
        // A fuzzer does not guess checksums; it shall see what lies behind.
        if cfg!(fuzzing) || checksum(self.protected, &[body]) == self.checksum {
            return Ok(());
        }
        Err(FrameError::Checksum)
    }

    const fn frame<'a>(&self, body: &'a [u8]) -> Frame<'a> {
        let [_, _, _, _, kind, flags, _, _] = self.protected;
        Frame { kind, flags, body }
    }
}

/// The next frame, if it lies whole in the input; else nothing is taken.
fn next_in_place<'a>(
    input: &mut &'a [u8],
    body_bytes_max: u32,
) -> Result<Option<Frame<'a>>, FrameError> {
    let Some((header, behind)) = input.split_first_chunk() else {
        return Ok(None);
    };
    let head = Head::parse(header, body_bytes_max)?;
    let Some((body, rest)) = behind.split_at_checked(head.body_bytes) else {
        return Ok(None);
    };
    head.check(body)?;
    *input = rest;
    Ok(Some(head.frame(body)))
}

fn checksum(protected: [u8; 8], body: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&protected);
    body.iter().for_each(|part| crc.update(part));
    crc.finalize()
}

fn total_len(parts: &[&[u8]]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 20] = [
        0, 0, 0, 8, 1, 0, 0, 0, 0xb3, 0x79, 0x41, 0xf4, 0, 0, 0, 0, 0, 0, 0, 7,
    ];

    /// The first frame of the bytes, given whole to a fresh deframer.
    fn first(mut bytes: &[u8], body_bytes_max: u32) -> Result<Option<Frame<'_>>, FrameError> {
        next_in_place(&mut bytes, body_bytes_max)
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut buf = [0; 20];
        assert_eq!(encode(1, 0, &PING[12..], &mut buf), Ok(20));
        assert_eq!(buf, PING, "checksum by zlib's crc32");
        let frame = Frame {
            kind: 1,
            flags: 0,
            body: &PING[12..],
        };
        assert_eq!(first(&PING, 8), Ok(Some(frame)));
    }

    #[test]
    fn a_frame_may_be_empty() {
        let mut buf = [0xff; 12];
        assert_eq!(encode(1, 0, b"", &mut buf), Ok(12));
        assert_eq!(buf, [0, 0, 0, 0, 1, 0, 0, 0, 0xdd, 0x9e, 0xb8, 0x0c]);
        assert_eq!(
            first(&buf, 0).map(|frame| frame.map(|frame| frame.body)),
            Ok(Some(&b""[..]))
        );
    }

    #[test]
    fn flags_are_handed_on_and_covered() {
        let mut buf = [0; 12];
        assert_eq!(encode(1, 0x80, b"", &mut buf), Ok(12));
        assert_eq!(
            first(&buf, 0).map(|frame| frame.map(|frame| frame.flags)),
            Ok(Some(0x80))
        );
        buf[5] = 0x40;
        assert_eq!(first(&buf, 0), Err(FrameError::Checksum));
    }

    #[test]
    fn each_changed_bit_is_found() {
        for bit in 0..PING.len() * 8 {
            let mut changed = PING;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(first(&changed, 8), Ok(Some(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_header_that_asks_too_much_fails_before_its_body() {
        let (mut deframer, mut pool) = (Deframer::default(), Pool::new(8, 4_096));
        let mut almost = &PING[..11];
        assert_eq!(deframer.next(&mut almost, 7, &mut pool), Ok(None));
        let mut last = &PING[11..12];
        let found = deframer.next(&mut last, 7, &mut pool);
        assert_eq!(found, Err(FrameError::TooLong));
        assert_eq!(deframer.partial.capacity(), 0, "the buffer went back");
        let found = deframer.next(&mut &PING[..], 8, &mut pool);
        assert_eq!(found, Err(FrameError::TooLong), "the end is the end");
    }

    #[test]
    fn a_reserved_field_must_be_zero() {
        for (place, value) in [(6, 1), (7, 0x80)] {
            let mut header = PING;
            header[place] = value;
            assert_eq!(first(&header, 8), Err(FrameError::Reserved));
        }
    }

    #[test]
    fn a_stated_length_sizes_nothing() {
        let (mut deframer, mut pool) = (Deframer::default(), Pool::new(8, 4_096));
        let mut bytes = &[0x7f, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 9][..];
        assert_eq!(deframer.next(&mut bytes, u32::MAX, &mut pool), Ok(None));
        assert!(bytes.is_empty());
        assert!(deframer.is_partial());
        assert!(deframer.partial.capacity() < 8_192);
    }

    #[test]
    fn between_frames_no_buffer_is_held() {
        let (mut deframer, mut pool) = (Deframer::default(), Pool::new(8, 4_096));
        let stream = [PING, PING, PING].concat();
        let mut found = 0;
        for mut piece in stream.chunks(7) {
            while let Ok(Some(frame)) = deframer.next(&mut piece, 8, &mut pool) {
                assert_eq!(frame.body, &PING[12..]);
                found += 1;
            }
        }
        assert_eq!(found, 3);
        assert!(!deframer.is_partial());
        assert_eq!(deframer.partial.capacity(), 0);
        assert_eq!(pool.retained(), 1, "one buffer served all of them");
    }

    #[test]
    fn a_large_frame_outgrows_its_buffer_and_returns_all() {
        let (mut deframer, mut pool) = (Deframer::default(), Pool::new(8, 4_096));
        let body = [0x5a; 3_000];
        let mut bytes = [0; 3_012];
        assert_eq!(encode(0x41, 0, &body, &mut bytes), Ok(3_012));
        for round in 0..2 {
            let mut found = 0;
            for mut piece in bytes.chunks(100) {
                while let Ok(Some(frame)) = deframer.next(&mut piece, 3_000, &mut pool) {
                    assert_eq!(frame.body, body);
                    found += 1;
                }
            }
            assert_eq!(found, 1);
            assert_eq!(deframer.partial.capacity(), 0);
            assert_eq!(pool.retained(), 5, "256 to 4,096 bytes, round {round}");
        }
    }

    #[test]
    fn a_connection_that_ends_gives_its_buffer_back() {
        let (mut deframer, mut pool) = (Deframer::default(), Pool::new(8, 4_096));
        assert_eq!(deframer.next(&mut &PING[..15], 8, &mut pool), Ok(None));
        deframer.release(&mut pool);
        assert!(!deframer.is_partial());
        assert_eq!(deframer.partial.capacity(), 0);
    }

    #[test]
    fn a_buffer_that_is_too_small_is_left_alone() {
        let mut buf = [0xee; 19];
        let needed = encode(1, 0, &PING[12..], &mut buf);
        assert_eq!(needed, Err(BufferTooSmall { needed: 20 }));
        assert_eq!(buf, [0xee; 19]);
    }

    #[test]
    fn nothing_is_written_behind_the_end_of_a_frame() {
        let parts = [&PING[12..]];
        let header = Header::for_body(1, 0, &parts).expect("short");
        for offset in [20, 21, u64::MAX] {
            assert_eq!(encode_part(&header, &parts, offset, &mut [0; 4]), 0);
        }
        assert_eq!(encode_part(&header, &parts, 19, &mut [0; 4]), 1);
        assert_eq!(encode_part(&header, &parts, 0, &mut []), 0);
    }
}
