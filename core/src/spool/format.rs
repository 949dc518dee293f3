//! The bytes of a spool's files; `docs/spool.md` shows them in tables.

use crate::ClientId;
use crate::wire::cursor::{Reader, Truncated, Writer};

/// What the header of a segment takes; records begin behind it.
pub const SEGMENT_HEADER_BYTES: u32 = 4_096;
/// Bytes of a segment that can hold records: what is behind them does not
/// count.
pub const SEGMENT_BYTES_MAX: u32 = u32::MAX - u32::MAX % RECORD_ALIGNMENT;
/// The header of a record.
pub const RECORD_HEADER_BYTES: usize = 72;
/// Records begin at multiples of it.
pub const RECORD_ALIGNMENT: u32 = 8;
/// A record, with its header and what fills it up.
pub const RECORD_BYTES_MAX: u32 = 1 << 20;
/// What a record can carry.
pub const BODY_BYTES_MAX: u32 = RECORD_BYTES_MAX - RECORD_HEADER_BYTES as u32;
/// Each of the two places of the file that tells how far was synced.
pub const END_PLACE_BYTES: usize = 512;
/// Those of a place that are used.
pub const END_USED_BYTES: usize = 36;
/// The format that is written, and the newest that is read.
pub const VERSION: u16 = 1;

/// The header stands at the front, and again here, in another sector.
const SEGMENT_HEADER_AGAIN: usize = 2_048;
const SEGMENT_HEADER_USED_BYTES: usize = 36;
const SEGMENT_MAGIC: [u8; 8] = *b"TLSPOOL\n";
const END_MAGIC: [u8; 8] = *b"TLSPEND\n";
const RECORD_MAGIC: u32 = 0x5452_4543;
const KIND_MESSAGE: u8 = 1;
const KIND_STATEMENT: u8 = 2;
const KIND_SEAL: u8 = 3;
const KIND_VOID: u8 = 4;

/// The first bytes of every record, on which a search for one begins.
pub(super) const RECORD_BEGINS_WITH: [u8; 4] = RECORD_MAGIC.to_be_bytes();

