//! What the system refuses: no space, no inodes, no permission, broken disks.

use super::*;
use std::process::Command;

/// A tmpfs that is unmounted when dropped; `None` where mounting is not
/// allowed.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("mode=700,{options}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tautline-test"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped: a tmpfs cannot be mounted here");
        }
        mounted.then(|| Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn make_read_only(&self) {
        let remount = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(self.path())
            .status();
        assert!(remount.unwrap().success());
    }

    fn cover_read_only(&self) -> Cover<'_> {
        let mount = |options: &[&str]| {
            let mut command = Command::new("mount");
            let status = command.args(options).arg(self.path()).status();
            assert!(status.unwrap().success(), "{options:?}");
        };
        mount(&["--bind", self.path().to_str().unwrap()]);
        mount(&["-o", "remount,bind,ro"]);
        Cover(self.path())
    }
}

/// A read-only view of a folder, over that folder: what was open stays as it
/// was, as when a system mounts a broken disk anew.
struct Cover<'a>(&'a Path);

impl Drop for Cover<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_no_torn_tail() {
    let Some(mount) = Mount::new("size=64k") else {
        return;
    };
    let mut files = open(mount.path());
    create(&mut files, 1, "log").unwrap();
    append(&mut files, 1, b"head").unwrap();
    assert_eq!(
        append(&mut files, 1, &[7; 256 * 1_024]),
        Err(StoreError::Full)
    );
    assert_eq!(load(&mut files, "log"), loaded(b"head"));
    append(&mut files, 1, b", tail").unwrap();
    assert_eq!(load(&mut files, "log"), loaded(b"head, tail"));

    let file = file_id(2);
    let reserve = StoreOp::Create {
        file,
        name: "segment",
        reserve: 1 << 20,
    };
    assert_eq!(run(&mut files, reserve), Err(StoreError::Full));
}

#[test]
fn no_inodes_is_full() {
    let Some(mount) = Mount::new("size=1m,nr_inodes=4") else {
        return;
    };
    let mut files = open(mount.path());
    let results: Vec<_> = (0..4)
        .map(|index| create(&mut files, index, &format!("f{index}")))
        .collect();
    assert_eq!(results.last(), Some(&Err(StoreError::Full)));
}

#[test]
fn a_read_only_folder_is_denied() {
    let Some(mount) = Mount::new("size=64k") else {
        return;
    };
    drop(open(mount.path()));
    mount.make_read_only();
    let error = Files::open(mount.path(), FilesLimits::default()).unwrap_err();
    assert_eq!(kind_of(&error), StoreError::Denied);
    assert!(error.to_string().contains(".lock"), "{error}");
}

#[test]
fn s4_a_full_disk_keeps_what_a_write_covers() {
    let Some(mount) = Mount::new("size=64k") else {
        return;
    };
    let mut files = open(mount.path());
    create(&mut files, 1, "segment").unwrap();
    append(&mut files, 1, &[0; 40_960]).unwrap();
    sync(&mut files, 1).unwrap();
    assert_eq!(
        copy_all(&mut files, "segment", "copy"),
        Err(StoreError::Full)
    );
    assert_eq!(list(&mut files, ""), loaded(b"40960 segment\n"));
    let hidden = fs::read_dir(mount.path()).unwrap().count();
    assert_eq!(hidden, 2, "the rest of the copy took its room along");

    create(&mut files, 2, "filler").unwrap();
    while append(&mut files, 2, &[7; 4_096]).is_ok() {}
    // What was written once has its room.
    write(&mut files, 1, 1_000, &[1; 39_960]).unwrap();
    sync(&mut files, 1).unwrap();
    assert_eq!(
        write(&mut files, 1, 40_000, &[2; 8_192]),
        Err(StoreError::Full)
    );
    let written = fs::read(mount.path().join("segment")).unwrap();
    assert_eq!(written.len(), 40_960, "it is as long as it was");
    assert!(written[..1_000] == [0; 1_000] && written[1_000..40_000] == [1; 39_000]);

    run(&mut files, StoreOp::Remove { name: "filler" }).unwrap();
    close(&mut files, 2);
    write(&mut files, 1, 40_000, &[3; 8_192]).unwrap();
    assert_eq!(list(&mut files, ""), loaded(b"48192 segment\n"));
}

