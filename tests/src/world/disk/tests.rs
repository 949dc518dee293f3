use std::collections::BTreeSet;

use super::*;
use tautline_core::Key;

const FILE: FileId = FileId::from_key(Key::new(0, 0));

fn calm(disk: &mut Disk, task: &Task) -> Answer {
    disk.run(task, &mut |_| false)
}

fn append(disk: &mut Disk, bytes: &[u8]) -> Answer {
    let bytes = bytes.to_vec();
    disk.run(&Task::Append { file: FILE, bytes }, &mut |_| false)
}

fn disk_with(synced: &[u8]) -> Disk {
    let mut disk = Disk::default();
    let name = "a".to_owned();
    let create = Task::Create { file: FILE, name };
    assert_eq!(disk.run(&create, &mut |_| false), Answer::Done);
    assert_eq!(append(&mut disk, synced), Answer::Done);
    disk.run(&Task::Sync { file: FILE }, &mut |_| false);
    disk
}

#[test]
fn what_was_synced_survives_every_crash() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let mut disk = disk_with(b"kept");
        append(&mut disk, b"and more");
        let mut faults = dice.fork();
        disk.crash(&mut dice, &mut |_| faults.one_in(2));
        let content = disk.file("a").unwrap();
        assert!(content.starts_with(b"kept"), "{content:?}");
        assert!(content.len() <= 12);
    }
}

#[test]
fn what_a_failed_sync_should_have_saved_is_lost() {
    let mut disk = disk_with(b"kept");
    append(&mut disk, b"lost");
    let sync = Task::Sync { file: FILE };
    let failed = disk.run(&sync, &mut |fault| fault == Fault::SyncFailed);
    assert_eq!(failed, Answer::Failed(StoreError::Failed));
    assert_eq!(disk.run(&sync, &mut |_| false), Answer::Done);
    disk.crash(&mut Dice::new(1), &mut |fault| fault == Fault::WriteLost);
    assert_eq!(disk.file("a"), Some(b"kept".as_slice()));
}

#[test]
fn an_unsynced_name_gives_way_to_the_one_before_it() {
    let mut disk = disk_with(b"old");
    let other = FileId::from_key(Key::new(1, 0));
    let name = "a".to_owned();
    disk.run(&Task::Create { file: other, name }, &mut |_| false);
    assert_eq!(disk.file("a"), Some(b"".as_slice()));
    disk.crash(&mut Dice::new(1), &mut |fault| fault == Fault::NameLost);
    assert_eq!(disk.file("a"), Some(b"old".as_slice()));
}

#[test]
fn an_append_that_does_not_fit_is_there_in_part() {
    let mut disk = disk_with(b"kept");
    let (file, bytes) = (FILE, b"half".to_vec());
    let append = Task::Append { file, bytes };
    let answer = disk.run(&append, &mut |fault| fault == Fault::StoreShort);
    assert_eq!(answer, Answer::Failed(StoreError::Full));
    assert_eq!(disk.file("a"), Some(b"keptha".as_slice()));
}

#[test]
fn a_rename_is_durable_at_once() {
    let mut disk = disk_with(b"old");
    let (from, to) = ("a".to_owned(), "b".to_owned());
    disk.run(&Task::Rename { from, to }, &mut |_| false);
    disk.crash(&mut Dice::new(1), &mut |_| true);
    assert_eq!(disk.names().collect::<Vec<_>>(), ["b"]);
}

/// The file's bytes after each write since the last sync, that sync's first.
type Moments = Vec<Vec<u8>>;

/// A sector of a file that ends at `length`, as it was at a moment.
fn sector_at(moment: &[u8], sector: usize, length: usize) -> Vec<u8> {
    let end = length.min((sector + 1) * SECTOR_BYTES);
    let mut bytes = moment.to_vec();
    bytes.resize(length.max(end), 0);
    bytes[sector * SECTOR_BYTES..end].to_vec()
}

/// What the contract says, in its slowest form.
fn assert_left_by_crash(left: &[u8], moments: &Moments) {
    let ends = moments[0].len()..=moments[moments.len() - 1].len();
    assert!(ends.contains(&left.len()), "{} of {ends:?}", left.len());
    for sector in 0..left.len().div_ceil(SECTOR_BYTES) {
        let is = sector_at(left, sector, left.len());
        let was = |moment: &Vec<u8>| sector_at(moment, sector, left.len()) == is;
        assert!(moments.iter().any(was), "sector {sector} never was so");
    }
}

