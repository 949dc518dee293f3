use super::*;
use alloc::vec;
use alloc::vec::Vec;

use crate::spool::format::{BODY_BYTES_MAX, RECORD_BYTES_MAX};
use crate::spool::fuzz::scan::{
    BEGIN, MESSAGE, Record, SEGMENT, Seen, Segment, fast_scan, slow_scan,
};

/// Four messages, a statement, a void and a seal.
fn small() -> Segment {
    let mut segment = Segment::default();
    for body in [&b"one"[..], b"", b"three and more", &[3; 40]] {
        segment.write(MESSAGE, body);
    }
    segment.write(RecordKind::Statement { removed_through: 2 }, &[]);
    segment.write(RecordKind::Void, &[5; 9]);
    segment.write(RecordKind::Seal, &[]);
    segment
}

fn records<'a>(seen: &Seen<'a>) -> Vec<(RecordHeader, &'a [u8])> {
    let record = |found: &Found<'a>| match found {
        Found::Record { header, body } => Some((*header, *body)),
        _ => None,
    };
    seen.found.iter().filter_map(record).collect()
}

fn headers(records: &[Record]) -> Vec<RecordHeader> {
    records.iter().map(|record| record.header).collect()
}

fn found_headers(seen: &Seen<'_>) -> Vec<RecordHeader> {
    records(seen).iter().map(|(header, _)| *header).collect()
}

#[test]
fn what_was_written_is_found_in_its_order() {
    let mut segment = small();
    segment.bytes.extend([0; 500]);
    for synced in [
        Synced::Sealed,
        Synced::Through(BEGIN),
        Synced::Through(BEGIN + 400),
    ] {
        let seen = fast_scan(&segment.bytes, synced, |_| u32::MAX);
        assert_eq!(seen.found.len(), segment.records.len());
        for ((header, body), record) in records(&seen).iter().zip(&segment.records) {
            assert_eq!((*header, *body), (record.header, &record.body[..]));
        }
        assert_eq!((seen.end, seen.is_sealed), (segment.end() - 500, true));
    }
}

#[test]
fn pieces_of_any_size_give_the_same() {
    let mut segment = small();
    segment.bytes[130] ^= 1;
    segment.bytes.extend([0; 100]);
    let expected = slow_scan(&segment.bytes, Synced::Sealed);
    assert_eq!(expected.found.len(), segment.records.len());
    for size in 1..segment.bytes.len() as u32 + 2 {
        let seen = fast_scan(&segment.bytes, Synced::Sealed, |needed| needed.max(size));
        assert_eq!(seen, expected, "{size} bytes");
    }
}

#[test]
fn s5_a_flipped_bit_costs_its_record_and_is_told() {
    let segment = small();
    for bit in 0..segment.bytes.len() * 8 {
        let mut damaged = segment.clone();
        damaged.bytes[bit / 8] ^= 1 << (bit % 8);
        let offset = BEGIN + bit as u32 / 8;
        let hit = segment
            .records
            .iter()
            .position(|record| offset < record.end());
        let hit = hit.expect("it is in a record");
        let record = &segment.records[hit];
        let within = offset - record.header.offset;
        // A void's body and what fills a record up carry nothing.
        let carries = match record.header.kind {
            RecordKind::Void => HEADER_BYTES,
            _ => HEADER_BYTES + record.header.body_bytes,
        };
        let seen = fast_scan(&damaged.bytes, Synced::Sealed, |needed| needed);
        assert_eq!(seen, slow_scan(&damaged.bytes, Synced::Sealed), "bit {bit}");
        let mut left = headers(&segment.records);
        if within < carries {
            left.remove(hit);
            let range = record.header.offset..record.end();
            assert_eq!(seen.found[hit], Found::Corrupt { range }, "bit {bit}");
        }
        assert_eq!(found_headers(&seen), left, "bit {bit}");
        assert_eq!(seen.found.len(), segment.records.len(), "bit {bit}");
    }
}

#[test]
fn s6_of_a_segment_that_is_cut_the_whole_records_are_found() {
    let segment = small();
    for len in 0..=segment.bytes.len() {
        let bytes = &segment.bytes[..len];
        let end = BEGIN + len as u32;
        let whole = segment
            .records
            .iter()
            .take_while(|record| record.end() <= end);
        let whole: Vec<_> = whole.cloned().collect();
        let last = whole.last().map_or(BEGIN, Record::end);
        // A torn tail says nothing,
        let torn = fast_scan(bytes, Synced::Through(last), |needed| needed);
        assert_eq!(found_headers(&torn), headers(&whole), "{len} bytes");
        assert_eq!((torn.found.len(), torn.end), (whole.len(), last));
        // what was synced is missed,
        let synced = Synced::Through(segment.end());
        let missed = fast_scan(bytes, synced, |needed| needed);
        assert_eq!(found_headers(&missed), headers(&whole), "{len} bytes");
        let range = last..segment.end();
        let told = Found::Corrupt { range };
        let is_whole = last == segment.end();
        assert_eq!(missed.found.last() == Some(&told), !is_whole, "{len} bytes");
        assert_eq!(missed.end, last, "{len} bytes");
        // and so is a seal.
        let unsealed = fast_scan(bytes, Synced::Sealed, |needed| needed);
        let range = last..end.max(last + HEADER_BYTES);
        let told = Found::Corrupt { range };
        assert_eq!(
            unsealed.found.last() == Some(&told),
            !is_whole,
            "{len} bytes"
        );
        assert_eq!(unsealed.is_sealed, is_whole, "{len} bytes");
    }
}

