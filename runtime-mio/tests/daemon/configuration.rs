//! Wrong configurations and places, each told in one clear line.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::process::{Daemon, run, tautlined};

#[test]
fn a_sound_configuration_is_ok() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tautlined.toml");
    fs::write(
        &file,
        "[listen]\naddresses = [\"127.0.0.1:0\", \"[::1]:0\"]\n",
    )
    .unwrap();
    let (code, out, error) = run(&["--check-config", "--config", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str(), error.as_str()), (0, "ok\n", ""));
}

#[test]
fn a_wrong_key_is_told_with_its_place_and_the_known_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tautlined.toml");
    fs::write(&file, "# a comment\n[limits]\nconections_max = 5\n").unwrap();
    for arguments in [&["--check-config"][..], &[]] {
        let config = ["--config", file.to_str().unwrap()];
        let (code, out, error) = run(&[arguments, &config].concat());
        assert_eq!((code, out.as_str()), (78, ""));
        let place = format!("{}:3:1: unknown field `conections_max`", file.display());
        assert!(error.starts_with(&place), "{error}");
        assert!(error.contains("connections_max"), "{error}");
    }
}

#[test]
fn a_variable_that_sets_nothing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let told = "TAUTLINE_LISTN_ADDRESSES";
    let misspelt = |arguments: &[&str]| {
        let mut command = tautlined();
        command.env(told, "[]").env("TAUTLINE_TOKEN", "another's");
        let output = command.args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, error) = misspelt(&["--check-config"]);
    assert_eq!(code, Some(0));
    assert!(
        error.starts_with(told) && error.lines().count() == 1,
        "{error}"
    );

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = dir.path().to_str().unwrap();
    // The address is taken: it ends once it has told.
    let (code, log) = misspelt(&["--data-dir", data, "--listen", &address]);
    assert_eq!(code, Some(1));
    assert!(
        log.contains(told) && !log.contains("TAUTLINE_TOKEN"),
        "{log}"
    );
}

#[test]
fn a_wrong_log_level_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tautlined.toml");
    fs::write(&file, "[log]\nlevel = \"loud\"\n").unwrap();
    let (code, out, error) = run(&["--check-config", "--config", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (78, ""), "{error}");
    let place = format!("{}:2: log.level ", file.display());
    assert!(
        error.starts_with(&place) && error.contains("\"loud\""),
        "{error}"
    );
}

#[test]
fn a_missing_certificate_is_a_wrong_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tautlined.toml");
    fs::write(
        &file,
        "[tls]\ncertificate = \"/nowhere/c.pem\"\nkey = \"/nowhere/k.pem\"\n",
    )
    .unwrap();
    let (code, _, error) = run(&["--check-config", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 78);
    assert!(error.contains("/nowhere/c.pem"), "{error}");
}

#[test]
fn a_port_in_use_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = dir.path().to_str().unwrap();
    let (code, out, error) = run(&[
        "--listen",
        &address,
        "--data-dir",
        dir,
        "--log-level",
        "error",
    ]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.contains(&address) && error.contains("--listen"),
        "{error}"
    );
}

#[test]
fn fewer_connections_than_configured_are_told_and_fewer_than_usual_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let log_with = |limits: &str| {
        let file = dir.path().join("tautlined.toml");
        fs::write(&file, limits).unwrap();
        let output = Command::new("/bin/sh")
            .args(["-c", "ulimit -n 100 && exec \"$@\"", "sh"])
            .arg(env!("CARGO_BIN_EXE_tautlined"))
            .args(["--listen", &address, "--config"])
            .arg(&file)
            .arg("--data-dir")
            .arg(dir.path())
            .env_clear()
            .output()
            .unwrap();
        // The address is taken: it ends once it has told.
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let told = "fewer connections than configured";
    let log = log_with("[limits]\nconnections_max = 4000\n");
    assert!(
        log.contains(told) && log.contains("connections_max=50"),
        "{log}"
    );
    let log = log_with("");
    assert!(log.contains(&address) && !log.contains(told), "{log}");
}

#[test]
fn a_data_directory_that_cannot_be_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let below = file.join("data");
    let below = below.to_str().unwrap();
    let (code, out, error) = run(&["--data-dir", below, "--log-level", "error"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.contains(below) && error.contains("--data-dir"),
        "{error}"
    );
}

#[test]
fn a_data_directory_that_others_can_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    set_mode(dir.path(), 0o770);
    let path = dir.path().to_str().unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--data-dir", path];
    let (code, out, error) = run(&arguments);
    assert_eq!((code, out.as_str()), (1, ""), "{error}");
    let advice = format!("run chmod go-w {path}\n");
    assert!(error.ends_with(&advice), "{error}");
    set_mode(dir.path(), 0o750);
    Daemon::start(dir.path(), &[]);
}

#[test]
fn a_private_key_that_others_can_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let file = dir.path().join("tautlined.toml");
    let text = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    fs::write(&file, text).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let log_with = |mode| {
        set_mode(&key, mode);
        let (config, data) = (file.to_str().unwrap(), dir.path().to_str().unwrap());
        // The address is taken: it ends once it has told.
        run(&["--config", config, "--data-dir", data, "--listen", &address]).2
    };
    let told = "others than the owner may read the private key";
    let log = log_with(0o644);
    assert!(
        log.contains(told) && log.contains(key.to_str().unwrap()),
        "{log}"
    );
    let log = log_with(0o600);
    assert!(log.contains(&address) && !log.contains(told), "{log}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_data_directory_serves_one_relay() {
    let dir = tempfile::tempdir().unwrap();
    let first = Daemon::start(dir.path(), &[]);
    let path = dir.path().to_str().unwrap();
    let (code, _, error) = run(&["--listen", "127.0.0.1:0", "--data-dir", path]);
    assert_eq!(code, 1);
    assert!(error.contains("is another tautlined running?"), "{error}");
    assert_eq!(first.get("/healthz").status, 200);
}

#[test]
fn the_token_stays_and_the_run_number_rises() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut runs = Vec::new();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let daemon = Daemon::start(&data, &[]);
        runs.push(
            daemon.get("/v1/status").json()["incarnation"]
                .as_u64()
                .unwrap(),
        );
        tokens.push(daemon.token.clone());
    }
    assert!(runs[1] > runs[0], "{runs:?}");
    assert_eq!(tokens[0], tokens[1]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("operator-token")), 0o600);
    assert_eq!(mode(&data.join("relay-key")), 0o600);
}
