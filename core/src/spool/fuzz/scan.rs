//! Segments that are damaged, read in pieces, against a scan that is slow.

use alloc::vec;
use alloc::vec::Vec;

use crate::ClientId;
use crate::collections::model::Script;
use crate::spool::format::{
    RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES,
};
use crate::spool::scan::{Found, Scan, Synced};

pub(in crate::spool) const BEGIN: u32 = SEGMENT_HEADER_BYTES;
pub(in crate::spool) const SEGMENT: u64 = 7;

/// Any bytes as a segment, what happened to it, and how it is read.
pub fn scan(data: &[u8]) {
    let mut script = Script(data);
    let (old_use, zeros) = (script.one_in(2), script.number(10).unwrap_or(0));
    let mut segment = Segment::default();
    while let Some(op) = script.byte()
        && op % 16 != 15
    {
        segment.write_one(op, &mut script);
    }
    let whole = segment.end();
    segment.fill_up(old_use, zeros as usize);
    let ends: Vec<u32> = segment.records.iter().map(Record::end).collect();
    let synced = match script.byte().unwrap_or(0) % 4 {
        0 => Synced::Sealed,
        1 => Synced::Through(whole),
        2 => Synced::Through(script.number(14).unwrap_or(0) as u32),
        _ => Synced::Through(script.choose(&ends).unwrap_or(BEGIN)),
    };
    let written = segment.bytes.clone();
    while let Some(op) = script.byte()
        && op % 16 != 15
    {
        segment.damage(op, &mut script);
    }
    let seen = slow_scan(&segment.bytes, synced);
    segment.check(&seen, synced, segment.bytes == written);
    assert_eq!(fast_scan(&segment.bytes, synced, |_| u32::MAX), seen);
    assert_eq!(fast_scan(&segment.bytes, synced, |needed| needed), seen);
    let cut = |needed: u32| needed + u32::from(script.byte().unwrap_or(3));
    assert_eq!(fast_scan(&segment.bytes, synced, cut), seen);
}

/// A record as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::spool) struct Record {
    pub(in crate::spool) header: RecordHeader,
    pub(in crate::spool) body: Vec<u8>,
}

impl Record {
    pub(in crate::spool) fn new(segment: u64, offset: u32, kind: RecordKind, body: &[u8]) -> Self {
        let header = RecordHeader {
            segment,
            offset,
            body_bytes: body.len() as u32,
            body_checksum: crc32fast::hash(body),
            kind,
            sequence: u64::from(offset),
            host: ClientId([9; 16]),
            number: 3,
        };
        let body = body.into();
        Self { header, body }
    }

    pub(in crate::spool) fn end(&self) -> u32 {
        self.header.offset + self.header.record_bytes()
    }

    pub(in crate::spool) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.encode().to_vec();
        bytes.extend(&self.body);
        bytes.resize(self.header.record_bytes() as usize, 0);
        bytes
    }
}

/// A message that never expires.
pub(in crate::spool) const MESSAGE: RecordKind = RecordKind::Message {
    priority: 0,
    expires_at: 0,
};

/// A segment from its first record on.
#[derive(Clone, Default)]
pub(in crate::spool) struct Segment {
    pub(in crate::spool) bytes: Vec<u8>,
    pub(in crate::spool) records: Vec<Record>,
    /// In bodies.
    forged: Vec<Record>,
}

impl Segment {
    pub(in crate::spool) fn end(&self) -> u32 {
        BEGIN + self.bytes.len() as u32
    }

    pub(in crate::spool) fn write(&mut self, kind: RecordKind, body: &[u8]) {
        let record = Record::new(SEGMENT, self.end(), kind, body);
        self.bytes.extend(record.bytes());
        self.records.push(record);
    }

    fn write_one(&mut self, op: u8, script: &mut Script<'_>) {
        let len = usize::from(op / 16) * usize::from(script.byte().unwrap_or(0) % 40);
        match op % 16 {
            0 => self.write(RecordKind::Seal, &[]),
            1 => self.write(RecordKind::Void, &vec![0xee; len]),
            2 => self.write(RecordKind::Statement { removed_through: 2 }, &[]),
            3 | 4 => {
                let inner = self.end() + RECORD_HEADER_BYTES as u32;
                let forged = Record::new(SEGMENT, inner, MESSAGE, &vec![0x66; len]);
                self.write(MESSAGE, &forged.bytes());
                self.forged.push(forged);
            }
            _ => self.write(MESSAGE, &vec![op; len]),
        }
    }

    /// What was written before this use, or never.
    fn fill_up(&mut self, old_use: bool, bytes: usize) {
        let end = self.bytes.len() + bytes;
        while old_use && self.bytes.len() < end {
            let old = Record::new(SEGMENT - 1, self.end(), MESSAGE, &[1; 20]);
            self.bytes.extend(old.bytes());
        }
        self.bytes.resize(end, 0);
    }

    fn damage(&mut self, op: u8, script: &mut Script<'_>) {
        let draw = usize::from(script.short().unwrap_or(0));
        let at = draw % self.bytes.len().max(1);
        let until = match op % 16 {
            0 => {
                self.bytes.truncate(at);
                return;
            }
            1 | 2 => {
                let span = usize::from(script.byte().unwrap_or(0)) * 4;
                (at + span).min(self.bytes.len())
            }
            _ => (at + 1).min(self.bytes.len()),
        };
        for byte in &mut self.bytes[at..until] {
            *byte = if op % 16 == 1 { 0 } else { *byte ^ (op | 1) };
        }
    }