#[test]
fn s6_the_synced_end_parts_corruption_from_a_torn_write() {
    let mut segment = small();
    let place = |number: usize| {
        let record = &segment.records[number];
        record.header.offset..record.end()
    };
    let (first, third) = (place(0), place(2));
    for damaged in [first.start, third.start] {
        segment.bytes[(damaged - BEGIN) as usize] ^= 1;
    }
    let told = |synced| {
        let seen = fast_scan(&segment.bytes, Synced::Through(synced), |needed| needed);
        let is_gap = |found: &Found<'_>| !matches!(found, Found::Record { .. });
        let gaps: Vec<_> = seen.found.into_iter().filter(is_gap).collect();
        gaps
    };
    let torn = |range: &Range<u32>| Found::Torn {
        range: range.clone(),
    };
    let corrupt = |range: &Range<u32>| Found::Corrupt {
        range: range.clone(),
    };
    assert_eq!(told(BEGIN), [torn(&first), torn(&third)]);
    assert_eq!(told(first.end), [corrupt(&first), torn(&third)]);
    assert_eq!(told(third.end), [corrupt(&first), corrupt(&third)]);
}

#[test]
fn s6_one_gap_may_have_both() {
    let mut segment = small();
    segment.bytes[3] ^= 1;
    let first = segment.records[0].end();
    segment.bytes[(first - BEGIN) as usize] ^= 1;
    let seen = fast_scan(&segment.bytes, Synced::Through(first), |needed| needed);
    let second = segment.records[1].end();
    assert_eq!(
        seen.found[0],
        Found::Corrupt {
            range: BEGIN..first
        }
    );
    assert_eq!(
        seen.found[1],
        Found::Torn {
            range: first..second
        }
    );
    assert_eq!(found_headers(&seen), headers(&segment.records[2..]));
}

#[test]
fn behind_a_seal_nothing_counts() {
    let mut segment = small();
    let sealed = segment.end();
    segment.write(MESSAGE, b"behind");
    let seen = fast_scan(&segment.bytes, Synced::Sealed, |needed| needed);
    assert_eq!((seen.end, seen.is_sealed), (sealed, true));
    assert_eq!(seen.found.len(), segment.records.len() - 1);
}

#[test]
fn what_an_earlier_use_left_is_none_of_this_one() {
    let mut segment = Segment::default();
    segment.write(MESSAGE, b"this use");
    let end = segment.end();
    for _ in 0..20 {
        let old = Record::new(SEGMENT - 1, segment.end(), MESSAGE, b"the one before");
        segment.bytes.extend(old.bytes());
    }
    let elsewhere = Record::new(SEGMENT, BEGIN + 8, MESSAGE, b"of another place");
    segment.bytes.extend(elsewhere.bytes());
    let seen = fast_scan(&segment.bytes, Synced::Through(end), |needed| needed);
    assert_eq!(found_headers(&seen), headers(&segment.records));
    assert_eq!((seen.found.len(), seen.end), (1, end));
}

/// A body that holds a record of the very place where it stands.
fn nested() -> (Segment, Record) {
    let mut segment = Segment::default();
    let inner = Record::new(SEGMENT, BEGIN + HEADER_BYTES, MESSAGE, b"inner");
    let mut body = inner.bytes();
    body.extend([0xaa; 16]);
    segment.write(MESSAGE, &body);
    segment.write(MESSAGE, b"next");
    (segment, inner)
}

#[test]
fn s5_no_record_is_taken_out_of_a_body_that_was_synced() {
    let (mut segment, _) = nested();
    let expected = headers(&segment.records[1..]);
    let len = segment.records[0].end() - BEGIN;
    segment.bytes[len as usize - 1] ^= 1;
    for synced in [Synced::Sealed, Synced::Through(segment.end())] {
        let seen = fast_scan(&segment.bytes, synced, |needed| needed);
        assert_eq!(found_headers(&seen), expected);
    }
}

#[test]
fn a_torn_record_hides_none_that_was_written_over_it() {
    let (mut segment, inner) = nested();
    let len = segment.records[0].end() - BEGIN;
    segment.bytes[len as usize - 1] ^= 1;
    let seen = fast_scan(&segment.bytes, Synced::Through(BEGIN), |needed| needed);
    assert_eq!(
        found_headers(&seen),
        [inner.header, segment.records[1].header]
    );
}

#[test]
fn the_longest_record_needs_one_piece_of_a_mebibyte() {
    let mut segment = Segment::default();
    segment.write(MESSAGE, &vec![1; BODY_BYTES_MAX as usize]);
    segment.write(RecordKind::Seal, &[]);
    let mut asked = 0;
    let seen = fast_scan(&segment.bytes, Synced::Sealed, |needed| {
        asked = asked.max(needed);
        needed
    });
    assert_eq!(asked, RECORD_BYTES_MAX);
    assert_eq!(found_headers(&seen), headers(&segment.records));
}

#[test]
fn a_file_longer_than_its_places_can_tell_ends() {
    let begin = SEGMENT_BYTES_MAX - 160;
    let record = Record::new(SEGMENT, SEGMENT_BYTES_MAX - 80, MESSAGE, b"last");
    let mut bytes = vec![0; 80];
    bytes.extend(record.bytes());
    bytes.extend([0; 4_096]);
    let mut scan = Scan::new(SEGMENT, begin, Synced::Through(0));
    let mut piece = &bytes[..];
    let range = begin..record.header.offset;
    assert_eq!(scan.next(&mut piece, false), Some(Found::Torn { range }));
    let found = scan.next(&mut piece, false);
    let header = record.header;
    let body = &b"last"[..];
    assert_eq!(found, Some(Found::Record { header, body }));
    assert_eq!(scan.next(&mut piece, false), None);
    assert_eq!(
        (scan.at(), scan.end()),
        (SEGMENT_BYTES_MAX, SEGMENT_BYTES_MAX)
    );
    assert_eq!(scan.next(&mut piece, false), None, "it is over");
}