fn copy_all(files: &mut Files, from: &str, to: &str) -> Result<Done, StoreError> {
    let bytes_max = u64::MAX;
    run(
        files,
        StoreOp::Copy {
            from,
            to,
            bytes_max,
        },
    )
}

#[test]
fn s4_no_inodes_for_a_copy_is_full() {
    // For the folder, its lock, two files and a draft; the second name of the
    // draft takes another one.
    let Some(mount) = Mount::new("size=1m,nr_inodes=5") else {
        return;
    };
    let mut files = open(mount.path());
    create(&mut files, 1, "a").unwrap();
    append(&mut files, 1, b"content").unwrap();
    create(&mut files, 2, "b").unwrap();
    assert_eq!(copy(&mut files, "a", "c"), Err(StoreError::Full));
    run(&mut files, StoreOp::Remove { name: "b" }).unwrap();
    close(&mut files, 2);
    copy(&mut files, "a", "c").unwrap();
    assert_eq!(load(&mut files, "c"), loaded(b"content"));
}

#[test]
fn s4_a_disk_that_became_read_only_is_denied_and_can_be_read() {
    let Some(mount) = Mount::new("size=64k") else {
        return;
    };
    let mut files = open(mount.path());
    create(&mut files, 1, "a").unwrap();
    append(&mut files, 1, b"content").unwrap();
    close(&mut files, 1);
    let _cover = mount.cover_read_only();
    assert_eq!(reopen(&mut files, 2, "a"), Err(StoreError::Denied));
    assert_eq!(create(&mut files, 2, "b"), Err(StoreError::Denied));
    assert_eq!(copy(&mut files, "a", "b"), Err(StoreError::Denied));
    let rename = StoreOp::Rename { from: "a", to: "c" };
    assert_eq!(run(&mut files, rename), Err(StoreError::Denied));
    let remove = StoreOp::Remove { name: "a" };
    assert_eq!(run(&mut files, remove), Err(StoreError::Denied));
    assert_eq!(load(&mut files, "a"), loaded(b"content"));
    assert_eq!(list(&mut files, ""), loaded(b"7 a\n"));
}

/// Root may read everything: as root, the test runs again as somebody else.
#[test]
fn s10_what_may_not_be_read_is_denied_and_listed() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    fs::write(&path, b"four").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&path).is_ok() {
        let name = thread_name();
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name])
            .env_remove("TMPDIR")
            .current_dir("/")
            .uid(65_534)
            .gid(65_534)
            .output();
        match again {
            Ok(again) => {
                let said = String::from_utf8_lossy(&again.stdout);
                assert!(said.contains("1 passed"), "{said}");
            }
            Err(error) => println!("skipped: not as somebody else: {error}"),
        }
        return;
    }
    let mut files = open(dir.path());
    assert_eq!(reopen(&mut files, 1, "secret"), Err(StoreError::Denied));
    assert_eq!(load(&mut files, "secret"), Err(StoreError::Denied));
    assert_eq!(copy(&mut files, "secret", "b"), Err(StoreError::Denied));
    assert_eq!(list(&mut files, ""), loaded(b"4 secret\n"));
    // It can be read, but not written.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(reopen(&mut files, 1, "secret"), Err(StoreError::Denied));
    copy(&mut files, "secret", "b").unwrap();
    assert_eq!(load(&mut files, "b"), loaded(b"four"));
}

/// The test's own name, which its thread has.
fn thread_name() -> String {
    std::thread::current().name().unwrap().to_owned()
}
