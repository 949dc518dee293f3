#![cfg(unix)]

use super::*;
use std::sync::mpsc::channel;

const BOUNDS: Bounds = Bounds {
    time_limit: Duration::from_secs(60),
    output_bytes_max: 65_536,
};

fn program(words: &[&str]) -> Program {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    Program::find(&words).unwrap().unwrap()
}

fn run_shell(script: &str, payload: &[u8], bounds: Bounds) -> Ended {
    let variables = [
        ("TAUTLINE_NOTIFICATION", "0a".to_owned()),
        ("TAUTLINE_CLIENT", "c1".to_owned()),
    ];
    let (signal, signals) = channel();
    let shell = program(&["sh", "-c", script]);
    let signals = (&signal, &signals);
    run(
        &shell,
        variables,
        payload.to_vec(),
        bounds,
        signals,
        &|| false,
    )
}

fn reply(script: &str, payload: &[u8], bounds: Bounds) -> String {
    let ended = run_shell(script, payload, bounds);
    wait_until_free(&ended);
    String::from_utf8(ended.outcome.reply()).unwrap()
}

/// For ever, if something still holds the pipes.
fn wait_until_free(ended: &Ended) {
    while ended.is_held() {
        thread::yield_now();
    }
}

#[test]
fn the_payload_is_the_input_and_the_output_is_the_reply() {
    assert_eq!(reply("tr a-z A-Z", b"hello\n", BOUNDS), "HELLO\n");
    let bytes: Vec<u8> = (0..=255).cycle().take(65_536).collect();
    let ended = run_shell("cat; echo unseen >&2", &bytes, BOUNDS);
    assert!(ended.outcome.is_success());
    assert_eq!(ended.outcome.reply(), bytes);
    // More than a pipe holds, and nobody reads it.
    assert_eq!(reply("echo fine", &vec![b'x'; 1 << 20], BOUNDS), "fine\n");
}

#[test]
fn the_environment_names_notification_and_client() {
    let script = "printf '%s %s' $TAUTLINE_NOTIFICATION $TAUTLINE_CLIENT";
    assert_eq!(reply(script, b"", BOUNDS), "0a c1");
}

#[test]
fn a_failure_is_told_behind_the_output() {
    let script = "echo half; echo first >&2; echo why >&2; exit 3";
    assert_eq!(
        reply(script, b"", BOUNDS),
        "half\n[handler: exit status: 3]\n[handler: standard error: first\nwhy]"
    );
    assert_eq!(reply("exit 4", b"", BOUNDS), "[handler: exit status: 4]");
    let killed = reply("printf x; kill -9 $$", b"", BOUNDS);
    assert!(killed.starts_with("x\n[handler: signal: 9"), "{killed}");
    let long = "head -c 100000 /dev/zero | tr '\\0' e >&2; echo last >&2; exit 1";
    let told = reply(long, b"", BOUNDS);
    assert!(told.ends_with("eelast]"), "{told}");
    assert!(told.len() < LAST_WORDS_BYTES_MAX + 100, "{}", told.len());
}

#[test]
fn the_output_is_cut_at_its_bound() {
    let bounds = Bounds {
        output_bytes_max: 5,
        ..BOUNDS
    };
    assert_eq!(reply("printf 12345", b"", bounds), "12345");
    assert_eq!(
        reply("printf 123456", b"", bounds),
        "12345\n[handler: its output was cut at 5 bytes]"
    );
}

#[test]
fn a_reply_is_never_longer_than_a_relay_takes() {
    for bytes in [65_400, 65_536, 10_000_000] {
        let much = format!("head -c {bytes} /dev/zero | tr '\\0' o; echo why >&2; exit 1");
        let told = reply(&much, b"", BOUNDS);
        assert!(told.len() <= REPLY_BYTES_MAX, "{}", told.len());
        assert_eq!(told.contains("was cut at"), bytes > 65_400, "{bytes}");
        assert!(told.ends_with("why]"));
    }
    let alone = reply("head -c 65537 /dev/zero | tr '\\0' o", b"", BOUNDS);
    assert!(alone.len() <= REPLY_BYTES_MAX && alone.contains("was cut at"));
}

#[test]
fn at_the_time_limit_the_whole_group_is_ended() {
    let bounds = Bounds {
        time_limit: Duration::from_millis(300),
        ..BOUNDS
    };
    // The shell's child holds the output.
    let ended = run_shell("sleep 600 & echo started; wait", b"", bounds);
    assert_eq!(
        ended.outcome.reply(),
        b"started\n[handler: ended at its time limit of 300ms]"
    );
    // Its pipes are closed only when the child is gone as well.
    wait_until_free(&ended);
    // Also when the shell itself is gone before.
    let ended = run_shell("sleep 600 &", b"", bounds);
    assert!(matches!(ended.outcome.ending, Ending::TimeLimit(_)));
    wait_until_free(&ended);
}

#[test]
fn a_program_that_closes_its_output_and_goes_on_has_the_same_limit() {
    let bounds = Bounds {
        time_limit: Duration::from_millis(300),
        ..BOUNDS
    };
    let told = reply("echo early; exec >&- 2>&-; sleep 600", b"", bounds);
    assert!(told.starts_with("early\n[handler: ended at"), "{told}");
    let told = reply("exec >&- 2>&-; exit 7", b"", BOUNDS);
    assert_eq!(told, "[handler: exit status: 7]");
}

#[test]
fn what_a_run_leaves_behind_outside_its_group_does_not_delay_the_reply() {
    let bounds = Bounds {
        time_limit: Duration::from_millis(300),
        ..BOUNDS
    };
    let script = "setsid sh -c 'echo $$; exec sleep 600' & wait";
    let ended = run_shell(script, b"", bounds);
    let told = String::from_utf8(ended.outcome.reply()).unwrap();
    let (left_behind, note) = told.split_once('\n').unwrap();
    assert!(note.starts_with("[handler: ended at"), "{told}");
    assert!(ended.is_held());
    let pid = rustix::process::Pid::from_raw(left_behind.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_until_free(&ended);
}

#[test]
fn a_stop_ends_it_at_once() {
    let (signal, signals) = channel();
    let variables = [("A", String::new()), ("B", String::new())];
    let signals = (&signal, &signals);
    let sleep = program(&["sleep", "600"]);
    let ended = run(&sleep, variables, Vec::new(), BOUNDS, signals, &|| true);
    assert!(matches!(ended.outcome.ending, Ending::Stopped));
    wait_until_free(&ended);
}