#[test]
fn s2_a_crash_leaves_each_sector_as_it_was_at_some_moment() {
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let mut faults = dice.fork();
        let mut disk = disk_with(&dice.bytes(3_000));
        let mut moments = vec![disk.file("a").unwrap().to_vec()];
        for _ in 0..dice.below(60) {
            let length = disk.file("a").unwrap().len();
            let task = match dice.below(12) {
                0 => Task::Sync { file: FILE },
                1..4 => Task::Append {
                    file: FILE,
                    bytes: dice.bytes(1_500),
                },
                _ => Task::Write {
                    file: FILE,
                    offset: dice.index(length + 1) as u64,
                    bytes: dice.bytes(1_500),
                },
            };
            let mut short = |fault| fault == Fault::StoreShort && dice.one_in(10);
            let answer = disk.run(&task, &mut short);
            if matches!(task, Task::Sync { .. }) && answer == Answer::Done {
                moments.clear();
            }
            moments.push(disk.file("a").unwrap().to_vec());
            if dice.one_in(15) {
                disk.crash(&mut dice, &mut |_| faults.one_in(2));
                let left = disk.file("a").unwrap().to_vec();
                assert_left_by_crash(&left, &moments);
                moments = vec![left];
                let name = "a".to_owned();
                assert_eq!(
                    calm(&mut disk, &Task::Open { file: FILE, name }),
                    Answer::Done
                );
                // What a crash left is durable.
                let mut again = disk.clone();
                again.crash(&mut dice, &mut |_| true);
                assert_eq!(again.file("a"), disk.file("a"));
            }
        }
    }
}

/// What is left in the file after a crash that tears, by many seeds.
fn torn(disk: &Disk) -> BTreeSet<Vec<u8>> {
    let tear = |seed| {
        let mut disk = disk.clone();
        let mut dice = Dice::new(seed);
        disk.crash(&mut dice, &mut |fault| fault == Fault::WriteTorn);
        disk.file("a").unwrap().to_vec()
    };
    (0..1_000).map(tear).collect()
}

#[test]
fn of_a_write_over_synced_bytes_any_sectors_are_new() {
    let mut disk = disk_with(&[b'-'; 4 * SECTOR_BYTES]);
    let (offset, bytes) = (SECTOR_BYTES as u64 / 2, vec![b'x'; 3 * SECTOR_BYTES]);
    let write = Task::Write {
        file: FILE,
        offset,
        bytes,
    };
    assert_eq!(calm(&mut disk, &write), Answer::Done);
    let mut expected = BTreeSet::new();
    for choice in 0..16 {
        let mut left = vec![b'-'; 4 * SECTOR_BYTES];
        for sector in (0..4).filter(|sector| choice >> sector & 1 == 1) {
            let from = (sector * SECTOR_BYTES).max(SECTOR_BYTES / 2);
            let to = ((sector + 1) * SECTOR_BYTES).min(SECTOR_BYTES / 2 + 3 * SECTOR_BYTES);
            left[from..to].fill(b'x');
        }
        expected.insert(left);
    }
    assert!(torn(&disk) == expected, "all of them, and nothing else");
}

#[test]
fn a_sector_is_as_it_was_after_any_of_its_writes() {
    let mut disk = disk_with(b"0123456789");
    for (offset, bytes) in [(2, "ab"), (6, "cd"), (3, "ef")] {
        let bytes = bytes.as_bytes().to_vec();
        let write = Task::Write {
            file: FILE,
            offset,
            bytes,
        };
        assert_eq!(calm(&mut disk, &write), Answer::Done);
    }
    let expected = ["0123456789", "01ab456789", "01ab45cd89", "01aef5cd89"];
    let expected = expected.map(|text| text.as_bytes().to_vec()).into();
    assert_eq!(torn(&disk), expected);
}

#[test]
fn of_what_was_appended_the_end_is_torn_or_full_of_zeros() {
    let mut disk = disk_with(&[b'-'; 500]);
    append(&mut disk, &[b'x'; 1_000]);
    let left = torn(&disk);
    assert!(left.iter().all(|left| left.starts_with(&[b'-'; 500])));
    let is = |wanted: &[u8]| left.contains(wanted);
    assert!(is(&[b'-'; 500]) && is(&[&[b'-'; 500][..], &[b'x'; 1_000]].concat()));
    assert!(
        is(&[&[b'-'; 500][..], &[0; 1_000]].concat()),
        "a length, no bytes"
    );
    let hole = [&[b'-'; 500][..], &[b'x'; 12], &[0; 512], &[b'x'; 476]];
    assert!(is(&hole.concat()), "a hole");
    let lengths: BTreeSet<usize> = left.iter().map(Vec::len).collect();
    assert!(lengths.len() > 100, "{}", lengths.len());
}

