//! What lies in the folder: lists and copies.

use super::*;

#[test]
fn a_list_has_a_line_for_each_name_that_begins_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    for name in [" a", ".hidden", "spool-ä", "spool-\n"] {
        put(name, b"not ours");
    }
    put("spool-00000002.seg", b"");
    put("spool-00000010.seg", b"ten");
    put("spool-00000001.seg.BAD", b"bad");
    put("other", &[0; 1_234]);
    fs::create_dir(dir.path().join("spool-00000003.seg")).unwrap();
    let links = if cfg!(unix) { "- spool.end\n" } else { "" };
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let place = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink(place("other"), place("spool.end")).unwrap();
        put_raw(dir.path(), std::ffi::OsStr::from_bytes(b"spool-\xff"));
    }
    let spool = format!(
        "3 spool-00000001.seg.BAD\n0 spool-00000002.seg\n- spool-00000003.seg\n\
         3 spool-00000010.seg\n{links}"
    );
    assert_eq!(list(&mut files, "spool"), loaded(spool.as_bytes()));
    let all = format!("1234 other\n{spool}");
    assert_eq!(list(&mut files, ""), loaded(all.as_bytes()));
    let one = list(&mut files, "spool-00000010.seg");
    assert_eq!(one, loaded(b"3 spool-00000010.seg\n"));
    assert_eq!(list(&mut files, "none"), loaded(b""));
}

#[cfg(unix)]
fn put_raw(dir: &Path, name: &std::ffi::OsStr) {
    // Some file systems take no such name.
    let _ = fs::write(dir.join(name), b"");
}

#[test]
fn a_list_has_what_was_just_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    create(&mut files, 1, "b").unwrap();
    append(&mut files, 1, b"12345").unwrap();
    assert_eq!(list(&mut files, ""), loaded(b"5 b\n"));
    run(&mut files, StoreOp::Rename { from: "b", to: "a" }).unwrap();
    copy(&mut files, "a", "c").unwrap();
    write(&mut files, 1, 5, b"6").unwrap();
    assert_eq!(list(&mut files, ""), loaded(b"6 a\n5 c\n"));
}

#[test]
fn a_list_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["n-1", "n-2", "n-3", "other", ".foreign"] {
        fs::write(dir.path().join(name), b"").unwrap();
    }
    let count = |prefix: &str, entries_max: usize| {
        let mut lines = Vec::new();
        crate::files::folder::list(dir.path(), prefix, entries_max, &mut lines)
            .map(|()| lines.iter().filter(|&&byte| byte == b'\n').count())
            .map_err(|error| kind_of(&error))
    };
    assert_eq!(count("n-", 3), Ok(3));
    assert_eq!(count("n-", 2), Err(StoreError::TooLarge));
    assert_eq!(count("", 3), Err(StoreError::TooLarge));
    assert_eq!(count("", 4), Ok(4));
}

#[test]
fn s8_a_copy_holds_the_bytes_as_found_and_takes_no_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    let bytes: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
    create(&mut files, 1, "a.seg").unwrap();
    append(&mut files, 1, &bytes).unwrap();
    copy(&mut files, "a.seg", "a.seg.BAD").unwrap();
    let content = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert!(content("a.seg.BAD") == bytes);
    assert!(!private::is_exposed(&dir.path().join("a.seg.BAD")).unwrap());

    write(&mut files, 1, 0, b"changed").unwrap();
    assert!(content("a.seg.BAD") == bytes, "a copy, not a link");
    assert_eq!(
        copy(&mut files, "a.seg", "a.seg.BAD"),
        Err(StoreError::Exists)
    );
    assert_eq!(copy(&mut files, "a.seg", "a.seg"), Err(StoreError::Exists));
    assert!(content("a.seg.BAD") == bytes);
    assert_eq!(copy(&mut files, "none", "b"), Err(StoreError::NotFound));

    append(&mut files, 1, b"!").unwrap();
    assert_eq!(copy(&mut files, "a.seg", "b"), Err(StoreError::TooLarge));
    assert_eq!(
        list(&mut files, ""),
        loaded(b"100001 a.seg\n100000 a.seg.BAD\n")
    );
    let hidden = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(hidden, 3, "those and the lock");
}

#[test]
fn what_a_crash_left_of_a_copy_stands_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let draft = dir.path().join(".copy");
    fs::write(&draft, b"half a").unwrap();
    let mut files = open(dir.path());
    assert!(!draft.exists(), "it takes no room");
    fs::write(&draft, b"half a").unwrap();
    create(&mut files, 1, "a").unwrap();
    copy(&mut files, "a", "b").unwrap();
    assert_eq!(load(&mut files, "b"), loaded(b""));
    assert!(!draft.exists());
}
