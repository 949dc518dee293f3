//! The bytes of a spool's files. `docs/spool.md` shows them in tables.

use crate::ClientId;
use crate::wire::cursor::{Reader, Truncated, Writer};

/// The first bytes of a segment belong to its header.
pub const SEGMENT_HEADER_BYTES: u32 = 4_096;
/// Those of them that are used.
pub const SEGMENT_HEADER_USED_BYTES: usize = 36;
/// The header of a record.
pub const RECORD_HEADER_BYTES: usize = 72;
/// Records begin at multiples of it.
pub const RECORD_ALIGNMENT: u32 = 8;
/// The file that says how far segments were synced, and each of its two places.
pub const END_PLACE_BYTES: usize = 512;
/// Those of a place that are used.
pub const END_USED_BYTES: usize = 36;
/// The format that is written, and the newest that is read.
pub const VERSION: u16 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"TLSPOOL\n";
const END_MAGIC: [u8; 8] = *b"TLSPEND\n";
const RECORD_MAGIC: u32 = 0x5452_4543;
const KIND_MESSAGE: u8 = 1;
const KIND_STATEMENT: u8 = 2;
const KIND_SEAL: u8 = 3;

/// The header of a segment: what is in the file counts only under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The number of this use of the file; none has it before or after.
    pub number: u64,
    /// Bytes of the file that were written before it was used.
    pub capacity: u32,
    /// The first record's sequence, if there is one.
    pub first_sequence: u64,
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Fewer bytes than a header has.
    #[error("the file ends in its header")]
    Truncated,
    /// It is nothing that a spool writes.
    #[error("it does not begin as a segment does")]
    Magic,
    /// A newer version wrote it.
    #[error("format {0} is newer than {VERSION}, which this version reads")]
    Newer(u16),
    /// A checksum is wrong.
    #[error("the header's checksum is wrong")]
    Checksum,
}

impl From<Truncated> for FormatError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

impl SegmentHeader {
    /// The used bytes of the header; the others are zeros.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_USED_BYTES] {
        sealed(|fields| {
            fields.bytes(&SEGMENT_MAGIC);
            fields.u16(VERSION);
            fields.u16(0);
            fields.u32(self.capacity);
            fields.u64(self.number);
            fields.u64(self.first_sequence);
        })
    }

    /// Reads the header off the front of a segment.
    ///
    /// # Errors
    /// [`FormatError`]: the segment is not to be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let used = bytes.get(..SEGMENT_HEADER_USED_BYTES);
        let mut fields = Reader::new(used.ok_or(FormatError::Truncated)?);
        if fields.array()? != SEGMENT_MAGIC {
            return Err(FormatError::Magic);
        }
        let version = fields.u16()?;
        if version > VERSION {
            return Err(FormatError::Newer(version));
        }
        check::<SEGMENT_HEADER_USED_BYTES>(bytes)?;
        fields.u16()?;
        Ok(Self {
            capacity: fields.u32()?,
            number: fields.u64()?,
            first_sequence: fields.u64()?,
        })
    }
}

/// How far the newest segment was synced, recorded apart from it: what is
/// damaged before that was not torn by a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncedEnd {
    /// The segment's number.
    pub segment: u64,
    /// The end of its last synced record, from the start of the file.
    pub offset: u32,
    /// That record's sequence.
    pub sequence: u64,
}

impl SyncedEnd {
    /// The used bytes of a place.
    pub fn encode(&self) -> [u8; END_USED_BYTES] {
        sealed(|fields| {
            fields.bytes(&END_MAGIC);
            fields.u16(VERSION);
            fields.u16(0);
            fields.u32(self.offset);
            fields.u64(self.segment);
            fields.u64(self.sequence);
        })
    }

    /// The latest of the places that are whole; nothing was synced if none is.
    /// The file is written behind what it tells of, so any place that is whole
    /// is true, if not the latest.
    pub fn parse(file: &[u8]) -> Self {
        let places = file.chunks(END_PLACE_BYTES).take(2);
        let whole = places.filter_map(|place| Self::parse_place(place).ok());
        whole.max().unwrap_or_default()
    }

