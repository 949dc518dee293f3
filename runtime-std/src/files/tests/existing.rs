//! Files that are there: opened again, and written over.

use super::*;

#[test]
fn a_file_is_opened_with_what_it_has_and_goes_on_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    create(&mut files, 1, "log").unwrap();
    append(&mut files, 1, b"one ").unwrap();
    sync(&mut files, 1).unwrap();
    drop(files);

    let mut files = open(dir.path());
    reopen(&mut files, 7, "log").unwrap();
    assert_eq!(files.open_files().get(file_id(7)).unwrap().len(), 4);
    append(&mut files, 7, b"two").unwrap();
    sync(&mut files, 7).unwrap();
    let (file, range) = (file_id(7), 2..99);
    assert_eq!(
        run(&mut files, StoreOp::Read { file, range }),
        loaded(b"e two")
    );
    assert_eq!(load(&mut files, "log"), loaded(b"one two"));
}

#[test]
fn a_write_goes_over_what_is_there_and_on_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    create(&mut files, 1, "a").unwrap();
    append(&mut files, 1, &[0; 8]).unwrap();
    write(&mut files, 1, 2, b"mid").unwrap();
    assert_eq!(load(&mut files, "a"), loaded(b"\0\0mid\0\0\0"));
    write(&mut files, 1, 6, b"over").unwrap();
    assert_eq!(load(&mut files, "a"), loaded(b"\0\0mid\0over"));
    write(&mut files, 1, 10, b"!").unwrap();
    append(&mut files, 1, b"?").unwrap();
    assert_eq!(load(&mut files, "a"), loaded(b"\0\0mid\0over!?"));
    write(&mut files, 1, 12, b"").unwrap();
    sync(&mut files, 1).unwrap();
    assert_eq!(write(&mut files, 9, 0, b"x"), Err(StoreError::NotFound));
}

#[test]
fn a_write_from_behind_the_end_changes_nothing_but_taints_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    create(&mut files, 1, "a").unwrap();
    append(&mut files, 1, b"four").unwrap();
    for offset in [5, 1 << 40, u64::MAX] {
        assert_eq!(write(&mut files, 1, offset, b"x"), Err(StoreError::Failed));
    }
    assert_eq!(load(&mut files, "a"), loaded(b"four"));
    // It is not poisoned.
    append(&mut files, 1, b"!").unwrap();
    sync(&mut files, 1).unwrap();
    let rename = StoreOp::Rename { from: "a", to: "b" };
    assert_eq!(run(&mut files, rename.clone()), Err(StoreError::Failed));
    // Nor may a copy of it take the place of a good file.
    copy(&mut files, "a", "c").unwrap();
    let of_copy = StoreOp::Rename { from: "c", to: "b" };
    assert_eq!(run(&mut files, of_copy), Err(StoreError::Failed));
    create(&mut files, 2, "a").unwrap();
    assert_eq!(run(&mut files, rename), Ok(Done::Nothing));
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    fs::create_dir(dir.path().join("folder")).unwrap();
    fs::write(dir.path().join("Target"), b"mine").unwrap();
    assert_eq!(reopen(&mut files, 1, "none"), Err(StoreError::NotFound));
    let mut strange = vec!["folder"];
    #[cfg(unix)]
    {
        let place = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink(place("Target"), place("link")).unwrap();
        std::os::unix::fs::symlink(place("nowhere"), place("dangling")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(place("socket"));
        socket.unwrap();
        strange.extend(["link", "dangling", "socket"]);
    }
    for name in strange {
        assert_eq!(
            reopen(&mut files, 1, name),
            Err(StoreError::Denied),
            "{name}"
        );
        assert_eq!(load(&mut files, name), Err(StoreError::Denied), "{name}");
        assert_eq!(
            copy(&mut files, name, "copy"),
            Err(StoreError::Denied),
            "{name}"
        );
        assert_eq!(
            copy(&mut files, "Target", name),
            Err(StoreError::Exists),
            "{name}"
        );
    }
    assert!(files.open_files().get(file_id(1)).is_none());
    assert_eq!(fs::read(dir.path().join("Target")).unwrap(), b"mine");
}

