//! What a segment's bytes say: a pure function of them.

use core::ops::Range;

use super::format::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, RecordKind};

/// What was found in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole record.
    Record {
        /// Its header.
        header: RecordHeader,
        /// Its body.
        body: &'a [u8],
    },
    /// Bytes that were synced once and are no record now.
    Corrupt {
        /// Which ones, from the start of the file.
        range: Range<u32>,
    },
}

/// Goes through a segment, piece by piece, and finds its records.
///
/// Nothing is taken for a record that is none: its header has the number of
/// the segment's use, its own place and a CRC-32, and its body one of its own.
/// Behind damage the next record is looked for wherever one may begin, so
/// damage costs what it hit and no more. Whether it is corruption or the tail
/// of a write that a crash cut off is told by how far the segment was synced.
///
/// ```
/// use tautline_core::spool::scan::{Found, Scan};
///
/// let mut scan = Scan::new(7, 4_096, 4_104);
/// let mut piece: &[u8] = &[0; 64];
/// let found = scan.next(&mut piece, true);
/// assert_eq!(found, Some(Found::Corrupt { range: 4_096..4_104 }));
/// assert_eq!(scan.next(&mut piece, true), None);
/// assert_eq!((scan.end(), scan.is_sealed()), (4_096, false));
/// ```
#[derive(Clone, Debug)]
pub struct Scan {
    segment: u64,
    synced: u32,
    /// Where the next piece begins.
    at: u32,
    needed: u64,
    /// The end of the last whole record.
    end: u32,
    is_sealed: bool,
}

impl Scan {
    /// A scan of the use `segment` from `begin` on, which was synced up to
    /// `synced`.
    pub const fn new(segment: u64, begin: u32, synced: u32) -> Self {
        Self {
            segment,
            synced,
            at: begin,
            needed: RECORD_HEADER_BYTES as u64,
            end: begin,
            is_sealed: false,
        }
    }

    /// Where the next piece has to begin, from the start of the file.
    pub const fn at(&self) -> u32 {
        self.at
    }

    /// How many bytes the next piece has to have, unless the file ends before.
    pub const fn needed(&self) -> u64 {
        self.needed
    }

    /// The end of the last whole record that was found.
    pub const fn end(&self) -> u32 {
        self.end
    }

    /// Whether the last record of the segment was found.
    pub const fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// The next thing in a piece, which begins at [`at`](Self::at); what is
    /// behind it stays in `piece`. `None` asks for the next piece, or ends the
    /// scan, if the file ends with this one (`is_last`) or a seal was found.
    pub fn next<'a>(&mut self, piece: &mut &'a [u8], is_last: bool) -> Option<Found<'a>> {
        if self.is_sealed {
            return None;
        }
        loop {
            let header = RecordHeader::parse(piece, self.segment, self.at);
            let enough = header.map_or(RECORD_HEADER_BYTES as u64, |it| it.record_bytes());
            if (piece.len() as u64) < enough && !is_last {
                self.needed = enough;
                return None;
            }
            let body = header.and_then(|header| {
                let body = piece.get(RECORD_HEADER_BYTES..)?;
                let body = body.get(..header.body_bytes as usize)?;
                (piece.len() as u64 >= enough && header.is_body(body)).then_some((header, body))
            });
            if let Some((header, body)) = body {
                if let Some(range) = self.damage(self.at) {
                    self.end = self.at;
                    return Some(Found::Corrupt { range });
                }
                self.skip(piece, enough);
                self.end = self.at;
                self.is_sealed = header.kind == RecordKind::Seal;
                return Some(Found::Record { header, body });
            }
            if piece.is_empty() {
                let range = self.damage(self.synced)?;
                self.end = self.synced;
                return Some(Found::Corrupt { range });
            }
            // A header that is whole tells where its record ends.
            let within = header.filter(|_| piece.len() as u64 >= enough);
            self.skip(piece, within.map_or(RECORD_ALIGNMENT.into(), |it| it.record_bytes()));
        }
    }

    /// What was synced behind the last record, up to a place.
    fn damage(&self, until: u32) -> Option<Range<u32>> {
        let until = until.min(self.synced);
        (self.end < until).then_some(self.end..until)
    }

    fn skip(&mut self, piece: &mut &[u8], bytes: u64) {
        let bytes = bytes.min(piece.len() as u64);
        *piece = &piece[bytes as usize..];
        // A file that is longer than its places can say ends there.
        self.at = self.at.saturating_add(bytes as u32);
    }
}
