//! Checked reading and writing of big-endian fields.

use super::BufferTooSmall;

/// Fewer bytes than the fields need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("truncated")]
pub struct Truncated;

/// Takes fields from the front of a slice.
///
/// ```
/// use tautline_core::wire::cursor::{Reader, Truncated};
///
/// let mut reader = Reader::new(&[0, 7, 1, 2]);
/// assert_eq!(reader.u16(), Ok(7));
/// assert_eq!(reader.u32(), Err(Truncated));
/// assert_eq!(reader.rest(), [1, 2]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the first of the bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no byte is left.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`Truncated`] if there are fewer; nothing is taken then. The same holds
    /// for each field.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (field, rest) = self.bytes.split_first_chunk().ok_or(Truncated)?;
        self.bytes = rest;
        Ok(*field)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`Truncated`] if there are fewer.
    pub fn slice(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        let (field, rest) = self.bytes.split_at_checked(len).ok_or(Truncated)?;
        self.bytes = rest;
        Ok(field)
    }

    /// A byte.
    ///
    /// # Errors
    /// [`Truncated`] if there is none.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.array().map(u8::from_be_bytes)
    }

    /// A number of 2 bytes.
    ///
    /// # Errors
    /// [`Truncated`] if there are fewer.
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_be_bytes)
    }

    /// A number of 4 bytes.
    ///
    /// # Errors
    /// [`Truncated`] if there are fewer.
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number of 8 bytes.
    ///
    /// # Errors
    /// [`Truncated`] if there are fewer.
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_be_bytes)
    }

    /// All bytes that are left.
    pub const fn rest(self) -> &'a [u8] {
        self.bytes
    }
}

/// Puts fields into a buffer, one behind another.
///
/// What does not fit is only counted, so that one check at the end,
/// [`finish`](Writer::finish), is enough.
///
/// ```
/// use tautline_core::wire::{BufferTooSmall, cursor::Writer};
///
/// let mut buf = [0; 6];
/// let mut writer = Writer::new(&mut buf);
/// writer.u16(7);
/// writer.bytes(b"hi");
/// assert_eq!(writer.finish(), Ok(4));
/// assert_eq!(buf, [0, 7, b'h', b'i', 0, 0]);
///
/// let mut writer = Writer::new(&mut buf);
/// writer.u64(1);
/// assert_eq!(writer.finish(), Err(BufferTooSmall { needed: 8 }));
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// A writer at the start of the buffer.
    pub const fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// Puts bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(place) = self.buf.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
        }
        self.len = end;
    }

    /// Puts a byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Puts a number of 2 bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Puts a number of 4 bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Puts a number of 8 bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// How many bytes were written.
    ///
    /// # Errors
    /// [`BufferTooSmall`] if some did not fit; the buffer's content is of no
    /// use then.
    pub const fn finish(self) -> Result<usize, BufferTooSmall> {
        if self.len > self.buf.len() {
            return Err(BufferTooSmall { needed: self.len });
        }
        Ok(self.len)
    }
}