/// The header of a segment: what is in the file counts only under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The number of this use of the file. Numbers rise over all segments.
    pub number: u64,
    /// Bytes of the file that were written before it was used.
    pub capacity: u32,
    /// The sequence that its first record has or would have.
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
    /// The header's bytes: the fields twice, and zeros.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let fields: [u8; SEGMENT_HEADER_USED_BYTES] = sealed(|fields| {
            fields.bytes(&SEGMENT_MAGIC);
            fields.u16(VERSION);
            fields.u16(0);
            fields.u32(self.capacity);
            fields.u64(self.number);
            fields.u64(self.first_sequence);
        });
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        for place in [0, SEGMENT_HEADER_AGAIN] {
            bytes[place..][..fields.len()].copy_from_slice(&fields);
        }
        bytes
    }

    /// Reads the header off the front of a segment. One whole copy is enough.
    /// If they differ, the segment was about to be used anew: what it held
    /// was not needed any more, and the new use counts.
    ///
    /// # Errors
    /// [`FormatError`]: the segment is not to be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let again = bytes.get(SEGMENT_HEADER_AGAIN..).unwrap_or_default();
        match (Self::parse_copy(bytes), Self::parse_copy(again)) {
            (Ok(one), Ok(other)) if one.number < other.number => Ok(other),
            (Ok(whole), _) | (Err(_), Ok(whole)) => Ok(whole),
            (Err(_), Err(newer @ FormatError::Newer(_))) => Err(newer),
            (Err(error), Err(_)) => Err(error),
        }
    }

    fn parse_copy(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Reader::new(bytes);
        if fields.array()? != SEGMENT_MAGIC {
            return Err(FormatError::Magic);
        }
        // What stands behind the version is for that version to say.
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
/// damaged before that was not torn by a crash. Later ones compare as greater.
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

    /// The later of the two places; nothing was synced if none is whole. The
    /// file is written behind what it tells of, so whatever is whole is true.
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
        /// Hosts with a lower one go first; messages of one host keep their
        /// order.
        priority: u8,
        /// Unix seconds; 0 is never.
        expires_at: u32,
    },
    /// What stands of a host: its next message has the record's number, and its
    /// messages up to here are done.
    Statement {
        /// The last that is done.
        removed_through: u64,
    },
    /// The last record of a segment: it is written when all before it was
    /// synced, and synced before another segment is begun.
    Seal,
    /// Nothing. It stands over bytes that a crash or a fault left in the middle
    /// of a segment, so that they are told once; its body is what was there.
    Void,
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
    /// CRC-32 of the body; not looked at in a void.
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
    pub const fn record_bytes(&self) -> u32 {
        record_bytes(self.body_bytes)
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let (kind, priority, more) = match self.kind {
            RecordKind::Message {
                priority,
                expires_at,
            } => (KIND_MESSAGE, priority, expires_at.into()),
            RecordKind::Statement { removed_through } => (KIND_STATEMENT, 0, removed_through),
            RecordKind::Seal => (KIND_SEAL, 0, 0),
            RecordKind::Void => (KIND_VOID, 0, 0),
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
        let body_bytes = fields.u32().ok().filter(|bytes| *bytes <= BODY_BYTES_MAX)?;
        let body_checksum = fields.u32().ok()?;
        let sequence = fields.u64().ok()?;
        let host = ClientId(fields.array().ok()?);
        let (number, more) = (fields.u64().ok()?, fields.u64().ok()?);
        let (kind, priority) = (fields.u8().ok()?, fields.u8().ok()?);
        let kind = match kind {
            KIND_MESSAGE => RecordKind::Message {
                priority,
                expires_at: more.try_into().ok()?,
            },
            KIND_STATEMENT => RecordKind::Statement {
                removed_through: more,
            },
            KIND_SEAL => RecordKind::Seal,
            KIND_VOID => RecordKind::Void,
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
        body.len() == self.body_bytes as usize
            && (self.kind == RecordKind::Void || crc32fast::hash(body) == self.body_checksum)
    }
}

/// Bytes of a record whose body has so many, at most [`BODY_BYTES_MAX`].
pub const fn record_bytes(body_bytes: u32) -> u32 {
    (RECORD_HEADER_BYTES as u32 + body_bytes).next_multiple_of(RECORD_ALIGNMENT)
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
    use crate::id::parse_hex;

    const HEADER: SegmentHeader = SegmentHeader {
        number: 7,
        capacity: 1 << 26,
        first_sequence: 99,
    };
    const MESSAGE: RecordHeader = RecordHeader {
        segment: 7,
        offset: 4_096,
        body_bytes: 5,
        body_checksum: 0x3610_a686,
        kind: RecordKind::Message {
            priority: 3,
            expires_at: 1_800_000_000,
        },
        sequence: 99,
        host: ClientId([0x0c; 16]),
        number: 1,
    };
    const STATEMENT: RecordHeader = RecordHeader {
        offset: 4_176,
        body_bytes: 0,
        body_checksum: 0,
        kind: RecordKind::Statement { removed_through: 1 },
        sequence: 100,
        number: 2,
        ..MESSAGE
    };

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        parse_hex(&text.split_whitespace().collect::<alloc::string::String>()).unwrap()
    }

    /// The examples of docs/spool.md.
    #[test]
    fn the_examples_of_the_document() {
        let header = hex::<36>(
            "54 4c 53 50 4f 4f 4c 0a  00 01 00 00 04 00 00 00  00 00 00 00 00 00 00 07 \
             00 00 00 00 00 00 00 63  2b 92 49 aa",
        );
        let bytes = HEADER.encode();
        assert_eq!(bytes[..36], header);
        assert_eq!(bytes[2_048..2_084], header);
        let used = bytes.iter().filter(|byte| **byte != 0).count();
        let twice = 2 * header.iter().filter(|byte| **byte != 0).count();
        assert_eq!(used, twice, "the rest is zeros");
        let message = hex::<72>(
            "54 52 45 43 00 00 10 00  00 00 00 00 00 00 00 07  00 00 00 05 36 10 a6 86 \
             00 00 00 00 00 00 00 63  0c 0c 0c 0c 0c 0c 0c 0c  0c 0c 0c 0c 0c 0c 0c 0c \
             00 00 00 00 00 00 00 01  00 00 00 00 6b 49 d2 00  01 03 00 00 24 87 c0 5b",
        );
        assert_eq!(MESSAGE.encode(), message);
        assert!(MESSAGE.is_body(b"hello"));
        let statement = hex::<72>(
            "54 52 45 43 00 00 10 50  00 00 00 00 00 00 00 07  00 00 00 00 00 00 00 00 \
             00 00 00 00 00 00 00 64  0c 0c 0c 0c 0c 0c 0c 0c  0c 0c 0c 0c 0c 0c 0c 0c \
             00 00 00 00 00 00 00 02  00 00 00 00 00 00 00 01  02 00 00 00 47 a0 d2 71",
        );
        assert_eq!(STATEMENT.encode(), statement);
        let end = hex::<36>(
            "54 4c 53 50 45 4e 44 0a  00 01 00 00 00 00 10 98  00 00 00 00 00 00 00 07 \
             00 00 00 00 00 00 00 64  ab 14 52 6c",
        );
        let synced = SyncedEnd {
            segment: 7,
            offset: 4_248,
            sequence: 100,
        };
        assert_eq!(synced.encode(), end);
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(SegmentHeader::parse(&HEADER.encode()), Ok(HEADER));
        let kinds = [
            MESSAGE.kind,
            RecordKind::Statement {
                removed_through: u64::MAX,
            },
            RecordKind::Seal,
            RecordKind::Void,
        ];
        for kind in kinds {
            let record = RecordHeader { kind, ..MESSAGE };
            let read = RecordHeader::parse(&record.encode(), 7, 4_096);
            assert_eq!(read, Some(record));
            assert!(record.is_body(b"hello") && !record.is_body(b"hello "));
            assert_eq!(record.is_body(b"hallo"), kind == RecordKind::Void);
        }
        let sizes = [0, 1, 8, BODY_BYTES_MAX].map(record_bytes);
        assert_eq!(sizes, [72, 80, 80, RECORD_BYTES_MAX]);
    }

    #[test]
    fn s5_no_flipped_bit_of_a_record_header_passes() {
        let record = MESSAGE.encode();
        for bit in 0..record.len() * 8 {
            let mut bytes = record;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::parse(&bytes, 7, 4_096), None, "bit {bit}");
        }
    }

    #[test]
    fn s5_no_flipped_bit_costs_a_segment() {
        let mut bytes = HEADER.encode();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::parse(&bytes), Ok(HEADER), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for bit in 0..36 * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes[2_048 + bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::parse(&bytes).is_err(), "bit {bit} twice");
        }
    }

    #[test]
    fn s6_of_a_torn_header_the_new_use_counts() {
        let next = SegmentHeader {
            number: 8,
            ..HEADER
        };
        for (first, second) in [(HEADER, next), (next, HEADER)] {
            let mut bytes = first.encode();
            bytes[2_048..].copy_from_slice(&second.encode()[2_048..]);
            assert_eq!(SegmentHeader::parse(&bytes), Ok(next));
        }
    }

    #[test]
    fn a_record_counts_only_where_and_when_it_was_written() {
        let bytes = MESSAGE.encode();
        assert_eq!(RecordHeader::parse(&bytes, 8, 4_096), None);
        assert_eq!(RecordHeader::parse(&bytes, 7, 4_104), None);
        assert_eq!(RecordHeader::parse(&bytes[..71], 7, 4_096), None);
    }

    #[test]
    fn a_body_that_no_piece_holds_is_none() {
        for (body_bytes, is_read) in [(BODY_BYTES_MAX, true), (BODY_BYTES_MAX + 1, false)] {
            let record = RecordHeader {
                body_bytes,
                ..MESSAGE
            };
            let read = RecordHeader::parse(&record.encode(), 7, 4_096);
            assert_eq!(read.is_some(), is_read, "{body_bytes}");
        }
    }

    #[test]
    fn s10_a_newer_format_is_told_apart_from_damage() {
        let mut bytes = HEADER.encode();
        bytes[9] = 2;
        assert_eq!(SegmentHeader::parse(&bytes), Ok(HEADER), "a flipped bit");
        bytes[2_057] = 2;
        assert_eq!(SegmentHeader::parse(&bytes), Err(FormatError::Newer(2)));
        bytes[0] ^= 1;
        assert_eq!(SegmentHeader::parse(&bytes), Err(FormatError::Newer(2)));
        bytes[2_048] ^= 1;
        assert_eq!(SegmentHeader::parse(&bytes), Err(FormatError::Magic));
        let read = SegmentHeader::parse(&HEADER.encode()[..35]);
        assert_eq!(read, Err(FormatError::Truncated));
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
        for bit in 0..END_USED_BYTES * 8 {
            let mut damaged = file;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SyncedEnd::parse(&damaged), end(1, 9_000), "bit {bit}");
            assert_eq!(SyncedEnd::parse(&damaged[..100]), SyncedEnd::default());
        }
    }
}
