use super::*;
use tautline_core::{Key, StoreOp};

mod existing;
#[cfg(target_os = "linux")]
mod faults;
mod folder;

fn file_id(index: u32) -> FileId {
    FileId::from_key(Key::new(index, 0))
}

fn open(dir: &Path) -> Files {
    Files::open(dir, FilesLimits::default()).unwrap()
}

fn run(files: &mut Files, op: StoreOp<'_>) -> Result<Done, StoreError> {
    files.run(&Op::new(&op, Vec::new()))
}

fn create(files: &mut Files, index: u32, name: &str) -> Result<Done, StoreError> {
    let file = file_id(index);
    run(
        files,
        StoreOp::Create {
            file,
            name,
            reserve: 0,
        },
    )
}

fn append(files: &mut Files, index: u32, bytes: &[u8]) -> Result<Done, StoreError> {
    let file = file_id(index);
    run(files, StoreOp::Append { file, bytes })
}

fn sync(files: &mut Files, index: u32) -> Result<Done, StoreError> {
    run(
        files,
        StoreOp::Sync {
            file: file_id(index),
        },
    )
}

fn reopen(files: &mut Files, index: u32, name: &str) -> Result<Done, StoreError> {
    let file = file_id(index);
    run(files, StoreOp::Open { file, name })
}

fn write(files: &mut Files, index: u32, offset: u64, bytes: &[u8]) -> Result<Done, StoreError> {
    let file = file_id(index);
    run(
        files,
        StoreOp::Write {
            file,
            offset,
            bytes,
        },
    )
}

fn copy(files: &mut Files, from: &str, to: &str) -> Result<Done, StoreError> {
    let bytes_max = 100_000;
    run(
        files,
        StoreOp::Copy {
            from,
            to,
            bytes_max,
        },
    )
}

fn list(files: &mut Files, prefix: &str) -> Result<Done, StoreError> {
    run(files, StoreOp::List { prefix })
}

fn close(files: &mut Files, index: u32) {
    let file = file_id(index);
    assert_eq!(run(files, StoreOp::Close { file }), Ok(Done::Nothing));
}

fn load(files: &mut Files, name: &str) -> Result<Done, StoreError> {
    run(
        files,
        StoreOp::Load {
            name,
            bytes_max: 100,
        },
    )
}

fn loaded(bytes: &[u8]) -> Result<Done, StoreError> {
    Ok(Done::Loaded(bytes.to_vec()))
}

#[test]
fn a_draft_takes_the_place_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    for content in [&b"first"[..], b"second"] {
        create(&mut files, 1, "state.new").unwrap();
        append(&mut files, 1, content).unwrap();
        sync(&mut files, 1).unwrap();
        run(&mut files, StoreOp::Close { file: file_id(1) }).unwrap();
        run(
            &mut files,
            StoreOp::Rename {
                from: "state.new",
                to: "state",
            },
        )
        .unwrap();
        assert_eq!(load(&mut files, "state"), loaded(content));
        assert_eq!(load(&mut files, "state.new"), Err(StoreError::NotFound));
    }
    run(&mut files, StoreOp::Remove { name: "state" }).unwrap();
    assert_eq!(load(&mut files, "state"), Err(StoreError::NotFound));
    assert_eq!(
        run(&mut files, StoreOp::Remove { name: "state" }),
        Err(StoreError::NotFound)
    );
}

#[test]
fn ranges_are_read_and_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    create(&mut files, 3, "log").unwrap();
    append(&mut files, 3, b"one ").unwrap();
    append(&mut files, 3, b"two").unwrap();

    let file = file_id(3);
    for (range, expected) in [
        (0..7, &b"one two"[..]),
        (4..99, b"two"),
        (7..9, b""),
        (50..60, b""),
    ] {
        assert_eq!(
            run(&mut files, StoreOp::Read { file, range }),
            loaded(expected)
        );
    }
    let whole = files.run(&Op::Hash { file, range: 0..7 });
    assert_eq!(whole, Ok(Done::Hashed(Sha256::digest(b"one two").into())));
    let behind = files.run(&Op::Hash { file, range: 0..8 });
    assert_eq!(behind, Err(StoreError::Failed));
    let too_long = Op::Read {
        file,
        range: 0..files.limits.read_bytes_max + 1,
    };
    assert_eq!(files.run(&too_long), Err(StoreError::TooLarge));
}

#[test]
fn create_replaces_and_keeps_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    let outside = dir.path().join("Outside");
    fs::write(&outside, b"mine").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&outside, dir.path().join("key")).unwrap();

    create(&mut files, 1, "key").unwrap();
    append(&mut files, 1, b"new").unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
    assert_eq!(load(&mut files, "key"), loaded(b"new"));
    assert!(!private::is_exposed(&dir.path().join("key")).unwrap());
}