#[test]
fn a_write_from_behind_the_end_changes_nothing() {
    let mut disk = disk_with(b"kept");
    let write = |offset| Task::Write {
        file: FILE,
        offset,
        bytes: b"new".to_vec(),
    };
    let failed = Answer::Failed(StoreError::Failed);
    assert_eq!(calm(&mut disk, &write(5)), failed);
    assert_eq!(calm(&mut disk, &write(u64::MAX)), failed);
    assert_eq!(disk.file("a"), Some(b"kept".as_slice()));
    let short = disk.run(&write(2), &mut |fault| fault == Fault::StoreShort);
    assert_eq!(short, Answer::Failed(StoreError::Full));
    assert_eq!(disk.file("a"), Some(b"kent".as_slice()));
    assert_eq!(calm(&mut disk, &write(4)), Answer::Done);
    assert_eq!(disk.file("a"), Some(b"kentnew".as_slice()));
}

fn copy(from: &str, to: &str) -> Task {
    Task::Copy {
        from: from.to_owned(),
        to: to.to_owned(),
        bytes_max: 10,
    }
}

fn list(disk: &mut Disk, prefix: &str) -> String {
    let prefix = prefix.to_owned();
    match calm(disk, &Task::List { prefix }) {
        Answer::Loaded(lines) => String::from_utf8(lines).unwrap(),
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn a_copy_is_whole_and_durable_or_not_there() {
    for failing in [Fault::StoreFull, Fault::NameFailed, Fault::ReadFailed] {
        let mut disk = disk_with(b"found");
        let answer = disk.run(&copy("a", "a.BAD"), &mut |fault| fault == failing);
        assert!(matches!(answer, Answer::Failed(_)), "{failing:?}");
        assert_eq!(list(&mut disk, ""), "5 a\n", "{failing:?}");
    }
    let mut disk = disk_with(b"found");
    append(&mut disk, b"!");
    assert_eq!(calm(&mut disk, &copy("a", "a.BAD")), Answer::Done);
    let again = calm(&mut disk, &copy("a", "a.BAD"));
    assert_eq!(again, Answer::Failed(StoreError::Exists));
    append(&mut disk, b" and on");
    let long = calm(&mut disk, &copy("a", "b"));
    assert_eq!(long, Answer::Failed(StoreError::TooLarge));
    let missing = calm(&mut disk, &copy("c", "b"));
    assert_eq!(missing, Answer::Failed(StoreError::NotFound));
    disk.crash(&mut Dice::new(1), &mut |_| true);
    assert_eq!(disk.file("a.BAD"), Some(b"found!".as_slice()));
    assert_eq!(disk.file("a"), Some(b"found".as_slice()));
}

#[test]
fn s10_what_is_no_file_or_may_not_be_read_is_listed_and_denied() {
    let mut disk = disk_with(b"found");
    disk.put("b", b"older".to_vec());
    disk.put(".lock", Vec::new());
    disk.put_forbidden("secret", b"four".to_vec());
    disk.put_folder("folder");
    assert_eq!(list(&mut disk, ""), "5 a\n5 b\n- folder\n4 secret\n");
    assert_eq!(list(&mut disk, "s"), "4 secret\n");
    assert_eq!(list(&mut disk, "x"), "");
    let denied = Answer::Failed(StoreError::Denied);
    let file = FileId::from_key(Key::new(1, 0));
    for name in ["secret", "folder"].map(str::to_owned) {
        assert_eq!(calm(&mut disk, &copy(&name, "copy")), denied);
        let bytes_max = 10;
        let load = Task::Load {
            name: name.clone(),
            bytes_max,
        };
        assert_eq!(calm(&mut disk, &load), denied);
        assert_eq!(calm(&mut disk, &Task::Open { file, name }), denied);
    }
    let name = "folder".to_owned();
    let create = Task::Create {
        file,
        name: name.clone(),
    };
    assert_eq!(calm(&mut disk, &create), denied);
    let (from, to) = ("a".to_owned(), name.clone());
    assert_eq!(calm(&mut disk, &Task::Rename { from, to }), denied);
    assert_eq!(calm(&mut disk, &Task::Remove { name }), denied);
    let name = "none".to_owned();
    let missing = calm(&mut disk, &Task::Open { file, name });
    assert_eq!(missing, Answer::Failed(StoreError::NotFound));
    let name = "b".to_owned();
    assert_eq!(calm(&mut disk, &Task::Open { file, name }), Answer::Done);
    disk.crash(&mut Dice::new(1), &mut |_| true);
    assert_eq!(list(&mut disk, ""), "5 a\n5 b\n- folder\n4 secret\n");
}

#[test]
fn a_list_is_bounded() {
    let mut disk = Disk::default();
    for number in 0..LIST_ENTRIES_MAX {
        disk.make(&format!("n-{number}"), Inode::default());
    }
    assert_eq!(list(&mut disk, "n-").lines().count(), LIST_ENTRIES_MAX);
    disk.put("n", Vec::new());
    assert_eq!(list(&mut disk, "n-").lines().count(), LIST_ENTRIES_MAX);
    let prefix = String::new();
    let all = calm(&mut disk, &Task::List { prefix });
    assert_eq!(all, Answer::Failed(StoreError::TooLarge));
}

#[test]
fn a_rename_that_fails_is_not_done_or_not_durable() {
    let rename = Task::Rename {
        from: "a".to_owned(),
        to: "b".to_owned(),
    };
    let failed = Answer::Failed(StoreError::Failed);
    let mut disk = disk_with(b"new");
    disk.put("b", b"old".to_vec());
    let answer = disk.run(&rename, &mut |fault| fault == Fault::NameFailed);
    assert_eq!(
        (answer, disk.file("b")),
        (failed.clone(), Some(&b"old"[..]))
    );

    let answer = disk.run(&rename, &mut |fault| fault == Fault::SyncFailed);
    assert_eq!((answer, disk.file("b")), (failed, Some(&b"new"[..])));
    // The file's own sync has nothing to do with it.
    assert_eq!(calm(&mut disk, &Task::Sync { file: FILE }), Answer::Done);
    let mut undone = disk.clone();
    undone.crash(&mut Dice::new(1), &mut |fault| fault == Fault::NameLost);
    assert_eq!(list(&mut undone, ""), "3 a\n3 b\n");
    assert_eq!(undone.file("b"), Some(b"old".as_slice()));
    let mut done = disk.clone();
    done.crash(&mut Dice::new(1), &mut |_| false);
    assert_eq!(list(&mut done, ""), "3 b\n");
    assert_eq!(done.file("b"), Some(b"new".as_slice()));

    // The next that succeeds brings it along.
    let name = "b".to_owned();
    assert_eq!(calm(&mut disk, &Task::Remove { name }), Answer::Done);
    disk.crash(&mut Dice::new(1), &mut |_| true);
    assert_eq!(list(&mut disk, ""), "");
}

#[test]
fn a_removal_and_a_copy_may_be_undone_when_their_sync_failed() {
    let mut disk = disk_with(b"found");
    let mut sync_fails = |fault| fault == Fault::SyncFailed;
    let failed = Answer::Failed(StoreError::Failed);
    assert_eq!(disk.run(&copy("a", "b"), &mut sync_fails), failed);
    let name = "a".to_owned();
    assert_eq!(disk.run(&Task::Remove { name }, &mut sync_fails), failed);
    assert_eq!(list(&mut disk, ""), "5 b\n");
    disk.crash(&mut Dice::new(1), &mut |fault| fault == Fault::NameLost);
    assert_eq!(list(&mut disk, ""), "5 a\n");
}

#[test]
fn a_file_that_is_opened_after_its_process_died_becomes_durable() {
    let mut disk = Disk::default();
    let create = |name: &str| Task::Create {
        file: FILE,
        name: name.to_owned(),
    };
    assert_eq!(calm(&mut disk, &create("a")), Answer::Done);
    append(&mut disk, b"content");
    disk.close_all();
    let name = "a".to_owned();
    assert_eq!(
        calm(&mut disk, &Task::Open { file: FILE, name }),
        Answer::Done
    );
    assert_eq!(calm(&mut disk, &Task::Sync { file: FILE }), Answer::Done);
    disk.close_all();
    assert_eq!(calm(&mut disk, &create("b")), Answer::Done);
    disk.crash(&mut Dice::new(1), &mut |_| true);
    assert_eq!(list(&mut disk, ""), "7 a\n");
}