#[test]
fn s3_a_failed_sync_is_not_forgotten_by_opening_the_file_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    create(&mut files, 1, "a").unwrap();
    append(&mut files, 1, b"old").unwrap();
    files.open_files().get(file_id(1)).unwrap().poison();
    assert_eq!(sync(&mut files, 1), Err(StoreError::Failed));
    close(&mut files, 1);

    reopen(&mut files, 2, "a").unwrap();
    assert_eq!(sync(&mut files, 2), Err(StoreError::Failed));
    assert_eq!(append(&mut files, 2, b"x"), Err(StoreError::Failed));
    assert_eq!(write(&mut files, 2, 0, b"x"), Err(StoreError::Failed));
    let (file, range) = (file_id(2), 0..9);
    let read = run(&mut files, StoreOp::Read { file, range });
    assert_eq!(read, loaded(b"old"), "it can be read all the same");

    // A failed write does not make it better.
    close(&mut files, 2);
    reopen(&mut files, 3, "a").unwrap();
    assert_eq!(sync(&mut files, 3), Err(StoreError::Failed));
    // A copy was written and synced anew.
    copy(&mut files, "a", "b").unwrap();
    reopen(&mut files, 4, "b").unwrap();
    sync(&mut files, 4).unwrap();
    // Another file of the name has another fate.
    run(&mut files, StoreOp::Remove { name: "a" }).unwrap();
    create(&mut files, 5, "a").unwrap();
    close(&mut files, 5);
    reopen(&mut files, 6, "a").unwrap();
    sync(&mut files, 6).unwrap();
}

#[test]
fn a_create_that_fails_leaves_a_failed_sync_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let limits = FilesLimits {
        open_files_max: 1,
        ..FilesLimits::default()
    };
    let mut files = Files::open(dir.path(), limits).unwrap();
    create(&mut files, 1, "a").unwrap();
    files.open_files().get(file_id(1)).unwrap().poison();
    assert_eq!(sync(&mut files, 1), Err(StoreError::Failed));
    assert_eq!(create(&mut files, 2, "a"), Err(StoreError::Failed));
    close(&mut files, 1);
    reopen(&mut files, 3, "a").unwrap();
    assert_eq!(sync(&mut files, 3), Err(StoreError::Failed));
}

#[test]
fn two_handles_are_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    create(&mut files, 1, "a").unwrap();
    append(&mut files, 1, b"one").unwrap();
    reopen(&mut files, 2, "a").unwrap();
    append(&mut files, 2, b" two").unwrap();
    append(&mut files, 1, b" three").unwrap();
    assert_eq!(load(&mut files, "a"), loaded(b"one two three"));
    close(&mut files, 1);
    append(&mut files, 2, b"!").unwrap();
    files.open_files().get(file_id(2)).unwrap().poison();
    reopen(&mut files, 3, "a").unwrap();
    assert_eq!(sync(&mut files, 3), Err(StoreError::Failed));

    // A file that lost its name is not the one that has it now.
    create(&mut files, 4, "a").unwrap();
    reopen(&mut files, 5, "a").unwrap();
    append(&mut files, 5, b"new").unwrap();
    sync(&mut files, 5).unwrap();
    assert_eq!(append(&mut files, 2, b"x"), Err(StoreError::Failed));
    assert_eq!(load(&mut files, "a"), loaded(b"new"));
    run(&mut files, StoreOp::Rename { from: "a", to: "b" }).unwrap();
    assert_eq!(load(&mut files, "b"), loaded(b"new"));
}

#[test]
fn a_file_that_was_replaced_by_a_rename_has_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    create(&mut files, 1, "state").unwrap();
    create(&mut files, 2, "draft").unwrap();
    let rename = StoreOp::Rename {
        from: "draft",
        to: "state",
    };
    run(&mut files, rename).unwrap();
    reopen(&mut files, 3, "state").unwrap();
    append(&mut files, 3, b"new").unwrap();
    assert_eq!(files.open_files().get(file_id(1)).unwrap().len(), 0);
    assert_eq!(files.open_files().get(file_id(2)).unwrap().len(), 3);
}

#[test]
fn open_files_are_bounded_however_they_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let limits = FilesLimits {
        open_files_max: 2,
        ..FilesLimits::default()
    };
    let mut files = Files::open(dir.path(), limits).unwrap();
    create(&mut files, 1, "a").unwrap();
    reopen(&mut files, 2, "a").unwrap();
    assert_eq!(reopen(&mut files, 3, "a"), Err(StoreError::Failed));
    close(&mut files, 1);
    reopen(&mut files, 3, "a").unwrap();
}
