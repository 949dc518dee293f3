//! What a segment's bytes say: a pure function of them.

use core::ops::Range;

use super::format::{
    RECORD_ALIGNMENT, RECORD_BEGINS_WITH, RECORD_HEADER_BYTES, RecordHeader, RecordKind,
    SEGMENT_BYTES_MAX,
};

const WORD: usize = RECORD_ALIGNMENT as usize;
const HEADER_BYTES: u32 = RECORD_HEADER_BYTES as u32;

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
    /// Bytes that were not synced and are no record, in front of one that is:
    /// a crash tore a write in its middle. A torn tail is not told; it is what
    /// stands behind [`Scan::end`].
    Torn {
        /// Which ones, from the start of the file.
        range: Range<u32>,
    },
}

/// How far what a segment holds was synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// Up to here at least, from the start of the file: the newest segment, of
    /// which [`SyncedEnd`](super::format::SyncedEnd) tells.
    Through(u32),
    /// All of it, up to a seal: every segment but the newest.
    Sealed,
}

/// Goes through a segment, piece by piece, and finds its records.
///
/// Nothing is taken for a record that is none: its header has the number of
/// the segment's use, its own place and a CRC-32, and its body one of its own.
/// Behind damage the next record is looked for wherever one may begin, so
/// damage costs what it hit and no more. Whether it is corruption or was torn
/// by a crash follows from how far the segment was synced.
///
/// A body that is damaged is passed over whole where it was synced, whatever in
/// it looks like a record: its header says where it ends. Where it was not
/// synced, that header may be what an older crash left, and any record in its
/// range the truth; so what a scan does not find is never found later.
///
/// ```
/// use tautline_core::spool::scan::{Found, Scan, Synced};
///
/// let mut scan = Scan::new(7, 4_096, Synced::Through(4_176));
/// let mut piece: &[u8] = &[0; 200];
/// let found = scan.next(&mut piece, true);
/// assert_eq!(found, Some(Found::Corrupt { range: 4_096..4_176 }));
/// assert_eq!(scan.next(&mut piece, true), None);
/// assert_eq!((scan.end(), scan.is_sealed()), (4_096, false));
/// ```
#[derive(Clone, Debug)]
pub struct Scan {
    segment: u64,
    synced: Synced,
    /// Where the next piece begins.
    at: u32,
    needed: u32,
    /// The end of the last whole record.
    end: u32,
    /// All before it was told.
    told: u32,
    is_sealed: bool,
    is_over: bool,
}

/// What stands at the front of a piece.
enum Sight<'a> {
    Record(RecordHeader, &'a [u8]),
    /// The header of a record whose body is another one.
    Damaged(RecordHeader),
    Nothing,
    /// More bytes would tell: so many in all.
    Cut(u32, Option<RecordHeader>),
}

impl Scan {
    /// A scan of the use `segment`, whose records begin at `begin`, a multiple
    /// of 8.
    pub const fn new(segment: u64, begin: u32, synced: Synced) -> Self {
        Self {
            segment,
            synced,
            at: begin,
            needed: HEADER_BYTES,
            end: begin,
            told: begin,
            is_sealed: false,
            is_over: false,
        }
    }

    /// Where the next piece has to begin, from the start of the file.
    pub const fn at(&self) -> u32 {
        self.at
    }

    /// How many bytes the next piece has to have, unless the file ends before:
    /// never more than [`RECORD_BYTES_MAX`](super::format::RECORD_BYTES_MAX).
    pub const fn needed(&self) -> u32 {
        self.needed
    }

    /// The end of the last whole record. Appends may go on here, unless
    /// something behind it was corrupt.
    pub const fn end(&self) -> u32 {
        self.end
    }