    fn parse_place(place: &[u8]) -> Result<Self, FormatError> {
        check::<END_USED_BYTES>(place)?;
        let mut fields = Reader::new(place);
        if fields.array()? != END_MAGIC || fields.u16()? != VERSION {
            return Err(FormatError::Magic);
        }
        fields.u16()?;
        Ok(Self {
            offset: fields.u32()?,
            segment: fields.u64()?,
            sequence: fields.u64()?,
        })
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A message; the body is the user's.
    Message {
        /// Hosts with a lower one go first; never the messages of one host.
        priority: u8,
        /// Unix seconds; 0 is never.
        expires_at: u64,
    },
    /// What stands of a host: its next message has the record's number, and its
    /// messages up to here are done.
    Statement {
        /// The last that is done.
        removed_through: u64,
    },
    /// The last record of a segment, synced before any other segment is begun.
    Seal,
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The number of the segment's use, and where in the file the header
    /// stands: what an earlier use left is no record of this one.
    pub segment: u64,
    /// See `segment`.
    pub offset: u32,
    /// Bytes of the body.
    pub body_bytes: u32,
    /// CRC-32 of the body.
    pub body_checksum: u32,
    /// What it is.
    pub kind: RecordKind,
    /// Rises over all records.
    pub sequence: u64,
    /// Whose it is.
    pub host: ClientId,
    /// Rises over the messages of a host.
    pub number: u64,
}

impl RecordHeader {
    /// Bytes of the whole record with what fills it up.
    pub const fn record_bytes(&self) -> u64 {
        record_bytes(self.body_bytes)
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let (kind, priority, more) = match self.kind {
            RecordKind::Message {
                priority,
                expires_at,
            } => (KIND_MESSAGE, priority, expires_at),
            RecordKind::Statement { removed_through } => (KIND_STATEMENT, 0, removed_through),
            RecordKind::Seal => (KIND_SEAL, 0, 0),
        };
        sealed(|fields| {
            fields.u32(RECORD_MAGIC);
            fields.u32(self.offset);
            fields.u64(self.segment);
            fields.u32(self.body_bytes);
            fields.u32(self.body_checksum);
            fields.u64(self.sequence);
            fields.bytes(&self.host.0);
            fields.u64(self.number);
            fields.u64(more);
            fields.u8(kind);
            fields.u8(priority);
            fields.u16(0);
        })
    }

    /// Reads the header at the front of the bytes, which is to stand at
    /// `offset` of the use `segment`; `None` if there is none.
    pub fn parse(bytes: &[u8], segment: u64, offset: u32) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        let starts_so = fields.u32().ok()? == RECORD_MAGIC
            && fields.u32().ok()? == offset
            && fields.u64().ok()? == segment;
        if !starts_so || check::<RECORD_HEADER_BYTES>(bytes).is_err() {
            return None;
        }
        let (body_bytes, body_checksum) = (fields.u32().ok()?, fields.u32().ok()?);
        let sequence = fields.u64().ok()?;
        let host = ClientId(fields.array().ok()?);
        let (number, more) = (fields.u64().ok()?, fields.u64().ok()?);
        let (kind, priority) = (fields.u8().ok()?, fields.u8().ok()?);
        let kind = match kind {
            KIND_MESSAGE => RecordKind::Message {
                priority,
                expires_at: more,
            },
            KIND_STATEMENT => RecordKind::Statement {
                removed_through: more,
            },
            KIND_SEAL => RecordKind::Seal,
            _ => return None,
        };
        Some(Self {
            segment,
            offset,
            body_bytes,
            body_checksum,
            kind,
            sequence,
            host,
            number,
        })
    }

    /// Whether it is the body of this record.
    pub fn is_body(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes as usize && crc32fast::hash(body) == self.body_checksum
    }
}

/// Bytes of a record whose body has so many.
pub const fn record_bytes(body_bytes: u32) -> u64 {
    (RECORD_HEADER_BYTES as u64 + body_bytes as u64).next_multiple_of(RECORD_ALIGNMENT as u64)
}