    /// What must hold whatever a scan is made of.
    fn check(&self, seen: &Seen<'_>, synced: Synced, is_as_written: bool) {
        let is_whole = |record: &&Record| {
            let at = (record.header.offset - BEGIN) as usize;
            self.bytes
                .get(at..)
                .is_some_and(|bytes| bytes.starts_with(&record.bytes()))
        };
        let mut found = Vec::new();
        let mut told = BEGIN;
        for thing in &seen.found {
            let range = match thing {
                Found::Record { header, body } => {
                    let body = body.to_vec();
                    let record = Record {
                        header: *header,
                        body,
                    };
                    let range = header.offset..record.end();
                    found.push(record);
                    range
                }
                Found::Corrupt { range } => {
                    assert!(!matches!(synced, Synced::Through(end) if range.end > end));
                    range.clone()
                }
                Found::Torn { range } => {
                    assert!(matches!(synced, Synced::Through(end) if range.start >= end));
                    range.clone()
                }
            };
            assert_eq!(range.start, told, "without a hole");
            assert!(!range.is_empty());
            told = range.end;
        }
        for record in &found {
            let mut written = self.records.iter().chain(&self.forged);
            let is_void = record.header.kind == RecordKind::Void;
            assert!(
                written.any(|other| other == record || is_void && other.header == record.header),
                "{record:?} was never written"
            );
        }
        for record in self.records.iter().filter(is_whole) {
            assert!(found.contains(record), "{record:?} is whole");
            if record.header.kind == RecordKind::Seal {
                break;
            }
        }
        let is_sealed = found
            .last()
            .is_some_and(|it| it.header.kind == RecordKind::Seal);
        assert_eq!(seen.is_sealed, is_sealed);
        assert_eq!(seen.end, found.last().map_or(BEGIN, Record::end));
        let within = match synced {
            Synced::Through(end) => end <= seen.end,
            Synced::Sealed => is_sealed,
        };
        if is_as_written && within {
            assert_eq!(found.len(), seen.found.len(), "nothing is damaged");
        }
    }
}

/// What a scan told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::spool) struct Seen<'a> {
    pub(in crate::spool) found: Vec<Found<'a>>,
    pub(in crate::spool) end: u32,
    pub(in crate::spool) is_sealed: bool,
}

/// Reads in pieces whose size is a function of what is needed.
pub(in crate::spool) fn fast_scan(
    bytes: &[u8],
    synced: Synced,
    mut piece_bytes: impl FnMut(u32) -> u32,
) -> Seen<'_> {
    let mut scan = Scan::new(SEGMENT, BEGIN, synced);
    let mut found = Vec::new();
    loop {
        let rest = &bytes[(scan.at() - BEGIN) as usize..];
        let bytes = rest.len().min(piece_bytes(scan.needed()) as usize);
        let (mut piece, is_last) = (&rest[..bytes], bytes == rest.len());
        while let Some(thing) = scan.next(&mut piece, is_last) {
            found.push(thing);
        }
        if is_last || scan.is_sealed() {
            assert_eq!(scan.next(&mut piece, true), None, "it is over");
            let (end, is_sealed) = (scan.end(), scan.is_sealed());
            return Seen {
                found,
                end,
                is_sealed,
            };
        }
        assert!(
            scan.needed() as usize > piece.len(),
            "it would turn in place"
        );
    }
}

/// The same, word by word.
pub(in crate::spool) fn slow_scan(bytes: &[u8], synced: Synced) -> Seen<'_> {
    let synced_end = match synced {
        Synced::Through(end) => end,
        Synced::Sealed => u32::MAX,
    };
    let mut seen = Seen {
        end: BEGIN,
        ..Seen::default()
    };
    let (mut at, mut told) = (0, BEGIN);
    while at < bytes.len() && !seen.is_sealed {
        let offset = BEGIN + at as u32;
        let header = RecordHeader::parse(&bytes[at..], SEGMENT, offset);
        let record_bytes = header.map_or(RECORD_ALIGNMENT, |header| header.record_bytes());
        let whole = bytes.get(at..at + record_bytes as usize);
        let record = header.zip(whole).map(|(header, whole)| {
            let body = &whole[RECORD_HEADER_BYTES..][..header.body_bytes as usize];
            (header, body)
        });
        match record.filter(|(header, body)| header.is_body(body)) {
            Some((header, body)) => {
                tell_gap(&mut seen, told, offset, synced_end);
                seen.found.push(Found::Record { header, body });
                at += record_bytes as usize;
                told = BEGIN + at as u32;
                seen.end = told;
                seen.is_sealed = header.kind == RecordKind::Seal;
            }
            None if offset + record_bytes <= synced_end => at += record_bytes as usize,
            None => at += RECORD_ALIGNMENT as usize,
        }
    }
    let until = match synced {
        Synced::Through(end) => end,
        Synced::Sealed => (BEGIN + bytes.len() as u32).max(told + RECORD_HEADER_BYTES as u32),
    };
    if !seen.is_sealed && told < until {
        let range = told..until;
        seen.found.push(Found::Corrupt { range });
    }
    seen
}

fn tell_gap(seen: &mut Seen<'_>, begin: u32, until: u32, synced_end: u32) {
    let synced = synced_end.clamp(begin, until);
    if begin < synced {
        let range = begin..synced;
        seen.found.push(Found::Corrupt { range });
    }
    if synced < until {
        let range = synced..until;
        seen.found.push(Found::Torn { range });
    }
}