    /// Whether the segment's seal was found. Nothing behind it counts.
    pub const fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// The next thing in a piece, which begins at [`at`](Self::at); what is
    /// behind it stays in `piece`. `None` asks for the next piece, or ends the
    /// scan, if the file ends with this one (`is_last`) or a seal was found.
    /// A piece that is shorter than [`needed`](Self::needed) and not the last
    /// gets `None` for ever.
    pub fn next<'a>(&mut self, piece: &mut &'a [u8], is_last: bool) -> Option<Found<'a>> {
        let room = (SEGMENT_BYTES_MAX - self.at) as usize;
        let is_last = is_last || piece.len() >= room;
        *piece = &piece[..piece.len().min(room)];
        while !self.is_over {
            let passed = match self.look(piece) {
                Sight::Record(header, body) => {
                    if let Some(gap) = self.gap(self.at) {
                        return Some(gap);
                    }
                    self.pass(piece, header.record_bytes());
                    (self.end, self.told) = (self.at, self.at);
                    self.is_sealed = header.kind == RecordKind::Seal;
                    self.is_over = self.is_sealed;
                    return Some(Found::Record { header, body });
                }
                Sight::Cut(needed, _) if !is_last => {
                    self.needed = needed;
                    return None;
                }
                Sight::Damaged(header) | Sight::Cut(_, Some(header)) => self.damaged_bytes(&header),
                Sight::Nothing | Sight::Cut(_, None) => RECORD_ALIGNMENT,
            };
            self.pass(piece, passed);
            self.pass(piece, blank_bytes(piece));
            if is_last && piece.is_empty() {
                self.is_over = true;
                return self.missing();
            }
        }
        None
    }

    fn look<'a>(&self, piece: &'a [u8]) -> Sight<'a> {
        if piece.len() < RECORD_HEADER_BYTES {
            return Sight::Cut(HEADER_BYTES, None);
        }
        let Some(header) = RecordHeader::parse(piece, self.segment, self.at) else {
            return Sight::Nothing;
        };
        let needed = header.record_bytes();
        let whole = piece.get(RECORD_HEADER_BYTES..needed as usize);
        let Some(body) = whole.and_then(|body| body.get(..header.body_bytes as usize)) else {
            return Sight::Cut(needed, Some(header));
        };
        match header.is_body(body) {
            true => Sight::Record(header, body),
            false => Sight::Damaged(header),
        }
    }

    /// What to pass over of a record whose body is damaged.
    const fn damaged_bytes(&self, header: &RecordHeader) -> u32 {
        let bytes = header.record_bytes();
        match self.synced {
            Synced::Through(synced) if self.at.saturating_add(bytes) > synced => RECORD_ALIGNMENT,
            _ => bytes,
        }
    }

    /// The next thing to tell of what is no record, up to one that is.
    fn gap(&mut self, until: u32) -> Option<Found<'static>> {
        let begin = self.told;
        let synced = match self.synced {
            Synced::Through(synced) => synced.min(until),
            Synced::Sealed => until,
        };
        if begin < synced {
            self.told = synced;
            let range = begin..synced;
            return Some(Found::Corrupt { range });
        }
        self.told = until;
        let range = begin..until;
        (begin < until).then_some(Found::Torn { range })
    }

    /// What was synced behind the last record and is not in the file, or none.
    fn missing(&self) -> Option<Found<'static>> {
        let until = match self.synced {
            Synced::Through(synced) => synced,
            // At least the seal itself.
            Synced::Sealed => self.at.max(self.told.saturating_add(HEADER_BYTES)),
        };
        let range = self.told..until;
        (!range.is_empty()).then_some(Found::Corrupt { range })
    }

    fn pass(&mut self, piece: &mut &[u8], bytes: u32) {
        let bytes = piece.len().min(bytes as usize);
        *piece = &piece[bytes..];
        // A piece never reaches beyond what a `u32` tells.
        self.at += bytes as u32;
    }
}

/// How many bytes at the front, by words, no record begins in.
fn blank_bytes(piece: &[u8]) -> u32 {
    /// Large enough for the compiler to look at many words at once.
    const BLOCK_WORDS: usize = 64;
    let begins = |word: &[u8; WORD]| word[..4] == RECORD_BEGINS_WITH;
    let (words, _) = piece.as_chunks::<WORD>();
    let (blocks, _) = words.as_chunks::<BLOCK_WORDS>();
    let is_blank =
        |block: &&[_; BLOCK_WORDS]| !block.iter().fold(false, |any, word| any | begins(word));
    let blank = blocks.iter().take_while(is_blank).count() * BLOCK_WORDS;
    let rest = words[blank..].iter().take_while(|word| !begins(word));
    ((blank + rest.count()) * WORD) as u32
}

#[cfg(test)]
mod tests;