/// Fields and, behind them, their CRC-32; together `N` bytes.
fn sealed<const N: usize>(put: impl FnOnce(&mut Writer<'_>)) -> [u8; N] {
    let mut bytes = [0; N];
    if let Some((fields, seal)) = bytes.split_last_chunk_mut::<4>() {
        put(&mut Writer::new(fields));
        *seal = crc32fast::hash(fields).to_be_bytes();
    }
    bytes
}

/// Checks the CRC-32 at the end of the first `N` bytes.
fn check<const N: usize>(bytes: &[u8]) -> Result<(), FormatError> {
    let sealed: &[u8; N] = bytes.first_chunk().ok_or(FormatError::Truncated)?;
    let whole = sealed.split_last_chunk::<4>();
    let (fields, seal) = whole.ok_or(FormatError::Truncated)?;
    match crc32fast::hash(fields) == u32::from_be_bytes(*seal) {
        true => Ok(()),
        false => Err(FormatError::Checksum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        number: 7,
        capacity: 1 << 26,
        first_sequence: 99,
    };

    fn record() -> RecordHeader {
        RecordHeader {
            segment: 7,
            offset: 4_096,
            body_bytes: 5,
            body_checksum: crc32fast::hash(b"hello"),
            kind: RecordKind::Message {
                priority: 3,
                expires_at: 1_800_000_000,
            },
            sequence: 99,
            host: ClientId([8; 16]),
            number: 1,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(SegmentHeader::parse(&HEADER.encode()), Ok(HEADER));
        let record = record();
        assert_eq!(RecordHeader::parse(&record.encode(), 7, 4_096), Some(record));
        assert!(record.is_body(b"hello") && !record.is_body(b"hallo"));
        let statement = RecordHeader {
            kind: RecordKind::Statement {
                removed_through: u64::MAX,
            },
            ..record
        };
        let read = RecordHeader::parse(&statement.encode(), 7, 4_096);
        assert_eq!(read, Some(statement));
        assert_eq!(record.record_bytes(), 80);
    }

    #[test]
    fn no_flipped_bit_passes() {
        let (header, record) = (HEADER.encode(), record().encode());
        for bit in 0..header.len() * 8 {
            let mut bytes = header;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::parse(&bytes).is_err(), "bit {bit}");
        }
        for bit in 0..record.len() * 8 {
            let mut bytes = record;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::parse(&bytes, 7, 4_096), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_counts_only_where_and_when_it_was_written() {
        let bytes = record().encode();
        assert_eq!(RecordHeader::parse(&bytes, 8, 4_096), None);
        assert_eq!(RecordHeader::parse(&bytes, 7, 4_104), None);
        assert_eq!(RecordHeader::parse(&bytes[..71], 7, 4_096), None);
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut bytes = HEADER.encode();
        bytes[9] = 2;
        assert_eq!(SegmentHeader::parse(&bytes), Err(FormatError::Newer(2)));
        bytes[0] ^= 1;
        assert_eq!(SegmentHeader::parse(&bytes), Err(FormatError::Magic));
        assert_eq!(SegmentHeader::parse(&[]), Err(FormatError::Truncated));
    }

    #[test]
    fn of_two_places_the_later_whole_one_counts() {
        let end = |segment, offset| SyncedEnd {
            segment,
            offset,
            sequence: 5,
        };
        let mut file = [0; 2 * END_PLACE_BYTES];
        assert_eq!(SyncedEnd::parse(&file), SyncedEnd::default());
        let mut put = |place: usize, end: SyncedEnd| {
            let at = place * END_PLACE_BYTES;
            file[at..at + END_USED_BYTES].copy_from_slice(&end.encode());
            file
        };
        put(0, end(2, 4_200));
        let file = put(1, end(1, 9_000));
        assert_eq!(SyncedEnd::parse(&file), end(2, 4_200));
        let mut torn = file;
        torn[20] ^= 1;
        assert_eq!(SyncedEnd::parse(&torn), end(1, 9_000));
        assert_eq!(SyncedEnd::parse(&torn[..100]), SyncedEnd::default());
    }
}