#[test]
fn names_of_others_are_denied() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    let long = "a".repeat(256);
    for name in [
        "", ".lock", ".copy", "..", "a/b", "a\\b", "ä", "a b", "a\0", &long,
    ] {
        assert_eq!(load(&mut files, name), Err(StoreError::Denied), "{name}");
        assert_eq!(
            create(&mut files, 1, name),
            Err(StoreError::Denied),
            "{name}"
        );
        let rename = StoreOp::Rename {
            from: "a",
            to: name,
        };
        assert_eq!(run(&mut files, rename), Err(StoreError::Denied), "{name}");
        let open = reopen(&mut files, 1, name);
        assert_eq!(open, Err(StoreError::Denied), "{name}");
        for (from, to) in [("a", name), (name, "a")] {
            let copied = copy(&mut files, from, to);
            assert_eq!(copied, Err(StoreError::Denied), "{name}");
        }
        let listed = list(&mut files, name);
        let expected = if name.is_empty() {
            loaded(b"")
        } else {
            Err(StoreError::Denied)
        };
        assert_eq!(listed, expected, "{name}");
    }
}

#[test]
fn what_is_too_long_or_no_file_is_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    fs::write(dir.path().join("long"), [0; 101]).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    assert_eq!(load(&mut files, "long"), Err(StoreError::TooLarge));
    assert_eq!(load(&mut files, "folder"), Err(StoreError::Denied));
    assert_eq!(create(&mut files, 1, "folder"), Err(StoreError::Denied));
    assert_eq!(append(&mut files, 1, b"x"), Err(StoreError::NotFound));
}

#[test]
fn a_poisoned_file_stays_poisoned_and_is_not_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    fs::write(dir.path().join("state"), b"good").unwrap();
    create(&mut files, 1, "draft").unwrap();
    append(&mut files, 1, b"half").unwrap();
    files.open_files().get(file_id(1)).unwrap().poison();
    assert_eq!(sync(&mut files, 1), Err(StoreError::Failed));
    assert_eq!(append(&mut files, 1, b"more"), Err(StoreError::Failed));
    run(&mut files, StoreOp::Close { file: file_id(1) }).unwrap();
    let rename = StoreOp::Rename {
        from: "draft",
        to: "state",
    };
    assert_eq!(run(&mut files, rename.clone()), Err(StoreError::Failed));
    assert_eq!(load(&mut files, "state"), loaded(b"good"));

    create(&mut files, 2, "draft").unwrap();
    append(&mut files, 2, b"better").unwrap();
    sync(&mut files, 2).unwrap();
    run(&mut files, rename).unwrap();
    assert_eq!(load(&mut files, "state"), loaded(b"better"));
}

#[test]
fn a_failure_after_a_rename_is_charged_to_the_new_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    create(&mut files, 1, "a").unwrap();
    run(&mut files, StoreOp::Rename { from: "a", to: "b" }).unwrap();
    files.open_files().get(file_id(1)).unwrap().poison();
    assert_eq!(sync(&mut files, 1), Err(StoreError::Failed));
    let rename = StoreOp::Rename { from: "b", to: "c" };
    assert_eq!(run(&mut files, rename), Err(StoreError::Failed));
}

#[test]
fn open_files_are_bounded_and_shared() {
    let dir = tempfile::tempdir().unwrap();
    let limits = FilesLimits {
        open_files_max: 1,
        ..FilesLimits::default()
    };
    let mut files = Files::open(dir.path(), limits).unwrap();
    create(&mut files, 1, "a").unwrap();
    assert_eq!(create(&mut files, 2, "b"), Err(StoreError::Failed));

    let shared = files.open_files().get(file_id(1)).unwrap();
    shared.write_all_at(b"behind", 10).unwrap();
    append(&mut files, 1, b"!").unwrap();
    run(&mut files, StoreOp::Close { file: file_id(1) }).unwrap();
    assert!(files.open_files().get(file_id(1)).is_none());
    assert_eq!(
        load(&mut files, "a"),
        loaded(b"\0\0\0\0\0\0\0\0\0\0behind!")
    );
    assert_eq!(shared.len(), 17);
}

#[test]
fn reserved_bytes_do_not_lengthen_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = open(dir.path());
    let file = file_id(1);
    run(
        &mut files,
        StoreOp::Create {
            file,
            name: "a",
            reserve: 1 << 20,
        },
    )
    .unwrap();
    append(&mut files, 1, b"x").unwrap();
    assert_eq!(fs::metadata(dir.path().join("a")).unwrap().len(), 1);
}

#[test]
fn a_buffer_goes_round() {
    let buffer = Vec::with_capacity(4_096);
    let place = buffer.as_ptr();
    let op = Op::new(
        &StoreOp::Append {
            file: file_id(1),
            bytes: b"abc",
        },
        buffer,
    );
    let buffer = op.into_buffer();
    assert_eq!((buffer.as_ptr(), buffer.as_slice()), (place, &b"abc"[..]));
}

#[test]
fn a_folder_is_used_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("data");
    let files = open(&folder);
    if cfg!(unix) {
        let error = Files::open(&folder, FilesLimits::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("another process"), "{error}");
    }
    drop(files);
    open(&folder);
}

#[test]
fn a_folder_that_cannot_be_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Files::open(&file.join("data"), FilesLimits::default()).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}
